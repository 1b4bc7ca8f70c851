package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
)

// relabelBatch is how many records one transaction labels anew: grants of their patients are computed in it.
const relabelBatch = 100

// The states of a relabelling. One that another pack overtook stays as it is.
const (
	RelabelRunning = "running"
	RelabelDone    = "done"
)

// Relabelling is a pass over all records under one pack.
type Relabelling struct {
	No                   int64
	Pack, State          string
	Done, Changed, Total int64
	Started, Ended       time.Time // Ended is zero while it runs
	next                 int64
}

const relabelColumns = "no,pack,state,next,done,changed,total,started,ended"

// BeginRelabel starts labelling all records anew under the pack of a classifier, unless they are already, or it has been
// begun. The pack begun last is the one that counts: a replica with another one leaves the work to those that have it.
func (s *Store) BeginRelabel(ctx context.Context, c *label.Classifier) error {
	return s.write(ctx, func(w *writer) error {
		if s.dialect.Name == "postgres" { // two replicas starting together begin it once
			if _, err := w.tx.Exec(ctx, "LOCK TABLE label_job IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return err
			}
		}
		pack, err := w.intern(dictPack, c.Version())
		if err != nil {
			return err
		}
		last, found, err := lastRelabel(ctx, w.tx)
		if err != nil || found && last.Pack == c.Version() && last.State == RelabelRunning {
			return err
		}
		due, err := w.anyLabelledOtherwise(pack)
		if err != nil {
			return err
		}
		state, ended := RelabelRunning, int64(0)
		if !due {
			if found && last.Pack == c.Version() {
				return nil
			}
			state, ended = RelabelDone, w.now
		}
		var total int64
		if _, err := one(ctx, w.tx, "SELECT COUNT(*) FROM res WHERE part=0 AND ver>0", nil, &total); err != nil {
			return err
		}
		job := Relabelling{No: last.No + 1, Pack: c.Version(), State: state, Total: total}
		_, err = w.tx.Exec(ctx, "INSERT INTO label_job ("+relabelColumns+") VALUES (?,?,?,0,0,0,?,?,?)", job.No, job.Pack, state, total, w.now, ended)
		if err != nil || state == RelabelDone {
			return err
		}
		return w.logRelabel(job, "started")
	})
}

func (w *writer) logRelabel(j Relabelling, outcome string) error {
	leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Admin, At: w.at(), Client: "gateway", Organization: access.OperatorID, Purpose: "HSYSADMIN",
		Interaction: "relabel", Outcome: outcome,
		Detail: map[string]string{"pack": j.Pack, "records": fmt.Sprint(j.Total), "looked-at": fmt.Sprint(j.Done), "changed": fmt.Sprint(j.Changed)}})
	if err != nil {
		return err
	}
	if err := w.insertLeaves([]audit.Leaf{leaf}); err != nil {
		return errors.Join(ErrLog, err)
	}
	return nil
}

func lastRelabel(ctx context.Context, tx Tx) (j Relabelling, found bool, err error) {
	var started, ended int64
	found, err = one(ctx, tx, "SELECT "+relabelColumns+" FROM label_job ORDER BY no DESC LIMIT 1", nil,
		&j.No, &j.Pack, &j.State, &j.next, &j.Done, &j.Changed, &j.Total, &started, &ended)
	if found {
		j.Started = time.UnixMicro(started).UTC()
	}
	if ended != 0 {
		j.Ended = time.UnixMicro(ended).UTC()
	}
	return j, found, err
}

// LastRelabel is the relabelling begun last; found is false before the first start.
func (s *Store) LastRelabel(ctx context.Context) (j Relabelling, found bool, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		j, found, err = lastRelabel(ctx, tx)
		return err
	})
	return j, found, err
}

// Relabel labels the next records anew under the pack of a classifier. worked is false when there is nothing to do, or when
// another pack counts. Versions stay: labels stand on the head. A batch, its position and what follows for the patients
// are one transaction: it may be killed at any time, run again and run on several replicas.
func (s *Store) Relabel(ctx context.Context, c *label.Classifier) (worked bool, err error) {
	mine := func(j Relabelling, found bool) bool {
		return found && j.State == RelabelRunning && j.Pack == c.Version()
	}
	job, found, err := s.LastRelabel(ctx)
	if err != nil || !mine(job, found) {
		return false, err
	}
	err = s.write(ctx, func(w *writer) error {
		// Locks the row: a second replica waits here and then goes on where this one ended.
		if _, err := w.tx.Exec(ctx, "UPDATE label_job SET total=total WHERE no=?", job.No); err != nil {
			return err
		}
		job, found, err := lastRelabel(ctx, w.tx)
		if err != nil {
			return err
		}
		if !mine(job, found) {
			return errSettled
		}
		return w.relabel(job, c)
	})
	switch {
	case errors.Is(err, errSettled):
		return false, nil
	case errors.Is(err, ErrConflict): // with a write about the same patient: the next step does it again
		return true, nil
	}
	return err == nil, err
}

