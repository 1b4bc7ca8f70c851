// Package release turns what a query found into the bytes a client gets, and is the only way there:
// a Released cannot be made elsewhere. For every row it asks auth/access once more, cuts references
// the caller may not follow, splices labels, notice and consent scope into the body, and appends the
// audit leaf; only when the leaf is durable does it hand out a Released.
//
// It does not parse requests or choose HTTP statuses. It is entered through Gate.
package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Records is what the gate asks of the store.
type Records interface {
	Subject(ctx context.Context, row *store.Row) (store.Subject, error)
	Hidden(ctx context.Context, f access.Filter, rows []store.Row) (map[fhir.Reference]bool, error)
	Programs(ctx context.Context, f access.Filter, rows []store.Row) (map[fhir.Reference]string, error)
	Now(ctx context.Context) (time.Time, error)
	Segment(no int64) label.Segment
}

// Log is the audit log as the gate needs it: durable on return.
type Log interface {
	Append(ctx context.Context, leaves ...audit.Leaf) error
}

// ErrLog is returned when the log could not be written: nothing may be released (503).
var ErrLog = errors.New("release: the audit log cannot be written")

// ErrUndecided is returned when what a decision rests on could not be read: nothing may be released (503).
var ErrUndecided = errors.New("release: what the decision rests on cannot be read")

// Gate releases. All fields are required.
type Gate struct {
	Records Records
	Log     Log
	Base    string // FHIR base URL
	Logger  *slog.Logger

	cache decisions
}

// Request is who asks for what, as the log keeps it.
type Request struct {
	Principal   access.Principal
	Filter      access.Filter
	Interaction string
	RequestID   string
	TokenID     string
	Query       []byte // raw query string: treat as PHI
	Launch      string // Patient id of the token's launch context
}

// Released is what may be written to a client. Only a Gate makes one.
type Released struct {
	body    []byte
	version int64
	updated time.Time
	notice  bool

	contentType string // of raw bytes, "" for FHIR
	unmodified  bool
}

// Body is the bytes.
func (r *Released) Body() []byte { return r.body }

// Version is the version of a single resource, 0 for a Bundle.
func (r *Released) Version() int64 { return r.version }

// Updated is when that version was written.
func (r *Released) Updated() time.Time { return r.updated }

// Notice reports whether the body carries the 2.32 statement.
func (r *Released) Notice() bool { return r.notice }

// Denied is the audited outcome of a request that will look like absence. Decision is for the log and
// for explain, never for the client.
type Denied struct{ Decision access.Decision }

// Error says nothing about why.
func (*Denied) Error() string { return "release: not found" }

// Decide answers for one subject: a permit for every patient it is about, or the first denial.
func Decide(p access.Principal, s store.Subject, segment label.Segment, now time.Time) (access.Decision, []consent.Consent) {
	ask := func(patient store.PatientFacts) access.Decision {
		return access.Decide(access.Request{Principal: p, Segment: segment, ResourceType: s.Type, Patient: patient.ID, Period: s.Period, Facts: patient.Facts, Terms: s.Terms, Now: now})
	}
	if len(s.Patients) == 0 {
		d := ask(store.PatientFacts{})
		if d.Effect == access.Permit && d.Basis != "directory" && d.Basis != "own-record" && d.Basis != "thing" {
			d.Effect, d.Basis, d.Code, d.Obligations = access.Deny, "", "NO_PATIENT", nil
			d.Reasons = append(d.Reasons, access.Reason{Rule: "no-patient", Section: "2.13(a)", Code: "NO_PATIENT", Hit: true})
		}
		return d, nil
	}
	var out access.Decision
	var consents []consent.Consent
	for i, patient := range s.Patients {
		d := ask(patient)
		if d.Effect != access.Permit {
			return d, nil
		}
		consents = append(consents, patient.Facts.Consents...)
		if i == 0 {
			out = d
			continue
		}
		out.Reasons = append(out.Reasons, d.Reasons...)
		out.Consents = append(out.Consents, d.Consents...)
		out.Obligations = append(out.Obligations, d.Obligations...)
	}
	return out, consents
}

// decideTarget is the decision a read of the target rests on, with the facts of subject: what explain
// prints and what the log keeps are this one value.
func decideTarget(p access.Principal, t store.Target, subject store.Subject, segment label.Segment, now time.Time) (access.Decision, []consent.Consent) {
	d, consents := Decide(p, subject, segment, now)
	if !t.Exists {
		d.Effect, d.Basis, d.Code, d.Obligations = access.Deny, "", "UNKNOWN_ID", nil
		d.Reasons = []access.Reason{{Rule: "exists", Section: "2.13(c)", Code: "UNKNOWN_ID", Hit: true}}
	}
	return d, consents
}

