package consent

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trellis/fhir"
)

// times the generated instruments and queries are about: few, so that they meet.
func someTime(t *rapid.T, name string) time.Time {
	return time.Date(2026, time.Month(1+rapid.IntRange(0, 5).Draw(t, name)), 1, 0, 0, 0, 0, time.UTC)
}

func some[T any](t *rapid.T, name string, from []T, most int) []T {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, most).Draw(t, name)
}

func someSpan(t *rapid.T, name string) *Period {
	if rapid.Bool().Draw(t, name) {
		return nil
	}
	a, b := someTime(t, name).UnixMicro(), someTime(t, name).AddDate(0, 1, 0).UnixMicro()
	p := &Period{min(a, b), max(a, b)}
	if rapid.Bool().Draw(t, name) {
		p.Lo = math.MinInt64
	}
	return p
}

func someLabels() []fhir.Coding {
	return []fhir.Coding{{System: fhir.SystemConfidentiality, Code: "R"}, {System: fhir.SystemConfidentiality, Code: "N"}, {System: fhir.SystemActCode, Code: "SUD"}, {System: fhir.SystemActCode, Code: "ETHUD"}, {System: fhir.SystemActCode, Code: "HIV"}}
}

// someRule is any rule; deep bounds its nesting.
func someRule(t *rapid.T, deep int) Provision {
	p := Provision{
		Permit: rapid.Bool().Draw(t, "permit"), Actors: some(t, "actors", []string{"hospital", "rco"}, 2),
		Persons: some(t, "persons", []string{"RelatedPerson/r"}, 1),
		Classes: some(t, "classes", []RecipientClass{ClassTreatingProviders, ClassHealthPlans}, 1),
		Through: some(t, "through", []Intermediary{{Organization: "hie", Treating: true}, {Organization: "hie", Named: []string{"rco"}}}, 1), Purposes: some(t, "purposes", []string{"TREAT", "HPAYMT", "COC", "HLEGAL"}, 3),
		Actions: some(t, "actions", []string{"access", "collect"}, 1), Types: some(t, "types", []string{"Condition", "CarePlan"}, 1),
		Labels: some(t, "labels", someLabels(), 1), Codes: some(t, "codes", []fhir.Coding{{System: fhir.SystemICD10CM, Code: "F11.20"}}, 1),
		Data: some(t, "data", []Data{{"instance", "Condition/c"}, {"authoredby", "Practitioner/d"}}, 1), Period: someSpan(t, "data period"),
	}
	if deep > 0 {
		for range rapid.IntRange(0, 2).Draw(t, "nested") {
			child := someRule(t, deep-1)
			child.InForce = someSpan(t, "in force")
			p.Nested = append(p.Nested, child)
		}
	}
	return p
}

func someConsent(t *rapid.T) Consent {
	c := Consent{ID: "k", Recorder: "otp", Status: rapid.SampledFrom([]string{"active", "active", "inactive", "draft"}).Draw(t, "status"),
		Kind:    rapid.SampledFrom([]Kind{KindTPO, KindSpecific, KindSpecific, KindCounselingNotes, KindProceedings, KindHIPAA, KindRestriction, KindSelfPay, KindOrder, ""}).Draw(t, "kind"),
		Patient: fhir.Reference{Type: "Patient", ID: "p"}, Signed: someTime(t, "signed"), Disclosers: some(t, "disclosers", []string{"otp", "clinic"}, 2),
		Description: "all", Statements: map[string]bool{"revocation": true, "redisclosure": true, "refusal": rapid.Bool().Draw(t, "refusal")}, Expires: rapid.Bool().Draw(t, "expires"),
		Source: Source{Reference: rapid.SampledFrom([]string{"", "DocumentReference/d"}).Draw(t, "source"), Attached: rapid.Bool().Draw(t, "attached")},
		Order:  Order{Section: "2.64", Court: "c", Docket: "d", Findings: true, Subpoena: "s"}, Root: someRule(t, 2)}
	c.Signature = c.Source.Reference != "" || c.Source.Attached
	c.Root.InForce = nil
	if c.From = c.Signed; rapid.Bool().Draw(t, "later") {
		c.From = c.Signed.AddDate(0, 1, 0)
	}
	if rapid.Bool().Draw(t, "ends") {
		c.End, c.Expires = someTime(t, "end").AddDate(0, 6, 0), true
	}
	if c.Status == "inactive" || rapid.Bool().Draw(t, "revoked") {
		c.Revoked = someTime(t, "revocation").AddDate(0, 4, 0)
	}
	c.To = c.End
	if !c.Revoked.IsZero() && (c.To.IsZero() || c.Revoked.Before(c.To)) {
		c.To = c.Revoked
	}
	return c
}

