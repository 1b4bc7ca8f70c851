// Package consent holds what a patient agreed to: an internal model read from R4 Consent
// resources, the validity check against the elements of 42 CFR 2.31, and evaluation at a point in time.
//
// It does not know segments' storage, requests or SQL, and it never decides a request: auth/access
// does, and asks Evaluate. A consent that cannot be read fails closed for the whole decision.
package consent

import (
	"iter"
	"time"

	"trellis/fhir"
)

// Kind is the legal kind of an instrument. Kinds are never merged (2.31(b), (d)).
type Kind string

// The kinds, spelled as the codes of our consent-kind CodeSystem.
const (
	KindTPO             Kind = "part2-tpo"              // all future treatment, payment, operations
	KindSpecific        Kind = "part2-specific"         // named recipient and purpose
	KindCounselingNotes Kind = "part2-counseling-notes" // counselling notes alone
	KindProceedings     Kind = "part2-proceedings"      // civil, criminal, administrative, legislative proceedings alone
	KindHIPAA           Kind = "hipaa-auth"             // 45 CFR 164.508
	KindRestriction     Kind = "restriction"            // the patient's own refusal (2.26); needs no 2.31 form
	KindSelfPay         Kind = "hipaa-self-pay"         // care paid for in full: nothing to the health plan (164.522(a)(1)(vi))
	KindOrder           Kind = "court-order"            // not the patient's: an order under 2.61 to 2.67, kept in the same form
)

// RecipientClass is a class of recipients a consent may designate instead of naming them (2.31(a)(4)).
type RecipientClass string

// The classes TPO consents designate.
const (
	ClassTreatingProviders RecipientClass = "treating-providers"
	ClassHealthPlans       RecipientClass = "health-plans"
	ClassOperations        RecipientClass = "program-operations" // people helping to operate the program
)

// Consent is one version of one instrument.
type Consent struct {
	ID       string
	Version  int
	SHA256   string // of the stored bytes, hex
	Recorded time.Time
	Broken   bool // could not be read: everything it might concern is denied

	// Recorder is the organisation that recorded the instrument. It speaks for that organisation's
	// records alone: nobody can consent in another's name to receive from it. Everywhere is set for
	// instruments the operator recorded, which speak for all.
	Recorder   string
	Everywhere bool

	Kind        Kind
	Status      string // FHIR consent-state
	Patient     fhir.Reference
	Signed      time.Time // dateTime
	Disclosers  []string  // Organization ids
	Description string
	Signature   bool
	Source      Source            // the signed artefact
	Statements  map[string]bool   // redisclosure, refusal, revocation, fundraising: stated in words
	Texts       map[string]string // the words
	Event       string            // the expiry event or condition, in words
	Expires     bool              // an end or an expiry event is stated
	End         time.Time         // of the stated period, exclusive; zero when none is stated
	From, To    time.Time         // in force: From <= t < To; zero To is open
	Revoked     time.Time         // when a revocation took effect; zero when none
	Ended       time.Time         // when the stated expiry event was recorded to have happened; zero when not
	Signers     []Signer          // who signed, where that is written down
	Supersedes  []string          // ids of the Consents this instrument takes the place of
	Order       Order             // of a court order
	Root        Provision

	checked bool // by Read: lacks is what Validate found
	lacks   []Element
}

// missing is Validate's answer, kept where Read made the instrument: it is asked with every decision.
func (c *Consent) missing() []Element {
	if c.checked {
		return c.lacks
	}
	return c.Validate()
}

// Source is the signed artefact an instrument rests on, as far as forms carry it.
type Source struct {
	Reference   string // "Type/id", where it is a resource
	Attached    bool   // it stands in the instrument
	Title       string // of an attachment
	ContentType string
	SHA256      string // of its bytes, hex, where it was filed here
}

// Signer is somebody who signed, and as what: "patient", "parent", "guardian", "personal-representative". Authority is
// where that is written down (2.14, 2.15).
type Signer struct{ Capacity, Authority string }

