package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// idMaker makes 63-bit keys in the application: milliseconds since 2024, a node number, a counter. They order
// versions and audit leaves. No database sequence is involved, so replicas never wait for one another; a clash
// is a key conflict and the write is tried again.
type idMaker struct {
	mu   sync.Mutex
	node int64
	last int64
}

const (
	idEpochMillis = 1704067200000 // 2024-01-01T00:00:00Z
	idNodeBits    = 10
	idCountBits   = 12
)

func (m *idMaker) seed() error {
	var b [2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("store: choosing a node number: %w", err)
	}
	m.node = int64(binary.BigEndian.Uint16(b[:])) & (1<<idNodeBits - 1)
	return nil
}

// next is a key greater than every one this maker made before.
func (m *idMaker) next() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := (time.Now().UnixMilli() - idEpochMillis) << idCountBits
	if n <= m.last {
		n = m.last + 1
	}
	m.last = n
	millis, count := n>>idCountBits, n&(1<<idCountBits-1)
	return millis<<(idNodeBits+idCountBits) | m.node<<idCountBits | count
}

// rowKeys gives resources their row keys. They stand in every index row, so they are small: each process
// takes blocks of them from the database.
type rowKeys struct {
	refill    sync.Mutex // held while a block is fetched; never by a write that takes keys
	mu        sync.Mutex
	next, end int64
}

// rowKeyBlock is how many keys a process takes at a time, at least; rowKeySpare how many are left for writes that
// run at the same time.
const (
	rowKeyBlock = 8192
	rowKeySpare = 1024
)

// errRowKeys is a write that ran out of row keys: it is tried again with new ones.
var errRowKeys = errors.New("store: out of row keys")

func (r *rowKeys) have(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end-r.next >= n
}

// reserveRowKeys makes sure that n keys are at hand. It runs before a write's transaction: a block is taken in
// one of its own.
func (s *Store) reserveRowKeys(ctx context.Context, n int64) error {
	if s.rids.have(n + rowKeySpare) {
		return nil
	}
	s.rids.refill.Lock()
	defer s.rids.refill.Unlock()
	if s.rids.have(n + rowKeySpare) { // another write fetched it meanwhile
		return nil
	}
	block := max(rowKeyBlock, n+rowKeySpare)
	var end int64
	err := s.engine.Write(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO counter (name,value) VALUES ('row',?) ON CONFLICT (name) DO UPDATE SET value=counter.value+excluded.value", block); err != nil {
			return err
		}
		_, err := one(ctx, tx, "SELECT value FROM counter WHERE name='row'", nil, &end)
		return err
	})
	if err == nil {
		s.rids.mu.Lock()
		s.rids.next, s.rids.end = end-block+1, end+1
		s.rids.mu.Unlock()
	}
	return err
}

// rowKey takes one key.
func (s *Store) rowKey() (int64, error) {
	s.rids.mu.Lock()
	defer s.rids.mu.Unlock()
	if s.rids.next >= s.rids.end {
		return 0, errRowKeys
	}
	s.rids.next++
	return s.rids.next - 1, nil
}
