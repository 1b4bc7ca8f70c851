package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trellis/fhir"
)

// sessions draws native peer encounters, sensible and odd.
func sessions(t *rapid.T) map[string]any {
	word := rapid.StringMatching(`[A-Za-z<>&"'|\\/ éß-]{0,12}[a-z0-9]`)
	rec := map[string]any{
		"session_id":   word.Draw(t, "id"),
		"client":       map[string]any{"id": word.Draw(t, "client"), "name": map[string]any{"first": word.Draw(t, "first")}, "sex": "female"},
		"peer":         map[string]any{"id": word.Draw(t, "peer"), "name": word.Draw(t, "name")},
		"status":       rapid.SampledFrom([]string{"done", "planned", "under-way", "cancelled", "no-show", "entered-by-mistake"}).Draw(t, "status"),
		"start":        rapid.SampledFrom([]string{"2026-03-02T14:05:00-05:00", "2026-12-31T23:59:59.999Z"}).Draw(t, "start"),
		"mode":         rapid.SampledFrom([]string{"in-person", "phone", "video", "text"}).Draw(t, "mode"),
		"last_updated": "2026-03-02T16:00:00-05:00",
		"note":         "canary-7",
	}
	kinds := []string{"peer-support", "outreach", "advocacy", "crisis-support"}
	list := []any{}
	for _, k := range rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 4).Draw(t, "kinds") {
		list = append(list, map[string]any{"kind": k, "minutes": rapid.IntRange(0, 60).Draw(t, "minutes")})
	}
	rec["activities"] = list
	if rapid.Bool().Draw(t, "with outcomes") {
		rec["outcomes"] = map[string]any{"craving": rapid.IntRange(0, 10).Draw(t, "craving"), "mood": 3}
	}
	return rec
}

func TestProperties(t *testing.T) {
	p := load(t, "peer-encounter")
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		rec := sessions(t)
		data, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		env := testEnv(rapid.Bool().Draw(t, "part2"))
		res, err := p.MapJSON(env, data)
		if err != nil {
			t.Fatalf("%v", err)
		}
		sameAgain(t, p, env, data, rec, res)
		ids := map[string]bool{}
		for _, r := range res.Records[0].Resources {
			if ids[r.Type+r.ID] {
				t.Fatalf("id of %s stands twice", r.Slot)
			}
			ids[r.Type+r.ID] = true
			if _, err := parser.Parse(r.Labelled()); err != nil {
				t.Fatalf("%s is not R4: %v", r.Slot, err)
			}
			if bytes.Contains(r.JSON, []byte("canary-7")) {
				t.Fatalf("%s holds the private note", r.Slot)
			}
		}
		provenanceHasAllLabels(t, res.Records[0])
		referencesResolve(t, res.Records[0])
	})
}

// sameAgain: the same record gives the same bytes, whatever the clock says and however it is spelt.
func sameAgain(t *rapid.T, p *Pack, env Env, data []byte, rec map[string]any, res *Result) {
	later := env
	later.Now = env.Now.AddDate(0, 0, 1)
	spelt, err := json.MarshalIndent(rec, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range [][]byte{data, spelt} {
		again, err := p.MapJSON(later, input)
		if err != nil {
			t.Fatal(err)
		}
		a, err1 := res.Bundle()
		b, err2 := again.Bundle()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Fatal("the same record gave other bytes")
		}
	}
	rec2 := map[string]any{}
	for k, v := range rec {
		rec2[k] = v
	}
	rec2["status"], rec2["note"] = "done", "other"
	changed, err := json.Marshal(rec2)
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.MapJSON(env, changed)
	if err != nil {
		t.Fatal(err)
	}
	if idOf(res, "encounter") != idOf(other, "encounter") || idOf(res, "patient") != idOf(other, "patient") {
		t.Fatal("a changed record got other ids")
	}
}

func idOf(res *Result, slot string) string {
	for _, r := range res.Records[0].Resources {
		if r.Slot == slot {
			return r.ID
		}
	}
	return ""
}

func provenanceHasAllLabels(t *rapid.T, rec Record) {
	prov := rec.Resources[len(rec.Resources)-1]
	if prov.Type != "Provenance" {
		t.Fatal("the last resource is not the Provenance")
	}
	have := func(l Label) bool {
		return slices.ContainsFunc(prov.Labels, func(p Label) bool { return p.System == l.System && p.Code == l.Code })
	}
	for _, r := range rec.Resources {
		for _, l := range r.Labels {
			if !have(l) {
				t.Fatalf("Provenance lacks %s of %s", l.Code, r.Slot)
			}
		}
		if !strings.Contains(string(prov.JSON), r.Type+"/"+r.ID) && r.Type != "Provenance" {
			t.Fatalf("Provenance does not point at %s", r.Slot)
		}
	}
}

// referencesResolve: what a record refers to is in it, but for the custodian and goals of a plan.
func referencesResolve(t *rapid.T, rec Record) {
	have := map[string]bool{"Organization/org-1": true}
	for _, r := range rec.Resources {
		have[r.Type+"/"+r.ID] = true
	}
	for _, r := range rec.Resources {
		for _, part := range strings.Split(string(r.JSON), `"reference":"`)[1:] {
			ref, _, _ := strings.Cut(part, `"`)
			if !have[ref] && !strings.HasPrefix(ref, "Goal/") {
				t.Fatalf("%s refers to %s, which is not there", r.Slot, ref)
			}
		}
	}
}

func TestNamespaceDecidesIDs(t *testing.T) {
	p := load(t, "peer-encounter")
	data := []byte(`{"session_id":"1","client":{"id":"c","name":{"first":"A"},"sex":"male"},"peer":{"id":"p","name":"P"},
		"status":"done","start":"2026-01-01T10:00:00Z","mode":"phone","last_updated":"2026-01-01T11:00:00Z"}`)
	seen := map[string]bool{}
	for i := range 3 {
		env := testEnv(false)
		env.Namespace[0] = byte(i)
		if i == 2 {
			env = testEnv(false)
			env.Organization.System += "/other"
		}
		res, err := p.MapJSON(env, data)
		if err != nil {
			t.Fatal(err)
		}
		id := idOf(res, "patient")
		if seen[id] {
			t.Error("two deployments or organisations share an id")
		}
		seen[id] = true
	}
}
