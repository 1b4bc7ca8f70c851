package oauth_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/google/uuid"

	"trellis/auth/oauth"
	"trellis/auth/oauth/storetest"
)

const tokenURL = "https://gateway.example/oauth/token"

// clock is a time that only moves when told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time              { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) advance(d time.Duration)     { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }
func newClock() *clock                       { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }
func in(c *clock, d time.Duration) time.Time { return c.now().Add(d) }

// fixture is a token endpoint with one client that registered inline keys.
type fixture struct {
	server   *oauth.Server
	store    *storetest.Memory
	clock    *clock
	key      []byte // private JWK, kid "k1"
	client   oauth.Client
	outcomes []oauth.Outcome
}

func newFixture(t testing.TB, change ...func(*oauth.Config, *oauth.Client)) *fixture {
	t.Helper()
	private, public, err := oauth.NewKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{clock: newClock(), key: private, store: storetest.NewMemory()}
	f.client = oauth.Client{ID: "ehr", Name: "EHR", Organization: "org-1", JWKS: public, Scopes: []string{"system/*.rs"},
		Purposes: []string{"TREAT", "HPAYMT"}, DefaultPurpose: "TREAT"}
	cfg := oauth.Config{TokenURL: tokenURL, Secret: []byte(strings.Repeat("s", 32)), Store: f.store, Now: f.clock.now,
		OnToken: nil}
	for _, c := range change {
		c(&cfg, &f.client)
	}
	f.store.Know(f.client)
	if f.server, err = oauth.New(cfg); err != nil {
		t.Fatal(err)
	}
	return f
}

// answer is a token response as a client sees it.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (a answer) code() string { s, _ := a.body["error"].(string); return s }

func (f *fixture) post(t testing.TB, form url.Values) answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.do(t, r)
}

func (f *fixture) do(t testing.TB, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	f.server.Token(w, r)
	res := w.Result()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, &a.body); err != nil {
		t.Fatalf("answer %d is not JSON: %q", res.StatusCode, raw)
	}
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") || a.header.Get("Pragma") != "no-cache" {
		t.Errorf("answer %d may be cached: %v", a.status, a.header)
	}
	return a
}

// assertion is a client assertion under construction; each field may be bent by a test.
type assertion struct {
	header map[string]any
	claims map[string]any
	alg    jose.SignatureAlgorithm
	key    any // jose key; nil: the fixture's
}

func (f *fixture) assertion() *assertion {
	now := f.clock.now()
	return &assertion{
		alg:    jose.ES384,
		header: map[string]any{"kid": "k1", "typ": "JWT"},
		claims: map[string]any{"iss": "ehr", "sub": "ehr", "aud": tokenURL, "jti": uuid.NewString(),
			"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()},
	}
}

func (f *fixture) sign(t testing.TB, a *assertion) string {
	t.Helper()
	key := a.key
	if key == nil {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(f.key); err != nil {
			t.Fatal(err)
		}
		key = jwk.Key
	}
	opts := &jose.SignerOptions{}
	for name, value := range a.header {
		opts = opts.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: a.alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(a.claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func form(assertion string, more ...string) url.Values {
	v := url.Values{
		"grant_type":            {"client_credentials"},
		"scope":                 {"system/Patient.rs"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

// ask posts a good assertion with changes to the form.
func (f *fixture) ask(t testing.TB, more ...string) answer {
	t.Helper()
	return f.post(t, form(f.sign(t, f.assertion()), more...))
}

func (f *fixture) token(t testing.TB, scope string) string {
	t.Helper()
	a := f.ask(t, "scope", scope)
	token, ok := a.body["access_token"].(string)
	if !ok {
		t.Fatalf("no token: %d %s", a.status, a.raw)
	}
	return token
}

func (f *fixture) authenticate(token string) (oauth.Grant, error) {
	r := httptest.NewRequest(http.MethodGet, "/fhir/Patient/1", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return f.server.Authenticate(r)
}

func want(t testing.TB, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.code() != code {
		t.Errorf("answer %d %s, want %d %s", a.status, a.raw, status, code)
	}
	if _, ok := a.body["access_token"]; ok && code != "" {
		t.Error("a refusal carries a token")
	}
}
