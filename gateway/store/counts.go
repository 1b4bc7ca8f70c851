package store

import "sync"

// statementCounts counts statements by what they were for: tests hold a page to one, and operators see
// what a slow request did.
type statementCounts struct {
	mu sync.Mutex
	n  map[string]int64
}

func (c *statementCounts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int64{}
	}
	c.n[what]++
}

// Statements is how many statements ran so far, by purpose: lookup, search, count, include, history, visible.
func (s *Store) Statements() map[string]int64 {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	out := make(map[string]int64, len(s.counts.n))
	for k, n := range s.counts.n {
		out[k] = n
	}
	return out
}
