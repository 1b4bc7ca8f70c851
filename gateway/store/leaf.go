package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

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

// maxLeafGroup is the most callers one commit of leaves carries.
const maxLeafGroup = 256

// appendLeaves groups concurrent appends into one transaction: throughput comes from the group, never
// from writing later.
func (s *Store) appendLeaves() {
	defer s.closed.Done()
	for {
		select {
		case <-s.closing:
			return
		case first := <-s.appends:
			group := []*leafJob{first}
			for more := true; more && len(group) < maxLeafGroup; {
				select {
				case j := <-s.appends:
					group = append(group, j)
				default:
					more = false
				}
			}
			s.commitLeaves(group)
		}
	}
}

func (s *Store) commitLeaves(group []*leafJob) {
	err := s.write(context.Background(), func(w *writer) error {
		for _, j := range group {
			if err := w.insertLeaves(j.leaves); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && len(group) > 1 { // one bad leaf must not fail the others
		for _, j := range group {
			s.commitLeaves([]*leafJob{j})
		}
		return
	}
	for _, j := range group {
		j.done <- err
	}
}

func (w *writer) insertLeaves(leaves []audit.Leaf) error {
	for size := 16; len(leaves) > 0; {
		if len(leaves) < size {
			size /= 2
			continue
		}
		args := make([]any, 0, size*6)
		sql := "INSERT INTO audit_leaf (id,seq,at,salt,event,data) VALUES "
		for i, l := range leaves[:size] {
			if i > 0 {
				sql += ","
			}
			sql += "(?,?,?,?,?,?)"
			args = append(args, l.ID, w.s.ids.next(), l.At.UnixMicro(), l.Salt, l.Event, l.Data)
		}
		if _, err := w.tx.Exec(w.ctx, sql, args...); err != nil {
			return err
		}
		leaves = leaves[size:]
	}
	return nil
}

// Append implements audit.Store.
func (a auditStore) Append(ctx context.Context, leaves ...audit.Leaf) error {
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

// AcquireLease implements audit.Store.
func (a auditStore) AcquireLease(ctx context.Context, holder string, ttl time.Duration) (fence int64, ok bool, err error) {
	now, err := a.s.now(ctx)
	if err != nil {
		return 0, false, err
	}
	err = a.s.engine.Write(ctx, func(tx Tx) error {
		if ttl == 0 {
			_, err := tx.Exec(ctx, "UPDATE audit_lease SET expires=0 WHERE name='sequencer' AND holder=?", holder)
			ok = err == nil
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE audit_lease SET fence=CASE WHEN holder=? AND expires>=? THEN fence ELSE fence+1 END,holder=?,expires=? WHERE name='sequencer' AND (holder=? OR expires<?)",
			holder, now, holder, now+ttl.Microseconds(), holder, now)
		if err != nil || n == 0 {
			return err
		}
		ok, err = one(ctx, tx, "SELECT fence FROM audit_lease WHERE name='sequencer'", nil, &fence)
		return err
	})
	return fence, ok, err
}

// Unnumbered implements audit.Store.
func (a auditStore) Unnumbered(ctx context.Context, limit int) ([]audit.Leaf, error) {
	var out []audit.Leaf
	err := a.s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT id,data FROM audit_leaf WHERE idx IS NULL ORDER BY seq LIMIT ?", []any{limit}, func(r Rows) error {
			var l audit.Leaf
			err := r.Scan(&l.ID, &l.Data)
			out = append(out, l)
			return err
		})
	})
	return out, err
}

// Number implements audit.Store.
func (a auditStore) Number(ctx context.Context, b audit.Batch) error {
	return a.s.write(ctx, func(w *writer) error {
		n, err := w.tx.Exec(ctx, "UPDATE audit_lease SET fence=fence WHERE name='sequencer' AND fence=? AND expires>=?", b.Fence, w.now)
		if err != nil {
			return err
		}
		if n == 0 {
			return audit.ErrFenced
		}
		size, _, err := logHead(ctx, w.tx)
		if err != nil {
			return err
		}
		if size != b.First {
			return audit.ErrConflict
		}
		for i, id := range b.IDs { // not "idx IS NULL": that would invite the planner into the index of all open leaves
			n, err := w.tx.Exec(ctx, "UPDATE audit_leaf SET idx=? WHERE id=? AND COALESCE(idx,-1)<0", b.First+int64(i), id)
			if err != nil {
				return err
			}
			if n != 1 {
				return audit.ErrConflict
			}
		}
		for _, h := range b.Hashes {
			if _, err := w.tx.Exec(ctx, "INSERT INTO audit_hash (pos,hash) VALUES (?,?)", h.Index, h.Hash[:]); err != nil {
				return err
			}
		}
		_, err = w.tx.Exec(ctx, "INSERT INTO audit_checkpoint (size,note) VALUES (?,?)", b.First+int64(len(b.IDs)), b.Checkpoint)
		return err
	})
}

