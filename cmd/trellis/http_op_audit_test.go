package main

import (
	"net/http"
	"strings"
	"testing"

	"trellis/gateway/audit"
)

// answersOf is one request for each operation that answers with something it found.
func answersOf() map[string]request {
	lookFor := []byte(`{"resourceType":"Patient","identifier":[{"system":"urn:example:mrn","value":"zqcanary-4711"}]}`)
	return map[string]request{
		"$everything":                 {method: "GET", path: "Patient/P1/$everything"},
		"$everything of an encounter": {method: "GET", path: "Encounter/E1/$everything"},
		"$lastn":                      {method: "GET", path: "Observation/$lastn?patient=P1"},
		"$document":                   {method: "GET", path: "Composition/DOC/$document"},
		"$meta":                       {method: "GET", path: "Condition/C2/$meta"},
		"$match":                      {method: "POST", path: "Patient/$match", body: lookFor},
		"$validate":                   {method: "POST", path: "Patient/$validate", body: lookFor},
		"$validate, stored":           {method: "GET", path: "Condition/C2/$validate"},
		"$validate, a delete":         {method: "GET", path: "Condition/C2/$validate?mode=delete"},
		"$lookup":                     {method: "GET", path: "CodeSystem/$lookup?code=male&system=http://hl7.org/fhir/administrative-gender"},
		"$validate-code":              {method: "GET", path: "CodeSystem/$validate-code?code=male&url=http://hl7.org/fhir/administrative-gender"},
		"$subsumes":                   {method: "GET", path: "CodeSystem/$subsumes?codeA=male&codeB=female&system=http://hl7.org/fhir/administrative-gender"},
		"$expand":                     {method: "GET", path: "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender"},
		"$translate":                  {method: "GET", path: "ConceptMap/$translate?code=I10&url=urn:map:plain&system=http://hl7.org/fhir/sid/icd-10-cm"},
		"a read of a part":            {method: "GET", path: "Condition/C2?_summary=true"},
	}
}

// TestOperationsAreLoggedFirst: every operation leaves an event with the digest of what went out and the operation's name, and
// when the log takes no entries none answers.
func TestOperationsAreLoggedFirst(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.terms()
		in.keep("hospital", `{"resourceType":"Composition","id":"DOC","status":"final","type":{"text":"x"},"subject":{"reference":"Patient/P1"},"date":"2026-03-01","author":[{"reference":"Organization/hospital"}],"title":"Summary"}`)
		v := in.as("hospital", "TREAT")
		for name, r := range answersOf() {
			a := v.ask(r)
			if a.status != http.StatusOK {
				t.Errorf("%s: %d %s", name, a.status, a.body)
				continue
			}
			events := in.eventsOf(a)
			logged := len(events) > 0
			for _, e := range events {
				logged = logged && e.Kind == audit.Disclosure && e.Released == audit.Digest(a.body) && e.ReleasedBytes == int64(len(a.body))
				if strings.HasPrefix(name, "$") && !strings.HasPrefix(name, e.Interaction) {
					t.Errorf("%s is logged as %s", name, e.Interaction)
				}
			}
			if !logged {
				t.Errorf("%s: what went out is not what %d events name", name, len(events))
			}
		}
		tokens := in.token("hospital", "TREAT", anyScope)
		in.breakAuditLog()
		for name, r := range answersOf() {
			r.header = map[string]string{"Authorization": "Bearer " + tokens}
			if a := in.send(r); a.status != http.StatusServiceUnavailable || strings.Contains(string(a.body), "I10") {
				t.Errorf("%s without a log: %d %s", name, a.status, a.body)
			}
		}
	})
}
