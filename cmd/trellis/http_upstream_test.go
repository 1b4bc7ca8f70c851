package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/gateway/audit"
	"trellis/gateway/login"
	"trellis/gateway/telemetry"
)

// provider is an OpenID provider: what a program's own identity provider does, as far as a client sees it.
type provider struct {
	t      testing.TB
	server *httptest.Server
	key    *rsa.PrivateKey
	now    func() time.Time
	asked  url.Values     // the last authorization request
	claims map[string]any // of the next id_token, over the right ones
}

const providerSecret = "the secret of the client"

func newProvider(t testing.TB, now func() time.Time) *provider {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		u := p.server.URL
		p.json(w, map[string]any{"issuer": u, "authorization_endpoint": u + "/authorize", "token_endpoint": u + "/token", "jwks_uri": u + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		encode := base64.RawURLEncoding.EncodeToString
		p.json(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("POST /token", p.token)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

func (p *provider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

// token answers for a code, which here is the subject.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if id != "trellis" || secret != url.QueryEscape(providerSecret) || base64.RawURLEncoding.EncodeToString(challenge[:]) != p.asked.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	claims := map[string]any{"iss": p.server.URL, "aud": "trellis", "sub": r.PostFormValue("code"), "nonce": p.asked.Get("nonce"), "iat": p.now().Unix(), "exp": p.now().Add(time.Minute).Unix()}
	maps.Copy(claims, p.claims)
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			p.t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]any{"alg": "RS256", "kid": "1", "typ": "JWT"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	p.json(w, map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": signed + "." + base64.RawURLEncoding.EncodeToString(signature)})
}

// goes follows the button, as somebody who signs in there as subject, and comes back.
func (p *provider) goes(b *browser, subject string) *browser {
	b.t.Helper()
	return b.visit(p.there(b) + "&code=" + url.QueryEscape(subject))
}

// there follows the button and is the address the provider would send the browser back to, without its answer.
func (p *provider) there(b *browser) string {
	b.t.Helper()
	b.expect("/account/login").shows("Sign in with Program Login")
	b.visit("/account/upstream?" + b.at.RawQuery)
	to, err := url.Parse(b.location)
	if err != nil || !strings.HasPrefix(b.location, p.server.URL+"/authorize?") {
		b.t.Fatalf("sent to %q", b.location)
	}
	p.asked = to.Query()
	if p.asked.Get("redirect_uri") != login.CallbackURL(b.in.gateway.public) || p.asked.Get("code_challenge_method") != "S256" || p.asked.Get("nonce") == "" {
		b.t.Errorf("asked %v", p.asked)
	}
	return p.asked.Get("redirect_uri") + "?state=" + url.QueryEscape(p.asked.Get("state"))
}

// People whose account is linked sign in at their program's provider; staff give their second factor here all the same.
func TestUpstreamLogin(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	p := newProvider(t, in.clock.now)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(providerSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in.withUpstream(upstreamLogin{Name: "Program Login", Issuer: p.server.URL, ClientID: "trellis", SecretFile: file})
	for _, who := range []string{"maya", "nora", "dora"} {
		u, err := in.gateway.store.UserByLogin(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		u.Upstream = p.server.URL + " sub-" + who
		in.putUser(u)
	}
	b := in.browser().visit(in.authorize("diary", standalone))
	if got := p.goes(b, "sub-maya").expect("/account/consent").submit("decision=allow").redeem("diary"); got.Patient != "P1" {
		t.Errorf("%+v", got)
	}
	p.goes(in.browser().visit("/account/launch"), "sub-nora").expect("/account/factor").submit("", "code="+in.code("nora")).expect("/account/launch")
	for _, who := range []string{"sub-stranger", "sub-dora", "sub-MAYA"} {
		p.goes(in.browser().visit("/account/apps"), who).refused(http.StatusUnprocessableEntity).shows("no account here")
	}
	in.browser().visit(p.there(in.browser().visit("/account/apps")) + "&code=sub-maya").refused(http.StatusForbidden) // another browser
	b = in.browser().visit("/account/apps")
	back := p.there(b)
	b.visit(back + "&error=access_denied").refused(http.StatusUnprocessableEntity)
	b.visit(back + "&code=sub-maya").refused(http.StatusForbidden) // once only
	b.visit(login.CallbackURL(in.gateway.public) + "?code=sub-maya").refused(http.StatusForbidden)
	for name, claims := range map[string]map[string]any{
		"another nonce":  {"nonce": "x"},
		"another client": {"aud": "other"},
		"another issuer": {"iss": "https://evil.example"},
		"expired":        {"exp": in.clock.now().Add(-time.Hour).Unix()},
		"nobody":         {"sub": ""},
	} {
		p.claims = claims
		p.goes(in.browser().visit("/account/apps"), "sub-maya").refused(http.StatusBadGateway).shows("does not work at the moment")
		if p.claims = nil; name == "" {
			t.Fatal()
		}
	}
	in.clock.advance(time.Minute)
	b = in.browser().visit("/account/apps")
	p.goes(b, "sub-maya").expect("/account/apps")
	in.clock.advance(time.Minute)
	if p.there(b.visit(in.authorize("diary", standalone, "prompt=login"))); p.asked.Get("prompt") != "login" {
		t.Error("the provider is not asked to have the person sign in anew")
	}
	p.server.Close()
	log := in.happened(audit.Login)
	for _, want := range []string{"sign-in ok u-maya", "upstream ok u-nora", "sign-in ok u-nora", "upstream refused u-dora", "upstream refused"} {
		if !slices.Contains(log, want) {
			t.Errorf("the log has no %q: %q", want, log)
		}
	}
}

// withUpstream assembles the installation's handler anew, with a provider, on its database.
func (in *installation) withUpstream(up upstreamLogin) {
	in.t.Helper()
	c := config{PublicURL: in.gateway.public, AllowPrivate: true, Posture: demoPosture(), Organizations: fixtureOrganizations(in.t), UpstreamLogin: &up}
	if faults := c.settle(); len(faults) > 0 {
		in.t.Fatal(faults)
	}
	g, err := assemble(in.t.Context(), deployment{location: in.where, logger: telemetry.NewLogger(in.log), clock: in.clock.now, config: c})
	if err != nil {
		in.t.Fatal(err)
	}
	in.server.Config.Handler = g.handler
	in.t.Cleanup(func() {
		if err := g.close(); err != nil {
			in.t.Error(err)
		}
	})
}
