package store

import "sync"

// cache is a map that several goroutines use and that is dropped whole when it is full. What is in it must be right
// for as long as it is there, or be checked by whoever takes it out.
type cache[K comparable, V any] struct {
	mu  sync.RWMutex
	m   map[K]V
	max int
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{m: map[K]V{}, max: limit}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.m[k]
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.m) >= c.max {
		c.m = map[K]V{}
	}
	c.m[k] = v
}

func (c *cache[K, V]) forget(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
}
