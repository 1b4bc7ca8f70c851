package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"trellis/auth/oauth"
	"trellis/mapping"
)

// TestMappingOverHTTP: an organisation's console tries packs on its own records; nothing of it is stored, and a client
// that may not send such records learns nothing.
func TestMappingOverHTTP(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.register(oauth.Client{ID: "console", Organization: "otp", Scopes: []string{"system/*.cu"}, Purposes: []string{"COC"}, DefaultPurpose: "COC"}, false)
		in.register(oauth.Client{ID: "reader", Organization: "hospital", Scopes: []string{"system/*.rs"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		token := map[string]string{"Authorization": "Bearer " + in.token("console", "COC", "system/*.cu")}
		reader := map[string]string{"Authorization": "Bearer " + in.token("reader", "TREAT", "system/*.rs")}
		data, err := fs.ReadFile(mapping.Packs(), "recovery-plan/cases/full-plan.case")
		if err != nil {
			t.Fatal(err)
		}
		plan, _, _ := bytes.Cut(data, []byte("----------\n"))
		before := in.stored()
		base := strings.TrimSuffix(in.gateway.base, "/fhir")
		ask := func(method, path, body string, want int, says ...string) []byte {
			t.Helper()
			a := in.send(request{method: method, path: base + path, body: []byte(body), contentType: "application/json", header: token})
			if a.status != want {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
			}
			for _, s := range says {
				if !strings.Contains(string(a.body), s) {
					t.Errorf("%s %s lacks %q: %.400s", method, path, s, a.body)
				}
			}
			return a.body
		}
		ask("GET", "/map", "", 200, `"recovery-plan"`, `"referral"`)
		ask("GET", "/map/recovery-plan/coverage", "", 200, `"both ways"`, `"narrative-private"`)
		ask("GET", "/map/recovery-plan/explain?path=Goal.description", "", 200, "own_words")
		ask("GET", "/map/recovery-plan/explain?path=Goal.shoes", "", 404)
		ask("GET", "/map/recovery-plan/golden", "", 200, `"holds":true`)
		ask("GET", "/map/nothing/coverage", "", 404)
		ask("POST", "/map/recovery-plan/run", `{}`, 200, `"rejected":1`)
		ask("POST", "/map/recovery-plan/back", `{"resourceType":`, 400)
		var run struct{ Bundle json.RawMessage }
		if err := json.Unmarshal(ask("POST", "/map/recovery-plan/run?lineage=true", string(plan), 200, `"CarePlan"`, `"lineage"`), &run); err != nil {
			t.Fatal(err)
		}
		ask("POST", "/map/recovery-plan/back", string(run.Bundle), 200, `"plan_id"`, `"unknown":[]`)
		ask("POST", "/map/recovery-plan/roundtrip", string(plan), 200, `"changed":[]`, `"again":[]`)
		later := strings.Replace(string(plan), `"status": "active", "progress"`, `"status": "on-hold", "progress"`, 1)
		ask("POST", "/map/recovery-plan/diff", `{"old":`+string(plan)+`,"new":`+later+`}`, 200, "Goal.lifecycleStatus")
		ask("POST", "/map/recovery-plan/diff", `{"old":1}`, 400)
		ask("POST", "/map/recovery-plan/merge", `{"from":`+string(plan)+`,"current":`+later+`,"resources":[]}`, 200, `"conflicts":[]`)
		for _, path := range []string{"/map", "/map/recovery-plan/coverage", "/map/nothing/coverage"} {
			if a := in.send(request{method: "GET", path: base + path, header: reader}); a.status != 403 {
				t.Errorf("GET %s by a client that sends nothing: %d %s", path, a.status, a.body)
			}
		}
		if after := in.stored(); after["res"] != before["res"] || after["body"] != before["body"] {
			t.Error("a trial left records")
		}
	})
}
