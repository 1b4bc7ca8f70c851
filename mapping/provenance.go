package mapping

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
)

// A provenanceRule is a mapping's provenance section: when the record was recorded and who wrote it. Everything else
// in the Provenance is the same for all packs.
type provenanceRule struct {
	leaf
	recorded node
	author   node // Reference; nil: the sending organisation
}

// Terminology of Provenance agents and entities.
const (
	participantType   = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
	usCoreParticipant = "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type"
	usCoreProvenance  = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-provenance"
)

// provenance makes the Provenance of a record. It points at every resource of the record, carries the union of their
// labels and says which source record, by key and hash, they were made from. False when there is no recorded time.
// https://hl7.org/fhir/us/core/StructureDefinition-us-core-provenance.html
func (r *run) provenance(key string, res []Resource) (Resource, bool) {
	rule := r.m.provenance
	clear(r.vars)
	r.keys = nil
	id := r.env.id("Provenance", r.m.name, key, "provenance")
	out := Resource{Type: "Provenance", ID: id, Slot: "provenance"}
	r.buf, r.trace, r.names = r.buf[:0], r.trace[:0], r.names[:0]
	r.elem = append(r.elem[:0], "Provenance"...)

	r.raw(`{"resourceType":"Provenance","id":"`, id, `","meta":{"profile":["`, usCoreProvenance, `"],"source":`)
	r.buf = appendString(r.buf, r.env.sourceURI(key))
	out.metaEnd = len(r.buf)
	r.raw(`},"target":[`)
	for i := range res {
		if i > 0 {
			r.buf = append(r.buf, ',')
		}
		r.reference(res[i].Type, res[i].ID, "")
		for _, l := range res[i].Labels {
			out.addLabel(Label{System: l.System, Code: l.Code, Rule: rule.rule + " union of targets"})
		}
	}
	r.elements(res)
	r.raw(`],"recorded":`)
	here := r.pushName("recorded")
	if !rule.recorded.build(r) {
		return Resource{}, false
	}
	r.pop(here)
	r.raw(`,"policy":[`)
	r.buf = appendString(r.buf, r.env.Base+"/Mapping/"+r.m.name+"|"+r.m.version)
	r.raw(`],"agent":[`)
	r.agents(rule)
	r.raw(`],"entity":[{"role":"source","what":{"identifier":{"system":`)
	r.buf = appendString(r.buf, r.env.idSystem(r.m.name))
	r.raw(`,"value":`)
	r.buf = appendString(r.buf, key)
	r.raw(`}},"extension":[{"url":`)
	r.buf = appendString(r.buf, r.env.Base+"/StructureDefinition/source-record-sha256")
	r.raw(`,"valueString":"`, r.digest, `"}]}]}`)
	out.JSON, out.Lineage = bytes.Clone(r.buf), r.lineage()
	return out, true
}

// elements adds, where lineage is asked for, one target per element: the resource with the element's path, the rule that
// made it and the native values it was made of. https://hl7.org/fhir/extensions/StructureDefinition-targetPath.html
func (r *run) elements(res []Resource) {
	for i := range res {
		for _, l := range res[i].Lineage {
			r.raw(`,{"reference":"`, res[i].Type, "/", res[i].ID, `","extension":[{"url":"`, targetPath, `","valueString":`)
			r.buf = appendString(r.buf, l.Element)
			r.raw(`},{"url":`)
			r.buf = appendString(r.buf, r.env.Base+"/StructureDefinition/mapping-rule")
			r.raw(`,"valueString":`)
			r.buf = appendString(r.buf, l.Rule)
			if l.Source != "" {
				r.raw(`},{"url":`)
				r.buf = appendString(r.buf, r.env.Base+"/StructureDefinition/source-path")
				r.raw(`,"valueString":`)
				r.buf = appendString(r.buf, l.Source)
			}
			r.raw(`}]}`)
		}
	}
}

// targetPath is HL7's extension that narrows a Provenance target to an element.
const targetPath = "http://hl7.org/fhir/StructureDefinition/targetPath"

func (r *run) raw(parts ...string) {
	for _, p := range parts {
		r.buf = append(r.buf, p...)
	}
}

// agents writes author, transmitter and assembler.
func (r *run) agents(rule *provenanceRule) {
	r.agentType(participantType, "author", "Author")
	here := r.pushName("agent[0].who")
	wrote := rule.author != nil && rule.author.build(r)
	r.pop(here)
	if !wrote {
		r.organization()
	}
	r.raw(`,"onBehalfOf":`)
	r.organization()
	r.raw(`},`)
	r.agentType(usCoreParticipant, "transmitter", "Transmitter")
	r.organization()
	r.raw(`},`)
	r.agentType(participantType, "assembler", "Assembler")
	r.raw(`{"type":"Device","identifier":{"system":`)
	r.buf = appendString(r.buf, r.env.Base+"/ids/device")
	r.raw(`,"value":"trellis-mapping"},"display":"Trellis mapping engine"},"onBehalfOf":`)
	r.organization()
	r.raw(`}`)
}

func (r *run) agentType(system, code, display string) {
	r.raw(`{"type":{"coding":[{"system":"`, system, `","code":"`, code, `","display":"`, display, `"}]},"who":`)
}

func (r *run) organization() {
	r.reference("Organization", r.env.Organization.ID, r.env.Organization.Name)
}

// hash is the SHA-256 of the record in a canonical spelling, so that white space and the order of keys do not make a
// record look changed.
func (r *run) hash() string {
	sum := sha256.Sum256(appendCanonical(nil, r.record))
	return hex.EncodeToString(sum[:])
}

func appendCanonical(buf []byte, v any) []byte {
	switch x := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(x))
		for k := range x {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		buf = append(buf, '{')
		for i, k := range keys {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = append(appendString(buf, k), ':')
			buf = appendCanonical(buf, x[k])
		}
		return append(buf, '}')
	case []any:
		buf = append(buf, '[')
		for i, e := range x {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = appendCanonical(buf, e)
		}
		return append(buf, ']')
	case string:
		return appendString(buf, x)
	case json.Number:
		return append(buf, x...)
	case bool:
		if x {
			return append(buf, "true"...)
		}
		return append(buf, "false"...)
	}
	return append(buf, "null"...)
}
