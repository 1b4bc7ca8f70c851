package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

const (
	rightPassword = "correct horse battery"
	appRedirect   = "https://diary.example/callback"
	otherRedirect = "https://other.example/callback"
	appLaunch     = "https://diary.example/launch"
	appVerifier   = "a-verifier-of-forty-three-characters-or-more-0123456789"
)

// hashed is the hash of rightPassword: making one is meant to be slow.
var hashed = sync.OnceValues(func() (string, error) {
	return people.NewHasher(1).Hash(context.Background(), rightPassword)
})

// loginInstallation is an installation with people and apps: maya, a patient with two records; pat, who acts for P2; nora, a
// clinician of the hospital with a second factor; wes, a peer worker and member of hospital staff without one; dora, disabled.
func loginInstallation(t testing.TB, where location) *installation {
	t.Helper()
	in := newInstallation(t, where, "")
	in.load()
	hash, err := hashed()
	if err != nil {
		t.Fatal(err)
	}
	secret := func(n byte) string { return strings.Repeat(string('A'+rune(n)), 32) }
	for _, u := range []people.User{
		{ID: "u-maya", Login: "maya", Name: "Maya Okafor", Patients: []string{"P1"}},
		{ID: "u-two", Login: "two", Name: "Two Records", Patients: []string{"P1", "P2"}},
		{ID: "u-pat", Login: "pat", Name: "Pat Parent", Patients: []string{"P1"}, Proxies: []people.Proxy{{Patient: "P2", RelatedPerson: "RP2", Authority: access.Proxy, Document: "court order 12"}}},
		{ID: "u-nora", Login: "nora", Name: "Nora Clinician", TOTP: secret(1), Positions: []people.Position{{Organization: "hospital", Practitioner: "DR1", Kind: people.KindPractitioner}}},
		{ID: "u-wes", Login: "wes", Name: "Wes Worker", Positions: []people.Position{{Organization: "rco", Practitioner: "PW1", Kind: people.KindPeerWorker}, {Organization: "hospital", Practitioner: "PW2", Kind: people.KindPeerWorker}}},
		{ID: "u-dora", Login: "dora", Name: "Dora Disabled", Disabled: true, Patients: []string{"P1"}},
	} {
		u.Password = hash
		in.putUser(u)
	}
	for _, c := range []oauth.Client{
		{ID: "diary", Name: "My Diary", Organization: "hospital", RedirectURIs: []string{appRedirect}, LaunchURL: appLaunch, URI: "https://diary.example/",
			Scopes: strings.Fields("launch launch/patient openid fhirUser offline_access online_access patient/*.cruds user/*.cruds")},
		{ID: "other", Name: "Other App", Organization: "hospital", RedirectURIs: []string{otherRedirect}, Registered: firstMorning(),
			Scopes: strings.Fields("launch launch/patient openid fhirUser offline_access patient/*.rs")},
	} {
		if err := in.gateway.store.PutClient(t.Context(), store.ClientRecord{OAuth: c}); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

func (in *installation) putUser(u people.User) {
	in.t.Helper()
	if err := in.gateway.store.PutUser(in.t.Context(), u); err != nil {
		in.t.Fatal(err)
	}
}

// browser is what a person has: cookies, and the page in front of them. Every page it is shown is held to what every page
// must be.
type browser struct {
	in      *installation
	t       testing.TB
	http    *http.Client
	address string // tells one place on the network from another; empty: the machine itself

	status   int
	header   http.Header
	page     *html.Node
	text     string
	at       *url.URL // of the page
	location string   // where an answer sent it that is not ours: an app
	language string   // Accept-Language
}

func (in *installation) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		in.t.Fatal(err)
	}
	b := &browser{in: in, t: in.t}
	b.http = &http.Client{Transport: in.http.Transport, Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return b
}

// visit loads a page and follows where it is sent, until a page is shown or an app is reached.
func (b *browser) visit(address string) *browser {
	b.t.Helper()
	return b.send(http.MethodGet, address, nil, nil)
}

func (b *browser) send(method, address string, form url.Values, header map[string]string) *browser {
	b.t.Helper()
	for range 12 {
		if strings.HasPrefix(address, "/") {
			address = b.in.gateway.public + address
		}
		if !strings.HasPrefix(address, b.in.gateway.public+"/") {
			b.location, b.page, b.text = address, nil, ""
			return b
		}
		req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			b.t.Fatal(err)
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", "null") // as browsers do under no-referrer
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		if b.language != "" {
			req.Header.Set("Accept-Language", b.language)
		}
		for name, value := range header {
			req.Header.Set(name, value)
		}
		if b.http.Jar == nil {
			b.t.Fatal("a browser without cookies")
		}
		resp, err := b.http.Do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.Body.Close() != nil {
			b.t.Fatal(err)
		}
		b.status, b.header, b.text, b.at, b.location = resp.StatusCode, resp.Header, string(body), resp.Request.URL, ""
		checkHeaders(b.t, b.in, resp)
		if resp.StatusCode != http.StatusSeeOther {
			b.page = nil
			if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
				b.page = checkPage(b.t, b.at.Path, body)
			}
			return b
		}
		method, address, form, header = http.MethodGet, resp.Header.Get("Location"), nil, nil
	}
	b.t.Fatal("sent round and round")
	return b
}

