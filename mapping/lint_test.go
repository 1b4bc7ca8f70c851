package mapping

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// The packs that come with the program are without faults and undecided fields.
func TestLintOfOurPacks(t *testing.T) {
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := Lint(Packs(), name)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Clean() {
			t.Errorf("%s: %v %v", name, f.Faults, f.Todos)
		}
	}
}

func TestLintFindings(t *testing.T) {
	sound := "status: {$code: kind, via: kind, as: code}\ncode: {text: x}\n"
	tests := []struct {
		name, head, set string
		change          func(fstest.MapFS)
		faults, todos   string
		warnings        string
	}{
		{name: "sound", set: sound},
		{name: "fault", set: sound + "value: x",
			faults: `tiny/tiny.map.yaml:12: Observation has no element "value"; write it with its type: valueQuantity, valueCodeableConcept, valueString, valueBoolean, …`},
		{name: "no code yet", set: sound, change: func(f fstest.MapFS) {
			replace(f, "tiny/codes/kind.csv", "b,http://hl7.org/fhir/observation-status,amended,,both", "b,,,,todo")
		}, todos: `tiny/codes/kind.csv:3: native value "b" has no code yet; fill in system and code, and both, in or out as the direction`},
		{name: "undecided", set: sound, change: func(f fstest.MapFS) {
			replace(f, "tiny/tiny.map.yaml", "{field: word, reason: not in this test}", "{field: word, reason: \"TODO: decide\"}")
		}, todos: `tiny/tiny.map.yaml:13: field word waits for a decision; map the field, or give the reason why it is not carried`},
		{name: "unused table", set: sound, change: func(f fstest.MapFS) {
			f["tiny/codes/other.csv"] = &fstest.MapFile{Data: []byte("native,system,code,display,direction\n")}
		}, warnings: `tiny/codes/other.csv:1: no rule uses the table "other"`},
		{name: "no row", set: "status: final\ncode: {$code: [kind, word], via: pair}\n", change: func(f fstest.MapFS) {
			f["tiny/codes/pair.csv"] = &fstest.MapFile{Data: []byte("native,system,code,display,direction\na|x,s,c,,both\n")}
		}, warnings: "tiny/codes/kind.csv:1: no rule uses the table \"kind\"\ntiny/tiny.map.yaml:11: table pair has no row for \"b\""},
		{name: "copied date", set: sound + "effectiveDateTime: {$copy: when}",
			warnings: `tiny/tiny.map.yaml:12: $copy takes the text as it is, and Observation.effectiveDateTime is a dateTime; use $date with as: dateTime`},
		{name: "no zone", set: sound, change: func(f fstest.MapFS) { replace(f, "tiny/pack.yaml", ", zone: America/New_York", "") },
			warnings: `tiny/pack.yaml:6: date layout "01/02/06 15:04" has a time and no zone: such dates are left out where a time is asked for; name the source's time zone: zone`},
		{name: "always", head: "when: true", set: sound, warnings: `tiny/tiny.map.yaml:5: when is always true; take it out`},
		{name: "items alike", set: sound + "note:\n  - {text: {$copy: word}}\n  - {text: {$copy: at}}\n  - {authorString: a, text: {$copy: tags}}",
			warnings: "tiny/tiny.map.yaml:14: items 1 and 2 of Observation.note cannot be told apart when one of them is absent; give each a constant of its own, such as use or type\n" +
				"tiny/tiny.map.yaml:15: items 1 and 3 of Observation.note cannot be told apart when one of them is absent; give each a constant of its own, such as use or type\n" +
				"tiny/tiny.map.yaml:15: items 2 and 3 of Observation.note cannot be told apart when one of them is absent; give each a constant of its own, such as use or type"},
		{name: "items told apart", set: sound + "note:\n  - {authorString: a, text: {$copy: word}}\n  - {authorString: b, text: {$copy: at}}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := strictPack("Observation", tt.head, tt.set)
			delete(files, "tiny/codes/wrong.csv")
			if tt.change != nil {
				tt.change(files)
			}
			f, err := Lint(files, "tiny")
			if err != nil {
				t.Fatal(err)
			}
			// Nearly all of the tiny pack is ignored, and lint says so each time.
			var warnings []Fault
			for _, w := range f.Warnings {
				if !strings.Contains(w.Text, "native fields (") {
					warnings = append(warnings, w)
				}
			}
			for _, part := range []struct{ what, got, want string }{
				{"faults", lines(f.Faults), tt.faults}, {"todos", lines(f.Todos), tt.todos}, {"warnings", lines(warnings), tt.warnings},
			} {
				if part.got != part.want {
					t.Errorf("%s\ngot  %s\nwant %s", part.what, part.got, part.want)
				}
			}
			if f.Clean() != (tt.faults+tt.todos == "") {
				t.Errorf("clean is %v", f.Clean())
			}
		})
	}
}

func TestLintCountsIgnoredFields(t *testing.T) {
	f, err := Lint(strictPack("Observation", "", "status: final\ncode: {text: x}"), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(f.Warnings), "8 of 9 native fields (88 %) are ignored") {
		t.Errorf("got %v", f.Warnings)
	}
	if f, err := Lint(fstest.MapFS{}, "none"); err != nil || f.Clean() {
		t.Errorf("a pack that is not there: %v, %v", f, err)
	}
}

// A pack that waits for codes runs: the values without a code are reported like values that no table knows.
func TestTodoRowsRun(t *testing.T) {
	files := strictPack("Observation", "", "status: final\ncode: {$code: kind, via: kind}\nvalueString: {$copy: word}")
	replace(files, "tiny/codes/kind.csv", "b,http://hl7.org/fhir/observation-status,amended,,both", "b,,,,todo")
	delete(files, "tiny/codes/wrong.csv")
	p, err := Load(files, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.MapJSON(testEnv(false), []byte(`{"id":"1","kind":"b"}`))
	if err != nil || len(res.Report.Problems) != 1 || res.Report.Problems[0].Code != "unmapped-value" {
		t.Errorf("%v %+v", err, res)
	}
}

func replace(files fstest.MapFS, name, old, new string) {
	files[name] = &fstest.MapFile{Data: []byte(strings.Replace(string(files[name].Data), old, new, 1))}
}

func lines(list []Fault) string {
	var out []string
	for _, f := range list {
		out = append(out, f.String())
	}
	return strings.Join(out, "\n")
}

// A folder of one's own beside the embedded packs: its packs include shared files, and hide embedded ones of their name.
func TestBeside(t *testing.T) {
	files := strictPack("Observation", "", "status: final\ncode: {text: x}")
	replace(files, "tiny/tiny.map.yaml", "key: id\n", "key: id\ninclude: [client.map.yaml]\n")
	replace(files, "tiny/tiny.schema.json", `"id": {"type": "string"}`, `"id": {"type": "string"}, "client": {"$ref": "../shared/client.schema.json"}`)
	files["peer-encounter/pack.yaml"] = &fstest.MapFile{Data: []byte("pack: peer-encounter\n")}
	delete(files, "tiny/codes/wrong.csv")
	both := Beside(files)
	if _, err := Load(both, "tiny"); err != nil {
		t.Error(err)
	}
	if _, err := Load(both, "recovery-plan"); err != nil {
		t.Error(err)
	}
	if _, err := Load(both, "peer-encounter"); err == nil {
		t.Error("the embedded pack shines through the own one")
	}
	embedded, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	names, err := Names(both)
	if err != nil || strings.Join(names, " ") != strings.Join(append(embedded, "tiny"), " ") {
		t.Errorf("%v, %v", names, err)
	}
}
