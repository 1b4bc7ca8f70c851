package access

import (
	"slices"
	"time"

	"trellis/auth/consent"
	"trellis/auth/label"
)

// Decide answers a request. Rules are asked in a fixed order; the first that settles the matter ends
// it, and each one asked is kept as a reason.
func Decide(r Request) Decision {
	d := &deliberation{req: r, out: Decision{
		Organization: r.Principal.Organization.ID, Class: r.Principal.Organization.Class, Purpose: r.Principal.Purpose,
		Capacity: r.Principal.Capacity, Policy: PolicyVersion, Labels: label.RulesVersion, EvaluatedAt: r.Now,
	}}
	d.run()
	d.oblige()
	return d.out
}

// deliberation collects reasons while the rules are asked.
type deliberation struct {
	req     Request
	out     Decision
	settled bool
}

func (d *deliberation) run() {
	if d.capacityKnown(); d.settled {
		return
	}
	if d.req.Principal.Personal() {
		d.person()
		return
	}
	for _, rule := range []func(){
		d.purposeKnown, d.classKnown, d.directory, d.ownRecord, d.unclassified,
		d.consents, d.counselingNotes, d.part2, d.hipaa,
	} {
		if rule(); d.settled {
			return
		}
	}
	d.settle(Deny, "", Reason{Rule: "default", Code: "NO_BASIS", Hit: true})
}

func (d *deliberation) settle(e Effect, basis string, r Reason) {
	d.out.Effect, d.out.Basis, d.out.Code, d.settled = e, basis, r.Code, true
	d.out.Reasons = append(d.out.Reasons, r)
}

func (d *deliberation) miss(r Reason) { d.out.Reasons = append(d.out.Reasons, r) }

func (d *deliberation) purposeKnown() {
	if !consent.KnownPurpose(d.req.Principal.Purpose) {
		d.settle(Deny, "", Reason{Rule: "purpose", Code: "PURPOSE_UNKNOWN", Hit: true})
	}
}

func (d *deliberation) classKnown() {
	if !KnownClass(d.req.Principal.Organization.Class) || d.req.Principal.Organization.ID == "" {
		d.settle(Deny, "", Reason{Rule: "recipient-class", Code: "RECIPIENT_CLASS_UNKNOWN", Hit: true})
	}
}

func (d *deliberation) directory() {
	if d.req.Segment.Directory {
		d.settle(Permit, "directory", Reason{Rule: "directory", Code: "DIRECTORY", Hit: true})
	}
}

// ownRecord: an organisation uses what it holds itself, inside 2.12(c)(3) and 164.506(c)(1). Purposes
// that turn a record against its patient or to another end are not use of one's own record. Counselling
// notes stay with their originator's treatment use (2.31(b)).
func (d *deliberation) ownRecord() {
	own := Reason{Rule: "A5-own-record", Section: "2.12(c)(3)", Code: "OWN_RECORD"}
	switch {
	case d.req.Segment.Custodian != d.req.Principal.Organization.ID:
		own.Code = "NOT_CUSTODIAN"
	case !ownUse(d.req.Principal.Purpose):
		own.Code = "PURPOSE_NOT_OWN_USE"
	case d.req.Segment.CounselingNote && !slices.Contains(consent.TreatmentPurposes(), d.req.Principal.Purpose):
		own.Code = "COUNSELING_NOTE"
	default:
		own.Hit = true
		d.settle(Permit, "own-record", own)
		return
	}
	d.miss(own)
}

func ownUse(purpose string) bool {
	return purpose == "HSYSADMIN" || slices.Contains(consent.TreatmentPurposes(), purpose) ||
		slices.Contains(consent.PaymentPurposes(), purpose) || slices.Contains(consent.OperationsPurposes(), purpose)
}

func (d *deliberation) unclassified() {
	if d.req.Segment.Unclassified {
		d.settle(Deny, "", Reason{Rule: "unclassified", Section: "2.12", Code: "UNCLASSIFIED", Hit: true})
	}
}

