package search

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"trellis/fhir"
)

func registry(t testing.TB) *Registry {
	t.Helper()
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func resource(t testing.TB, doc string) *fhir.Resource {
	t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExtract(t *testing.T) {
	v := registry(t).Extract(resource(t, `{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1-2"},{"code":"local"}]},
	 "subject":{"reference":"Patient/p"},"focus":[{"reference":"Patient/q"}],"effectivePeriod":{"start":"2026-01-01","end":"2026-01-02T12:00:00+02:00"},
	 "valueCodeableConcept":{"text":"Yes","coding":[{"system":"http://loinc.org","code":"LA33-6"}]},"identifier":[{"system":"urn:x","value":"7"}]}`), "")
	has := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("no index value for %s in %+v", what, v)
		}
	}
	token := func(x Token) bool {
		for _, y := range v.Tokens {
			if x == y {
				return true
			}
		}
		return false
	}
	has("code", token(Token{"code", "http://loinc.org", "1-2"}) && token(Token{"code", "", "local"}))
	has("status", token(Token{"status", "", "final"}))
	has("identifier", token(Token{"identifier", "urn:x", "7"}))
	has("value-concept", token(Token{"value-concept", "http://loinc.org", "LA33-6"}))
	refs := fmt.Sprint(v.Refs)
	has("subject, which answers for patient", refs == "[{focus Patient q} {subject Patient p}]")
	has("date", len(v.Dates) == 1 && v.Dates[0].Lo == time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() && v.Dates[0].Hi == time.Date(2026, 1, 2, 10, 0, 1, 0, time.UTC).UnixMicro())
	has("clinical period", v.Clinical == v.Dates[0].Range)
	has("value-string", fmt.Sprint(v.Strings) == "[{value-string yes Yes}]")
}

// TestPatients: only the CompartmentDefinition's parameters confer membership; focus never does.
func TestPatients(t *testing.T) {
	r := registry(t)
	for doc, want := range map[string]string{
		`{"resourceType":"Observation","subject":{"reference":"Patient/p"},"focus":[{"reference":"Patient/q"}]}`:                                 "[Patient/p]",
		`{"resourceType":"Observation","subject":{"reference":"Group/g"}}`:                                                                       "[]",
		`{"resourceType":"Patient","id":"p"}`:                                                                                                    "[Patient/p]",
		`{"resourceType":"Communication","subject":{"reference":"Patient/p"},"recipient":[{"reference":"Patient/q"},{"reference":"Patient/p"}]}`: "[Patient/p Patient/q]",
		`{"resourceType":"Consent","patient":{"reference":"https://h.example/fhir/Patient/p/_history/2"}}`:                                       "[Patient/p]",
		`{"resourceType":"Organization"}`:                                                                                                        "[]",
	} {
		res := resource(t, doc)
		if got := fmt.Sprint(r.Patients(res, "https://h.example/fhir")); got != want {
			t.Errorf("%s: %s, want %s", doc, got, want)
		}
	}
}

