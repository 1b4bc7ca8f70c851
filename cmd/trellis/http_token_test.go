package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"trellis/auth/oauth"
	"trellis/gateway/audit"
)

// forger makes client assertions that may be bent in any part, with the client's real key unless told otherwise.
type forger struct {
	in             *installation
	client         string
	header, claims map[string]any
	key            *ecdsa.PrivateKey
}

func (in *installation) forge(client string, bend func(f *forger)) string {
	in.t.Helper()
	now := in.clock.now()
	f := &forger{in: in, client: client, key: in.privateKey(client),
		header: map[string]any{"alg": "ES384", "typ": "JWT", "kid": client},
		claims: map[string]any{"iss": client, "sub": client, "aud": in.gateway.tokenURL, "jti": uuid.NewString(), "iat": now.Unix(), "exp": now.Add(4 * time.Minute).Unix()}}
	if bend != nil {
		bend(f)
	}
	return f.sign()
}

// privateKey reads the client's key from its JWK.
func (in *installation) privateKey(client string) *ecdsa.PrivateKey {
	in.t.Helper()
	var jwk struct{ X, Y, D string }
	if err := json.Unmarshal(in.keys[client], &jwk); err != nil {
		in.t.Fatal(err)
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			in.t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	return &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P384(), X: number(jwk.X), Y: number(jwk.Y)}, D: number(jwk.D)}
}

