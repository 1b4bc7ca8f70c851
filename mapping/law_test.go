package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"pgregory.net/rapid"
)

// get-put: a record that the report calls lost nothing of comes back as it was, but for the fields the pack ignores.
func TestGetPut(t *testing.T) {
	eachJSONPack(t, func(t *testing.T, p *Pack) {
		rapid.Check(t, func(t *rapid.T) {
			rec, res := drawRecord(t, p, "record")
			back := backOf(t, p, testEnv(false), res)
			if whole, bare := p.nativesOf(t, testEnv(false), res, unchangedBody), p.nativesOf(t, testEnv(false), res, p.burdened); whole != bare {
				t.Fatalf("stripped of what others may drop, something else comes back\n%s\n%s", whole, bare)
			}
			if diff := cmp.Diff(p.Comparable(rec, res.Report.Losses), p.Comparable(back.Record, res.Report.Losses)); diff != "" {
				t.Fatalf("%s (-sent +given back)\n%s\n%s", p.Name, diff, mustJSON(t, rec))
			}
			if len(back.Unknown) > 0 || len(back.Problems) > 0 {
				t.Fatalf("what the pack made itself is not known to it: %v %v", back.Unknown, back.Problems)
			}
		})
	})
}

func TestGetPutOfCases(t *testing.T) {
	eachJSONPack(t, func(t *testing.T, p *Pack) {
		files, err := fs.Glob(Packs(), p.Name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			t.Run(file, func(t *testing.T) {
				data, err := fs.ReadFile(Packs(), file)
				if err != nil {
					t.Fatal(err)
				}
				input, _, _ := strings.Cut(string(data), caseRule)
				res, err := p.MapJSON(testEnv(false), []byte(input))
				if errors.As(err, new(*InvalidError)) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, pr := range res.Report.Problems {
					if pr.Dropped {
						return // what was dropped does not come back; the case shows what was
					}
				}
				var rec map[string]any
				if err := json.Unmarshal([]byte(input), &rec); err != nil {
					t.Fatal(err)
				}
				back := backOf(t, p, testEnv(false), res)
				if diff := cmp.Diff(p.Comparable(rec, res.Report.Losses), p.Comparable(back.Record, res.Report.Losses)); diff != "" {
					t.Errorf("(-sent +given back)\n%s", diff)
				}
			})
		}
	})
}

func eachJSONPack(t *testing.T, f func(*testing.T, *Pack)) {
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if p := load(t, name); p.Format == "json" {
			t.Run(name, func(t *testing.T) { f(t, p) })
		}
	}
}

