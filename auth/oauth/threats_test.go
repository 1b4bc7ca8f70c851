package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trellis/auth/oauth"
	"trellis/auth/smart"
)

// Threat "mix-up": success and error redirects carry the exact issuer, and the state that was sent.
func TestMixUp(t *testing.T) {
	a := newApps(t)
	a.code(t, authorization("public"), "") // checks iss and state
	form := authorization("public")
	form.Set("scope", "patient/Nonsense.zz")
	r := a.refused(t, form)
	to, err := url.Parse(r.Location)
	if err != nil || to.Query().Get("iss") != issuer || to.Query().Get("error") != "invalid_scope" || to.Query().Get("state") != "state-12345678" || to.Query().Has("code") {
		t.Errorf("error redirect %q %v", r.Location, err)
	}
	i, err := a.begin(authorization("public"))
	if err != nil {
		t.Fatal(err)
	}
	location, err := a.server.Refuse(t.Context(), i, "access_denied")
	if err != nil || !strings.Contains(location, "error=access_denied") || !strings.Contains(location, "iss="+url.QueryEscape(issuer)) {
		t.Errorf("refusal %q %v", location, err)
	}
}

// Threat "open redirect": nothing but a registered URI, byte for byte, and never a redirect on a bad one.
func TestOpenRedirect(t *testing.T) {
	a := newApps(t)
	native := oauth.Client{ID: "native", Name: "Native", Native: true, Scopes: strings.Fields(asked), RedirectURIs: []string{"http://127.0.0.1/cb", "org.example.app:/cb", "http://[::1]/cb?x=1"}}
	a.store.Know(native)
	web := native
	web.ID, web.Native = "web", false
	a.store.Know(web)
	for _, c := range []struct {
		client, uri string
		good        bool
	}{
		{"public", callback, true},
		{"public", callback + "2", true},
		{"public", "", false},
		{"public", strings.ToUpper(callback), false},
		{"public", "https://APP.example/callback", false},
		{"public", callback + "/", false},
		{"public", callback + "/../evil", false},
		{"public", callback + "?x=1", false},
		{"public", callback + "#x", false},
		{"public", "https://app.example@evil.example/callback", false},
		{"public", "https://evil.example@app.example/callback", false},
		{"public", "https://app.example.evil.example/callback", false},
		{"public", "//app.example/callback", false},
		{"public", "https:\\\\app.example\\callback", false},
		{"public", "https://app.example:443/callback", false},
		{"public", "http://app.example/callback", false},
		{"public", "javascript:alert(1)", false},
		{"native", "http://127.0.0.1/cb", true},
		{"native", "http://127.0.0.1:49152/cb", true},
		{"native", "http://[::1]:49152/cb?x=1", true},
		{"native", "org.example.app:/cb", true},
		{"native", "http://127.0.0.1:49152/cb2", false},
		{"native", "http://127.0.0.1:49152/cb?x=1", false},
		{"native", "http://[::1]:49152/cb", false},
		{"native", "http://127.0.0.2:49152/cb", false},
		{"native", "http://localhost:49152/cb", false},
		{"native", "https://127.0.0.1:49152/cb", false},
		{"native", "http://evil@127.0.0.1:49152/cb", false},
		{"native", "http://127.0.0.1.evil.example/cb", false},
		{"native", "org.example.app:/cb2", false},
		{"web", "http://127.0.0.1/cb", true},
		{"web", "http://127.0.0.1:49152/cb", false},
		{"nobody", callback, false},
	} {
		form := authorization(c.client)
		form.Set("redirect_uri", c.uri)
		if c.good {
			if _, err := a.begin(form); err != nil {
				t.Errorf("%s %s: %v", c.client, c.uri, err)
			}
			continue
		}
		if r := a.refused(t, form); r.Location != "" || r.Text == "" || strings.Contains(r.Text, "evil") {
			t.Errorf("%s %s: %+v", c.client, c.uri, r)
		}
	}
}

