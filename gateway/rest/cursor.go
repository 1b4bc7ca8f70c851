package rest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trellis/fhir"
	"trellis/gateway/store"
)

// Cursors seals page positions. A cursor is bound to its query and to all that decides what the token it was made
// for shows: who asks, as what, for which purpose and launch patient, with which scopes. It holds no permission: every
// page is filled anew from what the caller may see then.
type Cursors struct {
	aead cipher.AEAD
	now  func() time.Time
}

// cursorLife is how long a page link works.
const cursorLife = 24 * time.Hour

// NewCursors takes a 32-byte key shared by all replicas.
func NewCursors(key []byte, now func() time.Time) (*Cursors, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("rest: cursor key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("rest: cursor key: %w", err)
	}
	return &Cursors{aead: aead, now: now}, nil
}

// cursor is a position as it is sealed. Row keys are dense, so one of fewer digits would tell that fewer records are
// stored: the key has one width.
type cursor struct {
	Keys []any  `json:"k,omitempty"`
	Row  string `json:"r"`
	Made int64  `json:"t"` // seconds since 1970
}

// additional is what a cursor is bound to.
func additional(binding, who string) []byte { return []byte(binding + "\x00" + who) }

func (c *Cursors) seal(p *store.Position, binding, who string) (string, error) {
	plain, err := json.Marshal(cursor{p.Keys, fmt.Sprintf("%020d", p.Row), c.now().Unix()})
	if err != nil {
		return "", fmt.Errorf("rest: cursor: %w", err)
	}
	nonce := make([]byte, c.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("rest: cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(c.aead.Seal(nonce, nonce, plain, additional(binding, who))), nil
}

// open reads a cursor; "" is the first page. Any that does not fit is refused alike.
func (c *Cursors) open(s, binding, who string) (*store.Position, error) {
	if s == "" {
		return nil, nil
	}
	refused := fhir.NewProblem(fhir.Invalid, "invalid", "the _cursor does not belong to this search, or is too old; start again from the first page")
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(sealed) < c.aead.NonceSize() {
		return nil, refused
	}
	plain, err := c.aead.Open(nil, sealed[:c.aead.NonceSize()], sealed[c.aead.NonceSize():], additional(binding, who))
	if err != nil {
		return nil, refused
	}
	var out cursor
	decoder := json.NewDecoder(strings.NewReader(string(plain)))
	decoder.UseNumber()
	if err := decoder.Decode(&out); err != nil {
		return nil, refused
	}
	if c.now().Sub(time.Unix(out.Made, 0)) > cursorLife {
		return nil, refused
	}
	for i, key := range out.Keys {
		if n, ok := key.(json.Number); ok {
			v, err := n.Int64()
			if err != nil {
				return nil, refused
			}
			out.Keys[i] = v
		}
	}
	row, err := strconv.ParseInt(out.Row, 10, 64)
	if err != nil {
		return nil, refused
	}
	return &store.Position{Keys: out.Keys, Row: row}, nil
}
