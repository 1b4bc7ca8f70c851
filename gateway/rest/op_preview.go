package rest

import (
	"net/http"
	"strconv"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/preview"
)

// preview serves POST Consent/$preview, an operation of this server: what a Consent would change if the caller recorded it. It
// tells of the caller's own records alone, and stores nothing. Looking is logged.
//
//	consent  a Consent
func (k *call) preview() error {
	in, err := k.inputs("consent")
	if err != nil {
		return err
	}
	p := k.caller.principal
	// Counts are of all records of the patient: who is confined to some of them is not told.
	if p.Organization.ID == "" || p.Personal() || k.caller.reading.Limits != nil {
		return forbidden()
	}
	if err := k.allow("*", smart.Read); err != nil {
		return err
	}
	read, _, err := k.offered(in)
	if err != nil {
		return err
	}
	found, err := preview.Of(k.ctx, k.s.Store, p.Organization, read)
	if err != nil {
		return err
	}
	body := previewed(found)
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return err
	}
	ev := audit.Event{Kind: audit.Explain, At: now, Client: p.Client, Organization: p.Organization.ID, User: p.User, Capacity: string(p.Capacity), Purpose: p.Purpose, Patient: read.Patient.String(),
		Interaction: "$preview", Request: k.req.RequestID, Token: k.req.TokenID, Outcome: "previewed", Released: audit.Digest(body), ReleasedBytes: int64(len(body))}
	if err := k.s.Gate.Decided(k.ctx, []audit.Event{ev}); err != nil {
		return err
	}
	k.s.send(k.c, http.StatusOK, fhir.ContentType+"; charset=utf-8", body)
	return nil
}

// previewed is a preview as Parameters: every line in words, and every count.
func previewed(p preview.Preview) []byte {
	var out results
	for _, line := range p.Text() {
		out.text("text", "valueString", line)
	}
	for _, c := range p.Changes {
		var change results
		change.text("organization", "valueString", c.Organization)
		change.text("purpose", "valueCode", c.Purpose)
		change.counts("gains", c.Gains)
		change.counts("loses", c.Loses)
		out.part("change", change)
	}
	out.findings(p.Missing, p.Conflicts)
	return out.body()
}

func (r *results) counts(name string, list []preview.Count) {
	for _, n := range list {
		var part results
		part.text("type", "valueCode", n.Type)
		for _, l := range n.Labels {
			part.text("label", "valueCode", l)
		}
		part.add("count", "valueInteger", []byte(strconv.Itoa(n.Count)))
		r.part(name, part)
	}
}
