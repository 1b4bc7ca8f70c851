package access

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/consent"
	"trellis/auth/label"
)

// TestRulesAreTheTable: every reason a decision can give names a rule of the table, and the table has no rule that none gives.
func TestRulesAreTheTable(t *testing.T) {
	rules, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range []string{"decide.go", "person.go", "redisclosure.go", "../../gateway/release/release.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	for _, m := range regexp.MustCompile(`(?:Rule|rule): "([^"]+)"`).FindAllStringSubmatch(code.String(), -1) {
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.ID == m[1] }) {
			t.Errorf("reason of rule %q, which the table lacks", m[1])
		}
	}
	for _, r := range rules {
		if !strings.Contains(code.String(), `"`+r.ID+`"`) {
			t.Errorf("rule %s is in the table and in no decision", r.ID)
		}
		if r.Section == "" || r.Text == "" || !slices.Contains([]string{"read", "to be confirmed", "ours"}, r.Status) || !slices.Contains([]string{"on", "off", "fixed"}, r.Standard) {
			t.Errorf("rule %s has no section or text, or another status: %+v", r.ID, r)
		}
	}
}

// TestSwitches: what counsel turns off permits no more, what is turned on permits, and everything else is refused by name.
func TestSwitches(t *testing.T) {
	for _, bad := range [][2][]string{{{"D99"}, nil}, {nil, {"D99"}}, {{"default"}, nil}, {nil, {"D1-part2-consent"}}} {
		if _, err := NewSwitches(bad[0], bad[1]); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	agent, auditor, scholar := Organization{ID: "agent", Class: BusinessAssociate}, Organization{ID: "auditor", Class: Auditor}, Organization{ID: "scholar", Class: Researcher}
	health := Organization{ID: "health", Class: PublicHealth}
	agreed := func(kind AgreementKind, of, with, purpose string, copies bool) []Agreement {
		return []Agreement{{Kind: kind, Of: of, With: with, Purposes: []string{purpose}, Copies: copies}}
	}
	order := tpo("o")
	order.Kind, order.Order = consent.KindOrder, consent.Order{Section: "2.64", Court: "c", Docket: "d", Findings: true, Subpoena: "s"}
	order.Root = consent.Provision{Permit: true, Actors: []string{"court"}, Purposes: []string{"HLEGAL"}, Types: []string{"Condition"}}
	person := func(c Capacity) Principal { return Principal{User: "u", Capacity: c, Patient: "p", Purpose: "PATRQT"} }
	emergency := Principal{Organization: hospital, Purpose: "BTG", Emergency: Emergency{"e", "p", at(1).UnixMicro(), at(1).Add(time.Hour).UnixMicro()}}
	held := func(holder Organization, purpose string, p Principal, terms []Agreement, facts Facts) Request {
		return Request{Principal: p, Segment: part2Segment(), Facts: facts, Terms: Terms{Agreements: terms}, Holder: holder, HeldFor: purpose, Now: at(2)}
	}
	named := tpo("n")
	named.Kind, named.Root = consent.KindSpecific, consent.Provision{Permit: true, Actors: []string{"rco", "half"}, Purposes: []string{"HPAYMT"}}
	cases := map[string]Request{
		"A5-direct-control":     {Principal: Principal{Organization: community, Purpose: "HOPERAT"}, Segment: part2Segment(), Terms: Terms{Agreements: agreed(Control, "otp", "rco", "HOPERAT", false)}},
		"A6-qso":                {Principal: Principal{Organization: agent, Purpose: "HPAYMT"}, Segment: part2Segment(), Terms: Terms{Agreements: agreed(QSOA, "otp", "agent", "HPAYMT", false)}},
		"A6-business-associate": {Principal: Principal{Organization: agent, Purpose: "HPAYMT"}, Segment: ordinary(), Terms: Terms{Agreements: agreed(BAA, "clinic", "agent", "HPAYMT", false)}},
		"D2-redisclosure":       held(hospital, "TREAT", Principal{Organization: agent, Purpose: "HPAYMT"}, agreed(BAA, "hosp", "agent", "HPAYMT", false), Facts{Consents: []consent.Consent{tpo("k")}, Relationships: treating("hosp")}),
		"D3-redisclosure":       held(Organization{ID: "half", Class: Part2ProgramNonHIPAA}, "HPAYMT", Principal{Organization: community, Purpose: "HPAYMT"}, nil, Facts{Consents: []consent.Consent{named}}),
		"D4-redisclosure":       held(community, "HPAYMT", Principal{Organization: agent, Purpose: "HPAYMT"}, agreed(Contract, "rco", "agent", "HPAYMT", false), Facts{Consents: []consent.Consent{named}}),
		"D7-court-order":        {Principal: Principal{Organization: Organization{ID: "court", Class: CourtOrderHolder}, Purpose: "HLEGAL"}, Segment: part2Segment(), Facts: Facts{Consents: []consent.Consent{order}}},
		"D9-emergency":          {Principal: emergency, Segment: part2Segment(), Now: at(1).Add(time.Minute)},
		"D11-research":          {Principal: Principal{Organization: scholar, Purpose: "HRESCH"}, Segment: part2Segment(), Terms: Terms{Agreements: agreed(Research, "otp", "scholar", "HRESCH", false)}},
		"D12-audit-on-premises": {Principal: Principal{Organization: auditor, Purpose: "HOPERAT"}, Segment: part2Segment(), Terms: Terms{Agreements: agreed(Audit, "otp", "auditor", "HOPERAT", false)}},
		"D13-audit-copies":      {Principal: Principal{Organization: auditor, Purpose: "HOPERAT"}, Segment: part2Segment(), Terms: Terms{Agreements: agreed(Audit, "otp", "auditor", "HOPERAT", true)}},
		"D19-patient-access":    {Principal: person(Self), Segment: part2Segment()},
		"M1-proxy":              {Principal: person(Proxy), Segment: ordinary()},
		"M3-representative":     {Principal: person(Representative), Segment: part2Segment()},
		"H1-treatment":          {Principal: Principal{Organization: hospital, Purpose: "TREAT"}, Segment: ordinary()},
		"H1-payment-operations": {Principal: Principal{Organization: plan, Purpose: "HPAYMT"}, Segment: ordinary(), Facts: Facts{Relationships: []Relationship{{Organization: "plan", Kind: Coverage, Recorder: "clinic"}}}},
		"H2-authorization":      {Principal: Principal{Organization: community, Purpose: "HPAYMT"}, Segment: label.Segment{Custodian: "otp", Confidentiality: "N"}, Facts: Facts{Consents: []consent.Consent{named}}},
		"H4-public-health":      {Principal: Principal{Organization: health, Purpose: "PUBHLTH"}, Segment: ordinary()},
	}
	rules, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		r, tried := cases[rule.ID]
		if rule.Standard == "fixed" {
			continue
		}
		if !tried {
			t.Errorf("%s: switched by nobody here", rule.ID)
			continue
		}
		if r.Patient, r.ResourceType, r.Period = "p", "Condition", openPeriod(); r.Now.IsZero() {
			r.Now = at(2)
		}
		on, off := r, r
		var err error
		if rule.Standard == "off" {
			on.Terms.Rules, err = NewSwitches(nil, []string{rule.ID})
		} else {
			off.Terms.Rules, err = NewSwitches([]string{rule.ID}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		permitted, denied := Decide(on), Decide(off)
		if permitted.Effect != Permit || permitted.Reasons[len(permitted.Reasons)-1].Rule != rule.ID || denied.Effect != Deny {
			t.Errorf("%s: on %s %s by %s, off %s %s", rule.ID, permitted.Effect, permitted.Code, permitted.Reasons[len(permitted.Reasons)-1].Rule, denied.Effect, denied.Code)
		}
		if off.Terms.Rules.Policy() == on.Terms.Rules.Policy() {
			t.Errorf("%s: the decision does not say that it was switched", rule.ID)
		}
	}
}
