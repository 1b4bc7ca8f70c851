package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestOperationsInABundle: an operation is a request like any other in a batch, and none in a transaction.
func TestOperationsInABundle(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		entry := func(method, url, resource string) string {
			if resource != "" {
				resource = `"resource":` + resource + `,`
			}
			return `{` + resource + `"request":{"method":"` + method + `","url":"` + url + `"}}`
		}
		entries := []string{
			entry("GET", "Patient/P1/$everything?_type=Condition", ""),
			entry("GET", "Condition/C1/$meta", ""),
			entry("GET", "CodeSystem/$lookup?code=male&system=http://hl7.org/fhir/administrative-gender", ""),
			entry("POST", "Patient/$match", `{"resourceType":"Patient","identifier":[{"system":"urn:example:mrn","value":"zqcanary-4711"}]}`),
			entry("GET", "Observation/$lastn?patient=P1&max=1", ""),
			entry("GET", "Condition/C2?_summary=true", ""),
		}
		send := func(kind string, entries ...string) reply {
			return in.as("hospital", "TREAT").ask(request{method: "POST", body: []byte(`{"resourceType":"Bundle","type":"` + kind + `","entry":[` + strings.Join(entries, ",") + `]}`)})
		}
		a := send("batch", entries...)
		var b struct {
			Entry []struct {
				Resource json.RawMessage
				Response struct{ Status string }
			}
		}
		if err := json.Unmarshal(a.body, &b); err != nil || len(b.Entry) != len(entries) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for i, want := range []struct{ status, has string }{{"200", "Condition/C2"}, {"404", ""}, {"200", `"male"`}, {"200", `"certain"`}, {"200", "Observation/O"}, {"200", "SUBSETTED"}} {
			e := b.Entry[i]
			if !strings.HasPrefix(e.Response.Status, want.status) || !strings.Contains(string(e.Resource), want.has) {
				t.Errorf("entry %d: %s %s", i, e.Response.Status, e.Resource)
			}
		}
		if strings.Contains(string(a.body), "F11.20") {
			t.Error("a batch shows what is hidden")
		}
		before := in.stored()
		if a := send("transaction", entry("POST", "Patient/$match", `{"resourceType":"Patient"}`)); a.status != 400 {
			t.Errorf("an operation in a transaction: %d %s", a.status, a.body)
		}
		if after := in.stored(); after["res"] != before["res"] {
			t.Error("an operation in a transaction stores")
		}
	})
}
