package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit"
)

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
	if err := a.s.unspool(ctx); err != nil {
		return nil, err
	}
	var out []audit.Leaf
	err := a.s.engine.Read(ctx, func(tx Tx) error {
		packs, err := a.s.openPacks(ctx, tx, limit)
		for _, p := range packs {
			out = append(out, p.leaves[p.done:]...)
		}
		return err
	})
	if len(out) > limit {
		out = out[:limit]
	}
	return out, err
}

// openPack is a pack with leaves not yet numbered: all from done on.
type openPack struct {
	seq    int64
	done   int
	leaves []audit.Leaf
}

// openPacks reads packs, the oldest first, until they hold limit open leaves.
func (s *Store) openPacks(ctx context.Context, tx Tx, limit int) ([]openPack, error) {
	var out []openPack
	open := 0
	err := each(ctx, tx, "SELECT seq,done,body FROM audit_pack WHERE open=1 ORDER BY seq LIMIT "+strconv.Itoa(limit), nil, func(r Rows) error {
		if open >= limit {
			return nil
		}
		var p openPack
		var done int64
		var body []byte
		if err := r.Scan(&p.seq, &done, &body); err != nil {
			return err
		}
		var err error
		if p.leaves, err = unpack(body); err != nil {
			return err
		}
		p.done = int(done)
		if p.done > len(p.leaves) {
			return errPack
		}
		open += len(p.leaves) - p.done
		out = append(out, p)
		return nil
	})
	return out, err
}

// Number implements audit.Store.
func (a auditStore) Number(ctx context.Context, b audit.Batch) error {
	err := a.number(ctx, b)
	if !errors.Is(err, audit.ErrConflict) || a.s.spool.spool == nil {
		return err
	}
	// Leaves that no Unnumbered has returned yet are still in the spool.
	if err := a.s.unspool(ctx); err != nil {
		return err
	}
	return a.number(ctx, b)
}

func (a auditStore) number(ctx context.Context, b audit.Batch) error {
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
		if err := w.numberPacks(b); err != nil {
			return err
		}
		if err := w.appendHashes(b.Hashes); err != nil {
			return err
		}
		_, err = w.tx.Exec(ctx, "INSERT INTO audit_checkpoint (size,note) VALUES (?,?)", b.First+int64(len(b.IDs)), b.Checkpoint)
		return err
	})
}

// numberPacks gives the batch's leaves their indexes, a run of each pack at a time. The batch must name the
// open leaves in the order Unnumbered gives them.
func (w *writer) numberPacks(b audit.Batch) error {
	packs, err := w.s.openPacks(w.ctx, w.tx, len(b.IDs))
	if err != nil {
		return err
	}
	at := 0
	for _, p := range packs {
		run := 0
		for p.done+run < len(p.leaves) && at+run < len(b.IDs) && p.leaves[p.done+run].ID == b.IDs[at+run] {
			run++
		}
		if run == 0 {
			continue // a pack committed meanwhile by another replica, with an older number
		}
		if _, err := w.tx.Exec(w.ctx, "INSERT INTO audit_run (first,n,pack,start) VALUES (?,?,?,?)", b.First+int64(at), run, p.seq, p.done); err != nil {
			return err
		}
		open := 0
		if p.done+run < len(p.leaves) {
			open = 1
		}
		n, err := w.tx.Exec(w.ctx, "UPDATE audit_pack SET done=?,open=? WHERE seq=? AND done=?", p.done+run, open, p.seq, p.done)
		if err != nil {
			return err
		}
		if n != 1 {
			return audit.ErrConflict
		}
		at += run
	}
	if at != len(b.IDs) {
		return audit.ErrConflict
	}
	return nil
}

// tileHashes is how many hashes of the tree one row holds.
const tileHashes = 256

// appendHashes adds hashes behind those stored: the last row grows, new ones follow.
func (w *writer) appendHashes(hashes []audit.StoredHash) error {
	for len(hashes) > 0 {
		tile := hashes[0].Index / tileHashes
		start := int(hashes[0].Index % tileHashes)
		var body []byte
		if start > 0 {
			if _, err := one(w.ctx, w.tx, "SELECT hashes FROM audit_tile WHERE tile=?", []any{tile}, &body); err != nil {
				return err
			}
		}
		if len(body) != start*tlog.HashSize {
			return audit.ErrConflict
		}
		body = append(make([]byte, 0, tileHashes*tlog.HashSize), body...)
		n := 0
		for n < len(hashes) && hashes[n].Index/tileHashes == tile {
			if hashes[n].Index != hashes[0].Index+int64(n) {
				return audit.ErrConflict
			}
			body = append(body, hashes[n].Hash[:]...)
			n++
		}
		if _, err := w.tx.Exec(w.ctx, "INSERT INTO audit_tile (tile,hashes) VALUES (?,?) ON CONFLICT (tile) DO UPDATE SET hashes=excluded.hashes", tile, body); err != nil {
			return err
		}
		hashes = hashes[n:]
	}
	return nil
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
	wanted := make(Int64s, 0, len(indexes))
	for _, i := range indexes {
		if tile := i / tileHashes; !slices.Contains(wanted, tile) {
			wanted = append(wanted, tile)
		}
	}
	tiles := make(map[int64][]byte, len(wanted))
	err := a.s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT tile,hashes FROM audit_tile WHERE "+a.s.dialect.In("tile"), []any{wanted}, func(r Rows) error {
			var tile int64
			var body []byte
			err := r.Scan(&tile, &body)
			tiles[tile] = append([]byte(nil), body...)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		body, at := tiles[index/tileHashes], int(index%tileHashes)*tlog.HashSize
		if at+tlog.HashSize > len(body) {
			return nil, fmt.Errorf("store: audit hash %d is missing", index)
		}
		copy(out[i][:], body[at:])
	}
	return out, nil
}
