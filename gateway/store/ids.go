package store

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// idMaker makes 63-bit row keys in the application: milliseconds since 2024, a node number, a counter.
// No database sequence is involved, so replicas never wait for one another; a clash is a key conflict
// and the write is tried again.
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
