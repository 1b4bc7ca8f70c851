package store

import "sync"

// cache is a map that several goroutines use. What is in it must be right for as long as it is there, or be checked by
// whoever takes it out. It has two generations: when the younger is full, the older is dropped.
type cache[K comparable, V any] struct {
	mu         sync.RWMutex
	young, old map[K]V
	weight     int // of the younger generation
	max        int // of each
	weigh      func(V) int
}

// newCache keeps up to limit entries.
func newCache[K comparable, V any](limit int) *cache[K, V] {
	return newWeighedCache[K](limit, func(V) int { return 1 })
}

// newWeighedCache keeps entries of up to limit together.
func newWeighedCache[K comparable, V any](limit int, weigh func(V) int) *cache[K, V] {
	return &cache[K, V]{young: map[K]V{}, max: limit / 2, weigh: weigh}
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
	if c.weight >= c.max {
		c.young, c.old, c.weight = map[K]V{}, c.young, 0
	}
	if was, ok := c.young[k]; ok {
		c.weight -= c.weigh(was)
	}
	c.young[k] = v
	c.weight += c.weigh(v)
}

func (c *cache[K, V]) forget(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.young[k]; ok {
		c.weight -= c.weigh(was)
		delete(c.young, k)
	}
	delete(c.old, k)
}
