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
	Method   Method
	Type, ID string
	Resource *fhir.Resource // nil for Delete
	Segment  label.Segment  // ignored for Delete
	Owner    string         // Organization id of the writer
	Verdict  *label.Verdict // what Segment rests on; nil where nobody will ask. Its Segment is not looked at
	Mapped   bool           // the labels the verdict was given are all there are: those of an earlier mapping are over
	// LabelsStand says that Segment is the stored record's own, and what it rests on is what it was.
	LabelsStand bool
	IfMatch     int64 // version the writer saw; 0 for none
	MayCreate   bool  // an Update of an unknown id creates it
	Fresh       bool  // a Create under an id just made at random: nobody can have it yet
	// Only is the id of the one Patient in whose compartment, and in no other, the resource has to be: afterwards, or the
	// change is ErrOutside, and before, or the resource is as one that does not exist. "" for no such bound.
	Only string
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
	ErrOutside      = errors.New("store: the resource would be outside the compartment the writer is confined to")
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

// Commit is what is written together with the changes: audit leaves, deliveries, Subscriptions as they are served from now on,
// and what keepers sent of the records the changes were made of.
type Commit struct {
	Leaves        []audit.Leaf
	Deliveries    []Delivery
	Subscriptions []Subscription
	Sent          []Sent
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
	rowCount    int                // rows inserted so far
	marks       map[int64][]string // of patients' consents, by patient key
	resegmented map[int64]bool     // patients a record of whom got another segment by a consent
	agreed      map[string]bool    // organisations with which an agreement changed
}

func (s *Store) newWriter(ctx context.Context, tx Tx, now int64) *writer {
	return &writer{s: s, ctx: ctx, tx: tx, now: now, interned: map[dictKey]int64{}, newSegments: map[string]access.NumberedSegment{},
		touched: map[int64]bool{}, heads: map[fhir.Reference]*head{}, moved: map[int64]bool{}, shared: map[int64]bool{}, keys: map[fhir.Reference]int64{}, reserved: map[fhir.Reference]bool{}, patientOf: map[int64]string{},
		filed: map[fhir.Reference][]int64{}, segments: map[[2]int64]bool{}, pending: map[string]*pending{}, marks: map[int64][]string{}, resegmented: map[int64]bool{}, agreed: map[string]bool{}}
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
			if len(last.agreed) > 0 {
				return s.agreed(ctx, last.agreed)
			}
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
	if err := w.settlePatients(); err != nil {
		return nil, err
	}
	if err := w.oweSubscribers(out); err != nil {
		return nil, err
	}
	return out, w.finish(out, finish)
}

// settlePatients makes what was noted about patients hold: shared records, epochs, grants.
func (w *writer) settlePatients() error {
	for pat := range w.shared {
		if err := w.noteShared(pat); err != nil {
			return err
		}
	}
	for pat := range w.moved {
		if w.touched[pat] {
			continue
		}
		if err := w.bumpEpoch(pat); err != nil {
			return err
		}
	}
	if err := w.materializeTouched(); err != nil {
		return err
	}
	if len(w.agreed) > 0 {
		if err := putSetting(w.ctx, w.tx, settingStale, []byte("1")); err != nil {
			return err
		}
	}
	return nil
}

// materializeTouched computes the grants of every patient whose facts, segments or marks changed. Marking a record of
// several patients gives the others a new segment, too.
func (w *writer) materializeTouched() error {
	done := map[int64]bool{}
	for len(w.touched) > 0 {
		for pat := range w.touched {
			delete(w.touched, pat)
			done[pat] = true
			if err := w.materialize(pat); err != nil {
				return err
			}
		}
		for pat := range w.resegmented {
			delete(w.resegmented, pat)
			if !done[pat] {
				w.touched[pat] = true
			}
		}
	}
	return nil
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
	if err := w.subscribe(commit.Subscriptions); err != nil {
		return err
	}
	if err := w.putSent(commit.Sent); err != nil {
		return err
	}
	return w.insertDeliveries(commit.Deliveries)
}

func (w *writer) change(c Change) (Written, error) {
	if c.Method == Skip {
		return w.skip(c), nil
	}
	if c.Owner == "" { // nobody's client holds nothing
		return Written{}, ErrNotFound
	}
	if err := w.stays(c); err != nil { // first: it must not depend on what is stored
		return Written{}, err
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
	if found {
		if err := w.confined(*h, c.Only); err != nil {
			return Written{}, err
		}
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

// placeholders is "(?,?),(?,?)": rows groups of width marks.
func placeholders(rows, width int) string {
	group := "(0" + strings.Repeat(",?", width) + ")"
	return strings.TrimSuffix(strings.Repeat(group+",", rows), ",")
}
