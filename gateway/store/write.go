package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
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
	Fresh     bool           // a Create under an id just made at random: nobody can have it yet
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
	touched     map[int64]bool             // patients whose grants must be computed anew
	moved       map[int64]bool             // patients a record of whom is decided about otherwise now
	shared      map[int64]bool             // patients a record of several is filed under
	heads       map[fhir.Reference]*head   // rows locked, as they stand now
	keys        map[fhir.Reference]int64   // row keys found or made
	reserved    map[fhir.Reference]bool    // of these, keys without a resource
	patientOf   map[int64]string           // Patient ids by key
	filed       map[fhir.Reference][]int64 // what was written, and under whom
	segments    map[[2]int64]bool          // (patient, segment) pairs recorded
	pending     map[string]*pending
	rowCount    int // rows inserted so far
}

func (s *Store) newWriter(ctx context.Context, tx Tx, now int64) *writer {
	return &writer{s: s, ctx: ctx, tx: tx, now: now, interned: map[dictKey]int64{}, newSegments: map[string]access.NumberedSegment{},
		touched: map[int64]bool{}, heads: map[fhir.Reference]*head{}, moved: map[int64]bool{}, shared: map[int64]bool{}, keys: map[fhir.Reference]int64{}, reserved: map[fhir.Reference]bool{}, patientOf: map[int64]string{},
		filed: map[fhir.Reference][]int64{}, segments: map[[2]int64]bool{}, pending: map[string]*pending{}}
}

// write runs fn in one transaction with a fresh writer and shares what it interned after the commit.
func (s *Store) write(ctx context.Context, fn func(w *writer) error) error {
	now, err := s.now(ctx) // before the transaction: it may need a connection of its own
	if err != nil {
		return err
	}
	for range maxConflicts {
		var last *writer
		err = s.engine.Write(ctx, func(tx Tx) error {
			last = s.newWriter(ctx, tx, now)
			if err := fn(last); err != nil {
				return err
			}
			return last.flush()
		})
		if err = logged(err); err == nil {
			last.committed()
			return nil
		}
		if !errors.Is(err, errRowKeys) {
			return err
		}
		if err := s.reserveRowKeys(ctx, rowKeyBlock); err != nil {
			return err
		}
	}
	return err
}

// maxConflicts bounds how often a write is tried again after a key conflict with a concurrent one.
const maxConflicts = 5

