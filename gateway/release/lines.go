package release

import (
	"context"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Line is one resource as it stands in a bulk file, without the newline.
type Line struct {
	Type string // of the resource; "Bundle" for a deletion
	Gone bool   // a deletion
	Key  int64  // row it is a version of
	Body []byte
}

// Lines is a page of a bulk job as it may be kept for the client that started it. Only a Gate makes one. Leaf permits
// the release: it must be durable together with the lines, or before them.
type Lines struct {
	Lines  []Line
	Leaf   audit.Leaf
	scopes []string
	notice bool
}

// Notice reports whether any line carries the 2.32 statement.
func (l *Lines) Notice() bool { return l.notice }

// Scopes are the explanations of the consents the lines rest on.
func (l *Lines) Scopes() []string { return l.scopes }

// Lines decides about the rows of a bulk page and renders those permitted: each with labels, long statement and scope
// as in an answer of its own, for lines are taken apart. A deleted row is a Bundle with its deletion. elements,
// where there are any for a type, keeps those.
func (g *Gate) Lines(ctx context.Context, req Request, rows []store.Row, elements func(typ string) []string) (*Lines, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	b := &assembly{g: g, ctx: ctx, req: req, set: Set{Rows: rows}, now: now, patients: map[string]*patientEvents{}}
	permitted, subjects := make([]*decided, len(rows)), make([]store.Subject, len(rows))
	var others []store.Row // their references may have to be cut
	for i := range rows {
		subject, err := g.Records.Subject(ctx, &rows[i])
		if err != nil {
			return nil, err
		}
		d := g.decided(req.Principal, subject, &rows[i], now)
		if d.decision.Effect != access.Permit || d.decision.Has(access.ObligeView) {
			// A grant may have ended between the query and now. What may be looked at is not for taking away.
			g.Logger.InfoContext(ctx, "left out of a bulk page", "request", req.RequestID, "code", d.decision.Code)
			continue
		}
		permitted[i], subjects[i] = d, subject
		if !whole(d.decision, req.Filter) {
			others = append(others, rows[i])
		}
		b.note(subject, d, &rows[i])
		if d.carry.notice && !rows[i].Deleted {
			b.remember(d.carry)
		}
	}
	if b.cuts, err = g.cuts(ctx, req.Filter, others); err != nil {
		return nil, err
	}
	out := &Lines{Lines: make([]Line, 0, len(rows)), notice: b.notice, scopes: b.scopes}
	for i, d := range permitted {
		if d == nil {
			continue
		}
		line, err := b.line(&rows[i], subjects[i], d, elements)
		if err != nil {
			return nil, err
		}
		out.Lines = append(out.Lines, line)
		b.out = append(append(b.out, line.Body...), '\n')
	}
	out.Leaf, err = audit.NewLeaf(b.events()...)
	return out, err
}

// line renders a row. Bodies are kept as they came: a newline in one stands between its members and means nothing.
func (b *assembly) line(row *store.Row, subject store.Subject, d *decided, elements func(string) []string) (Line, error) {
	if row.Deleted {
		body := `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"` + row.Type + "/" + row.ID + `"}}]}`
		return Line{Type: "Bundle", Gone: true, Key: row.Key(), Body: []byte(body)}, nil
	}
	body, err := b.g.render(make([]byte, 0, len(row.Doc)+512), row, d, b.cuts.from(b.g, b.req.Principal, subject, row, b.now), b.req, true)
	if err != nil {
		return Line{}, err
	}
	if keep := elements(row.Type); len(keep) > 0 {
		if body, err = fhir.Summarize(body, fhir.SummaryFalse, keep); err != nil {
			return Line{}, err
		}
	}
	return Line{Type: row.Type, Key: row.Key(), Body: oneLine(body)}, nil
}

// oneLine takes line breaks out of JSON: outside of texts they are space, inside they cannot stand unescaped.
func oneLine(body []byte) []byte {
	if !slices.ContainsFunc(body, func(c byte) bool { return c == '\n' || c == '\r' }) {
		return body
	}
	return []byte(strings.NewReplacer("\n", "", "\r", "").Replace(string(body)))
}

// Fetched logs that a client is about to get a file of a job it started. The file's records were each logged when it was
// made; this says when they left. It carries nothing else about them.
func (g *Gate) Fetched(ctx context.Context, req Request, detail map[string]string) error {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return err
	}
	ev := g.event(req, audit.Disclosure, now)
	ev.Outcome, ev.Detail = "fetched", detail
	return g.append(ctx, ev)
}
