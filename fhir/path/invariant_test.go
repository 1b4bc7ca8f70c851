package path

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"trellis/fhir"
)

func parsed(t testing.TB, doc string) fhir.Node {
	t.Helper()
	n, err := fhir.ParseJSON([]byte(doc))
	if err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	return n
}

// answer evaluates an expression: true, false or untold.
func answer(t testing.TB, e *Evaluator, expression, typ, doc, resource string) string {
	t.Helper()
	in, err := e.Read(expression)
	if err != nil {
		return "unread"
	}
	element := parsed(t, doc)
	s := Subject{Resource: element, Root: element, Element: element, Type: typ, Resolve: func(reference string) []byte {
		if typ, _, ok := strings.Cut(reference, "/"); ok && fhir.KnownType(typ) {
			return []byte(`{"resourceType":"` + typ + `"}`)
		}
		return nil
	}}
	if resource != "" {
		s.Resource = parsed(t, resource)
		s.Root = s.Resource
	}
	holds, err := e.Holds(context.Background(), in, s)
	switch {
	case errors.Is(err, ErrUnevaluated):
		return "untold"
	case err != nil:
		t.Fatalf("%s: %v", expression, err)
	case holds:
		return "true"
	}
	return "false"
}

func TestInvariants(t *testing.T) {
	e := NewEvaluator()
	for _, c := range []struct{ expression, typ, doc, resource, want string }{
		{"name.exists()", "", `{"resourceType":"Patient","name":[{"family":"x"}]}`, "", "true"},
		{"name.exists()", "", `{"resourceType":"Patient"}`, "", "false"},
		{"name.family = 'x'", "", `{"resourceType":"Patient"}`, "", "false"}, // nothing is not true
		{"name.family = 'x' or gender = 'male'", "", `{"resourceType":"Patient"}`, "", "untold"},
		{"telecom or name", "Patient.contact", `{"name":{"family":"x"}}`, "", "untold"},
		// types: those of R4, of choices, of parts and of values that look like others
		{"value.ofType(Quantity).code = 'kg'", "Observation.component", `{"valueQuantity":{"value":1,"code":"kg"}}`, "", "true"},
		{"value is CodeableConcept", "", `{"resourceType":"Observation","valueCodeableConcept":{"text":"x"}}`, "", "true"},
		{"$this is dateTime", "dateTime", `"2020"`, "", "true"},
		{"$this is dateTime implies $this.toString().length() >= 10", "dateTime", `"2020-01"`, "", "false"},
		{"value.matches('^[0-9]{4}$')", "Identifier", `{"value":"2020"}`, "", "true"},
		{"family.length() = 4", "HumanName", `{"family":"2020"}`, "", "true"},
		{"$this > 3", "integer", `4`, "", "true"},
		{"$this", "boolean", `true`, "", "true"},
		{"start <= end", "Period", `{"start":"2020-01-01","end":"2020-02-01"}`, "", "true"},
		{"start <= end", "Period", `{"start":"2020-03-01","end":"2020-02-01"}`, "", "false"},
		{"component.value.ofType(integer) = 3", "", `{"resourceType":"Observation","component":[{"valueInteger":3}]}`, "", "true"},
		{"contained.ofType(Patient).exists()", "", `{"resourceType":"Observation","contained":[{"resourceType":"Patient"}]}`, "", "true"},
		{"%resource.status = 'final' and code = 'kg'", "Quantity", `{"code":"kg"}`, `{"resourceType":"Observation","status":"final"}`, "true"},
		{"system = %ucum", "Quantity", `{"system":"http://unitsofmeasure.org"}`, "", "true"},
		// references
		{"subject.resolve() is Patient", "", `{"resourceType":"Observation","subject":{"reference":"Patient/1"}}`, "", "true"},
		{"subject.resolve() is Patient", "", `{"resourceType":"Observation","subject":{"reference":"Group/1"}}`, "", "false"},
		{"subject.resolve() is Patient", "", `{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}}`, "", "untold"},
		// a value that is only extended exists; an extension of a value is not seen
		{"birthDate.exists()", "", `{"resourceType":"Patient","_birthDate":{"extension":[{"url":"x"}]}}`, "", "true"},
		{"birthDate.extension.exists()", "", `{"resourceType":"Patient","_birthDate":{"extension":[{"url":"x"}]}}`, "", "true"},
		{"birthDate.extension.empty()", "", `{"resourceType":"Patient","birthDate":"2020","_birthDate":{"extension":[{"url":"x"}]}}`, "", "untold"},
		{"extension('x').exists()", "", `{"resourceType":"Patient","extension":[{"url":"x"}]}`, "", "true"},
		// what is written anew for the library
		{"name.family.trace('x').exists()", "", `{"resourceType":"Patient","name":[{"family":"x"}]}`, "", "true"},
		{"name.trace('x(', family.first()).where(family.trace(')') = 'x').exists()", "", `{"resourceType":"Patient","name":[{"family":"x"}]}`, "", "true"},
		{"repeat(item).where(linkId = 'c').exists()", "", `{"resourceType":"Questionnaire","item":[{"linkId":"a","item":[{"linkId":"b","item":[{"linkId":"c"}]}]}]}`, "", "true"},
		{"repeat(item).where(linkId = 'd').exists()", "", `{"resourceType":"Questionnaire","item":[{"linkId":"a","item":[{"linkId":"b","item":[{"linkId":"c"}]}]}]}`, "", "false"},
		{"%resource.repeat(item).linkId.count() = 2", "", `{}`, `{"resourceType":"Questionnaire","item":[{"linkId":"a","item":[{"linkId":"b"}]}]}`, "true"},
		{"(QuestionnaireResponse|repeat(answer|item)).select(item.where(answer.value.exists()).linkId.isDistinct()).allTrue()", "",
			`{"resourceType":"QuestionnaireResponse","item":[{"linkId":"a","answer":[{"valueString":"x","item":[{"linkId":"b","answer":[{"valueString":"y"}]}]}]}]}`, "", "true"},
		{"(QuestionnaireResponse|repeat(answer|item)).select(item.where(answer.value.exists()).linkId.isDistinct()).allTrue()", "",
			`{"resourceType":"QuestionnaireResponse","item":[{"linkId":"a","answer":[{"valueString":"x","item":[{"linkId":"b","answer":[{"valueString":"y"}]},{"linkId":"b","answer":[{"valueString":"z"}]}]}]}]}`, "", "false"},
		{"repeat(item).exists()", "", `{"resourceType":"Questionnaire"` + strings.Repeat(`,"item":[{"linkId":"x"`, 12) + strings.Repeat("}]", 12) + `}`, "", "untold"},
		{"repeat(item.where(true)).exists()", "", `{}`, "", "unread"},
		{"repeat(item).repeat(item).exists()", "", `{}`, "", "unread"},
		{"trace('x').exists()", "", `{}`, "", "unread"},
		// what is not given to it
		{"name.`trace`('x').exists()", "", `{}`, "", "unread"},
		{"name.trace /* */ ('x')", "", `{}`, "", "unread"},
		{"name.trace ('x')", "", `{}`, "", "unread"},
		{"name = 'trace(' ", "", `{"name":"trace("}`, "", "true"},
		{"code.memberOf('urn:x')", "", `{}`, "", "unread"},
		{"conformsTo('urn:x')", "", `{}`, "", "unread"},
		{"htmlChecks()", "", `{}`, "", "unread"},
		{"nothing(", "", `{}`, "", "unread"},
		{"", "", `{}`, "", "unread"},
		{strings.Repeat("(", 30) + "true" + strings.Repeat(")", 30), "", `{}`, "", "unread"},
		{strings.Repeat("true and ", 1000) + "true", "", `{}`, "", "unread"},
		{"%unknown.exists()", "", `{}`, "", "untold"},
		{"unknownFunction()", "", `{}`, "", "untold"},
		{"(1 | 2 | 3)", "", `{}`, "", "untold"},
		{"name.given | name.family", "", `{"name":[{"family":"` + strings.Repeat("x", maxHeavy) + `"}]}`, "", "untold"},
		// The library does not look at the clock in the midst of these, or makes texts that no memory holds.
		{"name.given.aggregate($total & $total, 'x').exists()", "", `{"name":[{"given":["a","b"]}]}`, "", "unread"},
		{"name.family.replace('a', 'aa') = 'aa'", "", `{"name":[{"family":"a"}]}`, "", "unread"},
		{"(1.5).round(999999999) > 0", "", `{}`, "", "unread"},
		{"name.family.toDecimal() >= 0", "", `{"name":[{"family":"1e-99999999"}]}`, "", "unread"},
		{"id" + strings.Repeat(".select($this & $this)", maxJoins+1) + ".exists()", "", `{"id":"x"}`, "", "unread"},
		{"id" + strings.Repeat(".select($this & $this)", maxJoins) + " = 'xxxxxxxx'", "", `{"id":"x"}`, "", "true"},
		{"value" + strings.Repeat(".select($this * $this)", maxJoins+1) + ".sqrt() < 1", "Quantity", `{"value":1e-99}`, "", "unread"},
		{"(id & '&+') = 'x&+'", "", `{"id":"` + strings.Repeat("x", maxJoined) + `"}`, "", "untold"},
		{"value >= 0", "Quantity", `{"value":1e-99999999}`, "", "untold"},
		{"value >= 0", "Quantity", `{"value":1e-9}`, "", "true"},
		{"value >= 0", "Quantity", `{"value":0.` + strings.Repeat("1", 200) + `}`, "", "untold"},
		{"name.family" + strings.Repeat(".upper()", 100) + ".exists()", "", `{"name":[{"family":"` + strings.Repeat("x", maxWork/100) + `"}]}`, "", "untold"},
		{"name.family.matches('(a?){500}b')", "", `{"name":[{"family":"` + strings.Repeat("a", maxHeavy) + `"}]}`, "", "untold"},
		{"value.matches('(((((((a)))))))')", "Identifier", `{"value":"a"}`, "", "untold"},
	} {
		if got := answer(t, e, c.expression, c.typ, c.doc, c.resource); got != c.want {
			t.Errorf("%.100s of %.100s: %s, want %s", c.expression, c.doc, got, c.want)
		}
	}
}

