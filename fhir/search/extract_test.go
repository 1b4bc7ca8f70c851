package search

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"trellis/fhir"
)

const richObservation = `{"resourceType":"Observation","id":"o","meta":{"profile":["http://p/x|1"],"source":"http://src","tag":[{"system":"http://s","code":"t"}]},
 "status":"final","category":[{"text":"Vitals only in words"}],
 "code":{"coding":[{"system":"http://loinc.org","code":"85354-9"},{"system":"http://loinc.org","code":"85354-9"}]},
 "subject":{"reference":"https://h.example/fhir/Patient/p","identifier":{"system":"urn:mrn","value":"9"}},
 "performer":[{"display":"Somebody"},{"reference":"http://other/fhir/Practitioner/1"},{"reference":"#contained"}],
 "effectiveDateTime":"2026-01-02","issued":"2026-01-02T10:00:00.000Z",
 "identifier":[{"type":{"coding":[{"system":"http://t","code":"MR"}]},"system":"urn:x","value":"7"},{"system":"urn:x","value":"7"}],
 "valueQuantity":{"value":5.40,"comparator":"<","unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"},
 "component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mmHg"}},
  {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"unit":"mmHg"}},
  {"code":{"coding":[{"code":"x"}]},"valueCodeableConcept":{"coding":[{"code":"y"},{"code":"z"}]}}]}`

