package release

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Set is a search result or history page before release.
type Set struct {
	Type     string // Bundle.type: searchset or history
	Rows     []store.Row
	Links    []Link
	Total    *int64       // count of the caller's view, when asked for
	Outcome  []fhir.Issue // warnings to tell the client
	Summary  fhir.Summary // what of each resource is wanted
	Elements []string
	Grades   map[string]Grade // of $match: how well each row fits, by id
	Document *Document        // of $document: what a Bundle of that type has besides
}

// Link is a Bundle.link.
type Link struct{ Relation, URL string }

// Bundle releases a set. Rows the decision denies are left out, as if they were not there; notice and
// scopes stand once, in an outcome entry, when any entry needs them.
func (g *Gate) Bundle(ctx context.Context, req Request, set Set) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	cuts, err := g.cuts(ctx, req.Filter, set.Rows)
	if err != nil {
		return nil, errors.Join(ErrUndecided, err)
	}
	b := &assembly{g: g, ctx: ctx, req: req, set: set, now: now, cuts: cuts, patients: map[string]*patientEvents{}}
	b.open()
	for i := range set.Rows {
		if err := b.row(&set.Rows[i]); err != nil {
			return nil, err
		}
	}
	b.close()
	if err := g.append(ctx, b.events()...); err != nil {
		return nil, err
	}
	return &Released{body: b.out, notice: b.notice}, nil
}

// assembly writes the Bundle and collects what each patient's event says of it.
type assembly struct {
	g        *Gate
	ctx      context.Context
	req      Request
	set      Set
	now      time.Time
	cuts     cuts
	out      []byte
	entries  int
	scopes   []string
	notice   bool
	mark     label.HighWater
	order    []string
	patients map[string]*patientEvents
}

type patientEvents struct {
	decisions []*decided
	resources []audit.Resource
}

// open writes what stands before the entries.
func (b *assembly) open() {
	size := 1 << 10
	for i := range b.set.Rows {
		size += len(b.set.Rows[i].Doc) + 400
	}
	b.out = append(make([]byte, 0, size), `{"resourceType":"Bundle","type":"`+b.set.Type+`"`...)
	b.document()
	if b.set.Total != nil {
		b.out = append(b.out, `,"total":`...)
		b.out = strconv.AppendInt(b.out, *b.set.Total, 10)
	}
	for i, l := range b.set.Links {
		if i == 0 {
			b.out = append(b.out, `,"link":[`...)
		} else {
			b.out = append(b.out, ',')
		}
		b.out = append(b.out, `{"relation":"`+l.Relation+`","url":`...)
		b.out = append(b.out, fhir.Quote(l.URL)...)
		b.out = append(b.out, '}')
	}
	if len(b.set.Links) > 0 {
		b.out = append(b.out, ']')
	}
}

// next begins an entry.
func (b *assembly) next() {
	if b.entries == 0 {
		b.out = append(b.out, `,"entry":[`...)
	} else {
		b.out = append(b.out, ',')
	}
	b.entries++
}

func (b *assembly) row(row *store.Row) error {
	subject, err := b.g.Records.Subject(b.ctx, row)
	if err != nil {
		return errors.Join(ErrUndecided, err)
	}
	d := b.g.decided(b.req.Principal, subject, row, b.now)
	if b.req.Interaction == "delivery" && d.decision.Has(access.ObligeView) { // what may be looked at is not sent
		return nil
	}
	if d.decision.Effect != access.Permit {
		b.g.Logger.ErrorContext(b.ctx, "store and decision disagree; left out", "request", b.req.RequestID, "code", d.decision.Code)
		return nil
	}
	b.next()
	b.out = append(append(append(append(b.out, `{"fullUrl":"`...), b.g.Base...), '/'), row.Type...)
	b.out = append(append(append(b.out, '/'), row.ID...), '"') // ids are [A-Za-z0-9.-]
	if !row.Deleted {
		b.out = append(b.out, `,"resource":`...)
		if err := b.resource(row, subject, d); err != nil {
			return err
		}
		if d.carry.notice {
			b.remember(d.carry)
		}
		b.mark.Raise(b.g.Records.Segment(row.Segment))
	}
	b.context(row)
	b.note(subject, d, row)
	return nil
}

// resource appends the released form of a row.
func (b *assembly) resource(row *store.Row, subject store.Subject, d *decided) error {
	cut := b.cuts.from(b.g, b.req.Principal, subject, row, b.now)
	if b.set.Summary == fhir.SummaryFalse && len(b.set.Elements) == 0 {
		var err error
		b.out, err = b.g.render(b.out, row, d, cut, b.req, false)
		return err
	}
	body, err := b.g.render(nil, row, d, cut, b.req, false)
	if err != nil {
		return err
	}
	if body, err = fhir.Summarize(body, b.set.Summary, b.set.Elements); err != nil {
		return err
	}
	b.out = append(b.out, body...)
	return nil
}

func (b *assembly) remember(carry carried) {
	b.notice = true
	for _, s := range carry.scopes {
		if !slices.Contains(b.scopes, s.text) {
			b.scopes = append(b.scopes, s.text)
		}
	}
}

func (b *assembly) note(s store.Subject, d *decided, row *store.Row) {
	if len(s.Patients) == 0 {
		b.notePatient("", d, row)
	}
	for i := range s.Patients {
		b.notePatient(s.Patients[i].ID, d, row)
	}
}

