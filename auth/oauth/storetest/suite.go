// Package storetest is the contract of oauth.Store in executable form, and a store in memory that keeps it.
//
// Every implementation runs the same suite. It tests what the interface promises, not how tables look, and it does
// not test durability across a crash: that is the business of the store's own crash test.
//
// Entered through Run.
package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trellis/auth/oauth"
)

// Open returns a fresh store that knows exactly these clients.
type Open func(t *testing.T, clients ...oauth.Client) oauth.Store

// Run holds a store to the contract.
func Run(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Open){
		"client":                    client,
		"assertion used once":       assertionOnce,
		"assertion per issuer":      assertionPerIssuer,
		"assertion under race":      assertionRace,
		"token round trip":          tokenRoundTrip,
		"token signature is unique": tokenUnique,
		"revocation":                revocation,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

func sample() oauth.Client {
	return oauth.Client{
		ID: "client-1", Name: "Harbor EHR", Organization: "org-1", JWKS: []byte(`{"keys":[]}`),
		JWKSURL: "https://ehr.example/jwks", Scopes: []string{"system/*.rs", "system/Observation.rs?category=a&b=c"},
		Purposes: []string{"TREAT", "HPAYMT"}, DefaultPurpose: "TREAT",
	}
}

func client(t *testing.T, open Open) {
	want, off := sample(), sample()
	off.ID, off.Disabled = "client-2", true
	store := open(t, want, off)
	for _, c := range []oauth.Client{want, off} {
		got, err := store.Client(context.Background(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("client (-want +got):\n%s", diff)
		}
	}
	for _, id := range []string{"", "CLIENT-1", "client-3", "client-1 "} {
		if _, err := store.Client(context.Background(), id); !errors.Is(err, oauth.ErrNotFound) {
			t.Errorf("Client(%q) = %v, want ErrNotFound", id, err)
		}
	}
}

func assertionOnce(t *testing.T, open Open) {
	store, ctx := open(t), context.Background()
	until := time.Now().Add(time.Hour)
	if err := store.UseAssertion(ctx, "client-1", "jti-1", until); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := store.UseAssertion(ctx, "client-1", "jti-1", until); !errors.Is(err, oauth.ErrReplayed) {
			t.Fatalf("second use: %v, want ErrReplayed", err)
		}
	}
}

func assertionPerIssuer(t *testing.T, open Open) {
	store, ctx := open(t), context.Background()
	until := time.Now().Add(time.Hour)
	for _, pair := range [][2]string{{"a", "jti"}, {"b", "jti"}, {"a", "JTI"}, {"a", "jti2"}, {"aj", "ti"}} {
		if err := store.UseAssertion(ctx, pair[0], pair[1], until); err != nil {
			t.Errorf("UseAssertion(%q): %v", pair, err)
		}
	}
}

func assertionRace(t *testing.T, open Open) {
	store, ctx := open(t), context.Background()
	until := time.Now().Add(time.Hour)
	const callers = 50
	results := make(chan error, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() { results <- store.UseAssertion(ctx, "client-1", "same", until) })
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, oauth.ErrReplayed):
			t.Errorf("loser got %v, want ErrReplayed", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d concurrent uses succeeded, want exactly 1", won, callers)
	}
}

func token() oauth.Token {
	at := time.Now().UTC().Truncate(time.Microsecond)
	return oauth.Token{
		Signature: "signature-1", RequestID: "request-1", Use: oauth.UseAccess, ClientID: "client-1",
		Scopes: []string{"system/Patient.rs", "system/Observation.rs?category=a"}, Purpose: "TREAT",
		IssuedAt: at, ExpiresAt: at.Add(oauth.Lifetime),
	}
}

func tokenRoundTrip(t *testing.T, open Open) {
	store, ctx, want := open(t, sample()), context.Background(), token()
	if err := store.SaveToken(ctx, want); err != nil {
		t.Fatal(err)
	}
	got, err := store.Token(ctx, want.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	old := token()
	old.Signature, old.RequestID, old.ExpiresAt = "signature-0", "request-0", old.IssuedAt.Add(-time.Hour)
	if err := store.SaveToken(ctx, old); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Token(ctx, old.Signature); err != nil {
		t.Errorf("an expired token is still to be found as such: %v", err)
	}
	for _, signature := range []string{"", "SIGNATURE-1", "signature", "signature-10"} {
		if _, err := store.Token(ctx, signature); !errors.Is(err, oauth.ErrNotFound) {
			t.Errorf("Token(%q) = %v, want ErrNotFound", signature, err)
		}
	}
}

func tokenUnique(t *testing.T, open Open) {
	store, ctx, first := open(t, sample()), context.Background(), token()
	if err := store.SaveToken(ctx, first); err != nil {
		t.Fatal(err)
	}
	second := first
	second.RequestID, second.Purpose = "request-2", "HPAYMT"
	if err := store.SaveToken(ctx, second); err == nil {
		t.Error("a token under an existing signature was accepted")
	}
	if got, err := store.Token(ctx, first.Signature); err != nil || got.RequestID != first.RequestID {
		t.Errorf("the first token was changed: %+v, %v", got, err)
	}
}

func revocation(t *testing.T, open Open) {
	store, ctx, one, other := open(t, sample()), context.Background(), token(), token()
	other.Signature, other.RequestID = "signature-2", "request-2"
	for _, tok := range []oauth.Token{one, other} {
		if err := store.SaveToken(ctx, tok); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := store.RevokeToken(ctx, one.RequestID); err != nil {
			t.Fatalf("revoking: %v", err)
		}
	}
	for signature, want := range map[string]bool{one.Signature: true, other.Signature: false} {
		if got, err := store.Token(ctx, signature); err != nil || got.Revoked != want {
			t.Errorf("%s revoked = %v, %v; want %v", signature, got.Revoked, err, want)
		}
	}
	if err := store.RevokeToken(ctx, "request-9"); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("revoking nothing = %v, want ErrNotFound", err)
	}
}
