package release

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/store"
)

// Notification is a notification of a Subscription before release: what it is about, as rows, and what is said of it.
type Notification struct {
	Rows []store.Row
	// Status makes the first entry's resource, of those of the rows that may be told, by their place.
	Status func(told []int) []byte
	Link   string // of the status, relative to the base
	Bare   bool   // payload "empty": no record is named
	// Sent says that it goes out by itself and is about its rows: when none may be told nothing is released, and what may be
	// looked at but not taken away is not told.
	Sent bool
}

// Notification releases a notification: a history Bundle that names records and holds none
// (https://hl7.org/fhir/uv/subscriptions-backport/). Each is decided about as in an answer to a search, for its id alone
// says that there is one. Of Part 2 records the Bundle carries labels, notice and scope of the consent like any other, but
// with an empty payload, which says nothing of them.
func (g *Gate) Notification(ctx context.Context, req Request, n Notification) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	b := &assembly{g: g, ctx: ctx, req: req, set: Set{Type: "history", Rows: n.Rows}, now: now, patients: map[string]*patientEvents{}}
	var told []int
	for i := range n.Rows {
		row := &n.Rows[i]
		subject, d, err := g.tells(ctx, req, row, now)
		if err != nil {
			return nil, err
		}
		if d.decision.Effect != access.Permit || n.Sent && d.decision.Has(access.ObligeView) {
			if n.Sent {
				return nil, g.deny(ctx, req, store.Target{Exists: true, Row: *row, Subject: subject}, d.decision, now)
			}
			continue
		}
		told = append(told, i)
		b.note(subject, d, row)
		if d.carry.notice && !n.Bare {
			b.remember(d.carry)
		}
		if !n.Bare {
			b.mark.Raise(g.Records.Segment(row.Segment))
		}
	}
	b.out = append(b.out, `{"resourceType":"Bundle","type":"history","timestamp":"`+now.UTC().Format(fhir.InstantLayout)+`"`...)
	b.requested(`"fullUrl":"urn:uuid:`+uuid.NewString()+`","resource":`+string(n.Status(told)), "GET", n.Link)
	if !n.Bare {
		for _, i := range told {
			row := &n.Rows[i]
			method, url := "PUT", row.Type+"/"+row.ID
			if row.Version == 1 {
				method, url = "POST", row.Type
			}
			b.requested(`"fullUrl":"`+g.Base+"/"+row.Type+"/"+row.ID+`"`, method, url)
		}
	}
	if b.notice {
		issues := []fhir.Issue{{Code: "informational", Text: StatementLong}}
		for _, s := range b.scopes {
			issues = append(issues, fhir.Issue{Code: "informational", Text: s})
		}
		b.requested(`"resource":`+string(fhir.Outcome("information", issues)), "GET", n.Link)
	}
	b.out = append(b.out, ']')
	b.highWater()
	b.out = append(b.out, '}')
	if err := g.append(ctx, b.events()...); err != nil {
		return nil, err
	}
	return &Released{body: b.out, notice: b.notice}, nil
}

// requested adds an entry with the request a history's entries need (bdl-3).
func (b *assembly) requested(content, method, url string) {
	b.next()
	b.out = append(append(b.out, '{'), content...)
	b.out = append(b.out, `,"request":{"method":"`+method+`","url":`...)
	b.out = append(append(b.out, fhir.Quote(url)...), `},"response":{"status":"200"}}`...)
}

// withoutSecrets leaves the channel's headers out of a Subscription: they are between its endpoint and the client that acts
// for itself, and not for apps that people of its organisation use.
func withoutSecrets(s fhir.Sealed) (fhir.Sealed, error) {
	root, err := fhir.ParseJSON(s.Doc)
	if err != nil {
		return s, err
	}
	channel := root.Get("channel")
	out := append(append([]byte{}, s.Doc[:channel.Start]...), '{') // meta stands before it, and where it stood
	for _, m := range channel.Members {
		if m.Name == "header" || m.Name == "_header" {
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(append(append(out, fhir.Quote(m.Name)...), ':'), m.Value.Raw()...)
	}
	s.Doc = append(append(out, '}'), s.Doc[channel.End:]...)
	return s, nil
}

// tells decides whether a subscriber may be told that there is a record.
func (g *Gate) tells(ctx context.Context, req Request, row *store.Row, now time.Time) (store.Subject, *decided, error) {
	subject, err := g.Records.Subject(ctx, row)
	if err != nil {
		return subject, nil, errors.Join(ErrUndecided, err)
	}
	d := g.decided(req.Principal, subject, row, now)
	return subject, d, d.failed
}
