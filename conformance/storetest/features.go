package storetest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"trellis/auth/label"
	"trellis/gateway/store"
)

// load writes records of one organisation in one transaction.
func (b *bench) load(org string, docs ...string) {
	b.t.Helper()
	changes := make([]store.Change, 0, len(docs))
	for _, doc := range docs {
		r := b.resource(doc)
		changes = append(changes, store.Change{Method: store.Update, MayCreate: true, Type: r.Type, ID: r.ID, Resource: r, Owner: org,
			Segment: b.cl.Classify(r, label.Source{Organization: org, Covered: true}, nil)})
	}
	if _, err := b.s.Apply(b.ctx, changes, nil); err != nil {
		b.t.Fatal(err)
	}
	b.check()
}

// measured is an Observation with a value, given as JSON of a Quantity.
func measured(id, patient, code, quantity string) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","subject":{"reference":"Patient/%s"},"code":{"coding":[{"system":"http://loinc.org","code":%q}]},"effectiveDateTime":"2026-02-01","valueQuantity":%s}`, id, patient, code, quantity)
}

// featureRecords is a small world in which every kind of parameter has something to find and something to miss.
func featureRecords() []string {
	const ucum = `"system":"http://unitsofmeasure.org"`
	return []string{
		`{"resourceType":"Organization","id":"acme","name":"Acme Recovery","partOf":{"reference":"Organization/root"}}`,
		`{"resourceType":"Organization","id":"root","name":"Root Health"}`,
		`{"resourceType":"Patient","id":"p1","name":[{"family":"Núñez","given":["Ana"]}],"birthDate":"1990-03-04","gender":"female","managingOrganization":{"reference":"Organization/acme"},` +
			`"identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"urn:mrn","value":"4711"},{"value":"bare"}],` +
			`"meta":{"tag":[{"system":"urn:tags","code":"red"}],"profile":["http://example.org/p|1"],"source":"urn:source:a"},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a walk in the garden</div>"}}`,
		`{"resourceType":"Patient","id":"p2","name":[{"family":"Nunezsson","given":["Bo"]}],"gender":"male","managingOrganization":{"reference":"Organization/root"}}`,

		measured("q1", "p1", "w", `{"value":5.4,"unit":"mg",`+ucum+`,"code":"mg"}`),
		measured("q2", "p1", "w", `{"value":5400,"unit":"ug",`+ucum+`,"code":"ug"}`),
		measured("q3", "p1", "w", `{"value":0.0060,"unit":"g",`+ucum+`,"code":"g"}`),
		measured("q4", "p1", "w", `{"value":5.4,"unit":"mg"}`),
		measured("q5", "p1", "w", `{"value":5.4}`),
		measured("q6", "p2", "w", `{"value":7,"unit":"mg",`+ucum+`,"code":"mg","comparator":">"}`),
		measured("q7", "p2", "len", `{"value":5.4,"unit":"m",`+ucum+`,"code":"m"}`),

		`{"resourceType":"Observation","id":"bp1","status":"final","subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"effectiveDateTime":"2026-02-02","code":{"coding":[{"system":"http://loinc.org","code":"55284-4"}]},"component":[` +
			`{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":107,` + ucum + `,"code":"mm[Hg]"}},` +
			`{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":60,` + ucum + `,"code":"mm[Hg]"}}]}`,
		`{"resourceType":"Observation","id":"sys2","status":"final","subject":{"reference":"Patient/p2"},"effectiveDateTime":"2026-02-03","code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":150,` + ucum + `,"code":"mm[Hg]"}}`,
		`{"resourceType":"Observation","id":"log","status":"final","subject":{"identifier":{"system":"urn:mrn","value":"4711"}},"code":{"text":"Logical only","coding":[{"code":"8480-6"}]}}`,

		`{"resourceType":"Encounter","id":"e1","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"subject":{"reference":"Patient/p1"},"serviceProvider":{"reference":"Organization/acme"},"period":{"start":"2026-02-02","end":"2026-02-03"}}`,
		`{"resourceType":"Encounter","id":"e2","status":"planned","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"IMP"},"subject":{"reference":"Patient/p2"},"serviceProvider":{"reference":"Organization/root"}}`,
		`{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"code":{"text":"Essential hypertension","coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10","display":"High blood pressure"}]},"onsetDateTime":"2024-05"}`,
		`{"resourceType":"Condition","id":"c2","subject":{"reference":"https://fhir.example/fhir/Patient/p2"},"code":{"coding":[{"system":"urn:other","code":"I10"}]}}`,

		at("albany", "42.6526", "-73.7562"), at("troy", "42.7284", "-73.6918"), at("city", "40.7128", "-74.0060"),
		at("suva", "-18.1416", "178.4419"), at("east", "-17.9", "-179.5"), at("pole", "90", "0"),
		`{"resourceType":"Location","id":"nowhere","status":"active","name":"By telephone"}`,
		`{"resourceType":"HealthcareService","id":"meeting","active":true,"location":[{"reference":"Location/troy"}]}`,

		charge("n1", "-3"), charge("n2", "0"), charge("n3", "100"), charge("n4", "99.5"), charge("n5", "100000000000"), charge("n6", "0.001"),

		`{"resourceType":"ValueSet","id":"v1","status":"active","url":"http://acme.org/vs","version":"1"}`,
		`{"resourceType":"ValueSet","id":"v2","status":"active","url":"http://acme.org/vs/a"}`,
		`{"resourceType":"ValueSet","id":"v3","status":"active","url":"http://acme.org/vs/a/b"}`,
		`{"resourceType":"ValueSet","id":"v4","status":"active","url":"http://acme.org/vsx"}`,
		`{"resourceType":"QuestionnaireResponse","id":"qr1","status":"completed","subject":{"reference":"Patient/p1"},"questionnaire":"http://acme.org/q|1"}`,
		`{"resourceType":"QuestionnaireResponse","id":"qr2","status":"completed","subject":{"reference":"Patient/p1"},"questionnaire":"http://acme.org/q|2"}`,

		`{"resourceType":"List","id":"l1","status":"current","mode":"working","entry":[{"item":{"reference":"Observation/q1"}},{"item":{"reference":"Observation/q6"}}]}`,
		`{"resourceType":"DocumentReference","id":"d1","status":"current","subject":{"reference":"Patient/p1"},"relatesTo":[{"code":"replaces","target":{"reference":"DocumentReference/d0"}},{"code":"appends","target":{"reference":"DocumentReference/d9"}}],"content":[{"attachment":{"title":"x"}}]}`,
		`{"resourceType":"Communication","id":"both","status":"completed","subject":{"reference":"Patient/p1"},"recipient":[{"reference":"Patient/p2"}],"sent":"2026-02-05"}`,
		`{"resourceType":"Communication","id":"one","status":"completed","subject":{"reference":"Patient/p1"},"sent":"2026-02-06"}`,
		`{"resourceType":"Provenance","id":"pv","target":[{"reference":"Observation/bp1"}],"recorded":"2026-02-02T00:00:00Z","agent":[{"who":{"reference":"Organization/acme"}}]}`,
	}
}