// TestInvariantsTogether is for the race detector: expressions are read once and shared.
func TestInvariantsTogether(t *testing.T) {
	e := NewEvaluator()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if got := answer(t, e, "value.matches('^[0-9]+$') and system.exists()", "Identifier", `{"value":"1","system":"urn:x"}`, ""); got != "true" {
					t.Error(got)
				}
			}
		})
	}
	all.Wait()
}

// FuzzInvariant gives the library expressions and elements nobody tried.
func FuzzInvariant(f *testing.F) {
	for _, s := range []string{"name.where(use = 'home').empty()", "(1 | 2).exists()", "iif(a, b.select($this & 'x'), {})", "@2020-01-01 + 3 months", "descendants().where(a = 1.5 'kg')", "a.substring(-1, 9999999999).toInteger() div 0"} {
		f.Add(s, `{"resourceType":"Patient","name":[{"use":"home"}],"a":"x","b":[1,2.5,null,{"c":true}]}`)
	}
	f.Fuzz(func(t *testing.T, expression, doc string) {
		n, err := fhir.ParseJSON([]byte(doc))
		if err != nil {
			t.Skip()
		}
		e := NewEvaluator()
		in, err := e.Read(expression)
		if err != nil {
			t.Skip()
		}
		if _, err := e.Holds(context.Background(), in, Subject{Resource: n, Root: n, Element: n}); err != nil && !errors.Is(err, ErrUnevaluated) {
			t.Fatal(err)
		}
	})
}
