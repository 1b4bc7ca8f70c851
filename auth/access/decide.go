package access

import (
	"math"
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
		Capacity: r.Principal.Capacity, Patient: r.Principal.Patient, Person: r.Principal.Person, Emergency: r.Principal.Emergency.ID, Policy: r.Terms.Rules.Policy(), Labels: label.RulesVersion, EvaluatedAt: r.Now,
	}}
	d.run()
	d.oblige()
	return d.out
}

// deliberation collects reasons while the rules are asked.
type deliberation struct {
	req            Request
	out            Decision
	settled        bool
	elements       []string // of a court order: all that may be told of the record
	intermediaries []string // by which the recipient is designated
	received       string   // on which basis a holder that is not the custodian has it
}

func (d *deliberation) run() {
	if d.capacityKnown(); d.settled {
		return
	}
	if d.req.Principal.Personal() {
		d.person()
		return
	}
	rules := []func(){
		d.purposeKnown, d.classKnown, d.directory, d.ownRecord, d.emergency, d.unclassified,
		d.consents, d.counselingNotes, d.part2, d.hipaa,
	}
	if d.passedOn() {
		rules = []func(){d.purposeKnown, d.classKnown, d.directory, d.holder, d.unclassified, d.consents, d.redisclosure}
	}
	for _, rule := range rules {
		if rule(); d.settled {
			return
		}
	}
	d.settle(Deny, "", Reason{Rule: "default", Section: "2.13(a)", Code: "NO_BASIS", Hit: true})
}

func (d *deliberation) settle(e Effect, basis string, r Reason) {
	d.out.Effect, d.out.Basis, d.out.Code, d.settled = e, basis, r.Code, true
	d.out.Reasons = append(d.out.Reasons, r)
}

func (d *deliberation) miss(r Reason) { d.out.Reasons = append(d.out.Reasons, r) }

func (d *deliberation) purposeKnown() {
	if !consent.KnownPurpose(d.req.Principal.Purpose) {
		d.settle(Deny, "", Reason{Rule: "purpose", Section: "2.13(a)", Code: "PURPOSE_UNKNOWN", Hit: true})
	}
}

func (d *deliberation) classKnown() {
	if !KnownClass(d.req.Principal.Organization.Class) || d.req.Principal.Organization.ID == "" {
		d.settle(Deny, "", Reason{Rule: "recipient-class", Section: "2.13(a)", Code: "RECIPIENT_CLASS_UNKNOWN", Hit: true})
	}
}