func someQuery(t *rapid.T) Query {
	lo := someTime(t, "clinical").UnixMicro()
	return Query{Recipient: rapid.SampledFrom([]string{"hospital", "rco", "stranger", "RelatedPerson/r"}).Draw(t, "recipient"), Payer: rapid.Bool().Draw(t, "payer"), Treating: rapid.Bool().Draw(t, "treating"),
		Participates: some(t, "participates", []string{"hie"}, 1), Discloser: rapid.SampledFrom([]string{"otp", "clinic"}).Draw(t, "discloser"),
		Purpose: rapid.SampledFrom([]string{"TREAT", "HPAYMT", "COC", "HLEGAL", "BTG"}).Draw(t, "purpose"), ResourceType: rapid.SampledFrom([]string{"Condition", "CarePlan", "Encounter"}).Draw(t, "type"),
		Labels: some(t, "has", someLabels()[2:], 2), Confidentiality: rapid.SampledFrom([]string{"N", "R", "V"}).Draw(t, "confidentiality"), CounselingNote: rapid.Bool().Draw(t, "note"),
		Marks: some(t, "marks", []string{"instance:Condition/c", "author:Practitioner/d", CodeMark(fhir.Coding{System: fhir.SystemICD10CM, Code: "F11.20"})}, 2), Period: Period{lo, lo + 1}, At: someTime(t, "at").AddDate(0, 3, 0)}
}

