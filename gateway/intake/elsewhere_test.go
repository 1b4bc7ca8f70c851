package intake

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// plan is the case with private entries, which no resource tells of.
func plan(t testing.TB) string {
	t.Helper()
	data, err := fs.ReadFile(mapping.Packs(), "recovery-plan/cases/full-plan.case")
	if err != nil {
		t.Fatal(err)
	}
	record, _, _ := strings.Cut(string(data), "\n---")
	return record
}

// made is the reference of the first resource of a type, and with words of the first that has them.
func (o *office) made(r Receipt, typ string, words ...string) string {
	o.t.Helper()
	for _, m := range r.Records[0].Resources {
		if strings.HasPrefix(m.Reference, typ+"/") && (len(words) == 0 || strings.Contains(o.stored(m.Reference), words[0])) {
			return m.Reference
		}
	}
	o.t.Fatalf("no %s was made", typ)
	return ""
}

// stored is a resource as it is kept.
func (o *office) stored(reference string) string {
	o.t.Helper()
	typ, id, _ := strings.Cut(reference, "/")
	r, err := o.s.Own(o.t.Context(), "rco", typ, id)
	if err != nil {
		o.t.Fatal(err)
	}
	if r == nil {
		return ""
	}
	return string(r.JSON)
}

// elsewhere changes a resource as another client of the organisation does; no pairs delete it.
func (o *office) elsewhere(reference string, pairs ...string) {
	o.t.Helper()
	typ, id, _ := strings.Cut(reference, "/")
	change := store.Change{Method: store.Delete, Type: typ, ID: id, Owner: "rco"}
	if len(pairs) > 0 {
		doc := o.stored(reference)
		edited := strings.NewReplacer(pairs...).Replace(doc)
		if edited == doc {
			o.t.Fatalf("nothing of %v is in %s", pairs, doc)
		}
		res, err := o.desk.parser.Parse([]byte(edited))
		if err != nil {
			o.t.Fatal(err)
		}
		verdict := o.desk.labels.Examine(res, label.Source{Organization: "rco"}, nil)
		change = store.Change{Method: store.Update, Type: typ, ID: id, Resource: res, Owner: "rco", Segment: verdict.Segment, Verdict: &verdict}
	}
	if _, err := o.s.Apply(o.t.Context(), []store.Change{change}, nil); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) send(kind, record string) Receipt {
	o.t.Helper()
	r, err := o.submit(kind, record, rco())
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// changedIn lists what a receipt says was not left as it was.
func changedIn(r Receipt) (out []string) {
	for _, m := range r.Records[0].Resources {
		if m.Status != "unchanged" {
			typ, _, _ := strings.Cut(m.Reference, "/")
			out = append(out, typ+" "+m.Status)
		}
	}
	slices.Sort(out)
	return out
}

func told(t testing.TB, m *Merge) string {
	t.Helper()
	if m == nil {
		return ""
	}
	var out []string
	for _, p := range m.Taken {
		out = append(out, "taken "+p)
	}
	for _, c := range m.Conflicts {
		out = append(out, "conflict "+c.Pointer+c.Path)
	}
	for _, e := range m.NotTaken {
		out = append(out, "not taken "+e.Path)
	}
	for range m.Kept {
		out = append(out, "kept")
	}
	if len(m.Tasks) > 0 {
		out = append(out, "asked")
	}
	return strings.Join(out, ", ")
}

const (
	extension = `"extension":[{"url":"https://ehr.example/x","valueCode":"y"}],`
	active    = `"lifecycleStatus":"active"`
	completed = `"lifecycleStatus":"completed"`
)

func TestChangedElsewhere(t *testing.T) {
	goal := func(o *office, r Receipt) string { return o.made(r, "Goal", active) }
	for _, tc := range []struct {
		name string
		edit func(o *office, first Receipt)
		// send are the changes of the record before each delivery after the first, then what its receipt tells.
		send []string
		want []string
		has  []string // afterwards, in the goal; with a ! what is not
	}{
		{"status and extension", func(o *office, r Receipt) {
			o.elsewhere(goal(o, r), active, extension+completed)
		}, []string{"", "", `"priority": "high"=>"priority": "low"`, ""},
			[]string{"taken /goals/[g1]/status, kept", "taken /goals/[g1]/status, kept", "taken /goals/[g1]/status, kept", "taken /goals/[g1]/status, kept"},
			[]string{completed, `"url":"https://ehr.example/x"`, `low-priority`}},
		{"the keeper takes it over", func(o *office, r Receipt) {
			o.elsewhere(goal(o, r), active, completed)
		}, []string{`"status": "active", "progress"=>"status": "completed", "progress"`, ""}, []string{"", ""}, []string{completed}},
		{"both changed it", func(o *office, r Receipt) {
			o.elsewhere(goal(o, r), active, extension+completed)
		}, []string{`"status": "active", "progress"=>"status": "on-hold", "progress"`, ""}, []string{"conflict /goals/[g1]/status, kept, asked", "kept"},
			[]string{`"lifecycleStatus":"on-hold"`, `"url":"https://ehr.example/x"`}},
		{"a goal is deleted", func(o *office, r Receipt) { o.elsewhere(goal(o, r)) },
			[]string{"", ""}, []string{"taken /goals/[g1]", "taken /goals/[g1]"}, nil},
		{"the team is deleted", func(o *office, r Receipt) { o.elsewhere(o.made(r, "CareTeam")) },
			[]string{"", "", `"since": "2026-01-10"=>"since": "2026-01-11"`, ""}, []string{"not taken CareTeam", "not taken CareTeam", "conflict CareTeam, asked", ""}, []string{active}},
		{"a tag", func(o *office, r Receipt) {
			o.elsewhere(goal(o, r), `"profile":`, `"tag":[{"system":"urn:x","code":"seen"}],"profile":`)
		}, []string{"", ""}, []string{"", ""}, []string{`"code":"seen"`}},
		{"a value nobody can read", func(o *office, r Receipt) { o.elsewhere(goal(o, r), active, `"lifecycleStatus":"rejected"`) },
			[]string{"", "", `"status": "active", "progress"=>"status": "on-hold", "progress"`, ""},
			[]string{"not taken Goal.lifecycleStatus, kept", "not taken Goal.lifecycleStatus, kept", "conflict Goal.lifecycleStatus, not taken Goal.lifecycleStatus, asked", ""}, []string{`"lifecycleStatus":"on-hold"`}},
		{"the plan itself is deleted", func(o *office, r Receipt) { o.elsewhere(o.made(r, "CarePlan")) },
			[]string{"", ""}, []string{"conflict CarePlan, asked", ""}, []string{active}},
		{"a list item nobody maps", func(o *office, r Receipt) {
			o.elsewhere(goal(o, r), `"category":[`, `"category":[{"coding":[{"system":"urn:ehr","code":"own"}]},`)
		}, []string{"", `"dimensions": ["home", "health"]=>"dimensions": ["home"]`}, []string{"kept", "kept"}, []string{"urn:ehr"}},
		{"text of a computed element", func(o *office, r Receipt) {
			o.elsewhere(o.made(r, "CarePlan"), `"title":"`, `"title":"Changed: `)
		}, []string{"", ""}, []string{"not taken CarePlan.title, kept", "not taken CarePlan.title, kept"}, []string{active}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			record := plan(t)
			first := o.send("recovery-plan", record)
			ref := goal(o, first)
			private := strings.Count(record, "secret")
			tc.edit(o, first)
			for i, edit := range tc.send {
				if old, now, ok := strings.Cut(edit, "=>"); ok {
					if !strings.Contains(record, old) {
						t.Fatalf("the case has no %s", old)
					}
					record = strings.Replace(record, old, now, 1)
				}
				r := o.send("recovery-plan", record)
				if got := told(t, r.Records[0].Merge); got != tc.want[i] {
					t.Errorf("delivery %d: %q, want %q", i, got, tc.want[i])
				}
				again := o.send("recovery-plan", record)
				if got := changedIn(again); len(got) > 0 {
					t.Errorf("delivery %d, sent again: %v", i, got)
				}
			}
			for _, has := range tc.has {
				if !strings.Contains(o.stored(ref), has) {
					t.Errorf("no %s in %s", has, o.stored(ref))
				}
			}
			if len(tc.has) == 0 && o.stored(ref) != "" {
				t.Errorf("it came back: %s", o.stored(ref))
			}
			sent, found, err := o.s.Sent(t.Context(), "rco", "recovery-plan", "P-1")
			if err != nil || !found || strings.Contains(string(sent.View), "secret") || private == 0 {
				t.Errorf("what is on file holds what stayed behind: %v %s", err, sent.View)
			}
		})
	}
}

