package oauth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"trellis/auth/oauth"
)

// fixedKeys is a KeyFetcher that knows one answer.
type fixedKeys struct{ jwks []byte }

func (k fixedKeys) JWKS(context.Context, string, string) ([]byte, error) { return k.jwks, nil }

// Whatever a token was issued under has to stand; when it falls, the token falls with it within a second.
func TestGrantFallsWithinASecond(t *testing.T) {
	for name, fell := range map[string]func(*fixture, oauth.Token){
		"revoked": func(f *fixture, tok oauth.Token) {
			if err := f.store.RevokeToken(t.Context(), tok.RequestID); err != nil {
				t.Fatal(err)
			}
		},
		"client disabled": func(f *fixture, _ oauth.Token) { c := f.client; c.Disabled = true; f.store.Know(c) },
		"scopes narrowed": func(f *fixture, _ oauth.Token) {
			c := f.client
			c.Scopes = []string{"system/Patient.r"}
			f.store.Know(c)
		},
		"purpose withdrawn": func(f *fixture, _ oauth.Token) {
			c := f.client
			c.Purposes, c.DefaultPurpose = []string{"HPAYMT"}, ""
			f.store.Know(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			token := f.token(t, "system/Patient.rs")
			if _, err := f.authenticate(token); err != nil {
				t.Fatal(err)
			}
			fell(f, f.store.Tokens()[0])
			f.clock.advance(time.Second)
			if _, err := f.authenticate(token); !errors.Is(err, oauth.ErrBadToken) {
				t.Errorf("a second later: %v", err)
			}
		})
	}
}

func TestRevokeHoldsAtOnceHere(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, "system/Patient.rs")
	grant, err := f.authenticate(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.server.Revoke(t.Context(), grant.TokenID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.authenticate(token); !errors.Is(err, oauth.ErrBadToken) {
		t.Errorf("after Revoke: %v", err)
	}
	if err := f.server.Revoke(t.Context(), "unknown"); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("revoking nothing: %v", err)
	}
}

func TestTokenExpiresToTheInstantEvenWhenCached(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, "system/Patient.rs")
	f.clock.advance(oauth.Lifetime - time.Millisecond)
	if _, err := f.authenticate(token); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(time.Millisecond)
	if _, err := f.authenticate(token); !errors.Is(err, oauth.ErrBadToken) {
		t.Errorf("at expiry: %v", err)
	}
}

// The store is asked once a second per token, and not at all for what we did not issue.
func TestStoreIsSpared(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, "system/Patient.rs")
	before := f.store.Reads()
	for range 100 {
		if _, err := f.authenticate(token); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.store.Reads() - before; n != 2 {
		t.Errorf("%d reads for 100 requests within a second, want 2", n)
	}
	before = f.store.Reads()
	key, _, _ := strings.Cut(token, ".")
	for _, forged := range []string{"x", "x.y", key + "." + key, key + ".AAAA", "ory_at_" + token} {
		if _, err := f.authenticate(forged); !errors.Is(err, oauth.ErrBadToken) {
			t.Errorf("%q: %v", forged, err)
		}
	}
	if n := f.store.Reads() - before; n != 0 {
		t.Errorf("%d reads for forged tokens", n)
	}
}

func TestRotatedSecret(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, "system/Patient.rs")
	rotated, err := oauth.New(oauth.Config{TokenURL: tokenURL, Store: f.store, Now: f.clock.now,
		Secret: []byte(strings.Repeat("n", 32)), RotatedSecrets: [][]byte{[]byte(strings.Repeat("s", 32))}})
	if err != nil {
		t.Fatal(err)
	}
	old := f.server
	f.server = rotated
	if _, err := f.authenticate(token); err != nil {
		t.Errorf("token of the old secret: %v", err)
	}
	fresh := f.token(t, "system/Patient.rs")
	f.server = old
	if _, err := f.authenticate(fresh); !errors.Is(err, oauth.ErrBadToken) {
		t.Errorf("token of another secret: %v", err)
	}
}
