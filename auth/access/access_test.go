package access

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
)

func part2Segment(labels ...string) label.Segment {
	s := label.Segment{Custodian: "otp", Part2: true, Covered: true, Confidentiality: "R"}
	for _, l := range append([]string{"42CFRPart2"}, labels...) {
		s.Labels = append(s.Labels, fhir.Coding{System: fhir.SystemActCode, Code: l})
	}
	return s
}

func ordinary() label.Segment {
	return label.Segment{Custodian: "clinic", Covered: true, Confidentiality: "N"}
}

var (
	hospital  = Organization{ID: "hosp", Class: CoveredEntity}
	plan      = Organization{ID: "plan", Class: CoveredEntity, Payer: true}
	community = Organization{ID: "rco", Class: LawfulHolderOther}
	program   = Organization{ID: "otp", Class: Part2ProgramCE}
)

func at(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }

// tpo is a complete TPO consent of the program's patient.
func tpo(id string) consent.Consent {
	return consent.Consent{
		ID: id, Version: 1, Recorder: "otp", Kind: consent.KindTPO, Status: "active", Patient: fhir.Reference{Type: "Patient", ID: "p"}, Signed: at(1), From: at(1),
		Disclosers: []string{"otp"}, Description: "all my records", Signature: true, Expires: true,
		Statements: map[string]bool{"redisclosure": true, "refusal": true, "revocation": true},
		Root:       consent.Provision{Permit: true, Classes: []consent.RecipientClass{consent.ClassTreatingProviders, consent.ClassHealthPlans}, Purposes: []string{"TREAT", "HPAYMT"}},
	}
}

func recordedBy(c consent.Consent, org string) consent.Consent {
	c.Recorder = org
	return c
}

func everywhere(c consent.Consent) consent.Consent {
	c.Recorder, c.Everywhere = OperatorID, true
	return c
}

func treating(org string) []Relationship {
	return []Relationship{{Organization: org, Kind: Treating, Recorder: org}}
}

