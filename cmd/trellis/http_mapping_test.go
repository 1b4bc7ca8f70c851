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
		ask("GET", "/map/recovery-plan/lint", "", 200, `"faults":[]`, `"todos":[]`)
		ask("GET", "/map/recovery-plan/export?as=conceptmap", "", 200, `"collection"`, `"ConceptMap"`)
		ask("GET", "/map/recovery-plan/export?as=structuremap", "", 200, `"StructureMap"`)
		ask("GET", "/map/sdoh-screening/export?as=sdc", "", 200, `"Questionnaire"`)
		ask("GET", "/map/recovery-plan/export?as=sdc", "", 404)
		ask("GET", "/map/recovery-plan/export?as=fml", "", 400)
		ask("GET", "/map/nothing/lint", "", 404)
		ask("GET", "/map/nothing/coverage", "", 404)
		// A draft goes to and fro; nothing of it is kept.
		var draft struct {
			Name  string            `json:"name"`
			Files map[string]string `json:"files"`
		}
		if err := json.Unmarshal(ask("POST", "/map/new?name=bed-checks", `{"bed": "4", "resident_id": "R-1", "checked": "2026-03-02", "mood": 4}`, 200, `"notes"`), &draft); err != nil {
			t.Fatal(err)
		}
		if draft.Name != "bed-checks" || draft.Files["pack.yaml"] == "" || draft.Files["bed-checks.map.yaml"] == "" {
			t.Errorf("drafted %v", draft)
		}
		sent := func() string {
			out, err := json.Marshal(draft)
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		ask("POST", "/map/lint", sent(), 200, `"faults":[]`, "waits for a decision")
		draft.Files["pack.yaml"] = strings.Replace(draft.Files["pack.yaml"], "title:", "titel:", 1)
		ask("POST", "/map/lint", sent(), 200, `unknown key \"titel\"`)
		ask("POST", "/map/lint", `{}`, 400)
		ask("POST", "/map/new?name=Bed", `{"bed": "4"}`, 422)
		ask("POST", "/map/recovery-plan/run?lineage=yes", `{}`, 400)
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
		for _, path := range []string{"/map", "/map/recovery-plan/coverage", "/map/nothing/coverage", "/map/recovery-plan/lint", "/map/recovery-plan/export?as=conceptmap"} {
			if a := in.send(request{method: "GET", path: base + path, header: reader}); a.status != 403 {
				t.Errorf("GET %s by a client that sends nothing: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"/map/new?name=beds", "/map/lint"} {
			if a := in.send(request{method: "POST", path: base + path, body: []byte(`{"bed":"4"}`), contentType: "application/json", header: reader}); a.status != 403 {
				t.Errorf("POST %s by a client that sends nothing: %d %s", path, a.status, a.body)
			}
		}
		if after := in.stored(); after["res"] != before["res"] || after["body"] != before["body"] {
			t.Error("a trial left records")
		}
	})
}