func mustJSON(t rapid.TB, v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// backOf reads the only record of a result back.
func backOf(t rapid.TB, p *Pack, env Env, res *Result) Native {
	var bodies [][]byte
	for _, r := range res.Records[0].Resources {
		bodies = append(bodies, r.Labelled())
	}
	got, foreign, err := p.Back(env, bodies)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || len(foreign) > 0 {
		t.Fatalf("%d records came back, and %v are not known", len(got), foreign)
	}
	return got[0]
}

// drawRecord draws a record that maps without anything being dropped: where a check or a reference drops something, the
// drawn value is taken out and the record tried again.
func drawRecord(t *rapid.T, p *Pack, label string) (map[string]any, *Result) {
	m := p.maps[0]
	d := drawer{t: t, keys: m.listKeys, words: m.words()}
	rec := d.schema(m.schema.schema, "", label).(map[string]any)
	d.screening(p, rec, label)
	for range 200 {
		res, err := p.MapJSON(testEnv(false), mustJSON(t, rec))
		var problems []Problem
		var invalid *InvalidError
		switch {
		case errors.As(err, &invalid):
			problems = invalid.Problems
		case err != nil:
			t.Fatal(err)
		default:
			problems = res.Report.Problems
		}
		changed := false
		if err == nil {
			// What is lost for another reason than that it is ignored depends on fields that say so only together.
			for _, l := range res.Report.Losses {
				if !slices.Contains(p.ignoredFields(), l.Field) {
					changed = cutField(rec, strings.Split(strings.ReplaceAll(l.Field, "[]", ".[]"), ".")) || changed
				}
			}
		}
		for i := len(problems) - 1; i >= 0 && !changed; i-- {
			if problems[i].Dropped {
				changed = cutOut(rec, problems[i].Pointer)
				if !changed {
					t.Skip("cannot be repaired: " + problems[i].Text)
				}
			}
		}
		if !changed {
			return rec, res
		}
	}
	t.Skip("too much to repair")
	return nil, nil
}

func (p *Pack) ignoredFields() []string {
	var out []string
	for i := range p.ignored {
		out = append(out, p.fields.names[i])
	}
	return out
}

// cutField removes a field from every item that has it.
func cutField(v any, segs []string) bool {
	switch x := v.(type) {
	case map[string]any:
		if len(segs) == 1 {
			_, had := x[segs[0]]
			delete(x, segs[0])
			return had
		}
		return cutField(x[segs[0]], segs[1:])
	case []any:
		any := false
		for _, item := range x {
			any = cutField(item, segs[1:]) || any
		}
		return any
	}
	return false
}

// A drawer draws instances of JSON Schemas, as far as the schemas of packs go. Keys of lists are unique, and fields whose
// values only a code table lists are drawn from it.
type drawer struct {
	t     *rapid.T
	keys  listKeys
	words map[string][]string
}

// screening makes most answers of a screening such that its instrument offers them; a record of others holds nothing.
func (d drawer) screening(p *Pack, rec map[string]any, label string) {
	instrument, _ := rec["instrument"].(string)
	answers, _ := rec["answers"].([]any)
	var offered [][]string
	if t := p.tables["answer"]; t != nil {
		for _, row := range t.list {
			if parts := strings.Split(row.native, "|"); len(parts) == 3 && parts[0] == instrument {
				offered = append(offered, parts)
			}
		}
	}
	for i, a := range answers {
		item, ok := a.(map[string]any)
		if !ok || len(offered) == 0 || item["answer"] == nil {
			continue
		}
		row := rapid.SampledFrom(offered).Draw(d.t, fmt.Sprintf("%s answer %d", label, i))
		item["question"], item["answer"] = row[1], row[2]
	}
}

// words are the native values of fields that a table with several parts looks up, by field.
func (m *recordMap) words() map[string][]string {
	out := map[string][]string{}
	var visit func(n node)
	visit = func(n node) {
		switch x := n.(type) {
		case *objectNode:
			for _, f := range x.fields {
				visit(f.node)
			}
		case *listNode:
			for _, item := range x.items {
				visit(item)
			}
		case *whenNode:
			visit(x.then)
			if x.els != nil {
				visit(x.els)
			}
		case *eachNode:
			visit(x.item)
		case *codeNode:
			field := x.from[len(x.from)-1].tree
			if len(x.from) == 1 || len(field.enum) > 0 {
				return
			}
			for _, row := range x.via.list {
				parts := x.parts(row)
				if word := parts[len(parts)-1]; !slices.Contains(out[field.name], word) {
					out[field.name] = append(out[field.name], word)
				}
			}
		}
	}
	for i := range m.emissions {
		visit(m.emissions[i].set)
	}
	return out
}

// schema draws an instance.
func (d drawer) schema(sc *jsonschema.Schema, at, label string) any {
	t := d.t
	for sc.Ref != nil && len(sc.Properties) == 0 && sc.Items2020 == nil {
		sc = sc.Ref
	}
	label += "." + at
	switch {
	case len(sc.Constant) > 0:
		return sc.Constant[0]
	case len(sc.Enum) > 0:
		return rapid.SampledFrom(sc.Enum).Draw(t, label)
	case len(sc.Properties) > 0:
		return d.object(sc, at, label)
	case sc.Items2020 != nil:
		return d.list(sc, at, label)
	}
	typ := "string"
	if len(sc.Types) > 0 {
		typ = sc.Types[0]
	}
	switch typ {
	case "boolean":
		return rapid.Bool().Draw(t, label)
	case "integer", "number":
		lo, hi := 0, 120
		if sc.Minimum != nil {
			n, _ := sc.Minimum.Float64()
			lo = int(n)
		}
		if sc.Maximum != nil {
			n, _ := sc.Maximum.Float64()
			hi = int(n)
		}
		return json.Number(fmt.Sprint(rapid.IntRange(lo, max(lo, hi)).Draw(t, label)))
	}
	switch sc.Format {
	case "date":
		return rapid.SampledFrom([]string{"1970-01-31", "2025-12-31", "2026-02-28", "2026-07-04"}).Draw(t, label)
	case "date-time":
		return rapid.SampledFrom([]string{"2026-03-02T14:05:00-05:00", "2025-12-31T23:59:59Z", "2026-07-04T08:30:00.5+02:00"}).Draw(t, label)
	}
	if words := d.words[at]; len(words) > 0 {
		return rapid.SampledFrom(words).Draw(t, label)
	}
	if sc.Pattern != nil && sc.Pattern.String() != `\S` {
		return rapid.StringMatching(sc.Pattern.String()).Draw(t, label)
	}
	n := 40
	if sc.MaxLength > 0 {
		n = min(n, sc.MaxLength)
	}
	return rapid.OneOf(
		rapid.SampledFrom([]string{"a", "b", "c"}),
		rapid.StringMatching(`[A-Za-z0-9<>&"'|#:/%,; éß-]{0,`+fmt.Sprint(n-2)+`}[a-z0-9]`).Filter(func(s string) bool {
			return strings.TrimSpace(s) == s && len(s) >= sc.MinLength
		}),
	).Draw(t, label)
}

func (d drawer) object(sc *jsonschema.Schema, at, label string) any {
	t := d.t
	out := map[string]any{}
	names := make([]string, 0, len(sc.Properties))
	for k := range sc.Properties {
		names = append(names, k)
	}
	sort.Strings(names)
	want := slices.Clone(sc.Required)
	for _, list := range [][]*jsonschema.Schema{sc.AnyOf, sc.OneOf} {
		if len(list) > 0 {
			want = append(want, list[rapid.IntRange(0, len(list)-1).Draw(t, label+"?")].Required...)
		}
	}
	oneOf := map[string]bool{}
	for _, s := range sc.OneOf {
		for _, name := range s.Required {
			oneOf[name] = true
		}
	}
	var add func(name string)
	add = func(name string) {
		if _, there := out[name]; there || sc.Properties[name] == nil {
			return
		}
		out[name] = d.schema(sc.Properties[name], below(at, name), label)
		for _, needs := range sc.DependentRequired[name] {
			add(needs)
		}
	}
	for _, name := range want {
		add(name)
	}
	for _, name := range names {
		if !oneOf[name] && rapid.Bool().Draw(t, label+"."+name+"?") {
			add(name)
		}
	}
	return out
}

func (d drawer) list(sc *jsonschema.Schema, at, label string) any {
	t, keys := d.t, d.keys
	least, most := 0, 3
	if sc.MinItems > 0 {
		least, most = sc.MinItems+3, sc.MinItems+7 // some may be taken out again
	}
	n := rapid.IntRange(least, most).Draw(t, label+"#")
	var out []any
	seen := map[string]bool{}
	for i := range n {
		item := d.schema(sc.Items2020, at+"[]", fmt.Sprintf("%s[%d]", label, i))
		id := fmt.Sprint(item)
		if k := keys[at]; len(k) > 0 {
			id = keyText(item, k)
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		out = append(out, item)
	}
	if len(out) == 0 {
		return []any{}
	}
	return out
}
