package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"trellis/gateway/audit"
)

// graded lists a $match's answer as id, grade and score.
func (a reply) graded(t testing.TB) string {
	t.Helper()
	var b struct {
		Entry []struct {
			Resource struct{ ResourceType, ID string }
			Search   struct {
				Mode      string
				Score     json.Number
				Extension []struct {
					URL       string
					ValueCode string
				}
			}
		}
	}
	if err := json.Unmarshal(a.body, &b); err != nil || a.status != 200 {
		return fmt.Sprintf("%d %v", a.status, a.issueCodes())
	}
	out := []string{}
	for _, e := range b.Entry {
		if e.Resource.ResourceType == "Patient" {
			if len(e.Search.Extension) != 1 || e.Search.Extension[0].URL != "http://hl7.org/fhir/StructureDefinition/match-grade" || e.Search.Mode != "match" {
				t.Errorf("%s has no grade: %s", e.Resource.ID, a.body)
				continue
			}
			out = append(out, e.Resource.ID+" "+e.Search.Extension[0].ValueCode+" "+e.Search.Score.String())
		}
	}
	return strings.Join(out, ", ")
}

// community writes people who are easily taken for each other, by the hospital, and one only the program knows.
func (in *installation) matchCommunity() {
	patient := func(owner, id, elements string) {
		in.keep(owner, `{"resourceType":"Patient","id":"`+id+`",`+elements+`}`)
	}
	home := `"telecom":[{"system":"phone","value":"(555) 123-4567"}],"address":[{"line":["12 Oak Street"],"city":"Albany","postalCode":"12207"}]`
	patient("hospital", "ana", `"identifier":[{"system":"urn:mrn","value":"A-1"}],"name":[{"family":"Zqcanary-García","given":["Ana"]}],"birthDate":"1990-02-03",`+home)
	patient("hospital", "eva", `"identifier":[{"system":"urn:mrn","value":"A-2"}],"name":[{"family":"Zqcanary-García","given":["Eva"]}],"birthDate":"1990-02-03",`+home)
	patient("hospital", "transposed", `"name":[{"family":"Zqcanary-García","given":["Ana"]}],"birthDate":"1990-03-02"`)
	patient("hospital", "guest", `"name":[{"family":"Zqcanary-Smith","given":["Bo"]}],"birthDate":"1990-02-03","telecom":[{"system":"phone","value":"555-000-1111"}],"address":[{"line":["99 Mission St"],"postalCode":"12207"}]`)
	in.keep("otp", `{"resourceType":"Organization","id":"house","name":"House","telecom":[{"system":"phone","value":"5550001111"}],"address":[{"line":["99 Mission Street"],"postalCode":"12207"}]}`)
	patient("otp", "secret", `"identifier":[{"system":"urn:otp","value":"S-1"}],"name":[{"family":"Zqcanary-García","given":["Ana"]}],"birthDate":"1990-02-03",`+home)
}

