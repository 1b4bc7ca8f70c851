package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

// opBreakGlass names the operation: all a token for an emergency opens before one is declared.
const opBreakGlass = "$break-glass"

// inEmergency fills in the emergency a principal declared, where its purpose needs one.
func (s *Server) inEmergency(ctx context.Context, p *access.Principal) error {
	if !slices.Contains(access.EmergencyPurposes(), p.Purpose) {
		return nil
	}
	e, ok, err := s.Store.LastEmergency(ctx, p.Client, p.User, p.Organization.ID)
	if ok {
		p.Emergency = e.Access()
	}
	return err
}

// over reports whether an emergency that still opens records to a caller has ended.
func (s *Server) over(ctx context.Context, c caller) (bool, error) {
	if c.principal.Emergency == (access.Emergency{}) || len(c.reading.Whole) == 0 {
		return false, nil
	}
	now, err := s.Store.Now(ctx)
	return now.UnixMicro() >= c.principal.Emergency.Until, err
}

// breakGlass serves POST [base]/Patient/[id]/$break-glass, an operation of this server: it writes down what 42 CFR 2.51(c)
// asks for and opens one patient's records to medical personnel for an hour at most. The answer does not tell whether the patient
// is known.
//
//	recipientName      who gets the records: medical personnel
//	recipientFacility  the facility they belong to
//	discloserName      who discloses
//	nature             of the emergency
//	minutes            how long, 1 to 60; 60 when absent
func (k *call) breakGlass() error {
	p := k.caller.principal
	if !slices.Contains(access.EmergencyPurposes(), p.Purpose) {
		return forbidden()
	}
	medical, err := k.medical()
	if err != nil {
		return err
	}
	if !medical {
		return forbidden()
	}
	e, err := k.declared()
	if err != nil {
		return err
	}
	err = k.s.Store.Declare(k.ctx, e,
		func(custodians []string) ([]store.Change, error) { return k.documents(e, custodians) },
		func(w []store.Written) (store.Commit, error) {
			declared := audit.Event{Kind: audit.Emergency, At: e.Declared, Client: p.Client, Organization: p.Organization.ID, User: p.User, Capacity: string(p.Capacity), Purpose: p.Purpose,
				Patient: "Patient/" + e.Patient, Interaction: opBreakGlass, Request: k.req.RequestID, Token: k.req.TokenID, Outcome: "declared",
				Detail: map[string]string{"emergency": e.ID, "until": e.Until.Format(time.RFC3339), "recipient": e.Recipient, "affiliation": e.Affiliation, "discloser": e.Discloser, "nature": e.Nature}}
			leaf, err := audit.NewLeaf(append([]audit.Event{declared}, intake.WriteEvents(p, opBreakGlass, k.req.RequestID, k.req.TokenID, w)...)...)
			return store.Commit{Leaves: []audit.Leaf{leaf}}, err
		})
	if err != nil {
		return err
	}
	k.s.principals.forget()
	k.s.Logger.WarnContext(k.ctx, "emergency declared: review it", "request", k.req.RequestID, "client", p.Client, "code", e.ID)
	body := fmt.Appendf(nil, `{"resourceType":"Parameters","parameter":[{"name":"emergency","valueId":%q},{"name":"until","valueInstant":%q}]}`, e.ID, e.Until.Format(fhir.InstantLayout))
	k.s.send(k.c, http.StatusCreated, fhir.ContentType+"; charset=utf-8", body)
	return nil
}

// medical reports whether who asks is medical personnel: a client registered for the purpose by a provider, or a practitioner
// of one. A peer worker is not.
func (k *call) medical() (bool, error) {
	p := k.caller.principal
	if !p.Organization.Medical() || p.Personal() {
		return false, nil
	}
	if p.User == "" {
		return true, nil
	}
	user, err := k.s.Store.User(k.ctx, p.User)
	if err != nil {
		return false, err
	}
	for _, position := range user.Positions {
		if position.Organization == p.Organization.ID && position.Kind == "practitioner" {
			return true, nil
		}
	}
	return false, nil
}

// maxFact bounds each of the facts written down.
const maxFact = 500

