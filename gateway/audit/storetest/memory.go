package storetest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit"
)

// Memory is an audit log in memory, held to the same suite as the real stores. For tests only.
type Memory struct {
	Now func() time.Time // nil: time.Now; stands for the database's clock

	mu          sync.Mutex
	leaves      map[string]audit.Leaf
	waiting     []string // ids in order of arrival
	numbered    []string // ids by index
	hashes      []tlog.Hash
	checkpoints [][]byte
	holder      string
	fence       int64
	until       time.Time
}

func (m *Memory) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Append implements audit.Store.
func (m *Memory) Append(_ context.Context, leaves ...audit.Leaf) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	for _, l := range leaves {
		if _, there := m.leaves[l.ID]; there || seen[l.ID] {
			return errors.New("storetest: leaf id exists")
		}
		seen[l.ID] = true
	}
	for _, l := range leaves {
		if m.leaves == nil {
			m.leaves = map[string]audit.Leaf{}
		}
		m.leaves[l.ID] = l
		m.waiting = append(m.waiting, l.ID)
	}
	return nil
}

// AcquireLease implements audit.Store.
func (m *Memory) AcquireLease(_ context.Context, holder string, ttl time.Duration) (int64, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	live := now.Before(m.until)
	if live && m.holder != holder {
		return 0, false, nil
	}
	if !live {
		m.fence++
	}
	m.holder, m.until = holder, now.Add(ttl)
	return m.fence, true, nil
}

// Unnumbered implements audit.Store.
func (m *Memory) Unnumbered(_ context.Context, limit int) ([]audit.Leaf, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []audit.Leaf
	for _, id := range m.waiting[:min(limit, len(m.waiting))] {
		l := m.leaves[id]
		list = append(list, audit.Leaf{ID: l.ID, Data: l.Data})
	}
	return list, nil
}

// Number implements audit.Store.
func (m *Memory) Number(_ context.Context, b audit.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.Fence != m.fence {
		return audit.ErrFenced
	}
	if b.First != int64(len(m.numbered)) {
		return audit.ErrConflict
	}
	waiting := slices.Clone(m.waiting)
	for _, id := range b.IDs {
		i := slices.Index(waiting, id)
		if i < 0 {
			return audit.ErrConflict
		}
		waiting = slices.Delete(waiting, i, i+1)
	}
	for i, h := range b.Hashes {
		if h.Index != int64(len(m.hashes)+i) {
			return errors.New("storetest: gap in the hashes")
		}
	}
	for _, h := range b.Hashes {
		m.hashes = append(m.hashes, h.Hash)
	}
	m.waiting, m.numbered = waiting, append(m.numbered, b.IDs...)
	m.checkpoints = append(m.checkpoints, b.Checkpoint)
	return nil
}

// Head implements audit.Store.
func (m *Memory) Head(context.Context) (int64, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.checkpoints) == 0 {
		return 0, nil, nil
	}
	return int64(len(m.numbered)), m.checkpoints[len(m.checkpoints)-1], nil
}

// Hashes implements audit.Store.
func (m *Memory) Hashes(_ context.Context, indexes []int64) ([]tlog.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []tlog.Hash
	for _, i := range indexes {
		if i < 0 || i >= int64(len(m.hashes)) {
			return nil, errors.New("storetest: no such hash")
		}
		list = append(list, m.hashes[i])
	}
	return list, nil
}

// Tamper changes the log behind everybody's back: the leaf with the id is replaced by what f makes of it.
func (m *Memory) Tamper(id string, f func(audit.Leaf) audit.Leaf) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaves[id] = f(m.leaves[id])
}

// TamperHash replaces a stored hash.
func (m *Memory) TamperHash(index int64, h tlog.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hashes[index] = h
}

// Snapshot implements audit.ExportStore.
func (m *Memory) Snapshot(context.Context) (audit.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &snapshot{checkpoints: slices.Clone(m.checkpoints), hashes: slices.Clone(m.hashes)}
	for _, id := range m.numbered {
		s.leaves = append(s.leaves, m.leaves[id])
	}
	for _, id := range m.waiting {
		s.waiting = append(s.waiting, m.leaves[id])
	}
	return s, nil
}

type snapshot struct {
	checkpoints     [][]byte
	leaves, waiting []audit.Leaf
	hashes          []tlog.Hash
}

func (s *snapshot) Size() int64  { return int64(len(s.leaves)) }
func (s *snapshot) Close() error { return nil }

func (s *snapshot) Checkpoints(context.Context) iter.Seq2[[]byte, error] {
	return each(s.checkpoints, func(_ int, c []byte) []byte { return c })
}

func (s *snapshot) Leaves(context.Context) iter.Seq2[audit.Numbered, error] {
	return each(s.leaves, func(i int, l audit.Leaf) audit.Numbered { return audit.Numbered{Index: int64(i), Leaf: l} })
}

func (s *snapshot) Hashes(context.Context) iter.Seq2[audit.StoredHash, error] {
	return each(s.hashes, func(i int, h tlog.Hash) audit.StoredHash { return audit.StoredHash{Index: int64(i), Hash: h} })
}

func (s *snapshot) Unnumbered(context.Context) iter.Seq2[audit.Leaf, error] {
	return each(s.waiting, func(_ int, l audit.Leaf) audit.Leaf { return l })
}

func each[S, T any](list []S, f func(int, S) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for i, v := range list {
			if !yield(f(i, v), nil) {
				return
			}
		}
	}
}
