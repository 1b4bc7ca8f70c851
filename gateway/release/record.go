package release

import (
	"context"
	"errors"

	"trellis/auth/access"
	"trellis/gateway/store"
)

// Record releases a document that tells of records to their custodian and nobody else: a native record, a list of keys. Each
// of the records it tells of is decided about as if it were read; one that may not be read, or is another's, makes the whole
// unknown.
func (g *Gate) Record(ctx context.Context, req Request, told []store.Target, body []byte) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	b := &assembly{g: g, ctx: ctx, req: req, now: now, out: body, patients: map[string]*patientEvents{}}
	for i := range told {
		t := &told[i]
		if !t.Exists || !t.Visible {
			decision, _ := decideTarget(req.Principal, *t, t.Subject, g.Records.Segment(t.Subject.Segment), now)
			return nil, g.deny(ctx, req, *t, outside(req, decision), now)
		}
		d := g.decided(req.Principal, t.Subject, &t.Row, now)
		if d.failed != nil {
			return nil, errors.Join(ErrUndecided, d.failed)
		}
		if d.decision.Effect != access.Permit || d.decision.Basis != "own-record" && d.decision.Basis != "directory" {
			return nil, g.deny(ctx, req, *t, d.decision, now)
		}
		b.note(t.Subject, d, &t.Row)
	}
	if err := g.append(ctx, b.events()...); err != nil {
		return nil, err
	}
	return &Released{body: body}, nil
}
