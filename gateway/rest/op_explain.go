package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// explain serves GET [base]/[type]/[id]/$explain, an operation of this server for the record's custodian and the operator: why
// an organisation may have the record or not, with every rule that was asked. To all others the record is unknown.
//
//	as       Organization id of who would ask; the caller's own when absent
//	purpose  of use; the caller's own when absent
//	at       an instant: by what was recorded then
func (k *call) explain() error {
	in, err := k.inputs("as", "purpose", "at")
	if err != nil {
		return err
	}
	who, at, err := k.explained(in)
	if err != nil {
		return err
	}
	caller := k.caller.principal.Organization
	ref := fhir.Reference{Type: k.c.Param("type"), ID: k.c.Param("id")}
	var told func(access.Facts) access.Facts
	if caller.Class != access.OperatorClass { // what its token lets it see, and what it may be told of its patients
		seen, err := k.s.Store.Lookup(k.ctx, k.caller.reading, ref.Type, ref.ID, 0)
		if err != nil {
			return err
		}
		if !seen.Visible {
			return store.ErrNotFound
		}
		if told, err = k.told(caller.ID); err != nil {
			return err
		}
	}
	target, d, err := release.Explain(k.ctx, k.s.Store, who, ref, at, told)
	if err != nil {
		return err
	}
	if !target.Exists || caller.ID == "" || caller.Class != access.OperatorClass && k.s.Store.Segment(target.Row.Segment).Custodian != caller.ID {
		return store.ErrNotFound
	}
	decision, err := json.Marshal(d)
	if err != nil {
		return err
	}
	body, err := explanation(d)
	if err != nil {
		return err
	}
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return err
	}
	ev := audit.Event{Kind: audit.Explain, At: now, Client: who.Client, Organization: who.Organization.ID, User: k.caller.principal.User, Capacity: string(k.caller.principal.Capacity), Purpose: who.Purpose,
		Interaction: "$explain", Request: k.req.RequestID, Token: k.req.TokenID, Outcome: d.Effect.String(), Decision: decision,
		Resources: []audit.Resource{{Type: target.Row.Type, ID: target.Row.ID}}, Released: audit.Digest(body), ReleasedBytes: int64(len(body)), Detail: map[string]string{"for": caller.ID}}
	events := []audit.Event{ev}
	for i, p := range target.Subject.Patients {
		if i > 0 {
			events = append(events, ev)
		}
		events[i].Patient = "Patient/" + p.ID
	}
	if err := k.s.Gate.Decided(k.ctx, events); err != nil {
		return err
	}
	k.s.send(k.c, http.StatusOK, fhir.ContentType+"; charset=utf-8", body)
	return nil
}

// explained reads who would ask, and when.
func (k *call) explained(in inputs) (who access.Principal, at time.Time, err error) {
	who = access.Principal{Client: k.caller.principal.Client, Organization: k.caller.principal.Organization, Purpose: k.caller.principal.Purpose}
	as, err := in.text("as")
	if err != nil {
		return who, at, err
	}
	if as != "" {
		if who.Organization, err = k.s.Store.Organization(k.ctx, as); err != nil {
			return who, at, err
		}
		if who.Organization.ID == "" {
			return who, at, badInput("as", "is no registered organisation's id")
		}
	}
	purpose, err := in.text("purpose")
	if err != nil {
		return who, at, err
	}
	if purpose != "" {
		if who.Purpose = purpose; !consent.KnownPurpose(purpose) {
			return who, at, badInput("purpose", "is no purpose of use this server decides about")
		}
	}
	text, err := in.text("at")
	if err != nil || text == "" {
		return who, at, err
	}
	if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return who, at, badInput("at", "must be an instant as in 2026-03-01T12:00:00Z")
	}
	return who, at, nil
}

// explanation is a decision as a Parameters resource.
func explanation(d access.Decision) ([]byte, error) {
	type parameter map[string]any
	text := func(name, value string) []parameter {
		if value == "" {
			return nil
		}
		return []parameter{{"name": name, "valueString": value}}
	}
	list := append(text("effect", d.Effect.String()), text("code", d.Code)...)
	list = append(list, text("basis", d.Basis)...)
	for _, r := range d.Reasons {
		part := append(text("rule", r.Rule), text("section", r.Section)...)
		part = append(part, parameter{"name": "hit", "valueBoolean": r.Hit})
		part = append(part, text("code", r.Code)...)
		part = append(part, text("record", r.Consent)...)
		list = append(list, parameter{"name": "reason", "part": part})
	}
	for _, o := range d.Obligations {
		list = append(list, parameter{"name": "obligation", "part": append(text("code", o.Code), text("detail", o.Detail)...)})
	}
	list = append(list, text("organization", d.Organization)...)
	list = append(list, text("class", string(d.Class))...)
	list = append(list, text("purpose", d.Purpose)...)
	list = append(list, text("policy", d.Policy)...)
	list = append(list, text("labels", d.Labels)...)
	list = append(list, parameter{"name": "evaluatedAt", "valueInstant": d.EvaluatedAt.UTC().Format(fhir.InstantLayout)})
	return json.Marshal(map[string]any{"resourceType": "Parameters", "parameter": list})
}