func TestDecide(t *testing.T) {
	counselling := part2Segment()
	counselling.CounselingNote = true
	unclassified := part2Segment()
	unclassified.Unclassified = true
	uncovered := label.Segment{Custodian: "rco", Confidentiality: "N"}
	denying := tpo("deny")
	denying.Kind, denying.Root = consent.KindRestriction, consent.Provision{Purposes: []string{"TREAT"}}
	for _, c := range []struct {
		name    string
		org     Organization
		purpose string
		segment label.Segment
		facts   Facts
		effect  Effect
		code    string
	}{
		{"zero request", Organization{}, "", label.Segment{}, Facts{}, Deny, "PURPOSE_UNKNOWN"},
		{"unknown class", Organization{ID: "x", Class: "friend"}, "TREAT", ordinary(), Facts{}, Deny, "RECIPIENT_CLASS_UNKNOWN"},
		{"own record", program, "TREAT", part2Segment(), Facts{}, Permit, "OWN_RECORD"},
		{"own record, for marketing", program, "HMARKT", part2Segment(), Facts{}, Deny, "NO_CONSENT"},
		{"own counselling note, for payment", program, "HPAYMT", counselling, Facts{}, Deny, "NO_CONSENT"},
		{"directory entry", community, "COC", label.Segment{Custodian: "otp", Directory: true}, Facts{}, Permit, "DIRECTORY"},
		{"ordinary record, treatment", hospital, "TREAT", ordinary(), Facts{}, Permit, "HIPAA_TREATMENT"},
		{"ordinary record, to a lawful holder", community, "TREAT", ordinary(), Facts{}, Deny, "NO_BASIS"},
		{"record of a lawful holder, treatment", hospital, "TREAT", uncovered, Facts{}, Deny, "NO_BASIS"},
		{"ordinary record, payment without coverage", plan, "HPAYMT", ordinary(), Facts{}, Deny, "NO_BASIS"},
		{"ordinary record, payment with coverage", plan, "HPAYMT", ordinary(), Facts{Relationships: []Relationship{{Organization: "plan", Kind: Coverage, Recorder: "clinic"}}}, Permit, "HIPAA_PAYMENT_OPERATIONS"},
		{"ordinary record, payment, coverage attested by the payer alone", plan, "HPAYMT", ordinary(), Facts{Relationships: []Relationship{{Organization: "plan", Kind: Coverage, Recorder: "plan"}}}, Deny, "NO_BASIS"},
		{"ordinary record, legal", hospital, "HLEGAL", ordinary(), Facts{}, Deny, "NO_BASIS"},
		{"Part 2, no consent", hospital, "TREAT", part2Segment(), Facts{}, Deny, "NO_CONSENT"},
		{"Part 2, consent, not treating", hospital, "TREAT", part2Segment(), Facts{Consents: []consent.Consent{tpo("k")}}, Deny, "RECIPIENT_NOT_DESIGNATED"},
		{"Part 2, consent and treating", hospital, "TREAT", part2Segment(), Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Permit, "CONSENT_PERMITS"},
		{"Part 2, consent, HLEGAL does not ride on HOPERAT", hospital, "HLEGAL", part2Segment(), Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Deny, "PROCEEDINGS_NOT_SEPARATE"},
		{"Part 2, consent, marketing", hospital, "HMARKT", part2Segment(), Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Deny, "PURPOSE_NOT_COVERED"},
		{"Part 2, consent, break-glass purpose", hospital, "BTG", part2Segment(), Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Deny, "EMERGENCY_NOT_DECLARED"},
		{"unclassified stays hidden under consent", hospital, "TREAT", unclassified, Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Deny, "UNCLASSIFIED"},
		{"counselling note under TPO", hospital, "TREAT", counselling, Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Deny, "COUNSELING_NOTES_SEPARATE"},
		{"a refusal overrides", hospital, "TREAT", part2Segment(), Facts{[]consent.Consent{tpo("k"), denying}, treating("hosp")}, Deny, "CONSENT_DENIES"},
		{"a refusal the custodian recorded reaches ordinary records", hospital, "TREAT", ordinary(), Facts{Consents: []consent.Consent{recordedBy(denying, "clinic")}}, Deny, "CONSENT_DENIES"},
		{"one the operator recorded too", hospital, "TREAT", ordinary(), Facts{Consents: []consent.Consent{everywhere(denying)}}, Deny, "CONSENT_DENIES"},
		{"one recorded elsewhere does not", hospital, "TREAT", ordinary(), Facts{Consents: []consent.Consent{denying}}, Permit, "HIPAA_TREATMENT"},
		{"a recipient cannot record the consent it needs", hospital, "TREAT", part2Segment(), Facts{[]consent.Consent{recordedBy(tpo("k"), "hosp")}, treating("hosp")}, Deny, "RECORDED_BY_ANOTHER"},
		{"a third party cannot attest who treats", hospital, "TREAT", part2Segment(), Facts{[]consent.Consent{tpo("k")}, []Relationship{{Organization: "hosp", Kind: Treating, Recorder: "rco"}}}, Deny, "RECIPIENT_NOT_DESIGNATED"},
		{"a broken consent fails closed", hospital, "TREAT", ordinary(), Facts{Consents: []consent.Consent{{ID: "b", Broken: true, Recorder: "clinic"}}}, Deny, "CONSENT_EVALUATION_ERROR"},
	} {
		d := Decide(Request{Principal: Principal{Organization: c.org, Purpose: c.purpose}, Segment: c.segment, ResourceType: "Condition", Period: openPeriod(), Facts: c.facts, Now: at(2)})
		if d.Effect != c.effect || d.Code != c.code {
			t.Errorf("%s: %s %s, want %s %s", c.name, d.Effect, d.Code, c.effect, c.code)
		}
		if len(d.Reasons) == 0 || d.Reasons[len(d.Reasons)-1].Code != d.Code {
			t.Errorf("%s: the last reason is not the deciding one: %+v", c.name, d.Reasons)
		}
		if d.Effect == Deny && (len(d.Obligations) > 0 || len(d.Consents) > 0) {
			t.Errorf("%s: a denial carries obligations or consents", c.name)
		}
	}
}

