package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"

	"trellis/auth/oauth"
)

// One test per known departure of fosite v0.49.0 from SMART that the client_credentials grant meets; the number is
// the row of the list of facts this package answers.

// Row 1: fosite's scope strategies cannot express SMART.
func TestRow1ScopeStrategy(t *testing.T) {
	for _, c := range []struct {
		registered, asked string
		ok                bool
	}{
		{"system/*.read", "system/Observation.read", true},
		{"system/Observation.rs", "system/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", true},
		{"system/Observation.rs?category=a", "system/Observation.rs", false},
		{"system/Observation.read", "system/Observation.*", false},
		{"system/Observation.rs", "system/*.rs", false},
		{"system/*.cruds", "system/*.cruds", true},
		{"system/Patient.r system/Patient.s", "system/Patient.rs", true},
	} {
		f := newFixture(t, func(_ *oauth.Config, cl *oauth.Client) { cl.Scopes = strings.Fields(c.registered) })
		if a := f.ask(t, "scope", c.asked); (a.status == 200) != c.ok || (!c.ok && a.code() != "invalid_scope") {
			t.Errorf("%q of %q: %d %s", c.asked, c.registered, a.status, a.raw)
		}
	}
}

// Row 2: fosite answers an expired assertion with 500.
func TestRow2ExpiredAssertion(t *testing.T) {
	f := newFixture(t)
	for _, ago := range []time.Duration{0, time.Second, time.Hour} {
		a := f.assertion()
		a.claims["exp"] = in(f.clock, -ago).Unix()
		want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
	}
	for _, exp := range []any{nil, "soon", -1, 1e300} {
		a := f.assertion()
		if a.claims["exp"] = exp; exp == nil {
			delete(a.claims, "exp")
		}
		want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
	}
}

// Row 3: fosite answers a replay and an unknown kid with 400, a failed key fetch with 500.
func TestRow3ReplayUnknownKidAndFetchFailure(t *testing.T) {
	f := newFixture(t)
	body := form(f.sign(t, f.assertion()))
	want(t, f.post(t, body), 200, "")
	want(t, f.post(t, body), 401, "invalid_client")

	a := f.assertion()
	a.header["kid"] = "unknown"
	want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")

	f = newFixture(t, func(cfg *oauth.Config, c *oauth.Client) {
		cfg.Keys, c.JWKS, c.JWKSURL = oauth.NewFetcher(oauth.FetcherConfig{}), nil, "https://127.0.0.1:1/jwks"
	})
	want(t, f.ask(t), 401, "invalid_client")
	f = newFixture(t, func(_ *oauth.Config, c *oauth.Client) { c.JWKS = nil })
	want(t, f.ask(t), 401, "invalid_client")
}

// Row 4: SMART asks for kty and kid only; a key without `use` has to work, one for encryption must not.
func TestRow4KeyWithoutUse(t *testing.T) {
	for use, status := range map[string]int{"": 200, "sig": 200, "enc": 401} {
		f := newFixture(t)
		f.client.JWKS = withMember(t, f.client.JWKS, "use", use)
		f.store.Know(f.client)
		if a := f.ask(t); a.status != status {
			t.Errorf("use %q: %d %s", use, a.status, a.raw)
		}
	}
}