func TestParseDate(t *testing.T) {
	day := func(y, m, d, h, min, s, ms int) int64 {
		return time.Date(y, time.Month(m), d, h, min, s, ms*1e6, time.UTC).UnixMicro()
	}
	for in, want := range map[string]Range{
		"2026":                      {day(2026, 1, 1, 0, 0, 0, 0), day(2027, 1, 1, 0, 0, 0, 0)},
		"2026-12":                   {day(2026, 12, 1, 0, 0, 0, 0), day(2027, 1, 1, 0, 0, 0, 0)},
		"2024-02-29":                {day(2024, 2, 29, 0, 0, 0, 0), day(2024, 3, 1, 0, 0, 0, 0)},
		"2026-01-02T03:04Z":         {day(2026, 1, 2, 3, 4, 0, 0), day(2026, 1, 2, 3, 5, 0, 0)},
		"2025-12-31T23:30:00-05:00": {day(2026, 1, 1, 4, 30, 0, 0), day(2026, 1, 1, 4, 30, 1, 0)},
		"2026-01-02T03:04:05.678Z":  {day(2026, 1, 2, 3, 4, 5, 678), day(2026, 1, 2, 3, 4, 5, 679)},
	} {
		if got, err := ParseDate(in); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "26", "2026-13", "2026-02-30", "2026-01-02T03:04:05", "yesterday", "2026-1-2"} {
		if _, err := ParseDate(in); err == nil {
			t.Errorf("%q was read as a date", in)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	r := registry(t)
	const secret = "Zw9Canary"
	for query, names := range map[string]string{
		"nonsense=1":                               "nonsense",
		"code:near=x":                              "code:near",
		"patient.nonsense=" + secret:               "patient.nonsense",
		"code.name=" + secret:                      "code.name",
		"subject:Practitioner.name=" + secret:      "subject:Practitioner.name",
		"_total=" + secret:                         "_total",
		"_summary=" + secret:                       "_summary",
		"value-quantity=" + secret:                 "value-quantity",
		"_has:Condition:patient:code=" + secret:    "_has:Condition:patient:code",
		"_has:Nope:patient:code=" + secret:         "_has:Nope:patient:code",
		"date=" + secret:                           "date",
		"date=zz2026":                              "date",
		"_count=-1":                                "_count",
		"_count=many":                              "_count",
		"_sort=nonsense":                           "_sort",
		"_include=Condition:patient":               "_include",
		"_include=Observation:status":              "_include",
		"_revinclude=Nope:x":                       "_revinclude",
		"_id=a%20b":                                "_id",
		"subject=a%20b":                            "subject",
		"subject:Patient=Group/g":                  "subject",
		"code=a|b|c":                               "code",
		"status:missing=maybe":                     "status:missing",
		url.QueryEscape("<script>") + "=" + secret: "(unreadable name)",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Parse("Observation", values, "")
		if err == nil || !strings.Contains(err.Error(), names) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestEveryStandardParameter: each compiled expression leads somewhere R4 knows, or the table and the
// compiler have drifted apart.
func TestEveryStandardParameter(t *testing.T) {
	r := registry(t)
	count := 0
	for _, typ := range fhir.Types() {
		for _, p := range r.Parameters(typ) {
			count++
			for _, alt := range p.paths {
				if !alt.deceased && len(alt.steps) == 0 {
					t.Errorf("%s.%s has an empty path", typ, p.Code)
				}
			}
		}
	}
	if count < 1000 {
		t.Errorf("only %d parameters", count)
	}
}

// FuzzParse: no query makes the parser fail otherwise than by a problem that names parameters only, and
// what it accepts keeps the limits.
func FuzzParse(f *testing.F) {
	r := registry(f)
	for _, query := range []string{
		"patient=p&code=a|b,c&date=ge2026&_sort=-date&value-string:contains=x",
		"_has:Provenance:target:agent=Device/1&subject:Patient.organization.name:exact=x",
		`_filter=code eq a|b and (value-quantity gt 5.4||mg or not (subject[name co "x"].birthdate lt 2000))`,
		"combo-code-value-quantity=a$5&_include:iterate=Observation:*&_elements=code.text&_summary=data",
		"code:text=x&_content=y&_list=z&_tag:not=t&_id:missing=false&_security=a&_lastUpdated=ap2020",
	} {
		f.Add(query, "Zw9Canary", false)
	}
	f.Fuzz(func(t *testing.T, query, value string, lenient bool) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		const canary = "Zw9Canary"
		for name := range values {
			if strings.Contains(name, canary) {
				return // a name may be repeated, cleaned
			}
			values.Add(name, canary+value)
			values.Add(name, value+" "+canary)
		}
		for _, typ := range []string{"Observation", "Patient", ""} {
			q, err := r.ParseWith(t.Context(), typ, values, Options{Base: "https://h.example/fhir", Lenient: lenient, Terminology: terms{}})
			if err != nil {
				var problem *fhir.Problem
				if !errors.As(err, &problem) || strings.Contains(err.Error(), canary) {
					t.Fatalf("%v", err)
				}
				continue
			}
			if q.Count > MaxCount || size(q.Where) > maxNodes || len(q.Sort) > maxSorts {
				t.Fatal("a query without bound")
			}
		}
	})
}

// TestEscaping: any value survives being escaped, listed and parsed (R4 3.1.1.4.15).
func TestEscaping(t *testing.T) {
	r := registry(t)
	escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`, `|`, `\|`, `$`, `\$`).Replace
	text := rapid.StringOfN(rapid.RuneFrom([]rune(`\,|$ab:é "`)), 1, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		system, code, other := text.Draw(t, "system"), text.Draw(t, "code"), text.Draw(t, "other")
		q, err := r.Parse("Observation", url.Values{
			"code":               {escape(system) + "|" + escape(code) + "," + escape(other)},
			"value-string:exact": {escape(code) + "," + escape(other)},
			"code-value-concept": {escape(code) + "$" + escape(system) + "|" + escape(other)},
		}, "")
		if err != nil {
			t.Fatal(err)
		}
		tokens := Index{Kind: KindToken, Params: []string{"code"}, Values: []Value{{System: system, Code: code}, {AnySystem: true, Code: other}}}
		pair := And{Index{Kind: KindToken, Params: []string{"code"}, Values: []Value{{AnySystem: true, Code: code}}},
			Index{Kind: KindToken, Params: []string{"value-concept"}, Values: []Value{{System: system, Code: other}}}}
		texts := Index{Kind: KindString, Params: []string{"value-string"}, Values: []Value{{Text: code}, {Text: other}}}
		if diff := cmp.Diff(And{tokens, pair, texts}, q.Where); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestFilterQuoting: any text survives being quoted in a _filter.
func TestFilterQuoting(t *testing.T) {
	r := registry(t)
	text := rapid.StringOfN(rapid.RuneFrom([]rune(`\,|$ab()[] "`)), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := "x" + text.Draw(t, "text")
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
		q, err := r.Parse("Patient", url.Values{"_filter": {"not (name eq " + quoted + ")"}}, "")
		if err != nil {
			t.Fatal(err)
		}
		want := And{Not{Index{Kind: KindString, Params: []string{"name"}, Mode: Same, Values: []Value{{Text: Fold(s)}}}}}
		if diff := cmp.Diff(want, q.Where); diff != "" {
			t.Fatal(diff)
		}
	})
}
