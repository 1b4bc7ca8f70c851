package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"trellis/auth/oauth"
	"trellis/gateway/store"
)

const keysHelp = `trellis keys: the keys id_tokens are signed with

Usage:
  trellis keys list   [--data DIR | --postgres DSN]
  trellis keys rotate [--data DIR | --postgres DSN]

Two keys and more are published at /oauth/jwks.json: the one that signs, the one that will sign after the next rotation, and
the one before, so that no app meets a key it could not have seen. A rotation holds on every replica within seconds; rotate
no more often than once a day.

Examples:
  trellis keys list
  trellis keys rotate --postgres "postgres://trellis@127.0.0.1:5432/trellis?sslmode=disable"
`

func runKeys(args []string, stdout, stderr io.Writer) int {
	manage := func(rotate bool) func(context.Context, *store.Store) error {
		return func(ctx context.Context, s *store.Store) error { return manageKeys(ctx, s, rotate, stdout) }
	}
	return tool{name: "keys", help: keysHelp, work: map[string]func(context.Context, *store.Store) error{"list": manage(false), "rotate": manage(true)}}.run(args, stdout, stderr)
}

// settingKeys is where the ring is kept.
const settingKeys = "oidc.keys"

// keyRing is the signing keys in order: the one that signs, the next, and the one before.
type keyRing struct {
	Keys []signingKey `json:"keys"`
}

type signingKey struct {
	ID   string          `json:"id"`
	Made time.Time       `json:"made"`
	JWK  json.RawMessage `json:"jwk"`
}

func newSigningKey() (signingKey, error) {
	now := time.Now().UTC().Truncate(time.Second)
	k := signingKey{ID: "sig-" + now.Format("20060102150405.") + oauth.NewSecret()[:6], Made: now}
	jwk, err := oauth.NewSigningKey(k.ID)
	k.JWK = jwk
	return k, err
}

// readRing reads the ring, making one on the first start.
func readRing(ctx context.Context, s *store.Store) (keyRing, error) {
	raw, found, err := s.Setting(ctx, settingKeys)
	if err != nil {
		return keyRing{}, err
	}
	if !found { // another replica may be about to make one too: the first settles it
		var fresh keyRing
		for range 2 {
			k, err := newSigningKey()
			if err != nil {
				return keyRing{}, err
			}
			fresh.Keys = append(fresh.Keys, k)
		}
		doc, err := json.Marshal(fresh)
		if err != nil {
			return keyRing{}, err
		}
		settled, err := s.FirstSettings(ctx, []string{settingKeys}, [][]byte{doc})
		if err != nil {
			return keyRing{}, err
		}
		raw = settled[0]
	}
	var ring keyRing
	if err := json.Unmarshal(raw, &ring); err != nil || len(ring.Keys) < 2 {
		return keyRing{}, errors.New("the signing keys cannot be read")
	}
	return ring, nil
}

// signingKeys are the private keys, the signing one first.
func signingKeys(ctx context.Context, s *store.Store) ([][]byte, error) {
	ring, err := readRing(ctx, s)
	var out [][]byte
	for _, k := range ring.Keys {
		out = append(out, k.JWK)
	}
	return out, err
}

func manageKeys(ctx context.Context, s *store.Store, rotate bool, stdout io.Writer) error {
	ring, err := readRing(ctx, s)
	if err != nil {
		return err
	}
	if rotate {
		next, err := newSigningKey()
		if err != nil {
			return err
		}
		ring.Keys = []signingKey{ring.Keys[1], next, ring.Keys[0]}
		doc, err := json.Marshal(ring)
		if err != nil {
			return err
		}
		if err := s.PutSetting(ctx, settingKeys, doc); err != nil {
			return err
		}
	}
	for i, k := range ring.Keys {
		if _, err := fmt.Fprintf(stdout, "%-9s %s  made %s\n", [...]string{"signs", "next", "before"}[i], k.ID, k.Made.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}
