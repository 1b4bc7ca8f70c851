package terminology

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"trellis/fhir"
)

// animals is a system with two ways to say a hierarchy, a concept out of use and one that may not be chosen.
const animals = `{"resourceType":"CodeSystem","id":"a","url":"urn:animals","version":"2","status":"active","content":"complete","valueSet":"urn:all-animals","concept":[
	{"code":"animal","display":"Animal","property":[{"code":"notSelectable","valueBoolean":true}],"concept":[
		{"code":"dog","display":"Dog","designation":[{"language":"de","value":"Hund"}],"property":[{"code":"legs","valueInteger":4}],"concept":[{"code":"poodle","display":"Poodle"}]},
		{"code":"dodo","display":"Dodo","property":[{"code":"status","valueCode":"retired"},{"code":"legs","valueInteger":2}]}]},
	{"code":"puppy","display":"Puppy","property":[{"code":"parent","valueCode":"dog"}]},
	{"code":"stone","display":"Stone"}]}`

func read(t *testing.T, doc string) *fhir.Resource {
	t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// set is a value set with a compose.
func set(t *testing.T, id, compose string) *ValueSet {
	t.Helper()
	return ReadValueSet(read(t, `{"resourceType":"ValueSet","id":"`+id+`","url":"urn:`+id+`","status":"active","compose":`+compose+`}`))
}

func library(t *testing.T, sets ...*ValueSet) *Library {
	t.Helper()
	return NewLibrary(
		[]*CodeSystem{NewCodeSystem("urn:built-in", "", []Concept{{Code: "x"}, {Code: "y"}}), NewCodeSystem("urn:animals", "", nil)},
		[]*CodeSystem{
			ReadCodeSystem(read(t, animals)),
			ReadCodeSystem(read(t, `{"resourceType":"CodeSystem","id":"old","url":"urn:animals","version":"1.10","status":"active","content":"complete","concept":[{"code":"cat"}]}`)),
			ReadCodeSystem(read(t, `{"resourceType":"CodeSystem","id":"older","url":"urn:animals","version":"1.9","status":"active","content":"complete"}`)),
			ReadCodeSystem(read(t, `{"resourceType":"CodeSystem","id":"part","url":"urn:part","status":"active","content":"fragment","caseSensitive":false,"concept":[{"code":"P"}]}`)),
			ReadCodeSystem(read(t, `{"resourceType":"CodeSystem","id":"round","url":"urn:round","status":"active","content":"complete","concept":[{"code":"a","property":[{"code":"parent","valueCode":"b"}]},{"code":"b","property":[{"code":"parent","valueCode":"a"}]}]}`)),
		}, sets, nil)
}

// codes of members, or the problem's code.
func expanded(l *Library, vs *ValueSet) string {
	members, err := l.Expand(vs)
	if err != nil {
		return outcome(err)
	}
	out := []string{}
	for _, m := range members {
		out = append(out, m.Code)
	}
	return strings.Join(out, " ")
}

func outcome(err error) string {
	var p *fhir.Problem
	if !errors.As(err, &p) {
		return "?"
	}
	return fmt.Sprint(p.Category == fhir.NotFound, " ", p.Issues[0].Code)
}

func TestExpand(t *testing.T) {
	const include = `{"include":[%s]}`
	for name, c := range map[string]struct{ compose, want string }{
		"whole":              {fmt.Sprintf(include, `{"system":"urn:animals"}`), "animal dog poodle dodo puppy stone"},
		"older version":      {fmt.Sprintf(include, `{"system":"urn:animals","version":"1.10"}`), "cat"},
		"unknown version":    {fmt.Sprintf(include, `{"system":"urn:animals","version":"9"}`), "true not-found"},
		"in use":             {`{"inactive":false,"include":[{"system":"urn:animals"}]}`, "animal dog poodle puppy stone"},
		"listed":             {fmt.Sprintf(include, `{"system":"urn:animals","concept":[{"code":"stone"},{"code":"dog"},{"code":"stone"}]}`), "stone dog"},
		"listed, unknown":    {fmt.Sprintf(include, `{"system":"http://loinc.org","concept":[{"code":"8867-4"}]}`), "8867-4"},
		"is-a":               {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"dog"}]}`), "dog poodle puppy"},
		"descendent-of":      {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"concept","op":"descendent-of","value":"dog"}]}`), "poodle puppy"},
		"is-not-a":           {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"concept","op":"is-not-a","value":"dog"}]}`), "animal dodo stone"},
		"property":           {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"legs","op":"=","value":"4"}]}`), "dog"},
		"property in":        {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"legs","op":"in","value":"4, 2"}]}`), "dog dodo"},
		"property not-in":    {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"code","op":"not-in","value":"stone,animal,dodo"}]}`), "dog poodle puppy"},
		"exists":             {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"legs","op":"exists","value":"false"}]}`), "animal poodle puppy stone"},
		"two filters":        {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"animal"},{"property":"legs","op":"=","value":"2"}]}`), "dodo"},
		"regex":              {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"code","op":"regex","value":"d.*"}]}`), "false not-supported"},
		"is-a of nothing":    {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"unicorn"}]}`), "true not-found"},
		"unknown system":     {fmt.Sprintf(include, `{"system":"urn:nobody"}`), "true not-found"},
		"part of a system":   {fmt.Sprintf(include, `{"system":"urn:part"}`), "false not-supported"},
		"built in":           {fmt.Sprintf(include, `{"system":"urn:built-in"},{"system":"urn:part","concept":[{"code":"P"}]}`), "x y P"},
		"exclude":            {`{"include":[{"system":"urn:animals"}],"exclude":[{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"animal"}]}]}`, "stone"},
		"import":             {fmt.Sprintf(include, `{"valueSet":["urn:dogs"]}`), "dog poodle puppy"},
		"imports meet":       {fmt.Sprintf(include, `{"valueSet":["urn:dogs","urn:pets"]}`), "poodle"},
		"import and system":  {fmt.Sprintf(include, `{"system":"urn:animals","filter":[{"property":"legs","op":"exists","value":"false"}],"valueSet":["urn:dogs"]}`), "poodle puppy"},
		"all of a system":    {fmt.Sprintf(include, `{"valueSet":["urn:all-animals"]}`), "animal dog poodle dodo puppy stone"},
		"implicit":           {fmt.Sprintf(include, `{"valueSet":["urn:animals?fhir_vs=isa/dog"]}`), "dog poodle puppy"},
		"unknown import":     {fmt.Sprintf(include, `{"valueSet":["urn:nobody"]}`), "true not-found"},
		"circle":             {fmt.Sprintf(include, `{"valueSet":["urn:circle"]}`), "false not-supported"},
		"a hierarchy's ring": {fmt.Sprintf(include, `{"system":"urn:round","filter":[{"property":"concept","op":"is-a","value":"a"}]}`), "a b"},
		"locked":             {`{"lockedDate":"2020-01-01","include":[{"system":"urn:animals"}]}`, "false not-supported"},
	} {
		l := library(t,
			set(t, "dogs", `{"include":[{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"dog"}]}]}`),
			set(t, "pets", `{"include":[{"system":"urn:animals","concept":[{"code":"poodle"}]},{"system":"urn:built-in","concept":[{"code":"dog"}]}]}`),
			set(t, "circle", `{"include":[{"valueSet":["urn:circle"]}]}`))
		for range 2 { // the second time from memory
			if got := expanded(l, set(t, "asked", c.compose)); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	}
}

