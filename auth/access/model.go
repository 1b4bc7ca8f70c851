// Package access makes the decision: may this principal have this record, for this purpose, now; why;
// and under which obligations.
//
// Organisations, and the staff that acts for them, are decided by the rules of decide.go; people about one record by those
// of person.go. Limits are what a token leaves of either: they narrow a Filter and decide nothing.
//
// Decide is a pure function: the caller supplies every fact and the time. Partition and Materialize
// turn the same rules into a Filter a store compiles into SQL, so that what a query matches and what
// Decide answers cannot drift apart. Zero values deny. The package knows no HTTP and no SQL.
package access

import (
	"time"

	"trellis/auth/consent"
	"trellis/auth/label"
)

// PolicyVersion names the rules of this package in decisions and audit events.
const PolicyVersion = "access-2026.3"

// Class is the legal class of an organisation (reference classes of 42 CFR 2 and HIPAA).
type Class string

// The classes a deployment can declare. An unknown class is denied everything but its own records.
const (
	Part2ProgramCE       Class = "part2_program_ce"
	Part2ProgramNonHIPAA Class = "part2_program_non_hipaa"
	CoveredEntity        Class = "covered_entity"
	BusinessAssociate    Class = "business_associate"
	QSO                  Class = "qso"
	LawfulHolderOther    Class = "lawful_holder_other"
	Intermediary         Class = "intermediary"
	Auditor              Class = "auditor_2_53"
	Researcher           Class = "researcher"
	PublicHealth         Class = "public_health"
	CourtOrderHolder     Class = "court_order_holder"
	CriminalJustice      Class = "criminal_justice_2_35"
	CentralRegistry      Class = "central_registry_2_34"
	PDMP                 Class = "pdmp_2_36"
	OperatorClass        Class = "operator" // the deployment's own administrator
)

// OperatorID is the Organization id of the deployment's own administrator.
const OperatorID = "operator"

// KnownClass reports whether c is declared above.
func KnownClass(c Class) bool {
	switch c {
	case Part2ProgramCE, Part2ProgramNonHIPAA, CoveredEntity, BusinessAssociate, QSO, LawfulHolderOther, Intermediary, OperatorClass,
		Auditor, Researcher, PublicHealth, CourtOrderHolder, CriminalJustice, CentralRegistry, PDMP:
		return true
	}
	return false
}

// Organization is a registered actor.
type Organization struct {
	ID    string `json:"id"` // FHIR Organization id
	Name  string `json:"name"`
	Class Class  `json:"class"`
	Payer bool   `json:"payer,omitempty"` // a health plan

	// The operator's records are what the deployment's declared posture makes them.
	OperatorPart2   bool `json:"operatorPart2,omitempty"`
	OperatorCovered bool `json:"operatorCovered,omitempty"`
}

// Part2 reports whether the organisation's records are those of a Part 2 program.
func (o Organization) Part2() bool {
	return o.Class == Part2ProgramCE || o.Class == Part2ProgramNonHIPAA || (o.Class == OperatorClass && o.OperatorPart2)
}

// Source is the organisation as the labelling rules see it.
func (o Organization) Source() label.Source {
	return label.Source{Organization: o.ID, Part2: o.Part2(), Covered: o.covered(), Evaluator: o.Class == Auditor || o.Class == Researcher}
}

// covered reports whether the organisation discloses under HIPAA.
func (o Organization) covered() bool {
	switch o.Class {
	case Part2ProgramCE, CoveredEntity, BusinessAssociate, QSO:
		return true
	case OperatorClass:
		return o.OperatorCovered
	}
	return false
}

// hipaaProvider reports whether HIPAA lets records be disclosed to it for treatment (164.506(c)(2)).
func (o Organization) hipaaProvider() bool {
	return (o.Class == CoveredEntity && !o.Payer) || o.Class == Part2ProgramCE
}

// Principal is who asks: an organisation through one of its clients or members of staff, a patient, or who acts for one;
// for one purpose.
type Principal struct {
	Client       string
	Organization Organization // zero for patients and proxies
	Purpose      string
	User         string   // account; "" for a client acting for itself
	Capacity     Capacity // how the user acts
	Patient      string   // of patients and proxies: whose record, a Patient id
	Person       string   // of proxies: "RelatedPerson/id" a consent may name
	Emergency    Emergency
}

// Capacity is how a person acts. The zero Capacity is that of no person: an organisation's client acts for itself.
type Capacity string

// The capacities.
const (
	Staff          Capacity = "staff"          // for the organisation
	Self           Capacity = "self"           // a patient, about the own record (2.23, 164.524)
	Proxy          Capacity = "proxy"          // for another person, with recorded authority
	Representative Capacity = "representative" // as personal representative (2.15, 164.502(g))
)

