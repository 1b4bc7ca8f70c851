package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
)

// Method is what a Change does.
type Method int

// The methods.
const (
	Create Method = iota + 1
	Update
	Delete
	// Keep changes nothing and reports the record as it stands; Skip reports that there was none to delete.
	Keep
	Skip
)

// Change is one write. Owner must be the custodian of what it changes; to anyone else a resource that
// exists and one that does not answer alike.
type Change struct {
	Method    Method
	Type, ID  string
	Resource  *fhir.Resource // nil for Delete
	Segment   label.Segment  // ignored for Delete
	Owner     string         // Organization id of the writer
	IfMatch   int64          // version the writer saw; 0 for none
	MayCreate bool           // an Update of an unknown id creates it
}

// Written is what a Change did.
type Written struct {
	Type, ID  string
	Version   int64
	Updated   time.Time
	Created   bool
	Unchanged bool // an identical body: no new version
	Deleted   bool
	Replayed  bool // done by an earlier request with the same key
	Patients  []string
	Segment   label.Segment
	Doc       []byte // stored bytes, nil for Delete
	Spans     string
}

// Errors of Apply. ChangeError tells which change failed.
var (
	ErrNotFound     = errors.New("store: no such resource for this writer")
	ErrPrecondition = errors.New("store: the version is not the one named")
	ErrExists       = errors.New("store: the id is taken")
	ErrLog          = errors.New("store: the audit log cannot be written") // so nothing was
)

// ChangeError is a failed change by its position.
type ChangeError struct {
	Index int
	Err   error
}

func (e *ChangeError) Error() string { return fmt.Sprintf("store: change %d: %v", e.Index, e.Err) }

// Unwrap gives the reason.
func (e *ChangeError) Unwrap() error { return e.Err }

// Commit is what is written together with the changes: audit leaves and deliveries.
type Commit struct {
	Leaves     []audit.Leaf
	Deliveries []Delivery
}

// writer is one write transaction's state.
type writer struct {
	s           *Store
	ctx         context.Context
	tx          Tx
	now         int64
	interned    map[dictKey]int64
	newSegments map[string]access.NumberedSegment
	touched     map[int64]bool // patients whose grants must be computed anew
	indexed     int            // index rows so far, against maxIndexRows
}

// write runs fn in one transaction with a fresh writer and shares what it interned after the commit.
func (s *Store) write(ctx context.Context, fn func(w *writer) error) error {
	now, err := s.now(ctx) // before the transaction: it may need a connection of its own
	if err != nil {
		return err
	}
	var last *writer
	err = s.engine.Write(ctx, func(tx Tx) error {
		last = &writer{s: s, ctx: ctx, tx: tx, now: now, interned: map[dictKey]int64{}, newSegments: map[string]access.NumberedSegment{}, touched: map[int64]bool{}}
		return fn(last)
	})
	if err != nil {
		return err
	}
	last.committed()
	return nil
}

// maxConflicts bounds how often a write is tried again after a key conflict with a concurrent one.
const maxConflicts = 5

