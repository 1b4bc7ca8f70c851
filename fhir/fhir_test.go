package fhir

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func parser(t testing.TB) *Parser {
	t.Helper()
	p, err := NewParser()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseRefuses(t *testing.T) {
	const secret = "Xq7Canary"
	p := parser(t)
	for _, c := range []struct{ name, doc, path string }{
		{"not JSON", `{`, ""},
		{"duplicate names", `{"resourceType":"Patient","id":"a","id":"b"}`, ""},
		{"trailing data", `{"resourceType":"Patient"} {}`, ""},
		{"no type", `{"id":"a"}`, ""},
		{"unknown type", `{"resourceType":"` + secret + `"}`, ""},
		{"unknown element", `{"resourceType":"Patient","` + secret + `":1}`, "Patient"},
		{"missing required", `{"resourceType":"Condition"}`, "Condition"},
		{"wrong cardinality", `{"resourceType":"Patient","name":{"family":"` + secret + `"}}`, "Patient.name"},
		{"wrong type", `{"resourceType":"Patient","name":[{"family":12}]}`, "Patient.name[0].family"},
		{"bad date", `{"resourceType":"Patient","birthDate":"` + secret + `"}`, "Patient.birthDate"},
		{"bad code", `{"resourceType":"Patient","gender":"` + secret + `"}`, "Patient.gender"},
		{"bad id", `{"resourceType":"Patient","id":"a b ` + secret + `"}`, "Patient.id"},
		{"deep", `{"resourceType":"Patient","extension":` + strings.Repeat(`[{"url":"x","extension":`, 70) + `[]` + strings.Repeat(`}]`, 70) + `}`, ""},
	} {
		_, err := p.Parse([]byte(c.doc))
		var problem *Problem
		if !errors.As(err, &problem) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error repeats a value: %v", c.name, err)
		}
		if c.path != "" && problem.Issues[0].Expression != c.path {
			t.Errorf("%s: at %q, want %q", c.name, problem.Issues[0].Expression, c.path)
		}
	}
}

func TestSealKeepsBytes(t *testing.T) {
	p := parser(t)
	r, err := p.Parse([]byte(`{ "resourceType":"Observation", "id":"sent", "meta":{"versionId":"9","profile":["http://x"],"security":[{"code":"R"}],"lastUpdated":"2020-01-01T00:00:00Z"},
	 "status":"final","code":{"text":"caf\u00e9"},"valueQuantity":{"value":1.50},"subject":{"reference":"Patient/p"},"hasMember":[{"reference":"Observation/o2"},{"reference":"#c"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	s := Seal(r, "o1", 3, at, "")
	want := `{"resourceType":"Observation","id":"o1","meta":{"versionId":"3","lastUpdated":"2026-01-02T03:04:05.000006Z","profile":["http://x"]},` +
		`"status":"final","code":{"text":"caf\u00e9"},"valueQuantity":{"value":1.50},"subject":{"reference":"Patient/p"},"hasMember":[{"reference":"Observation/o2"},{"reference":"#c"}]}`
	if string(s.Doc) != want {
		t.Fatalf("sealed\n%s\nwant\n%s", s.Doc, want)
	}
	back := ReadSpans(s.Doc, s.Spans())
	if back.MetaEnd != s.MetaEnd || len(back.Refs) != 2 {
		t.Errorf("spans came back as %+v", back)
	}
	labelled, ok := back.WithSecurity([]byte(`[{"code":"N"}]`))
	if !ok || !bytes.Contains(labelled, []byte(`"profile":["http://x"],"security":[{"code":"N"}]}`)) {
		t.Errorf("labelled: %s", labelled)
	}
	if _, err := p.Parse(labelled); err != nil {
		t.Errorf("a labelled body is no longer R4: %v", err)
	}
	if _, ok := ReadSpans(s.Doc, "7").WithSecurity(nil); ok {
		t.Error("a damaged span table was used")
	}
	if ContentHash(r, "o1") == ContentHash(r, "o2") {
		t.Error("different resources have equal hashes")
	}
}

func TestRewriteReferences(t *testing.T) {
	p := parser(t)
	hide := func(hidden ...string) func(string) Edit {
		return func(ref string) Edit {
			for _, h := range hidden {
				if h == ref {
					return Edit{Drop: true}
				}
			}
			return Edit{}
		}
	}
	for _, c := range []struct {
		name, doc, want string
		edit            func(string) Edit
	}{
		{"one of several",
			`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/p"},"addresses":[{"reference":"Condition/a","display":"OUD"},{"reference":"Condition/b"}]}`,
			`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/p"},"addresses":[{"reference":"Condition/b"}]}`, hide("Condition/a")},
		{"the last one takes its array along",
			`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/p"},"addresses":[{"reference":"Condition/a"}]}`,
			`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/p"}}`, hide("Condition/a")},
		{"a required one takes its entry along",
			`{"resourceType":"List","status":"current","mode":"working","entry":[{"flag":{"text":"x"},"item":{"reference":"Condition/a"}},{"item":{"reference":"Condition/b"}}]}`,
			`{"resourceType":"List","status":"current","mode":"working","entry":[{"item":{"reference":"Condition/b"}}]}`, hide("Condition/a")},
		{"a required one at the top is masked",
			`{"resourceType":"MedicationRequest","status":"active","intent":"order","medicationReference":{"reference":"Medication/m","display":"buprenorphine"},"subject":{"reference":"Patient/p"}}`,
			`{"resourceType":"MedicationRequest","status":"active","intent":"order","medicationReference":` + maskedReference + `,"subject":{"reference":"Patient/p"}}`, hide("Medication/m")},
		{"an activity left empty goes",
			`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/p"},"activity":[{"reference":{"reference":"Task/t"}}]}`,
			`{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/p"}}`, hide("Task/t")},
		{"replaced",
			`{"resourceType":"Condition","subject":{"type":"Patient","reference":"urn:uuid:1"}}`,
			`{"resourceType":"Condition","subject":{"type":"Patient","reference":"Patient/p"}}`, func(string) Edit { return Edit{Replace: "Patient/p"} }},
	} {
		r, err := ReadTrusted([]byte(c.doc))
		if err != nil {
			t.Fatal(err)
		}
		got, changed := RewriteReferences(r, c.edit)
		if string(got) != c.want || !changed {
			t.Errorf("%s: changed %v\n%s\nwant\n%s", c.name, changed, got, c.want)
		}
		if _, err := p.Parse(got); err != nil {
			t.Errorf("%s: no longer R4: %v", c.name, err)
		}
	}
}

