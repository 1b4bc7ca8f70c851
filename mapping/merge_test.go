package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// put-get: whatever another party makes of a record's resources, the merged record maps to just that, and what FHIR does
// not hold stays as it was. A record merged with its own resources is itself.
func TestPutGet(t *testing.T) {
	eachJSONPack(t, func(t *testing.T, p *Pack) {
		rapid.Check(t, func(t *rapid.T) {
			x, resX := drawRecord(t, p, "x")
			y, _ := drawRecord(t, p, "y")
			for _, k := range p.maps[0].key {
				y[k.segs[0]] = x[k.segs[0]]
			}
			env := testEnv(false)
			data := mustJSON(t, x)
			self, err := p.Merge(env, data, data, bodiesOf(resX), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p.Comparable(x, resX.Report.Losses), p.Comparable(self.Record, resX.Report.Losses)); diff != "" || len(self.Taken)+len(self.Conflicts)+len(self.NotTaken)+len(self.Unknown) > 0 {
				t.Fatalf("merged with itself it differs: %s %+v", diff, self)
			}
			resY, err := p.MapJSON(env, mustJSON(t, y))
			if err != nil {
				t.Fatal(err)
			}
			for _, pr := range resY.Report.Problems {
				if pr.Dropped {
					t.Skip("its resources do not hold all of it")
				}
			}
			merged, err := p.Merge(env, data, data, bodiesOf(resY), missingFrom(resX, resY))
			if err != nil {
				t.Fatal(err)
			}
			if len(merged.Conflicts) > 0 {
				t.Fatalf("nobody else changed it, and there are conflicts: %+v", merged.Conflicts)
			}
			again, err := p.MapJSON(env, mustJSON(t, merged.Record))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(resourceSet(t, resY), resourceSet(t, again), unordered()); diff != "" {
				t.Fatalf("the merged record maps to something else (-theirs +merged)\n%s\nx: %s\ny: %s\nmerged: %s", diff, data, mustJSON(t, y), mustJSON(t, merged.Record))
			}
		})
	})
}

// missingFrom are the resources of a record that another version of it does not make.
func missingFrom(res, other *Result) []string {
	have := map[string]bool{}
	for _, r := range other.Records[0].Resources {
		have[r.Type+"/"+r.ID] = true
	}
	var out []string
	for _, r := range res.Records[0].Resources {
		if !have[r.Type+"/"+r.ID] {
			out = append(out, r.Type+"/"+r.ID)
		}
	}
	return out
}

func bodiesOf(res *Result) [][]byte {
	var out [][]byte
	for _, r := range res.Records[0].Resources {
		out = append(out, r.JSON)
	}
	return out
}

// resourceSet is the result by reference, without what tells when and from which bytes it was made.
func resourceSet(t rapid.TB, res *Result) map[string]any {
	out := map[string]any{}
	for _, r := range res.Records[0].Resources {
		if r.Type == "Provenance" {
			continue
		}
		v, err := decodeJSON(r.JSON)
		if err != nil {
			t.Fatal(err)
		}
		body := asObject(v).fields
		delete(body, "text") // follows the order of lists
		out[r.Type+"/"+r.ID] = body
	}
	return out
}

// unordered compares lists as sets: ours stay in their order, and what the partner added stands behind them.
func unordered() cmp.Option {
	return cmpopts.SortSlices(func(a, b any) bool { return fmt.Sprint(a) < fmt.Sprint(b) })
}