func TestExpandLimits(t *testing.T) {
	big := make([]Concept, maxExpansion+1)
	for i := range big {
		big[i].Code = fmt.Sprint(i)
	}
	l := NewLibrary([]*CodeSystem{NewCodeSystem("urn:big", "", big)}, nil, nil, nil)
	if got := expanded(l, set(t, "big", `{"include":[{"system":"urn:big"}]}`)); got != "false too-costly" {
		t.Error(got)
	}
	listed := ReadValueSet(read(t, `{"resourceType":"ValueSet","id":"l","status":"active","expansion":{"contains":[{"system":"s","code":"a","contains":[{"system":"s","code":"b"}]}]}}`))
	if got := expanded(l, listed); got != "a b" {
		t.Error(got)
	}
	cut := ReadValueSet(read(t, `{"resourceType":"ValueSet","id":"l","status":"active","expansion":{"total":7,"contains":[{"system":"s","code":"a"}]}}`))
	if got := expanded(l, cut); got != "false not-supported" {
		t.Error(got)
	}
}

func TestHierarchy(t *testing.T) {
	l := library(t)
	cs, err := l.System("urn:animals", "")
	if err != nil || cs.Version != "2" {
		t.Fatalf("%v %+v", err, cs)
	}
	if before, _ := l.System("urn:animals|1.10", ""); before == nil || before.ID != "old" {
		t.Errorf("%+v", before)
	}
	for _, c := range []struct{ a, b, want string }{{"dog", "dog", "equivalent"}, {"animal", "puppy", "subsumes"}, {"puppy", "animal", "subsumed-by"}, {"stone", "dog", "not-subsumed"}} {
		if got, err := l.Subsumes(cs, c.a, c.b); got != c.want || err != nil {
			t.Errorf("%s and %s: %s %v", c.a, c.b, got, err)
		}
	}
	if _, err := l.Subsumes(cs, "dog", "unicorn"); outcome(err) != "true not-found" {
		t.Error(err)
	}
	below, _ := l.Below("urn:animals", "dog")
	above, _ := l.Above("urn:animals", "puppy")
	if strings.Join(below, " ") != "dog poodle puppy" || strings.Join(above, " ") != "puppy dog animal" {
		t.Errorf("%v %v", below, above)
	}
	if _, c, err := l.Lookup("urn:part", "", "p"); err != nil || c.Code != "P" {
		t.Errorf("a system without case: %v %v", c, err)
	}
	if _, _, err := l.Lookup("urn:animals", "", "DOG"); outcome(err) != "true not-found" {
		t.Errorf("a system with case: %v", err)
	}
	if list := l.systems["urn:animals"]; list[1].ID != "old" || list[2].ID != "older" {
		t.Errorf("1.10 comes before 1.9")
	}
}

