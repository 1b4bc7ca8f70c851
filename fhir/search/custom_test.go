package search

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"trellis/fhir"
)

func hairColor() Custom {
	return Custom{Base: []string{"Patient"}, Code: "hair", Kind: KindToken, URL: "http://x/hair", Ready: true,
		Expression: "Patient.extension.where(url='http://x/hair').value.as(CodeableConcept) | Patient.extension('http://x/hair').value.as(Coding)"}
}

func TestCustom(t *testing.T) {
	r := registry(t)
	if err := r.Define([]Custom{hairColor()}); err != nil {
		t.Fatal(err)
	}
	res := resource(t, `{"resourceType":"Patient","id":"p","extension":[{"url":"http://x/other","valueCoding":{"code":"no"}},{"url":"http://x/hair","valueCoding":{"system":"s","code":"red"}}]}`)
	if v := r.Extract(res, ""); !strings.Contains(fmt.Sprint(v.Tokens), "{hair s red}") {
		t.Error(v.Tokens)
	}
	q, err := r.Parse("Patient", url.Values{"hair": {"red"}}, "")
	if err != nil || show(q.Where[0]) != "[token hair red]" {
		t.Error(q, err)
	}
	wrapped := Custom{Base: []string{"Group"}, Code: "member-type", Kind: KindReference, URL: "http://x/m", Expression: "(Group.characteristic.value.ofType(Reference))"}
	if err := r.Check(wrapped); err != nil {
		t.Error(err)
	}
	pending := hairColor()
	pending.Ready = false
	if err := r.Define([]Custom{pending}); err != nil {
		t.Fatal(err)
	}
	if v := r.Extract(res, ""); !strings.Contains(fmt.Sprint(v.Tokens), "{hair s red}") {
		t.Error("a parameter being indexed is not extracted")
	}
	for _, query := range []string{"hair=red", "_sort=hair", "_filter=hair%20eq%20red", "hair:missing=true", "_has:Observation:patient:subject:Patient.hair=red"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.ParseWith(t.Context(), "Patient", values, Options{Lenient: true})
		var problem *fhir.Problem
		if !errors.As(err, &problem) || problem.Category != fhir.Unavailable {
			t.Errorf("%s: %v", query, err)
		}
	}
	if err := r.Define(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Parse("Patient", url.Values{"hair": {"red"}}, ""); err == nil {
		t.Error("a parameter taken back is still known")
	}
	if p, _ := r.Lookup("Patient", "phonetic"); fmt.Sprint(p.Reads) != "[name]" {
		t.Error("aliases were lost")
	}
}

func TestCustomRefused(t *testing.T) {
	r := registry(t)
	if err := r.Define([]Custom{hairColor()}); err != nil {
		t.Fatal(err)
	}
	for expression, why := range map[string]string{
		"Patient.name.first()":                       "first()",
		"Patient.name[0].given":                      "operator or index",
		"Patient.birthDate > today()":                "not offered",
		"Patient.name.where(use='a' and family='b')": "where()",
		"Patient.name.where(use='a').where(x='b')":   "where()",
		"Patient.name.where(given.exists())":         "where()",
		"Patient.extension(%x).value":                "extension()",
		"Observation.code":                           "does not start at Patient",
		"Patient":                                    "names no element",
		"Patient.name | iif(true, a, b)":             "does not start at Patient",
		"(Patient.name":                              "parenthesis",
		"(Patient.name as HumanName) & x":            "operator after",
		"":                                           "does not start at Patient",
	} {
		d := hairColor()
		d.Expression = expression
		if err := r.Check(d); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "hair") {
			t.Errorf("%q: %v", expression, err)
		}
	}
	for why, change := range map[string]func(*Custom){
		"R4 defines":     func(c *Custom) { c.Code = "birthdate" },
		"code must be":   func(c *Custom) { c.Code = "a b" },
		"type of param":  func(c *Custom) { c.Kind = KindComposite },
		"base type":      func(c *Custom) { c.Base = nil },
		"unknown base":   func(c *Custom) { c.Base = []string{"Nope"} },
		"unknown target": func(c *Custom) { c.Targets = []string{"Nope"} },
		"canonical URL":  func(c *Custom) { c.URL = "" },
	} {
		d := hairColor()
		change(&d)
		if err := r.Define([]Custom{d}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if err := r.Define([]Custom{hairColor(), hairColor()}); err == nil {
		t.Error("two parameters share a code")
	}
	if _, ok := r.Lookup("Patient", "hair"); !ok {
		t.Error("a refused set replaced the one before")
	}
}

// TestDefineWhileReading is for the race detector: readers see one set or the other.
func TestDefineWhileReading(t *testing.T) {
	r := registry(t)
	res := resource(t, `{"resourceType":"Patient","id":"p","extension":[{"url":"http://x/hair","valueCoding":{"code":"red"}}]}`)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				r.Extract(res, "")
				r.Indexed("Patient")
			}
		})
	}
	for range 50 {
		if err := r.Define([]Custom{hairColor()}); err != nil {
			t.Error(err)
		}
		if err := r.Define(nil); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