// submit sends the page's form as a person would who changes some fields and presses a button ("name=value", or empty).
// A change to "-value" unticks a box.
func (b *browser) submit(button string, changes ...string) *browser {
	b.t.Helper()
	action, form := b.form()
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		switch {
		case strings.HasPrefix(value, "-"):
			form[name] = slices.DeleteFunc(form[name], func(v string) bool { return v == value[1:] })
		case strings.HasPrefix(value, "+"):
			form.Add(name, value[1:])
		default:
			form.Set(name, value)
		}
	}
	if name, value, ok := strings.Cut(button, "="); ok {
		form.Set(name, value)
	}
	return b.send(http.MethodPost, action, form, nil)
}

// form is where the page's form goes and what is in it.
func (b *browser) form() (action string, form url.Values) {
	b.t.Helper()
	form = url.Values{}
	walk(b.page, func(n *html.Node) {
		switch n.Data {
		case "form":
			action = attribute(n, "action")
		case "input":
			kind := attribute(n, "type")
			_, checked := find(n, "checked")
			if (kind != "checkbox" && kind != "radio") || checked {
				form.Add(attribute(n, "name"), attribute(n, "value"))
			}
		case "option":
			if _, selected := find(n, "selected"); selected || form.Get(attribute(n.Parent, "name")) == "" {
				form.Set(attribute(n.Parent, "name"), attribute(n, "value"))
			}
		}
	})
	if action == "" {
		b.t.Fatalf("no form on %s (%d): %s", b.at.Path, b.status, heading(b.page))
	}
	return action, form
}

// signIn fills in the login page, and the code page when there is one.
func (b *browser) signIn(login string) *browser {
	b.t.Helper()
	b.expect("/account/login")
	b.submit("", "login="+login, "password="+rightPassword)
	if b.at.Path == "/account/factor" {
		b.submit("", "code="+b.in.code(login))
	}
	return b
}

// code is an account's code of the moment.
func (in *installation) code(login string) string {
	in.t.Helper()
	u, err := in.gateway.store.UserByLogin(in.t.Context(), login)
	if err != nil {
		in.t.Fatal(err)
	}
	code, err := people.TOTPCode(u.TOTP, in.clock.now())
	if err != nil {
		in.t.Fatal(err)
	}
	return code
}

// expect fails when another page is shown.
func (b *browser) expect(path string) *browser {
	b.t.Helper()
	if b.page == nil || b.at.Path != path {
		b.t.Fatalf("not at %s but at %v (%d) %q %s", path, b.at, b.status, heading(b.page), b.location)
	}
	return b
}

// refused fails unless a page with that status is shown.
func (b *browser) refused(status int) *browser {
	b.t.Helper()
	if b.page == nil || b.status != status || b.location != "" {
		b.t.Fatalf("%d at %v (%q, %s), want a page with %d", b.status, b.at, heading(b.page), b.location, status)
	}
	return b
}

