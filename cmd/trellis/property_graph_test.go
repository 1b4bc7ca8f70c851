package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// A generated graph is what organisations wrote about two people: records of many types that refer to each other, some
// changed, some deleted, and consents. Every graph has people and ids of its own, so that one installation serves many.

// placed is one write of a graph: the record's whole content, or nil for its deletion.
type placed struct {
	owner, typ, id string
	doc            map[string]any
}

func (p placed) ref() string { return p.typ + "/" + p.id }

// graph is a story of writes.
type graph struct {
	tag      string // part of every id
	people   []string
	writes   []placed // facts among them
	consents []placed // of these: what a property adds or takes away
}

// records lists the records of a graph once each, facts left out.
func (g *graph) records() []string {
	var out []string
	for _, w := range g.writes {
		if !stated(w.typ) && !slices.Contains(out, w.ref()) {
			out = append(out, w.ref())
		}
	}
	return out
}

// stated reports whether a record states facts decisions rest on.
func stated(typ string) bool {
	return slices.Contains([]string{"Consent", "CareTeam", "EpisodeOfCare", "Coverage"}, typ)
}

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// chance is true once in n.
func chance(t *rapid.T, label string, n int) bool { return rapid.IntRange(1, n).Draw(t, label) == n }

func (w *world) drawGraph(t *rapid.T) *graph {
	w.graphs++
	g := &graph{tag: fmt.Sprintf("g%d", w.graphs)}
	for i := range 2 {
		id := fmt.Sprintf("%sp%d", g.tag, i)
		g.people = append(g.people, id)
		doc := map[string]any{"name": []any{map[string]any{"family": canary + pick(t, "family", "Abara", "Brandt")}}, "birthDate": "1988-04-12",
			"identifier": []any{map[string]any{"system": "urn:example:mrn", "value": id}}}
		if chance(t, "looked after", 3) {
			doc["managingOrganization"] = ref("Organization/" + pick(t, "by", "otp", "clinic"))
		}
		g.writes = append(g.writes, placed{pick(t, "chart", "hospital", "hospital", "clinic", "otp"), "Patient", id, doc})
		g.writes = append(g.writes, placed{"operator", "CareTeam", id + "ct", map[string]any{"status": "active", "subject": ref("Patient/" + id),
			"participant": []any{map[string]any{"member": ref("Organization/hospital")}}}})
		g.writes = append(g.writes, placed{"operator", "Coverage", id + "cv", map[string]any{"status": "active", "beneficiary": ref("Patient/" + id), "payor": []any{ref("Organization/plan")}}})
	}
	if !chance(t, "loose", 4) {
		g.knot(t)
	}
	for i := range rapid.IntRange(4, 10).Draw(t, "records") {
		g.writes = append(g.writes, g.drawRecord(t, fmt.Sprintf("%sr%d", g.tag, i)))
	}
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		of := g.writes[rapid.IntRange(6, len(g.writes)-1).Draw(t, "of")]
		if chance(t, "deleted", 3) {
			of.doc = nil
		} else if again := g.drawRecordOf(t, of.typ, of.id); again != nil {
			of.doc = again
		}
		g.writes = append(g.writes, of)
	}
	return g
}

// knot ties records of the clinic and the hospital to a diagnosis and a visit of the program, by every kind of reference
// that searches, includes and chains follow.
func (g *graph) knot(t *rapid.T) {
	who := g.people[0]
	add := func(owner, typ, id string, more map[string]any) string {
		d := g.drawRecordOf(t, typ, g.tag+id)
		for name, value := range more {
			d[name] = value
		}
		if _, ok := d["subject"]; ok {
			d["subject"] = ref("Patient/" + who)
		}
		g.writes = append(g.writes, placed{owner, typ, g.tag + id, d})
		return typ + "/" + g.tag + id
	}
	problem := add("otp", "Condition", "problem", map[string]any{"code": concept(icd10, "F11.20")})
	visit := add("otp", "Encounter", "visit", map[string]any{"diagnosis": []any{map[string]any{"condition": shown(problem)}}})
	order := add("otp", "MedicationRequest", "order", map[string]any{"encounter": shown(visit)})
	result := add("otp", "Observation", "result", map[string]any{"code": concept(loinc, "85354-9"), "focus": []any{shown(problem)}})
	other := pick(t, "tied by", "clinic", "hospital")
	add("clinic", "Condition", "asthma", map[string]any{"code": concept(icd10, "J45.20"), "encounter": shown(visit)})
	add(other, "Observation", "seen", map[string]any{"code": concept(loinc, "71802-3"), "focus": []any{shown(problem)}})
	add("clinic", "CarePlan", "plan", map[string]any{"addresses": []any{shown(problem)}, "activity": []any{map[string]any{"reference": shown(order)}}})
	add(other, "MedicationRequest", "pills", map[string]any{"medicationCodeableConcept": concept(rxnorm, "29046"), "encounter": shown(visit)})
	add("clinic", "List", "list", map[string]any{"entry": []any{map[string]any{"item": shown(problem)}, map[string]any{"item": shown(result)}}})
	add("clinic", "DiagnosticReport", "report", map[string]any{"result": []any{shown(result)}})
	add("clinic", "Encounter", "stay", map[string]any{"diagnosis": []any{map[string]any{"condition": shown(problem)}}, "serviceProvider": shown("Organization/otp")})
	add("otp", "Provenance", "source", map[string]any{"target": []any{ref("Condition/" + g.tag + "asthma"), ref("Patient/" + who)}})
}

