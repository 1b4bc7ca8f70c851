package search

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"trellis/fhir"
)

// show prints a condition compactly, so that tests read as the trees they expect.
func show(c Condition) string {
	list := func(name string, items []Condition) string {
		var out []string
		for _, i := range items {
			out = append(out, show(i))
		}
		return name + "(" + strings.Join(out, " ") + ")"
	}
	switch c := c.(type) {
	case And:
		return list("and", c)
	case Or:
		return list("or", c)
	case Not:
		return "not(" + show(c.Condition) + ")"
	case Index:
		out := fmt.Sprintf("%s %s", c.Kind, strings.Join(c.Params, "+"))
		if c.Target != "" {
			out += " ->" + c.Target
		}
		out += showMode(c.Mode)
		if c.Other {
			out += " other than"
		}
		return "[" + out + showValues(c.Kind, c.Values) + "]"
	case Element:
		return fmt.Sprintf("<%s: %s%s |%s%s>", strings.Join(c.Params, "+"), c.A.Kind, showValues(c.A.Kind, c.A.Values), c.B.Kind, showValues(c.B.Kind, c.B.Values))
	case Near:
		return fmt.Sprintf("near %s %v %v %vm", strings.Join(c.Params, "+"), c.Latitude, c.Longitude, c.Metres)
	case Chain:
		return fmt.Sprintf("%s->%s{%s}", strings.Join(c.Params, "+"), c.Target, show(c.Where))
	case Has:
		return fmt.Sprintf("has %s.%s{%s}", c.Type, strings.Join(c.Params, "+"), show(c.Where))
	case Field:
		return "field " + c.Name + showValues(map[string]Kind{"_lastUpdated": KindDate}[c.Name], c.Values)
	case Label:
		return "label" + showValues(KindToken, c.Values)
	case Scan:
		return "scan " + c.Param
	}
	return "?"
}

func showMode(m Mode) string {
	return map[Mode]string{Prefix: " ^", Contains: " ~", Below: " below", Same: " same", Ends: " ends"}[m]
}

func showValues(kind Kind, values []Value) string {
	var out string
	for _, v := range values {
		switch {
		case kind == KindToken && v.AnySystem:
			out += " " + v.Code
		case kind == KindToken:
			out += " " + v.System + "|" + v.Code
		case kind == KindReference:
			out += " " + v.RefType + "/" + v.RefID
		case kind == KindDate:
			out += fmt.Sprintf(" %s:%s..%s", v.Prefix, moment(v.Range.Lo), moment(v.Range.Hi))
		case kind == KindNumber || kind == KindQuantity:
			out += fmt.Sprintf(" %s:%v..%v", v.Prefix, v.Low, v.High)
			if v.Unit != (Unit{}) {
				out += "|" + v.Unit.System + "|" + v.Unit.Code
			}
		case kind == KindString || kind == KindURI:
			out += " " + v.Text
		default:
			out += " " + v.Code
		}
	}
	return out
}

func moment(micro int64) string {
	return strings.TrimSuffix(time.UnixMicro(micro).UTC().Format("2006-01-02T15:04:05"), "T00:00:00")
}

// terms is a small terminology: one value set and one hierarchy.
type terms struct{}

var errUnknown = errors.New("unknown")

func (terms) Expand(_ context.Context, valueSet string) ([]fhir.Coding, error) {
	switch valueSet {
	case "http://vs/two":
		return []fhir.Coding{{System: "http://s", Code: "a"}, {System: "http://s", Code: "b"}}, nil
	case "http://vs/none":
		return nil, nil
	}
	return nil, errUnknown
}

func (terms) Below(_ context.Context, system, code string) ([]string, error) {
	if system != "http://s" {
		return nil, errUnknown
	}
	return []string{code, code + "1", code + "2"}, nil
}

func (terms) Above(_ context.Context, system, code string) ([]string, error) {
	if system != "http://s" {
		return nil, errUnknown
	}
	return []string{"top"}, nil
}

func parseTree(t testing.TB, r *Registry, typ, query string, o Options) (*Query, error) {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if o.Base == "" {
		o.Base = "https://h.example/fhir"
	}
	o.Now = func() time.Time { return time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC) }
	return r.ParseWith(context.Background(), typ, values, o)
}