// Apply makes all changes in one transaction, or none. finish, which may be nil, is called inside it
// with the results and returns what must be durable together with them; it may be called again.
func (s *Store) Apply(ctx context.Context, changes []Change, finish func([]Written) (Commit, error)) ([]Written, error) {
	var out []Written
	err := s.reserveRowKeys(ctx, int64(4*len(changes)))
	if err != nil {
		return nil, err
	}
	for range maxConflicts {
		err = s.write(ctx, func(w *writer) error {
			out, err = w.apply(changes, finish)
			return err
		})
		if !errors.Is(err, ErrConflict) {
			break
		}
		changes = slices.Clone(changes)
		for i := range changes { // whatever it was made from, look again
			changes[i].Fresh = false
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (w *writer) apply(changes []Change, finish func([]Written) (Commit, error)) ([]Written, error) {
	if err := w.lockHeads(changes); err != nil {
		return nil, err
	}
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
	if err := w.flush(); err != nil {
		return nil, err
	}
	for pat := range w.shared {
		if err := w.noteShared(pat); err != nil {
			return nil, err
		}
	}
	for pat := range w.moved {
		if w.touched[pat] {
			continue
		}
		if err := w.bumpEpoch(pat); err != nil {
			return nil, err
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

// head is a res row. present is true for a reserved key too, found only where there is a resource.
type head struct {
	rid, pat, seq, ver, upd, seg, hash, npat int64
	clinical                                 search.Range
	deleted, present                         bool
}

func (h head) found() bool { return h.ver > 0 }

// lockHeads locks and reads the head rows of what is changed, a statement for each type, and gives what is new its
// row key. A row this transaction has locked before is not read again.
func (w *writer) lockHeads(changes []Change) error {
	byType := map[string]Strings{}
	var met []fhir.Reference
	for _, c := range changes {
		ref := fhir.Reference{Type: c.Type, ID: c.ID}
		if w.heads[ref] != nil || c.Method == Skip {
			continue
		}
		w.heads[ref] = &head{}
		met = append(met, ref)
		if !c.Fresh {
			byType[c.Type] = append(byType[c.Type], c.ID)
		}
	}
	for typ, ids := range byType {
		if err := w.readHeads(typ, ids); err != nil {
			return err
		}
	}
	for _, ref := range met {
		h := w.heads[ref]
		if !h.present {
			k, err := w.s.rowKey()
			if err != nil {
				return err
			}
			h.rid = k
		}
		w.keys[ref] = h.rid
	}
	var referred []fhir.Reference
	if len(changes) > 1 {
		for _, c := range changes {
			if c.Resource != nil {
				referred = append(referred, fhir.References(c.Resource.Root, w.s.base)...)
			}
		}
	}
	return w.findKeys(referred)
}

// head locks and reads one head row.
func (w *writer) head(ref fhir.Reference) (*head, error) {
	if w.heads[ref] == nil {
		if err := w.readHeads(ref.Type, Strings{ref.ID}); err != nil {
			return nil, err
		}
	}
	if h := w.heads[ref]; h != nil {
		return h, nil
	}
	return &head{}, nil
}

func (w *writer) readHeads(typ string, ids Strings) error {
	typeNo, err := w.intern(dictType, typ)
	if err != nil {
		return err
	}
	sql, args := "SELECT id,rid,pat,npat,seq,ver,upd,del,seg,hash,lo,hi FROM res WHERE part=0 AND type_no=? AND ", []any{typeNo}
	if len(ids) == 1 {
		sql, args = sql+"id=?", append(args, ids[0])
	} else {
		slices.Sort(ids) // one order for all: no deadlocks between transactions
		sql, args = sql+w.s.dialect.In("id")+" ORDER BY id", append(args, ids)
	}
	if w.s.dialect.Name == "postgres" {
		sql += " FOR UPDATE"
	}
	return each(w.ctx, w.tx, sql, args, func(r Rows) error {
		var h head
		var del int64
		var id string
		if err := r.Scan(&id, &h.rid, &h.pat, &h.npat, &h.seq, &h.ver, &h.upd, &del, &h.seg, &h.hash, &h.clinical.Lo, &h.clinical.Hi); err != nil {
			return err
		}
		h.deleted, h.present = del == 1 && h.ver > 0, true
		w.heads[fhir.Reference{Type: typ, ID: id}] = &h
		return nil
	})
}

func (w *writer) change(c Change) (Written, error) {
	if c.Method == Skip {
		return w.skip(c), nil
	}
	typeNo, err := w.intern(dictType, c.Type)
	if err != nil {
		return Written{}, err
	}
	h := w.heads[fhir.Reference{Type: c.Type, ID: c.ID}]
	found := h.found()
	if found && w.custodian(h.seg) != c.Owner {
		if c.Method == Create {
			return Written{}, ErrExists
		}
		return Written{}, ErrNotFound
	}
	switch {
	case c.Method == Delete:
		return w.remove(c, h)
	case c.Method == Keep:
		return w.keep(c, *h)
	case c.Method == Create && found:
		return Written{}, ErrExists
	case !found && c.Method == Update && !c.MayCreate:
		return Written{}, ErrNotFound
	case c.IfMatch != 0 && (!found || h.deleted || h.ver != c.IfMatch):
		return Written{}, ErrPrecondition
	}
	return w.put(c, typeNo, h)
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

func (w *writer) put(c Change, typeNo int64, h *head) (Written, error) {
	seg, err := w.internSegment(c.Segment)
	if err != nil {
		return Written{}, err
	}
	found := h.found()
	hash := fhir.ContentHash(c.Resource, c.ID)
	out := Written{Type: c.Type, ID: c.ID, Segment: c.Segment, Created: !found || h.deleted}
	if found && !h.deleted && h.hash == hash && h.seg == seg {
		return w.unchanged(*h, out)
	}
	before, filed, err := w.stands(c.Type, c.ID, h)
	if err != nil {
		return Written{}, err
	}
	if err := w.unreserve(c.Type, h); err != nil {
		return Written{}, err
	}
	ref := fhir.Reference{Type: c.Type, ID: c.ID}
	w.keys[ref], w.reserved[ref] = h.rid, false
	pats, err := w.patients(c)
	if err != nil {
		return Written{}, err
	}
	sealed := fhir.Seal(c.Resource, c.ID, h.ver+1, w.at(), w.s.base)
	values := w.s.registry.Extract(c.Resource, w.s.base)
	row := resRow{rid: h.rid, typeNo: typeNo, id: c.ID, pats: pats, ver: h.ver + 1, seq: w.s.ids.next(), seg: seg, hash: hash, clinical: values.Clinical}
	if found && (h.seg != seg || h.clinical != values.Clinical || !slices.Equal(filed, pats)) {
		w.noteMoved(filed)
	}
	if err := w.saveHead(row, *h); err != nil {
		return Written{}, err
	}
	op := int64(Update)
	if out.Created {
		op = int64(Create)
	}
	w.saveBody(row, op, sealed)
	after, err := w.rows(c.Type, row.rid, pats, values)
	if err != nil {
		return Written{}, err
	}
	if err := w.index(before, after); err != nil {
		return Written{}, err
	}
	if w.rowCount > maxIndexRows {
		return Written{}, ErrTooMany
	}
	if err := w.touch(c.Type, row); err != nil {
		return Written{}, err
	}
	if err := w.vouch(c, row.rid); err != nil {
		return Written{}, err
	}
	*h = head{rid: row.rid, pat: row.owner(), seq: row.seq, ver: row.ver, upd: w.now, seg: seg, hash: hash, npat: int64(len(pats)), clinical: values.Clinical, present: true}
	w.filed[ref] = pats
	out.Version, out.Updated, out.Doc, out.Spans = row.ver, w.at(), sealed.Doc, sealed.Spans()
	out.Patients, err = w.patientIDs(pats)
	return out, err
}

// stands is the index rows of what a head points at now, and whom it is filed under; none where nothing stands. A
// fact that stood there may change the grants of whom it was about.
func (w *writer) stands(typ, id string, h *head) (rows indexRows, filed []int64, err error) {
	if !h.found() || h.deleted {
		return rows, nil, nil
	}
	if err := w.flush(); err != nil { // this transaction may have written it
		return rows, nil, err
	}
	if filed, err = w.filedNow(*h); err != nil {
		return rows, nil, err
	}
	if factType(typ) {
		w.touchFiled(filed)
	}
	sealed, err := w.stored(*h)
	if err != nil {
		return rows, nil, err
	}
	res, err := fhir.ReadTrusted(sealed.Doc)
	if err != nil {
		return rows, nil, err
	}
	rows, err = w.rows(typ, h.rid, filed, w.s.registry.Extract(withID(res, id), w.s.base))
	return rows, filed, err
}

// noteMoved marks patients a record of whom was deleted or is decided about otherwise than before: what was known of
// who may see it is known no longer.
func (w *writer) noteMoved(pats []int64) {
	for _, pat := range pats {
		w.moved[pat] = true
	}
}

// errNoBody is a head that points at nothing.
var errNoBody = errors.New("store: a resource has a head but no body")

// unchanged reports the stored version of an identical body.
func (w *writer) unchanged(h head, out Written) (Written, error) {
	out.Unchanged, out.Version, out.Updated = true, h.ver, time.UnixMicro(h.upd).UTC()
	if err := w.flush(); err != nil {
		return Written{}, err
	}
	sealed, err := w.stored(h)
	if err != nil {
		return Written{}, err
	}
	out.Doc, out.Spans = sealed.Doc, sealed.Spans()
	if h.pat != 0 {
		out.Patients, err = w.patientIDs([]int64{h.pat})
	}
	return out, err
}

func (w *writer) remove(c Change, h *head) (Written, error) {
	switch {
	case !h.found():
		return Written{}, ErrNotFound
	case c.IfMatch != 0 && h.ver != c.IfMatch:
		return Written{}, ErrPrecondition
	}
	out := Written{Type: c.Type, ID: c.ID, Version: h.ver, Updated: time.UnixMicro(h.upd).UTC(), Deleted: true, Segment: w.s.Segment(h.seg)}
	if h.deleted {
		out.Unchanged = true
		return out, nil
	}
	before, filed, err := w.stands(c.Type, c.ID, h)
	if err != nil {
		return Written{}, err
	}
	w.noteMoved(filed)
	seq := w.s.ids.next()
	if err := w.tx.Queue(w.ctx, "UPDATE res SET ver=?,seq=?,upd=?,del=1,hash=0 WHERE part=0 AND rid=?", h.ver+1, seq, w.now, h.rid); err != nil {
		return Written{}, err
	}
	if err := w.tx.Queue(w.ctx, "INSERT INTO body (part,rid,ver,seq,at,type_no,pat,npat,seg,lo,hi,op,enc,doc) SELECT 0,rid,ver,seq,upd,type_no,pat,npat,seg,lo,hi,CAST(? AS SMALLINT),0,CAST(? AS "+w.s.dialect.Blob+") FROM res WHERE part=0 AND rid=?", int64(Delete), []byte{}, h.rid); err != nil {
		return Written{}, err
	}
	if err := w.index(before, indexRows{}); err != nil {
		return Written{}, err
	}
	h.ver, h.seq, h.upd, h.hash, h.deleted = h.ver+1, seq, w.now, 0, true
	out.Version, out.Updated = h.ver, w.at()
	if h.pat != 0 {
		out.Patients, err = w.patientIDs([]int64{h.pat})
	}
	return out, err
}

// placeholders is "(?,?),(?,?)": rows groups of width marks.
func placeholders(rows, width int) string {
	group := "(0" + strings.Repeat(",?", width) + ")"
	return strings.TrimSuffix(strings.Repeat(group+",", rows), ",")
}