// TestConflictTask: a person is asked once, with places and no values, under the labels of what it is about.
func TestConflictTask(t *testing.T) {
	o := open(t)
	record := strings.ReplaceAll(plan(t), "See my kids", "Kp3Canary")
	first := o.send("recovery-plan", record)
	ref := o.made(first, "Goal", active)
	o.elsewhere(ref, active, completed)
	record = strings.Replace(record, `"status": "active", "progress"`, `"status": "on-hold", "progress"`, 1)
	r := o.send("recovery-plan", record)
	merge := r.Records[0].Merge
	if merge == nil || len(merge.Tasks) != 1 || merge.Conflicts[0].Resource != ref {
		t.Fatalf("%+v", merge)
	}
	doc := o.stored(merge.Tasks[0])
	root, err := fhir.ParseJSON([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if root.Path("focus", "reference").Text() != ref || root.Path("code", "coding", "code").Text() != taskConflict || !strings.Contains(doc, "/goals/[g1]/status") || root.Path("for", "reference").Text() == "" {
		t.Errorf("%s", doc)
	}
	receipt, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{doc, string(receipt)} {
		for _, value := range []string{"on-hold", "completed", "Kp3Canary"} {
			if strings.Contains(text, value) {
				t.Errorf("holds a value: %s", text)
			}
		}
	}
	if r := o.send("recovery-plan", record); r.Records[0].Merge != nil {
		t.Errorf("asked again: %+v", r.Records[0].Merge)
	}
}

// TestEveryResource: of every golden case, one sent as a QuestionnaireResponse included, an element added to any resource stays, and
// nothing else is changed by what follows.
func TestEveryResource(t *testing.T) {
	const mark = `"language":"es-PR",`
	for _, kind := range []string{"peer-encounter", "recovery-plan", "sdoh-screening"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			files, err := fs.Glob(mapping.Packs(), kind+"/cases/*.case")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				data, err := fs.ReadFile(mapping.Packs(), file)
				if err != nil {
					t.Fatal(err)
				}
				record, _, _ := strings.Cut(string(data), "\n---")
				first, err := o.submit(kind, record, rco())
				if err != nil {
					continue // the case is of a refusal
				}
				sent, found, err := o.s.Sent(t.Context(), "rco", kind, first.Records[0].Key)
				if err != nil || !found {
					t.Fatalf("%s: not on file: %v", file, err)
				}
				for _, k := range sent.Resources {
					if k.Type != "Provenance" {
						o.elsewhere(k.Reference().String(), `"meta":`, mark+`"meta":`)
					}
				}
				for range 2 {
					r := o.send(kind, record)
					if got := changedIn(r); len(got) > 0 || r.Records[0].Merge == nil || len(r.Records[0].Merge.Taken)+len(r.Records[0].Merge.Conflicts) > 0 {
						t.Errorf("%s: %v %s", file, got, told(t, r.Records[0].Merge))
					}
				}
				for _, k := range sent.Resources {
					if k.Type != "Provenance" && !strings.Contains(o.stored(k.Reference().String()), mark) {
						t.Errorf("%s: %s lost what was added", file, k.Type)
					}
				}
			}
		})
	}
}
