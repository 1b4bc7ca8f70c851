package access

import (
	"slices"

	"trellis/auth/consent"
	"trellis/auth/label"
)

// Passing on what was received (2.32, 2.33(b)). The gateway serves records from their custodians, so these rules are asked
// only where somebody else wants to know whether it may pass on what it holds.
//
//	holder                              received for       may pass on                                      rule
//	covered entity, BA, program and CE  TPO, by consent    as HIPAA lets it, never for proceedings          D2
//	program that is no CE               TPO, by consent    to whom the consent names                        D3
//	other lawful holder                 payment, ops       to contractors, for that purpose, by contract    D4
//	intermediary                        -                  to participants the consent designates           C4
//	anybody                             -                  on a new consent that names it as discloser      D5
//
// A record that is not under Part 2 is passed on by a covered entity as its own would be, by others on a new consent.

// passedOn reports whether somebody else than the custodian would give the record away.
func (d *deliberation) passedOn() bool {
	return d.req.Holder.ID != "" && d.req.Holder.ID != d.req.Segment.Custodian
}

// holder: who has no right to a record cannot pass it on; and back to its source it may always go.
func (d *deliberation) holder() {
	if d.req.Principal.Organization.ID == d.req.Segment.Custodian {
		d.settle(Permit, "back-to-source", Reason{Rule: "D5-no-redisclosure", Section: "2.32", Code: "BACK_TO_SOURCE", Hit: true})
		return
	}
	held := d.req
	held.Principal = Principal{Organization: d.req.Holder, Purpose: d.req.HeldFor}
	held.Holder, held.HeldFor = Organization{}, ""
	got := Decide(held)
	d.received = got.Basis
	if got.Effect != Permit {
		d.settle(Deny, "", Reason{Rule: "D5-no-redisclosure", Section: "2.33", Code: "NOT_LAWFULLY_HELD", Hit: true})
		return
	}
	d.miss(Reason{Rule: "D5-no-redisclosure", Section: "2.33", Code: "HELD_BY_" + codeOf(got.Basis)})
}

// codeOf spells a basis as reason codes are spelled.
func codeOf(basis string) string {
	out := []byte(basis)
	for i, c := range out {
		switch {
		case c >= 'a' && c <= 'z':
			out[i] = c - 'a' + 'A'
		case c == '-':
			out[i] = '_'
		}
	}
	return string(out)
}

func (d *deliberation) redisclosure() {
	byOldConsent := d.out.Consents
	d.out.Consents = nil
	for _, rule := range []func([]string){d.newConsent, d.consistent, d.contractors, d.asHIPAA} {
		if rule(byOldConsent); d.settled {
			return
		}
	}
	code := "NORDSCLCD"
	if d.req.Principal.Purpose == "HLEGAL" {
		code = "PROCEEDINGS_BAR"
	}
	d.settle(Deny, "", Reason{Rule: "D5-no-redisclosure", Section: "2.32", Code: code, Hit: true})
}

// newConsent: the patient may let the holder itself disclose.
func (d *deliberation) newConsent([]string) {
	for _, f := range d.findings(d.req.Holder.ID) {
		if f.Deny { // what the patient refused at the holder is refused
			d.out.Consents = nil
			d.settle(Deny, "", instrument(f))
			return
		}
		if f.Permit && f.Kind != consent.KindOrder {
			d.out.Consents = append(d.out.Consents, f.Consent)
		}
	}
	if len(d.out.Consents) > 0 {
		d.settle(Permit, "redisclosure", Reason{Rule: "D1-part2-consent", Section: "2.33(a)", Code: "CONSENT_PERMITS", Hit: true})
	}
}

// consistent: a program outside HIPAA, and an intermediary, pass on to whom the consent they received it by designates (D3, C4).
func (d *deliberation) consistent(by []string) {
	class := d.req.Holder.Class
	if !d.req.Segment.Part2 || class != Part2ProgramNonHIPAA && class != Intermediary || d.req.Terms.Rules.Off("D3-redisclosure") {
		return
	}
	if len(by) > 0 {
		d.out.Consents = by
		d.settle(Permit, "redisclosure", Reason{Rule: "D3-redisclosure", Section: "2.33(b)(2)", Code: "CONSISTENT_WITH_CONSENT", Hit: true})
		return
	}
	d.miss(Reason{Rule: "D3-redisclosure", Section: "2.33(b)(2)", Code: "NOT_IN_CONSENT"})
}

// contractors: another lawful holder passes on to contractors under written contract (D4).
func (d *deliberation) contractors(by []string) {
	r := Reason{Rule: "D4-redisclosure", Section: "2.33(b)(3)", Code: "NO_CONTRACT"}
	if d.req.Holder.Class != LawfulHolderOther || d.received != "consent" || d.req.Terms.Rules.Off(r.Rule) {
		return
	}
	forThat := d.req.HeldFor == d.req.Principal.Purpose && (slices.Contains(consent.PaymentPurposes(), d.req.HeldFor) || slices.Contains(consent.OperationsPurposes(), d.req.HeldFor))
	a, ok := d.req.Terms.agreement(Contract, d.req.Holder.ID, d.req.Principal.Organization.ID, d.req.Principal.Purpose, d.req.Now)
	if !forThat || !ok {
		d.miss(r)
		return
	}
	r.Code, r.Hit, r.Consent = "NECESSARY_CONTRACTOR", true, a.Source
	d.settle(Permit, "redisclosure", r)
}

// asHIPAA: who is covered by HIPAA and received the record for treatment, payment or operations passes it on as HIPAA lets it
// (D2). A record under Part 2 counts as the holder's own there, but for proceedings against the patient.
func (d *deliberation) asHIPAA([]string) {
	r := Reason{Rule: "D2-redisclosure", Section: "2.33(b)(1)", Code: "HIPAA_DOES_NOT_ALLOW"}
	tpo := slices.Contains(consent.TreatmentPurposes(), d.req.HeldFor) || slices.Contains(consent.PaymentPurposes(), d.req.HeldFor) || slices.Contains(consent.OperationsPurposes(), d.req.HeldFor)
	switch {
	case !d.req.Holder.covered() || d.req.Segment.CounselingNote || d.req.Terms.Rules.Off(r.Rule):
		return
	case d.req.Segment.Part2 && (d.received != "consent" || !tpo || d.req.Principal.Purpose == "HLEGAL"):
		d.miss(r)
		return
	}
	own := d.req
	own.Holder, own.HeldFor = Organization{}, ""
	own.Segment = label.Segment{Custodian: d.req.Holder.ID, Covered: true, Labels: d.req.Segment.Labels, Confidentiality: d.req.Segment.Confidentiality, Marks: d.req.Segment.Marks}
	got := Decide(own)
	d.out.Reasons = append(d.out.Reasons, got.Reasons...)
	if got.Effect != Permit || got.Basis == "court-order" {
		d.miss(r)
		return
	}
	r.Code, r.Hit = "AS_HIPAA_ALLOWS", true
	d.settle(Permit, "redisclosure", r)
}