func TestTrees(t *testing.T) {
	r := registry(t)
	for _, c := range []struct{ typ, query, want string }{
		// token
		{"Observation", "code=a", "[token code a]"},
		{"Observation", "code=http://s|a,|b,http://s|", "[token code http://s|a |b http://s|]"},
		{"Observation", `code=a\,b\|c`, "[token code a,b|c]"},
		{"Observation", "code=a&code=b", "and([token code a] [token code b])"},
		{"Observation", "code:not=a", "not([token code a])"},
		{"Observation", "combo-code=a", "[token code+component-code a]"},
		{"Observation", "code:in=http://vs/two", "[token code http://s|a http://s|b]"},
		{"Observation", "code:not-in=http://vs/two", "not([token code http://s|a http://s|b])"},
		{"Observation", "code:in=http://vs/none", "or()"},
		{"Observation", "code:below=http://s|x", "[token code http://s|x http://s|x1 http://s|x2]"},
		{"Observation", "code:above=http://s|x", "[token code http://s|x http://s|top]"},
		{"Observation", "code:text=Sodium", "scan code:text"},
		{"Patient", "identifier:of-type=http://t|MR|12", "[token identifier:of-type http://t|MR|12]"},
		{"Patient", "active=true", "[token active true]"},
		{"Patient", "deceased=false", "[token deceased false]"},
		{"Patient", "email=a@b", "[token email a@b]"},
		{"Observation", "status=http://hl7.org/fhir/observation-status|final,http://x|final", "[token status final http://x|final]"},
		// position
		{"Location", "near=42.65|-73.75", "near near 42.65 -73.75 50000m"},
		{"Location", "near=42.65|-73.75|2.5", "near near 42.65 -73.75 2500m"},
		{"Location", "near=42.65|-73.75|300|m", "near near 42.65 -73.75 300m"},
		{"Location", "near=42.65|-73.75|1|[mi_i],-1|-180|40000|km", "or(near near 42.65 -73.75 1609.344m near near -1 -180 2.1e+07m)"},
		{"Location", "near:missing=true", "not([composite near])"},
		{"HealthcareService", "location.near=1|2|3|km", "location->Location{near near 1 2 3000m}"},
		// string
		{"Patient", "name=Ånn  Lee", "[string name ^ ann lee]"},
		{"Patient", "phonetic=x", "[string name ^ x]"},
		{"Patient", "family:exact=Ånn", "[string family Ånn]"},
		{"Patient", "family:contains=NN", "[string family ~ nn]"},
		// reference
		{"Observation", "subject=Patient/p", "[reference subject Patient/p]"},
		{"Observation", "subject=p", "[reference subject /p]"},
		{"Observation", "patient=p", "[reference subject ->Patient Patient/p]"},
		{"Observation", "subject:Patient=p", "[reference subject Patient/p]"},
		{"Observation", "subject=https://h.example/fhir/Patient/p/_history/3", "[reference subject Patient/p]"},
		{"Observation", "subject=http://other/Patient/p", "[uri subject http://other/Patient/p]"},
		{"Observation", "subject=Patient/p,urn:uuid:1", "or([reference subject Patient/p] [uri subject urn:uuid:1])"},
		{"Observation", "subject:identifier=http://s|9", "[token subject:identifier http://s|9]"},
		{"QuestionnaireResponse", "questionnaire=http://q|2", "[uri questionnaire http://q|2]"},
		// date
		{"Observation", "date=2026-01", "[date date eq:2026-01-01..2026-02-01]"},
		{"Observation", "date=ge2026-01-02T10:00Z", "[date date ge:2026-01-02T10:00:00..2026-01-02T10:01:00]"},
		{"Observation", "date=2026-01-02T10:00:00+02:00", "[date date eq:2026-01-02T08:00:00..2026-01-02T08:00:01]"},
		{"Observation", "date=ap2026-01-01", "[date date ap:2025-12-31T02:24:00..2026-01-02T21:36:00]"},
		{"Observation", "date=sa2025,eb2026", "[date date sa:2025-01-01..2026-01-01 eb:2026-01-01..2027-01-01]"},
		// number and quantity
		{"RiskAssessment", "probability=0.5", "[number probability eq:0.45..0.55]"},
		{"RiskAssessment", "probability=gt0.5", "[number probability gt:0.5..0.5]"},
		{"Observation", "value-quantity=5.40|http://unitsofmeasure.org|mg", "[quantity value-quantity eq:5.395..5.405|http://unitsofmeasure.org|mg]"},
		{"Observation", "value-quantity=ap100||mg", "[quantity value-quantity ap:90..110||mg]"},
		{"Observation", "value-quantity=ne1e2", "[quantity value-quantity ne:95..105]"},
		{"Observation", "combo-value-quantity=le-3", "[quantity component-value-quantity+value-quantity le:-3..-3]"},
		// uri
		{"ValueSet", "url=http://a/b", "[uri url http://a/b]"},
		{"ValueSet", "url:below=http://a/b/", "[uri url below http://a/b]"},
		{"ValueSet", "url:above=http://a/b/c", "[uri url http://a/b/c http://a/b http://a]"},
		// composite
		{"Observation", "code-value-quantity=http://s|a$gt5", "and([token code http://s|a] [quantity value-quantity gt:5..5])"},
		{"Observation", "component-code-value-quantity=a$5", "<component-code-value-quantity: token a |quantity eq:4.5..5.5>"},
		{"Observation", `combo-code-value-concept=a$b\$c`, "or(and([token code a] [token value-concept b$c]) <component-code-value-concept: token a |token b$c>)"},
		{"Observation", "code-value-date=a$2026,b$2025", "or(and([token code a] [date value-date eq:2026-01-01..2027-01-01]) and([token code b] [date value-date eq:2025-01-01..2026-01-01]))"},
		{"DocumentReference", "relationship=appends$DocumentReference/d", "<relationship: token appends |reference DocumentReference/d>"},
		{"ValueSet", "context-type-quantity=age$5", "<context-type-quantity: token age |quantity eq:4.5..5.5>"},
		// missing
		{"Observation", "code:missing=true", "not([token code])"},
		{"Observation", "code:missing=false", "[token code]"},
		{"Observation", "subject:missing=true", "not(or([reference subject] [uri subject] [token subject:identifier]))"},
		{"Observation", "patient:missing=false", "or([reference subject ->Patient])"},
		{"Observation", "code-value-string:missing=true", "not(or(and([token code] [string value-string])))"},
		{"Observation", "component-code-value-quantity:missing=false", "or([composite component-code-value-quantity])"},
		// special
		{"Observation", "_id=a,b", "field _id a b"},
		{"Observation", "_id:not=a", "not(field _id a)"},
		{"Observation", "_lastUpdated=gt2026", "field _lastUpdated gt:2026-01-01..2027-01-01"},
		{"Observation", "_tag=http://s|t", "[token _tag http://s|t]"},
		{"Observation", "_profile=http://p|1", "[uri _profile http://p|1]"},
		{"Observation", "_source:below=http://p/x", "[uri _source below http://p/x]"},
		{"Observation", "_security:not=http://s|R", "not(label http://s|R)"},
		{"Observation", "_list=l1", "has List.item{field _id l1}"},
		{"Observation", "_text=one two", "scan _text"},
		{"Observation", "_content=one", "scan _content"},
		// chains
		{"Observation", "subject:Patient.name=peter", "subject->Patient{[string name ^ peter]}"},
		{"Observation", "patient.organization.name:exact=X", "subject->Patient{organization->Organization{[string name X]}}"},
		{"Observation", "subject.identifier=1", "or(subject->Group{[token identifier 1]} subject->Device{[token identifier 1]} subject->Patient{[token identifier 1]} subject->Location{[token identifier 1]})"},
		{"Observation", "subject.birthdate=2000", "subject->Patient{[date birthdate eq:2000-01-01..2001-01-01]}"},
		{"Patient", "_has:Observation:patient:code=a", "has Observation.subject{[token code a]}"},
		{"Patient", "_has:Observation:patient:_has:AuditEvent:entity:agent.name=x", "has Observation.subject{has AuditEvent.entity{or(agent->Practitioner{[string name ^ x]} agent->Organization{[string name ^ x]} agent->Patient{[string name ^ x]} agent->RelatedPerson{[string name ^ x]})}}"},
		{"Encounter", "patient._has:Group:member:_id=g", "subject->Patient{has Group.member{field _id g}}"},
		// across types
		{"", "_tag=t&_id=1", "and(field _id 1 [token _tag t])"},
		{"", "_has:Provenance:target:agent=Device/d", "has Provenance.target{[reference agent Device/d]}"},
	} {
		q, err := parseTree(t, r, c.typ, c.query, Options{Terminology: terms{}})
		if err != nil {
			t.Errorf("%s?%s: %v", c.typ, c.query, err)
			continue
		}
		got := show(q.Where)
		if len(q.Where) == 1 {
			got = show(q.Where[0])
		}
		if got != c.want {
			t.Errorf("%s?%s:\n got %s\nwant %s", c.typ, c.query, got, c.want)
		}
	}
}

