package people

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Bounds on a password's length in bytes.
const (
	MinPassword = 10
	MaxPassword = 256
)

// Errors of passwords.
var (
	// ErrPassword: too short or too long to be one.
	ErrPassword = fmt.Errorf("people: a password has %d to %d bytes", MinPassword, MaxPassword)
	// ErrHash: what is stored is no argon2id hash this package would have made.
	ErrHash = errors.New("people: malformed password hash")
	// ErrBusy: too many passwords are being checked at once.
	ErrBusy = errors.New("people: too many passwords at once")
)

// cost is what a hash costs to make, and with it what a guess costs.
type cost struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// currentCost is the second of the settings OWASP recommends for argon2id.
// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
func currentCost() cost { return cost{memory: 19 << 10, time: 2, threads: 1} }

const (
	saltSize = 16
	keySize  = 32
)

// CheckPassword reports whether a password may be chosen.
func CheckPassword(password string) error {
	if len(password) < MinPassword || len(password) > MaxPassword {
		return ErrPassword
	}
	return nil
}

// NewPassword draws one that nobody guesses and everybody can type: five groups of lower case letters and digits, without
// those that look alike.
func NewPassword() (string, error) {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32 of them
	raw := make([]byte, 20)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("people: drawing a password: %w", err)
	}
	var out strings.Builder
	for i, b := range raw {
		if i > 0 && i%4 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(letters[b%32])
	}
	return out.String(), nil
}

// Hasher makes and checks password hashes, a bounded number of them at a time: each takes 19 MiB.
type Hasher struct{ slots chan struct{} }

// NewHasher is one that does at most so many at once.
func NewHasher(atOnce int) *Hasher { return &Hasher{slots: make(chan struct{}, atOnce)} }

// Hash makes the hash of a new password, in PHC string format. The error is ErrPassword or ErrBusy.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	p := phc{cost: currentCost(), salt: make([]byte, saltSize)}
	if _, err := rand.Read(p.salt); err != nil {
		return "", fmt.Errorf("people: drawing a salt: %w", err)
	}
	var err error
	if p.key, err = h.derive(ctx, p, password); err != nil {
		return "", err
	}
	return p.String(), nil
}

// Verify reports whether a password fits a hash, and whether the hash ought to be made anew because it costs less than
// one made today. An empty hash, of an account that has none or that does not exist, fits nothing and takes as long as
// any: neither answer nor time tell whether there is an account. The error is ErrHash or ErrBusy.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (fits, stale bool, err error) {
	p := phc{cost: currentCost(), salt: make([]byte, saltSize), key: make([]byte, keySize)}
	if hash != "" {
		if p, err = parsePHC(hash); err != nil {
			return false, false, err
		}
	}
	if len(password) > MaxPassword {
		password = password[:MaxPassword+1] // fits nothing, and costs no more than others
	}
	key, err := h.derive(ctx, p, password)
	if err != nil {
		return false, false, err
	}
	fits = subtle.ConstantTimeCompare(key, p.key) == 1 && hash != "" && len(password) <= MaxPassword
	return fits, fits && p.cost != currentCost(), nil
}

func (h *Hasher) derive(ctx context.Context, p phc, password string) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, errors.Join(ErrBusy, ctx.Err())
	}
	return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, keySize), nil
}

// phc is a hash in PHC string format: $argon2id$v=19$m=19456,t=2,p=1$salt$key
// (https://github.com/P-H-C/phc-string-format).
type phc struct {
	cost
	salt, key []byte
}

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.key))
}

// Bounds on what a stored hash may cost to check: whoever could write one must not stop the process with it.
const (
	maxMemory  = 256 << 10 // KiB
	maxTime    = 16
	maxThreads = 8
)

// parsePHC reads a hash strictly: what it accepts is what String writes.
func parsePHC(text string) (phc, error) {
	var p phc
	fields := strings.Split(text, "$")
	if len(text) > 256 || len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" {
		return phc{}, ErrHash
	}
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return phc{}, ErrHash
	}
	var saltErr, keyErr error
	p.salt, saltErr = base64.RawStdEncoding.Strict().DecodeString(fields[4])
	p.key, keyErr = base64.RawStdEncoding.Strict().DecodeString(fields[5])
	if saltErr != nil || keyErr != nil || len(p.salt) < 8 || len(p.key) != keySize || !p.bounded() || p.String() != text {
		return phc{}, ErrHash
	}
	return p, nil
}

func (c cost) bounded() bool {
	return c.memory >= 8*uint32(c.threads) && c.memory <= maxMemory && c.time >= 1 && c.time <= maxTime && c.threads >= 1 && c.threads <= maxThreads
}
