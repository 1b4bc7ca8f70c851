// Package consent holds what a patient agreed to: an internal model read from R4 Consent
// resources, the validity check against the elements of 42 CFR 2.31, and evaluation at a point in time.
//
// It does not know segments' storage, requests or SQL, and it never decides a request: auth/access
// does, and asks Evaluate. A consent that cannot be read fails closed for the whole decision.
package consent

import (
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
	KindRestriction     Kind = "restriction"            // the patient's own refusal; needs no 2.31 form
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
	Statements  map[string]bool // redisclosure, refusal, revocation, fundraising
	Expires     bool            // an end or an expiry event is stated
	From, To    time.Time       // in force: From <= t < To; zero To is open
	Revoked     time.Time       // when a revocation took effect; zero when none
	Root        Provision
}

// Provision is one rule; empty fields match anything.
type Provision struct {
	Permit        bool
	Actors        []string // Organization ids
	Classes       []RecipientClass
	Purposes      []string
	Actions       []string
	Types         []string // resource types
	Labels        []fhir.Coding
	Period        *Period // data period
	Inexpressible bool    // has conditions this model cannot hold: a permit never matches
	Unread        Unread
	Nested        []Provision
}

// Unread marks the fields of a provision that could not be read whole. In a deny such a field matches
// anything: what it says may be just this.
type Unread struct{ Actors, Types, Purposes, Actions bool }

// Period is a half-open span in microseconds UTC.
type Period struct{ Lo, Hi int64 }

// Extension and code system URLs of our Consent profile (consent elements R4 has no field for).
const (
	SystemKind         = fhir.LocalBase + "/CodeSystem/consent-kind"
	ExtRecipientClass  = fhir.LocalBase + "/StructureDefinition/consent-recipient-class"
	ExtStatement       = fhir.LocalBase + "/StructureDefinition/consent-statement"
	ExtDescription     = fhir.LocalBase + "/StructureDefinition/consent-description"
	ExtExpirationEvent = fhir.LocalBase + "/StructureDefinition/consent-expiration-event"
	ExtRevocation      = fhir.LocalBase + "/StructureDefinition/consent-revocation"
)