func TestMerge(t *testing.T) {
	p := load(t, "recovery-plan")
	data, err := fs.ReadFile(Packs(), "recovery-plan/cases/full-plan.case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	env := testEnv(false)
	res, err := p.MapJSON(env, []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	goal := ""
	for _, r := range res.Records[0].Resources {
		if r.Slot == "goal:g1" {
			goal = string(r.JSON)
		}
	}
	if !strings.Contains(goal, `"lifecycleStatus":"active"`) {
		t.Fatalf("the case has no active goal g1: %s", goal)
	}
	edited := func(pairs ...string) []byte { return []byte(strings.NewReplacer(pairs...).Replace(goal)) }
	ours := func(pairs ...string) []byte { return []byte(strings.NewReplacer(pairs...).Replace(input)) }
	for _, tc := range []struct {
		name             string
		current          []byte
		incoming         []byte
		taken, conflicts string
		unknown          string
		notTaken         string
	}{
		{"a change of the partner is taken", ours(), edited(`"lifecycleStatus":"active"`, `"lifecycleStatus":"completed"`), "/goals/[g1]/status", "", "", ""},
		{"both changed the same place", ours(`"status": "active", "progress"`, `"status": "on-hold", "progress"`), edited(`"lifecycleStatus":"active"`, `"lifecycleStatus":"completed"`), "", "/goals/[g1]/status", "", ""},
		{"we changed another place", ours(`"priority": "high"`, `"priority": "low"`), edited(`"lifecycleStatus":"active"`, `"lifecycleStatus":"completed"`), "/goals/[g1]/status", "", "", ""},
		{"an element nobody maps is kept", ours(), edited(`"lifecycleStatus"`, `"note":[{"text":"seen"}],"lifecycleStatus"`), "", "", "Goal.note", ""},
		{"an extension nobody maps is kept", ours(), edited(`"lifecycleStatus"`, `"extension":[{"url":"https://ehr.example/x","valueCode":"y"}],"lifecycleStatus"`), "", "", "Goal.extension", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Merge(env, []byte(input), tc.current, [][]byte{tc.incoming}, nil)
			if err != nil {
				t.Fatal(err)
			}
			pointers := func(list []Change) string {
				var out []string
				for _, c := range list {
					out = append(out, c.Pointer)
				}
				return strings.Join(out, " ")
			}
			unknown, notTaken := "", ""
			for _, u := range got.Unknown {
				unknown += u.Path
			}
			for _, e := range got.NotTaken {
				notTaken += e.Path
			}
			have := []string{pointers(got.Taken), pointers(got.Conflicts), unknown, notTaken}
			if diff := cmp.Diff([]string{tc.taken, tc.conflicts, tc.unknown, tc.notTaken}, have); diff != "" {
				t.Errorf("taken, conflicts, unknown, not taken (-want +got)\n%s", diff)
			}
			back, err := p.MapJSON(env, mustJSON(t, got.Record))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range back.Records[0].Resources {
				if r.Slot != "goal:g1" || len(got.Unknown) == 0 {
					continue
				}
				whole, left, err := Restore(r.JSON, got.Unknown)
				if err != nil || len(left) > 0 {
					t.Fatal(err, left)
				}
				var a, b any
				if err := errors.Join(json.Unmarshal(whole, &a), json.Unmarshal(tc.incoming, &b)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(b, a); diff != "" {
					t.Errorf("what the partner added is not sent on as it came\n%s", diff)
				}
			}
		})
	}
}

// Where a partner takes out all that FHIR holds of an object, an empty list that FHIR cannot hold does not keep it.
func TestMergeKeepsNoEmptyObject(t *testing.T) {
	p, env := load(t, "recovery-capital"), testEnv(false)
	base := []byte(`{"measure_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "last_updated": "2026-03-02T16:00:00Z",
		"recovery": {"on": "2026-03-02", "status": "seeking", "pathways": []}}`)
	res, err := p.MapJSON(env, base)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res.Records[0].Resources {
		if r.Slot != "recovery" {
			continue
		}
		got, err := p.Merge(env, base, base, nil, []string{r.Type + "/" + r.ID})
		if err != nil {
			t.Fatal(err)
		}
		if got.Record["recovery"] != nil || len(got.Conflicts) > 0 {
			t.Errorf("left %v, conflicts %+v", got.Record["recovery"], got.Conflicts)
		}
		return
	}
	t.Fatal("nothing says where the person is in recovery")
}

// A record that is not carried at all has no resources that a partner could have changed.
func TestMergeOfWhatIsNotCarried(t *testing.T) {
	p := load(t, "justice-status")
	base := []byte(`{"status_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "sharing": "private", "asked_on": "2026-03-02",
		"legal_status": "parole", "last_updated": "2026-03-02T16:00:00Z"}`)
	var invalid *InvalidError
	if _, err := p.Merge(testEnv(false), base, base, nil, nil); !errors.As(err, &invalid) {
		t.Errorf("got %v", err)
	}
}

// planCase is the plan with private entries, and its resources.
func planCase(t *testing.T, p *Pack) (input string, res *Result) {
	t.Helper()
	data, err := fs.ReadFile(Packs(), "recovery-plan/cases/full-plan.case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ = strings.Cut(string(data), caseRule)
	if res, err = p.MapJSON(testEnv(false), []byte(input)); err != nil {
		t.Fatal(err)
	}
	return input, res
}

// slotOf is the resource of a slot.
func slotOf(t *testing.T, res *Result, slot string) Resource {
	t.Helper()
	for _, r := range res.Records[0].Resources {
		if r.Slot == slot {
			return r
		}
	}
	t.Fatalf("no %s", slot)
	return Resource{}
}

// A removed resource takes its item with it, though other resources still tell of it and though the item has parts that no
// resource tells of. A value that no rule reads is not a removed value.
func TestMergeRemovals(t *testing.T) {
	p := load(t, "recovery-plan")
	input, res := planCase(t, p)
	goal := slotOf(t, res, "goal:g1")
	got, err := p.Merge(testEnv(false), []byte(input), []byte(input), nil, []string{"Goal/" + goal.ID})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Taken) != 1 || got.Taken[0].Pointer != "/goals/[g1]" || got.Taken[0].Theirs != nil || len(got.Conflicts) > 0 {
		t.Errorf("%+v %+v", got.Taken, got.Conflicts)
	}
	if goals := fmt.Sprint(got.Record["goals"]); strings.Contains(goals, "place & peace") || !strings.Contains(goals, "secret goal words") {
		t.Errorf("goals: %s", goals)
	}
	odd := strings.Replace(string(goal.JSON), `"lifecycleStatus":"active"`, `"lifecycleStatus":"rejected"`, 1)
	if got, err = p.Merge(testEnv(false), []byte(input), []byte(input), [][]byte{[]byte(odd)}, nil); err != nil {
		t.Fatal(err)
	}
	if len(got.Taken)+len(got.Conflicts) > 0 || len(got.NotTaken) != 1 || got.NotTaken[0].Path != "Goal.lifecycleStatus" || len(got.Unknown) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestPlace(t *testing.T) {
	p := load(t, "recovery-plan")
	input, _ := planCase(t, p)
	for pointer, want := range map[string]string{"/goals/[g3]/status": "/goals/2/status", "/goals/[g1]/steps/[s2]": "/goals/0/steps/1", "/status": "/status", "/goals/[g9]/status": "", "/note": "/note"} {
		got, ok := p.Place([]byte(input), pointer)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q %t, want %q", pointer, got, ok, want)
		}
	}
}

// What is read back and put in order maps to the same bytes as the record did, in every golden case; and with the digest of
// the record as it was sent, its Provenance, too.
func TestInOrder(t *testing.T) {
	eachJSONPack(t, func(t *testing.T, p *Pack) {
		files, err := fs.Glob(Packs(), p.Name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := fs.ReadFile(Packs(), file)
			if err != nil {
				t.Fatal(err)
			}
			input, _, _ := strings.Cut(string(data), caseRule)
			env := testEnv(false)
			res, err := p.MapJSON(env, []byte(input))
			if errors.As(err, new(*InvalidError)) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			native, err := p.Native(env, []byte(input))
			if err != nil {
				t.Fatal(err)
			}
			told := backOf(t, p, env, res)
			if err := p.InOrder(told.Record, native); err != nil {
				t.Fatal(err)
			}
			env.Digest = res.Records[0].Digest
			again, err := p.MapJSON(env, mustJSON(t, told.Record))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			types := p.Types()
			for i, r := range again.Records[0].Resources {
				if want := res.Records[0].Resources[i]; string(r.JSON) != string(want.JSON) {
					t.Errorf("%s: %s\n%s\n%s", file, r.Slot, want.JSON, r.JSON)
				}
				if !slices.Contains(types, r.Type) {
					t.Errorf("%s is no type of the pack: %v", r.Type, types)
				}
			}
		}
	})
}