func (f *forger) sign() string {
	f.in.t.Helper()
	part := func(v any) string {
		doc, err := json.Marshal(v)
		if err != nil {
			f.in.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(doc)
	}
	signed := part(f.header) + "." + part(f.claims)
	sum := sha512.Sum384([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, f.key, sum[:])
	if err != nil {
		f.in.t.Fatal(err)
	}
	signature := make([]byte, 96)
	r.FillBytes(signature[:48])
	s.FillBytes(signature[48:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// tokenForm is a token request.
func tokenForm(assertion string, more ...string) url.Values {
	v := url.Values{"grant_type": {"client_credentials"}, "scope": {"system/Condition.rs"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

func (in *installation) askToken(form url.Values) reply {
	in.t.Helper()
	return in.send(request{method: "POST", path: in.gateway.tokenURL, body: []byte(form.Encode()), contentType: "application/x-www-form-urlencoded"})
}

// TestTokenRefusals sends assertions and requests that must not get a token.
func TestTokenRefusals(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.register(oauth.Client{ID: "hesitant", Organization: "hospital", Scopes: []string{anyScope}, Purposes: []string{"TREAT"}}, false)
		stranger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		bent := func(bend func(f *forger)) string { return in.forge("hospital", bend) }
		claim := func(name string, value any) string { return bent(func(f *forger) { f.claims[name] = value }) }
		header := func(name string, value any) string { return bent(func(f *forger) { f.header[name] = value }) }
		replayed := bent(nil)
		if a := in.askToken(tokenForm(replayed)); a.status != 200 || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("a good assertion: %d %s", a.status, a.body)
		}
		purpose := func(codes ...string) map[string]any {
			return map[string]any{"hl7-b2b": map[string]any{"version": "1", "purpose_of_use": codes}}
		}
		before := in.stored()
		for _, c := range []struct {
			name   string
			form   url.Values
			status int
			code   string
		}{
			{"replayed assertion", tokenForm(replayed), 401, "invalid_client"},
			{"expired assertion", tokenForm(claim("exp", in.clock.now().Add(-time.Second).Unix())), 401, "invalid_client"},
			{"assertion that lives too long", tokenForm(claim("exp", in.clock.now().Add(time.Hour).Unix())), 401, "invalid_client"},
			{"assertion of tomorrow", tokenForm(claim("nbf", in.clock.now().Add(time.Hour).Unix())), 401, "invalid_client"},
			{"wrong aud", tokenForm(claim("aud", "https://zqcanary.example/oauth/token")), 401, "invalid_client"},
			{"FHIR base as aud", tokenForm(claim("aud", in.gateway.base)), 401, "invalid_client"},
			{"several aud", tokenForm(claim("aud", []string{in.gateway.tokenURL, "https://zqcanary.example"})), 401, "invalid_client"},
			{"no jti", tokenForm(claim("jti", "")), 401, "invalid_client"},
			{"iss and sub differ", tokenForm(claim("iss", "plan")), 401, "invalid_client"},
			{"unknown client", tokenForm(bent(func(f *forger) { f.claims["iss"], f.claims["sub"] = "zqcanary", "zqcanary" })), 401, "invalid_client"},
			{"another client's name", tokenForm(bent(func(f *forger) { f.claims["iss"], f.claims["sub"], f.header["kid"] = "otp", "otp", "otp" })), 401, "invalid_client"},
			{"foreign jku", tokenForm(header("jku", "https://zqcanary.example/jwks.json")), 401, "invalid_client"},
			{"jku on this machine", tokenForm(header("jku", in.gateway.base+"/jwks.json")), 401, "invalid_client"},
			{"key inside the assertion", tokenForm(header("jwk", map[string]any{"kty": "EC"})), 401, "invalid_client"},
			{"unknown kid", tokenForm(header("kid", "zqcanary")), 401, "invalid_client"},
			{"algorithm none", tokenForm(header("alg", "none")), 401, "invalid_client"},
			{"algorithm HS256", tokenForm(header("alg", "HS256")), 401, "invalid_client"},
			{"key of a stranger", tokenForm(bent(func(f *forger) { f.key = stranger })), 401, "invalid_client"},
			{"no JWT", tokenForm("zqcanary"), 401, "invalid_client"},
			{"no assertion", tokenForm(""), 401, "invalid_client"},
			{"secret beside the assertion", tokenForm(bent(nil), "client_secret", "zqcanary"), 401, "invalid_client"},
			{"no purpose", tokenForm(in.forge("hesitant", nil)), 400, "invalid_request"},
			{"unknown purpose", tokenForm(bent(func(f *forger) { f.claims["extensions"] = purpose("ZQCANARY") })), 400, "invalid_request"},
			{"purpose outside the registration", tokenForm(bent(nil), "purpose_of_use", "HRESCH"), 400, "invalid_request"},
			{"two purposes", tokenForm(bent(func(f *forger) { f.claims["extensions"] = purpose("TREAT", "COC") })), 400, "invalid_request"},
			{"purposes that disagree", tokenForm(bent(func(f *forger) { f.claims["extensions"] = purpose("TREAT") }), "purpose_of_use", "COC"), 400, "invalid_request"},
			{"malformed purpose", tokenForm(bent(func(f *forger) { f.claims["extensions"] = "zqcanary" })), 400, "invalid_request"},
			{"no scope", tokenForm(bent(nil), "scope", ""), 400, "invalid_scope"},
			{"unknown type in the scope", tokenForm(bent(nil), "scope", "system/Zqcanary.rs"), 400, "invalid_scope"},
			{"user scope", tokenForm(bent(nil), "scope", "user/Condition.rs"), 400, "invalid_scope"},
			{"malformed scope", tokenForm(bent(nil), "scope", "system/Condition.zqcanary"), 400, "invalid_scope"},
			{"no grant", tokenForm(bent(nil), "grant_type", ""), 400, "invalid_request"},
			{"grant by password", tokenForm(bent(nil), "grant_type", "password"), 400, "unsupported_grant_type"},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := in.askToken(c.form)
				checkRefusal(t, a, c.status, c.code)
			})
		}
		for _, r := range []struct {
			name   string
			status int
			request
		}{
			{"GET", 405, request{method: "GET", path: in.gateway.tokenURL + "?" + tokenForm(bent(nil)).Encode()}},
			{"form in the query string", 400, request{method: "POST", path: in.gateway.tokenURL + "?" + tokenForm(bent(nil)).Encode(), body: []byte("x=1"), contentType: "application/x-www-form-urlencoded"}},
			{"JSON", 415, request{method: "POST", path: in.gateway.tokenURL, body: []byte(`{"zqcanary":1}`), contentType: "application/json"}},
			{"oversized", 413, request{method: "POST", path: in.gateway.tokenURL, body: []byte("zqcanary=" + strings.Repeat("x", 70<<10)), contentType: "application/x-www-form-urlencoded"}},
		} {
			if a := in.send(r.request); bytes.Contains(a.body, []byte(canary)) || a.status != r.status {
				t.Errorf("%s: %d %s", r.name, a.status, a.body)
			}
		}
		if after := in.stored(); after["res"] != before["res"] {
			t.Error("refused token requests left records")
		}
		in.checkTokenEvents()
	})
}

// checkRefusal holds a refusal to RFC 6749 section 5.2.
func checkRefusal(t *testing.T, a reply, status int, code string) {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(a.body, &answer); err != nil {
		t.Fatalf("not JSON: %s", a.body)
	}
	if a.status != status || answer["error"] != code || answer["access_token"] != nil {
		t.Errorf("%d %s, want %d %s", a.status, a.body, status, code)
	}
	if bytes.Contains(bytes.ToLower(a.body), []byte(canary)) {
		t.Errorf("the answer repeats the request: %s", a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer may be cached: %v", a.header)
	}
}

// checkTokenEvents demands that issued tokens and refusals of known clients are in the audit log.
func (in *installation) checkTokenEvents() {
	in.t.Helper()
	outcomes := map[string]int{}
	for _, e := range in.events() {
		if e.Kind == audit.TokenIssue && e.Client == "hospital" {
			outcomes[e.Outcome+" "+e.Detail["error"]]++
		}
	}
	for _, want := range []string{"issued ", "refused invalid_request", "refused invalid_scope"} {
		if outcomes[want] == 0 {
			in.t.Errorf("no token event %q among %v", want, outcomes)
		}
	}
}

// TestTokenExpires asks with a token that was good: it ends with its life, and with its client.
func TestTokenExpires(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		token := in.token("hospital", "TREAT", anyScope)
		ask := func() reply {
			return in.send(request{method: "GET", path: "Condition/C2", header: map[string]string{"Authorization": "Bearer " + token}})
		}
		if a := ask(); a.status != 200 {
			t.Fatalf("a good token: %d", a.status)
		}
		in.clock.advance(5*time.Minute - time.Second)
		if a := ask(); a.status != 200 {
			t.Errorf("one second before its end: %d", a.status)
		}
		in.clock.advance(time.Second)
		if a := ask(); a.status != 401 {
			t.Errorf("at its end: %d", a.status)
		}
		token = in.token("hospital", "TREAT", anyScope)
		record, err := in.gateway.store.ClientRecord(t.Context(), "hospital")
		if err != nil {
			t.Fatal(err)
		}
		record.OAuth.Disabled = true
		if err := in.gateway.store.PutClient(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		in.clock.advance(time.Second)
		if a := ask(); a.status != 401 {
			t.Errorf("a second after its client was disabled: %d", a.status)
		}
	})
}