// Resource releases one resource that Lookup found, or records the denial and returns *Denied. An
// unknown id goes the same way with the same kind of audit row.
func (g *Gate) Resource(ctx context.Context, req Request, t store.Target) (*Released, error) {
	return g.ResourceUnless(ctx, req, t, nil)
}

// ResourceUnless is Resource for a client that may hold the version already: where held says so and the bytes can be
// no others than those it got, the answer has none. The event is written all the same.
func (g *Gate) ResourceUnless(ctx context.Context, req Request, t store.Target, held func(version int64, updated time.Time) bool) (*Released, error) {
	return g.ResourceAs(ctx, req, t, held, nil)
}

// ResourceAs is ResourceUnless for a client that asked for another form of the resource than the whole; nil is the whole.
func (g *Gate) ResourceAs(ctx context.Context, req Request, t store.Target, held func(version int64, updated time.Time) bool, view *View) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	if !t.Exists || !t.Visible {
		decision, _ := decideTarget(req.Principal, t, t.Subject, g.Records.Segment(t.Subject.Segment), now)
		if t.Exists && t.Row.Version != 0 && decision.Effect == access.Permit {
			g.Logger.ErrorContext(ctx, "store and decision disagree; denied", "request", req.RequestID, "code", decision.Code)
		}
		return nil, g.deny(ctx, req, t, outside(req, decision), now)
	}
	d := g.decided(req.Principal, t.Subject, &t.Row, now)
	decision := d.decision
	if decision.Effect != access.Permit {
		g.Logger.ErrorContext(ctx, "store and decision disagree; denied", "request", req.RequestID, "code", decision.Code)
		return nil, g.deny(ctx, req, t, decision, now)
	}
	if t.Row.Deleted {
		ev := g.event(req, audit.Disclosure, now)
		ev.Outcome = "gone"
		if err := g.append(ctx, withSubject(ev, t.Subject, decision, &t.Row)...); err != nil {
			return nil, err
		}
		return nil, fhir.NewProblem(fhir.Gone, "deleted", "the resource has been deleted")
	}
	cuts, err := g.cuts(ctx, req.Filter, []store.Row{t.Row})
	if err != nil {
		return nil, errors.Join(ErrUndecided, err)
	}
	if held != nil && len(cuts.programs) == 0 && steady(&t.Row, decision, req.Filter) && held(t.Row.Version, t.Row.Updated) {
		return g.notModified(ctx, req, &t.Row, t.Subject, decision)
	}
	body, err := g.render(make([]byte, 0, len(t.Row.Doc)+512), &t.Row, d, cuts.from(g, req.Principal, t.Subject, &t.Row, now), req, true)
	if err != nil {
		return nil, err
	}
	notice := d.carry.notice
	if view != nil {
		if body, err = view.Of(body); err != nil {
			return nil, err
		}
		notice = notice && view.KeepsMeta
	}
	ev := g.event(req, audit.Disclosure, now)
	ev.Outcome, ev.Released, ev.ReleasedBytes = "released", audit.Digest(body), int64(len(body))
	if notice {
		ev.NoticeVersion = access.NoticeVersion
	}
	ev.Decision = d.encoded
	if err := g.append(ctx, perPatient(ev, t.Subject, &t.Row)...); err != nil {
		return nil, err
	}
	return &Released{body: body, version: t.Row.Version, updated: t.Row.Updated, notice: notice}, nil
}

// outside is the decision about what the principal may have and the token leaves out.
func outside(req Request, d access.Decision) access.Decision {
	if d.Effect != access.Permit || req.Filter.Limits == nil {
		return d
	}
	d.Effect, d.Basis, d.Code, d.Obligations, d.Consents = access.Deny, "", "OUTSIDE_TOKEN", nil, nil
	d.Reasons = append(d.Reasons, access.Reason{Rule: "token", Section: "2.13(a)", Code: "OUTSIDE_TOKEN", Hit: true})
	return d
}

// deny records a denial and returns it.
func (g *Gate) deny(ctx context.Context, req Request, t store.Target, d access.Decision, now time.Time) error {
	ev := g.event(req, audit.Denial, now)
	ev.Outcome = "not-found"
	if err := g.append(ctx, withSubject(ev, t.Subject, d, &t.Row)...); err != nil {
		return err
	}
	return &Denied{Decision: d}
}

