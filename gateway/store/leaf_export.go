package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit"
)

// Snapshot implements audit.ExportStore. The engine's snapshot lives in a goroutine until Close.
func (a auditStore) Snapshot(ctx context.Context) (audit.Snapshot, error) {
	if err := a.s.unspool(ctx); err != nil {
		return nil, err
	}
	snap := &auditSnapshot{s: a.s, stop: make(chan struct{}), ended: make(chan error, 1)}
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
	s     *Store
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

// stopped ends a query its reader has had enough of.
var errStopped = errors.New("stopped")

// stream yields what scan yields for each row of a query.
func stream[T any](ctx context.Context, tx Tx, sql string, scan func(r Rows, yield func(T) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		err := each(ctx, tx, sql, nil, func(r Rows) error {
			more := true
			err := scan(r, func(v T) bool {
				more = yield(v, nil)
				return more
			})
			if err == nil && !more {
				err = errStopped
			}
			return err
		})
		if err != nil && !errors.Is(err, errStopped) {
			var zero T
			yield(zero, err)
		}
	}
}

// Checkpoints implements audit.Snapshot.
func (s *auditSnapshot) Checkpoints(ctx context.Context) iter.Seq2[[]byte, error] {
	return stream(ctx, s.tx, "SELECT note FROM audit_checkpoint ORDER BY size", func(r Rows, yield func([]byte) bool) error {
		var note []byte
		err := r.Scan(&note)
		if err == nil {
			yield(append([]byte(nil), note...))
		}
		return err
	})
}

// Leaves implements audit.Snapshot.
func (s *auditSnapshot) Leaves(ctx context.Context) iter.Seq2[audit.Numbered, error] {
	return stream(ctx, s.tx, "SELECT r.first,r.n,r.start,p.body FROM audit_run r JOIN audit_pack p ON p.seq=r.pack ORDER BY r.first", func(r Rows, yield func(audit.Numbered) bool) error {
		var first, n, start int64
		var body []byte
		if err := r.Scan(&first, &n, &start, &body); err != nil {
			return err
		}
		leaves, err := unpack(body)
		if err != nil {
			return err
		}
		if start+n > int64(len(leaves)) {
			return errPack
		}
		for i, leaf := range leaves[start : start+n] {
			if !yield(audit.Numbered{Index: first + int64(i), Leaf: leaf}) {
				return nil
			}
		}
		return nil
	})
}

// Hashes implements audit.Snapshot.
func (s *auditSnapshot) Hashes(ctx context.Context) iter.Seq2[audit.StoredHash, error] {
	return stream(ctx, s.tx, "SELECT tile,hashes FROM audit_tile ORDER BY tile", func(r Rows, yield func(audit.StoredHash) bool) error {
		var tile int64
		var body []byte
		if err := r.Scan(&tile, &body); err != nil {
			return err
		}
		if len(body)%tlog.HashSize != 0 {
			return fmt.Errorf("store: a row of audit hashes has the wrong size")
		}
		for i := 0; i < len(body)/tlog.HashSize; i++ {
			h := audit.StoredHash{Index: tile*tileHashes + int64(i)}
			copy(h.Hash[:], body[i*tlog.HashSize:])
			if !yield(h) {
				return nil
			}
		}
		return nil
	})
}

// Unnumbered implements audit.Snapshot.
func (s *auditSnapshot) Unnumbered(ctx context.Context) iter.Seq2[audit.Leaf, error] {
	return stream(ctx, s.tx, "SELECT done,body FROM audit_pack WHERE open=1 ORDER BY seq", func(r Rows, yield func(audit.Leaf) bool) error {
		var done int64
		var body []byte
		if err := r.Scan(&done, &body); err != nil {
			return err
		}
		leaves, err := unpack(body)
		if err != nil {
			return err
		}
		if done > int64(len(leaves)) {
			return errPack
		}
		for _, leaf := range leaves[done:] {
			if !yield(leaf) {
				return nil
			}
		}
		return nil
	})
}