// consents asks every instrument once; any deny settles the matter, permits are kept for the rules below.
func (d *deliberation) consents() {
	for _, f := range d.findings() {
		r := Reason{Rule: "consent", Section: f.Section, Code: f.Code, Consent: f.Consent, SHA256: f.SHA256, Hit: f.Permit || f.Deny}
		if f.Deny {
			d.settle(Deny, "", r)
			return
		}
		d.miss(r)
		if f.Permit {
			d.out.Consents = append(d.out.Consents, f.Consent)
		}
	}
}

func (d *deliberation) findings() []consent.Finding {
	p := d.req.Principal
	return consent.Evaluate(d.req.Facts.Consents, consent.Query{
		Recipient: p.Organization.ID, Payer: p.Organization.Payer,
		Treating:  p.Organization.hipaaProvider() && d.related(Treating),
		Discloser: d.req.Segment.Custodian, Purpose: p.Purpose, ResourceType: d.req.ResourceType,
		Labels: d.req.Segment.Labels, Confidentiality: d.req.Segment.Confidentiality,
		CounselingNote: d.req.Segment.CounselingNote, Period: d.req.Period, At: d.req.Now,
	})
}

func (d *deliberation) related(kind RelationshipKind) bool {
	for _, r := range d.req.Facts.Relationships {
		attested := r.Everywhere || r.Recorder == d.req.Segment.Custodian || (kind == Treating && r.Recorder == r.Organization)
		if attested && r.Kind == kind && r.Organization == d.req.Principal.Organization.ID &&
			!d.req.Now.Before(r.From) && (r.To.IsZero() || d.req.Now.Before(r.To)) {
			return true
		}
	}
	return false
}

func (d *deliberation) counselingNotes() {
	if d.req.Segment.CounselingNote {
		d.byConsent("C7-counseling-notes", "2.31(b)")
	}
}

func (d *deliberation) part2() {
	if d.req.Segment.Part2 {
		d.byConsent("D1-part2-consent", "2.33(a)")
	}
}

// byConsent permits on an instrument that permits and denies otherwise, naming the nearest miss.
func (d *deliberation) byConsent(rule, section string) {
	if len(d.out.Consents) > 0 {
		d.settle(Permit, "consent", Reason{Rule: rule, Section: section, Code: "CONSENT_PERMITS", Hit: true})
		return
	}
	d.settle(Deny, "", Reason{Rule: rule, Section: section, Code: nearestMiss(d.out.Reasons), Hit: true})
}

// nearestMiss is the reason that says most about why no consent permitted: the one furthest along the
// checks an instrument passes through.
func nearestMiss(reasons []Reason) string {
	order := []string{"NO_CONSENT", "RECORDED_BY_ANOTHER", "CONSENT_NOT_IN_FORCE", "CONSENT_NOT_YET_IN_FORCE", "CONSENT_EXPIRED", "CONSENT_REVOKED",
		"DISCLOSER_NOT_NAMED", "RECIPIENT_NOT_DESIGNATED", "CONTENT_NOT_COVERED", "PERIOD_NOT_COVERED", "ACTION_NOT_COVERED",
		"PURPOSE_NOT_COVERED", "COUNSELING_NOTES_SEPARATE", "PROCEEDINGS_NOT_SEPARATE"}
	best, code := 0, "NO_CONSENT"
	for _, r := range reasons {
		if r.Rule != "consent" {
			continue
		}
		rank := slices.Index(order, r.Code)
		if rank < 0 {
			rank = len(order) // an invalid instrument: ELEMENT_MISSING(section)
		}
		if rank > best {
			best, code = rank, r.Code
		}
	}
	return code
}

