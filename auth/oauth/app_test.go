package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"

	"trellis/auth/oauth"
	"trellis/auth/oauth/storetest"
	"trellis/auth/smart"
)

const (
	issuer   = "https://gateway.example"
	fhirBase = issuer + "/fhir"
	callback = "https://app.example/callback"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	asked    = "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs"
)

// apps is an authorization server with one app of each kind.
type apps struct {
	*fixture
	secret  string
	signing [][]byte
	absent  map[string]bool // accounts that may no longer act
	hearing sync.Mutex
}

func newApps(t testing.TB, change ...func(*oauth.Config)) *apps {
	t.Helper()
	a := &apps{absent: map[string]bool{}}
	for _, kid := range []string{"s1", "s2"} {
		key, err := oauth.NewSigningKey(kid)
		if err != nil {
			t.Fatal(err)
		}
		a.signing = append(a.signing, key)
	}
	a.fixture = newFixture(t, func(c *oauth.Config, _ *oauth.Client) {
		store := c.Store.(*storetest.Memory)
		c.Issuer, c.FHIRBase, c.Grants, c.Tickets, c.StyleURL = issuer, fhirBase, store, store, issuer+"/style-1.json"
		c.SigningKeys = func(context.Context) ([][]byte, error) { return a.signing, nil }
		c.Standing = func(_ context.Context, who oauth.Context) (bool, error) { return !a.absent[who.User], nil }
		c.OnToken = func(_ context.Context, o oauth.Outcome) error {
			a.hearing.Lock()
			defer a.hearing.Unlock()
			a.outcomes = append(a.outcomes, o)
			return nil
		}
		for _, f := range change {
			f(c)
		}
	})
	a.secret = oauth.NewSecret()
	scopes := strings.Fields(asked + " launch online_access profile user/Practitioner.rs patient/*.rs patient/Condition.cud system/Basic.rs")
	for _, c := range []oauth.Client{
		{ID: "public", Name: "Public app"},
		{ID: "symmetric", Name: "Symmetric app", SecretHash: oauth.HashSecret(oauth.SecretKey([]byte(strings.Repeat("s", 32))), a.secret)},
		{ID: "asymmetric", Name: "Asymmetric app", JWKS: a.client.JWKS},
	} {
		c.RedirectURIs, c.Scopes = []string{callback, callback + "2"}, scopes
		a.store.Know(c)
	}
	return a
}

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorization is a good request of a client.
func authorization(client string) url.Values {
	return url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {callback}, "scope": {asked}, "state": {"state-12345678"},
		"aud": {fhirBase}, "nonce": {"n-1"}, "code_challenge": {s256(verifier)}, "code_challenge_method": {"S256"}}
}

func (a *apps) begin(form url.Values) (*oauth.Interaction, error) {
	return a.server.Begin(httptest.NewRequest(http.MethodGet, "/oauth/authorize?"+form.Encode(), nil))
}

// refused is how a request is refused.
func (a *apps) refused(t testing.TB, form url.Values) *oauth.Refused {
	t.Helper()
	_, err := a.begin(form)
	var r *oauth.Refused
	if !errors.As(err, &r) {
		t.Fatalf("not refused: %v", err)
	}
	return r
}

func patientContext(a *apps) oauth.Context {
	return oauth.Context{User: "u1", Name: "Maya Okafor", FHIRUser: "Patient/p1", Capacity: "self", Patient: "p1", AuthTime: a.clock.now()}
}

// code goes through the authorization endpoint as a patient who grants scopes ("" for all that was asked).
func (a *apps) code(t testing.TB, form url.Values, scopes string) string {
	t.Helper()
	i, err := a.begin(form)
	if err != nil {
		t.Fatal(err)
	}
	if i, err = a.server.Resume(t.Context(), i.Request); err != nil {
		t.Fatal(err)
	}
	granted := i.Scopes
	if scopes != "" {
		if granted, err = smart.Parse(scopes); err != nil {
			t.Fatal(err)
		}
	}
	who := patientContext(a)
	if i.Launch != nil {
		who.Patient, who.Encounter, who.Intent, who.Launched = i.Launch.Patient, i.Launch.Encounter, i.Launch.Intent, true
	}
	location, err := a.server.Approve(t.Context(), i, oauth.Approval{Context: who, Purpose: "PATRQT", Scopes: granted})
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	if q := to.Query(); q.Get("state") != form.Get("state") || q.Get("iss") != issuer || q.Has("error") || q.Has("scope") || !strings.HasPrefix(location, callback+"?") {
		t.Errorf("redirect %s", location)
	}
	return to.Query().Get("code")
}