func charge(id, factor string) string {
	return fmt.Sprintf(`{"resourceType":"ChargeItem","id":%q,"status":"billed","subject":{"reference":"Patient/p1"},"code":{"text":"x"},"factorOverride":%s}`, id, factor)
}

// at is a place on the globe.
func at(id, latitude, longitude string) string {
	return fmt.Sprintf(`{"resourceType":"Location","id":%q,"status":"active","position":{"longitude":%s,"latitude":%s}}`, id, longitude, latitude)
}

// testFeatures asks every kind of parameter with its modifiers, prefixes and forms of values, across patients and in
// a compartment: the two are different statements.
func testFeatures(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.load("own", featureRecords()...)
	f := b.filter(own(), "TREAT")
	const ucum, loinc, icd = "http://unitsofmeasure.org", "http://loinc.org", "http://hl7.org/fhir/sid/icd-10-cm"
	for _, c := range []struct{ typ, name, value, want string }{
		// Numbers: the precision they are written in, and prefixes.
		{"ChargeItem", "factor-override", "100", "n3 n4"},
		{"ChargeItem", "factor-override", "100.0", "n3"},
		{"ChargeItem", "factor-override", "1e2", "n3 n4"},
		{"ChargeItem", "factor-override", "1.00e2", "n3 n4"},
		{"ChargeItem", "factor-override", "ne100", "n1 n2 n5 n6"},
		{"ChargeItem", "factor-override", "gt100", "n5"},
		{"ChargeItem", "factor-override", "ge100", "n3 n5"},
		{"ChargeItem", "factor-override", "lt0", "n1"},
		{"ChargeItem", "factor-override", "le0", "n1 n2"},
		{"ChargeItem", "factor-override", "-3", "n1"},
		{"ChargeItem", "factor-override", "sa99.5", "n3 n5"},
		{"ChargeItem", "factor-override", "eb0.001", "n1 n2"},
		{"ChargeItem", "factor-override", "ap95", "n3 n4"},
		{"ChargeItem", "factor-override", "0.001,-3.0", "n1 n6"},
		{"ChargeItem", "factor-override", "gt-4&factor-override=lt1", "n1 n2 n6"},
		{"ChargeItem", "factor-override:missing", "false", "n1 n2 n3 n4 n5 n6"},
		// Quantities: converted within a dimension, bound to a unit's text, or without unit.
		{"Observation", "value-quantity", "5.4|" + ucum + "|mg", "q1 q2"},
		{"Observation", "value-quantity", "5400|" + ucum + "|ug", "q1 q2"},
		{"Observation", "value-quantity", "0.0054|" + ucum + "|g", "q1 q2"},
		{"Observation", "value-quantity", "gt5.4|" + ucum + "|mg", "q3 q6"},
		{"Observation", "value-quantity", "ge5.4|" + ucum + "|mg", "q1 q2 q3 q6"},
		{"Observation", "value-quantity", "lt0.0055|" + ucum + "|g", "q1 q2"},
		{"Observation", "value-quantity", "le6|" + ucum + "|mg", "q1 q2 q3"},
		{"Observation", "value-quantity", "5.4||mg", "q1 q4"},
		{"Observation", "value-quantity", "5.4", "q1 q4 q5 q7"},
		{"Observation", "value-quantity", "5.40", "q1 q4 q5 q7"},
		{"Observation", "value-quantity", "5", "q1 q4 q5 q7"},
		{"Observation", "value-quantity", "5.4|" + ucum + "|m", "q7"},
		{"Observation", "value-quantity", "5.4|urn:units|mg", ""},
		{"Observation", "value-quantity", "gt1000|" + ucum + "|mg", "q6"}, // more than 7 may be any number
		// URIs and canonicals.
		{"ValueSet", "url", "http://acme.org/vs", "v1"},
		{"ValueSet", "url:below", "http://acme.org/vs", "v1 v2 v3"},
		{"ValueSet", "url:below", "http://acme.org/vs/", "v1 v2 v3"},
		{"ValueSet", "url:above", "http://acme.org/vs/a/b/c", "v1 v2 v3"},
		{"ValueSet", "url:above", "http://acme.org/vs/a", "v1 v2"},
		{"ValueSet", "url", "http://ACME.org/vs", ""},
		{"QuestionnaireResponse", "questionnaire", "http://acme.org/q", "qr1 qr2"},
		{"QuestionnaireResponse", "questionnaire", "http://acme.org/q|2", "qr2"},
		{"QuestionnaireResponse", "questionnaire", "http://acme.org/q|3", ""},
		// Composites: both halves in one element, not one here and one there.
		{"Observation", "component-code-value-quantity", loinc + "|8480-6$107", "bp1"},
		{"Observation", "component-code-value-quantity", loinc + "|8480-6$gt100|" + ucum + "|mm[Hg]", "bp1"},
		{"Observation", "component-code-value-quantity", loinc + "|8480-6$60", ""},
		{"Observation", "component-code-value-quantity", "8462-4$107", ""},
		{"Observation", "component-code-value-quantity", "8462-4$lt100,8480-6$gt1000", "bp1"},
		{"Observation", "code-value-quantity", loinc + "|8480-6$150", "sys2"},
		{"Observation", "code-value-quantity", loinc + "|8480-6$107", ""},
		{"Observation", "combo-code-value-quantity", "8480-6$gt100", "bp1 sys2"},
		{"Observation", "combo-code-value-quantity", loinc + "|8480-6$60", ""},
		{"Observation", "combo-code", "8480-6", "bp1 sys2 log"},
		{"Observation", "combo-value-quantity", "60", "bp1"},
		{"DocumentReference", "relationship", "replaces$DocumentReference/d0", "d1"},
		{"DocumentReference", "relationship", "appends$DocumentReference/d0", ""},
		// Positions: on the globe, over the date line and at the pole too.
		{"Location", "near", "42.6526|-73.7562|9|km", "albany"},
		{"Location", "near", "42.6526|-73.7562|0", "albany"},
		{"Location", "near", "42.6526|-73.7562|10", "albany troy"},
		{"Location", "near", "42.6526|-73.7562|6.1|[mi_i]", "albany"},
		{"Location", "near", "42.6526|-73.7562|6.2|[mi_i]", "albany troy"},
		{"Location", "near", "42.6526|-73.7562", "albany troy"},
		{"Location", "near", "42.6526|-73.7562|217|km", "albany troy city"},
		{"Location", "near", "42.6526|-73.7562|216|km", "albany troy"},
		{"Location", "near", "-18|-179.9|100|km", "east"},
		{"Location", "near", "-18|179.9|250|km", "suva east"},
		{"Location", "near", "89.9|180|12|km", "pole"},
		{"Location", "near", "89.9|180|30000|km", "albany troy city suva east pole"},
		{"Location", "near", "40.7|-74|5|km,-18.1|178.4|10|km", "city suva"},
		{"Location", "near:missing", "true", "nowhere"},
		{"HealthcareService", "location.near", "42.7|-73.7|5|km", "meeting"},
		{"HealthcareService", "location.near", "42.6526|-73.7562|5|km", ""},
		// Tokens.
		{"Condition", "code", icd + "|I10", "c1"},
		{"Condition", "code", "urn:other|", "c2"},
		{"Condition", "code", "I10", "c1 c2"},
		{"Condition", "code:not", icd + "|I10", "c2"},
		{"Condition", "code:text", "essential", "c1"},
		{"Condition", "code:text", "high blood", "c1"},
		{"Condition", "code:text", "lood", ""},
		{"Condition", "onset-date:missing", "true", "c2"},
		{"Observation", "code", "|8480-6", "log"},
		{"Observation", "code", loinc + "|8480-6", "sys2"},
		{"Patient", "identifier", "urn:mrn|4711", "p1"},
		{"Patient", "identifier", "|bare", "p1"},
		{"Patient", "identifier", "|4711", ""},
		{"Patient", "identifier:of-type", "http://terminology.hl7.org/CodeSystem/v2-0203|MR|4711", "p1"},
		{"Patient", "identifier:of-type", "http://terminology.hl7.org/CodeSystem/v2-0203|MR|bare", ""},
		{"Patient", "identifier:missing", "true", "p2"},
		{"Patient", "gender:not", "male", "p1"},
		// References.
		{"Observation", "encounter", "e1", "bp1"},
		{"Observation", "encounter", "Encounter/e1", "bp1"},
		{"Observation", "encounter", base + "/Encounter/e1", "bp1"},
		{"Observation", "encounter", "https://elsewhere.example/fhir/Encounter/e1", ""},
		{"Observation", "subject:identifier", "urn:mrn|4711", "log"},
		{"Observation", "encounter:missing", "false", "bp1"},
		{"Observation", "subject:missing", "true", ""},
		{"Condition", "encounter:missing", "true", "c2"},
		{"Condition", "patient", "p2", "c2"},
		{"Condition", "subject:Patient", "p1", "c1"},
		// Strings.
		{"Patient", "family", "nunez", "p1 p2"},
		{"Patient", "family:exact", "Núñez", "p1"},
		{"Patient", "family:exact", "núñez", ""},
		{"Patient", "family:contains", "ezss", "p2"},
		{"Patient", "name", "bo", "p2"},
		// Chains and reverse chains, of one step and of several.
		{"Observation", "patient.family", "nunezsson", "q6 q7 sys2"},
		{"Observation", "subject:Patient.gender", "male", "q6 q7 sys2"},
		{"Observation", "patient.organization.name", "acme", "q1 q2 q3 q4 q5 bp1"},
		{"Observation", "subject:Patient.organization.partof.name", "root", "q1 q2 q3 q4 q5 bp1"},
		{"Observation", "encounter.service-provider.name", "acme", "bp1"},
		{"Condition", "encounter.class", "AMB", "c1"},
		{"Condition", "encounter.class", "IMP", ""},
		{"Patient", "_has:Observation:patient:code", loinc + "|8480-6", "p2"},
		{"Patient", "_has:Observation:patient:combo-code", loinc + "|8480-6", "p1 p2"},
		{"Organization", "_has:Patient:organization:_has:Condition:patient:code", "urn:other|I10", "root"},
		{"Encounter", "_has:Observation:encounter:_has:Provenance:target:agent", "acme", "e1"},
		{"Encounter", "_has:Observation:encounter:patient.gender", "male", ""},
		// Filters.
		{"ChargeItem", "_filter", "factor-override gt 99 and factor-override lt 1000", "n3 n4"},
		{"ChargeItem", "_filter", "factor-override lt 0 or (factor-override eq 0.001)", "n1 n6"},
		{"ChargeItem", "_filter", "not (factor-override ge 0)", "n1"},
		{"Patient", "_filter", `family sw "nune" and gender eq female`, "p1"},
		{"Patient", "_filter", `family co "zss" or given eq "ana"`, "p1 p2"},
		{"Patient", "_filter", `family ew "son"`, "p2"},
		{"Patient", "_filter", "birthdate pr false", "p2"},
		{"Observation", "_filter", `patient[gender eq male].family eq "nunezsson" and code eq w`, "q6"},
		{"Condition", "_filter", "onset-date po 2024-05-17", "c1"},
		{"ValueSet", "_filter", `url ss "http://acme.org/vs/a"`, "v2 v3"},
		{"ValueSet", "_filter", `url sb "http://acme.org/vs/a"`, "v1 v2"},
		{"Condition", "_filter", "onset-date co 2024-05-17", "c1"},
		{"Condition", "_filter", "onset-date co 2024", ""},
		{"Patient", "_filter", "family ne nunez", "p2"},
		{"Patient", "_filter", "identifier ne urn:mrn|4711", "p1"}, // it has another beside it
		{"Patient", "_filter", "gender ne male", "p1"},
		{"Condition", "_filter", "code ne urn:other|I10", "c1"},
		{"ChargeItem", "_filter", "code ne urn:other|I10", ""}, // words are no other code
		{"ChargeItem", "_filter", "code pr true", "n1 n2 n3 n4 n5 n6"},
		{"Observation", "_filter", "code eq loinc|8480-6", "sys2"},
		{"Observation", "_filter", "value-quantity eq 5400|ucum|ug", "q1 q2"},
		{"Observation", "_filter", "component-code-value-quantity eq 8480-6$gt100", "bp1"},
		{"Patient", "_filter", "gender eq male or gender eq female and family eq nunez", "p1"},
		{"Patient", "_filter", "gender eq male or (gender eq female and family eq nunez)", "p1 p2"},
		// What every resource has.
		{"Observation", "_list", "l1", "q1 q6"},
		{"Observation", "_list:missing", "false", "q1 q6"},
		{"Observation", "_list:missing", "true&patient=p2", "q7 sys2"},
		{"Patient", "_security:missing", "false", "p1 p2"},
		{"Patient", "_security:missing", "true", ""},
		{"Location", "_security:missing", "true&near=42.6526|-73.7562|9|km", "albany"},
		{"Location", "_security:missing", "false", ""},
		{"Patient", "_tag", "urn:tags|red", "p1"},
		{"Patient", "_tag:not", "urn:tags|red", "p2"},
		{"Patient", "_profile", "http://example.org/p", "p1"},
		{"Patient", "_source", "urn:source:a", "p1"},
		{"Patient", "_text", "garden", "p1"},
		{"Patient", "_text", "ana", ""},
		{"Patient", "_content", "ana walk", "p1"},
		{"Patient", "_security", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R", ""},
		{"Patient", "_security:not", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R", "p1 p2"},
		{"Patient", "_lastUpdated", "gt2020-01-01", "p1 p2"},
		{"Patient", "_lastUpdated", "eb2020-01-01", ""},
		{"Patient", "_id:not", "p1", "p2"},
		// Across types, and compartments.
		{"*", "_type", "Patient,Encounter", "p1 p2 e1 e2"},
		{"*", "_type", "Condition&_id=c1,c2,e1", "c1 c2"},
		{"*", "_tag", "red", "p1"},
		{"Patient/p2/Communication", "status", "completed", "both"},
		{"Patient/p1/Communication", "status", "completed", "both one"},
		{"Patient/p2/Communication", "recipient", "Patient/p2", "both"},
		{"Patient/p2/Communication", "subject.gender", "female", "both"},
		{"Patient/p2/Communication", "sent", "gt2026-02-01&_sort=-sent", "both"},
		{"Encounter/e1/Observation", "code", "55284-4", "bp1"},
		{"Encounter/e2/Observation", "code", "55284-4", ""},
	} {
		query := c.name + "=" + escape(c.value)
		want := strings.Fields(c.want)
		if want == nil {
			want = []string{}
		}
		slices.Sort(want)
		what := c.typ + "?" + query
		sorted := func(typ, query string) []string {
			got := b.search(f, typ, query+"&_count=100")
			slices.Sort(got)
			return got
		}
		equal(t, what, sorted(c.typ, query), want)
		if all := b.search(f, c.typ, query+"&_count=100&_total=accurate"); all[len(all)-1] != fmt.Sprint(len(want)) {
			t.Errorf("%s: counted %s, want %d", what, all[len(all)-1], len(want))
		}
		if strings.Contains(c.typ, "/") || c.typ == "*" || !inPatient(c.typ) {
			continue
		}
		var both []string
		for _, p := range []string{"p1", "p2"} {
			for _, id := range sorted("Patient/"+p+"/"+c.typ, query) {
				if !slices.Contains(both, id) {
					both = append(both, id)
				}
			}
		}
		slices.Sort(both)
		inCompartment := slices.DeleteFunc(want, func(id string) bool { return id == "log" }) // filed under nobody
		if both == nil {
			both = []string{}
		}
		equal(t, what+" in the compartments", both, inCompartment)
	}
}

// inPatient are the types of the table that are filed under patients.
func inPatient(typ string) bool {
	return slices.Contains([]string{"ChargeItem", "Observation", "QuestionnaireResponse", "Condition", "Encounter", "DocumentReference"}, typ)
}

// escape encodes a value as it stands in a URL; & and = of further parameters stay.
func escape(value string) string {
	parts := strings.Split(value, "&")
	for i, p := range parts {
		if name, rest, found := strings.Cut(p, "="); found && i > 0 {
			parts[i] = name + "=" + url.QueryEscape(rest)
		} else {
			parts[i] = url.QueryEscape(p)
		}
	}
	return strings.Join(parts, "&")
}