// Refused records a request that was turned down before or without a decision about a record: a scope
// that does not reach (G1), or a write to what the writer does not hold.
func (g *Gate) Refused(ctx context.Context, req Request, code string) error {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return errors.Join(ErrLog, err)
	}
	ev := g.event(req, audit.Denial, now)
	ev.Outcome, ev.Detail = "refused", map[string]string{"code": code}
	return g.append(ctx, ev)
}

// Decided records decisions that were given to somebody who enforces them.
func (g *Gate) Decided(ctx context.Context, events []audit.Event) error {
	return g.append(ctx, events...)
}

func (g *Gate) event(req Request, kind audit.Kind, now time.Time) audit.Event {
	return audit.Event{
		Kind: kind, At: now, Client: req.Principal.Client, Organization: req.Principal.Organization.ID, Purpose: req.Principal.Purpose,
		User: req.Principal.User, Capacity: string(req.Principal.Capacity), Launch: audit.Launch(req.Launch),
		Interaction: req.Interaction, Request: req.RequestID, Token: req.TokenID, Query: req.Query,
	}
}

// withSubject is one event for each patient the row is about, or one without patient.
func withSubject(ev audit.Event, s store.Subject, d access.Decision, row *store.Row) []audit.Event {
	ev.Decision = encode(d)
	return perPatient(ev, s, row)
}

func perPatient(ev audit.Event, s store.Subject, row *store.Row) []audit.Event {
	ev.Resources = []audit.Resource{manifest(row)}
	if len(s.Patients) == 0 {
		return []audit.Event{ev}
	}
	out := make([]audit.Event, len(s.Patients))
	for i, p := range s.Patients {
		out[i] = ev
		out[i].Patient = "Patient/" + p.ID
	}
	return out
}

func manifest(row *store.Row) audit.Resource {
	r := audit.Resource{Type: row.Type, ID: row.ID}
	if row.Version != 0 {
		r.Version = strconv.FormatInt(row.Version, 10)
	}
	if row.Segment != 0 {
		r.Segment = strconv.FormatInt(row.Segment, 10)
	}
	return r
}

// encode writes a decision for the log. It holds codes and times only.
func encode(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`{"error":"the decision could not be encoded"}`)
	}
	return out
}

func (g *Gate) append(ctx context.Context, events ...audit.Event) error {
	leaf, err := audit.NewLeaf(events...)
	if err != nil {
		return errors.Join(ErrLog, err)
	}
	if err := g.Log.Append(ctx, leaf); err != nil {
		return errors.Join(ErrLog, err)
	}
	return nil
}

// whole reports whether no reference is cut: a custodian knows what its own record refers to, and must get back what it has
// to send in whole. An app that was let into one patient's record alone is not told of others.
func whole(d access.Decision, to access.Filter) bool { return d.Basis == "own-record" && !to.Walled() }

// render appends the released form of a row to who asks: references and source cut, labels and notice spliced in.
func (g *Gate) render(out []byte, row *store.Row, d *decided, cut cutting, req Request, alone bool) ([]byte, error) {
	if d.failed != nil {
		return nil, d.failed
	}
	labels := d.labels[0]
	if alone {
		labels = d.labels[1]
	}
	sealed := row.Sealed()
	if row.Type == "Subscription" && (req.Principal.User != "" || req.Principal.Capacity != "") {
		var err error
		if sealed, err = withoutSecrets(sealed); err != nil {
			return nil, err
		}
	}
	if !whole(d.decision, req.Filter) {
		var err error
		if cut.any(sealed.Refs) {
			if sealed, err = g.redact(sealed, cut); err != nil {
				return nil, err
			}
			if tellsOfCuts(req.Principal, d.decision) {
				labels = withRedacted(labels)
			}
		}
		if d.decision.Basis != "own-record" && d.decision.Basis != "directory" && sourced(sealed) {
			if sealed, err = sealed.WithoutSource(); err != nil {
				return nil, fmt.Errorf("release: a stored body cannot be read: %w", err)
			}
		}
	}
	if len(d.carry.elements) > 0 {
		all, ok := sealed.AppendWithSecurity(nil, labels)
		if !ok {
			return nil, fmt.Errorf("release: %s has a damaged span table", row.Type)
		}
		part, err := fhir.Summarize(all, fhir.SummaryFalse, d.carry.elements)
		return append(out, part...), err
	}
	out, ok := sealed.AppendWithSecurity(out, labels)
	if !ok {
		return nil, fmt.Errorf("release: %s has a damaged span table", row.Type)
	}
	return out, nil
}
