package release

import (
	"encoding/json"
	"fmt"

	"trellis/auth/label"
	"trellis/fhir"
)

// redact leaves out references with their displays, and the narrative, which may tell what they
// said. The rest of the bytes is copied.
func (g *Gate) redact(s fhir.Sealed, cut cutting) (fhir.Sealed, error) {
	res, err := fhir.ReadTrusted(s.Doc)
	if err != nil {
		return fhir.Sealed{}, fmt.Errorf("release: a stored body cannot be read: %w", err)
	}
	doc := fhir.DropReferences(res, func(reference string) bool {
		ref, ok := fhir.ParseReference(reference, g.Base)
		return ok && cut(ref)
	})
	root, err := fhir.ParseJSON(doc)
	if err != nil {
		return fhir.Sealed{}, fmt.Errorf("release: redaction broke a body: %w", err)
	}
	return fhir.Sealed{Doc: doc, MetaEnd: root.Get("meta").End - 1}, nil // meta may have held references too
}

// DS4P extension URLs (HL7 security-label-ds4p 1.0.0) and our own for the consent's scope.
const (
	extDisplay    = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-display"
	extRelated    = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-sec-label-related-artifact"
	extBasis      = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-sec-label-basis"
	extClassifier = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-sec-label-classifier"
	extScope      = fhir.LocalBase + "/StructureDefinition/consent-scope"
)

type labelCoding struct {
	Extension []labelExtension `json:"extension,omitempty"`
	System    string           `json:"system,omitempty"`
	Code      string           `json:"code"`
}

type labelExtension struct {
	URL        string       `json:"url"`
	String     string       `json:"valueString,omitempty"`
	Annotation *annotation  `json:"valueAnnotation,omitempty"`
	Reference  *reference   `json:"valueReference,omitempty"`
	Coding     *fhir.Coding `json:"valueCoding,omitempty"`
}

type annotation struct {
	Text string `json:"text"`
}

type reference struct {
	Reference string `json:"reference,omitempty"`
	Display   string `json:"display,omitempty"`
}

// security is meta.security as JSON. What a consented Part 2 disclosure must carry hangs on the
// 42CFRPart2 label: the statement to display and the consents; alone, a resource also carries their scope,
// which a Bundle says once. Where several policies meet, each label says which one it rests on (DS4P: sec-label-basis);
// alone, the confidentiality says who gave it, unless it is all there is to say.
func security(seg label.Segment, carry carried, alone bool) []byte {
	labels := seg.Security()
	if len(labels) == 0 {
		return nil
	}
	several := seg.Policies() > 1
	out := make([]labelCoding, 0, len(labels)+1)
	for _, l := range labels {
		c := labelCoding{System: l.System, Code: l.Code}
		if basis, ok := seg.Basis(l); ok && several {
			c.Extension = append(c.Extension, labelExtension{URL: extBasis, Coding: &basis})
		}
		if alone && len(labels) > 1 && l.System == fhir.SystemConfidentiality {
			c.Extension = append(c.Extension, labelExtension{URL: extClassifier, Reference: &reference{Display: "Trellis label rules " + label.RulesVersion}})
		}
		if carry.notice && l.System == fhir.SystemActCode && l.Code == "42CFRPart2" {
			statement := StatementShort
			if alone {
				statement = StatementLong
			}
			c.Extension = append(c.Extension, labelExtension{URL: extDisplay, Annotation: &annotation{statement}})
			for _, s := range carry.scopes {
				if alone {
					c.Extension = append(c.Extension, labelExtension{URL: extScope, String: s.text})
				}
				if s.ref != "" {
					c.Extension = append(c.Extension, labelExtension{URL: extRelated, Reference: &reference{Reference: s.ref}})
				}
			}
		}
		out = append(out, c)
	}
	if carry.notice {
		out = append(out, labelCoding{System: fhir.SystemActCode, Code: "NORDSCLCD"})
	}
	doc, err := json.Marshal(out)
	if err != nil { // strings only: cannot fail; without labels nothing may go out, and a nil array says so upstream
		return []byte(`[{"code":"V"}]`)
	}
	return doc
}