func TestObligations(t *testing.T) {
	d := Decide(Request{Principal: Principal{Organization: hospital, Purpose: "TREAT"}, Segment: part2Segment(), Period: openPeriod(),
		Facts: Facts{[]consent.Consent{tpo("k")}, treating("hosp")}, Now: at(2)})
	want := []Obligation{{ObligeLabels, ""}, {ObligeNotice, NoticeVersion}, {ObligeScope, ""}, {ObligeRedisclosure, "HIPAA_TPO_EXCEPT_PROCEEDINGS"}}
	if fmt.Sprint(d.Obligations) != fmt.Sprint(want) || fmt.Sprint(d.Consents) != "[Consent/k/_history/1]" {
		t.Errorf("obligations %v, consents %v", d.Obligations, d.Consents)
	}
	for class, rule := range map[Class]string{LawfulHolderOther: "NO_REDISCLOSURE", Part2ProgramNonHIPAA: "CONSISTENT_WITH_CONSENT_ONLY", Intermediary: "LISTED_PARTICIPANTS_WITH_TREATING_RELATION"} {
		if got := redisclosure(Organization{Class: class}, "COC"); got != rule {
			t.Errorf("%s: %s", class, got)
		}
	}
}

// TestFilterAgreesWithDecide: what the store would let through by Partition and Materialize is what
// Decide permits, for random instruments, relationships, agreements, segments, types and times, and for every kind of
// principal.
func TestFilterAgreesWithDecide(t *testing.T) {
	segments := []NumberedSegment{
		{1, part2Segment()}, {2, part2Segment("OPIOIDUD")}, {3, ordinary()}, {4, label.Segment{Custodian: "rco", Confidentiality: "N"}},
		{5, func() label.Segment { s := part2Segment(); s.CounselingNote = true; return s }()},
		{6, func() label.Segment { s := part2Segment(); s.Unclassified = true; return s }()},
		{7, part2Segment().Marked([]string{"code:s|x"})}, {8, ordinary().Marked([]string{"code:s|x", "instance:Condition/c"})},
		{9, func() label.Segment { s := part2Segment(); s.Evaluator = true; return s }()},
	}
	purposes := []string{"TREAT", "COC", "HPAYMT", "HLEGAL"}
	orgs := []Organization{hospital, plan, community, program, {ID: "agent", Class: BusinessAssociate}, {ID: "reviewer", Class: Auditor}}
	types := []string{"Condition", "CarePlan", "DocumentReference"}
	var actors []Actor
	var principals []Principal
	for _, o := range orgs {
		actors = append(actors, Actor{o, purposes})
		for _, purpose := range purposes {
			principals = append(principals, Principal{Organization: o, Purpose: purpose})
		}
		principals = append(principals, Principal{Organization: o, Purpose: "BTG", Emergency: Emergency{"e", "p", at(3).UnixMicro(), at(3).Add(MaxEmergency).UnixMicro()}},
			Principal{Organization: o, Purpose: "ETREAT", Emergency: Emergency{"e", "q", at(3).UnixMicro(), at(3).Add(MaxEmergency).UnixMicro()}})
	}
	for _, who := range []Capacity{Self, Proxy, Representative} {
		principals = append(principals, Principal{User: "u", Capacity: who, Patient: "p", Purpose: "PATRQT"},
			Principal{User: "u", Capacity: who, Patient: "p", Person: "RelatedPerson/r", Purpose: "PATRQT"}, Principal{User: "u", Capacity: who, Patient: "q", Purpose: "PATRQT"})
	}
	rapid.Check(t, func(t *rapid.T) {
		facts := Facts{
			Consents:      rapid.SliceOfN(rapid.Custom(randomConsent), 0, 3).Draw(t, "consents"),
			Relationships: rapid.SliceOfN(rapid.Custom(randomRelationship), 0, 3).Draw(t, "relationships"),
		}
		terms := Terms{Agreements: rapid.SliceOfN(rapid.Custom(randomAgreement), 0, 4).Draw(t, "agreements"),
			Rules: rapid.SampledFrom([]Switches{"", "", "-A6-qso", "-H1-treatment"}).Draw(t, "rules")}
		// Two denials that only together cover a span may hide more than each record needs: never less.
		exact := !nestedPeriods(facts.Consents)
		grants := Materialize("p", facts, actors, segments, terms)
		for _, p := range rapid.SliceOfN(rapid.SampledFrom(principals), 4, 4).Draw(t, "principals") {
			for day := 1; day < 12; day += 2 {
				f := Partition(p, segments, terms, at(day))
				f.Organization = p.Grantee(facts)
				for _, s := range segments {
					for _, typ := range types {
						for _, period := range []consent.Period{openPeriod(), {Lo: 5, Hi: 8}, {Lo: 12, Hi: 13}, {Lo: 18, Hi: 22}, {Lo: 1, Hi: 40}} {
							d := Decide(Request{Principal: p, Segment: s.Segment, ResourceType: typ, Patient: "p", Period: period, Facts: facts, Terms: terms, Now: at(day)})
							got := visible(f, grants, "p", s.No, typ, period, at(day).UnixMicro())
							if got && queried(d) == Deny || !got && queried(d) == Permit && exact {
								t.Fatalf("%+v segment %d %s day %d period %v: filter %v, decision %s %s", p, s.No, typ, day, period, got, d.Effect, d.Code)
							}
						}
					}
				}
			}
		}
	})
}

