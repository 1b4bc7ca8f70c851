package store

import "sync"

// cache is a map that several goroutines use. What is in it must be right for as long as it is there, or be checked by
// whoever takes it out. It has two generations: when the younger is full, the older is dropped.
type cache[K comparable, V any] struct {
	mu         sync.RWMutex
	young, old map[K]V
	max        int // of each generation
}

// newCache keeps up to limit entries.
func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{young: map[K]V{}, max: limit / 2}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.max {
		c.young, c.old = map[K]V{}, c.young
	}
	c.young[k] = v
}

func (c *cache[K, V]) forget(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, k)
	delete(c.old, k)
}
