package mapping

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// What the golden cases of all packs give, for checks that hold for every one of them.

// A made resource is one resource of a golden case, decoded.
type made struct {
	file, slot string
	body       map[string]any
}

func eachMade(t *testing.T, f func(t *testing.T, r made)) {
	t.Helper()
	eachCaseResource(t, func(t *testing.T, file string, r Resource) {
		var body map[string]any
		if err := json.Unmarshal(r.Labelled(), &body); err != nil {
			t.Fatal(err)
		}
		f(t, made{file, r.Slot, body})
	})
}

// walkJSON calls f for every object below v.
func walkJSON(v any, f func(map[string]any)) {
	switch x := v.(type) {
	case map[string]any:
		f(x)
		for _, kid := range x {
			walkJSON(kid, f)
		}
	case []any:
		for _, kid := range x {
			walkJSON(kid, f)
		}
	}
}

// codingsOf are the codings of an element that is a CodeableConcept or a list of them, as system|code.
func codingsOf(v any) []string {
	var out []string
	walkJSON(v, func(m map[string]any) {
		if code, ok := m["code"].(string); ok {
			system, _ := m["system"].(string)
			out = append(out, system+"|"+code)
		}
	})
	return out
}

func inSystem(codings []string, system string) []string {
	var out []string
	for _, c := range codings {
		if code, ok := strings.CutPrefix(c, system+"|"); ok {
			out = append(out, code)
		}
	}
	return out
}

func eachTableRow(t *testing.T, f func(t *testing.T, table string, row *tableRow)) {
	t.Helper()
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := load(t, name)
		for _, tab := range p.tables {
			for _, row := range tab.list {
				f(t, name+"/"+tab.name, row)
			}
		}
	}
}

func hasProblem(res *Result, code string) bool {
	return slices.ContainsFunc(res.Report.Problems, func(p Problem) bool { return p.Code == code })
}

func eachCase(t *testing.T, f func(t *testing.T, p *Pack, file, input string)) {
	t.Helper()
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := load(t, name)
		files, err := fs.Glob(Packs(), name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := fs.ReadFile(Packs(), file)
			if err != nil {
				t.Fatal(err)
			}
			input, _, _ := strings.Cut(string(data), caseRule)
			f(t, p, file, input)
		}
	}
}