func TestTranslate(t *testing.T) {
	m := ReadConceptMap(read(t, `{"resourceType":"ConceptMap","id":"m","url":"urn:m","status":"active","sourceUri":"urn:vs-a","targetCanonical":"urn:vs-b","group":[
		{"source":"urn:a","target":"urn:b","element":[{"code":"1","target":[{"code":"one","display":"One","equivalence":"equal"},{"code":"uno","equivalence":"wider"}]},
			{"code":"2","target":[{"equivalence":"unmatched"}]},{"code":"3","target":[{"code":"three","equivalence":"equal","dependsOn":[{"property":"x","value":"y"}]}]}],"unmapped":{"mode":"fixed","code":"other","display":"Other"}},
		{"source":"urn:c","target":"urn:d","unmapped":{"mode":"provided"}},
		{"source":"urn:e","target":"urn:f","unmapped":{"mode":"other-map","url":"urn:n"}}]}`))
	n := ReadConceptMap(read(t, `{"resourceType":"ConceptMap","id":"n","url":"urn:n","status":"active","group":[{"source":"urn:e","target":"urn:f","element":[{"code":"9","target":[{"code":"nine","equivalence":"equal"}]}]}]}`))
	l := NewLibrary(nil, nil, nil, []*ConceptMap{n, m})
	for _, c := range []struct {
		q    Question
		url  string
		want string
	}{
		{Question{System: "urn:a", Code: "1"}, "urn:m", "[equal urn:b|one wider urn:b|uno] false"},
		{Question{System: "urn:a", Code: "1", TargetSystem: "urn:d"}, "urn:m", "[] false"},
		{Question{System: "urn:a", Code: "2"}, "urn:m", "[unmatched urn:b|] false"},
		{Question{System: "urn:a", Code: "3"}, "urn:m", "[] true"},
		{Question{System: "urn:a", Code: "4"}, "urn:m", "[inexact urn:b|other] false"},
		{Question{System: "urn:c", Code: "4"}, "urn:m", "[equal urn:d|4] false"},
		{Question{System: "urn:e", Code: "9"}, "urn:m", "[equal urn:f|nine] false"},
		{Question{System: "urn:b", Code: "uno", Reverse: true}, "urn:m", "[narrower urn:a|1] false"},
		{Question{System: "urn:a", Code: "1", SourceSet: "urn:vs-a", TargetSet: "urn:vs-b"}, "", "[equal urn:b|one wider urn:b|uno] false"},
	} {
		maps, err := l.Maps(c.url, "", c.q)
		if err != nil {
			t.Fatal(err)
		}
		matches, left, err := l.Translate(maps, c.q)
		out := []string{}
		for _, m := range matches {
			out = append(out, m.Equivalence+" "+m.System+"|"+m.Code)
		}
		if got := fmt.Sprintf("%v %v", out, left); got != c.want || err != nil {
			t.Errorf("%+v: %s %v, want %s", c.q, got, err, c.want)
		}
	}
	loop := ReadConceptMap(read(t, `{"resourceType":"ConceptMap","id":"l","url":"urn:l","status":"active","group":[{"unmapped":{"mode":"other-map","url":"urn:l"}},{"unmapped":{"mode":"other-map","url":"urn:l"}}]}`))
	if _, _, err := NewLibrary(nil, nil, nil, []*ConceptMap{loop}).Translate([]*ConceptMap{loop}, Question{Code: "1"}); outcome(err) != "false not-supported" {
		t.Errorf("maps in a circle: %v", err)
	}
	if _, err := l.Maps("urn:nobody", "", Question{}); outcome(err) != "true not-found" {
		t.Error(err)
	}
}

// FuzzDefinitions: whatever is stored as a definition can be read, and asked without harm.
func FuzzDefinitions(f *testing.F) {
	f.Add(animals)
	f.Add(`{"resourceType":"ValueSet","id":"v","compose":{"include":[{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"dog"}]}],"exclude":[{"valueSet":["urn:v"]}]}}`)
	f.Add(`{"resourceType":"ConceptMap","id":"m","url":"urn:m","group":[{"unmapped":{"mode":"other-map","url":"urn:m"}}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		r, err := fhir.ReadTrusted([]byte(doc))
		if err != nil {
			return
		}
		cs, vs, m := ReadCodeSystem(r), ReadValueSet(r), ReadConceptMap(r)
		l := NewLibrary(nil, []*CodeSystem{cs}, []*ValueSet{vs}, []*ConceptMap{m})
		if members, err := l.Expand(vs); err == nil && len(members) > maxExpansion {
			t.Error("an expansion over the limit")
		}
		for _, c := range cs.order {
			if below := cs.below(c); len(below) > len(cs.order) {
				t.Error("a concept subsumes more than there is")
			}
		}
		if _, _, err := l.Translate([]*ConceptMap{m}, Question{Code: "1"}); err != nil && outcome(err) == "?" {
			t.Error(err)
		}
	})
}
