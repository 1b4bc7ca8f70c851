package release

import (
	"context"
	"slices"
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

// Explain decides as a read by the principal would, now or, with at, by what was recorded then. told leaves of the facts what who
// asks may be told; nil leaves all. Nothing is released or logged.
func Explain(ctx context.Context, k Known, p access.Principal, ref fhir.Reference, at time.Time, told func(access.Facts) access.Facts) (store.Target, access.Decision, error) {
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
		d, _ := decideTarget(p, target, only(target.Subject, told), k.Segment(target.Subject.Segment), at)
		return target, d, nil
	}
	subject, exists, err := k.SubjectAt(ctx, ref, 0, at)
	if err != nil {
		return target, access.Decision{}, err
	}
	then := target
	then.Exists = exists
	d, _ := decideTarget(p, then, only(subject, told), k.Segment(subject.Segment), at.UTC())
	return target, d, nil
}

// only is a subject with the facts that may be told.
func only(s store.Subject, told func(access.Facts) access.Facts) store.Subject {
	if told == nil {
		return s
	}
	patients := slices.Clone(s.Patients)
	for i := range patients {
		patients[i].Facts = told(patients[i].Facts)
	}
	s.Patients = patients
	return s
}
