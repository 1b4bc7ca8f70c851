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

// Grants is what one store keeps for people's tokens.
type Grants interface {
	oauth.Store
	oauth.Grants
	oauth.Tickets
}

// RunGrants holds a fresh store for each test to the contracts of oauth.Grants and oauth.Tickets.
func RunGrants(t *testing.T, open func(t *testing.T) Grants) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Grants){
		"authorization round trip":   authorizationRoundTrip,
		"issue is all or nothing":    issueAtomic,
		"a code is taken once":       codeRace,
		"a refresh token once":       refreshRace,
		"revocation ends everything": grantRevocation,
		"ticket":                     ticketLife,
		"ticket under race":          ticketRace,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func at(minutes int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
}

func sampleGrant(id string, minutes int) oauth.Authorization {
	return oauth.Authorization{ID: id, ClientID: "app", Scopes: []string{"launch/patient", "patient/Condition.rs?category=a|b"}, Purpose: "PATRQT",
		Context: oauth.Context{User: "u1", FHIRUser: "Patient/p1", Capacity: "self", Patient: "p1", Encounter: "e1", Intent: "x", Launched: true, AuthTime: at(0)},
		Created: at(minutes), Expires: at(minutes + 60)}
}

func userToken(signature, use, grant string) oauth.Token {
	g := sampleGrant(grant, 0)
	return oauth.Token{Signature: signature, RequestID: grant, Use: use, ClientID: "app", Scopes: g.Scopes, Purpose: g.Purpose, Context: g.Context, IssuedAt: at(1), ExpiresAt: at(61)}
}

func saveGrant(t *testing.T, s Grants, a oauth.Authorization) {
	t.Helper()
	if err := s.SaveAuthorization(context.Background(), a); err != nil {
		t.Fatal(err)
	}
}

func authorizationRoundTrip(t *testing.T, s Grants) {
	ctx := context.Background()
	want, other := sampleGrant("g1", 0), sampleGrant("g2", 5)
	saveGrant(t, s, want)
	saveGrant(t, s, other)
	if err := s.SaveAuthorization(ctx, want); err == nil {
		t.Error("an id was used twice")
	}
	got, err := s.Authorization(ctx, "g1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("authorization (-want +got):\n%s", diff)
	}
	list, err := s.Authorizations(ctx, "u1", at(10))
	if err != nil || len(list) != 2 || list[0].ID != "g2" {
		t.Errorf("authorizations of u1: %v %v", list, err)
	}
	if list, err := s.Authorizations(ctx, "u2", at(10)); err != nil || len(list) != 0 {
		t.Errorf("authorizations of u2: %v %v", list, err)
	}
	if _, err := s.Authorization(ctx, "none"); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("unknown authorization: %v", err)
	}
}

func issueAtomic(t *testing.T, s Grants) {
	ctx := context.Background()
	saveGrant(t, s, sampleGrant("g1", 0))
	if err := s.PutTicket(ctx, oauth.Ticket{Kind: "code", ID: "c1", Expires: at(1)}); err != nil {
		t.Fatal(err)
	}
	issue := oauth.Issue{Authorization: "g1", Code: &oauth.Ticket{Kind: "code", ID: "c1"}, At: at(1), Expires: at(500),
		Tokens: []oauth.Token{userToken("a1", oauth.UseAccess, "g1"), userToken("r1", oauth.UseRefresh, "g1")}}
	if err := s.Issue(ctx, issue); err != nil {
		t.Fatal(err)
	}
	for _, want := range issue.Tokens {
		got, err := s.Token(ctx, want.Signature)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("token (-want +got): %v\n%s", err, diff)
		}
	}
	if a, err := s.Authorization(ctx, "g1"); err != nil || !a.Used.Equal(at(1)) || !a.Expires.Equal(at(500)) {
		t.Errorf("the authorization was not extended: %+v %v", a, err)
	}
	issue.Tokens = []oauth.Token{userToken("a2", oauth.UseAccess, "g1")}
	if err := s.Issue(ctx, issue); !errors.Is(err, oauth.ErrTaken) {
		t.Errorf("the code again: %v", err)
	}
	issue.Code, issue.Refresh = nil, "nonsense"
	if err := s.Issue(ctx, issue); !errors.Is(err, oauth.ErrTaken) {
		t.Errorf("an unknown refresh token: %v", err)
	}
	issue.Refresh, issue.Authorization = "r1", "g2"
	if err := s.Issue(ctx, issue); !errors.Is(err, oauth.ErrRevoked) {
		t.Errorf("an unknown authorization: %v", err)
	}
	issue.Authorization, issue.At = "g1", at(501)
	if err := s.Issue(ctx, issue); !errors.Is(err, oauth.ErrRevoked) {
		t.Errorf("an authorization that ended: %v", err)
	}
	if _, err := s.Token(ctx, "a2"); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("a failed issue left a token: %v", err)
	}
	if r, err := s.Token(ctx, "r1"); err != nil || r.Used {
		t.Errorf("a failed issue used the refresh token: %+v %v", r, err)
	}
}

