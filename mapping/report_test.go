package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"trellis/fhir"
)

// canary stands in every free text of the record; reports and errors must not repeat it.
const canary = "canary-7f3a"

func TestReportsHoldNoValues(t *testing.T) {
	for _, name := range []string{
		"peer-encounter/cases/session-in-person.case", "recovery-plan/cases/full-plan.case", "sdoh-screening/cases/hunger-refused.case",
		"referral/cases/family-member.case", "mat-linkage/cases/stopped-medicine-shared.case", "justice-status/cases/shared-drug-court.case",
	} {
		p := load(t, strings.Split(name, "/")[0])
		data, err := fs.ReadFile(Packs(), name)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), caseRule)
		var rec map[string]any
		if err := json.Unmarshal([]byte(input), &rec); err != nil {
			t.Fatal(err)
		}
		// With the canary in every text the record breaks its schema; with it in one at a time, some still map.
		for _, pointer := range texts("", rec) {
			changed, err := json.Marshal(replaceText("", rec, pointer))
			if err != nil {
				t.Fatal(err)
			}
			reportWithout(t, p, changed, pointer)
		}
	}
}

func reportWithout(t *testing.T, p *Pack, record []byte, pointer string) {
	t.Helper()
	var said bytes.Buffer
	res, err := p.MapJSON(testEnv(false), record)
	var invalid *InvalidError
	switch {
	case errors.As(err, &invalid):
		said.WriteString(err.Error())
		if err := json.NewEncoder(&said).Encode(invalid.Problems); err != nil {
			t.Fatal(err)
		}
	case err != nil:
		t.Fatal(err)
	default:
		if err := res.Report.WriteText(&said); err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&said).Encode(res.Report); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(said.String(), canary) {
		t.Errorf("%s: the value of %s was repeated:\n%s", p.Name, pointer, said.String())
	}
}

// texts lists the pointers of all texts of a record.
func texts(at string, v any) []string {
	var out []string
	switch x := v.(type) {
	case map[string]any:
		for k, kid := range x {
			out = append(out, texts(at+"/"+k, kid)...)
		}
	case []any:
		for i, kid := range x {
			out = append(out, texts(at+"/"+itoa(i), kid)...)
		}
	case string:
		out = append(out, at)
	}
	return out
}

func replaceText(at string, v any, pointer string) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, kid := range x {
			out[k] = replaceText(at+"/"+k, kid, pointer)
		}
		return out
	case []any:
		out := []any{}
		for i, kid := range x {
			out = append(out, replaceText(at+"/"+itoa(i), kid, pointer))
		}
		return out
	}
	if at == pointer {
		return canary
	}
	return v
}

func TestCoverage(t *testing.T) {
	p := load(t, "peer-encounter")
	data, err := fs.ReadFile(Packs(), "peer-encounter/cases/session-in-person.case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	res, err := p.MapJSON(testEnv(false), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"session_id": Carried, "client.name.first": Carried, "activities[].minutes": Carried, "outcomes.mood": Carried,
		"note": Ignored, "client.email": NotPresent, "place": Carried,
	}
	for _, f := range res.Report.Coverage {
		if w, ok := want[f.Name]; ok && f.Status != w {
			t.Errorf("%s is %s, want %s", f.Name, f.Status, w)
		}
		if f.Status == Carried && len(f.Elements) == 0 || f.Status == Ignored && f.Reason == "" {
			t.Errorf("%s says not where or why", f.Name)
		}
		delete(want, f.Name)
	}
	if len(want) > 0 {
		t.Errorf("coverage lacks %v", want)
	}
	if len(res.Report.Coverage) != len(p.fields.names) {
		t.Error("coverage does not list every field of the schema")
	}
}

func TestLineage(t *testing.T) {
	p := load(t, "peer-encounter")
	data, err := fs.ReadFile(Packs(), "peer-encounter/cases/session-in-person.case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	env := testEnv(false)
	env.Lineage = true
	res, err := p.MapJSON(env, []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Encounter.period.start": "/start", "Encounter.type[0].coding[0]": "/mode", "Patient.name[0].given[0]": "/client/name/first",
		"Procedure.code": "/activities/0/kind", "Observation.focus[0]": "/goals_worked_on/0/plan_id /goals_worked_on/0/goal_id",
		"Provenance.recorded": "/last_updated",
	}
	for _, r := range res.Records[0].Resources {
		for _, l := range r.Lineage {
			if want[l.Element] == l.Source {
				delete(want, l.Element)
			}
			if !strings.Contains(l.Rule, ".map.yaml:") && !strings.HasPrefix(l.Rule, "peer-encounter/") {
				t.Errorf("rule %q names no line", l.Rule)
			}
		}
	}
	for element, source := range want {
		t.Errorf("no lineage for %s from %s", element, source)
	}
	// The record's Provenance tells the same to whoever reads it, and is R4.
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	prov := res.Records[0].Resources[len(res.Records[0].Resources)-1]
	if _, err := parser.Parse(prov.JSON); err != nil {
		t.Errorf("with lineage the Provenance is not R4: %v", err)
	}
	for _, part := range []string{`"valueString":"Encounter.period.start"`, `"valueString":"/start"`, targetPath} {
		if !strings.Contains(string(prov.JSON), part) {
			t.Errorf("the Provenance lacks %s", part)
		}
	}
	plain, err := p.MapJSON(testEnv(false), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range plain.Records[0].Resources {
		if len(r.Lineage) > 0 {
			t.Errorf("%s has lineage that nobody asked for", r.Slot)
		}
		if r.Type != "Provenance" && string(r.JSON) != string(res.Records[0].Resources[i].JSON) {
			t.Errorf("lineage changes %s", r.Slot)
		}
	}
}

func TestInvalidRecords(t *testing.T) {
	p := load(t, "peer-encounter")
	tests := []struct{ name, in, code, keyword string }{
		{"empty", ``, "not-json", ""},
		{"text", `hello`, "not-json", ""},
		{"trailing", `{} {}`, "not-json", ""},
		{"list", `[]`, "schema", "type"},
		{"null", `null`, "schema", "type"},
		{"nothing in it", `{}`, "schema", "required"},
		{"unknown field", `{"session_id":"1","client":{"id":"c","name":{"first":"A"},"sex":"male"},"peer":{"id":"p","name":"P"},
			"status":"done","start":"2026-01-01T10:00:00Z","mode":"phone","last_updated":"2026-01-01T11:00:00Z","` + canary + `":1}`, "schema", "additionalProperties"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := p.MapJSON(testEnv(false), []byte(tt.in))
			var invalid *InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v", err)
			}
			if pr := invalid.Problems[0]; pr.Code != tt.code || pr.Keyword != tt.keyword {
				t.Errorf("got %+v", pr)
			}
			if strings.Contains(err.Error(), canary) {
				t.Error("the error repeats the input")
			}
		})
	}
	if _, err := p.MapFiles(testEnv(false), nil); err == nil {
		t.Error("a JSON pack took files")
	}
}
