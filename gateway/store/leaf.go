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

// gatherFor is how long a group waits for as many as there were in groups before it: they come back with their next
// requests at about the same time, and would otherwise wait for a commit that carries a few of them. Who is alone
// waits for nobody.
const gatherFor = 500 * time.Microsecond

// appendLeaves groups concurrent appends into one row of one transaction: throughput comes from the group,
// never from writing later.
func (s *Store) appendLeaves() {
	defer s.closed.Done()
	crowd := 1 // how large groups have been of late
	for {
		select {
		case <-s.closing:
			return
		case first := <-s.appends:
			jobs := s.gather(first, crowd)
			s.commitLeaves(jobs)
			crowd = max(len(jobs), crowd*7/8)
		}
	}
}

// gather takes all that are waiting, and for a moment those that can be expected.
func (s *Store) gather(first *leafJob, expected int) []*leafJob {
	jobs := []*leafJob{first}
	var late <-chan time.Time
	for len(jobs) < maxLeafGroup {
		select {
		case j := <-s.appends:
			jobs = append(jobs, j)
			continue
		default:
		}
		if len(jobs) >= expected*3/4 {
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
	var leaves []audit.Leaf
	for _, j := range jobs {
		leaves = append(leaves, j.leaves...)
	}
	ctx := context.Background()
	body := pack(leaves)
	err := s.engine.Write(ctx, func(tx Tx) error { return s.insertPack(ctx, tx, len(leaves), body) })
	for _, j := range jobs {
		j.done <- err
	}
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