// Threat "counterfeit RS" and 1.2 invalid aud: no code, and no redirect before aud is right.
func TestCounterfeitResourceServer(t *testing.T) {
	a := newApps(t)
	for _, aud := range []string{"", "https://inferno.healthit.gov/invalid_aud", issuer, "http://gateway.example/fhir", fhirBase + "/Patient", fhirBase + "2", strings.ToUpper(fhirBase), fhirBase + "//"} {
		form := authorization("public")
		form.Set("aud", aud)
		if r := a.refused(t, form); r.Location != "" {
			t.Errorf("aud %q: sent to %s", aud, r.Location)
		}
	}
	form := authorization("public")
	form.Set("aud", fhirBase+"/") // as people type it
	if _, err := a.begin(form); err != nil {
		t.Error(err)
	}
}

// 1.2 authorization request: what else has to be right, and what the app hears when it is not.
func TestAuthorizationRequest(t *testing.T) {
	a := newApps(t)
	for name, c := range map[string]struct {
		change func(url.Values)
		code   string
	}{
		"no PKCE":                 {func(f url.Values) { f.Del("code_challenge") }, "invalid_request"},
		"plain PKCE":              {func(f url.Values) { f.Set("code_challenge_method", "plain") }, "invalid_request"},
		"no PKCE method":          {func(f url.Values) { f.Del("code_challenge_method") }, "invalid_request"},
		"short challenge":         {func(f url.Values) { f.Set("code_challenge", "abc") }, "invalid_request"},
		"implicit":                {func(f url.Values) { f.Set("response_type", "token") }, "unsupported_response_type"},
		"hybrid":                  {func(f url.Values) { f.Set("response_type", "code id_token") }, "unsupported_response_type"},
		"no response type":        {func(f url.Values) { f.Del("response_type") }, "unsupported_response_type"},
		"no state":                {func(f url.Values) { f.Del("state") }, "invalid_request"},
		"short state":             {func(f url.Values) { f.Set("state", "abc") }, "invalid_request"},
		"no scope":                {func(f url.Values) { f.Set("scope", " ") }, "invalid_scope"},
		"outside registration":    {func(f url.Values) { f.Set("scope", "patient/Observation.cruds") }, "invalid_scope"},
		"system scope":            {func(f url.Values) { f.Set("scope", "system/Basic.rs") }, "invalid_scope"},
		"both offline and online": {func(f url.Values) { f.Set("scope", "offline_access online_access") }, "invalid_scope"},
		"launch without handle":   {func(f url.Values) { f.Set("scope", "launch patient/Patient.rs") }, "invalid_request"},
		"launch, empty handle":    {func(f url.Values) { f.Set("scope", "launch patient/Patient.rs"); f.Set("launch", "") }, "invalid_request"},
		"none with others":        {func(f url.Values) { f.Set("prompt", "none login") }, "invalid_request"},
		"an operator's scope":     {func(f url.Values) { f.Set("scope", "introspect") }, "invalid_scope"},
		"handle without launch":   {func(f url.Values) { f.Set("launch", "x") }, "invalid_request"},
		"request object":          {func(f url.Values) { f.Set("request", "x.y.z") }, "request_not_supported"},
		"response mode":           {func(f url.Values) { f.Set("response_mode", "fragment") }, "invalid_request"},
		"prompt":                  {func(f url.Values) { f.Set("prompt", "often") }, "invalid_request"},
		"max_age":                 {func(f url.Values) { f.Set("max_age", "-1") }, "invalid_request"},
	} {
		form := authorization("public")
		c.change(form)
		if _, err := a.begin(form); err == nil {
			t.Errorf("%s: not refused", name)
			continue
		}
		r := a.refused(t, form)
		if r.Code != c.code || !strings.HasPrefix(r.Location, callback+"?") || !strings.Contains(r.Location, "error="+c.code) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for text, want := range map[string]string{"login consent": "login", "consent select_account": "select_account", "consent": "consent", "none": "none"} {
		form := authorization("public")
		form.Set("prompt", text)
		if i, err := a.begin(form); err != nil || i.Prompt != want {
			t.Errorf("prompt %q: %+v %v", text, i, err)
		}
	}
	huge := authorization("public")
	huge.Set("nonce", strings.Repeat("x", 17<<10))
	if r := a.refused(t, huge); r.Location != "" {
		t.Errorf("more than is kept: %+v", r)
	}
	extra := authorization("public")
	extra.Set("unknown", strings.Repeat("x", 40<<10))
	if i, err := a.begin(extra); err != nil || len(i.Request) > 4<<10 {
		t.Errorf("an unknown parameter is kept: %d bytes, %v", len(i.Request), err)
	}
	// A form posted by a browser is the same request (authorize-post); a repeated parameter is none.
	r := httptest.NewRequest(http.MethodPost, "/oauth/authorize", strings.NewReader(authorization("public").Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if i, err := a.server.Begin(r); err != nil || i.Client.ID != "public" || i.Scopes.String() != asked {
		t.Errorf("posted: %+v %v", i, err)
	}
	twice := authorization("public")
	twice.Add("aud", "https://other.example/fhir")
	if r := a.refused(t, twice); r.Location != "" {
		t.Errorf("a repeated parameter: %+v", r)
	}
	if r := a.refused(t, url.Values{"aud": {fhirBase}, "client_id": {strings.Repeat("x", 70000)}}); r.Location != "" {
		t.Errorf("a huge request: %+v", r)
	}
}

// Threat "launch hijack": a handle works once, for its app, for its user, for five minutes.
func TestLaunchHijack(t *testing.T) {
	a := newApps(t)
	launched := func(handle, client string) url.Values {
		form := authorization(client)
		form.Set("scope", "launch openid fhirUser offline_access patient/Patient.rs")
		form.Set("launch", handle)
		return form
	}
	make := func(l oauth.Launch) string {
		handle, err := a.server.MakeLaunch(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return handle
	}
	handle := make(oauth.Launch{Client: "symmetric", User: "u1", Patient: "p7", Encounter: "e7", Intent: "order-review"})
	got := a.ask(t, "symmetric", exchange(a.code(t, launched(handle, "symmetric"), "")))
	if got.status != 200 || got.text("patient") != "p7" || got.text("encounter") != "e7" || got.text("intent") != "order-review" || got.body["need_patient_banner"] != false {
		t.Errorf("EHR launch: %d %s", got.status, got.raw)
	}
	if r := a.refused(t, launched(handle, "symmetric")); r.Code != "invalid_request" {
		t.Errorf("used twice: %+v", r)
	}
	if r := a.refused(t, launched("guess", "symmetric")); r.Code != "invalid_request" {
		t.Errorf("guessed: %+v", r)
	}
	if r := a.refused(t, launched(make(oauth.Launch{Client: "symmetric", Patient: "p7"}), "public")); r.Code != "invalid_request" {
		t.Errorf("another app's: %+v", r)
	}
	late := make(oauth.Launch{Client: "symmetric", Patient: "p7"})
	a.clock.advance(5 * time.Minute)
	if r := a.refused(t, launched(late, "symmetric")); r.Code != "invalid_request" {
		t.Errorf("late: %+v", r)
	}
	i, err := a.begin(launched(make(oauth.Launch{Client: "symmetric", User: "u2", Patient: "p7"}), "symmetric"))
	if err != nil {
		t.Fatal(err)
	}
	who := patientContext(a)
	who.Patient = "p7"
	if _, err := a.server.Approve(t.Context(), i, oauth.Approval{Context: who, Purpose: "PATRQT", Scopes: i.Scopes}); err == nil {
		t.Error("another user's launch was approved")
	}
	who.User, who.Patient = "u2", "p8"
	if _, err := a.server.Approve(t.Context(), i, oauth.Approval{Context: who, Purpose: "PATRQT", Scopes: i.Scopes}); err == nil {
		t.Error("a launch was approved for another patient")
	}
}

// Pushed requests (RFC 9126): checked when pushed, used once, by their client, for a minute and a half.
func TestPushedRequest(t *testing.T) {
	a := newApps(t)
	push := func(client string, form url.Values) (int, map[string]any) {
		form.Del("client_id")
		w := httptest.NewRecorder()
		a.server.Push(w, a.request(t, client, "/oauth/par", form))
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		return w.Code, body
	}
	status, body := push("symmetric", authorization(""))
	uri, _ := body["request_uri"].(string)
	if status != 201 || uri == "" || body["expires_in"] != 90.0 {
		t.Fatalf("%d %v", status, body)
	}
	named := func(uri, client string) url.Values { return url.Values{"client_id": {client}, "request_uri": {uri}} }
	if i, err := a.begin(named(uri, "symmetric")); err != nil || i.Scopes.String() != asked {
		t.Errorf("%+v %v", i, err)
	}
	if r := a.refused(t, named(uri, "symmetric")); r.Location != "" {
		t.Errorf("used twice: %+v", r)
	}
	_, body = push("symmetric", authorization(""))
	if r := a.refused(t, named(body["request_uri"].(string), "public")); r.Location != "" {
		t.Errorf("another client's: %+v", r)
	}
	bad := authorization("")
	bad.Set("aud", "https://other.example")
	if status, body := push("symmetric", bad); status != 400 || body["error"] != "invalid_request" {
		t.Errorf("bad request pushed: %d %v", status, body)
	}
	w := httptest.NewRecorder()
	a.server.Push(w, a.request(t, "", "/oauth/par", authorization("symmetric")))
	if w.Code != 401 {
		t.Errorf("pushed without a secret: %d", w.Code)
	}
}

// 1.5 and threat "introspection scanning".
func TestIntrospection(t *testing.T) {
	a := newApps(t)
	got := a.tokens(t, "symmetric")
	resource := a.client
	resource.ID, resource.Scopes = "resource", []string{"introspect", "system/*.rs"}
	a.store.Know(resource)
	look := func(r *http.Request) (int, map[string]any) {
		t.Helper()
		w := httptest.NewRecorder()
		a.server.Introspect(w, r)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%d %q", w.Code, w.Body)
		}
		return w.Code, body
	}
	about := func(client, token string) *http.Request {
		return a.request(t, client, "/oauth/introspect", url.Values{"token": {token}})
	}
	with := func(bearer, token string) *http.Request {
		r := about("", token)
		r.Header.Set("Authorization", "Bearer "+bearer)
		return r
	}
	systemToken := func(scope string) string {
		as := a.assertion()
		as.claims["iss"], as.claims["sub"] = "resource", "resource"
		answer := a.post(t, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {a.sign(t, as)}})
		return answer.text("access_token")
	}
	handle, err := a.server.MakeLaunch(t.Context(), oauth.Launch{Client: "symmetric", Patient: "p7", Encounter: "e7", Intent: "order-review"})
	if err != nil {
		t.Fatal(err)
	}
	launched := authorization("symmetric")
	launched.Set("scope", "launch openid patient/Patient.rs")
	launched.Set("launch", handle)
	inEHR := a.ask(t, "symmetric", exchange(a.code(t, launched, "")))
	if _, body := look(about("symmetric", inEHR.text("access_token"))); body["patient"] != "p7" || body["encounter"] != "e7" || body["intent"] != "order-review" || body["scope"] != inEHR.text("scope") {
		t.Errorf("an EHR launch's token: %v", body)
	}
	status, body := look(about("symmetric", got.text("access_token")))
	for name, want := range map[string]any{"active": true, "client_id": "symmetric", "scope": asked, "patient": "p1", "iss": issuer, "sub": "u1",
		"fhirUser": fhirBase + "/Patient/p1", "exp": float64(a.clock.now().Add(oauth.AppLifetime).Unix())} {
		if status != 200 || body[name] != want {
			t.Errorf("%s is %v, want %v (%d)", name, body[name], want, status)
		}
	}
	if status, body := look(with(systemToken("introspect"), got.text("access_token"))); status != 200 || body["active"] != true {
		t.Errorf("by a bearer with its scope: %d %v", status, body)
	}
	if status, _ := look(with(systemToken("system/*.rs"), got.text("access_token"))); status != 403 {
		t.Errorf("by a bearer without it: %d", status)
	}
	if status, _ := look(with(got.text("access_token"), got.text("access_token"))); status != 403 {
		t.Errorf("by an app's own bearer: %d", status)
	}
	if status, _ := look(about("", got.text("access_token"))); status != 401 {
		t.Errorf("by nobody: %d", status)
	}
	if status, _ := look(about("public", got.text("access_token"))); status != 401 {
		t.Errorf("by a public client: %d", status)
	}
	inactive := func(name string, r *http.Request) {
		if status, body := look(r); status != 200 || len(body) != 1 || body["active"] != false {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	inactive("invalid_token_value", about("symmetric", "invalid_token_value"))
	inactive("another client's token", about("asymmetric", got.text("access_token")))
	inactive("no token", about("symmetric", ""))
	a.absent["u1"] = true
	a.clock.advance(time.Second)
	inactive("a person who may no longer act", about("symmetric", got.text("access_token")))
	inactive("and the refresh token", about("symmetric", got.text("refresh_token")))
	delete(a.absent, "u1")
	a.clock.advance(time.Second)
	if status, body := look(about("symmetric", got.text("refresh_token"))); status != 200 || body["active"] != true || body["token_type"] != "refresh_token" {
		t.Errorf("refresh token: %d %v", status, body)
	}
	w := httptest.NewRecorder()
	a.server.Revocation(w, a.request(t, "symmetric", "/oauth/revoke", url.Values{"token": {got.text("refresh_token")}}))
	if w.Code != 200 {
		t.Errorf("revocation: %d %s", w.Code, w.Body)
	}
	inactive("revoked", about("symmetric", got.text("access_token")))
	inactive("revoked refresh", about("symmetric", got.text("refresh_token")))
	if _, err := a.bearer(got.text("access_token")); !errors.Is(err, oauth.ErrBadToken) {
		t.Errorf("a revoked token works: %v", err)
	}
}

// A redirect URI's own query stays as it was registered, byte for byte.
func TestRedirectKeepsItsQuery(t *testing.T) {
	a := newApps(t)
	const uri = "https://app.example/cb?a=1;b=2&c=%20d"
	a.store.Know(oauth.Client{ID: "query", Name: "Query", Scopes: strings.Fields(asked), RedirectURIs: []string{uri}})
	form := authorization("query")
	form.Set("redirect_uri", uri)
	i, err := a.begin(form)
	if err != nil {
		t.Fatal(err)
	}
	if location, err := a.server.Refuse(t.Context(), i, "access_denied"); err != nil || !strings.HasPrefix(location, uri+"&error=access_denied&iss=") {
		t.Errorf("%q %v", location, err)
	}
}

// prompt=none is for apps whose redirect nobody else can listen at.
func TestSilent(t *testing.T) {
	a := newApps(t)
	a.store.Know(oauth.Client{ID: "native", Name: "Native", Native: true, Scopes: strings.Fields(asked), RedirectURIs: []string{"org.example.app:/cb", "http://127.0.0.1/cb"}})
	for _, c := range []struct {
		client, uri string
		silent      bool
	}{{"public", callback, true}, {"symmetric", callback, true}, {"native", "org.example.app:/cb", false}, {"native", "http://127.0.0.1:5000/cb", false}} {
		form := authorization(c.client)
		form.Set("redirect_uri", c.uri)
		if i, err := a.begin(form); err != nil || i.Silent() != c.silent {
			t.Errorf("%s %s: %v", c.client, c.uri, err)
		}
	}
}

// Row 19 of the fosite facts: who reads the database can use nothing in it. No code, token, secret or handle is kept.
func TestRow19NothingKeptCanBeUsed(t *testing.T) {
	a := newApps(t, func(c *oauth.Config) { c.Registry = c.Store.(oauth.Registry) })
	handle, err := a.server.MakeLaunch(t.Context(), oauth.Launch{Client: "symmetric", Patient: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	unused, code := a.code(t, authorization("symmetric"), ""), a.code(t, authorization("symmetric"), "")
	got := a.ask(t, "symmetric", exchange(code))
	kept := a.store.Everything()
	if !strings.Contains(kept, "patient/Condition.rs") {
		t.Fatal("nothing is kept, so that what is absent proves nothing")
	}
	for name, secret := range map[string]string{"handle": handle, "code": unused, "redeemed code": code, "access token": got.text("access_token"),
		"refresh token": got.text("refresh_token"), "client secret": a.secret, "verifier": verifier} {
		if secret == "" || strings.Contains(kept, secret) {
			t.Errorf("the %s is kept", name)
		}
	}
}

// Threat "DoS": a key set of ten thousand keys is refused, not searched.
func TestHugeKeySet(t *testing.T) {
	a := newApps(t)
	var keys strings.Builder
	keys.WriteString(`{"keys":[`)
	for n := range 10_000 {
		fmt.Fprintf(&keys, `{"kty":"EC","crv":"P-384","kid":"k%d","x":"AA","y":"AA"},`, n)
	}
	keys.WriteString(`{"kty":"EC"}]}`)
	if err := oauth.CheckKeys([]byte(keys.String())); err == nil {
		t.Error("it can be registered")
	}
	a.store.Know(oauth.Client{ID: "asymmetric", Name: "A", RedirectURIs: []string{callback}, Scopes: strings.Fields(asked), JWKS: []byte(keys.String())})
	if got := a.ask(t, "asymmetric", exchange("x.y")); got.status != 401 {
		t.Errorf("%d %s", got.status, got.raw)
	}
}

// RFC 7009: nobody revokes another client's tokens, and the answer does not say.
func TestRevocationIsOwn(t *testing.T) {
	a := newApps(t)
	got := a.tokens(t, "symmetric")
	for _, client := range []string{"asymmetric", "public"} {
		w := httptest.NewRecorder()
		a.server.Revocation(w, a.request(t, client, "/oauth/revoke", url.Values{"token": {got.text("access_token")}}))
		if w.Code != 200 {
			t.Errorf("%s: %d", client, w.Code)
		}
	}
	if _, err := a.bearer(got.text("access_token")); err != nil {
		t.Errorf("another client revoked it: %v", err)
	}
	if err := a.server.RevokeAuthorization(t.Context(), "u2", a.grant(t, got)); !errors.Is(err, oauth.ErrNotFound) {
		t.Errorf("another person revoked it: %v", err)
	}
	if err := a.server.RevokeAuthorization(t.Context(), "u1", a.grant(t, got)); err != nil {
		t.Fatal(err)
	}
	if list, err := a.server.Authorizations(t.Context(), "u1"); err != nil || len(list) != 0 {
		t.Errorf("what stands: %v %v", list, err)
	}
}

func (a *apps) grant(t testing.TB, got answer) string {
	t.Helper()
	list, err := a.server.Authorizations(t.Context(), "u1")
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	return list[0].ID
}

// Threat "scope escalation": whatever is registered, asked and consented to, what is granted lies within each of them.
func TestGrantedWithinConsentedWithinRegistered(t *testing.T) {
	pool := []string{"patient/Patient.rs", "patient/Patient.r", "patient/Condition.rs", "patient/Condition.rs?category=a|b", "patient/Condition.rs?category=a|c", "patient/*.rs",
		"patient/*.read", "patient/Observation.read", "patient/Observation.*", "patient/Observation.cruds", "user/Practitioner.rs", "user/*.rs", "launch/patient", "openid", "fhirUser", "offline_access"}
	a := newApps(t)
	some := rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, 6, rapid.ID)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		client := oauth.Client{ID: fmt.Sprintf("c%d", n), Name: "C", RedirectURIs: []string{callback}, Scopes: some.Draw(r, "registered")}
		a.store.Know(client)
		form := authorization(client.ID)
		form.Set("scope", strings.Join(some.Draw(r, "asked"), " "))
		registered, err := smart.Parse(strings.Join(client.Scopes, " "))
		if err != nil {
			r.Fatal(err)
		}
		wanted, err := smart.Parse(form.Get("scope"))
		if err != nil {
			r.Fatal(err)
		}
		i, err := a.begin(form)
		if within := registered.ContainsAll(wanted); (err == nil) != within {
			r.Fatalf("within registration %t, begin says %v", within, err)
		}
		if err != nil {
			return
		}
		consented, err := smart.Parse(strings.Join(some.Draw(r, "consented"), " "))
		if err != nil {
			r.Fatal(err)
		}
		location, err := a.server.Approve(t.Context(), i, oauth.Approval{Context: patientContext(a), Purpose: "PATRQT", Scopes: consented})
		if within := wanted.ContainsAll(consented); (err == nil) != within {
			r.Fatalf("consented within asked %t, approve says %v", within, err)
		}
		if err != nil {
			return
		}
		to, err := url.Parse(location)
		if err != nil {
			r.Fatal(err)
		}
		f := exchange(to.Query().Get("code"))
		f.Set("client_id", client.ID)
		got := a.ask(t, "", f)
		granted, err := smart.Parse(got.text("scope"))
		if got.status != 200 || err != nil || !consented.ContainsAll(granted) || !registered.ContainsAll(granted) {
			r.Fatalf("granted %q of consented %q: %d %v", got.text("scope"), consented, got.status, err)
		}
		grant, err := a.bearer(got.text("access_token"))
		if err != nil || grant.Scopes.String() != consented.String() {
			r.Fatalf("the token says %q: %v", grant.Scopes, err)
		}
	})
}

// RFC 7591 and 7592: what can register itself, with what, and who may look at or change a registration.
func TestDynamicRegistration(t *testing.T) {
	a := newApps(t, func(c *oauth.Config) { c.Registry = c.Store.(oauth.Registry) })
	send := func(method, path, token, body string) (int, map[string]any) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		if id, own := strings.CutPrefix(path, "/oauth/register/"); own {
			a.server.Registration(w, r, id)
		} else {
			a.server.Register(w, r)
		}
		var out map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil && w.Code != 204 {
			t.Fatalf("%d %q", w.Code, w.Body)
		}
		return w.Code, out
	}
	const base = `"client_name":"My Diary","redirect_uris":["https://diary.example/cb"]`
	for body, code := range map[string]string{
		`{`:                   "invalid_client_metadata",
		`{}`:                  "invalid_client_metadata",
		`{"client_name":"x"}`: "invalid_redirect_uri",
		`{"client_name":"x","redirect_uris":["http://diary.example/cb"]}`:                         "invalid_redirect_uri",
		`{"client_name":"x","redirect_uris":["https://a@diary.example/cb"]}`:                      "invalid_redirect_uri",
		`{"client_name":"x","redirect_uris":["https://diary.example/cb#f"]}`:                      "invalid_redirect_uri",
		`{"client_name":"x","redirect_uris":["javascript:alert(1)"],"application_type":"native"}`: "invalid_redirect_uri",
		`{"client_name":"x\u202egnp","redirect_uris":["https://diary.example/cb"]}`:               "invalid_client_metadata",
		`{` + base + `,"scope":"system/*.rs"}`:                                                    "invalid_client_metadata",
		`{` + base + `,"scope":"introspect"}`:                                                     "invalid_client_metadata",
		`{` + base + `,"grant_types":["client_credentials"]}`:                                     "invalid_client_metadata",
		`{` + base + `,"response_types":["token"]}`:                                               "invalid_client_metadata",
		`{` + base + `,"token_endpoint_auth_method":"private_key_jwt"}`:                           "invalid_client_metadata",
		`{` + base + `,"jwks":{"keys":[]}}`:                                                       "invalid_client_metadata",
		`{` + base + `,"client_uri":"javascript:alert(1)"}`:                                       "invalid_client_metadata",
		`{` + base + `,"client_uri":"https://mychart.example/"}`:                                  "invalid_client_metadata",
		`{` + base + `,"initiate_login_uri":"https://other.example/go"}`:                          "invalid_client_metadata",
		`{` + base + `,"software_statement":"x.y.z"}`:                                             "unapproved_software_statement",
	} {
		if status, out := send("POST", "/oauth/register", "", body); status != 400 || out["error"] != code {
			t.Errorf("%s: %d %v", body, status, out)
		}
	}
	status, made := send("POST", "/oauth/register", "", `{`+base+`,"scope":"launch/patient patient/Patient.rs","token_endpoint_auth_method":"client_secret_post"}`)
	id, _ := made["client_id"].(string)
	secret, _ := made["client_secret"].(string)
	token, _ := made["registration_access_token"].(string)
	if status != 201 || id == "" || len(secret) != 43 || token == "" || made["client_secret_expires_at"] != 0.0 || made["registration_client_uri"] != issuer+"/oauth/register/"+id {
		t.Fatalf("%d %v", status, made)
	}
	form := authorization(id)
	form.Set("redirect_uri", "https://diary.example/cb")
	form.Set("scope", "launch/patient patient/Patient.rs")
	i, err := a.begin(form)
	if err != nil || i.Client.Registered.IsZero() {
		t.Fatalf("%+v %v", i, err)
	}
	location, err := a.server.Approve(t.Context(), i, oauth.Approval{Context: patientContext(a), Purpose: "PATRQT", Scopes: i.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	to, _ := url.Parse(location)
	redeem := exchange(to.Query().Get("code"))
	redeem.Set("redirect_uri", "https://diary.example/cb")
	redeem.Set("client_id", id)
	redeem.Set("client_secret", secret)
	if got := a.ask(t, "", redeem); got.status != 200 {
		t.Errorf("a registered app's code: %d %s", got.status, got.raw)
	}
	for _, wrong := range []string{"", "x", secret} {
		if status, _ := send("GET", "/oauth/register/"+id, wrong, ""); status != 401 {
			t.Errorf("looked at with token %q: %d", wrong, status)
		}
	}
	if status, out := send("GET", "/oauth/register/public", token, ""); status != 401 {
		t.Errorf("another registration: %d %v", status, out)
	}
	if status, out := send("GET", "/oauth/register/"+id, token, ""); status != 200 || out["client_name"] != "My Diary" || out["client_secret"] != nil {
		t.Errorf("own registration: %d %v", status, out)
	}
	if status, out := send("PUT", "/oauth/register/"+id, token, `{"client_id":"`+id+`",`+base+`,"scope":"patient/*.rs","token_endpoint_auth_method":"none"}`); status != 200 || out["scope"] != "patient/*.rs" {
		t.Errorf("changed: %d %v", status, out)
	}
	if status, _ := send("PUT", "/oauth/register/"+id, token, `{"client_id":"other",`+base+`}`); status != 400 {
		t.Errorf("changed under another id: %d", status)
	}
	if status, _ := send("DELETE", "/oauth/register/"+id, token, ""); status != 204 {
		t.Errorf("deleted: %d", status)
	}
	if status, _ := send("GET", "/oauth/register/"+id, token, ""); status != 401 {
		t.Errorf("after deletion: %d", status)
	}
	if r := a.refused(t, form); r.Location != "" {
		t.Errorf("after deletion the app still begins: %+v", r)
	}
	// Whoever sends a change slowly does not undo what the operator does meanwhile.
	_, made = send("POST", "/oauth/register", "", `{`+base+`}`)
	id, token = made["client_id"].(string), made["registration_access_token"].(string)
	slow := httptest.NewRequest("PUT", "/oauth/register/"+id, io.MultiReader(strings.NewReader(`{"client_id":"`+id+`",`), whenRead(func() {
		if err := a.store.ChangeClient(t.Context(), id, func(c *oauth.Client) error { c.Disabled = true; return nil }); err != nil {
			t.Error(err)
		}
	}), strings.NewReader(base+`}`)))
	slow.Header.Set("Content-Type", "application/json")
	slow.Header.Set("Authorization", "Bearer "+token)
	answered := httptest.NewRecorder()
	a.server.Registration(answered, slow, id)
	if c, err := a.store.Client(t.Context(), id); err != nil || !c.Disabled || answered.Code != 401 {
		t.Errorf("a slow change: %d, disabled %t, %v", answered.Code, c.Disabled, err)
	}
	off := newApps(t)
	w := httptest.NewRecorder()
	off.server.Register(w, httptest.NewRequest("POST", "/oauth/register", strings.NewReader("{}")))
	if w.Code != 403 {
		t.Errorf("registration is off: %d", w.Code)
	}
}

// whenRead is an empty reader that does something when it is reached.
type whenRead func()

func (f whenRead) Read([]byte) (int, error) { f(); return 0, io.EOF }

// Client secrets: of the alphabet a Basic header takes as it is, and compared by a keyed hash.
func TestClientSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		secret := oauth.NewSecret()
		if len(secret) != 43 || strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" || seen[secret] {
			t.Fatalf("secret %q", secret)
		}
		seen[secret] = true
	}
	a, b := oauth.SecretKey([]byte(strings.Repeat("a", 32))), oauth.SecretKey([]byte(strings.Repeat("b", 32)))
	if slices.Equal(a, b) || oauth.HashSecret(a, "x") == oauth.HashSecret(b, "x") {
		t.Error("the hash does not depend on the deployment")
	}
}