// hipaa decides records outside Part 2 (rule H1). HIPAA lets covered entities disclose, so a record held
// by anyone else, a recipient outside HIPAA, and a purpose beyond treatment, payment and operations need
// the patient's own authorisation.
func (d *deliberation) hipaa() {
	org, purpose := d.req.Principal.Organization, d.req.Principal.Purpose
	treatment := Reason{Rule: "H1-treatment", Section: "164.506(c)(2)", Code: "HIPAA_TREATMENT"}
	if d.req.Segment.Covered && org.hipaaProvider() && slices.Contains(consent.TreatmentPurposes(), purpose) {
		treatment.Hit = true
		d.settle(Permit, "hipaa", treatment)
		return
	}
	treatment.Code = "NOT_TREATMENT_BY_PROVIDER"
	if !d.req.Segment.Covered {
		treatment.Code = "DISCLOSER_NOT_COVERED"
	}
	d.miss(treatment)
	payment := Reason{Rule: "H1-payment-operations", Section: "164.506(c)(3)", Code: "NO_RELATIONSHIP"}
	isTPO := slices.Contains(consent.PaymentPurposes(), purpose) || slices.Contains(consent.OperationsPurposes(), purpose)
	switch {
	case !d.req.Segment.Covered:
		payment.Code = "DISCLOSER_NOT_COVERED"
	case (org.Class == CoveredEntity || org.Class == Part2ProgramCE) && isTPO && (d.related(Coverage) || d.related(Treating)):
		payment.Code, payment.Hit = "HIPAA_PAYMENT_OPERATIONS", true
		d.settle(Permit, "hipaa", payment)
		return
	case !isTPO:
		payment.Code = "NOT_PAYMENT_OR_OPERATIONS"
	}
	d.miss(payment)
	if len(d.out.Consents) > 0 {
		d.settle(Permit, "consent", Reason{Rule: "H2-authorization", Section: "164.508", Code: "CONSENT_PERMITS", Hit: true})
	}
}

// oblige adds what must travel with a permitted release.
func (d *deliberation) oblige() {
	if d.out.Effect != Permit {
		d.out.Consents = nil
		return
	}
	add := func(code, detail string) { d.out.Obligations = append(d.out.Obligations, Obligation{code, detail}) }
	if d.out.Basis == "directory" {
		return
	}
	add(ObligeLabels, "")
	if d.req.Segment.Part2 && d.out.Basis == "consent" {
		add(ObligeNotice, NoticeVersion)
		add(ObligeScope, "")
		add(ObligeRedisclosure, redisclosure(d.req.Principal.Organization, d.req.Principal.Purpose))
	}
}

// redisclosure is the rule stamped on what a class of recipient receives by consent (2.33(b)).
func redisclosure(org Organization, purpose string) string {
	tpo := !slices.Contains(consent.OtherPurposes(), purpose)
	switch org.Class {
	case CoveredEntity, BusinessAssociate, Part2ProgramCE:
		if tpo {
			return "HIPAA_TPO_EXCEPT_PROCEEDINGS"
		}
	case Part2ProgramNonHIPAA:
		return "CONSISTENT_WITH_CONSENT_ONLY"
	case Intermediary:
		return "LISTED_PARTICIPANTS_WITH_TREATING_RELATION"
	case LawfulHolderOther:
		if slices.Contains(consent.PaymentPurposes(), purpose) || slices.Contains(consent.OperationsPurposes(), purpose) {
			return "NECESSARY_CONTRACTORS_ONLY"
		}
	}
	return "NO_REDISCLOSURE"
}

// NoticeVersion names the texts of 2.32 as they stand in Notice.
const NoticeVersion = "2.32-2024"

// NextChange is the next instant after now at which an answer about the patient can change, zero for none.
func NextChange(f Facts, now time.Time) time.Time {
	for _, at := range breakpoints(f) {
		if at.After(now) {
			return at
		}
	}
	return time.Time{}
}

// DistinguishesPeriods reports whether an instrument speaks of clinical periods: then answers depend on the record's own.
func (f Facts) DistinguishesPeriods() bool {
	for i := range f.Consents {
		if periods(&f.Consents[i].Root) {
			return true
		}
	}
	return false
}

func periods(p *consent.Provision) bool {
	if p.Period != nil {
		return true
	}
	for i := range p.Nested {
		if periods(&p.Nested[i]) {
			return true
		}
	}
	return false
}

// breakpoints lists the instants at which an answer about the patient can change.
func breakpoints(f Facts) []time.Time {
	var at []time.Time
	add := func(t time.Time) {
		if !t.IsZero() {
			at = append(at, t)
		}
	}
	for i := range f.Consents {
		c := &f.Consents[i]
		add(c.From)
		add(c.To)
		add(c.Revoked)
	}
	for _, r := range f.Relationships {
		add(r.From)
		add(r.To)
	}
	slices.SortFunc(at, time.Time.Compare)
	return slices.CompactFunc(at, time.Time.Equal)
}
