package oauth_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v3"

	"trellis/auth/oauth"
	"trellis/auth/oauth/storetest"
	"trellis/auth/smart"
)

// Everything over real HTTP: a client that publishes its keys at a URL, asks for a token and uses it; then rotates
// its key; then is disabled.
func TestBackendServicesEndToEnd(t *testing.T) {
	private, public, err := oauth.NewKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	var published atomic.Pointer[[]byte]
	published.Store(&public)
	ehr := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		if _, err := w.Write(*published.Load()); err != nil {
			t.Error(err)
		}
	}))
	defer ehr.Close()
	client := oauth.Client{ID: "ehr", Organization: "org-1", JWKSURL: ehr.URL, Scopes: []string{"system/*.read"}, DefaultPurpose: "TREAT"}
	store, at := storetest.NewMemory(client), newClock()

	var server *oauth.Server
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) { server.Token(w, r) })
	mux.HandleFunc("GET /fhir/Patient/{id}", func(w http.ResponseWriter, r *http.Request) {
		grant, err := server.Authenticate(r)
		switch {
		case errors.Is(err, oauth.ErrNoToken), errors.Is(err, oauth.ErrBadToken):
			w.Header().Set("WWW-Authenticate", oauth.Challenge(err))
			w.WriteHeader(http.StatusUnauthorized)
		case err != nil:
			w.WriteHeader(http.StatusInternalServerError)
		case !grant.Scopes.Allows(smart.System, "Patient", smart.Read):
			w.WriteHeader(http.StatusForbidden)
		}
	})
	gateway := httptest.NewServer(mux)
	defer gateway.Close()
	server, err = oauth.New(oauth.Config{TokenURL: gateway.URL + "/token", Secret: bytes.Repeat([]byte("s"), 64), Store: store,
		Now: at.now, Keys: oauth.NewFetcher(oauth.FetcherConfig{AllowPrivate: true, Now: at.now})})
	if err != nil {
		t.Fatal(err)
	}
	source := &oauth.TokenSource{TokenURL: gateway.URL + "/token", ClientID: "ehr", Key: private, Now: at.now}
	read := func(token string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway.URL+"/fhir/Patient/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	token, err := source.Token(t.Context(), "system/Patient.read")
	if err != nil {
		t.Fatal(err)
	}
	if read(token) != 200 || read("") != 401 || read(token+"x") != 401 {
		t.Errorf("%d with the token, %d without, %d with another", read(token), read(""), read(token+"x"))
	}

	rotated, public2, err := oauth.NewKey("k2")
	if err != nil {
		t.Fatal(err)
	}
	published.Store(&public2)
	source.Key = rotated
	source.Forget("system/Patient.read")
	at.advance(oauth.Lifetime) // the fetcher looks again for a kid it does not know, though not at once
	if token, err = source.Token(t.Context(), "system/Patient.read"); err != nil {
		t.Fatal(err)
	}
	old := &oauth.TokenSource{TokenURL: gateway.URL + "/token", ClientID: "ehr", Key: private, Now: at.now}
	if _, err := old.Token(t.Context(), "system/Patient.read"); err == nil {
		t.Error("the old key still works")
	}
	client.Disabled = true
	store.Know(client)
	at.advance(oauth.Lifetime / 100)
	if got := read(token); got != 401 {
		t.Errorf("%d for a disabled client", got)
	}
}

func TestSignAssertionWithRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, errPrivate := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "k1"})
	public, errPublic := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}})
	if err := errors.Join(errPrivate, errPublic, oauth.CheckKeys(public)); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(_ *oauth.Config, c *oauth.Client) { c.JWKS = public })
	signed, err := oauth.SignAssertion(private, "ehr", tokenURL, "HPAYMT", f.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	want(t, f.post(t, form(signed)), 200, "")
	for name, bad := range map[string][]byte{"public": public, "nothing": nil, "symmetric": []byte(`{"kty":"oct","k":"AAAA","kid":"k"}`)} {
		if _, err := oauth.SignAssertion(bad, "ehr", tokenURL, "", f.clock.now()); err == nil {
			t.Errorf("%s key signs", name)
		}
	}
}

// A client with inline keys and a URL may sign with either.
func TestInlineKeysThenURL(t *testing.T) {
	second, public2, err := oauth.NewKey("k2")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(cfg *oauth.Config, c *oauth.Client) {
		c.JWKSURL, cfg.Keys = "https://ehr.example/jwks", fixedKeys{public2}
	})
	want(t, f.ask(t), 200, "")
	signed, err := oauth.SignAssertion(second, "ehr", tokenURL, "", f.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	want(t, f.post(t, form(signed)), 200, "")
}

// The log says that something failed and of what type, and repeats nothing.
func TestLogHoldsNoValues(t *testing.T) {
	var log bytes.Buffer
	f := newFixture(t, func(c *oauth.Config, _ *oauth.Client) {
		c.Store = brokenStore{c.Store.(*storetest.Memory)}
		c.Log = slog.New(slog.NewJSONHandler(&log, nil))
	})
	body := form(f.sign(t, f.assertion()))
	want(t, f.post(t, body), 500, "server_error")
	if text := log.String(); !strings.Contains(text, "error_type") || strings.Contains(text, "CANARY") ||
		strings.Contains(text, body.Get("client_assertion")) {
		t.Errorf("log %q", text)
	}
}
