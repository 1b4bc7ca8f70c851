package release

import (
	"context"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
)

// Known is what an explanation asks of the store.
type Known interface {
	Filter(ctx context.Context, p access.Principal) (access.Filter, error)
	Lookup(ctx context.Context, f access.Filter, typ, id string, version int64) (store.Target, error)
	SubjectAt(ctx context.Context, ref fhir.Reference, version int64, known time.Time) (sub store.Subject, exists bool, err error)
	Segment(no int64) label.Segment
	Now(ctx context.Context) (time.Time, error)
}

// Explain decides as a read by the principal would, now or, with at, by what was recorded then. Nothing is released or logged.
func Explain(ctx context.Context, k Known, p access.Principal, ref fhir.Reference, at time.Time) (store.Target, access.Decision, error) {
	filter, err := k.Filter(ctx, p)
	if err != nil {
		return store.Target{}, access.Decision{}, err
	}
	target, err := k.Lookup(ctx, filter, ref.Type, ref.ID, 0)
	if err != nil {
		return target, access.Decision{}, err
	}
	if at.IsZero() {
		if at, err = k.Now(ctx); err != nil {
			return target, access.Decision{}, err
		}
		d, _ := decideTarget(p, target, target.Subject, k.Segment(target.Subject.Segment), at)
		return target, d, nil
	}
	subject, exists, err := k.SubjectAt(ctx, ref, 0, at)
	if err != nil {
		return target, access.Decision{}, err
	}
	then := target
	then.Exists = exists
	d, _ := decideTarget(p, then, subject, k.Segment(subject.Segment), at.UTC())
	return target, d, nil
}