// shows fails unless the page says a text.
func (b *browser) shows(texts ...string) *browser {
	b.t.Helper()
	whole := said(b.page)
	for _, text := range texts {
		if !strings.Contains(whole, text) {
			b.t.Fatalf("%v does not say %q: %s", b.at, text, whole)
		}
	}
	return b
}

// authorize is an authorization request of an app.
func (in *installation) authorize(client, scope string, more ...string) string {
	challenge := sha256.Sum256([]byte(appVerifier))
	redirect := appRedirect
	if client == "other" {
		redirect = otherRedirect
	}
	q := url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect}, "scope": {scope}, "state": {"state-0123456789"}, "aud": {in.gateway.base},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}}
	for _, pair := range more {
		name, value, _ := strings.Cut(pair, "=")
		q.Set(name, value)
	}
	return in.gateway.public + "/oauth/authorize?" + q.Encode()
}

// answer is what the app was told.
func (b *browser) answer() url.Values {
	b.t.Helper()
	u, err := url.Parse(b.location)
	if err != nil || !strings.HasPrefix(b.location, "https://") {
		b.t.Fatalf("no app was reached: %d at %v %q", b.status, b.at, said(b.page))
	}
	q := u.Query()
	if q.Get("state") != "state-0123456789" || q.Get("iss") != b.in.gateway.public {
		b.t.Errorf("state %q, iss %q", q.Get("state"), q.Get("iss"))
	}
	return q
}

// issued is what the token endpoint gives for a code or a refresh token.
type issued struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Patient string `json:"patient"`
	Error   string `json:"error"`
	Banner  *bool  `json:"need_patient_banner"`
	status  int
}

// redeem exchanges the code the app was sent.
func (b *browser) redeem(client string) issued {
	b.t.Helper()
	code := b.answer().Get("code")
	if code == "" {
		b.t.Fatalf("the app was told %v", b.answer())
	}
	redirect := appRedirect
	if client == "other" {
		redirect = otherRedirect
	}
	return b.in.tokens(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {client}, "code_verifier": {appVerifier}})
}

func (in *installation) tokens(form url.Values) issued {
	in.t.Helper()
	a := in.send(request{method: "POST", path: in.gateway.tokenURL, body: []byte(form.Encode()), contentType: "application/x-www-form-urlencoded"})
	var out issued
	if err := json.Unmarshal(a.body, &out); err != nil {
		in.t.Fatalf("%d %s", a.status, a.body)
	}
	out.status = a.status
	return out
}

// happened lists the events of a kind as "interaction outcome user".
func (in *installation) happened(kind audit.Kind) []string {
	in.t.Helper()
	var out []string
	for _, e := range in.events() {
		if e.Kind == kind {
			out = append(out, strings.TrimSpace(e.Interaction+" "+e.Outcome+" "+e.User))
		}
	}
	return out
}

func (b *browser) home() *url.URL {
	u, err := url.Parse(b.in.gateway.public)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// cookie is the session's.
func (b *browser) cookie() string {
	for _, c := range b.http.Jar.Cookies(b.home()) {
		if c.Name == "trellis" {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setCookie(value string) {
	b.http.Jar.SetCookies(b.home(), []*http.Cookie{{Name: "trellis", Value: value, Path: "/"}})
}

// launchHandle is what an EHR gets that launches an app.
func (in *installation) launchHandle(l oauth.Launch) (string, error) {
	secret, err := in.gateway.store.Secret(in.t.Context(), "oauth")
	if err != nil {
		return "", err
	}
	kept := in.gateway.store.OAuth()
	server, err := oauth.New(oauth.Config{Issuer: in.gateway.public, FHIRBase: in.gateway.base, TokenURL: in.gateway.tokenURL, Secret: secret, Store: kept, Grants: kept,
		Tickets: in.gateway.store, SigningKeys: func(ctx context.Context) ([][]byte, error) { return signingKeys(ctx, in.gateway.store) }, Now: in.clock.now})
	if err != nil {
		return "", err
	}
	return server.MakeLaunch(in.t.Context(), l)
}
