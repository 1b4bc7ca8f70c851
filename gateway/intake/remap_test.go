package intake

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"trellis/auth/access"
	"trellis/gateway/store"
	"trellis/mapping"
)

// registered is what is on file with one organisation.
type registered struct{ *store.Store }

func (r registered) Organization(_ context.Context, id string) (access.Organization, error) {
	if id == "rco" {
		return rco(), nil
	}
	return access.Organization{}, nil
}

// newVersion is the packs with another version of recovery-plan, in which some text is otherwise.
func newVersion(t *testing.T, pairs ...string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	err := fs.WalkDir(mapping.Packs(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(mapping.Packs(), path)
		text := string(data)
		switch path {
		case "recovery-plan/pack.yaml":
			text = strings.Replace(text, "version: 1.1.0", "version: 1.2.0", 1)
		case "recovery-plan/recovery-plan.map.yaml":
			if edited := strings.NewReplacer(pairs...).Replace(text); edited != text {
				text = edited
			} else {
				t.Fatalf("the mapping has none of %v", pairs)
			}
		}
		out[path] = &fstest.MapFile{Data: []byte(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// remap maps anew with another desk over the same store.
func (o *office) remap(d *Desk, apply bool) (list []Remapped) {
	o.t.Helper()
	err := d.Remap(o.t.Context(), Remapping{Kind: "recovery-plan", OnFile: registered{o.s}, Apply: apply, Client: "cli", Each: func(r Remapped, left int) error {
		list = append(list, r)
		return nil
	}})
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.s.CheckIndex(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	return list
}

func TestRemap(t *testing.T) {
	o := open(t)
	record := plan(t)
	first := o.send("recovery-plan", record)
	other := o.send("recovery-plan", strings.Replace(record, `"P-1"`, `"P-2"`, 1))
	goal, plain := o.made(first, "Goal", active), o.made(other, "Goal", active)
	o.elsewhere(goal, active, extension+completed)
	if list := o.remap(o.desk, true); len(list) > 0 {
		t.Errorf("of this version: %+v", list)
	}
	packs, err := mapping.LoadAll(newVersion(t, "description: {$copy: step.words}", "description: {$copy: step.words}\n      priority: routine"))
	if err != nil {
		t.Fatal(err)
	}
	desk := New(Config{Packs: packs, Parser: o.desk.parser, Labels: o.desk.labels, Store: o.s, Namespace: o.desk.namespace})
	before := o.stored(goal)
	for _, apply := range []bool{false, true} {
		list := o.remap(desk, apply)
		if len(list) != 2 || list[0].Key != "P-1" || list[0].From != "1.1.0" || list[0].Fault != "" || list[1].Fault != "" {
			t.Fatalf("apply %t: %+v", apply, list)
		}
		for _, r := range list {
			if len(r.Changes) != 3 {
				t.Errorf("%s: %d resources are otherwise, of three steps that have a priority now: %+v", r.Key, len(r.Changes), r.Changes)
			}
			for _, c := range r.Changes {
				if !strings.HasPrefix(c.Reference, "Task/") || c.Status != "changed" {
					t.Errorf("%+v", c)
				}
				if has := strings.Contains(o.stored(c.Reference), `"priority":"routine"`); has != apply {
					t.Errorf("apply %t: %s", apply, o.stored(c.Reference))
				}
			}
		}
		if o.stored(goal) != before {
			t.Errorf("apply %t: what was changed elsewhere is otherwise: %s", apply, o.stored(goal))
		}
	}
	if list := o.remap(desk, true); len(list) > 0 {
		t.Errorf("again: %+v", list)
	}
	// The keeper's next deliveries change nothing that was not changed, whichever record it is.
	o.desk = desk
	if got := changedIn(o.send("recovery-plan", record)); len(got) > 0 {
		t.Errorf("the record that was changed elsewhere: %v", got)
	}
	again := o.send("recovery-plan", strings.Replace(record, `"P-1"`, `"P-2"`, 1))
	if got := changedIn(again); len(got) > 0 || again.Records[0].Merge != nil {
		t.Errorf("the other: %v %+v", got, again.Records[0].Merge)
	}
	if !strings.Contains(o.stored(goal), completed) || strings.Contains(o.stored(plain), completed) {
		t.Error("a status is not what it was")
	}
}