func TestMatch(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.matchCommunity()
		match := func(who, elements, more string) reply {
			return in.as(who, "TREAT").ask(request{method: "POST", path: "Patient/$match", body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Patient",` + elements + `}}` + more + `]}`)})
		}
		ana := `"name":[{"family":"Zqcanary Garcia","given":["ANA"]}],"birthDate":"1990-02-03"`
		phone := `,"telecom":[{"system":"phone","value":"(555) 123-4567"}]`
		home := `,"address":[{"line":["12 Oak St"],"postalCode":"12207"}]`
		for title, c := range map[string]struct{ who, elements, more, want string }{
			"by number":                {"hospital", `"identifier":[{"system":"urn:mrn","value":"A-1"}]`, "", "ana certain 0.92"},
			"another system's number":  {"hospital", `"identifier":[{"system":"urn:otp","value":"A-1"}]`, "", ""},
			"all of it, with the twin": {"hospital", ana + phone + home, "", "ana probable 0.75, eva possible 0.21"},
			"name and birth":           {"hospital", ana, "", "ana possible 0.15"},
			"name, birth, phone":       {"hospital", ana + phone, "", "ana possible 0.27, eva possible 0.18"},
			"transposed":               {"hospital", strings.Replace(ana, "02-03", "03-02", 1) + phone, "", "ana possible 0.24, transposed possible 0.15"},
			"only certain ones":        {"hospital", ana + phone + home, `,{"name":"onlyCertainMatches","valueBoolean":true}`, ""},
			"the certain one":          {"hospital", ana + `,"identifier":[{"system":"urn:mrn","value":"A-1"}]`, `,{"name":"onlyCertainMatches","valueBoolean":true}`, "ana certain 0.95"},
			"a number with a twin":     {"hospital", ana + `,"identifier":[{"system":"urn:mrn","value":"A-2"}]`, "", "eva possible 0.18, ana possible 0.15"},
			"one of them":              {"hospital", ana + phone + home, `,{"name":"count","valueInteger":1}`, "ana probable 0.75"},
			"at the agency's address":  {"hospital", `"name":[{"family":"Zqcanary-Smith","given":["Jo"]}],"birthDate":"1990-02-03","telecom":[{"system":"phone","value":"555-000-1111"}],"address":[{"line":["99 Mission Street"],"postalCode":"12207"}]`, "", ""},
			"nobody":                   {"hospital", `"name":[{"family":"Nobody","given":["No"]}],"birthDate":"1950-01-01"`, "", ""},
			"too little":               {"hospital", `"name":[{"family":"Zqcanary"}]`, "", "422 [required]"},
			"address and phone alone":  {"hospital", strings.TrimPrefix(phone+home, ","), "", "422 [required]"},
			"not a Patient":            {"hospital", `"gender":"zqcanary"`, "", "400 [structure]"},
			"a parameter it lacks":     {"hospital", ana, `,{"name":"threshold","valueDecimal":0.5}`, "400 [not-supported]"},
			"hidden, by number":        {"hospital", `"identifier":[{"system":"urn:otp","value":"S-1"}]`, "", ""},
			"its custodian, by number": {"otp", `"identifier":[{"system":"urn:otp","value":"S-1"}]`, "", "secret certain 0.92"},
		} {
			a := match(c.who, c.elements, c.more)
			if got := a.graded(t); got != c.want {
				t.Errorf("%s: %s, want %s", title, got, c.want)
			}
			if a.status != 200 && strings.Contains(strings.ToLower(string(a.body)), canary) {
				t.Errorf("%s: %s", title, a.body)
			}
		}
		bare := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Patient/$match", body: []byte(`{"resourceType":"Patient",` + ana + phone + home + `}`)})
		if got := bare.graded(t); !strings.HasPrefix(got, "ana probable") {
			t.Errorf("a bare Patient: %s", got)
		}
		events := in.eventsOf(bare)
		if len(events) != 2 || events[0].Kind != audit.Disclosure || events[0].Patient == "" {
			t.Errorf("%d events of a match", len(events))
		}
		for path, status := range map[string]int{"Observation/$match": 404} {
			if a := in.as("hospital", "TREAT").ask(request{method: "POST", path: path, body: []byte(`{"resourceType":"Patient"}`)}); a.status != status {
				t.Errorf("%s: %d", path, a.status)
			}
		}
	})
}

// TestMatchIsTheCallersView: with a hidden person that fits better and without, the answers are the same.
func TestMatchIsTheCallersView(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.matchCommunity()
		body := []byte(`{"resourceType":"Patient","identifier":[{"system":"urn:otp","value":"S-1"}],"name":[{"family":"Zqcanary-García","given":["Ana"]}],"birthDate":"1990-02-03"}`)
		with := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Patient/$match", body: body})
		if a := in.remove("Patient/secret", "otp"); a.status != 204 {
			t.Fatal(a.status)
		}
		without := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Patient/$match", body: body})
		if string(with.body) != string(without.body) || !sameHeaders(with.header, without.header) || with.graded(t) != "ana possible 0.15" {
			t.Errorf("with: %s\nwithout: %s", with.body, without.body)
		}
	})
}