// withMember sets (or, for "", removes) a member of the first key of a set.
func withMember(t *testing.T, jwks []byte, name, value string) []byte {
	t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	if set.Keys[0][name] = value; value == "" {
		delete(set.Keys[0], name)
	}
	out, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Row 5, lifetime: fosite accepts an exp a day ahead.
func TestRow5ExpiryAtMostFiveMinutes(t *testing.T) {
	f := newFixture(t)
	for ahead, status := range map[time.Duration]int{time.Second: 200, 5 * time.Minute: 200, 6 * time.Minute: 401, 24 * time.Hour: 401} {
		a := f.assertion()
		a.claims["exp"] = in(f.clock, ahead).Unix()
		if got := f.post(t, form(f.sign(t, a))); got.status != status {
			t.Errorf("exp in %s: %d", ahead, got.status)
		}
	}
	a := f.assertion()
	a.claims["nbf"] = in(f.clock, 2*time.Minute).Unix()
	want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
}

// Row 5, kid: required, and exactly one key of the right kty.
func TestRow5KidMatchesExactlyOneKey(t *testing.T) {
	f := newFixture(t)
	for _, kid := range []any{nil, "", 7, "K1"} {
		a := f.assertion()
		if a.header["kid"] = kid; kid == nil {
			delete(a.header, "kid")
		}
		want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(f.client.JWKS, &set); err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	register := func(keys ...jose.JSONWebKey) {
		if f.client.JWKS, err = json.Marshal(jose.JSONWebKeySet{Keys: keys}); err != nil {
			t.Fatal(err)
		}
		f.store.Know(f.client)
	}
	register(set.Keys[0], jose.JSONWebKey{Key: other.Public(), KeyID: "k1"})
	want(t, f.ask(t), 200, "") // same kid, other kty: still exactly one
	register(set.Keys[0], set.Keys[0])
	want(t, f.ask(t), 401, "invalid_client")
}

// Row 5, jku: has to equal the registered URL.
func TestRow5JkuEqualsRegisteredURL(t *testing.T) {
	for _, c := range []struct {
		registered string
		jku        any
		status     int
	}{
		{"", "https://evil.example/jwks", 401},
		{"https://ehr.example/jwks", "https://evil.example/jwks", 401},
		{"https://ehr.example/jwks", "https://ehr.example/jwks/", 401},
		{"https://ehr.example/jwks", "https://EHR.example/jwks", 401},
		{"https://ehr.example/jwks", 5, 401},
		{"https://ehr.example/jwks", "https://ehr.example/jwks", 200},
		{"https://ehr.example/jwks", nil, 200},
	} {
		f := newFixture(t, func(cfg *oauth.Config, cl *oauth.Client) {
			cl.JWKSURL, cfg.Keys = c.registered, fixedKeys{cl.JWKS}
		})
		a := f.assertion()
		if c.jku != nil {
			a.header["jku"] = c.jku
		}
		if got := f.post(t, form(f.sign(t, a))); got.status != c.status {
			t.Errorf("jku %v of %q: %d %s", c.jku, c.registered, got.status, got.raw)
		}
	}
}

// Row 5, algorithms: ES384 and RS384, nothing else, and no key inside the token.
func TestRow5AlgorithmAllowList(t *testing.T) {
	f := newFixture(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range map[jose.SignatureAlgorithm]any{
		jose.ES256: p256, jose.HS256: f.client.JWKS, jose.HS384: f.client.JWKS,
	} {
		a := f.assertion()
		a.alg, a.key = alg, key
		want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
	}
	for name, value := range map[string]any{
		"jwk": map[string]any{"kty": "EC"}, "x5c": []string{"MIIB"}, "x5u": "https://evil.example", "b64": true, "typ": "at+jwt",
	} {
		a := f.assertion()
		a.header[name] = value
		want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
	}
	// alg none, by hand: go-jose would not make one.
	good := strings.Split(f.sign(t, f.assertion()), ".")
	for _, header := range []string{`{"alg":"none","kid":"k1"}`, `{"kid":"k1"}`, `{"alg":"ES384","ALG":"none","kid":"k1"}`, `null`, `[]`} {
		none := base64.RawURLEncoding.EncodeToString([]byte(header))
		want(t, f.post(t, form(none+"."+good[1]+".")), 401, "invalid_client")
		want(t, f.post(t, form(none+"."+good[1]+"."+good[2])), 401, "invalid_client")
	}
}

// Row 6: fosite keys jti globally and burns it before aud is checked.
func TestRow6JtiPerIssuerAndBurnedLast(t *testing.T) {
	f := newFixture(t)
	other := f.client
	other.ID = "other"
	f.store.Know(other)
	for _, id := range []string{"ehr", "other"} {
		a := f.assertion()
		a.claims["iss"], a.claims["sub"], a.claims["jti"] = id, id, "shared"
		want(t, f.post(t, form(f.sign(t, a))), 200, "")
	}
	burned := f.store.Burned()
	bend := map[string]func(*assertion){
		"aud wrong":     func(a *assertion) { a.claims["aud"] = "https://gateway.example/oauth" },
		"aud missing":   func(a *assertion) { delete(a.claims, "aud") },
		"aud list":      func(a *assertion) { a.claims["aud"] = []string{tokenURL, "https://other.example"} },
		"aud trailing":  func(a *assertion) { a.claims["aud"] = tokenURL + "/" },
		"iss wrong":     func(a *assertion) { a.claims["iss"] = "other" },
		"sub wrong":     func(a *assertion) { a.claims["sub"] = "other" },
		"iss missing":   func(a *assertion) { delete(a.claims, "iss") },
		"unregistered":  func(a *assertion) { a.claims["iss"], a.claims["sub"] = "nobody", "nobody" },
		"jti missing":   func(a *assertion) { delete(a.claims, "jti") },
		"jti too long":  func(a *assertion) { a.claims["jti"] = strings.Repeat("j", 300) },
		"jti no string": func(a *assertion) { a.claims["jti"] = 7 },
		"other key": func(a *assertion) {
			key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			a.key = key
		},
	}
	for name, change := range bend {
		t.Run(name, func(t *testing.T) {
			a := f.assertion()
			change(a)
			want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
		})
	}
	if f.store.Burned() != burned {
		t.Error("a refused assertion burned its jti")
	}
	a := f.assertion()
	a.claims["aud"] = []string{tokenURL}
	want(t, f.post(t, form(f.sign(t, a))), 200, "")
}

// Row 12: fosite's introspection takes a refresh token for an access token.
func TestRow12TokenUseIsAccessToken(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, "system/Patient.rs")
	stored := f.store.Tokens()[0]
	for _, use := range []string{"refresh_token", "id_token", ""} {
		bad := newFixture(t) // same secret, so the HMAC holds
		stored.Use = use
		if err := bad.store.SaveToken(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		if _, err := bad.authenticate(token); !errors.Is(err, oauth.ErrBadToken) {
			t.Errorf("use %q: %v", use, err)
		}
	}
}

// Row 13: fosite reads the token from the query and the body as well.
func TestRow13BearerFromHeaderOnly(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, "system/Patient.rs")
	query := httptest.NewRequest(http.MethodGet, "/fhir/Patient/1?access_token="+token, nil)
	body := httptest.NewRequest(http.MethodPost, "/fhir/Patient/_search", strings.NewReader("access_token="+token))
	body.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, r := range []*http.Request{query, body} {
		if _, err := f.server.Authenticate(r); !errors.Is(err, oauth.ErrNoToken) {
			t.Errorf("%s: %v", r.Method, err)
		}
	}
	for value, expect := range map[string]error{
		"":                                    oauth.ErrNoToken,
		"Basic " + token:                      oauth.ErrNoToken,
		token:                                 oauth.ErrNoToken,
		"Bearer":                              oauth.ErrBadToken,
		"Bearer ":                             oauth.ErrBadToken,
		"Bearer  " + token:                    oauth.ErrBadToken,
		"Bearer " + token + " x":              oauth.ErrBadToken,
		"Bearer " + token + ",":               oauth.ErrBadToken,
		"Bearer " + token + "A":               oauth.ErrBadToken,
		"Bearer x" + token:                    oauth.ErrBadToken,
		"Bearer " + strings.Repeat("a", 9999): oauth.ErrBadToken,
		"Bearer " + token:                     nil,
		"bearer " + token:                     nil,
	} {
		r := httptest.NewRequest(http.MethodGet, "/fhir/Patient/1", nil)
		r.Header.Set("Authorization", value)
		if _, err := f.server.Authenticate(r); !errors.Is(err, expect) {
			t.Errorf("%.40q: %v, want %v", value, err, expect)
		}
	}
	twice := httptest.NewRequest(http.MethodGet, "/fhir/Patient/1", nil)
	twice.Header.Add("Authorization", "Bearer "+token)
	twice.Header.Add("Authorization", "Bearer "+token)
	if _, err := f.server.Authenticate(twice); !errors.Is(err, oauth.ErrBadToken) {
		t.Errorf("two headers: %v", err)
	}
}

// Row 20: fosite checks secrets with bcrypt. Here a client with keys has none: no secret, however sent, authenticates it.
func TestRow20NoSecrets(t *testing.T) {
	f := newFixture(t)
	for _, secret := range []string{"", "secret", strings.Repeat("s", 100)} {
		body := form("", "client_id", "ehr", "client_secret", secret)
		body.Del("client_assertion")
		body.Del("client_assertion_type")
		want(t, f.post(t, body), 401, "invalid_client")
	}
}

// Row 23: fosite grants an empty scope.
func TestRow23EmptyScope(t *testing.T) {
	f := newFixture(t)
	for _, scope := range []string{"", " ", "   "} {
		want(t, f.ask(t, "scope", scope), 400, "invalid_scope")
	}
	body := form(f.sign(t, f.assertion()))
	body.Del("scope")
	want(t, f.post(t, body), 400, "invalid_scope")
	if len(f.store.Tokens()) != 0 {
		t.Error("a token without scope was stored")
	}
}