// visible is the filter's meaning as Filter's comment states it.
func visible(f Filter, grants []Grant, patient string, seg int64, typ string, period consent.Period, now int64) bool {
	in := func(list []int64) bool {
		for _, n := range list {
			if n == seg {
				return true
			}
		}
		return false
	}
	granted := func(e Effect, types ...string) bool {
		for _, g := range grants {
			for _, want := range types {
				if !g.Part && g.Organization == f.Organization && g.Purpose == f.Purpose && g.Segment == seg && g.Effect == e && g.ResourceType == want &&
					g.From <= now && now < g.To &&
					(e == Permit && g.Period.Lo <= period.Lo && g.Period.Hi >= period.Hi || e == Deny && g.Period.Lo < period.Hi && g.Period.Hi > period.Lo) {
					return true
				}
			}
		}
		return false
	}
	if f.Patient != "" {
		return in(f.Own) || f.Patient == patient && (granted(Permit, typ) || ((in(f.Whole) || granted(Permit, "")) && !granted(Deny, "", typ)))
	}
	return in(f.Own) || granted(Permit, typ) || ((in(f.Open) || granted(Permit, "")) && !granted(Deny, "", typ))
}

// nestedPeriods reports whether a provision below the root has a data period.
func nestedPeriods(consents []consent.Consent) bool {
	var below func(list []consent.Provision) bool
	below = func(list []consent.Provision) bool {
		for _, p := range list {
			if p.Period != nil || below(p.Nested) {
				return true
			}
		}
		return false
	}
	for _, c := range consents {
		if below(c.Root.Nested) {
			return true
		}
	}
	return false
}

func randomConsent(t *rapid.T) consent.Consent {
	c := tpo(rapid.StringMatching("[a-z]{4}").Draw(t, "id"))
	c.Recorder = rapid.SampledFrom([]string{"otp", "clinic", "hosp"}).Draw(t, "recorder")
	c.Everywhere = rapid.IntRange(0, 4).Draw(t, "everywhere") == 0
	c.Kind = rapid.SampledFrom([]consent.Kind{consent.KindTPO, consent.KindSpecific, consent.KindCounselingNotes, consent.KindProceedings, consent.KindRestriction, consent.KindOrder, ""}).Draw(t, "kind")
	c.Broken = rapid.IntRange(0, 9).Draw(t, "broken") == 0
	c.Status = rapid.SampledFrom([]string{"active", "inactive", "draft"}).Draw(t, "status")
	c.From = at(rapid.IntRange(1, 10).Draw(t, "from"))
	if rapid.Bool().Draw(t, "ends") {
		c.To = at(rapid.IntRange(1, 11).Draw(t, "to"))
	}
	c.Disclosers = []string{rapid.SampledFrom([]string{"otp", "clinic", "rco"}).Draw(t, "discloser")}
	c.Statements["refusal"] = rapid.IntRange(0, 4).Draw(t, "refusal") > 0
	c.Root = randomProvision(t, 2)
	if rapid.IntRange(0, 3).Draw(t, "supersedes") == 0 {
		c.Supersedes = []string{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "old")}
	}
	c.ID = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	c.Order = consent.Order{Section: "2.64", Court: "c", Docket: "d", Findings: true, Subpoena: rapid.SampledFrom([]string{"", "s"}).Draw(t, "subpoena"), Notes: rapid.Bool().Draw(t, "notes")}
	return c
}

