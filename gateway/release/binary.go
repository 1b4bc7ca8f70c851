package release

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Raw says, of a Binary that may be released, whether its own bytes are wanted. The log then names those.
type Raw func(contentType string) bool

// Binary releases a Binary that is the caller's own as Resource does, or else under the decisions of the records that
// vouch for it: every one of them must be permitted, with its own labels and with the Binary's. raw chooses between
// the bytes and the resource; held is as for ResourceUnless, and counts for the caller's own.
func (g *Gate) Binary(ctx context.Context, req Request, t store.Target, a store.Attachment, held func(int64, time.Time) bool, raw Raw) (*Released, error) {
	p, err := g.decide(ctx, req, t, a)
	if err != nil {
		return nil, err
	}
	if held != nil && t.Visible && steady(&p.row, p.decision, req.Filter) && held(p.row.Version, p.row.Updated) {
		return g.notModified(ctx, req, &p.row, p.subject, p.decision)
	}
	return g.binary(ctx, req, p, raw)
}

// permitted is a Binary's row with what its release rests on.
type permitted struct {
	row      store.Row
	subject  store.Subject
	decision access.Decision
	consents []consent.Consent
}

func (g *Gate) decide(ctx context.Context, req Request, t store.Target, a store.Attachment) (*permitted, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	own, consents := decideTarget(req.Principal, t, t.Subject, g.Records.Segment(t.Subject.Segment), now)
	if t.Visible {
		if own.Effect != access.Permit {
			return nil, g.deny(ctx, req, t, own, now)
		}
		if t.Row.Deleted {
			_, err := g.Resource(ctx, req, t)
			return nil, err
		}
		return &permitted{t.Row, t.Subject, own, consents}, nil
	}
	out := &permitted{row: a.Row}
	for _, v := range a.Vouching {
		d, consents := decideTarget(req.Principal, v, v.Subject, g.Records.Segment(v.Subject.Segment), now)
		as, _ := Decide(req.Principal, v.Subject, g.Records.Segment(a.Row.Segment), now)
		if !a.Exists || !v.Visible || d.Effect != access.Permit || as.Effect != access.Permit || len(v.Subject.Patients) == 0 {
			return nil, g.deny(ctx, req, t, outside(req, own), now)
		}
		out.join(v, d, as, consents)
		if g.Records.Segment(v.Row.Segment).Part2 && !g.Records.Segment(out.row.Segment).Part2 {
			out.row.Segment = v.Row.Segment // the statement hangs on this label
		}
	}
	return out, nil
}

// join adds a voucher's decisions: the one about itself, and the one about the Binary's labels in its place.
func (p *permitted) join(v store.Target, itself, labels access.Decision, consents []consent.Consent) {
	if p.decision.Code == "" {
		p.decision = itself
		p.decision.Consents, p.decision.Obligations = nil, nil
	}
	for _, d := range []access.Decision{itself, labels} {
		for _, c := range d.Consents {
			if !slices.Contains(p.decision.Consents, c) {
				p.decision.Consents = append(p.decision.Consents, c)
			}
		}
		for _, o := range d.Obligations {
			if !slices.Contains(p.decision.Obligations, o) {
				p.decision.Obligations = append(p.decision.Obligations, o)
			}
		}
	}
	for _, patient := range v.Subject.Patients {
		known := func(have store.PatientFacts) bool { return have.ID == patient.ID }
		if !slices.ContainsFunc(p.subject.Patients, known) {
			p.subject.Patients = append(p.subject.Patients, patient)
			p.consents = append(p.consents, patient.Facts.Consents...)
		}
	}
	if len(p.consents) == 0 {
		p.consents = consents
	}
}

// binary renders, logs and hands out.
func (g *Gate) binary(ctx context.Context, req Request, p *permitted, raw Raw) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	cuts, err := g.cuts(ctx, req.Filter, []store.Row{p.row})
	if err != nil {
		return nil, err
	}
	d := &decided{decision: p.decision}
	if d.carry, err = obligations(p.decision, p.consents); err != nil {
		return nil, err
	}
	d.labels[1] = security(g.Records.Segment(p.row.Segment), d.carry, true)
	body, err := g.render(nil, &p.row, d, cuts.from(g, req.Principal, p.subject, &p.row, now), req, true)
	if err != nil {
		return nil, err
	}
	notice := d.carry.notice
	r := &Released{body: body, version: p.row.Version, updated: p.row.Updated, notice: notice}
	root, err := fhir.ParseJSON(p.row.Doc)
	if err != nil {
		return nil, fmt.Errorf("release: a stored Binary cannot be read: %w", err)
	}
	if contentType := root.Get("contentType").Text(); len(d.carry.elements) == 0 && raw(contentType) {
		if r.body, err = base64.StdEncoding.AppendDecode(nil, []byte(root.Get("data").Text())); err != nil {
			return nil, fmt.Errorf("release: a stored Binary's data cannot be read")
		}
		r.contentType = contentType
	}
	ev := g.event(req, audit.Disclosure, now)
	ev.Outcome, ev.Released, ev.ReleasedBytes = "released", audit.Digest(r.body), int64(len(r.body))
	if notice {
		ev.NoticeVersion = access.NoticeVersion
	}
	if err := g.append(ctx, withSubject(ev, p.subject, p.decision, &p.row)...); err != nil {
		return nil, err
	}
	return r, nil
}
