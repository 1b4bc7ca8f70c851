package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
)

// ErrTooMany is returned when one transaction would write more index rows than maxIndexRows.
var ErrTooMany = errors.New("store: the transaction writes too many index rows")

// maxIndexRows bounds what one transaction may add to the index: more would hold every other writer up.
const maxIndexRows = 100_000

// Transaction is a write whose changes depend on what is stored: conditions, patches, references by search.
type Transaction struct {
	Owner  string                          // organisation that writes
	Once   *Once                           // nil when the client did not ask to be able to repeat it
	Plan   func(*View) ([]Change, error)   // may be called again
	Limits *access.Limits                  // of the writer's token, on what conditions look at; nil for none
	Finish func([]Written) (Commit, error) // as for Apply
}

// Transact plans and makes changes in one transaction. replayed reports that the same request was made
// before: then nothing is planned or changed, and out is what it did then, as it is stored now.
func (s *Store) Transact(ctx context.Context, t Transaction) (out []Written, replayed bool, err error) {
	if err := s.reserveRowKeys(ctx, 0); err != nil {
		return nil, false, err
	}
	for range maxConflicts {
		err = s.write(ctx, func(w *writer) error {
			out, replayed, err = w.transact(t)
			return err
		})
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return nil, false, err
	}
	return out, replayed, nil
}

func (w *writer) transact(t Transaction) (out []Written, replayed bool, err error) {
	if t.Once != nil {
		out, replayed, err = w.before(t.Once, t.Owner)
		if err != nil {
			return nil, false, err
		}
		if replayed {
			return out, true, w.finish(out, t.Finish)
		}
	}
	changes, err := t.Plan(&View{w: w, owner: t.Owner, limits: t.Limits})
	if err != nil {
		return nil, false, err
	}
	if out, err = w.apply(changes, t.Finish); err != nil {
		return nil, false, err
	}
	if t.Once != nil {
		err = w.remember(t.Once, out)
	}
	return out, false, err
}

// View is what the plan of a Transaction sees: the writer's own records and nobody else's.
type View struct {
	w      *writer
	owner  string
	own    Int64s // the owner's segments, read once
	limits *access.Limits
}

// Current is an own resource as it stands, with its labels spliced in, and its version. It stays locked until the
// transaction ends. One that is deleted, unknown or another's is ErrNotFound, and so is one that is not about the
// patient only alone, where that is given.
func (v *View) Current(typ, id, only string) (*fhir.Resource, int64, error) {
	w := v.w
	h, err := w.head(fhir.Reference{Type: typ, ID: id})
	if err != nil {
		return nil, 0, err
	}
	segment, err := w.segment(h.seg)
	if err != nil {
		return nil, 0, err
	}
	if !h.found() || h.deleted || segment.Custodian != v.owner {
		return nil, 0, ErrNotFound
	}
	if err := w.confined(*h, only); err != nil {
		return nil, 0, err
	}
	kept, err := w.unchanged(*h, Written{})
	if err != nil {
		return nil, 0, err
	}
	doc, ok := fhir.ReadSpans(kept.Doc, kept.Spans).WithSecurity(plainLabels(segment))
	if !ok {
		return nil, 0, fmt.Errorf("store: %s has a damaged span table", typ)
	}
	res, err := fhir.ReadTrusted(doc)
	return res, h.ver, err
}

// Cut reports whether release would cut references out of an own resource that a token confined to one patient shows. One
// that it does not show, or that is not there, has none.
func (v *View) Cut(f access.Filter, typ, id string) (bool, error) {
	w := v.w
	h, err := w.head(fhir.Reference{Type: typ, ID: id})
	if err != nil {
		return false, err
	}
	segment, err := w.segment(h.seg)
	if err != nil || !h.found() || h.deleted || segment.Custodian != v.owner {
		return false, err
	}
	c, err := w.s.compile(w.ctx, w.tx, f)
	if err != nil || h.npat > 1 || h.npat == 1 && h.pat != c.launch {
		return false, err
	}
	kept, err := w.unchanged(*h, Written{})
	if err != nil {
		return false, err
	}
	row := Row{Segment: h.seg, pat: h.pat, npat: h.npat}
	row.seal(fhir.ReadSpans(kept.Doc, kept.Spans))
	hidden := map[fhir.Reference]bool{}
	err = w.s.follow(w.ctx, w.tx, c, w.s.unknown(c, []Row{row}, w.s.ownRow(f), w.now), hidden, w.now)
	return len(hidden) > 0, err
}

// plainLabels is a segment as the JSON of meta.security.
func plainLabels(s label.Segment) []byte {
	var out []byte
	for i, l := range s.Security() {
		out = append(out, "[,"[min(i, 1)])
		out = append(out, '{')
		if l.System != "" {
			out = append(append(append(out, `"system":`...), fhir.Quote(l.System)...), ',')
		}
		out = append(append(append(out, `"code":`...), fhir.Quote(l.Code)...), '}')
	}
	if out == nil {
		return nil
	}
	return append(out, ']')
}

// segment is a segment by number, those other replicas and writes not yet durable made included.
func (w *writer) segment(no int64) (label.Segment, error) {
	if s := w.s.Segment(no); s.Custodian != "" || no == 0 {
		return s, nil
	}
	var out label.Segment
	err := each(w.ctx, w.tx, "SELECT body FROM segment WHERE seg=?", []any{no}, func(r Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		return readSegment(body, &out)
	})
	return out, err
}

// keep reports an own resource as it stands: what a conditional create that found its match did.
func (w *writer) keep(c Change, h head) (Written, error) {
	if !h.found() || h.deleted {
		return Written{}, ErrNotFound
	}
	segment, err := w.segment(h.seg)
	if err != nil {
		return Written{}, err
	}
	return w.unchanged(h, Written{Type: c.Type, ID: c.ID, Segment: segment})
}

// skip reports that there was nothing to do.
func (w *writer) skip(c Change) Written {
	return Written{Type: c.Type, ID: c.ID, Updated: time.UnixMicro(w.now).UTC(), Deleted: true, Unchanged: true, Segment: label.Segment{Custodian: c.Owner}}
}