// TestProjectionsNeverWiden holds every form to its instrument: what is read from it permits nothing the instrument does not,
// and refuses everything it refuses.
func TestProjectionsNeverWiden(t *testing.T) {
	written := map[Form]int{}
	one := func(t *rapid.T) {
		c := someConsent(t)
		if rapid.Bool().Draw(t, "plain") { // most drawn instruments have a part some form refuses
			c.Root.Actions, c.Root.Types, c.Root.Codes, c.Root.Through = nil, nil, nil, nil
		}
		queries := rapid.Custom(func(t *rapid.T) Query { return someQuery(t) })
		asked := rapid.SliceOfN(queries, 8, 8).Draw(t, "queries")
		for _, form := range Forms() {
			doc, _, err := Write(c, form)
			var refused *Inexpressible
			if errors.As(err, &refused) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			written[form]++
			back := Read(c.ID, c.Version, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), doc, "")
			back.Recorder = c.Recorder
			if back.Broken || back.Kind != c.Kind && c.Kind != "" {
				t.Fatalf("%s: broken %v, kind %q, want %q\n%s", form, back.Broken, back.Kind, c.Kind, doc)
			}
			for _, q := range asked {
				was, is := Evaluate([]Consent{c}, q)[0], Evaluate([]Consent{back}, q)[0]
				if is.Permit && !was.Permit || was.Deny && !is.Deny {
					t.Fatalf("%s: %+v, was %+v\nasked %+v\n%s", form, is, was, q, doc)
				}
				if form == FormR4 && (is.Permit != was.Permit || is.Deny != was.Deny) {
					t.Fatalf("our own form lost something: %+v, was %+v\nasked %+v\n%s", is, was, q, doc)
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		for range 8 { // some forms refuse most of what is drawn
			one(t)
		}
	})
	for _, form := range Forms() {
		if written[form] == 0 {
			t.Errorf("nothing was ever written as %s: that it never widens proves nothing", form)
		}
	}
}

// TestFormsFollowTheirGuides looks at the places in which the forms differ.
func TestFormsFollowTheirGuides(t *testing.T) {
	c := read(t, strings.Replace(form, `"sourceAttachment":{"title":"form"}`, `"sourceReference":{"reference":"DocumentReference/d"}`, 1))
	for _, tc := range []struct {
		form       Form
		has, lacks []string
	}{
		{FormR4, []string{`"organization":`, `"42CFRPart2CD"`, ExtRecipientClass + `","valueCode"`}, []string{`"IRCP"`}},
		{FormPCF, []string{`"organization":`, `"policy":[{"uri":`, `"sourceReference":`, `"IRCP"`, `"identifier":`}, []string{`"policyRule"`, `"verification"`, `"action"`, `"class"`, `"code":[`}},
		{FormFAST, []string{ExtController, `"57016-8"`, `"sourceReference":`, `"IRCP"`}, []string{`"organization":`}},
		{FormSDOHCC, []string{`"IDSCL"`, `"hipaa-auth"`, `"organization":`}, nil},
	} {
		doc, losses, err := Write(c, tc.form)
		if err != nil || len(losses) > 0 {
			t.Errorf("%s: %v, lost %v", tc.form, err, losses)
			continue
		}
		for _, text := range tc.has {
			if !strings.Contains(string(doc), text) {
				t.Errorf("%s lacks %s:\n%s", tc.form, text, doc)
			}
		}
		for _, text := range tc.lacks {
			if strings.Contains(string(doc), text) {
				t.Errorf("%s has %s:\n%s", tc.form, text, doc)
			}
		}
		back := Read("k", 1, c.Recorded, doc, "")
		if missing := back.Validate(); len(missing) > 0 || back.Kind != KindTPO || !slices.Equal(back.Root.Classes, c.Root.Classes) {
			t.Errorf("%s read back: kind %s, missing %v, %+v", tc.form, back.Kind, missing, back.Root)
		}
	}
}

// TestProjectionsRefuse lists what no projection may leave out, and what it leaves out and says so.
func TestProjectionsRefuse(t *testing.T) {
	pcf := strings.Replace(form, `"sourceAttachment":{"title":"form"}`, `"sourceReference":{"reference":"DocumentReference/d"}`, 1)
	for _, tc := range []struct{ name, old, new, want string }{
		{"a permit for a class of records is not written without it", `"type":"permit",`, `"type":"permit","class":[{"system":"http://hl7.org/fhir/resource-types","code":"CarePlan"}],`, "refused"},
		{"a refusal of a class of records neither", `"type":"permit",`, `"type":"permit","provision":[{"type":"deny","class":[{"system":"http://hl7.org/fhir/resource-types","code":"CarePlan"}]}],`, "refused"},
		{"nor one hidden under a permit", `"type":"permit",`, `"type":"permit","provision":[{"type":"permit","code":[{"coding":[{"code":"x"}]}],"provision":[{"type":"deny"}]}],`, "refused"},
		{"a further permit is left out", `"type":"permit",`, `"type":"permit","provision":[{"type":"permit","class":[{"system":"http://hl7.org/fhir/resource-types","code":"CarePlan"}]}],`, "provision"},
		{"no signed document", `"sourceReference":{"reference":"DocumentReference/d"},`, ``, "refused"},
		{"nobody to disclose", `"organization":[{"reference":"Organization/otp"}],`, ``, "refused"},
	} {
		doc := strings.Replace(pcf, tc.old, tc.new, 1)
		if doc == pcf {
			t.Fatalf("%s: nothing was changed", tc.name)
		}
		got := ""
		_, losses, err := Write(read(t, doc), FormPCF)
		var refused *Inexpressible
		switch {
		case errors.As(err, &refused):
			got = "refused"
		case len(losses) == 1:
			got = losses[0].Code
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q (%v)", tc.name, got, tc.want, err)
		}
	}
}
