package consent

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"trellis/fhir"
)

// Query is one question: may this recipient have records like this, for this purpose, at this time.
type Query struct {
	Recipient       string   // Organization id, or "RelatedPerson/id" of who acts for the patient
	Payer           bool     // the recipient is a health plan
	Treating        bool     // the recipient has a treating relationship at At
	Helping         bool     // the recipient helps to operate the discloser's program
	Participates    []string // intermediaries whose participant the recipient is at At, Organization ids
	Discloser       string   // Organization id of the record's custodian
	Purpose         string
	ResourceType    string
	Labels          []fhir.Coding
	Confidentiality string
	CounselingNote  bool
	Marks           []string // see Marks
	Period          Period   // clinical time of the record
	At              time.Time
}

// Finding is what one instrument said to a query.
type Finding struct {
	Consent  string // "Consent/id/_history/version"
	SHA256   string
	Permit   bool
	Deny     bool
	Code     string // why it does not permit: a stable reason code
	Section  string // regulation section the reason rests on
	Kind     Kind
	Through  string   // intermediary by which the recipient is designated
	Elements []string // of a court order: all that may be told of the record; nil for all of it
}

// Evaluate asks every instrument. The caller combines findings; any Deny overrides any Permit.
func Evaluate(consents []Consent, q Query) []Finding {
	out := make([]Finding, 0, len(consents))
	for i := range consents {
		f := consents[i].ask(q)
		if by, valid := superseded(consents, &consents[i], q.At); by && (f.Permit || f.Deny && valid && !consents[i].Broken) {
			f.Permit, f.Deny, f.Code, f.Section = false, false, "CONSENT_SUPERSEDED", "2.31(c)"
		}
		out = append(out, f)
	}
	return out
}

// superseded reports whether an instrument that names old as the one it takes the place of was in force by at, recorded by
// the same organisation or the operator; and whether such a one is valid. What an invalid instrument replaces permits
// nothing any more, but still refuses what it refused, and so does what is replaced by one that has ended.
func superseded(consents []Consent, old *Consent, at time.Time) (by, valid bool) {
	for i := range consents {
		c := &consents[i]
		if c.ID == old.ID || !slices.Contains(c.Supersedes, old.ID) || c.Recorder != old.Recorder && !c.Everywhere {
			continue
		}
		if c.Broken || c.Status != "active" && c.Status != "inactive" || at.Before(c.From) {
			continue
		}
		by, valid = true, valid || len(c.missing()) == 0 && (c.To.IsZero() || at.Before(c.To))
	}
	return by, valid
}

func (c *Consent) ask(q Query) Finding {
	f := Finding{Consent: "Consent/" + c.ID + "/_history/" + strconv.Itoa(c.Version), SHA256: c.SHA256, Kind: c.Kind}
	reject := func(code, section string) Finding {
		f.Code, f.Section = code, section
		return f
	}
	switch {
	case !c.Everywhere && c.Recorder != q.Discloser:
		return reject("RECORDED_BY_ANOTHER", "2.31(a)(2)")
	case c.Broken:
		f.Deny = true
		return reject("CONSENT_EVALUATION_ERROR", "2.31(c)")
	case c.Status != "active" && c.Status != "inactive":
		return reject("CONSENT_NOT_IN_FORCE", "2.31(c)")
	case q.At.Before(c.From):
		return reject("CONSENT_NOT_YET_IN_FORCE", "2.31(c)")
	case !c.Revoked.IsZero() && !q.At.Before(c.Revoked):
		return reject("CONSENT_REVOKED", "2.31(a)(6)")
	case !c.To.IsZero() && !q.At.Before(c.To):
		return reject("CONSENT_EXPIRED", "2.31(a)(7)")
	}
	permit, matched := c.Root.effect(q)
	if matched && !permit && c.Kind != KindOrder { // an order allows within its scope and takes nothing away
		f.Deny = true
		return reject("CONSENT_DENIES", c.refusal())
	}
	if c.Kind == KindRestriction || c.Kind == KindSelfPay {
		return reject("RESTRICTION_PERMITS_NOTHING", c.refusal()) // a refusal is no basis, whatever it leaves open
	}
	if missing := c.missing(); len(missing) > 0 {
		return reject("ELEMENT_MISSING("+missing[0].Section+")", missing[0].Section)
	}
	if code, section := c.outOfKind(q); code != "" {
		return reject(code, section)
	}
	if !slices.Contains(c.Disclosers, q.Discloser) {
		return reject("DISCLOSER_NOT_NAMED", "2.31(a)(2)")
	}
	if !matched {
		return reject(c.Root.mismatch(q))
	}
	f.Permit, f.Code, f.Section = true, "CONSENT_PERMITS", "2.33(a)"
	f.Through, f.Elements = c.Root.through(q), c.Root.Elements
	if c.Kind == KindOrder {
		if !permit {
			return reject("OUTSIDE_ORDER", c.Order.Section)
		}
		f.Code, f.Section = "ORDER_PERMITS", c.Order.Section
	}
	return f
}

