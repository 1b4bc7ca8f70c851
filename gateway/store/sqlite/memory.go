package sqlite

import "modernc.org/libc"

// heldMemory is one block of each size the driver's allocator keeps pages for. The allocator gives a page back to
// the system when its last block is freed, which without this would be at the end of nearly every statement.
type heldMemory struct {
	tls    *libc.TLS
	blocks []uintptr
}

// The sizes an allocator's page is divided into.
const (
	smallestBlock = 16
	largestBlock  = 1 << 18
)

func holdMemory() heldMemory {
	m := heldMemory{tls: libc.NewTLS()}
	for size := smallestBlock; size <= largestBlock; size *= 2 {
		m.blocks = append(m.blocks, libc.Xmalloc(m.tls, libc.Tsize_t(size)))
	}
	return m
}

func (m heldMemory) release() {
	for _, b := range m.blocks {
		libc.Xfree(m.tls, b)
	}
	m.tls.Close()
}