// Apply makes all changes in one transaction, or none. finish, which may be nil, is called inside it
// with the results and returns what must be durable together with them; it may be called again.
func (s *Store) Apply(ctx context.Context, changes []Change, finish func([]Written) (Commit, error)) ([]Written, error) {
	var out []Written
	var err error
	for range maxConflicts {
		err = s.write(ctx, func(w *writer) error {
			out, err = w.apply(changes, finish)
			return err
		})
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (w *writer) apply(changes []Change, finish func([]Written) (Commit, error)) ([]Written, error) {
	out := make([]Written, len(changes))
	for _, last := range []bool{false, true} { // Provenance after its targets: it takes their patients
		for i, c := range changes {
			if (c.Type == "Provenance") != last {
				continue
			}
			var err error
			if out[i], err = w.change(c); err != nil {
				return nil, &ChangeError{i, err}
			}
		}
	}
	for pat := range w.touched {
		if err := w.materialize(pat); err != nil {
			return nil, err
		}
	}
	return out, w.finish(out, finish)
}

// finish writes what must be durable together with the changes.
func (w *writer) finish(out []Written, finish func([]Written) (Commit, error)) error {
	if finish == nil {
		return nil
	}
	commit, err := finish(out)
	if err != nil {
		return err
	}
	if err := w.insertLeaves(commit.Leaves); err != nil {
		return errors.Join(ErrLog, err)
	}
	return w.insertDeliveries(commit.Deliveries)
}

// head is a res row.
type head struct {
	rid, pat, ver, upd, seg, hash int64
	npat                          int64
	deleted                       bool
}

func (w *writer) head(typeNo int64, id string) (head, bool, error) {
	var h head
	var del int64
	sql := "SELECT rid,pat,npat,ver,upd,del,seg,hash FROM res WHERE part=0 AND type_no=? AND id=?"
	if w.s.dialect.Name == "postgres" {
		sql += " FOR UPDATE"
	}
	found, err := one(w.ctx, w.tx, sql, []any{typeNo, id}, &h.rid, &h.pat, &h.npat, &h.ver, &h.upd, &del, &h.seg, &h.hash)
	h.deleted = del == 1
	return h, found, err
}

func (w *writer) change(c Change) (Written, error) {
	if c.Method == Skip {
		return w.skip(c), nil
	}
	typeNo, err := w.intern(dictType, c.Type)
	if err != nil {
		return Written{}, err
	}
	h, found, err := w.head(typeNo, c.ID)
	if err != nil {
		return Written{}, err
	}
	if found && w.custodian(h.seg) != c.Owner {
		if c.Method == Create {
			return Written{}, ErrExists
		}
		return Written{}, ErrNotFound
	}
	switch {
	case c.Method == Delete:
		return w.remove(c, typeNo, h, found)
	case c.Method == Keep:
		return w.keep(c, h, found)
	case c.Method == Create && found:
		return Written{}, ErrExists
	case !found && c.Method == Update && !c.MayCreate:
		return Written{}, ErrNotFound
	case c.IfMatch != 0 && (!found || h.deleted || h.ver != c.IfMatch):
		return Written{}, ErrPrecondition
	}
	return w.put(c, typeNo, h, found)
}

func (w *writer) custodian(seg int64) string {
	if s := w.s.Segment(seg); s.Custodian != "" {
		return s.Custodian
	}
	for _, n := range w.newSegments {
		if n.No == seg {
			return n.Segment.Custodian
		}
	}
	s, err := w.segment(seg) // made by another replica, or in the same group commit
	if err != nil {
		return "" // nobody's: the change is refused
	}
	return s.Custodian
}

func (w *writer) put(c Change, typeNo int64, h head, found bool) (Written, error) {
	seg, err := w.internSegment(c.Segment)
	if err != nil {
		return Written{}, err
	}
	hash := fhir.ContentHash(c.Resource, c.ID)
	out := Written{Type: c.Type, ID: c.ID, Segment: c.Segment, Created: !found || h.deleted}
	if found && !h.deleted && h.hash == hash && h.seg == seg {
		return w.unchanged(c, h, out)
	}
	if !found {
		if h.rid, err = w.newRow(c, typeNo); err != nil {
			return Written{}, err
		}
	}
	pats, err := w.patients(c)
	if err != nil {
		return Written{}, err
	}
	if found && factType(c.Type) { // whom it stated facts about until now
		if err := w.touchFiled(h); err != nil {
			return Written{}, err
		}
	}
	updated := time.UnixMicro(w.now).UTC()
	sealed := fhir.Seal(c.Resource, c.ID, h.ver+1, updated, w.s.base)
	values := w.s.registry.Extract(c.Resource, w.s.base)
	if err := w.budget(values, len(pats)); err != nil {
		return Written{}, err
	}
	row := resRow{rid: h.rid, typeNo: typeNo, id: c.ID, pats: pats, ver: h.ver + 1, seq: w.s.ids.next(), seg: seg, hash: hash, clinical: values.Clinical}
	if err := w.saveHead(row, found); err != nil {
		return Written{}, err
	}
	op := int64(Update)
	if out.Created {
		op = int64(Create)
	}
	if err := w.saveBody(row, op, sealed); err != nil {
		return Written{}, err
	}
	if err := w.index(row, values, found); err != nil {
		return Written{}, err
	}
	if err := w.touch(c.Type, row); err != nil {
		return Written{}, err
	}
	if err := w.vouch(c, row.rid); err != nil {
		return Written{}, err
	}
	out.Version, out.Updated, out.Doc, out.Spans = row.ver, updated, sealed.Doc, sealed.Spans()
	out.Patients, err = w.patientIDs(pats)
	return out, err
}

// unchanged reports the stored version of an identical body.
func (w *writer) unchanged(c Change, h head, out Written) (Written, error) {
	out.Unchanged, out.Version, out.Updated = true, h.ver, time.UnixMicro(h.upd).UTC()
	var enc int64
	var doc []byte
	found, err := one(w.ctx, w.tx, "SELECT enc,doc,spans FROM body WHERE part=0 AND rid=? AND ver=?", []any{h.rid, h.ver}, &enc, &doc, &out.Spans)
	if err != nil {
		return Written{}, err
	}
	if !found {
		return Written{}, fmt.Errorf("store: %s has a head but no body", c.Type)
	}
	if out.Doc, err = w.s.decompress(enc, doc); err != nil {
		return Written{}, err
	}
	out.Patients, err = w.patientIDs([]int64{h.pat})
	return out, err
}

func (w *writer) remove(c Change, typeNo int64, h head, found bool) (Written, error) {
	switch {
	case !found:
		return Written{}, ErrNotFound
	case c.IfMatch != 0 && h.ver != c.IfMatch:
		return Written{}, ErrPrecondition
	}
	out := Written{Type: c.Type, ID: c.ID, Version: h.ver, Updated: time.UnixMicro(h.upd).UTC(), Deleted: true, Segment: w.s.Segment(h.seg)}
	if h.deleted {
		out.Unchanged = true
		return out, nil
	}
	seq := w.s.ids.next()
	n, err := w.tx.Exec(w.ctx, "UPDATE res SET ver=?,seq=?,upd=?,del=1,hash=0 WHERE part=0 AND rid=? AND ver=?", h.ver+1, seq, w.now, h.rid, h.ver)
	if err != nil {
		return Written{}, err
	}
	if n != 1 {
		return Written{}, ErrConflict
	}
	if _, err := w.tx.Exec(w.ctx, "INSERT INTO body (part,rid,ver,seq,at,type_no,pat,npat,seg,lo,hi,op,enc,doc,spans) SELECT 0,rid,ver,seq,upd,type_no,pat,npat,seg,lo,hi,?,0,?,'' FROM res WHERE part=0 AND rid=?", int64(Delete), []byte{}, h.rid); err != nil {
		return Written{}, err
	}
	if err := w.clearIndex(h.rid); err != nil {
		return Written{}, err
	}
	if factType(c.Type) {
		if err := w.touchFiled(h); err != nil {
			return Written{}, err
		}
	}
	out.Version, out.Updated = h.ver+1, time.UnixMicro(w.now).UTC()
	out.Patients, err = w.patientIDs([]int64{h.pat})
	return out, err
}

// The encodings of body.doc.
const (
	encRaw  = 0
	encZstd = 1
)

func (s *Store) compress(doc []byte) (int64, []byte) {
	packed := s.zstdEnc.EncodeAll(doc, make([]byte, 0, len(doc)/2))
	if len(packed) >= len(doc) {
		return encRaw, doc
	}
	return encZstd, packed
}

func (s *Store) decompress(enc int64, doc []byte) ([]byte, error) {
	if enc == encRaw || len(doc) == 0 {
		return doc, nil
	}
	out, err := s.zstdDec.DecodeAll(doc, nil)
	if err != nil {
		return nil, errors.New("store: a stored body cannot be decompressed")
	}
	return out, nil
}

// placeholders is "(?,?),(?,?)": rows groups of width marks.
func placeholders(rows, width int) string {
	group := "(0" + strings.Repeat(",?", width) + ")"
	return strings.TrimSuffix(strings.Repeat(group+",", rows), ",")
}
