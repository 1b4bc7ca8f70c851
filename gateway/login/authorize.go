package login

import (
	"net/http"
	"slices"

	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/auth/smart"
	"trellis/gateway/audit"
)

// authorize serves GET and POST /oauth/authorize (RFC 6749 section 3.1). A form posted by an app's site comes without our
// cookie, whoever is signed in: that flow is bound to the session by the GET it is sent on to.
func (v *visit) authorize() error {
	i, err := v.s.Authorizer.Begin(v.c.Request)
	if err != nil {
		return err
	}
	if !v.session.known() && v.c.Request.Method == http.MethodGet {
		if err := v.renew(session{}); err != nil {
			return err
		}
	}
	v.interaction = i
	if err := v.begin(flow{Locales: i.Locales}, i.Request); err != nil {
		return err
	}
	if v.flow.Root == "" {
		v.toStep(pathStart)
		return nil
	}
	return v.proceed()
}

// start binds a flow to the session of the browser that first comes with it.
func (v *visit) start() error {
	name := v.c.Query(fieldFlow)
	var f flow
	ok, err := v.s.read(v.ctx, ticketFlow, digest(name), v.now, &f)
	if err != nil {
		return err
	}
	if !ok || f.Root != "" {
		return errForeign()
	}
	if !v.session.known() {
		if err := v.renew(session{}); err != nil {
			return err
		}
	}
	f.name, f.Root = name, v.session.Root
	v.flow = f
	if err := v.s.putFlow(v.ctx, f); err != nil {
		return err
	}
	if err := v.resume(); err != nil {
		return err
	}
	return v.proceed()
}

// silently answers prompt=none: what was agreed to before stands, anything else needs a page and is refused.
func (v *visit) silently(path string) error {
	switch path {
	case pathConsent:
		if !v.interaction.Silent() {
			return v.refuse("consent_required")
		}
		granted, err := v.agreedBefore()
		if err != nil {
			return err
		}
		if !granted.Empty() {
			return v.approve(granted, "silent")
		}
		return v.refuse("consent_required")
	case pathCapacity, pathPatient:
		return v.refuse("interaction_required")
	}
	return v.refuse("login_required")
}

// agreedBefore is what is asked for if an authorization of the same app for the same record covers all of it.
func (v *visit) agreedBefore() (smart.Set, error) {
	way, _ := v.way()
	patient := v.patientOf(way)
	list, err := v.s.Grants.Authorizations(v.ctx, v.user.ID)
	if err != nil {
		return smart.Set{}, err
	}
	asked := v.interaction.Scopes
	for _, a := range list {
		same := a.ClientID == v.interaction.Client.ID && a.Context.Capacity == string(way.Capacity) && a.Context.Patient == patient && a.Context.Organization == way.Organization
		if !same {
			continue
		}
		have, err := smart.Parse(joined(a.Scopes))
		if err == nil && have.ContainsAll(asked) {
			return asked, nil
		}
	}
	return smart.Set{}, nil
}

// refuse ends the flow: the app hears why.
func (v *visit) refuse(code string) error {
	if err := v.answer(); err != nil {
		return err
	}
	if err := v.recordAnswer("refused", nil, "", code); err != nil {
		return err
	}
	location, err := v.s.Authorizer.Refuse(v.ctx, v.interaction, code)
	if err != nil {
		return err
	}
	v.to(location)
	return nil
}

// approve lets the app have what was granted and sends the browser back to it.
func (v *visit) approve(granted smart.Set, outcome string) error {
	way, _ := v.way()
	patient := v.patientOf(way)
	if !v.needsPatient(way) {
		patient = ""
	}
	if err := v.answer(); err != nil {
		return err
	}
	if err := v.recordAnswer(outcome, &way, patient, granted.String()); err != nil {
		return err
	}
	location, err := v.s.Authorizer.Approve(v.ctx, v.interaction, oauth.Approval{
		Context: v.context(way, patient, granted), Purpose: purpose(way.Capacity, v.interaction.Client), Scopes: granted,
	})
	if err != nil {
		return err
	}
	v.to(location)
	return nil
}

// context is who the app's tokens will act for.
func (v *visit) context(way people.Acting, patient string, granted smart.Set) oauth.Context {
	c := oauth.Context{User: v.user.ID, Name: v.user.Name, FHIRUser: way.FHIRUser, Capacity: string(way.Capacity),
		Organization: way.Organization, Patient: patient, AuthTime: v.session.At}
	if slices.Contains(v.user.Patients, patient) && way.FHIRUser == "" && way.Organization == "" && way.Patient == "" {
		c.FHIRUser = "Patient/" + patient
	}
	if granted.Context(keyOnline) {
		c.Session = v.session.Root
	}
	return c
}

// recordAnswer is the event of an answer to an app.
func (v *visit) recordAnswer(outcome string, way *people.Acting, patient, detail string) error {
	ev := audit.Event{Kind: audit.AppGrant, Interaction: "authorize", Client: v.interaction.Client.ID, User: v.user.ID, Outcome: outcome}
	if way == nil {
		ev.Detail = map[string]string{"code": detail}
		return v.record(ev)
	}
	ev.Organization, ev.Purpose = way.Organization, purpose(way.Capacity, v.interaction.Client)
	ev.Detail = map[string]string{"scopes": detail, "capacity": string(way.Capacity)}
	if patient != "" {
		ev.Patient = "Patient/" + patient
	}
	return v.record(ev)
}