// race runs fifty calls at once and counts those that got nil; every other has to get want.
func race(t *testing.T, want error, call func(n int) error) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	for n := range 50 {
		wg.Go(func() {
			err := call(n)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, want) {
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 50 won", won)
	}
}

func name(prefix string, n int) string {
	return prefix + string(rune('A'+n/26)) + string(rune('a'+n%26))
}

func codeRace(t *testing.T, s Grants) {
	ctx := context.Background()
	saveGrant(t, s, sampleGrant("g1", 0))
	if err := s.PutTicket(ctx, oauth.Ticket{Kind: "code", ID: "c1", Expires: at(1)}); err != nil {
		t.Fatal(err)
	}
	race(t, oauth.ErrTaken, func(n int) error {
		return s.Issue(ctx, oauth.Issue{Authorization: "g1", Code: &oauth.Ticket{Kind: "code", ID: "c1"}, At: at(1), Expires: at(90),
			Tokens: []oauth.Token{userToken(name("a", n), oauth.UseAccess, "g1")}})
	})
}

func refreshRace(t *testing.T, s Grants) {
	ctx := context.Background()
	saveGrant(t, s, sampleGrant("g1", 0))
	if err := s.SaveToken(ctx, userToken("r0", oauth.UseRefresh, "g1")); err != nil {
		t.Fatal(err)
	}
	race(t, oauth.ErrTaken, func(n int) error {
		return s.Issue(ctx, oauth.Issue{Authorization: "g1", Refresh: "r0", At: at(1), Expires: at(90),
			Tokens: []oauth.Token{userToken(name("r", n), oauth.UseRefresh, "g1")}})
	})
	if r, err := s.Token(ctx, "r0"); err != nil || !r.Used {
		t.Errorf("the exchanged token: %+v %v", r, err)
	}
}

func grantRevocation(t *testing.T, s Grants) {
	ctx := context.Background()
	saveGrant(t, s, sampleGrant("g1", 0))
	saveGrant(t, s, sampleGrant("g2", 0))
	for _, token := range []oauth.Token{userToken("a1", oauth.UseAccess, "g1"), userToken("r1", oauth.UseRefresh, "g1"), userToken("a2", oauth.UseAccess, "g2")} {
		if err := s.SaveToken(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.RevokeAuthorization(ctx, "g1", at(3)); err != nil {
			t.Fatal(err)
		}
	}
	for signature, revoked := range map[string]bool{"a1": true, "r1": true, "a2": false} {
		if token, err := s.Token(ctx, signature); err != nil || token.Revoked != revoked {
			t.Errorf("token %s: revoked %t, %v", signature, token.Revoked, err)
		}
	}
	if a, err := s.Authorization(ctx, "g1"); err != nil || !a.Revoked.Equal(at(3)) {
		t.Errorf("authorization: %+v %v", a, err)
	}
	if list, err := s.Authorizations(ctx, "u1", at(4)); err != nil || len(list) != 1 || list[0].ID != "g2" {
		t.Errorf("what stands: %v %v", list, err)
	}
	err := s.Issue(ctx, oauth.Issue{Authorization: "g1", Refresh: "r1", At: at(4), Expires: at(90), Tokens: []oauth.Token{userToken("a9", oauth.UseAccess, "g1")}})
	if !errors.Is(err, oauth.ErrRevoked) {
		t.Errorf("tokens under a revoked authorization: %v", err)
	}
	if err := s.RevokeAuthorization(ctx, "none", at(3)); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("an unknown authorization: %v", err)
	}
}

func ticketLife(t *testing.T, s Grants) {
	ctx := context.Background()
	want := oauth.Ticket{Kind: "code", ID: "x", Expires: at(1), Body: []byte(`{"a":1}`)}
	if err := s.PutTicket(ctx, want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Ticket(ctx, "code", "x"); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("ticket: %+v %v", got, err)
	}
	if _, err := s.Ticket(ctx, "launch", "x"); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("another kind: %v", err)
	}
	if _, err := s.TakeTicket(ctx, "code", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TakeTicket(ctx, "code", "x"); !errors.Is(err, oauth.ErrTaken) {
		t.Errorf("taken twice: %v", err)
	}
	if got, err := s.Ticket(ctx, "code", "x"); err != nil || !got.Taken {
		t.Errorf("a taken ticket: %+v %v", got, err)
	}
	for range 2 {
		if err := s.DropTicket(ctx, "code", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.TakeTicket(ctx, "code", "x"); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("a dropped ticket: %v", err)
	}
}

func ticketRace(t *testing.T, s Grants) {
	ctx := context.Background()
	if err := s.PutTicket(ctx, oauth.Ticket{Kind: "launch", ID: "x", Expires: at(1)}); err != nil {
		t.Fatal(err)
	}
	race(t, oauth.ErrTaken, func(int) error {
		_, err := s.TakeTicket(ctx, "launch", "x")
		return err
	})
}
