package login

import (
	"context"
	"time"

	"trellis/gateway/brake"
)

// How often something may be tried before it has to wait, counted by all replicas together.
const (
	slot           = 15 * time.Minute
	maxAttempts    = 5   // at one account
	maxFromAddress = 100 // failures from one address: many may share it
)

// How many pages one address may ask for, on one replica.
const (
	requestsPerSecond = 30
	requestsAtOnce    = 240
)

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

func (v *visit) fromAddress() string { return "address " + digest(brake.Address(v.c.ClientIP())) }