// Order is what subpart E asks of a court order.
type Order struct {
	Section       string // "2.64", "2.65", "2.66" or "2.67"
	Court, Docket string
	Findings      bool   // the court made the findings its section asks for
	Subpoena      string // what compels the disclosure: an order alone only allows it (2.61)
	Notes         bool   // the court applied the test of 2.63: confidential communications may be disclosed
}

// Provision is one rule; empty fields match anything.
type Provision struct {
	Permit        bool
	Actors        []string // Organization ids
	Persons       []string // "RelatedPerson/id": who acts for the patient
	Classes       []RecipientClass
	Through       []Intermediary
	Purposes      []string
	Actions       []string
	Types         []string // resource types
	Labels        []fhir.Coding
	Codes         []fhir.Coding // what a record says anywhere in it
	Data          []Data        // which records
	Period        *Period       // data period
	InForce       *Period       // when the rule itself holds; the root's is the instrument's
	Elements      []string      // of a court order: all that may be told of a record
	Inexpressible bool          // has conditions this model cannot hold: a permit never matches
	Unread        Unread
	Nested        []Provision
}

// Provisions yields every rule of the instruments, each before those nested in it.
func Provisions(consents []Consent) iter.Seq[*Provision] {
	return func(yield func(*Provision) bool) {
		for i := range consents {
			if !consents[i].Root.each(yield) {
				return
			}
		}
	}
}

func (p *Provision) each(yield func(*Provision) bool) bool {
	if !yield(p) {
		return false
	}
	for i := range p.Nested {
		if !p.Nested[i].each(yield) {
			return false
		}
	}
	return true
}

// Unread marks the fields of a provision that could not be read whole. In a deny such a field matches
// anything: what it says may be just this.
type Unread struct{ Actors, Types, Purposes, Actions, Labels, Codes, Data bool }

// Intermediary is a recipient that passes on to its participants (2.31(a)(4)(ii)): those named, or all that treat the
// patient. It receives nothing for itself.
type Intermediary struct {
	Organization string
	Named        []string // Organization ids
	Treating     bool     // every participant with a treating relationship
}

// Data names records: Meaning is R4's consent-data-meaning, "instance", "dependents" or "authoredby". "related" cannot be
// held: what a record refers to does not know it.
type Data struct {
	Meaning   string
	Reference string // "Type/id"
}

// Period is a half-open span in microseconds UTC.
type Period struct{ Lo, Hi int64 }

// Extension and code system URLs of our Consent profile (consent elements R4 has no field for).
const (
	SystemKind         = fhir.LocalBase + "/CodeSystem/consent-kind"
	ExtRecipientClass  = fhir.LocalBase + "/StructureDefinition/consent-recipient-class"
	ExtStatement       = fhir.LocalBase + "/StructureDefinition/consent-statement"
	ExtDescription     = fhir.LocalBase + "/StructureDefinition/consent-description"
	ExtExpirationEvent = fhir.LocalBase + "/StructureDefinition/consent-expiration-event"
	ExtExpired         = fhir.LocalBase + "/StructureDefinition/consent-expired"
	ExtRevocation      = fhir.LocalBase + "/StructureDefinition/consent-revocation"
	ExtIntermediary    = fhir.LocalBase + "/StructureDefinition/consent-intermediary"
	ExtSigner          = fhir.LocalBase + "/StructureDefinition/consent-signer"
	ExtSupersedes      = fhir.LocalBase + "/StructureDefinition/consent-supersedes"
	ExtOrder           = fhir.LocalBase + "/StructureDefinition/consent-court-order"
	ExtElement         = fhir.LocalBase + "/StructureDefinition/consent-element"
	ExtDiscloser       = fhir.LocalBase + "/StructureDefinition/consent-discloser"
	ExtDocument        = fhir.LocalBase + "/StructureDefinition/consent-document"
)