func exchange(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
}

// ask posts to the token endpoint as a client.
func (a *apps) ask(t testing.TB, client string, form url.Values) answer {
	t.Helper()
	r := a.request(t, client, "/oauth/token", form)
	return a.do(t, r)
}

func (a *apps) request(t testing.TB, client, path string, form url.Values) *http.Request {
	t.Helper()
	switch client {
	case "public":
		form.Set("client_id", client)
	case "asymmetric":
		as := a.assertion()
		as.claims["iss"], as.claims["sub"] = client, client
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", a.sign(t, as))
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client == "symmetric" {
		r.SetBasicAuth(client, a.secret)
	}
	return r
}

func (a *apps) tokens(t testing.TB, client string) answer {
	t.Helper()
	got := a.ask(t, client, exchange(a.code(t, authorization(client), "")))
	if got.status != http.StatusOK {
		t.Fatalf("token: %d %s", got.status, got.raw)
	}
	return got
}

func (a answer) text(name string) string { s, _ := a.body[name].(string); return s }

func (a *apps) bearer(token string) (oauth.Grant, error) {
	r := httptest.NewRequest(http.MethodGet, "/fhir/Patient/p1", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return a.server.Authenticate(r)
}

// 1.3 token response: every kind of client gets one with all it must hold.
func TestTokenResponse(t *testing.T) {
	for _, client := range []string{"public", "symmetric", "asymmetric"} {
		t.Run(client, func(t *testing.T) {
			a := newApps(t)
			got := a.tokens(t, client)
			if got.text("access_token") == "" || got.text("refresh_token") == "" || got.text("token_type") != "bearer" || got.text("scope") != asked {
				t.Errorf("token response: %s", got.raw)
			}
			if life, ok := got.body["expires_in"].(float64); !ok || life != oauth.AppLifetime.Seconds() {
				t.Errorf("expires_in %v", got.body["expires_in"])
			}
			if got.text("patient") != "p1" || got.body["need_patient_banner"] != true || got.text("smart_style_url") == "" {
				t.Errorf("launch context: %s", got.raw)
			}
			grant, err := a.bearer(got.text("access_token"))
			if err != nil {
				t.Fatal(err)
			}
			if grant.ClientID != client || grant.Context.Patient != "p1" || grant.Context.User != "u1" || grant.Organization != "" || grant.Purpose != "PATRQT" {
				t.Errorf("grant: %+v", grant)
			}
		})
	}
}

// 1.3 id_token: RS256 with a published kid and the claims OpenID Connect asks for, at the code and at each refresh.
func TestIDToken(t *testing.T) {
	a := newApps(t)
	first := a.tokens(t, "symmetric")
	second := a.ask(t, "symmetric", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.text("refresh_token")}})
	w := httptest.NewRecorder()
	a.server.Keys(w, httptest.NewRequest(http.MethodGet, "/oauth/jwks.json", nil))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || len(set.Keys) != 2 || strings.Contains(w.Body.String(), `"d"`) {
		t.Fatalf("published keys: %s", w.Body)
	}
	for _, got := range []answer{first, second} {
		signed, err := jose.ParseSigned(got.text("id_token"))
		if err != nil {
			t.Fatalf("%v in %s", err, got.raw)
		}
		header := signed.Signatures[0].Header
		if header.Algorithm != "RS256" || header.KeyID != "s1" {
			t.Errorf("header %+v", header)
		}
		payload, err := signed.Verify(set.Key("s1")[0])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(got.text("access_token")))
		for name, want := range map[string]any{"iss": issuer, "aud": "symmetric", "sub": "u1", "fhirUser": fhirBase + "/Patient/p1",
			"iat": float64(a.clock.now().Unix()), "auth_time": float64(a.clock.now().Unix()), "at_hash": base64.RawURLEncoding.EncodeToString(sum[:16])} {
			if claims[name] != want {
				t.Errorf("claim %s is %v, want %v", name, claims[name], want)
			}
		}
		if exp, _ := claims["exp"].(float64); exp <= float64(a.clock.now().Unix()) {
			t.Errorf("exp %v", claims["exp"])
		}
		if _, there := claims["name"]; there {
			t.Error("name without scope profile")
		}
	}
}