// declared reads the facts.
func (k *call) declared() (store.Emergency, error) {
	in, err := k.inputs("recipientName", "recipientFacility", "discloserName", "nature", "minutes")
	if err != nil {
		return store.Emergency{}, err
	}
	minutes, err := in.number("minutes", int(access.MaxEmergency.Minutes()), 1)
	if err != nil {
		return store.Emergency{}, err
	}
	if minutes > int(access.MaxEmergency.Minutes()) {
		return store.Emergency{}, badInput("minutes", "must be 60 or less")
	}
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return store.Emergency{}, err
	}
	p := k.caller.principal
	e := store.Emergency{ID: uuid.NewString(), Client: p.Client, User: p.User, Organization: p.Organization.ID, Patient: k.c.Param("id"), Declared: now, Until: now.Add(time.Duration(minutes) * time.Minute)}
	if !fhir.ValidID(e.Patient) {
		return e, fhir.NewProblem(fhir.Invalid, "value", "the patient's id is not well formed")
	}
	for _, fact := range []struct {
		name string
		to   *string
	}{{"recipientName", &e.Recipient}, {"recipientFacility", &e.Affiliation}, {"discloserName", &e.Discloser}, {"nature", &e.Nature}} {
		text, err := in.text(fact.name)
		if err != nil {
			return e, err
		}
		if *fact.to = strings.TrimSpace(text); *fact.to == "" || len(text) > maxFact {
			return e, fhir.NewProblem(fhir.Unprocessable, "required", "42 CFR 2.51(c) has to be written down before records are opened: "+fact.name+" is missing or too long")
		}
	}
	return e, nil
}

// documents are the entries of 2.51(c) in the records of the patient, each custodian's own.
func (k *call) documents(e store.Emergency, custodians []string) ([]store.Change, error) {
	var out []store.Change
	for _, id := range custodians {
		org, err := k.s.Store.Organization(k.ctx, id)
		if err != nil {
			return nil, err
		}
		text := "Records were opened in a medical emergency (42 CFR 2.51). Disclosed to: " + e.Recipient + ", " + e.Affiliation + ". By: " + e.Discloser + ". At: " + e.Declared.Format(time.RFC3339) + ". Nature of the emergency: " + e.Nature + "."
		doc, err := json.Marshal(map[string]any{"resourceType": "Communication", "status": "completed",
			"category":   []any{map[string]any{"coding": []any{map[string]any{"system": fhir.LocalBase + "/CodeSystem/communication-category", "code": "emergency-disclosure"}}}},
			"identifier": []any{map[string]any{"system": fhir.LocalBase + "/emergency", "value": e.ID}},
			"subject":    map[string]any{"reference": "Patient/" + e.Patient}, "sent": e.Declared.Format(time.RFC3339),
			"recipient": []any{map[string]any{"reference": "Organization/" + e.Organization}}, "payload": []any{map[string]any{"contentString": text}}})
		if err != nil {
			return nil, err
		}
		res, err := k.s.Parser.Parse(doc)
		if err != nil {
			return nil, err
		}
		verdict := k.s.Labels.Examine(res, org.Source(), nil)
		out = append(out, store.Change{Method: store.Create, Type: res.Type, ID: uuid.NewString(), Resource: res, Owner: id, Fresh: true, Segment: verdict.Segment, Verdict: &verdict})
	}
	return out, nil
}

// opened is G1 for emergencies and audits: a token for an emergency opens nothing before it is declared, and nothing in bulk; and
// who may look on the premises alone (2.53(a)) takes nothing away.
func (k *call) opened(r route) error {
	p := k.caller.principal
	if p.Organization.Class == access.Auditor && inBulk(r) {
		terms, err := k.s.Store.Terms(k.ctx)
		if err != nil {
			return err
		}
		now, err := k.s.Store.Now(k.ctx)
		if err != nil {
			return err
		}
		if !terms.Copies(p.Organization.ID, now) {
			return forbidden()
		}
	}
	if !slices.Contains(access.EmergencyPurposes(), p.Purpose) || r.interaction == opBreakGlass {
		return nil
	}
	if p.Emergency == (access.Emergency{}) || inBulk(r) || !strings.HasPrefix(r.path, "/fhir") {
		return forbidden()
	}
	return nil
}

// inBulk reports whether a route is one of bulk exports.
func inBulk(r route) bool {
	return strings.HasPrefix(r.path, "/bulk") || strings.HasSuffix(r.path, "$export")
}
