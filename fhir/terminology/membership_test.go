package terminology

import (
	"strings"
	"testing"

	"trellis/fhir"
)

func TestHolds(t *testing.T) {
	l := library(t,
		set(t, "listed", `{"include":[{"system":"urn:nowhere","concept":[{"code":"a"},{"code":"b"}]}],"exclude":[{"system":"urn:nowhere","concept":[{"code":"b"}]}]}`),
		set(t, "mixed", `{"include":[{"system":"urn:animals","filter":[{"property":"concept","op":"is-a","value":"dog"}]},{"system":"urn:nowhere"}]}`),
		set(t, "narrowed", `{"include":[{"system":"urn:animals"}],"exclude":[{"system":"urn:animals","filter":[{"property":"code","op":"regex","value":"p.*"}]}]}`),
		set(t, "both", `{"include":[{"system":"urn:animals","valueSet":["urn:mixed"]}]}`),
		set(t, "lost", `{"include":[{"system":"urn:animals","valueSet":["urn:none"]}]}`),
		set(t, "in-use", `{"inactive":false,"include":[{"system":"urn:animals"}]}`),
		set(t, "partly", `{"include":[{"system":"urn:part"}]}`),
		set(t, "filtered", `{"include":[{"system":"urn:part","filter":[{"property":"x","op":"=","value":"y"}]}]}`),
		set(t, "round", `{"include":[{"valueSet":["urn:round"]}]}`),
		set(t, "piped", `{"include":[{"system":"urn:animals|2"},{"system":"urn:nowhere|1"}]}`),
		set(t, "locked", `{"lockedDate":"2020-01-01","include":[{"system":"urn:animals"}]}`),
		ReadValueSet(read(t, `{"resourceType":"ValueSet","id":"expansion","url":"urn:expansion","status":"active","expansion":{"contains":[{"system":"urn:x","code":"a"}]}}`)))
	for _, c := range []struct {
		set, system, code string
		want              Answer
	}{
		{"listed", "urn:nowhere", "a", In}, {"listed", "urn:nowhere", "b", Out}, {"listed", "urn:nowhere", "c", Out}, {"listed", "urn:animals", "a", Out}, {"listed", "", "a", In},
		{"mixed", "urn:animals", "poodle", In}, {"mixed", "urn:animals", "stone", Out}, {"mixed", "urn:nowhere", "x", Untold}, {"mixed", "urn:other", "x", Out}, {"mixed", "", "poodle", In}, {"mixed", "", "stone", Untold},
		{"narrowed", "urn:animals", "dog", Untold}, {"narrowed", "urn:animals", "zebra", Out},
		{"both", "urn:animals", "poodle", In}, {"both", "urn:animals", "stone", Out}, {"lost", "urn:animals", "dog", Untold}, {"lost", "urn:animals", "zebra", Out},
		{"in-use", "urn:animals", "dodo", Out}, {"in-use", "urn:animals", "dog", In},
		{"partly", "urn:part", "p", In}, {"partly", "urn:part", "q", Untold}, {"filtered", "urn:part", "p", Untold},
		{"piped", "urn:animals", "dog", In}, {"piped", "urn:animals", "zebra", Out}, {"piped", "urn:nowhere", "x", Untold},
		{"round", "urn:animals", "dog", Untold}, {"locked", "urn:animals", "dog", Untold}, {"none", "urn:animals", "dog", Untold},
		{"expansion", "urn:x", "a", In}, {"expansion", "urn:x", "b", Out}, {"all-animals", "urn:animals", "dog", In},
	} {
		if got := l.Holds("urn:"+c.set, fhir.Coding{System: c.system, Code: c.code}); got != c.want {
			t.Errorf("%s has %s|%s: %d, want %d", c.set, c.system, c.code, got, c.want)
		}
	}
}

// Value sets that include each other many times over are given up.
func TestHoldsEnds(t *testing.T) {
	twenty := strings.Repeat(`{"valueSet":["urn:many"]},`, 20)
	l := library(t, set(t, "many", `{"include":[`+twenty+`{"valueSet":["urn:many"]}]}`))
	if got := l.Holds("urn:many", fhir.Coding{System: "urn:x", Code: "a"}); got != Untold {
		t.Error(got)
	}
}
