// Package brake slows down whoever asks too often, by where they ask from, on one replica. What has to hold for all replicas
// together (attempts at an account) is counted in the store instead.
//
// It is entered through Brakes and Address.
package brake

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Brakes is one brake for each address. PerSecond and AtOnce are set before first use; then it is safe for concurrent use.
type Brakes struct {
	PerSecond float64 // that go on for ever
	AtOnce    int     // that may come together

	mu sync.Mutex
	m  map[string]*brake
}

type brake struct {
	limiter *rate.Limiter
	seen    time.Time
}

const (
	maxAddresses = 10_000
	forgetAfter  = 5 * time.Minute
)

// Allow counts one request and reports whether it may go on.
func (b *Brakes) Allow(address string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(address, now).AllowN(now, 1)
}

// Open reports whether a request may go on, without counting it.
func (b *Brakes) Open(address string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(address, now).TokensAt(now) >= 1
}

func (b *Brakes) of(address string, now time.Time) *rate.Limiter {
	if b.m == nil {
		b.m = map[string]*brake{}
	}
	one := b.m[address]
	if one == nil {
		if len(b.m) >= maxAddresses {
			b.forget(now)
		}
		one = &brake{limiter: rate.NewLimiter(rate.Limit(b.PerSecond), b.AtOnce)}
		b.m[address] = one
	}
	one.seen = now
	return one.limiter
}

// forget drops addresses that have been quiet; when all are loud, all.
func (b *Brakes) forget(now time.Time) {
	for address, one := range b.m {
		if now.Sub(one.seen) > forgetAfter {
			delete(b.m, address)
		}
	}
	if len(b.m) >= maxAddresses {
		clear(b.m)
	}
}

// Address is what a client's IP address counts as: itself, or of IPv6 the network somebody is usually given.
func Address(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return "unknown"
	}
	if a = a.Unmap(); a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
