package access

import (
	"slices"
	"time"

	"trellis/auth/consent"
)

// Terms is what every decision of a deployment rests on besides a patient's own facts: agreements between organisations, and
// which rules counsel switched.
type Terms struct {
	Agreements []Agreement
	Rules      Switches
}

// AgreementKind is what two organisations agreed on.
type AgreementKind string

// The kinds, spelled as the codes of our agreement CodeSystem.
const (
	BAA           AgreementKind = "baa"           // business associate agreement (164.504(e))
	QSOA          AgreementKind = "qsoa"          // qualified service organization agreement (2.11)
	Contract      AgreementKind = "contract"      // of a lawful holder with a contractor (2.33(c))
	Participation AgreementKind = "participation" // in an intermediary's exchange (2.11)
	Control       AgreementKind = "control"       // direct administrative control over a program (2.12(c)(3))
	Audit         AgreementKind = "audit"         // audit and evaluation (2.53)
	Research      AgreementKind = "research"      // research (2.52)
)

// KnownAgreement reports whether k is declared above.
func KnownAgreement(k AgreementKind) bool {
	return slices.Contains([]AgreementKind{BAA, QSOA, Contract, Participation, Control, Audit, Research}, k)
}

// Agreement is a recorded agreement. It counts when the organisation whose records it is about recorded it, or the operator.
type Agreement struct {
	Kind     AgreementKind
	Of       string    // organisation whose records it is about; of a participation, the intermediary
	With     string    // the other party
	From, To time.Time // From <= t < To; zero To is open
	Purposes []string  // what it is for, v3-ActReason codes; of a participation none
	Copies   bool      // of an audit: copies may be taken (2.53(b))
	Source   string    // the resource that records it, "OrganizationAffiliation/id/_history/version"
}

func (a Agreement) inForce(now time.Time) bool {
	return !now.Before(a.From) && (a.To.IsZero() || now.Before(a.To))
}

// agreement finds one of a kind in force between two organisations that is for the purpose; "" asks for any.
func (t Terms) agreement(kind AgreementKind, of, with, purpose string, now time.Time) (Agreement, bool) {
	for _, a := range t.Agreements {
		if a.Kind == kind && a.Of == of && a.With == with && a.inForce(now) && (purpose == "" || slices.Contains(a.Purposes, purpose)) {
			return a, true
		}
	}
	return Agreement{}, false
}

// Copies reports whether an auditor may take copies from anybody.
func (t Terms) Copies(auditor string, now time.Time) bool {
	return slices.ContainsFunc(t.Agreements, func(a Agreement) bool {
		return a.Kind == Audit && a.With == auditor && a.Copies && a.inForce(now)
	})
}

// AgreementPurpose reports whether an agreement can be for a purpose: care, its payment and operations, research, reports to public
// health. Proceedings, marketing and emergencies have rules of their own, whatever two organisations agree on.
func AgreementPurpose(code string) bool {
	for _, list := range [][]string{consent.TreatmentPurposes(), consent.PaymentPurposes(), consent.OperationsPurposes(), {"HRESCH", "PUBHLTH"}} {
		if slices.Contains(list, code) {
			return true
		}
	}
	return false
}

// With is what of the terms an organisation's decisions can rest on.
func (t Terms) With(organization string) Terms {
	out := Terms{Rules: t.Rules}
	for _, a := range t.Agreements {
		if a.With == organization {
			out.Agreements = append(out.Agreements, a)
		}
	}
	return out
}

// participates lists the intermediaries an organisation takes part in.
func (t Terms) participates(organization string, now time.Time) []string {
	var out []string
	for _, a := range t.Agreements {
		if a.Kind == Participation && a.With == organization && a.inForce(now) {
			out = append(out, a.Of)
		}
	}
	return out
}

// Emergency is a declared medical emergency (2.51): the facts were written down, for one patient, until an instant. It is
// comparable, as a Principal has to be.
type Emergency struct {
	ID          string // of the declaration
	Patient     string // Patient id
	From, Until int64  // microseconds UTC, From <= t < Until
}

// EmergencyPurposes lists the purposes of use that need a declared emergency. A permit for treatment does not reach them.
func EmergencyPurposes() []string { return []string{"BTG", "ETREAT", "ERTREAT"} }

// MaxEmergency is how long a declared emergency may last.
const MaxEmergency = time.Hour

// Medical reports whether the organisation's people are medical personnel in the sense of 2.51: a provider's.
func (o Organization) Medical() bool {
	return o.Class == CoveredEntity && !o.Payer || o.Class == Part2ProgramCE || o.Class == Part2ProgramNonHIPAA
}
