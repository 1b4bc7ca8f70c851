package verify

import (
	"crypto/sha256"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a growing tree: enough for its root, logarithmic in its size.
type frontier struct {
	size  int64
	stack []tlog.Hash // roots of the perfect subtrees, largest first
}

func (f *frontier) add(h tlog.Hash) {
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.stack) - 1
		h = tlog.NodeHash(f.stack[last], h)
		f.stack = f.stack[:last]
	}
	f.stack = append(f.stack, h)
	f.size++
}

func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return emptyRoot()
	}
	h := f.stack[len(f.stack)-1]
	for i := len(f.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.stack[i], h)
	}
	return h
}

func emptyRoot() tlog.Hash {
	return sha256.Sum256(nil) // RFC 6962 section 2.1: the hash of the empty string
}

// tree holds hashes of some nodes of a tree of size n, under their stored hash index. A node may be unknown.
type tree struct {
	n     int64
	hash  []tlog.Hash
	known []bool
}

func newTree(n int64) *tree {
	count := tlog.StoredHashCount(n)
	return &tree{n: n, hash: make([]tlog.Hash, count), known: make([]bool, count)}
}

func (t *tree) set(index int64, h tlog.Hash) {
	if index >= 0 && index < int64(len(t.hash)) && !t.known[index] {
		t.hash[index], t.known[index] = h, true
	}
}

func (t *tree) at(index int64) (tlog.Hash, bool) {
	if index < 0 || index >= int64(len(t.hash)) {
		return tlog.Hash{}, false
	}
	return t.hash[index], t.known[index]
}

// fill computes the interior nodes from the leaves, as far as they are known.
func (t *tree) fill() {
	for i := range t.hash {
		level, n := tlog.SplitStoredHashIndex(int64(i))
		if level == 0 {
			continue
		}
		left, okL := t.at(tlog.StoredHashIndex(level-1, 2*n))
		right, okR := t.at(tlog.StoredHashIndex(level-1, 2*n+1))
		if t.known[i] = okL && okR; t.known[i] {
			t.hash[i] = tlog.NodeHash(left, right)
		}
	}
}

// over returns the hash over the rows [lo, hi), which have to form a subtree by RFC 6962: lo is a multiple of the
// largest power of two below hi-lo.
func (t *tree) over(lo, hi int64) (tlog.Hash, bool) {
	if lo == hi {
		return emptyRoot(), true
	}
	k, level := split(lo, hi)
	if k == hi-lo { // perfect
		return t.at(tlog.StoredHashIndex(level, lo>>level))
	}
	left, okL := t.over(lo, lo+k)
	right, okR := t.over(lo+k, hi)
	if !okL || !okR {
		return tlog.Hash{}, false
	}
	return tlog.NodeHash(left, right), true
}

// split returns the largest power of two that is at most hi-lo, and its logarithm.
func split(lo, hi int64) (k int64, level int) {
	k = 1
	for k*2 <= hi-lo {
		k, level = k*2, level+1
	}
	return k, level
}

// hashChecker follows the stored hashes in order and sees the first that does not follow from its children.
type hashChecker struct {
	next  int64
	stack []tlog.Hash
	bad   bool
}

// add takes the next stored hash; the result says whether it fits.
func (c *hashChecker) add(index int64, h tlog.Hash) bool {
	if c.bad {
		return true // reported once; after a gap nothing can be said
	}
	if index != c.next {
		c.bad = true
		return false
	}
	c.next++
	if level, _ := tlog.SplitStoredHashIndex(index); level > 0 {
		last := len(c.stack) - 1
		if last < 1 || tlog.NodeHash(c.stack[last-1], c.stack[last]) != h {
			c.bad = true
			return false
		}
		c.stack = c.stack[:last-1]
	}
	c.stack = append(c.stack, h)
	return true
}

// root is the root over all hashes taken so far.
func (c *hashChecker) root() tlog.Hash {
	if len(c.stack) == 0 {
		return emptyRoot()
	}
	h := c.stack[len(c.stack)-1]
	for i := len(c.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(c.stack[i], h)
	}
	return h
}