func TestExtractEveryKind(t *testing.T) {
	v := registry(t).Extract(resource(t, richObservation), "https://h.example/fhir")
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).UnixMicro()
	for what, pair := range map[string][2]any{
		"tokens": {v.Tokens, []Token{{"_tag", "http://s", "t"}, {"category", "", ""}, {"code", "http://loinc.org", "85354-9"},
			{"component-code", "http://loinc.org", "8480-6"}, {"component-code", "http://loinc.org", "8462-4"}, {"component-code", "", "x"},
			{"component-value-concept", "", "y"}, {"component-value-concept", "", "z"}, {"identifier", "urn:x", "7"}, {"identifier:of-type", "http://t", "MR|7"},
			{"performer:identifier", "", ""}, {"status", "", "final"}, {"subject:identifier", "urn:mrn", "9"}}},
		"refs":  {v.Refs, []Ref{{"subject", "Patient", "p"}}},
		"uris":  {v.URIs, []URI{{"_profile", "http://p/x|1"}, {"_profile", "http://p/x"}, {"_source", "http://src"}, {"performer", "http://other/fhir/Practitioner/1"}}},
		"dates": {v.Dates, []Date{{"date", Range{day, day + 86400e6}}}},
		"numbers": {v.Numbers, []Number{{"component-value-quantity", Unit{"", "mmHg"}, point(120)}, {"component-value-quantity", Unit{"", "mmHg"}, point(80)},
			{"value-quantity", Unit{UCUM, "mm[Hg]"}, Range{OpenLo, Ordered(5.4)}}}},
		"elements": {v.Elements, []ElementRow{
			{"component-code-value-concept", Half{Code: "x"}, Half{Code: "y"}},
			{"component-code-value-concept", Half{Code: "x"}, Half{Code: "z"}},
			{"component-code-value-quantity", Half{System: "http://loinc.org", Code: "8480-6"}, Half{"", "mmHg", Ordered(120), Ordered(120) + 1}},
			{"component-code-value-quantity", Half{System: "http://loinc.org", Code: "8462-4"}, Half{"", "mmHg", Ordered(80), Ordered(80) + 1}}}},
	} {
		if got, want := fmt.Sprint(pair[0]), fmt.Sprint(pair[1]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
}

func TestExtractDetails(t *testing.T) {
	r := registry(t)
	for _, c := range []struct{ doc, want string }{
		{`{"resourceType":"Patient","id":"p","deceasedDateTime":"2020"}`, "{deceased  true}"},
		{`{"resourceType":"Patient","id":"p","active":true,"gender":"male","telecom":[{"system":"email","value":"a@b"},{"system":"phone","value":"1"}]}`, "{active  true}"},
		{`{"resourceType":"Patient","id":"p","telecom":[{"system":"email","value":"a@b"},{"system":"phone","value":"1"}]}`, "{email  a@b}"},
		{`{"resourceType":"Patient","id":"p","name":[{"text":"Zoë  Ångström","given":["Zoë"]}]}`, "{name zoe angstrom Zoë  Ångström}"},
		{`{"resourceType":"RiskAssessment","id":"r","prediction":[{"probabilityRange":{"low":{"value":0.1},"high":{"value":0.4}}}]}`, fmt.Sprintf("{probability { } {%d %d}}", Ordered(0.1), Ordered(0.4)+1)},
		{`{"resourceType":"Condition","id":"c","onsetRange":{"low":{"value":10,"unit":"a"}}}`, fmt.Sprintf("{onset-age { a} {%d %d}}", Ordered(10), int64(OpenHi))},
		{`{"resourceType":"Invoice","id":"i","totalNet":{"value":3,"currency":"USD"}}`, fmt.Sprintf("{totalnet {urn:iso:std:iso:4217 USD} {%d %d}}", Ordered(3), Ordered(3)+1)},
		{`{"resourceType":"QuestionnaireResponse","id":"q","questionnaire":"http://q/x|2"}`, "[{questionnaire http://q/x|2} {questionnaire http://q/x}]"},
		{`{"resourceType":"CarePlan","id":"c","activity":[{"detail":{"scheduledTiming":{"event":["2026-01-01","2026-01-03"]}}}]}`, "{activity-date {1767225600000000 1767484800000000}}"},
		{`{"resourceType":"Encounter","id":"e","period":{"start":"2026-01-01"}}`, "{date {1767225600000000 9223372036854775807}}"},
		{`{"resourceType":"Group","id":"g","characteristic":[{"code":{"coding":[{"code":"a"}]},"valueBoolean":true,"exclude":false}]}`, "{characteristic-value {a 0 0} {true 0 0}}"},
		{`{"resourceType":"Location","id":"l","position":{"longitude":-73.75,"latitude":42.65012345}}`, "{near {  -73750000 -73749999} {  42650123 42650124}}"},
		{`{"resourceType":"DocumentReference","id":"d","relatesTo":[{"code":"appends","target":{"reference":"DocumentReference/x"}}]}`, "{relationship {appends 0 0} {DocumentReference x 0 0}}"},
		{`{"resourceType":"ValueSet","id":"v","useContext":[{"code":{"code":"age"},"valueRange":{"low":{"value":1,"unit":"a"}}}]}`, "{context-type-quantity {age 0 0} { a"},
	} {
		v := r.Extract(resource(t, c.doc), "")
		got := strings.NewReplacer("{ ", "{", "{{", "{").Replace(fmt.Sprintf("%v", v))
		want := strings.NewReplacer("{ ", "{", "{{", "{").Replace(c.want)
		if !strings.Contains(got, want) {
			t.Errorf("%s:\nno %s in %s", c.doc, want, got)
		}
	}
	v := r.Extract(resource(t, `{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}`), "")
	if fmt.Sprint(v.Refs) != "[{subject Patient p}]" {
		t.Error("an alias made rows of its own:", v.Refs)
	}
}

// TestAliases: what reads the rows of others is not indexed, and what is indexed reads itself.
func TestAliases(t *testing.T) {
	r := registry(t)
	for _, c := range []struct{ typ, code, reads, target string }{
		{"Observation", "patient", "[subject]", "Patient"},
		{"Observation", "combo-code", "[code component-code]", ""},
		{"Observation", "combo-value-quantity", "[component-value-quantity value-quantity]", ""},
		{"Observation", "combo-code-value-quantity", "[component-code-value-quantity]", ""},
		{"Observation", "code-value-quantity", "[]", ""},
		{"Patient", "phonetic", "[name]", ""},
		{"Patient", "family", "[family]", ""},
		{"Encounter", "practitioner", "[participant]", "Practitioner"},
		{"AllergyIntolerance", "patient", "[patient]", ""},
		{"Patient", "_tag", "[_tag]", ""},
	} {
		p, ok := r.Lookup(c.typ, c.code)
		if !ok || fmt.Sprint(p.Reads) != c.reads || p.Target != c.target {
			t.Errorf("%s.%s: %+v", c.typ, c.code, p)
		}
	}
	for _, typ := range []string{"Observation", "Patient", "Encounter"} {
		for _, p := range r.Indexed(typ) {
			if !p.Indexed() {
				t.Errorf("%s.%s is listed as indexed", typ, p.Code)
			}
		}
		for _, p := range r.Parameters(typ) {
			for _, code := range p.Reads {
				if q, ok := r.Lookup(typ, code); !ok || !q.Indexed() {
					t.Errorf("%s.%s reads %s, which makes no rows", typ, p.Code, code)
				}
			}
		}
	}
}

// TestElementsBounded: pairs do not multiply without end.
func TestElementsBounded(t *testing.T) {
	codings := strings.Repeat(`{"code":"a"},`, 3000)
	for i := range 3000 {
		codings = strings.Replace(codings, `"a"`, fmt.Sprintf(`"%d"`, i), 1)
	}
	concept := `{"coding":[` + strings.TrimSuffix(codings, ",") + `]}`
	v := registry(t).Extract(resource(t, `{"resourceType":"Observation","component":[{"code":`+concept+`,"valueCodeableConcept":`+concept+`}]}`), "")
	if len(v.Elements) != maxHalves*maxHalves {
		t.Errorf("%d element rows", len(v.Elements))
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{"": "", "a b": "a b", " A  b\t": "a b", "Ångström": "angstrom", "ÉÈ\u0301": "ee", "straße": "straße", "日本": "日本", "x ": "x"} {
		if got := Fold(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if Fold(want) != want {
			t.Errorf("folding %q twice differs", in)
		}
	}
}

func BenchmarkExtract(b *testing.B) {
	r := registry(b)
	res := resource(b, richObservation)
	b.ReportAllocs()
	for b.Loop() {
		r.Extract(res, "https://h.example/fhir")
	}
}

func BenchmarkParse(b *testing.B) {
	r := registry(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Parse("Observation", map[string][]string{"patient": {"p"}, "category": {"http://s|laboratory"}, "date": {"ge2026-01-01"}, "_sort": {"-date"}}, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzExtract: no resource makes extraction fail, and every row belongs to a parameter that is indexed.
func FuzzExtract(f *testing.F) {
	r := registry(f)
	f.Add(richObservation)
	f.Add(`{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,{"id":"x"}]}],"deceasedBoolean":false,"link":[{"other":{"reference":"Patient/q"}}]}`)
	f.Add(`{"resourceType":"Group","characteristic":[{"code":{"text":"x"},"valueRange":{"low":{"value":1e400}}},{"valueReference":{}}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		res, err := fhir.ReadTrusted([]byte(doc))
		if err != nil {
			return
		}
		v := r.Extract(res, "https://h.example/fhir")
		r.Patients(res, "https://h.example/fhir")
		for _, row := range v.Refs {
			if p, ok := r.Lookup(res.Type, row.Param); !ok || !p.Indexed() || !fhir.ValidID(row.ID) {
				t.Fatalf("row of %s", row.Param)
			}
		}
		for _, row := range v.Numbers {
			if row.Lo >= row.Hi {
				t.Fatalf("an empty span of %s", row.Param)
			}
		}
	})
}
