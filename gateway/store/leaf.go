package store

import (
	"context"
	"errors"
	"time"

	"trellis/gateway/audit"
)

// Audit is the store as gateway/audit sees it.
func (s *Store) Audit() interface {
	audit.Store
	audit.ExportStore
} {
	return auditStore{s}
}

type auditStore struct{ s *Store }

// leafJob is one caller's leaves waiting for the next group commit.
type leafJob struct {
	leaves []audit.Leaf
	done   chan error
}

// maxLeafGroup is the most callers one pack carries.
const maxLeafGroup = 512

// gatherFor is how long a group waits for half of the requests in progress: while one half waits for its commit the
// other works, and neither pays for a commit that carries a few. Who is alone waits for nobody.
const gatherFor = time.Millisecond

// Begin counts a request that may come to append a leaf. End it.
func (s *Store) Begin() { s.serving.Add(1) }

// End is the other end of Begin.
func (s *Store) End() { s.serving.Add(-1) }

// appendLeaves groups concurrent appends into one row of one transaction: throughput comes from the group,
// never from writing later.
func (s *Store) appendLeaves() {
	defer s.closed.Done()
	for {
		select {
		case <-s.closing:
			return
		case first := <-s.appends:
			s.commitLeaves(s.gather(first))
		}
	}
}

// gather takes all that are waiting, and for a moment those that can be expected.
func (s *Store) gather(first *leafJob) []*leafJob {
	jobs := []*leafJob{first}
	var late <-chan time.Time
	for len(jobs) < maxLeafGroup {
		select {
		case j := <-s.appends:
			jobs = append(jobs, j)
			continue
		default:
		}
		if 2*int64(len(jobs)) >= s.serving.Load() {
			return jobs
		}
		if late == nil {
			late = time.After(gatherFor)
		}
		select {
		case j := <-s.appends:
			jobs = append(jobs, j)
		case <-late:
			return jobs
		}
	}
	return jobs
}

func (s *Store) commitLeaves(jobs []*leafJob) {
	leaves := make([]audit.Leaf, 0, len(jobs))
	for _, j := range jobs {
		leaves = append(leaves, j.leaves...)
	}
	err := s.keepLeaves(context.Background(), leaves)
	for _, j := range jobs {
		j.done <- err
	}
}

// keepLeaves makes leaves durable: in the spool where there is one and what is in it can be moved on, else in the log.
func (s *Store) keepLeaves(ctx context.Context, leaves []audit.Leaf) error {
	if s.spool.usable() {
		return s.spool.spool.Add(s.ids.next(), len(leaves), plainPack(leaves))
	}
	body := pack(leaves)
	return s.engine.Write(ctx, func(tx Tx) error { return s.insertPack(ctx, tx, len(leaves), body) })
}

func (w *writer) insertLeaves(leaves []audit.Leaf) error {
	if len(leaves) == 0 {
		return nil
	}
	return w.s.insertPack(w.ctx, w.tx, len(leaves), pack(leaves))
}

// insertPack keeps leaves as one row, not yet numbered.
func (s *Store) insertPack(ctx context.Context, tx Tx, n int, body []byte) error {
	return tx.Queue(ctx, insertPackSQL, s.ids.next(), n, body)
}

const insertPackSQL = "INSERT INTO audit_pack (seq,n,done,open,body) VALUES (?,?,0,1,?)"

// logged marks an error as one of the audit log when that is what could not be written.
func logged(err error) error {
	var failed *QueueFailed
	if errors.As(err, &failed) && failed.Statement == insertPackSQL {
		return errors.Join(ErrLog, err)
	}
	return err
}

// Append implements audit.Store.
func (a auditStore) Append(ctx context.Context, leaves ...audit.Leaf) error {
	if len(leaves) == 0 {
		return nil
	}
	j := &leafJob{leaves: leaves, done: make(chan error, 1)}
	select {
	case a.s.appends <- j:
		return <-j.done
	case <-ctx.Done():
		return ctx.Err()
	case <-a.s.closing:
		return ErrBusy
	}
}
