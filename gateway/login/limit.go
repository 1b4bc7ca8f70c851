package login

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often something may be tried before it has to wait, counted by all replicas together.
const (
	slot            = 15 * time.Minute
	maxAttempts     = 5   // at one account
	maxFromAddress  = 100 // failures from one address: many may share it
	requestsPerSec  = 30  // from one address, on one replica
	requestsAtOnce  = 240
	maxAddresses    = 10_000
	addressesForget = 5 * time.Minute
)

// brakes slow down who asks too often. The zero value is ready.
type brakes struct {
	mu sync.Mutex
	m  map[string]*brake
}

type brake struct {
	limiter *rate.Limiter
	seen    time.Time
}

func (b *brakes) allow(address string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = map[string]*brake{}
	}
	one := b.m[address]
	if one == nil {
		if len(b.m) >= maxAddresses {
			b.forget(now)
		}
		one = &brake{limiter: rate.NewLimiter(requestsPerSec, requestsAtOnce)}
		b.m[address] = one
	}
	one.seen = now
	return one.limiter.AllowN(now, 1)
}

// forget drops addresses that have been quiet; when all are loud, all.
func (b *brakes) forget(now time.Time) {
	for address, one := range b.m {
		if now.Sub(one.seen) > addressesForget {
			delete(b.m, address)
		}
	}
	if len(b.m) >= maxAddresses {
		clear(b.m)
	}
}

// tries is what is counted at one account: passwords and codes apart. Whether the account exists makes no difference.
func tries(what, account string) string { return what + " " + digest(account) }

// tried counts an attempt before its outcome is known, so that attempts made at once count too, and reports whether it
// may go on.
func (v *visit) tried(ctx context.Context, name string) (bool, error) {
	n, err := v.s.Attempts.Attempt(ctx, name, slot)
	if err != nil {
		return false, err
	}
	from, err := v.s.Attempts.Attempts(ctx, v.fromAddress(), slot)
	return n <= maxAttempts && from < maxFromAddress, err
}

// missed counts a failure against where it came from.
func (v *visit) missed(ctx context.Context) error {
	_, err := v.s.Attempts.Attempt(ctx, v.fromAddress(), slot)
	return err
}

func (v *visit) fromAddress() string { return "address " + digest(address(v.c)) }