// Relationship is a recorded fact about a patient and an organisation.
type Relationship struct {
	Organization string
	Kind         RelationshipKind
	From, To     time.Time // From <= t < To; zero To is open
	Source       string    // the resource that records it, "Type/id"
	// Recorder is the organisation that recorded it. It counts when that is the custodian of the record
	// asked for or the operator (Everywhere); a provider may attest itself that it treats, a payer may not
	// attest its own coverage.
	Recorder   string
	Everywhere bool
}

// RelationshipKind says what the organisation is to the patient.
type RelationshipKind string

// The relationships rules ask for.
const (
	Treating RelationshipKind = "treating"
	Coverage RelationshipKind = "coverage"
)

// Facts is what is known about one patient at a point in time.
type Facts struct {
	Consents      []consent.Consent
	Relationships []Relationship
}

// ToldTo is the facts as far as an organisation that asks about them may be told: what it recorded itself or the operator did, and who
// treats the patient where no Part 2 program says so (2.13(c)). program reports whether an organisation is one.
func (f Facts) ToldTo(organization string, program func(id string) bool) Facts {
	var out Facts
	for _, c := range f.Consents {
		if c.Everywhere || c.Recorder == organization {
			out.Consents = append(out.Consents, c)
		}
	}
	for _, r := range f.Relationships {
		if r.Everywhere || r.Recorder == organization || !program(r.Recorder) && !program(r.Organization) {
			out.Relationships = append(out.Relationships, r)
		}
	}
	return out
}

// Request is one question to Decide.
type Request struct {
	Principal    Principal
	Segment      label.Segment
	ResourceType string
	Patient      string         // id of the patient the facts are about; "" for a record about nobody
	Period       consent.Period // clinical time of the record, open when unknown
	Facts        Facts
	Terms        Terms
	Now          time.Time
	// Holder is the organisation that would pass the record on, where that is not its custodian: one that received it. Purpose
	// it received it for stands in HeldFor. Everything the gateway serves comes from custodians; "" for that.
	Holder  Organization
	HeldFor string
}

// Effect is the outcome of a decision; the zero value denies.
type Effect int

// The two effects.
const (
	Deny Effect = iota
	Permit
)

// String spells the effect as decisions print it.
func (e Effect) String() string {
	if e == Permit {
		return "permit"
	}
	return "deny"
}

// MarshalText writes the effect into JSON.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote; anything else denies.
func (e *Effect) UnmarshalText(text []byte) error {
	*e = Deny
	if string(text) == "permit" {
		*e = Permit
	}
	return nil
}

// Reason is one rule that was looked at, hit or missed.
type Reason struct {
	Rule    string `json:"rule"`
	Section string `json:"section,omitempty"`
	Hit     bool   `json:"hit"`
	Code    string `json:"code"`
	Consent string `json:"consent,omitempty"` // "Consent/id/_history/version", or another record the rule rests on
	SHA256  string `json:"consentSha256,omitempty"`
}

// Obligation is what must travel with, or be done about, a permitted release.
type Obligation struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// The obligation codes a release must know; an unknown one denies.
const (
	ObligeNotice       = "part2-notice"  // attach the 2.32 statement
	ObligeScope        = "consent-scope" // attach the consent or an explanation of its scope
	ObligeLabels       = "persist-label" // keep the labels
	ObligeRedisclosure = "redisclosure"  // stamp the redisclosure rule (Detail)
	ObligeElements     = "elements-only" // nothing of the record but these elements (Detail, separated by commas)
	ObligeView         = "view-only"     // look, take no copy: no export
	ObligeBar          = "proceedings-bar"
	ObligeList         = "list-2.24"     // the intermediary (Detail) has to list the disclosure
	ObligeDocument     = "document-2.51" // written into the patient's record (Detail: the declaration)
)

// Decision is the answer with its reasons. It is what the audit log keeps and `explain` prints.
type Decision struct {
	Effect       Effect       `json:"effect"`
	Basis        string       `json:"basis,omitempty"`
	Code         string       `json:"code"` // the deciding reason's code
	Reasons      []Reason     `json:"reasons"`
	Consents     []string     `json:"consents,omitempty"`
	Obligations  []Obligation `json:"obligations,omitempty"`
	Organization string       `json:"organization"`
	Class        Class        `json:"class"`
	Purpose      string       `json:"purpose"`
	Capacity     Capacity     `json:"capacity,omitempty"`  // of a user
	Patient      string       `json:"patient,omitempty"`   // of a person: whose record they act in
	Person       string       `json:"person,omitempty"`    // of a proxy: whom consents may name
	Emergency    string       `json:"emergency,omitempty"` // declaration it rests on
	Policy       string       `json:"policy"`
	Labels       string       `json:"labels"`
	EvaluatedAt  time.Time    `json:"evaluatedAt"`
}
