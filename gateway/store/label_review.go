package store

import (
	"context"
	"errors"
	"time"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
)

// LabelReview is a record only words say something about, waiting for a person or looked at by one.
type LabelReview struct {
	Record    fhir.Reference
	Custodian string
	Rules     string // ids of the text rules, separated by spaces
	State     string
	At        time.Time
	Reviewer  string
	Outcome   string // ActCode label a kept record was given, "" for none
	Settled   time.Time
}

// Said is the state with the label a kept record was given.
func (r LabelReview) Said() string {
	if r.Outcome != "" {
		return r.State + " as " + r.Outcome
	}
	return r.State
}

// LabelAnswer is what a person says of a record in the queue.
type LabelAnswer struct {
	State    string // ReviewKept or ReviewCleared
	Outcome  string // with ReviewKept: the ActCode label the record gets instead of unclassified; "" for none
	Reviewer string
}

// LabelReviews lists the queue, oldest first: reviews in a state, "" for all. Of records that were deleted there are none.
func (s *Store) LabelReviews(ctx context.Context, state string, limit int) ([]LabelReview, error) {
	return s.reviews(ctx, "(v.state=? OR ?='') ORDER BY v.at,v.rid LIMIT ?", state, state, limit)
}

// LabelReviewsOf lists what was asked and said about one record, oldest first.
func (s *Store) LabelReviewsOf(ctx context.Context, ref fhir.Reference) ([]LabelReview, error) {
	return s.reviews(ctx, "d.name=? AND r.id=? ORDER BY v.at", ref.Type, ref.ID)
}

func (s *Store) reviews(ctx context.Context, where string, args ...any) ([]LabelReview, error) {
	if err := s.refreshSegments(ctx); err != nil {
		return nil, err
	}
	var out []LabelReview
	err := s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT d.name,r.id,r.seg,v.rules,v.state,v.at,v.reviewer,v.outcome,v.settled FROM label_review v JOIN res r ON r.part=0 AND r.rid=v.rid JOIN dict d ON d.kind=1 AND d.no=r.type_no "+
			"WHERE v.part=0 AND r.del=0 AND "+where, args, func(r Rows) error {
			var v LabelReview
			var seg, at, settled int64
			err := r.Scan(&v.Record.Type, &v.Record.ID, &seg, &v.Rules, &v.State, &at, &v.Reviewer, &v.Outcome, &settled)
			v.Custodian, v.At = s.custodian(seg), time.UnixMicro(at).UTC()
			if settled != 0 {
				v.Settled = time.UnixMicro(settled).UTC()
			}
			out = append(out, v)
			return err
		})
	})
	return out, err
}

// refreshSegments takes over segments other replicas made.
func (s *Store) refreshSegments(ctx context.Context) error {
	_, err := s.Segments(ctx)
	return err
}

// SettleLabelReview keeps what a person said of the words in a record, labels the record accordingly and makes finish's leaves
// durable, all at once. A record without a question is ErrNotFound; the question is the one about the texts as they
// stand, and an earlier answer to it is replaced.
func (s *Store) SettleLabelReview(ctx context.Context, c *label.Classifier, ref fhir.Reference, said LabelAnswer, finish func(patients []string) ([]audit.Leaf, error)) error {
	return s.write(ctx, func(w *writer) error {
		r, sources, err := w.oneLabelled(ref)
		if err != nil {
			return err
		}
		ground, err := w.labelGround(r, sources)
		if err != nil {
			return err
		}
		verdict := ground.Verdict(c)
		if verdict.Review == nil {
			return ErrNotFound
		}
		n, err := w.tx.Exec(ctx, "UPDATE label_review SET state=?,outcome=?,reviewer=?,settled=? WHERE part=0 AND rid=? AND digest=?",
			said.State, said.Outcome, said.Reviewer, w.now, r.rid, verdict.Review.Digest)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		pack, err := w.intern(dictPack, c.Version())
		if err != nil {
			return err
		}
		if _, err := w.relabelOne(r, c, pack, sources); err != nil {
			return err
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.settlePatients(); err != nil {
			return err
		}
		return w.logSettled(r, finish)
	})
}

func (w *writer) logSettled(r labelledRecord, finish func([]string) ([]audit.Leaf, error)) error {
	pats, err := w.filedNow(r.head)
	if err != nil {
		return err
	}
	ids, err := w.patientIDs(pats)
	if err != nil {
		return err
	}
	leaves, err := finish(ids)
	if err != nil {
		return err
	}
	if err := w.insertLeaves(leaves); err != nil {
		return errors.Join(ErrLog, err)
	}
	return nil
}
