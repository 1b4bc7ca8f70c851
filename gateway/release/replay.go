package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Past is what a replay asks of the store: everything as it was recorded then.
type Past interface {
	SubjectAt(ctx context.Context, ref fhir.Reference, version int64, known time.Time) (sub store.Subject, exists bool, err error)
	Segment(no int64) label.Segment
	Organization(ctx context.Context, id string) (access.Organization, error)
	Emergency(ctx context.Context, id string) (store.Emergency, error)
}

// Replayed is what came of replaying one event.
type Replayed struct {
	Same   int      // decisions made anew that are the logged ones
	Differ []string // of each that is not: what, logged, now
	// Skipped counts decisions that cannot be made anew, by why.
	Skipped map[string]int
}

// Why a decision cannot be made anew.
const (
	SkipRules     = "made by other rules than this version's"
	SkipVouched   = "of a Binary, under the records that vouch for it"
	SkipDescribed = "about a description, for somebody else to enforce"
	SkipErased    = "of a record that is no longer here"
)

// Replay makes the decisions of an event anew from what was recorded when they were made: consents, agreements, labels and
// clinical times of then, by the rules of now. An event without a decision about a record gives nothing.
func Replay(ctx context.Context, past Past, ev audit.Event) (Replayed, error) {
	out := Replayed{Skipped: map[string]int{}}
	logged, err := decisionsOf(ev.Decision)
	if err != nil || len(logged) == 0 {
		return out, err
	}
	if ev.Kind == audit.Decision {
		out.Skipped[SkipDescribed] += len(logged)
		return out, nil
	}
	for _, r := range ev.Resources {
		if err := out.resource(ctx, past, ev, r, logged); err != nil {
			return out, err
		}
	}
	return out, nil
}

// decisionsOf reads one decision, or a list.
func decisionsOf(raw json.RawMessage) ([]access.Decision, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var list []access.Decision
	if bytes.HasPrefix(raw, []byte("[")) {
		err := json.Unmarshal(raw, &list)
		return list, err
	}
	var one access.Decision
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, err
	}
	return []access.Decision{one}, nil
}

// resource makes the decision about one resource anew; it has to be one of those logged.
func (out *Replayed) resource(ctx context.Context, past Past, ev audit.Event, r audit.Resource, logged []access.Decision) error {
	ref := fhir.Reference{Type: r.Type, ID: r.ID}
	var now string
	for _, d := range logged {
		again, skip, err := decideAgain(ctx, past, ev, r, d)
		if err != nil {
			return err
		}
		if skip != "" {
			out.Skipped[skip]++
			return nil
		}
		if sameDecision(d, again) {
			out.Same++
			return nil
		}
		now = again.Effect.String() + " " + again.Code
	}
	was := logged[0].Effect.String() + " " + logged[0].Code
	out.Differ = append(out.Differ, fmt.Sprintf("event %s, %s/%s for %s: logged %s, made anew %s", ev.ID, ref.Type, ref.ID, ev.Organization, was, now))
	return nil
}

func decideAgain(ctx context.Context, past Past, ev audit.Event, r audit.Resource, d access.Decision) (again access.Decision, skip string, err error) {
	version, err := strconv.ParseInt("0"+r.Version, 10, 64)
	if err != nil {
		return again, "", errors.New("release: a logged version is no number")
	}
	subject, exists, err := past.SubjectAt(ctx, fhir.Reference{Type: r.Type, ID: r.ID}, version, d.EvaluatedAt)
	if err != nil {
		return again, "", err
	}
	switch {
	case d.Policy != subject.Terms.Rules.Policy():
		return again, SkipRules, nil
	case r.Type == "Binary" && d.Basis != "own-record":
		return again, SkipVouched, nil
	case !exists && d.Code != "UNKNOWN_ID" && r.Segment != "":
		return again, SkipErased, nil
	}
	p := access.Principal{Client: ev.Client, User: ev.User, Purpose: d.Purpose, Capacity: d.Capacity, Patient: d.Patient, Person: d.Person}
	if d.Organization != "" {
		if p.Organization, err = past.Organization(ctx, d.Organization); err != nil {
			return again, "", err
		}
		p.Organization.Class = d.Class // as it was then
	}
	if d.Emergency != "" {
		e, err := past.Emergency(ctx, d.Emergency)
		if err != nil {
			return again, "", err
		}
		p.Emergency = e.Access()
	}
	if no, err := strconv.ParseInt(r.Segment, 10, 64); err == nil {
		subject.Segment = no // by which it was decided
	}
	again, _ = decideTarget(p, store.Target{Exists: exists}, subject, past.Segment(subject.Segment), d.EvaluatedAt)
	return again, "", nil
}

// sameDecision compares what two decisions say. What a token left out was decided by the token.
func sameDecision(logged, again access.Decision) bool {
	if logged.Code == "OUTSIDE_TOKEN" {
		return again.Effect == access.Permit
	}
	return logged.Effect == again.Effect && logged.Basis == again.Basis && logged.Code == again.Code &&
		slices.Equal(logged.Consents, again.Consents) && slices.Equal(logged.Obligations, again.Obligations)
}