func ref(to string) map[string]any { return map[string]any{"reference": to} }

func shown(to string) map[string]any {
	return map[string]any{"reference": to, "display": canary + " " + to}
}

func concept(system, code string) map[string]any {
	return map[string]any{"coding": []any{map[string]any{"system": system, "code": code}}}
}

func (g *graph) drawRecord(t *rapid.T, id string) placed {
	typ := pick(t, "type", "Condition", "Condition", "Observation", "MedicationRequest", "Encounter", "CarePlan", "List", "Provenance", "DiagnosticReport", "DocumentReference", "Goal", "Procedure", "AuditEvent")
	owner := pick(t, "owner", "otp", "otp", "otp", "hospital", "clinic", "clinic")
	return placed{owner, typ, id, g.drawRecordOf(t, typ, id)}
}

// another draws a reference to any record of the graph of one of the types, or to one nobody wrote.
func (g *graph) another(t *rapid.T, types ...string) map[string]any {
	var to []string
	for _, w := range g.writes {
		if slices.Contains(types, w.typ) {
			to = append(to, w.ref())
		}
	}
	to = append(to, types[0]+"/"+g.tag+"nobody")
	return shown(pick(t, "to", to...))
}

const (
	icd10  = "http://hl7.org/fhir/sid/icd-10-cm"
	loinc  = "http://loinc.org"
	rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
)