// 1.4 negative token tests, PKCE: each of four wrong verifiers is refused, and a second try with the right one too.
func TestInvalidPKCE(t *testing.T) {
	for name, change := range map[string]func(url.Values){
		"no verifier":    func(f url.Values) { f.Del("code_verifier") },
		"blank":          func(f url.Values) { f.Set("code_verifier", "") },
		"random":         func(f url.Values) { f.Set("code_verifier", strings.Repeat("x", 50)) },
		"the challenge":  func(f url.Values) { f.Set("code_verifier", s256(verifier)) },
		"wrong redirect": func(f url.Values) { f.Set("redirect_uri", callback+"2") },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApps(t)
			code := a.code(t, authorization("public"), "")
			form := exchange(code)
			change(form)
			if got := a.ask(t, "public", form); got.status != 400 {
				t.Errorf("%d %s", got.status, got.raw)
			}
			if got := a.ask(t, "public", exchange(code)); got.status != 400 || got.code() != "invalid_grant" {
				t.Errorf("second try: %d %s", got.status, got.raw)
			}
		})
	}
}

// 1.4 negative token tests: codes, clients, refresh tokens and grants that are not.
func TestInvalidToken(t *testing.T) {
	a := newApps(t)
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"9f3e8cbe-3e30-4d3c-9a38-6a6d3b1c3e55"}}
	for name, c := range map[string]struct {
		client string
		form   url.Values
		status int
		code   string
	}{
		"bad code":                {"symmetric", exchange("BAD_CODE"), 400, "invalid_grant"},
		"bad refresh":             {"symmetric", refresh, 400, "invalid_grant"},
		"bad grant type":          {"symmetric", url.Values{"grant_type": {"not_a_grant_type"}}, 400, "unsupported_grant_type"},
		"password grant":          {"symmetric", url.Values{"grant_type": {"password"}, "username": {"a"}, "password": {"b"}}, 400, "unsupported_grant_type"},
		"public, no client id":    {"", exchange("x.y"), 401, "invalid_client"},
		"public is not it":        {"", url.Values{"grant_type": {"authorization_code"}, "code": {"x.y"}, "client_id": {"symmetric"}}, 401, "invalid_client"},
		"public cannot be system": {"public", url.Values{"grant_type": {"client_credentials"}, "scope": {"system/Basic.rs"}}, 400, "unauthorized_client"},
	} {
		if got := a.ask(t, c.client, c.form); got.status != c.status || got.code() != c.code {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	r := a.request(t, "", "/oauth/token", exchange("x.y"))
	r.SetBasicAuth("BAD_CLIENT_ID", a.secret)
	if got := a.do(t, r); got.status != 401 || got.header.Get("WWW-Authenticate") == "" {
		t.Errorf("bad client: %d %s", got.status, got.raw)
	}
	r = a.request(t, "", "/oauth/token", exchange("x.y"))
	r.SetBasicAuth("symmetric", a.secret+"x")
	if got := a.do(t, r); got.status != 401 {
		t.Errorf("bad secret: %d %s", got.status, got.raw)
	}
}

// Threat "code injection/replay": a code ends after a minute, is bound to its client, and its replay ends what it gave.
func TestCodeInjectionAndReplay(t *testing.T) {
	t.Run("expired", func(t *testing.T) {
		a := newApps(t)
		code := a.code(t, authorization("public"), "")
		a.clock.advance(61 * time.Second)
		if got := a.ask(t, "public", exchange(code)); got.status != 400 {
			t.Errorf("%d %s", got.status, got.raw)
		}
	})
	t.Run("another client", func(t *testing.T) {
		a := newApps(t)
		code := a.code(t, authorization("public"), "")
		if got := a.ask(t, "symmetric", exchange(code)); got.status != 400 {
			t.Errorf("%d %s", got.status, got.raw)
		}
	})
	t.Run("replay", func(t *testing.T) {
		a := newApps(t)
		code := a.code(t, authorization("public"), "")
		got := a.ask(t, "public", exchange(code))
		if _, err := a.bearer(got.text("access_token")); err != nil {
			t.Fatal(err)
		}
		if again := a.ask(t, "public", exchange(code)); again.status != 400 {
			t.Errorf("%d %s", again.status, again.raw)
		}
		if last := a.outcomes[len(a.outcomes)-1]; last.Note != oauth.NoteCodeReplay {
			t.Errorf("the log hears %+v", last)
		}
		if _, err := a.bearer(got.text("access_token")); !errors.Is(err, oauth.ErrBadToken) {
			t.Errorf("the access token still works: %v", err)
		}
		if r := a.ask(t, "public", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.text("refresh_token")}}); r.status != 400 {
			t.Errorf("the refresh token still works: %d %s", r.status, r.raw)
		}
	})
	t.Run("50 redemptions at once", func(t *testing.T) {
		a := newApps(t)
		code := a.code(t, authorization("public"), "")
		a.race(t, func() url.Values { return exchange(code) }, oauth.NoteCodeReplay)
	})
}

