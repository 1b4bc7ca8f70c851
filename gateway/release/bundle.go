package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Set is a search result or history page before release.
type Set struct {
	Type    string // Bundle.type: searchset or history
	Rows    []store.Row
	Links   []Link
	Total   *int64       // count of the caller's view, when asked for
	Outcome []fhir.Issue // warnings to tell the client
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
	hidden, err := g.hidden(ctx, req, set.Rows)
	if err != nil {
		return nil, err
	}
	b := &assembly{g: g, ctx: ctx, req: req, now: now, hidden: hidden, patients: map[string]*patientEvents{}}
	for i := range set.Rows {
		if err := b.row(&set.Rows[i], set.Type); err != nil {
			return nil, err
		}
	}
	body := b.bundle(set)
	if err := g.append(ctx, b.events(body)...); err != nil {
		return nil, err
	}
	return &Released{body: body, notice: b.notice}, nil
}

// assembly collects entries and what each patient's event says of them.
type assembly struct {
	g        *Gate
	ctx      context.Context
	req      Request
	now      time.Time
	hidden   map[fhir.Reference]bool
	entries  [][]byte
	scopes   []string
	notice   bool
	order    []string
	patients map[string]*patientEvents
}

type patientEvents struct {
	decisions []access.Decision
	segments  map[string]bool
	resources []audit.Resource
}

func (b *assembly) row(row *store.Row, bundleType string) error {
	subject, err := b.g.Records.Subject(b.ctx, row)
	if err != nil {
		return err
	}
	d, consents := Decide(b.req.Principal, subject, b.g.Records.Segment(row.Segment), b.now)
	if d.Effect != access.Permit {
		b.g.Logger.ErrorContext(b.ctx, "store and decision disagree; left out", "request", b.req.RequestID, "code", d.Code)
		return nil
	}
	var body []byte
	if !row.Deleted {
		var notice bool
		if body, notice, err = b.g.render(row, d, consents, b.hidden, false); err != nil {
			return err
		}
		if notice {
			b.remember(d, consents)
		}
	}
	b.entries = append(b.entries, b.entry(row, bundleType, body))
	b.note(subject, d, row)
	return nil
}

func (b *assembly) remember(d access.Decision, consents []consent.Consent) {
	b.notice = true
	carry, err := obligations(d, consents)
	if err != nil {
		return // render refused it already
	}
	for _, s := range carry.scopes {
		if !slices.Contains(b.scopes, s) {
			b.scopes = append(b.scopes, s)
		}
	}
}

func (b *assembly) note(s store.Subject, d access.Decision, row *store.Row) {
	ids := []string{""}
	if len(s.Patients) > 0 {
		ids = ids[:0]
		for _, p := range s.Patients {
			ids = append(ids, "Patient/"+p.ID)
		}
	}
	for _, id := range ids {
		p := b.patients[id]
		if p == nil {
			p = &patientEvents{segments: map[string]bool{}}
			b.patients[id] = p
			b.order = append(b.order, id)
		}
		p.resources = append(p.resources, manifest(row))
		if key := fmt.Sprint(row.Segment, row.Type, d.Code); !p.segments[key] {
			p.segments[key] = true
			p.decisions = append(p.decisions, d)
		}
	}
}

func (b *assembly) entry(row *store.Row, bundleType string, body []byte) []byte {
	out := []byte(`{"fullUrl":`)
	out = append(out, fhir.Quote(b.g.Base+"/"+row.Type+"/"+row.ID)...)
	if body != nil {
		out = append(append(out, `,"resource":`...), body...)
	}
	if bundleType == "history" {
		method, url := "PUT", row.Type+"/"+row.ID
		switch row.Method {
		case store.Create:
			if row.Version == 1 {
				method, url = "POST", row.Type
			}
		case store.Delete:
			method = "DELETE"
		}
		out = append(out, `,"request":{"method":"`+method+`","url":`...)
		out = append(out, fhir.Quote(url)...)
		out = append(out, `},"response":{"status":"200","etag":"W/\"`+strconv.FormatInt(row.Version, 10)+`\"","lastModified":"`+row.Updated.Format(fhir.InstantLayout)+`"}}`...)
		return out
	}
	if bundleType == "collection" {
		return append(out, '}')
	}
	mode := "match"
	if row.Included {
		mode = "include"
	}
	return append(out, `,"search":{"mode":"`+mode+`"}}`...)
}

func (b *assembly) bundle(set Set) []byte {
	issues := slices.Clone(set.Outcome)
	severity := "warning"
	if b.notice {
		severity = "information"
		issues = append(issues, fhir.Issue{Code: "informational", Text: StatementLong})
		for _, s := range b.scopes {
			issues = append(issues, fhir.Issue{Code: "informational", Text: s})
		}
	}
	if len(issues) > 0 {
		entry := append([]byte(`{"resource":`), fhir.Outcome(severity, issues)...)
		if set.Type == "searchset" {
			entry = append(entry, `,"search":{"mode":"outcome"}`...)
		}
		b.entries = append(b.entries, append(entry, '}'))
	}
	out := []byte(`{"resourceType":"Bundle","type":"` + set.Type + `"`)
	if set.Total != nil {
		out = append(out, `,"total":`...)
		out = strconv.AppendInt(out, *set.Total, 10)
	}
	for i, l := range set.Links {
		if i == 0 {
			out = append(out, `,"link":[`...)
		} else {
			out = append(out, ',')
		}
		out = append(out, `{"relation":"`+l.Relation+`","url":`...)
		out = append(out, fhir.Quote(l.URL)...)
		out = append(out, '}')
	}
	if len(set.Links) > 0 {
		out = append(out, ']')
	}
	for i, e := range b.entries {
		if i == 0 {
			out = append(out, `,"entry":[`...)
		} else {
			out = append(out, ',')
		}
		out = append(out, e...)
	}
	if len(b.entries) > 0 {
		out = append(out, ']')
	}
	return append(out, '}')
}

// events is one event for each patient in the response; a response about nobody is one event too.
func (b *assembly) events(body []byte) []audit.Event {
	ev := b.g.event(b.req, audit.Disclosure, b.now)
	ev.Outcome, ev.Released, ev.ReleasedBytes = "released", audit.Digest(body), int64(len(body))
	if b.notice {
		ev.NoticeVersion = access.NoticeVersion
	}
	if len(b.order) == 0 {
		ev.Decision = encode(b.emptyDecision())
		return []audit.Event{ev}
	}
	var out []audit.Event
	for _, id := range b.order {
		e := ev
		e.Patient, e.Resources, e.Decision = id, b.patients[id].resources, encode(b.patients[id].decisions)
		out = append(out, e)
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
	body, ok := fhir.ReadSpans(w.Doc, w.Spans).WithSecurity(security(w.Segment.Security(), carried{}, true))
	if !ok {
		return nil, errors.New("release: a written body has a damaged span table")
	}
	return &Released{body: body, version: w.Version, updated: w.Updated}, nil
}
