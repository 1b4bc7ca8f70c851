package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"trellis/gateway/audit"
)

// ordered lists a Bundle's resources in the order they stand, without outcomes.
func (b fhirBundle) ordered() []string {
	var out []string
	for _, e := range b.Entry {
		if e.Resource.ResourceType != "OperationOutcome" {
			out = append(out, e.Resource.ResourceType+"/"+e.Resource.ID)
		}
	}
	return out
}

func TestLastN(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		observation := func(owner, id, day, category string, codes ...string) {
			var codings []string
			for _, c := range codes {
				codings = append(codings, `{"system":"http://loinc.org","code":"`+c+`"}`)
			}
			in.keep(owner, `{"resourceType":"Observation","id":"`+id+`","status":"final","subject":{"reference":"Patient/P2"},"effectiveDateTime":"2026-03-`+day+`","category":[{"coding":[{"code":"`+category+`"}]}],"code":{"coding":[`+strings.Join(codings, ",")+`]}}`)
		}
		observation("hospital", "A1", "01", "vital-signs", "8867-4")
		observation("hospital", "A2", "05", "vital-signs", "8867-4")
		observation("hospital", "A3", "03", "vital-signs", "8867-4", "78564-2")
		observation("hospital", "B1", "02", "laboratory", "2345-7")
		observation("hospital", "A4", "04", "vital-signs", "78564-2")
		observation("otp", "H1", "09", "vital-signs", "8867-4") // a Part 2 record: hidden
		v := in.as("hospital", "TREAT")
		for path, want := range map[string]string{
			"Observation/$lastn?patient=P2":                             "[Observation/A2 Observation/A4 Observation/B1]",
			"Observation/$lastn?patient=Patient/P2&max=2":               "[Observation/A2 Observation/A3 Observation/A4 Observation/B1]",
			"Observation/$lastn?subject=Patient/P2&category=laboratory": "[Observation/B1]",
			"Observation/$lastn?patient=P2&max=9&code=8867-4":           "[Observation/A2 Observation/A3 Observation/A1]",
			"Observation/$lastn?patient=nobody":                         "[]",
		} {
			if got := fmt.Sprint(v.get(path).bundle(t).ordered()); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		if got := in.as("otp", "TREAT").get("Observation/$lastn?patient=P2&max=1&code=8867-4").bundle(t).ordered(); fmt.Sprint(got) != "[Observation/H1]" {
			t.Errorf("its custodian gets %v", got)
		}
		for path, status := range map[string]int{"Observation/$lastn": 400, "Observation/$lastn?code=8867-4": 400, "Observation/$lastn?patient=P2&max=0": 400, "Observation/$lastn?patient=P2,P1": 400,
			"Observation/$lastn?patient=P2&_sort=date": 400, "Observation/$lastn?patient=P2&nonsense=1": 400, "Observation/$lastn?patient=P2&_summary=count": 400, "Condition/$lastn?patient=P2": 404} {
			if a := v.get(path); a.status != status {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for contentType, body := range map[string]string{
			"application/fhir+json":             `{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"P2"},{"name":"max","valueInteger":1},{"name":"category","valueCode":"laboratory"}]}`,
			"application/x-www-form-urlencoded": "patient=P2&max=1&category=laboratory",
		} {
			a := v.ask(request{method: "POST", path: "Observation/$lastn", body: []byte(body), contentType: contentType})
			if got := fmt.Sprint(a.bundle(t).ordered()); got != "[Observation/B1]" {
				t.Errorf("%s: %s", contentType, got)
			}
		}
	})
}

func TestDocument(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.keep("hospital", `{"resourceType":"Composition","id":"DOC","status":"final","type":{"coding":[{"system":"http://loinc.org","code":"11503-0"}]},"subject":{"reference":"Patient/P1"},"date":"2026-03-01","author":[{"reference":"Organization/hospital"}],"title":"Summary","section":[{"entry":[{"reference":"Condition/C2"},{"reference":"Condition/C1"}]}]}`)
		a := in.as("hospital", "TREAT").get("Composition/DOC/$document")
		var doc struct {
			Type, Timestamp string
			Identifier      struct{ System, Value string }
		}
		if err := json.Unmarshal(a.body, &doc); err != nil || doc.Type != "document" || doc.Timestamp == "" || !strings.HasPrefix(doc.Identifier.Value, "urn:uuid:") {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if got := fmt.Sprint(a.bundle(t).ordered()); got != "[Composition/DOC Condition/C2 Organization/hospital Patient/P1]" {
			t.Errorf("the document holds %s", got)
		}
		if _, err := in.gateway.parser.Parse(a.body); err != nil {
			t.Errorf("not valid R4: %v", err)
		}
		in.load("K1")
		if got := fmt.Sprint(in.as("hospital", "TREAT").get("Composition/DOC/$document").bundle(t).ordered()); got != "[Composition/DOC Condition/C2 Condition/C1 Organization/hospital Patient/P1]" {
			t.Errorf("with consent the document holds %s", got)
		}
		header := in.narrowed("papers", "hospital", "system/Composition.r")
		if got := fmt.Sprint(in.send(request{method: "GET", path: "Composition/DOC/$document", header: header}).bundle(t).ordered()); got != "[Composition/DOC]" {
			t.Errorf("scopes let through %s", got)
		}
		for path, status := range map[string]int{"Composition/DOC/$document?persist=true": 400, "Composition/DOC/$document?persist=false": 200, "Composition/nobody/$document": 404, "Condition/C2/$document": 404, "Composition/DOC/$document?graph=x": 400} {
			if a := in.as("hospital", "TREAT").get(path); a.status != status {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
}

func TestMeta(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		a := in.as("hospital", "TREAT").get("Condition/C1/$meta")
		if a.status != 200 || !strings.HasPrefix(string(a.body), `{"resourceType":"Parameters"`) || !strings.Contains(string(a.body), part2Label) || strings.Contains(string(a.body), "F11.20") {
			t.Errorf("%d %s", a.status, a.body)
		}
		hidden, unknown := in.as("hospital", "TREAT").get("Condition/X1/$meta"), in.as("hospital", "TREAT").get("Condition/X0/$meta")
		if hidden.status != 404 || string(hidden.body) != string(unknown.body) {
			t.Errorf("hidden %d %s, unknown %d %s", hidden.status, hidden.body, unknown.status, unknown.body)
		}
		change := func(client, op, meta string) reply {
			a := in.as(client, "TREAT").ask(request{method: "POST", path: "Condition/C1/" + op, body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":` + meta + `}]}`)})
			in.checkIndex()
			return a
		}
		tag := `{"tag":[{"system":"urn:example","code":"reviewed"}],"profile":["http://example.org/p"],"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"ETH"}]}`
		a = change("otp", "$meta-add", tag)
		if a.status != 200 || a.header.Get("ETag") != `W/"2"` || !strings.Contains(string(a.body), "reviewed") || !strings.Contains(string(a.body), `"ETH"`) || strings.Contains(string(a.body), "F11.20") {
			t.Errorf("add: %d %v %s", a.status, a.header, a.body)
		}
		if events := in.eventsOf(a); len(events) == 0 || events[0].Kind != audit.Write {
			t.Errorf("a change of meta is logged as %v", events)
		}
		if a := change("otp", "$meta-add", tag); a.header.Get("ETag") != `W/"2"` {
			t.Errorf("adding again makes a version: %v", a.header)
		}
		if got := fmt.Sprint(in.as("otp", "TREAT").get("Condition?_tag=urn:example|reviewed").bundle(t).references()); got != "[Condition/C1]" {
			t.Errorf("found by tag: %s", got)
		}
		a = change("otp", "$meta-delete", tag)
		if a.status != 200 || a.header.Get("ETag") != `W/"3"` || strings.Contains(string(a.body), "reviewed") || strings.Contains(string(a.body), `"ETH"`) || !strings.Contains(string(a.body), part2Label) {
			t.Errorf("delete: %d %v %s", a.status, a.header, a.body)
		}
		for name, label := range map[string]string{"source": `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2"}`, "content": `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPIOIDUD"}`,
			"confidentiality": `{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}`} {
			if a := change("otp", "$meta-delete", `{"security":[`+label+`]}`); a.status != 422 {
				t.Errorf("a label from the %s is taken off: %d %s", name, a.status, a.body)
			}
		}
		for _, client := range []string{"hospital", "plan"} { // one may see it, the other not: neither is its custodian
			a := in.as(client, "").ask(request{method: "POST", path: "Condition/C1/$meta-add", body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":` + tag + `}]}`)})
			if a.status != 404 {
				t.Errorf("%s changes it: %d %s", client, a.status, a.body)
			}
		}
		for _, meta := range []string{`{}`, `{"versionId":"7"}`, `{"tag":[{"system":"x"}]}`, `{"tag":{}}`} {
			if a := change("otp", "$meta-add", meta); a.status != 400 {
				t.Errorf("%s: %d %s", meta, a.status, a.body)
			}
		}
	})
}

// issues of an outcome, as "severity code expression".
func (a reply) issues(t testing.TB) []string {
	t.Helper()
	var doc struct {
		ResourceType string
		Issue        []struct {
			Severity, Code string
			Expression     []string
		}
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.ResourceType != "OperationOutcome" {
		t.Fatalf("not an outcome: %d %s", a.status, a.body)
	}
	var out []string
	for _, i := range doc.Issue {
		out = append(out, strings.TrimSpace(i.Severity+" "+i.Code+" "+strings.Join(i.Expression, ",")))
	}
	return out
}

func TestValidate(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		before := in.stored()
		v := in.as("hospital", "TREAT")
		good := `{"resourceType":"Condition","subject":{"reference":"Patient/P1"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}]}}`
		parameters := func(more string) string {
			return `{"resourceType":"Parameters","parameter":[{"name":"resource","resource":` + good + `}` + more + `]}`
		}
		for name, c := range map[string]struct{ path, body, want string }{
			"good":            {"Condition/$validate", good, "[information informational]"},
			"parameters":      {"Condition/$validate", parameters(""), "[information informational]"},
			"create":          {"Condition/$validate?mode=create", strings.Replace(good, `"Condition",`, `"Condition","id":"x",`, 1), "[information informational Condition.id]"},
			"other id":        {"Condition/C2/$validate?mode=update", strings.Replace(good, `"Condition",`, `"Condition","id":"x",`, 1), "[error invalid Condition.id]"},
			"own id":          {"Condition/C2/$validate?mode=update", strings.Replace(good, `"Condition",`, `"Condition","id":"C2",`, 1), "[information informational]"},
			"missing":         {"Condition/$validate", `{"resourceType":"Condition","code":{"text":"Zqcanary"}}`, "[error required Condition]"},
			"unknown element": {"Condition/$validate", strings.Replace(good, `"code"`, `"zqcanary"`, 1), ""},
			"bad code":        {"Patient/$validate", `{"resourceType":"Patient","gender":"zqcanary"}`, "[error structure Patient.gender]"},
			"bad date":        {"Patient/$validate", `{"resourceType":"Patient","birthDate":"zqcanary"}`, "[error structure Patient.birthDate]"},
			"other type":      {"Observation/$validate", good, "[error invalid resourceType]"},
			"own words":       {"Condition/$validate", `{"resourceType":"Condition","subject":{"reference":"Patient/P1"},"code":{"text":"Zqcanary"}}`, "[warning business-rule Condition]"},
			"profile":         {"Condition/$validate", parameters(`,{"name":"mode","valueCode":"profile"},{"name":"profile","valueUri":"http://example.org/p"}`), "[warning not-supported]"},
			"base profile":    {"Condition/$validate?profile=http://hl7.org/fhir/StructureDefinition/Condition", good, "[information informational]"},
			"claimed profile": {"Condition/$validate", strings.Replace(good, `"Condition",`, `"Condition","meta":{"profile":["http://example.org/p"]},`, 1), "[warning not-supported Condition.meta.profile[0]]"},
		} {
			a := v.ask(request{method: "POST", path: c.path, body: []byte(c.body)})
			if a.status != 200 || strings.Contains(strings.ToLower(string(a.body)), canary) {
				t.Errorf("%s: %d %s", name, a.status, a.body)
				continue
			}
			if got := fmt.Sprint(a.issues(t)); c.want != "" && got != c.want || !strings.Contains(got, " ") {
				t.Errorf("%s: %s, want %s: %s", name, got, c.want, a.body)
			}
		}
		if got := fmt.Sprint(v.get("Condition/C2/$validate").issues(t)); got != "[information informational]" {
			t.Errorf("stored: %s", got)
		}
		if a := v.get("Condition/X1/$validate"); a.status != 404 {
			t.Errorf("a hidden record is validated: %d", a.status)
		}
		for who, want := range map[string]string{"hospital": "[information informational]", "otp": "[error business-rule]"} {
			if got := fmt.Sprint(in.as(who, "TREAT").get("Condition/C2/$validate?mode=delete").issues(t)); got != want {
				t.Errorf("%s deletes: %s", who, got)
			}
		}
		for path, body := range map[string]string{"Condition/$validate": "{", "Condition/$validate?mode=zqcanary": good, "Condition/$validate?mode=profile": good, "Condition/$validate?mode=delete": good, "Condition/$validate?nonsense=1": good} {
			if a := v.ask(request{method: "POST", path: path, body: []byte(body)}); a.status != 400 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		consent, _ := fixture(t).Given("K1-no-refusal")
		if a := in.as("otp", "").ask(request{method: "POST", path: "Consent/$validate", body: consent.Resource}); !strings.Contains(string(a.body), "2.31(a)(10)") {
			t.Errorf("a consent that lacks a statement: %s", a.body)
		}
		header := in.narrowed("writer", "hospital", "system/Condition.c")
		if a := in.send(request{method: "POST", path: "Condition/$validate", body: []byte(good), header: header}); a.status != 200 {
			t.Errorf("a writer may not validate: %d", a.status)
		}
		if a := in.send(request{method: "GET", path: "Condition/C2/$validate", header: header}); a.status != 403 {
			t.Errorf("a writer reads: %d", a.status)
		}
		if after := in.stored(); after["res"] != before["res"] {
			t.Error("validating stores")
		}
	})
}
