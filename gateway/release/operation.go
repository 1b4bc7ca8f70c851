package release

import (
	"context"
	"errors"
	"strconv"
	"time"

	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// View is another form of one resource. Of makes it of the bytes that may be released, before the log takes their
// digest. KeepsMeta says that meta, and with it labels and the 2.32 statement, is still in it; without it the form must
// hold nothing of what the statement speaks of.
type View struct {
	Of        func(released []byte) ([]byte, error)
	KeepsMeta bool
}

// Grade is how well a row of a $match fits (https://hl7.org/fhir/R4/patient-operation-match.html).
type Grade struct {
	Score float64 // from 0 to 1
	Code  string  // certain, probable or possible
}

// extGrade marks a match with its grade.
const extGrade = "http://hl7.org/fhir/StructureDefinition/match-grade"

// grade ends an entry of a $match.
func (b *assembly) grade(row *store.Row) {
	g := b.set.Grades[row.ID]
	b.out = append(b.out, `,"search":{"extension":[{"url":"`+extGrade+`","valueCode":"`+g.Code+`"}],"mode":"match","score":`...)
	b.out = strconv.AppendFloat(b.out, g.Score, 'f', 2, 64)
	b.out = append(b.out, "}}"...)
}

// Document is the identity of a document Bundle (https://hl7.org/fhir/R4/documents.html#bundle).
type Document struct {
	ID   string // a UUID
	Made time.Time
}

func (b *assembly) document() {
	if d := b.set.Document; d != nil {
		b.out = append(b.out, `,"identifier":{"system":"urn:ietf:rfc:3986","value":"urn:uuid:`+d.ID+`"},"timestamp":"`+d.Made.UTC().Format(fhir.InstantLayout)+`"`...)
	}
}

// Answer releases what was made from the request and from public directory entries alone: an outcome of $validate, an
// answer of a terminology operation. It is logged as one event about nobody. Whoever calls it vouches that no record
// of a patient went into body.
func (g *Gate) Answer(ctx context.Context, req Request, body []byte) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	ev := g.event(req, audit.Disclosure, now)
	ev.Outcome, ev.Released, ev.ReleasedBytes = "released", audit.Digest(body), int64(len(body))
	if err := g.append(ctx, ev); err != nil {
		return nil, err
	}
	return &Released{body: body}, nil
}

// WrittenAs is Written for a writer that asked for another form than the whole.
func (g *Gate) WrittenAs(req Request, w store.Written, view View) (*Released, error) {
	r, err := g.Written(req, w)
	if err != nil {
		return nil, err
	}
	if !view.KeepsMeta {
		return nil, errors.New("release: a view of a written resource keeps its labels")
	}
	r.body, err = view.Of(r.body)
	return r, err
}