func logHead(ctx context.Context, tx Tx) (size int64, checkpoint []byte, err error) {
	_, err = one(ctx, tx, "SELECT size,note FROM audit_checkpoint ORDER BY size DESC LIMIT 1", nil, &size, &checkpoint)
	return size, checkpoint, err
}

// Head implements audit.Store.
func (a auditStore) Head(ctx context.Context) (size int64, checkpoint []byte, err error) {
	err = a.s.engine.Read(ctx, func(tx Tx) error {
		size, checkpoint, err = logHead(ctx, tx)
		return err
	})
	return size, checkpoint, err
}

// Hashes implements audit.Store.
func (a auditStore) Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	found := make(map[int64]tlog.Hash, len(indexes))
	err := a.s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT pos,hash FROM audit_hash WHERE "+a.s.dialect.In("pos"), []any{Int64s(indexes)}, func(r Rows) error {
			h, err := scanHash(r)
			found[h.Index] = h.Hash
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := found[index]
		if !ok {
			return nil, fmt.Errorf("store: audit hash %d is missing", index)
		}
		out[i] = h
	}
	return out, nil
}

func scanHash(r Rows) (audit.StoredHash, error) {
	var h audit.StoredHash
	var raw []byte
	if err := r.Scan(&h.Index, &raw); err != nil {
		return h, err
	}
	if len(raw) != tlog.HashSize {
		return h, fmt.Errorf("store: audit hash %d has the wrong size", h.Index)
	}
	copy(h.Hash[:], raw)
	return h, nil
}

// Snapshot implements audit.ExportStore. The engine's snapshot lives in a goroutine until Close.
func (a auditStore) Snapshot(ctx context.Context) (audit.Snapshot, error) {
	snap := &auditSnapshot{stop: make(chan struct{}), ended: make(chan error, 1)}
	ready := make(chan error, 1)
	go func() {
		snap.ended <- a.s.engine.Snapshot(ctx, func(tx Tx) error {
			snap.tx = tx
			var err error
			snap.size, _, err = logHead(ctx, tx)
			ready <- err
			if err == nil {
				<-snap.stop
			}
			return err
		})
		ready <- errors.New("store: the snapshot could not be opened")
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return snap, nil
}

type auditSnapshot struct {
	tx    Tx
	size  int64
	stop  chan struct{}
	ended chan error
}

// Size implements audit.Snapshot.
func (s *auditSnapshot) Size() int64 { return s.size }

// Close implements audit.Snapshot.
func (s *auditSnapshot) Close() error {
	close(s.stop)
	return <-s.ended
}

// stream yields what scan makes of each row of a query.
func stream[T any](ctx context.Context, tx Tx, sql string, scan func(Rows) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stopped := errors.New("stopped")
		err := each(ctx, tx, sql, nil, func(r Rows) error {
			v, err := scan(r)
			if err != nil {
				return err
			}
			if !yield(v, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			var zero T
			yield(zero, err)
		}
	}
}

// Checkpoints implements audit.Snapshot.
func (s *auditSnapshot) Checkpoints(ctx context.Context) iter.Seq2[[]byte, error] {
	return stream(ctx, s.tx, "SELECT note FROM audit_checkpoint ORDER BY size", func(r Rows) ([]byte, error) {
		var note []byte
		err := r.Scan(&note)
		return append([]byte(nil), note...), err
	})
}

// Leaves implements audit.Snapshot.
func (s *auditSnapshot) Leaves(ctx context.Context) iter.Seq2[audit.Numbered, error] {
	return stream(ctx, s.tx, "SELECT idx,id,at,salt,event,data FROM audit_leaf WHERE idx IS NOT NULL ORDER BY idx", func(r Rows) (audit.Numbered, error) {
		var n audit.Numbered
		var at int64
		err := r.Scan(&n.Index, &n.ID, &at, &n.Salt, &n.Event, &n.Data)
		n.At = time.UnixMicro(at).UTC()
		return n, err
	})
}

// Hashes implements audit.Snapshot.
func (s *auditSnapshot) Hashes(ctx context.Context) iter.Seq2[audit.StoredHash, error] {
	return stream(ctx, s.tx, "SELECT pos,hash FROM audit_hash ORDER BY pos", scanHash)
}

// Unnumbered implements audit.Snapshot.
func (s *auditSnapshot) Unnumbered(ctx context.Context) iter.Seq2[audit.Leaf, error] {
	return stream(ctx, s.tx, "SELECT id,at,salt,event,data FROM audit_leaf WHERE idx IS NULL ORDER BY seq", func(r Rows) (audit.Leaf, error) {
		var l audit.Leaf
		var at int64
		err := r.Scan(&l.ID, &at, &l.Salt, &l.Event, &l.Data)
		l.At = time.UnixMicro(at).UTC()
		return l, err
	})
}
