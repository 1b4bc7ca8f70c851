// Package people is who may sign in: accounts, what they are to patients and organisations, and how they prove who they
// are (passwords, second factors).
//
// It keeps nothing and shows nothing: accounts are stored by gateway/store, pages are gateway/login. It decides about no
// record; what an account may act as (Acting) is what a token carries and auth/access decides on.
//
// Entered through User and its methods.
package people

import (
	"time"

	"trellis/auth/access"
)

// Role is what an account may do beside signing in.
type Role string

// The roles. Patients and proxies are so by their links; staff by their positions.
const (
	Auditor       Role = "auditor"
	Administrator Role = "administrator"
)

// User is an account. The zero User can do nothing.
type User struct {
	ID       string `json:"id"`
	Login    string `json:"login"` // what is typed, lower case
	Name     string `json:"name"`
	Language string `json:"language,omitempty"` // "en" or "es"; empty: the browser's
	Disabled bool   `json:"disabled,omitempty"`

	Password string `json:"password,omitempty"` // argon2id, PHC string format; empty: cannot sign in by password
	TOTP     string `json:"totp,omitempty"`     // base32 secret of the second factor; empty: none
	Upstream string `json:"upstream,omitempty"` // "issuer subject" at the OpenID provider
	Epoch    int    `json:"epoch,omitempty"`    // rises when every session has to end

	Patients  []string   `json:"patients,omitempty"` // ids of the user's own Patients: each organisation may keep one
	Proxies   []Proxy    `json:"proxies,omitempty"`
	Positions []Position `json:"positions,omitempty"`
	Roles     []Role     `json:"roles,omitempty"`
}

// Proxy is another person's record an account may act in, with the authority recorded for it.
type Proxy struct {
	Patient       string `json:"patient"`                 // Patient id
	RelatedPerson string `json:"relatedPerson,omitempty"` // RelatedPerson id: the fhirUser
	// Authority is how far it goes: access.Proxy, or access.Representative (personal representative, 42 CFR 2.15).
	Authority access.Capacity `json:"authority"`
	Document  string          `json:"document"` // where the authority is written down; required
	From      time.Time       `json:"from,omitzero"`
	To        time.Time       `json:"to,omitzero"`
}

// Position is a member of staff's place in an organisation.
type Position struct {
	Organization     string `json:"organization"`               // FHIR id
	Practitioner     string `json:"practitioner"`               // FHIR id: the fhirUser
	PractitionerRole string `json:"practitionerRole,omitempty"` // FHIR id
	Kind             string `json:"kind"`                       // "practitioner" or "peer-worker"
}

// Acting is one way an account can act: for itself as a patient, for somebody else, or as staff.
type Acting struct {
	Capacity     access.Capacity
	Patient      string // whose record, for patients and proxies
	Organization string // staff
	FHIRUser     string // "Patient/1"
}

// Actings lists the ways the account can act at an instant: as itself first, then as proxy, then as staff. A disabled
// account has none.
func (u User) Actings(now time.Time) []Acting {
	if u.Disabled {
		return nil
	}
	var out []Acting
	for _, id := range u.Patients {
		out = append(out, Acting{Capacity: access.Self, Patient: id, FHIRUser: "Patient/" + id})
	}
	for _, p := range u.Proxies {
		if p.stands(now) {
			a := Acting{Capacity: p.Authority, Patient: p.Patient, FHIRUser: "RelatedPerson/" + p.RelatedPerson}
			if p.RelatedPerson == "" {
				a.FHIRUser = ""
			}
			out = append(out, a)
		}
	}
	for _, p := range u.Positions {
		if p.Organization != "" && p.Practitioner != "" {
			out = append(out, Acting{Capacity: access.Staff, Organization: p.Organization, FHIRUser: "Practitioner/" + p.Practitioner})
		}
	}
	return out
}

// stands reports whether a proxy's authority is written down, known and in force.
func (p Proxy) stands(now time.Time) bool {
	return p.Patient != "" && p.Document != "" && (p.Authority == access.Proxy || p.Authority == access.Representative) &&
		!now.Before(p.From) && (p.To.IsZero() || now.Before(p.To))
}

// Staff reports whether the account is anybody's member of staff or has a role of the deployment: then it needs a second
// factor.
func (u User) Staff() bool { return len(u.Positions) > 0 || len(u.Roles) > 0 }