// refusal is the section a patient's refusal rests on.
func (c *Consent) refusal() string {
	if c.Kind == KindSelfPay {
		return "164.522(a)(1)(vi)"
	}
	return "2.26"
}

// outOfKind keeps the kinds apart: notes and proceedings never ride on another consent, and a consent
// for them reaches nothing else.
func (c *Consent) outOfKind(q Query) (code, section string) {
	if c.Kind == KindOrder {
		switch {
		case q.Purpose != "HLEGAL":
			return "PURPOSE_NOT_COVERED", "2.61"
		case q.CounselingNote && !c.Order.Notes:
			return "CONFIDENTIAL_COMMUNICATION", "2.63"
		}
		return "", ""
	}
	switch {
	case q.CounselingNote != (c.Kind == KindCounselingNotes):
		return "COUNSELING_NOTES_SEPARATE", "2.31(b)"
	case (q.Purpose == "HLEGAL") != (c.Kind == KindProceedings):
		return "PROCEEDINGS_NOT_SEPARATE", "2.31(d)"
	case c.Kind == KindTPO && !tpoPurpose(q.Purpose):
		return "PURPOSE_NOT_COVERED", "2.31(a)(5)"
	}
	return "", ""
}

func tpoPurpose(p string) bool {
	return slices.Contains(TreatmentPurposes(), p) || slices.Contains(PaymentPurposes(), p) || slices.Contains(OperationsPurposes(), p)
}

// effect walks the provision tree: a child overrides its parent where it matches, and among siblings
// deny beats permit.
func (p *Provision) effect(q Query) (permit, matched bool) {
	if !p.matches(q) {
		return false, false
	}
	permit = p.Permit
	anyPermit, anyDeny := false, false
	for i := range p.Nested {
		switch childPermits, childMatched := p.Nested[i].effect(q); {
		case !childMatched:
		case !childPermits:
			anyDeny = true
		case p.contains(q): // a deny may match by overlap; what is permitted inside it must lie inside it
			anyPermit = true
		}
	}
	switch {
	case anyDeny:
		return false, true
	case anyPermit:
		return true, true
	}
	return permit, true
}

func (p *Provision) matches(q Query) bool {
	if p.Inexpressible && p.Permit {
		return false
	}
	code, _ := p.mismatch(q)
	return code == ""
}

