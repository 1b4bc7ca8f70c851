package login

import (
	"net/http"
	"slices"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/auth/smart"
)

// next is the page a flow is at: the one place that says so. It looks at what is settled, and settles nothing.
func (v *visit) next() (string, error) {
	if path := v.signInStep(); path != "" {
		return path, nil
	}
	if v.flow.Goal != "" {
		return v.flow.Goal, nil
	}
	if l := v.interaction.Launch; l != nil && l.User != "" && l.User != v.user.ID {
		return "", refusal(http.StatusForbidden, "launch")
	}
	way, ok := v.way()
	if !ok {
		return pathCapacity, nil
	}
	if v.needsPatient(way) && v.patientOf(way) == "" {
		return pathPatient, nil
	}
	return pathConsent, nil
}

// proceed sends the browser to the page the flow is at. An app that wants no page shown gets an answer instead.
func (v *visit) proceed() error {
	path, err := v.next()
	if err != nil {
		return err
	}
	switch {
	case isGoal(path):
		v.to(path)
	case v.interaction != nil && v.interaction.Prompt == "none":
		return v.silently(path)
	default:
		v.toStep(path)
	}
	return nil
}

// at sends the browser on when the flow is not at this page, or has not come past it.
func (v *visit) at(path string) error {
	here, err := v.next()
	if err != nil {
		return err
	}
	if here == path || (slices.Contains(v.revisitable(here), path)) {
		return nil
	}
	if err := v.proceed(); err != nil {
		return err
	}
	return errElsewhere
}

// revisitable are the pages somebody may go back to in order to choose otherwise.
func (v *visit) revisitable(here string) []string {
	switch here {
	case pathConsent:
		return []string{pathCapacity, pathPatient}
	case pathPatient:
		return []string{pathCapacity}
	}
	return nil
}

// signInStep is what is left of signing in, "" when nothing is.
func (v *visit) signInStep() string {
	switch {
	case v.user.ID != "" && v.fresh():
		return ""
	case v.pending.ID != "" && v.pending.TOTP == "":
		return pathEnroll
	case v.pending.ID != "":
		return pathFactor
	}
	return pathLogin
}

// fresh reports whether somebody signed in lately enough for the app
// (https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest: prompt, max_age).
func (v *visit) fresh() bool {
	i := v.interaction
	switch {
	case i == nil, !v.session.At.Before(v.flow.Begun):
		return true
	case i.Prompt == "login", i.Prompt == "select_account":
		return false
	}
	return i.MaxAge < 0 || v.now.Sub(v.session.At) <= i.MaxAge
}

// ways are how the account can act towards the app. Being a patient is one way, whichever of the own records is chosen
// then. Where there would be nothing to give, there is no way.
func (v *visit) ways() []people.Acting {
	var out []people.Acting
	for _, a := range v.user.Actings(v.now) {
		if l := v.interaction.Launch; l != nil && (l.Patient != "" && a.Capacity != access.Staff && a.Patient != l.Patient ||
			l.Organization != "" && a.Organization != l.Organization) {
			continue
		}
		if a.Capacity == access.Self {
			a.Patient, a.FHIRUser = "", ""
		}
		if purpose(a.Capacity, v.interaction.Client) == "" {
			continue
		}
		if o := v.offerTo(a); !slices.Contains(out, a) && (len(o.sections) > 0 || o.identity) {
			out = append(out, a)
		}
	}
	return out
}

// offerTo is what somebody who acts so can let the app have. Only staff write.
func (v *visit) offerTo(a people.Acting) offer {
	return offered(v.interaction.Scopes, a.Capacity == access.Staff)
}

// way is how the account acts: as chosen, as long as that stands, or the only way there is.
func (v *visit) way() (people.Acting, bool) {
	ways := v.ways()
	if v.flow.Acting != nil && slices.Contains(ways, *v.flow.Acting) {
		return *v.flow.Acting, true
	}
	if len(ways) == 1 {
		return ways[0], true
	}
	return people.Acting{}, false
}

// needsPatient reports whether the app's launch has a patient in it.
func (v *visit) needsPatient(way people.Acting) bool {
	l := v.interaction.Launch
	if way.Capacity != access.Staff || v.interaction.Scopes.Context("launch/patient") || (l != nil && l.Patient != "") {
		return true
	}
	return slices.ContainsFunc(v.interaction.Scopes.Resources(), func(s smart.Scope) bool { return s.Level == smart.Patient })
}

// patientOf is the Patient id of the launch: the EHR's, the one acted for, the only one there is, or the chosen one.
func (v *visit) patientOf(way people.Acting) string {
	l := v.interaction.Launch
	switch {
	case l != nil && l.Patient != "":
		return l.Patient
	case way.Capacity == access.Proxy || way.Capacity == access.Representative:
		return way.Patient
	case way.Capacity == access.Self && len(v.user.Patients) == 1:
		return v.user.Patients[0]
	case way.Capacity == access.Self && !slices.Contains(v.user.Patients, v.flow.Patient):
		return ""
	}
	return v.flow.Patient
}

// purpose is what a token of the app is for: of treatment, payment and operations staff does what the app is registered for first, and
// treatment when it registered nothing. "" when there is nothing somebody who acts so may do with it.
func purpose(capacity access.Capacity, client oauth.Client) string {
	switch capacity {
	case access.Self, access.Representative:
		return "PATRQT"
	case access.Proxy:
		return "FAMRQT"
	case access.Staff:
		if slices.Contains(access.EmergencyPurposes(), client.DefaultPurpose) { // an app for that: it opens nothing before one is declared
			return client.DefaultPurpose
		}
		work := slices.Concat(consent.TreatmentPurposes(), consent.PaymentPurposes(), consent.OperationsPurposes())
		for _, p := range append([]string{client.DefaultPurpose}, client.Purposes...) {
			if slices.Contains(work, p) {
				return p
			}
		}
		if len(client.Purposes) == 0 && client.DefaultPurpose == "" {
			return "TREAT"
		}
	}
	return ""
}

// pagesClient is who the log has for a look these pages took: the app got nothing.
const pagesClient = "account-pages"

// principal is who asks for a record while the app is not yet let in: the person, in the way they act.
func (v *visit) principal(way people.Acting, patient string, client oauth.Client) (access.Principal, error) {
	p := access.Principal{Client: pagesClient, Purpose: purpose(way.Capacity, client), User: v.user.ID, Capacity: way.Capacity, Patient: patient}
	if way.Capacity == access.Proxy {
		p.Person = way.FHIRUser
	}
	if way.Capacity != access.Staff {
		return p, nil
	}
	p.Patient = ""
	var err error
	p.Organization, err = v.s.Directory.Organization(v.ctx, way.Organization)
	return p, err
}

// named is a record by its id as who acts so may see it; ok is false when they may not.
func (v *visit) named(way people.Acting, id string, client oauth.Client) (p Patient, ok bool, err error) {
	who, err := v.principal(way, id, client)
	if err != nil {
		return p, false, err
	}
	list, err := v.s.Records.Named(v.ctx, who, v.request(), id)
	if err != nil || len(list) != 1 {
		return p, false, err
	}
	return list[0], true, nil
}
