package consent_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trellis/auth/consent"
	"trellis/fhir"
)

// A mark that Marks finds must never be ruled out by the bytes, however a document spells it.
func TestMayHaveRulesNothingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.SampledFrom([]string{"F11.20", "8867-4", "mm/Hg", "a|b", "ü", "<1", "x\"y", ""}).Draw(t, "code")
		id := rapid.SampledFrom([]string{"p1", "p2", "p-10"}).Draw(t, "id")
		doc, err := json.Marshal(map[string]any{"resourceType": "Observation", "id": id,
			"code":      map[string]any{"coding": []any{map[string]any{"system": "http://example.org/s", "code": code}}},
			"subject":   map[string]any{"reference": "Patient/" + id},
			"performer": []any{map[string]any{"reference": "https://here.example/fhir/Organization/o-" + id}}})
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "escaped") {
			doc = []byte(strings.ReplaceAll(string(doc), "/", `\/`))
		}
		root, err := fhir.ParseJSON(doc)
		if err != nil {
			t.Fatal(err)
		}
		wanted := []string{"instance:Observation/" + id, "instance:Observation/other", "refers:Patient/" + id, "author:Organization/o-" + id, consent.CodeMark(fhir.Coding{System: "http://example.org/s", Code: code}), consent.CodeMark(fhir.Coding{Code: "none"})}
		have := consent.Marks("Observation", id, root, wanted, "https://here.example/fhir")
		if len(have) < 3 {
			t.Fatalf("only %v were found", have)
		}
		for _, mark := range have {
			if !consent.MayHave(mark, id, doc) {
				t.Errorf("%s is in %s and was ruled out", mark, doc)
			}
		}
		if plain := []byte(`{"resourceType":"Observation","id":"p1"}`); consent.MayHave("code:s|none", "p1", plain) {
			t.Error("nothing is ruled out")
		}
	})
}