func TestParseReference(t *testing.T) {
	const base = "https://h.example/fhir"
	for s, want := range map[string]string{
		"Patient/p": "Patient/p", "Patient/p/_history/3": "Patient/p", base + "/Patient/p": "Patient/p",
		"https://other.example/fhir/Patient/p": "", "urn:uuid:1": "", "#p": "", "Patient/": "", "Nope/p": "", "Patient/a/b": "", "": "",
	} {
		ref, ok := ParseReference(s, base)
		if ok != (want != "") || (ok && ref.String() != want) {
			t.Errorf("%q: %v %v", s, ref, ok)
		}
	}
}

func TestOverlay(t *testing.T) {
	below, err := ReadTrusted([]byte(`{"resourceType":"Patient","id":"p","meta":{"source":"a"},"address":[{"city":"X"}],"name":[{"family":"Old"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	over, err := ReadTrusted([]byte(`{"resourceType":"Patient","id":"p","meta":{"source":"b"},"name":[{"family":"New"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Overlay(below, over)
	if err != nil || string(got.JSON) != `{"resourceType":"Patient","id":"p","meta":{"source":"b"},"name":[{"family":"New"}],"address":[{"city":"X"}]}` {
		t.Errorf("%s, %v", got.JSON, err)
	}
}

// FuzzParse: whatever comes in, a resource that is accepted seals, redacts and parses again.
func FuzzParse(f *testing.F) {
	p := parser(f)
	f.Add([]byte(`{"resourceType":"Patient","id":"p","name":[{"family":"x"}]}`))
	f.Add([]byte(`{"resourceType":"List","status":"current","mode":"working","entry":[{"item":{"reference":"Condition/a"}}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		r, err := p.Parse(doc)
		if err != nil {
			return
		}
		sealed := Seal(r, "x", 1, time.Unix(0, 0), "")
		back, err := ReadTrusted(sealed.Doc)
		if err != nil {
			t.Fatalf("a sealed body does not read: %v", err)
		}
		if _, ok := sealed.WithSecurity([]byte(`[]`)); !ok {
			t.Fatal("no place for labels")
		}
		redacted, _ := RewriteReferences(back, func(string) Edit { return Edit{Drop: true} })
		if len(redacted) > 0 {
			if _, err := ParseJSON(redacted); err != nil {
				t.Fatalf("a redacted body does not read: %v", err)
			}
		}
	})
}
