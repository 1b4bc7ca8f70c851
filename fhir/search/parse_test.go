package search

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"trellis/fhir"
)

func TestLenient(t *testing.T) {
	r := registry(t)
	q, err := parseTree(t, r, "Observation", "nonsense=1&code=a&_sort=date,nope&subject:near=x&empty=", Options{Lenient: true})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(q.Ignored) != "[_sort nonsense subject:near]" || q.Used.Encode() != "code=a" || len(q.Where) != 1 || len(q.Sort) != 0 {
		t.Errorf("ignored %v, used %v, sort %v", q.Ignored, q.Used, q.Sort)
	}
	if _, err := parseTree(t, r, "Observation", "date=never", Options{Lenient: true}); err == nil {
		t.Error("a value that is no date was ignored")
	}
}

func TestResultParameters(t *testing.T) {
	r := registry(t)
	q, err := parseTree(t, r, "Observation", "_count=5000&_total=estimate&_elements=code,value.code,Observation.status&_sort=-date,combo-code,_lastUpdated&_include=*&_include:recurse=Patient:link&_revinclude=Provenance:target&_cursor=c&_format=json", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if q.Count != MaxCount || q.Total != TotalEstimate || fmt.Sprint(q.Elements) != "[code value status]" || q.Cursor != "c" {
		t.Errorf("%+v", q)
	}
	if got := fmt.Sprint(q.Sort); got != "[{date date [date] true} {combo-code token [code component-code] false} {_lastUpdated  [] false}]" {
		t.Error(got)
	}
	if got := fmt.Sprint(q.Include); got != "[{Observation * [based-on derived-from device encounter focus has-member part-of performer specimen subject]  false false} {Patient link [link]  true false}]" {
		t.Error(got)
	}
	if got := fmt.Sprint(q.RevInclude); got != "[{Provenance target [target]  false false}]" {
		t.Error(got)
	}
	if q.Used.Has("_cursor") || q.Used.Has("_format") {
		t.Error(q.Used)
	}
	for value, want := range map[string]Summary{"true": SummaryTrue, "text": SummaryText, "data": SummaryData, "count": SummaryCount, "false": SummaryFalse} {
		q, err := parseTree(t, r, "Observation", "_summary="+value, Options{})
		if err != nil || q.Summary != want || q.CountOnly != (want == SummaryCount) {
			t.Errorf("%s: %v %v", value, q, err)
		}
	}
	if q, err := parseTree(t, r, "Observation", "_include=Observation:patient", Options{}); err != nil || fmt.Sprint(q.Include) != "[{Observation patient [subject] Patient false false}]" {
		t.Error(q, err)
	}
	// Whatever may refer to what is searched; with :iterate whatever refers to anything.
	q, err = parseTree(t, r, "Organization", "_revinclude=*", Options{})
	if err != nil || !slices.ContainsFunc(q.RevInclude, func(i Include) bool {
		return i.Source == "Location" && i.Whatever && slices.Contains(i.Params, "organization")
	}) ||
		slices.ContainsFunc(q.RevInclude, func(i Include) bool { return i.Source == "QuestionnaireResponse" && len(i.Params) == 0 }) {
		t.Error(q, err)
	}
	iterated, err := parseTree(t, r, "Organization", "_revinclude:iterate=*", Options{})
	if err != nil || len(iterated.RevInclude) <= len(q.RevInclude) || !iterated.RevInclude[0].Iterate {
		t.Error(iterated, err)
	}
}

func TestCompartments(t *testing.T) {
	r := registry(t)
	for _, c := range []struct{ typ, query, compartment, where, patient string }{
		{"Observation", "code=a", "Patient/p", "and([token code a])", "p"},
		{"Observation", "", "Encounter/e", "and(or([reference encounter Encounter/e]))", ""},
		{"Encounter", "", "Encounter/e", "and(or(field _id e))", ""},
		{"Patient", "", "Practitioner/d", "and(or([reference general-practitioner Practitioner/d]))", ""},
		{"Observation", "", "Device/d", "and(or([reference subject Device/d] [reference device Device/d]))", ""},
		{"Observation", "patient=p", "", "and([reference subject ->Patient Patient/p])", "p"},
		{"Observation", "subject=Patient/p", "", "and([reference subject Patient/p])", "p"},
		{"Observation", "subject=Group/p", "", "and([reference subject Group/p])", ""},
		{"Observation", "patient=p,q", "", "and([reference subject ->Patient Patient/p Patient/q])", ""},
		{"Observation", "focus=Patient/p", "", "and([reference focus Patient/p])", ""},
		{"Condition", "patient=p", "", "and([reference subject ->Patient Patient/p])", "p"},
	} {
		var o Options
		o.Compartment, _ = fhir.ParseReference(c.compartment, "")
		q, err := parseTree(t, r, c.typ, c.query, o)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		} else if got := show(q.Where); got != c.where || q.Patient != c.patient {
			t.Errorf("%+v: %s %s", c, got, q.Patient)
		}
	}
	for typ, compartment := range map[string]string{"Organization": "Patient/p", "Patient": "Encounter/e", "Observation": "Group/g"} {
		ref, _ := fhir.ParseReference(compartment, "")
		_, err := parseTree(t, r, typ, "", Options{Compartment: ref})
		var problem *fhir.Problem
		if !errors.As(err, &problem) || problem.Category != fhir.NotFound {
			t.Errorf("%s in %s: %v", typ, compartment, err)
		}
	}
	q, err := parseTree(t, r, "", "_type=Observation,Organization,Condition", Options{Compartment: fhir.Reference{Type: "Patient", ID: "p"}})
	if err != nil || fmt.Sprint(q.Types) != "[Condition Observation]" || q.Patient != "p" {
		t.Error(q, err)
	}
}