// drawRecordOf draws a record's content.
func (g *graph) drawRecordOf(t *rapid.T, typ, id string) map[string]any {
	who := ref("Patient/" + pick(t, "about", g.people...))
	day := fmt.Sprintf("2026-0%d-1%d", rapid.IntRange(1, 5).Draw(t, "month"), rapid.IntRange(0, 9).Draw(t, "day"))
	d := map[string]any{"identifier": []any{map[string]any{"system": "urn:example:record", "value": id}}}
	switch typ {
	case "Condition":
		d["subject"], d["recordedDate"] = who, day
		d["code"] = pick(t, "code", concept(icd10, "F11.20"), concept(icd10, "I10"), concept(icd10, "J45.20"), map[string]any{"text": canary + " trouble"})
		if chance(t, "encounter", 3) {
			d["encounter"] = g.another(t, "Encounter")
		}
	case "Observation":
		d["status"], d["subject"], d["effectiveDateTime"] = "final", who, day
		d["code"] = pick(t, "code", concept(loinc, "85354-9"), concept(loinc, "71802-3"), concept("urn:nobody", "x"))
		d["valueQuantity"] = map[string]any{"value": rapid.IntRange(1, 9).Draw(t, "value"), "unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"}
		if chance(t, "focus", 2) {
			d["focus"] = []any{g.another(t, "Condition", "Procedure")}
		}
	case "MedicationRequest":
		d["status"], d["intent"], d["subject"], d["authoredOn"] = "active", "order", who, day
		d["medicationCodeableConcept"] = pick(t, "code", concept(rxnorm, "1819"), concept(rxnorm, "29046"))
		d["encounter"], d["reasonReference"] = g.another(t, "Encounter"), []any{g.another(t, "Condition")}
	case "Encounter":
		d["status"], d["class"], d["subject"] = "finished", map[string]any{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}, who
		d["period"] = map[string]any{"start": day, "end": day}
		d["diagnosis"] = []any{map[string]any{"condition": g.another(t, "Condition")}}
		d["serviceProvider"] = shown("Organization/" + pick(t, "at", "otp", "hospital"))
	case "CarePlan":
		d["status"], d["intent"], d["subject"], d["title"] = "active", "plan", who, canary+" plan"
		d["period"] = map[string]any{"start": day}
		problem := g.another(t, "Condition")
		d["addresses"], d["activity"] = []any{problem, g.another(t, "Condition")}, []any{map[string]any{"reference": g.another(t, "MedicationRequest")}}
		d["text"] = map[string]any{"status": "generated", "div": fmt.Sprintf(`<div xmlns="http://www.w3.org/1999/xhtml">%s words about %s</div>`, canary, problem["reference"])}
	case "List":
		d["status"], d["mode"], d["subject"], d["date"] = "current", "working", who, day
		for range rapid.IntRange(1, 3).Draw(t, "entries") {
			entries, _ := d["entry"].([]any)
			d["entry"] = append(entries, map[string]any{"item": g.another(t, "Condition", "Observation", "MedicationRequest", "CarePlan")})
		}
	case "Provenance":
		delete(d, "identifier")
		d["target"], d["recorded"] = []any{g.another(t, "Condition", "Observation", "CarePlan"), who}, day+"T10:00:00Z"
		d["agent"] = []any{map[string]any{"who": ref("Organization/" + pick(t, "agent", "otp", "hospital"))}}
	case "DiagnosticReport":
		d["status"], d["subject"], d["effectiveDateTime"], d["code"] = "final", who, day, concept(loinc, "58410-2")
		d["result"] = []any{g.another(t, "Observation")}
	case "DocumentReference":
		d["status"], d["subject"], d["date"] = "current", who, day+"T10:00:00Z"
		d["content"] = []any{map[string]any{"attachment": map[string]any{"contentType": "text/plain", "title": canary + " note"}}}
		if chance(t, "note", 2) {
			d["meta"] = map[string]any{"security": []any{map[string]any{"system": "https://trellis.example/fhir/CodeSystem/security-label", "code": "sud-counseling-note"}}}
		}
	case "Goal":
		d["lifecycleStatus"], d["subject"], d["startDate"], d["description"] = "active", who, day, map[string]any{"text": canary + " goal"}
		d["addresses"], d["meta"] = []any{g.another(t, "Condition")}, map[string]any{"source": "urn:example:ward"}
	case "Procedure":
		d["status"], d["subject"], d["performedDateTime"] = "completed", who, day
		d["code"], d["reasonReference"] = pick(t, "code", concept(icd10, "F11.20"), concept(icd10, "Z02.9")), []any{g.another(t, "Condition", "Observation")}
	case "AuditEvent":
		delete(d, "identifier")
		d["type"], d["recorded"] = map[string]any{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110110"}, day+"T10:00:00Z"
		d["agent"], d["source"] = []any{map[string]any{"requestor": true, "who": ref("Organization/hospital")}}, map[string]any{"observer": ref("Organization/hospital")}
		d["entity"] = []any{map[string]any{"what": who}, map[string]any{"what": g.another(t, "Condition", "Observation")}}
	}
	return d
}

// drawConsent draws a consent of one of the graph's people, as a variant of one of the fixture's.
func (w *world) drawConsent(t *rapid.T, g *graph, id string) placed {
	name := pick(t, "consent", "K1", "K1", "K2", "K2-hospital", "K3", "K-2026")
	c, _ := fixture(w.t).Given(name)
	var doc map[string]any
	if err := json.Unmarshal(c.Resource, &doc); err != nil {
		w.t.Fatal(err)
	}
	doc["patient"] = ref("Patient/" + pick(t, "of", g.people...))
	if provision := doc["provision"].(map[string]any); name == "K1" && chance(t, "but", 3) {
		provision["provision"] = []any{denial(t)}
	}
	return placed{"otp", "Consent", id, doc}
}

// denial draws a provision that denies.
func denial(t *rapid.T) map[string]any {
	p := map[string]any{"type": "deny"}
	switch pick(t, "denies", "type", "label", "period", "recipient", "all") {
	case "type":
		p["class"] = []any{map[string]any{"system": "http://hl7.org/fhir/resource-types", "code": pick(t, "class", "Condition", "CarePlan", "Encounter", "Observation")}}
	case "label":
		p["securityLabel"] = []any{map[string]any{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": pick(t, "label", "OPIOIDUD", "SUD", "42CFRPart2")}}
	case "period":
		p["dataPeriod"] = map[string]any{"start": "2026-02-01", "end": "2026-03-31"}
	case "recipient":
		p["actor"] = []any{map[string]any{"role": concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"), "reference": ref("Organization/" + pick(t, "recipient", "hospital", "plan", "clinic"))}}
	}
	return p
}

// refusal draws a restriction: the patient's own no, which needs no form.
func (g *graph) refusal(t *rapid.T, id string) placed {
	return placed{pick(t, "recorded by", "otp", "otp", "clinic", "operator"), "Consent", id, map[string]any{"status": "active",
		"scope":    concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
		"category": []any{concept(loinc, "59284-0"), concept("https://trellis.example/fhir/CodeSystem/consent-kind", "restriction")},
		"patient":  ref("Patient/" + pick(t, "refuses", g.people...)), "dateTime": "2026-02-01", "policyRule": concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "42CFRPart2CD"),
		"provision": denial(t)}}
}

// body is a write's resource as JSON.
func (p placed) body() json.RawMessage {
	doc := maps.Clone(p.doc)
	doc["resourceType"], doc["id"] = p.typ, p.id
	out, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return out
}

// bundle is a run of writes as a transaction.
func bundle(writes []placed) []byte {
	var b strings.Builder
	b.WriteString(`{"resourceType":"Bundle","type":"transaction","entry":[`)
	for i, w := range writes {
		if i > 0 {
			b.WriteString(",")
		}
		if w.doc == nil {
			fmt.Fprintf(&b, `{"request":{"method":"DELETE","url":%q}}`, w.ref())
			continue
		}
		fmt.Fprintf(&b, `{"resource":%s,"request":{"method":"PUT","url":%q}}`, w.body(), w.ref())
	}
	b.WriteString("]}")
	return []byte(b.String())
}