func randomAgreement(t *rapid.T) Agreement {
	a := Agreement{Kind: rapid.SampledFrom([]AgreementKind{BAA, QSOA, Contract, Participation, Control, Audit, Research}).Draw(t, "kind"),
		Of: rapid.SampledFrom([]string{"otp", "clinic", "hie"}).Draw(t, "of"), With: rapid.SampledFrom([]string{"agent", "reviewer", "hosp", "rco"}).Draw(t, "with"),
		Purposes: []string{rapid.SampledFrom([]string{"TREAT", "HPAYMT"}).Draw(t, "for")}, Copies: rapid.Bool().Draw(t, "copies"), From: at(rapid.IntRange(1, 10).Draw(t, "since"))}
	if rapid.Bool().Draw(t, "ends") {
		a.To = at(rapid.IntRange(1, 11).Draw(t, "until"))
	}
	return a
}

func randomProvision(t *rapid.T, depth int) consent.Provision {
	p := consent.Provision{
		Permit:        rapid.Bool().Draw(t, "permit"),
		Purposes:      rapid.SliceOfN(rapid.SampledFrom([]string{"TREAT", "HPAYMT", "COC", "HLEGAL"}), 0, 2).Draw(t, "purposes"),
		Types:         rapid.SliceOfN(rapid.SampledFrom([]string{"CarePlan", "DocumentReference"}), 0, 1).Draw(t, "types"),
		Actors:        rapid.SliceOfN(rapid.SampledFrom([]string{"hosp", "rco"}), 0, 1).Draw(t, "actors"),
		Classes:       rapid.SliceOfN(rapid.SampledFrom([]consent.RecipientClass{consent.ClassTreatingProviders, consent.ClassHealthPlans}), 0, 2).Draw(t, "classes"),
		Inexpressible: rapid.IntRange(0, 9).Draw(t, "inexpressible") == 0,
	}
	switch rapid.IntRange(0, 7).Draw(t, "special") {
	case 0:
		p.Codes = []fhir.Coding{{System: "s", Code: "x"}}
	case 1:
		p.Data = []consent.Data{{Meaning: "instance", Reference: "Condition/c"}}
	case 2:
		p.Persons = []string{"RelatedPerson/r"}
	case 3:
		p.Through = []consent.Intermediary{{Organization: "hie", Named: []string{"rco"}, Treating: rapid.Bool().Draw(t, "class")}}
	case 4:
		p.InForce = &consent.Period{Lo: at(4).UnixMicro(), Hi: at(8).UnixMicro()}
	case 5:
		p.Elements = []string{"status"}
	}
	if rapid.Bool().Draw(t, "labelled") {
		p.Labels = []fhir.Coding{{System: fhir.SystemActCode, Code: rapid.SampledFrom([]string{"SUD", "42CFRPart2"}).Draw(t, "label")}}
	}
	if rapid.IntRange(0, 2).Draw(t, "dated") == 0 {
		lo := rapid.SampledFrom([]int64{math.MinInt64, 0, 10, 20}).Draw(t, "lo")
		p.Period = &consent.Period{Lo: lo, Hi: rapid.SampledFrom([]int64{10, 20, 30, math.MaxInt64}).Filter(func(hi int64) bool { return hi > lo }).Draw(t, "hi")}
	}
	if depth > 0 {
		for range rapid.IntRange(0, 2).Draw(t, "children") {
			p.Nested = append(p.Nested, randomProvision(t, depth-1))
		}
	}
	return p
}

func randomRelationship(t *rapid.T) Relationship {
	r := Relationship{
		Organization: rapid.SampledFrom([]string{"hosp", "plan"}).Draw(t, "org"),
		Kind:         rapid.SampledFrom([]RelationshipKind{Treating, Coverage}).Draw(t, "relationship"),
		Recorder:     rapid.SampledFrom([]string{"otp", "clinic", "hosp", "plan"}).Draw(t, "attestor"),
		From:         at(rapid.IntRange(1, 10).Draw(t, "since")),
	}
	if rapid.Bool().Draw(t, "over") {
		r.To = at(rapid.IntRange(1, 11).Draw(t, "until"))
	}
	return r
}