func TestFilter(t *testing.T) {
	r := registry(t)
	for filter, want := range map[string]string{
		`given eq "peter" and birthdate ge 2014-10-10`:            "and([string given same peter] [date birthdate ge:2014-10-10..2014-10-11])",
		`name co "pet" or family sw le and active eq true`:        "and(or([string name ~ pet] [string family ^ le]) [token active true])",
		`active eq true and name co "pet" or family sw le`:        "or(and([token active true] [string name ~ pet]) [string family ^ le])",
		`name co "pet" or (family sw le and active eq true)`:      "or([string name ~ pet] and([string family ^ le] [token active true]))",
		`name eq a and name eq b and name eq c`:                   "and([string name same a] [string name same b] [string name same c])",
		`name ne "X"`:                                             "[string name same other than x]",
		`gender ne male`:                                          "[token gender other than male]",
		`language ss http://s|x and identifier eq loinc|1-2`:      "and([token language http://s|x http://s|x1 http://s|x2] [token identifier http://loinc.org|1-2])",
		`identifier ne snomed|loinc`:                              "[token identifier other than http://snomed.info/sct|loinc]",
		`birthdate co 2014-10-10`:                                 "[date birthdate co:2014-10-10..2014-10-11]",
		`_profile ss http://p`:                                    "[uri _profile below http://p]",
		`_profile sb http://p/a/b`:                                "[uri _profile http://p/a/b http://p/a http://p]",
		`not (gender eq male) and (name ew "x" or name pr false)`: "and(not([token gender male]) or([string name ends x] not([string name])))",
		`identifier eq http://s|1`:                                "[token identifier http://s|1]",
		`name eq "a,b \"c\""`:                                     `[string name same a,b "c"]`,
		`general-practitioner re Practitioner/1`:                  "[reference general-practitioner Practitioner/1]",
		`organization.name sw "x"`:                                "organization->Organization{[string name ^ x]}",
		`organization[active eq true].name sw "x"`:                "organization->Organization{and([token active true] [string name ^ x])}",
		`birthdate po 2014`:                                       "[date birthdate ap:2014-01-01..2015-01-01]",
		`gender in http://vs/two`:                                 "[token gender http://s|a http://s|b]",
		`gender ni http://vs/two`:                                 "not([token gender http://s|a http://s|b])",
		`language ss http://s|x`:                                  "[token language http://s|x http://s|x1 http://s|x2]",
		`_id eq a and _lastUpdated gt 2026`:                       "and(field _id a field _lastUpdated gt:2026-01-01..2027-01-01)",
		`_has:Observation:patient:code eq a`:                      "has Observation.subject{[token code a]}",
	} {
		q, err := parseTree(t, r, "Patient", "_filter="+url.QueryEscape(filter), Options{Terminology: terms{}})
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := show(q.Where[0]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", filter, got, want)
		}
	}
	for filter, why := range map[string]string{
		`name gt "x"`:          "operation gt is not offered for string",
		`_profile ne http://p`: "operation ne is not offered for uri",
		`link ne Patient/1`:    "operation ne is not offered for reference",
		`gender co male`:       "operation co is not offered for token",
		`birthdate sw 2014`:    "operation sw is not offered for date",
		strings.Repeat("name eq x and name eq x or ", 30) + "name eq x": "use parentheses",
		`name zz "x"`:               "not one of R4's",
		`nonsense eq 1`:             "not known for Patient",
		`name eq "x`:                "closing quote",
		`(name eq x`:                "closing parenthesis",
		`name eq x y`:               "after its end",
		`not name eq x`:             "parenthesis after not",
		`name`:                      "lacks a value",
		`link[other eq x]`:          "after a bracket",
		`name[given eq x].use eq y`: "only references can be chained",
		`birthdate eq never`:        "unknown prefix",
		`_text co x`:                "is not offered",
		`name pr maybe`:             "true or false",
		`name:exact eq x`:           "modifier",
		strings.Repeat("(", 40) + "name eq x" + strings.Repeat(")", 40): "nested too deeply",
	} {
		_, err := parseTree(t, r, "Patient", "_filter="+url.QueryEscape(filter), Options{})
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "_filter") {
			t.Errorf("%s: %v", filter, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	r := registry(t)
	long := strings.TrimSuffix(strings.Repeat("a,", maxValues+1), ",")
	for _, c := range []struct {
		typ, query, want string
		category         fhir.Category
	}{
		{"Observation", "code:in=http://vs/unknown", "code:in", fhir.Invalid},
		{"Observation", "code:below=http://other|x", "code:below", fhir.Invalid},
		{"Observation", "code:below=x", "code:below", fhir.Invalid},
		{"Observation", "code=" + long, "too many values", fhir.TooLarge},
		{"Observation", "_filter=" + strings.Repeat("x", maxLength), "longer", fhir.TooLarge},
		{"Observation", "subject:Patient.name:text=x", "modifier", fhir.Unsupported},
		{"Observation", "subject:Patient._text=x", "top of a query", fhir.Unsupported},
		{"Observation", "subject:Practitioner=x", "never leads", fhir.Unsupported},
		{"Observation", "subject:Patient.link.link.link.link.link.name=x", "four", fhir.Invalid},
		{"Provenance", "target._id=x", "too many types", fhir.Unsupported},
		{"Observation", "code-value-quantity=a", "joined by $", fhir.Invalid},
		{"MolecularSequence", "chromosome-variant-coordinate=1$2$3", "two components", fhir.Unsupported},
		{"Location", "near=1", "latitude|longitude|distance|units", fhir.Invalid},
		{"Location", "near=91|2", "latitude from -90", fhir.Invalid},
		{"Location", "near=NaN|2", "latitude from -90", fhir.Invalid},
		{"Location", "near=1|2|-3|km", "not negative", fhir.Invalid},
		{"Location", "near=1|2|3|kg", "unit of length", fhir.Invalid},
		{"Location", "near=1|2|3|mi", "[mi_i]", fhir.Invalid},
		{"Location", "near:exact=1|2", "modifier", fhir.Unsupported},
		{"Location", "_sort=near", "distance", fhir.Unsupported},
		{"Bundle", "composition=Composition/1", "inside a Bundle", fhir.Unsupported},
		{"Observation", "_query=x", "_query", fhir.Unsupported},
		{"Observation", "_type=Patient", "_type", fhir.Unsupported},
		{"", "_type=Nope", "_type", fhir.Invalid},
		{"", "code=x", "search across types", fhir.Unsupported},
		{"Observation", "_list=$current-problems", "functional", fhir.Unsupported},
		{"Observation", "_contained=true", "_contained", fhir.Unsupported},
		{"Observation", "_containedType=container", "_containedType", fhir.Unsupported},
		{"Observation", "_sort=subject", "reference", fhir.Unsupported},
		{"Observation", "_sort=date,code,status,_id,_lastUpdated", "four", fhir.Unsupported},
		{"Observation", "_elements=nonsense", "_elements", fhir.Invalid},
		{"Observation", "_summary=text&_include=Observation:subject", "_include", fhir.Invalid},
		{"Observation", "_include=Observation:patient:Group", "never refers", fhir.Unsupported},
		{"Observation", "_include:nope=Observation:patient", "modifier", fhir.Unsupported},
		{"Observation", "_revinclude:nope=*", "_revinclude", fhir.Unsupported},
		{"Patient", "identifier:of-type=a|b", "system|code|value", fhir.Invalid},
		{"Patient", "_has:Observation:code:status=x", "no reference", fhir.Unsupported},
		{"Patient", "_has:Observation:performer:nonsense=x", "nonsense", fhir.Unsupported},
		{"Nope", "", "resource type", fhir.NotFound},
		{"Observation", "value-quantity=5|mg", "number||unit", fhir.Invalid},
		{"RiskAssessment", "probability=1.", "decimal", fhir.Invalid},
		{"Observation", "_security:exact=R", "modifier", fhir.Unsupported},
	} {
		_, err := parseTree(t, r, c.typ, c.query, Options{Terminology: terms{}})
		var problem *fhir.Problem
		if !errors.As(err, &problem) || problem.Category != c.category || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s?%.60s: %v, want %q", c.typ, c.query, err, c.want)
		}
	}
	if _, err := parseTree(t, r, "Observation", "code:in=http://vs/two", Options{}); err == nil {
		t.Error(":in without terminology was not refused")
	}
}