func (b *assembly) notePatient(id string, d *decided, row *store.Row) {
	p := b.patients[id]
	if p == nil {
		p = &patientEvents{resources: make([]audit.Resource, 0, len(b.set.Rows))}
		b.patients[id] = p
		b.order = append(b.order, id)
	}
	p.resources = append(p.resources, manifest(row))
	if !slices.Contains(p.decisions, d) {
		p.decisions = append(p.decisions, d)
	}
}

// context ends an entry with how it came into the Bundle.
func (b *assembly) context(row *store.Row) {
	switch {
	case b.set.Type == "history":
		method, url := "PUT", row.Type+"/"+row.ID
		switch row.Method {
		case store.Create:
			if row.Version == 1 {
				method, url = "POST", row.Type
			}
		case store.Delete:
			method = "DELETE"
		}
		b.out = append(b.out, `,"request":{"method":"`+method+`","url":"`+url+`"},"response":{"status":"200","etag":"W/\"`+strconv.FormatInt(row.Version, 10)+`\"","lastModified":"`+row.Updated.Format(fhir.InstantLayout)+`"}}`...)
	case b.set.Type == "searchset" && row.Included:
		b.out = append(b.out, `,"search":{"mode":"include"}}`...)
	case b.set.Type == "searchset" && b.set.Grades != nil:
		b.grade(row)
	case b.set.Type == "searchset":
		b.out = append(b.out, `,"search":{"mode":"match"}}`...)
	default:
		b.out = append(b.out, '}')
	}
}

// close writes the outcome, when there is something to say, and the end.
func (b *assembly) close() {
	issues := slices.Clone(b.set.Outcome)
	severity := "warning"
	if b.notice {
		severity = "information"
		issues = append(issues, fhir.Issue{Code: "informational", Text: StatementLong})
		for _, s := range b.scopes {
			issues = append(issues, fhir.Issue{Code: "informational", Text: s})
		}
	}
	if len(issues) > 0 {
		b.next()
		b.out = append(append(b.out, `{"resource":`...), fhir.Outcome(severity, issues)...)
		if b.set.Type == "searchset" {
			b.out = append(b.out, `,"search":{"mode":"outcome"}`...)
		}
		b.out = append(b.out, '}')
	}
	if b.entries > 0 {
		b.out = append(b.out, ']')
	}
	b.highWater()
	b.out = append(b.out, '}')
}

// highWater says of the Bundle what the most confidential of its entries is, and which policies govern any of them: of
// what was released alone. What a record was masked for, or must not be disclosed for, is no matter of the Bundle's (DS4P).
func (b *assembly) highWater() {
	labels := b.mark.Security()
	if len(labels) == 0 {
		return
	}
	if b.notice {
		labels = append(labels, fhir.Coding{System: fhir.SystemActCode, Code: "NORDSCLCD"})
	}
	b.out = append(b.out, `,"meta":{"security":[`...)
	for i, l := range labels {
		if i > 0 {
			b.out = append(b.out, ',')
		}
		b.out = append(append(b.out, `{"system":`...), fhir.Quote(l.System)...)
		b.out = append(append(append(b.out, `,"code":`...), fhir.Quote(l.Code)...), '}')
	}
	b.out = append(b.out, `]}`...)
}

// events is one event for each patient in the response; a response about nobody is one event too.
func (b *assembly) events() []audit.Event {
	ev := b.g.event(b.req, audit.Disclosure, b.now)
	ev.Outcome, ev.Released, ev.ReleasedBytes = "released", audit.Digest(b.out), int64(len(b.out))
	if b.notice {
		ev.NoticeVersion = access.NoticeVersion
	}
	if len(b.order) == 0 {
		ev.Decision = encode(b.emptyDecision())
		return []audit.Event{ev}
	}
	out := make([]audit.Event, len(b.order))
	for i, id := range b.order {
		out[i] = ev
		if id != "" {
			out[i].Patient = "Patient/" + id
		}
		out[i].Resources = b.patients[id].resources
		decisions := append(make([]byte, 0, 1<<10), '[')
		for j, d := range b.patients[id].decisions {
			if j > 0 {
				decisions = append(decisions, ',')
			}
			decisions = append(decisions, d.encoded...)
		}
		out[i].Decision = append(decisions, ']')
	}
	return out
}

// emptyDecision stands for a set without rows: nothing was decided about anybody.
func (b *assembly) emptyDecision() access.Decision {
	return access.Decision{Code: "NOTHING_RELEASED", Organization: b.req.Principal.Organization.ID, Class: b.req.Principal.Organization.Class,
		Purpose: b.req.Principal.Purpose, Policy: access.PolicyVersion, EvaluatedAt: b.now, Reasons: []access.Reason{}}
}

// Written releases what a write did to its own writer: a custodian sees its own record. The write's
// leaf was made durable in the write's transaction.
func (g *Gate) Written(req Request, w store.Written) (*Released, error) {
	if w.Segment.Custodian != req.Principal.Organization.ID {
		return nil, errors.New("release: a write by another than the custodian")
	}
	body, ok := fhir.ReadSpans(w.Doc, w.Spans).WithSecurity(security(w.Segment, carried{}, true))
	if !ok {
		return nil, errors.New("release: a written body has a damaged span table")
	}
	return &Released{body: body, version: w.Version, updated: w.Updated}, nil
}