// relabel does one batch of a job.
func (w *writer) relabel(j Relabelling, c *label.Classifier) error {
	pack, err := w.intern(dictPack, c.Version())
	if err != nil {
		return err
	}
	records, err := w.labelledOtherwise(pack, j.next)
	if err != nil {
		return err
	}
	sources, err := w.sources()
	if err != nil {
		return err
	}
	for _, r := range records {
		changed, err := w.relabelOne(r, c, pack, sources)
		if err != nil {
			return err
		}
		j.next = r.rid
		j.Done++
		if changed {
			j.Changed++
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.settlePatients(); err != nil {
		return err
	}
	ended := int64(0)
	if len(records) < relabelBatch {
		// Writers with another pack may have come behind: they are looked for once more, from the beginning.
		if j.next == 0 {
			j.State, ended = RelabelDone, w.now
		}
		j.next = 0
	}
	_, err = w.tx.Exec(w.ctx, "UPDATE label_job SET state=?,next=?,done=?,changed=?,total=CASE WHEN total<? THEN ? ELSE total END,ended=? WHERE no=?",
		j.State, j.next, j.Done, j.Changed, j.Done, j.Done, ended, j.No)
	if err != nil || j.State != RelabelDone {
		return err
	}
	return w.logRelabel(j, "done")
}

// labelledRecord is a head with what labelling it takes.
type labelledRecord struct {
	head
	typ, id string
	typeNo  int64
}

const labelledSQL = "SELECT r.rid,d.name,r.type_no,r.id,r.pat,r.npat,r.seq,r.ver,r.seg,r.pack,r.given,r.del FROM res r JOIN dict d ON d.kind=1 AND d.no=r.type_no WHERE r.part=0 AND r.ver>0"

func (w *writer) labelledRecords(where string, args ...any) ([]labelledRecord, error) {
	if w.s.dialect.Name == "postgres" { // nobody changes a record while it is labelled
		where += " FOR UPDATE OF r"
	}
	var out []labelledRecord
	err := each(w.ctx, w.tx, labelledSQL+where, args, func(r Rows) error {
		var l labelledRecord
		var del int64
		err := r.Scan(&l.rid, &l.typ, &l.typeNo, &l.id, &l.pat, &l.npat, &l.seq, &l.ver, &l.seg, &l.pack, &l.given, &del)
		l.deleted, l.present = del == 1, true
		out = append(out, l)
		return err
	})
	return out, err
}

func (w *writer) labelledOtherwise(pack, after int64) ([]labelledRecord, error) {
	return w.labelledRecords(" AND r.rid>? AND r.pack<>? ORDER BY r.rid LIMIT ?", after, pack, relabelBatch)
}

// anyLabelledOtherwise is asked at every start: two ranges of an index, where <> would read all records. Reserved keys, which
// are no records, have pack -1.
func (w *writer) anyLabelledOtherwise(pack int64) (found bool, err error) {
	for _, side := range []string{"pack>=0 AND pack<?", "pack>?"} {
		var n int64
		if found, err = one(w.ctx, w.tx, "SELECT 1 FROM res WHERE part=0 AND ver>0 AND "+side+" LIMIT 1", []any{pack}, &n); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// sources is every organisation as labelling sees it.
func (w *writer) sources() (map[string]label.Source, error) {
	out := map[string]label.Source{}
	orgs, err := organizations(w.ctx, w.tx)
	for _, o := range orgs {
		out[o.ID] = o.Source()
	}
	return out, err
}

// relabelOne gives a record the labels a classifier finds. What is not known any more is kept: labels of a record whose
// pack is not known, and that the record was a Part 2 program's.
func (w *writer) relabelOne(r labelledRecord, c *label.Classifier, pack int64, sources map[string]label.Source) (changed bool, err error) {
	ground, err := w.labelGround(r, sources)
	if err != nil {
		return false, err
	}
	verdict := ground.Verdict(c)
	segment, err := w.reviewed(verdict, r.head)
	if err != nil {
		return false, err
	}
	given, err := w.give(ground.Given)
	if err != nil {
		return false, err
	}
	pats, err := w.filedNow(r.head)
	if err != nil {
		return false, err
	}
	if segment, err = w.marked(segment, ground.Resource, r.typ, r.id, pats); err != nil {
		return false, err
	}
	seg, err := w.internSegment(segment)
	if err != nil {
		return false, err
	}
	if err := w.tx.Queue(w.ctx, "UPDATE res SET seg=?,pack=?,given=? WHERE part=0 AND rid=?", seg, pack, given, r.rid); err != nil {
		return false, err
	}
	if seg == r.seg {
		return false, nil
	}
	w.noteMoved(pats)
	if err := w.noteSegment(r.rid, seg); err != nil {
		return false, err
	}
	return true, w.touch("", resRow{rid: r.rid, pats: pats, seg: seg})
}

// LabelGround is what the labels of a stored record are found from.
type LabelGround struct {
	Resource *fhir.Resource
	Source   label.Source
	Given    label.Given
	Segment  label.Segment // as it stands
	Pack     string        // it was labelled under, "" when not known
	Patients []string
}

// Verdict is what a classifier says of it.
func (g LabelGround) Verdict(c *label.Classifier) label.Verdict {
	return c.Examine(g.Resource, g.Source, nil).Under(g.Given)
}

func (w *writer) labelGround(r labelledRecord, sources map[string]label.Source) (LabelGround, error) {
	var g LabelGround
	var err error
	if g.Segment, g.Given, err = w.givenTo(r.head); err != nil {
		return g, err
	}
	var known bool
	if g.Source, known = sources[g.Segment.Custodian]; !known {
		g.Source = label.Source{Organization: g.Segment.Custodian, Covered: g.Segment.Covered, Evaluator: g.Segment.Evaluator}
	}
	g.Source.Part2 = g.Source.Part2 || g.Segment.Part2
	if r.pack != 0 {
		if g.Pack, err = w.packName(r.pack); err != nil {
			return g, err
		}
	}
	sealed, err := w.lastLive(r.head)
	if err != nil {
		return g, err
	}
	res, err := fhir.ReadTrusted(sealed.Doc)
	if err != nil {
		return g, fmt.Errorf("store: a stored %s cannot be read", r.typ)
	}
	g.Resource = withID(res, r.id)
	return g, nil
}

func (w *writer) packName(no int64) (string, error) {
	if name := w.s.name(dictPack, no); name != "" {
		return name, nil
	}
	var name string
	_, err := one(w.ctx, w.tx, "SELECT name FROM dict WHERE kind=? AND no=?", []any{dictPack, no}, &name)
	return name, err
}

// lastLive is the newest version of a record with a body: of a deleted one, the version before.
func (w *writer) lastLive(h head) (fhir.Sealed, error) {
	if !h.deleted {
		return w.stored(h)
	}
	var enc int64
	var doc []byte
	found, err := one(w.ctx, w.tx, "SELECT enc,doc FROM body WHERE part=0 AND rid=? AND op<>? ORDER BY ver DESC LIMIT 1", []any{h.rid, int64(Delete)}, &enc, &doc)
	if err == nil && !found {
		err = errNoBody
	}
	if err != nil {
		return fhir.Sealed{}, err
	}
	return w.s.decompress(enc, doc)
}

// LabelGround finds what the labels of a stored record rest on; ErrNotFound.
func (s *Store) LabelGround(ctx context.Context, ref fhir.Reference) (g LabelGround, err error) {
	err = s.write(ctx, func(w *writer) error {
		r, sources, err := w.oneLabelled(ref)
		if err != nil {
			return err
		}
		if g, err = w.labelGround(r, sources); err != nil {
			return err
		}
		pats, err := w.filedNow(r.head)
		if err != nil {
			return err
		}
		g.Patients, err = w.patientIDs(pats)
		return err
	})
	return g, err
}

func (w *writer) oneLabelled(ref fhir.Reference) (labelledRecord, map[string]label.Source, error) {
	records, err := w.labelledRecords(" AND d.name=? AND r.id=?", ref.Type, ref.ID)
	if err == nil && len(records) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return labelledRecord{}, nil, err
	}
	sources, err := w.sources()
	return records[0], sources, err
}