// mismatch names the first field that keeps a provision from matching; "" when it matches.
func (p *Provision) mismatch(q Query) (code, section string) {
	switch {
	case !p.recipient(q) && !(p.Unread.Actors && !p.Permit):
		return "RECIPIENT_NOT_DESIGNATED", "2.31(a)(4)"
	case !p.purpose(q) && !(p.Unread.Purposes && !p.Permit):
		return "PURPOSE_NOT_COVERED", "2.31(a)(5)"
	case len(p.Actions) > 0 && !(p.Unread.Actions && !p.Permit) && !slices.ContainsFunc(p.Actions, func(a string) bool { return a == "access" || a == "disclose" || a == "use" }):
		return "ACTION_NOT_COVERED", "2.31(a)(3)"
	case len(p.Types) > 0 && !(p.Unread.Types && !p.Permit) && !slices.Contains(p.Types, q.ResourceType):
		return "CONTENT_NOT_COVERED", "2.31(a)(3)"
	case !p.labels(q) && !(p.Unread.Labels && !p.Permit), !p.codes(q) && !(p.Unread.Codes && !p.Permit), !p.data(q) && !(p.Unread.Data && !p.Permit):
		return "CONTENT_NOT_COVERED", "2.31(a)(3)"
	case p.InForce != nil && (q.At.UnixMicro() < p.InForce.Lo || q.At.UnixMicro() >= p.InForce.Hi):
		return "RULE_NOT_IN_FORCE", "2.31(a)(7)"
	case !p.period(q):
		return "PERIOD_NOT_COVERED", "2.31(a)(3)"
	}
	return "", ""
}

func (p *Provision) recipient(q Query) bool {
	if len(p.Actors)+len(p.Persons)+len(p.Classes)+len(p.Through) == 0 {
		return true
	}
	if slices.Contains(p.Actors, q.Recipient) || slices.Contains(p.Persons, q.Recipient) || p.through(q) != "" {
		return true
	}
	if q.Recipient == "" && len(p.Persons) > 0 && !p.Permit {
		return true // who is not known may be the one refused
	}
	for _, class := range p.Classes {
		switch {
		case class == ClassTreatingProviders && q.Treating,
			class == ClassHealthPlans && q.Payer,
			class == ClassOperations && q.Helping:
			return true
		}
	}
	return false
}

// through is the intermediary by which the recipient is designated: it takes part there, and is named or treats the patient.
func (p *Provision) through(q Query) string {
	for _, by := range p.Through {
		if slices.Contains(q.Participates, by.Organization) && (slices.Contains(by.Named, q.Recipient) || by.Treating && q.Treating) {
			return by.Organization
		}
	}
	return ""
}

func (p *Provision) purpose(q Query) bool {
	return len(p.Purposes) == 0 || slices.ContainsFunc(p.Purposes, func(w string) bool { return covers(w, q.Purpose) })
}

// labels follows the rule of our reading of R4 securityLabel: permit X reaches X or lower, deny X
// reaches X or higher, and sensitivity codes reach their descendants.
func (p *Provision) labels(q Query) bool {
	if len(p.Labels) == 0 {
		return true
	}
	for _, l := range p.Labels {
		if l.System == fhir.SystemConfidentiality {
			const order = "ULMNRV"
			have, want := strings.Index(order, q.Confidentiality), strings.Index(order, l.Code)
			if (p.Permit && have <= want) || (!p.Permit && have >= want) {
				return true
			}
			continue
		}
		if slices.ContainsFunc(q.Labels, func(have fhir.Coding) bool { return have.System == l.System && subsumes(l.Code, have.Code) }) {
			return true
		}
	}
	return false
}

// subsumes is the part of the ActCode sensitivity tree that labels use; ETH is not a parent of SUD.
func subsumes(parent, code string) bool {
	if parent == code {
		return true
	}
	switch parent {
	case "SUD":
		return code == "ETHUD" || code == "OPIOIDUD"
	case "SPI":
		return slices.Contains([]string{"BH", "MH", "PSY", "PSYTHPN", "SUD", "ETHUD", "OPIOIDUD"}, code)
	}
	return false
}

// period: to be permitted a record must lie wholly inside; any overlap denies.
func (p *Provision) period(q Query) bool {
	if p.Period == nil {
		return true
	}
	if p.Permit {
		return p.contains(q)
	}
	return q.Period.Lo < p.Period.Hi && q.Period.Hi > p.Period.Lo
}

// contains reports whether the record lies wholly inside the provision's data period, if it has one.
func (p *Provision) contains(q Query) bool {
	return p.Period == nil || (q.Period.Lo >= p.Period.Lo && q.Period.Hi <= p.Period.Hi)
}