func (d *deliberation) directory() {
	if d.req.Segment.Directory {
		d.settle(Permit, "directory", Reason{Rule: "directory", Section: "2.12(a)(1)", Code: "DIRECTORY", Hit: true})
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

// emergency decides for the purposes that need a declared one (D9), and for nobody else. Neither a consent nor a refusal counts
// in an emergency (2.51(a), 164.522(a)(1)(iii)).
func (d *deliberation) emergency() {
	p, r := d.req.Principal, Reason{Rule: "D9-emergency", Section: "2.51", Hit: true, Consent: d.req.Principal.Emergency.ID}
	if !slices.Contains(EmergencyPurposes(), p.Purpose) {
		return
	}
	now := d.req.Now.UnixMicro()
	switch {
	case d.req.Terms.Rules.Off(r.Rule):
		r.Code = "RULE_OFF"
	case !p.Organization.Medical():
		r.Code = "NOT_MEDICAL_PERSONNEL"
	case p.Emergency == Emergency{}:
		r.Code, r.Section = "EMERGENCY_NOT_DECLARED", "2.51(c)"
	case now < p.Emergency.From || now >= p.Emergency.Until || p.Emergency.Until-p.Emergency.From > MaxEmergency.Microseconds():
		r.Code = "EMERGENCY_OVER"
	case d.req.Segment.CounselingNote || d.req.Segment.Has("PSYTHPN"):
		r.Code, r.Section = "COUNSELING_NOTE", "2.31(b)"
	case d.req.Patient != p.Emergency.Patient:
		r.Code = "ANOTHER_PATIENT"
	default:
		r.Code = "EMERGENCY"
		d.settle(Permit, "emergency", r)
		return
	}
	d.settle(Deny, "", r)
}

// consents asks every instrument once. An order that reaches the record settles the matter, whatever the patient refused;
// then any refusal does; permits are kept for the rules below.
func (d *deliberation) consents() {
	findings := d.findings(d.req.Segment.Custodian)
	for _, f := range findings {
		if f.Kind == consent.KindOrder && !d.passedOn() { // it names who has to disclose
			if d.order(f); d.settled {
				return
			}
		}
	}
	for _, f := range findings {
		if f.Kind == consent.KindOrder {
			continue
		}
		r := instrument(f)
		if f.Deny {
			d.settle(Deny, "", r)
			return
		}
		d.miss(r)
		if f.Permit {
			d.out.Consents = append(d.out.Consents, f.Consent)
			d.through(f)
		}
	}
}

func instrument(f consent.Finding) Reason {
	return Reason{Rule: "consent", Section: f.Section, Code: f.Code, Consent: f.Consent, SHA256: f.SHA256, Hit: f.Permit || f.Deny}
}

// order decides what a court order says (D7, D8).
func (d *deliberation) order(f consent.Finding) {
	r := instrument(f)
	r.Rule = "D7-court-order"
	switch {
	case d.req.Terms.Rules.Off(r.Rule):
		r.Hit, r.Code = false, "RULE_OFF"
	case f.Permit && d.req.Segment.Evaluator:
		r.Hit, r.Code, r.Section = false, "HELD_BY_EVALUATOR", "2.62"
	case f.Permit:
		d.elements = f.Elements
		d.out.Consents = []string{f.Consent}
		d.settle(Permit, "court-order", r)
		return
	}
	d.miss(r)
}

// through remembers by which intermediary the recipient is designated.
func (d *deliberation) through(f consent.Finding) {
	if f.Through != "" && !slices.Contains(d.intermediaries, f.Through) {
		d.intermediaries = append(d.intermediaries, f.Through)
	}
}

// findings asks every instrument whether the discloser may give the record to who asks.
func (d *deliberation) findings(discloser string) []consent.Finding {
	if len(d.req.Facts.Consents) == 0 {
		return nil
	}
	p := d.req.Principal
	q := consent.Query{
		Recipient: p.Organization.ID, Payer: p.Organization.Payer,
		Treating:  p.Organization.hipaaProvider() && d.related(Treating),
		Discloser: discloser, Purpose: p.Purpose, ResourceType: d.req.ResourceType,
		Labels: d.req.Segment.Labels, Confidentiality: d.req.Segment.Confidentiality,
		CounselingNote: d.req.Segment.CounselingNote, Marks: d.req.Segment.Marks, Period: d.req.Period, At: d.req.Now,
	}
	if p.Personal() {
		q.Recipient = p.Person
	} else {
		q.Helping = d.helping(discloser)
		q.Participates = d.req.Terms.participates(p.Organization.ID, d.req.Now)
	}
	return consent.Evaluate(d.req.Facts.Consents, q)
}

// helping reports whether who asks helps to operate the discloser's program, by an agreement of any purpose.
func (d *deliberation) helping(discloser string) bool {
	for _, kind := range []AgreementKind{BAA, QSOA, Contract} {
		if _, ok := d.req.Terms.agreement(kind, discloser, d.req.Principal.Organization.ID, "", d.req.Now); ok {
			return true
		}
	}
	return false
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
	if !d.req.Segment.Part2 {
		return
	}
	if len(d.out.Consents) == 0 {
		if d.withoutConsent(); d.settled {
			return
		}
	}
	d.byConsent("D1-part2-consent", "2.33(a)")
}

// withoutConsent settles what of a program's records needs no consent, or has none to fall back on.
func (d *deliberation) withoutConsent() {
	switch d.byAgreement(part2Agreements()); {
	case d.settled:
	case d.req.Principal.Organization.Class == PublicHealth:
		d.settle(Deny, "", Reason{Rule: "D15-public-health", Section: "2.54", Code: "DEIDENTIFIED_ONLY", Hit: true})
	case d.req.Principal.Purpose == "HLEGAL" && len(d.req.Facts.Consents) == 0:
		d.settle(Deny, "", Reason{Rule: "D6-no-order", Section: "2.61", Code: "NO_ORDER_OR_CONSENT", Hit: true})
	}
}

// agreementRule is a rule by which an agreement opens records for the purposes it names.
type agreementRule struct {
	rule, section, basis string
	kind                 AgreementKind
	classes              []Class // of who asks; none: any
	copies, looks        bool    // only of an agreement that lets copies be taken; only of one that does not
}

// part2Agreements lists what opens records of a Part 2 program without the patient's consent.
func part2Agreements() []agreementRule {
	return []agreementRule{
		{rule: "A5-direct-control", section: "2.12(c)(3)", basis: "direct-control", kind: Control},
		{rule: "A6-qso", section: "2.12(c)(4)", basis: "qsoa", kind: QSOA, classes: []Class{QSO, BusinessAssociate}},
		{rule: "D12-audit-on-premises", section: "2.53(a)", basis: "audit", kind: Audit, classes: []Class{Auditor}, looks: true},
		{rule: "D13-audit-copies", section: "2.53(b)", basis: "audit", kind: Audit, classes: []Class{Auditor}, copies: true},
		{rule: "D11-research", section: "2.52", basis: "research", kind: Research, classes: []Class{Researcher}},
	}
}

// hipaaAgreements lists the same for records of a covered entity that are not under Part 2.
func hipaaAgreements() []agreementRule {
	return []agreementRule{
		{rule: "A6-business-associate", section: "164.502(e)", basis: "baa", kind: BAA, classes: []Class{BusinessAssociate, QSO}},
		{rule: "D12-audit-on-premises", section: "164.512(d)", basis: "audit", kind: Audit, classes: []Class{Auditor}, looks: true},
		{rule: "D13-audit-copies", section: "164.512(d)", basis: "audit", kind: Audit, classes: []Class{Auditor}, copies: true},
		{rule: "D11-research", section: "164.512(i)", basis: "research", kind: Research, classes: []Class{Researcher}},
	}
}

// byAgreement permits on the first agreement that opens the record, and names those it asked for that are not there.
func (d *deliberation) byAgreement(list []agreementRule) {
	org := d.req.Principal.Organization
	if !AgreementPurpose(d.req.Principal.Purpose) {
		return
	}
	for _, rule := range list {
		if rule.classes != nil && !slices.Contains(rule.classes, org.Class) {
			continue
		}
		a, ok := d.req.Terms.agreement(rule.kind, d.req.Segment.Custodian, org.ID, d.req.Principal.Purpose, d.req.Now)
		r := Reason{Rule: rule.rule, Section: rule.section, Code: "NO_AGREEMENT", Consent: a.Source}
		switch {
		case ok && d.req.Terms.Rules.Off(rule.rule):
			r.Code = "RULE_OFF"
		case ok && (rule.copies && !a.Copies || rule.looks && a.Copies):
			continue
		case ok:
			r.Code, r.Hit = "AGREEMENT", true
			d.settle(Permit, rule.basis, r)
			return
		case rule.classes == nil:
			continue // nothing to say to everybody who has no such agreement
		}
		d.miss(r)
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
	order := []string{"NO_CONSENT", "RECORDED_BY_ANOTHER", "CONSENT_SUPERSEDED", "CONSENT_NOT_IN_FORCE", "CONSENT_NOT_YET_IN_FORCE", "CONSENT_EXPIRED", "CONSENT_REVOKED",
		"DISCLOSER_NOT_NAMED", "RECIPIENT_NOT_DESIGNATED", "CONTENT_NOT_COVERED", "PERIOD_NOT_COVERED", "RULE_NOT_IN_FORCE", "ACTION_NOT_COVERED",
		"PURPOSE_NOT_COVERED", "COUNSELING_NOTES_SEPARATE", "PROCEEDINGS_NOT_SEPARATE"}
	best, code := 0, "NO_CONSENT"
	for _, r := range reasons {
		if r.Rule != "consent" && r.Rule != "D7-court-order" {
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
	if d.req.Segment.Has("PSYTHPN") { // an authorization, whatever they are for (164.508(a)(2))
		r := Reason{Rule: "H2-authorization", Section: "164.508(a)(2)", Code: "PSYCHOTHERAPY_NOTE", Hit: true}
		if len(d.out.Consents) > 0 && !d.req.Terms.Rules.Off(r.Rule) {
			r.Code = "CONSENT_PERMITS"
			d.settle(Permit, "consent", r)
			return
		}
		d.settle(Deny, "", r)
		return
	}
	treatment := Reason{Rule: "H1-treatment", Section: "164.506(c)(2)", Code: "HIPAA_TREATMENT"}
	rules := d.req.Terms.Rules
	if d.req.Segment.Covered && org.hipaaProvider() && slices.Contains(consent.TreatmentPurposes(), purpose) && !rules.Off(treatment.Rule) {
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
	case rules.Off(payment.Rule):
		payment.Code = "RULE_OFF"
	case (org.Class == CoveredEntity || org.Class == Part2ProgramCE) && isTPO && (d.related(Coverage) || d.related(Treating)):
		payment.Code, payment.Hit = "HIPAA_PAYMENT_OPERATIONS", true
		d.settle(Permit, "hipaa", payment)
		return
	case !isTPO:
		payment.Code = "NOT_PAYMENT_OR_OPERATIONS"
	}
	d.miss(payment)
	if d.req.Segment.Covered {
		if d.byAgreement(hipaaAgreements()); d.settled {
			return
		}
		if org.Class == PublicHealth && purpose == "PUBHLTH" && rules.On("H4-public-health") {
			d.settle(Permit, "public-health", Reason{Rule: "H4-public-health", Section: "164.512(b)", Code: "PUBLIC_HEALTH", Hit: true})
			return
		}
	}
	if len(d.out.Consents) > 0 && !rules.Off("H2-authorization") {
		d.settle(Permit, "consent", Reason{Rule: "H2-authorization", Section: "164.508", Code: "CONSENT_PERMITS", Hit: true})
	}
}

// NoticeVersion names the texts of 2.32 as they stand in Notice.
const NoticeVersion = "2.32-2024"

// NextChange is the next instant after now at which an answer about the patient can change, zero for none.
func NextChange(f Facts, t Terms, now time.Time) time.Time {
	for _, at := range breakpoints(f, t) {
		if at.After(now) {
			return at
		}
	}
	return time.Time{}
}

// DistinguishesPeriods reports whether an instrument speaks of clinical periods: then answers depend on the record's own.
func (f Facts) DistinguishesPeriods() bool {
	for p := range consent.Provisions(f.Consents) {
		if p.Period != nil {
			return true
		}
	}
	return false
}

// breakpoints lists the instants at which an answer about the patient can change.
func breakpoints(f Facts, t Terms) []time.Time {
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
	for p := range consent.Provisions(f.Consents) { // rules with times of their own
		if p.InForce == nil {
			continue
		}
		for _, edge := range []int64{p.InForce.Lo, p.InForce.Hi} {
			if edge != math.MinInt64 && edge != math.MaxInt64 {
				add(time.UnixMicro(edge).UTC())
			}
		}
	}
	for _, r := range f.Relationships {
		add(r.From)
		add(r.To)
	}
	for _, a := range t.Agreements {
		add(a.From)
		add(a.To)
	}
	slices.SortFunc(at, time.Time.Compare)
	return slices.CompactFunc(at, time.Time.Equal)
}

// Has reports whether the decision has an obligation of the code.
func (d Decision) Has(code string) bool {
	return slices.ContainsFunc(d.Obligations, func(o Obligation) bool { return o.Code == code })
}