// race posts fifty requests at once: one is answered, and the others being second uses, what it was given ends.
func (a *apps) race(t *testing.T, form func() url.Values, note string) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	count, won := map[int]int{}, ""
	for range 50 {
		r := a.request(t, "public", "/oauth/token", form())
		wg.Go(func() {
			w := httptest.NewRecorder()
			a.server.Token(w, r)
			mu.Lock()
			defer mu.Unlock()
			if count[w.Code]++; w.Code == 200 {
				var body struct {
					Token string `json:"access_token"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
					t.Error(err)
				}
				won = body.Token
			}
		})
	}
	wg.Wait()
	if count[200] != 1 || count[400] != 49 {
		t.Errorf("answers by status: %v", count)
	}
	if _, err := a.bearer(won); !errors.Is(err, oauth.ErrBadToken) {
		t.Errorf("what the winner got still works: %v", err)
	}
	if !slices.ContainsFunc(a.outcomes, func(o oauth.Outcome) bool { return o.Note == note }) {
		t.Errorf("the log does not hear of a %s", note)
	}
}

// Threat "refresh theft" and 1.3 refresh: rotation, reuse ends the family, scope may narrow and not widen, and the
// lifetime slides.
func TestRefresh(t *testing.T) {
	refresh := func(token, scope string) url.Values {
		f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
		if scope != "" {
			f.Set("scope", scope)
		}
		return f
	}
	t.Run("rotates and narrows", func(t *testing.T) {
		a := newApps(t)
		first := a.tokens(t, "symmetric")
		narrow := a.ask(t, "symmetric", refresh(first.text("refresh_token"), "patient/Condition.rs?category=a|b launch/patient"))
		if narrow.status != 200 || narrow.text("scope") != "patient/Condition.rs?category=a|b launch/patient" || narrow.text("patient") != "p1" {
			t.Fatalf("narrowed: %d %s", narrow.status, narrow.raw)
		}
		grant, err := a.bearer(narrow.text("access_token"))
		if err != nil || grant.Scopes.Allows("patient", "Condition", smart.Read) || grant.Scopes.Allows("patient", "Patient", smart.Read) {
			t.Errorf("the narrowed token allows more: %v %v", grant.Scopes, err)
		}
		whole := a.ask(t, "symmetric", refresh(narrow.text("refresh_token"), ""))
		if whole.status != 200 || whole.text("scope") != asked {
			t.Errorf("the refresh token lost scopes: %d %s", whole.status, whole.raw)
		}
	})
	t.Run("50 at once", func(t *testing.T) {
		a := newApps(t)
		first := a.tokens(t, "public")
		a.race(t, func() url.Values { return refresh(first.text("refresh_token"), "") }, oauth.NoteRefreshReuse)
	})
	t.Run("asymmetric", func(t *testing.T) {
		a := newApps(t)
		first := a.tokens(t, "asymmetric")
		if got := a.ask(t, "asymmetric", refresh(first.text("refresh_token"), "")); got.status != 200 {
			t.Errorf("%d %s", got.status, got.raw)
		}
	})
	t.Run("names no client", func(t *testing.T) {
		a := newApps(t)
		public, secret := a.tokens(t, "public"), a.ask(t, "symmetric", exchange(a.code(t, authorization("symmetric"), "")))
		if got := a.ask(t, "", refresh(secret.text("refresh_token"), "")); got.status != 401 {
			t.Errorf("a client that has a secret: %d %s", got.status, got.raw)
		}
		if got := a.ask(t, "", refresh(public.text("access_token"), "")); got.status != 401 {
			t.Errorf("with an access token: %d %s", got.status, got.raw)
		}
		if got := a.ask(t, "", refresh(public.text("refresh_token"), "")); got.status != 200 || got.text("patient") != "p1" {
			t.Errorf("a public client: %d %s", got.status, got.raw)
		}
	})
	t.Run("does not widen", func(t *testing.T) {
		a := newApps(t)
		got := a.ask(t, "symmetric", exchange(a.code(t, authorization("symmetric"), "offline_access launch/patient patient/Condition.rs?category=a|b patient/Patient.r")))
		for _, scope := range []string{"patient/Condition.rs", "patient/*.rs", "patient/Patient.rs", "patient/Condition.cud", "patient/Patient.*", "openid", "user/Condition.rs?category=a|b", "nonsense"} {
			if wide := a.ask(t, "symmetric", refresh(got.text("refresh_token"), scope)); wide.status != 400 || wide.code() != "invalid_scope" {
				t.Errorf("%s: %d %s", scope, wide.status, wide.raw)
			}
		}
		if again := a.ask(t, "symmetric", refresh(got.text("refresh_token"), "")); again.status != 200 {
			t.Errorf("a refused refresh used the token up: %d %s", again.status, again.raw)
		}
	})
	t.Run("reuse ends the family", func(t *testing.T) {
		a := newApps(t)
		first := a.tokens(t, "public")
		second := a.ask(t, "public", refresh(first.text("refresh_token"), ""))
		if again := a.ask(t, "public", refresh(first.text("refresh_token"), "")); again.status != 400 || again.code() != "invalid_grant" {
			t.Errorf("reuse: %d %s", again.status, again.raw)
		}
		if last := a.outcomes[len(a.outcomes)-1]; last.Note != oauth.NoteRefreshReuse || last.Code != "invalid_grant" || last.ClientID != "public" {
			t.Errorf("the log hears %+v", last)
		}
		for _, token := range []string{first.text("access_token"), second.text("access_token")} {
			if _, err := a.bearer(token); !errors.Is(err, oauth.ErrBadToken) {
				t.Errorf("an access token survived: %v", err)
			}
		}
		if last := a.ask(t, "public", refresh(second.text("refresh_token"), "")); last.status != 400 {
			t.Errorf("the new refresh token survived: %d %s", last.status, last.raw)
		}
	})
	t.Run("slides for three months at least", func(t *testing.T) {
		a := newApps(t)
		got := a.tokens(t, "public")
		for range 5 {
			a.clock.advance(92 * 24 * time.Hour)
			if got = a.ask(t, "public", refresh(got.text("refresh_token"), "")); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.raw)
			}
		}
		a.clock.advance(oauth.OfflineLifetime)
		if got = a.ask(t, "public", refresh(got.text("refresh_token"), "")); got.status != 400 {
			t.Errorf("after all its life: %d %s", got.status, got.raw)
		}
	})
	t.Run("online ends with the day", func(t *testing.T) {
		a := newApps(t)
		form := authorization("public")
		form.Set("scope", "online_access launch/patient patient/Patient.rs")
		got := a.ask(t, "public", exchange(a.code(t, form, "")))
		a.clock.advance(11 * time.Hour)
		if got = a.ask(t, "public", refresh(got.text("refresh_token"), "")); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.raw)
		}
		a.clock.advance(2 * time.Hour)
		if got = a.ask(t, "public", refresh(got.text("refresh_token"), "")); got.status != 400 {
			t.Errorf("the day after: %d %s", got.status, got.raw)
		}
	})
	t.Run("none without its scope", func(t *testing.T) {
		a := newApps(t)
		got := a.ask(t, "public", exchange(a.code(t, authorization("public"), "launch/patient patient/Patient.rs openid")))
		if got.status != 200 || got.body["refresh_token"] != nil || got.text("id_token") == "" {
			t.Errorf("%d %s", got.status, got.raw)
		}
	})
	t.Run("ends with the person's standing", func(t *testing.T) {
		a := newApps(t)
		got := a.tokens(t, "public")
		a.absent["u1"] = true
		a.clock.advance(time.Second)
		if _, err := a.bearer(got.text("access_token")); !errors.Is(err, oauth.ErrBadToken) {
			t.Errorf("access token: %v", err)
		}
		if r := a.ask(t, "public", refresh(got.text("refresh_token"), "")); r.status != 400 {
			t.Errorf("refresh: %d %s", r.status, r.raw)
		}
	})
}

// Threat "RT as bearer, id_token as bearer".
func TestRefreshTokenIsNoBearer(t *testing.T) {
	a := newApps(t)
	got := a.tokens(t, "public")
	for _, token := range []string{got.text("refresh_token"), got.text("id_token"), got.text("access_token") + "x"} {
		if _, err := a.bearer(token); !errors.Is(err, oauth.ErrBadToken) {
			t.Errorf("taken for an access token: %v", err)
		}
	}
}
