package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"trellis/auth/oauth"
)

// tokenServer serves a fixture's token endpoint over real HTTP; the client and the server share one clock.
func tokenServer(t *testing.T) (f *fixture, source *oauth.TokenSource, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	f = newFixture(t, func(cfg *oauth.Config, _ *oauth.Client) { cfg.TokenURL = server.URL + "/token" })
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		f.server.Token(w, r)
	})
	return f, &oauth.TokenSource{HTTP: server.Client(), TokenURL: server.URL + "/token", ClientID: "ehr", Key: f.key,
		Purpose: "HPAYMT", Now: f.clock.now}, requests
}

func TestTokenSourceSharesOneFlightAndRenews(t *testing.T) {
	f, source, requests := tokenServer(t)
	var wg sync.WaitGroup
	tokens := make(chan string, 20)
	for range 20 {
		wg.Go(func() {
			token, err := source.Token(t.Context(), "system/Patient.rs")
			if err != nil {
				t.Error(err)
			}
			tokens <- token
		})
	}
	wg.Wait()
	close(tokens)
	first := <-tokens
	for token := range tokens {
		if token != first {
			t.Error("two tokens for one scope set")
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if grant, err := f.authenticate(first); err != nil || grant.Purpose != "HPAYMT" {
		t.Errorf("grant %+v, %v", grant, err)
	}
	f.clock.advance(oauth.Lifetime - 31*time.Second)
	if token, err := source.Token(t.Context(), "system/Patient.rs"); err != nil || token != first {
		t.Errorf("renewed too early: %v", err)
	}
	f.clock.advance(2 * time.Second)
	if token, err := source.Token(t.Context(), "system/Patient.rs"); err != nil || token == first {
		t.Errorf("not renewed before expiry: %v", err)
	}
	source.Forget("system/Patient.rs")
	if _, err := source.Token(t.Context(), "system/Patient.rs"); err != nil || requests.Load() != 3 {
		t.Errorf("after Forget: %v, %d requests", err, requests.Load())
	}
}

func TestTokenSourceReportsRefusalAndTriesAgain(t *testing.T) {
	f, source, requests := tokenServer(t)
	f.client.Disabled = true
	f.store.Know(f.client)
	for range 2 {
		_, err := source.Token(t.Context(), "system/Patient.rs")
		var refusal *oauth.Refusal
		if !errors.As(err, &refusal) || refusal.Status != 401 || refusal.Code != "invalid_client" {
			t.Fatalf("error %v", err)
		}
	}
	if requests.Load() != 2 {
		t.Errorf("%d requests, want 2: failures are not kept", requests.Load())
	}
}

func TestTokenSourceFollowsNoRedirect(t *testing.T) {
	var reached atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer thief.Close()
	server := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	key, _, err := oauth.NewKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	source := &oauth.TokenSource{TokenURL: server.URL, ClientID: "ehr", Key: key}
	if _, err := source.Token(t.Context(), "system/Patient.rs"); err == nil || reached.Load() {
		t.Errorf("%v; redirect followed: %v", err, reached.Load())
	}
}

func TestTokenSourceHonoursTheCallersContext(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	defer server.Close()
	defer close(block)
	key, _, err := oauth.NewKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	source := &oauth.TokenSource{TokenURL: server.URL, ClientID: "ehr", Key: key}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Token(ctx, "system/Patient.rs"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
