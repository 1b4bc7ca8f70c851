package oauth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"

	"trellis/auth/oauth"
	"trellis/auth/oauth/storetest"
)

// SMART Backend Services, section "Issuing the access token".
func TestTokenIsIssued(t *testing.T) {
	f := newFixture(t)
	a := f.ask(t, "scope", "system/Patient.read system/Observation.rs?category=laboratory")
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if got := a.body["expires_in"]; got != float64(300) {
		t.Errorf("expires_in = %v, want the number 300", got)
	}
	if got := a.body["scope"]; got != "system/Patient.read system/Observation.rs?category=laboratory" {
		t.Errorf("scope = %v, want what was asked, verbatim", got)
	}
	if got, _ := a.body["token_type"].(string); !strings.EqualFold(got, "bearer") {
		t.Errorf("token_type = %q", got)
	}
	if _, ok := a.body["refresh_token"]; ok {
		t.Error("a refresh token was issued")
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Error(a.header.Get("Content-Type"))
	}
	token := a.body["access_token"].(string)
	stored := f.store.Tokens()
	if len(stored) != 1 || !strings.Contains(token, stored[0].Signature) || stored[0].Signature == token {
		t.Errorf("stored %+v for a token; want the signature only", stored)
	}
	grant, err := f.authenticate(token)
	if err != nil {
		t.Fatal(err)
	}
	if grant.ClientID != "ehr" || grant.Organization != "org-1" || grant.Purpose != "TREAT" ||
		grant.TokenID != stored[0].RequestID || !grant.ExpiresAt.Equal(in(f.clock, oauth.Lifetime)) {
		t.Errorf("grant %+v", grant)
	}
	if !grant.Scopes.Allows("system", "Patient", 1<<1) || grant.Scopes.Allows("system", "Observation", 1<<1) {
		t.Errorf("scopes %v", grant.Scopes)
	}
}

func TestRS384(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(_ *oauth.Config, c *oauth.Client) { c.JWKS = public })
	a := f.assertion()
	a.alg, a.key = jose.RS384, key
	want(t, f.post(t, form(f.sign(t, a))), 200, "")
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS384, jose.RS512} {
		a := f.assertion()
		a.alg, a.key = alg, key
		want(t, f.post(t, form(f.sign(t, a))), 401, "invalid_client")
	}
}

// The refusals that Inferno and BDT provoke, and their neighbours.
func TestMalformedRequests(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		form   []string
		status int
		code   string
	}{
		"grant type unknown":      {[]string{"grant_type", "not_a_grant_type"}, 400, "unsupported_grant_type"},
		"grant type password":     {[]string{"grant_type", "password"}, 400, "unsupported_grant_type"},
		"grant type twice in one": {[]string{"grant_type", "client_credentials client_credentials"}, 400, "unsupported_grant_type"},
		"grant type missing":      {[]string{"grant_type", ""}, 400, "invalid_request"},
		"assertion type unknown":  {[]string{"client_assertion_type", "not_an_assertion_type"}, 401, "invalid_client"},
		"assertion type missing":  {[]string{"client_assertion_type", ""}, 401, "invalid_client"},
		"assertion missing":       {[]string{"client_assertion", ""}, 401, "invalid_client"},
		"assertion garbage":       {[]string{"client_assertion", "a.b.c"}, 401, "invalid_client"},
		"assertion of dots":       {[]string{"client_assertion", strings.Repeat(".", 10000)}, 401, "invalid_client"},
		"client id of another":    {[]string{"client_id", "other"}, 401, "invalid_client"},
		"scope outside":           {[]string{"scope", "system/Patient.cruds"}, 400, "invalid_scope"},
		"scope outside, v1":       {[]string{"scope", "system/Patient.*"}, 400, "invalid_scope"},
		"scope partly outside":    {[]string{"scope", "system/Patient.rs system/Patient.d"}, 400, "invalid_scope"},
		"scope malformed":         {[]string{"scope", "system/Patient.sr"}, 400, "invalid_scope"},
		"scope unknown":           {[]string{"scope", "everything"}, 400, "invalid_scope"},
		"audience of another":     {[]string{"audience", "https://other.example"}, 400, "invalid_request"},
		"secret beside assertion": {[]string{"client_secret", "hunter2"}, 401, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) { want(t, f.ask(t, c.form...), c.status, c.code) })
	}
	if n := len(f.store.Tokens()); n != 0 {
		t.Errorf("%d tokens were stored by refused requests", n)
	}
}

func TestOnlySystemScopes(t *testing.T) {
	f := newFixture(t, func(_ *oauth.Config, c *oauth.Client) {
		c.Scopes = []string{"system/*.rs", "user/*.rs", "patient/*.rs", "openid", "launch"}
	})
	for _, scope := range []string{"user/Patient.rs", "patient/Patient.rs", "openid", "system/Patient.rs launch"} {
		want(t, f.ask(t, "scope", scope), 400, "invalid_scope")
	}
}

func TestKnownType(t *testing.T) {
	f := newFixture(t, func(c *oauth.Config, _ *oauth.Client) {
		c.KnownType = func(name string) bool { return name == "Patient" }
	})
	want(t, f.ask(t, "scope", "system/Patient.rs system/*.r"), 200, "")
	want(t, f.ask(t, "scope", "system/Petunia.rs"), 400, "invalid_scope")
}

func TestTransport(t *testing.T) {
	f := newFixture(t)
	good := form(f.sign(t, f.assertion()))
	request := func(method, kind, body string) *http.Request {
		r := httptest.NewRequest(method, "/oauth/token?"+good.Encode(), strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		return r
	}
	const urlencoded = "application/x-www-form-urlencoded"
	want(t, f.do(t, request("GET", urlencoded, "")), 405, "invalid_request")
	want(t, f.do(t, request("POST", "application/json", "{}")), 415, "invalid_request")
	want(t, f.do(t, request("POST", "multipart/form-data; boundary=x", "--x--")), 415, "invalid_request")
	want(t, f.do(t, request("POST", urlencoded, "")), 400, "invalid_request") // parameters in the URL do not count
	want(t, f.do(t, request("POST", urlencoded, "scope="+strings.Repeat("a", 1<<20))), 413, "invalid_request")
	want(t, f.do(t, request("POST", urlencoded, good.Encode()+"&scope=system/Patient.r")), 400, "invalid_request")
	want(t, f.do(t, request("POST", urlencoded, "%zz")), 400, "invalid_request")
	basic := request("POST", urlencoded, "grant_type=client_credentials&scope=system/Patient.rs")
	basic.SetBasicAuth("ehr", "secret")
	a := f.do(t, basic)
	want(t, a, 401, "invalid_client")
	if a.header.Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate for a client that used the Authorization header")
	}
}

// Bodies are constants: nothing of the request, whatever was in it.
func TestErrorBodiesAreConstant(t *testing.T) {
	f := newFixture(t)
	bodies := map[string]string{}
	for _, more := range [][]string{
		{"scope", "CANARY"}, {"scope", "system/CANARY.rs system/x"}, {"client_id", "CANARY"}, {"client_assertion", "CANARY"},
		{"client_assertion", "CANARY.CANARY.CANARY"}, {"grant_type", "CANARY"}, {"purpose_of_use", "CANARY!"},
		{"client_assertion_type", "CANARY"}, {"audience", "CANARY"}, {"purpose_of_use", "CANARY"},
	} {
		a := f.ask(t, more...)
		if strings.Contains(a.raw, "CANARY") || a.status < 400 {
			t.Errorf("%v: %d %s", more, a.status, a.raw)
		}
		if a.code() == "invalid_client" {
			if old, ok := bodies[a.code()]; ok && old != a.raw {
				t.Errorf("two bodies for invalid_client: %s / %s", old, a.raw)
			}
			bodies[a.code()] = a.raw
		}
	}
}

func TestPurpose(t *testing.T) {
	b2b := func(v any) any { return map[string]any{"hl7-b2b": map[string]any{"purpose_of_use": v}} }
	for name, c := range map[string]struct {
		extensions any
		form       string
		noDefault  bool
		want       string // "" = refused
		text       string
	}{
		"default":              {nil, "", false, "TREAT", ""},
		"claim with oid":       {b2b([]string{"urn:oid:2.16.840.1.113883.5.8#HPAYMT"}), "", false, "HPAYMT", ""},
		"claim bare":           {b2b([]string{"HPAYMT"}), "", false, "HPAYMT", ""},
		"claim as string":      {b2b("HPAYMT"), "", false, "HPAYMT", ""},
		"claim twice the same": {b2b([]string{"HPAYMT", "urn:oid:2.16.840.1.113883.5.8#HPAYMT"}), "", false, "HPAYMT", ""},
		"form":                 {nil, "HPAYMT", false, "HPAYMT", ""},
		"form with oid":        {nil, "urn:oid:2.16.840.1.113883.5.8#HPAYMT", true, "HPAYMT", ""},
		"both alike":           {b2b([]string{"HPAYMT"}), "HPAYMT", false, "HPAYMT", ""},
		"both, different":      {b2b([]string{"HPAYMT"}), "TREAT", false, "", "several"},
		"several":              {b2b([]string{"TREAT", "HPAYMT"}), "", false, "", "several"},
		"outside":              {b2b([]string{"HRESCH"}), "", false, "", "outside"},
		"outside in the form":  {nil, "HMARKT", false, "", "outside"},
		"outside, no fallback": {b2b([]string{"BTG"}), "TREAT", false, "", "several"},
		"none":                 {nil, "", true, "", "no purpose"},
		"empty list":           {b2b([]string{}), "", true, "", "no purpose"},
		"malformed claim":      {b2b([]int{1}), "", false, "", "malformed"},
		"malformed code":       {b2b([]string{"treat me"}), "", false, "", "malformed"},
		"other code system":    {b2b([]string{"urn:oid:1.2.3#TREAT"}), "", false, "", "malformed"},
		"malformed extension":  {map[string]any{"hl7-b2b": "x"}, "", false, "", "malformed"},
		"extensions no object": {"x", "", false, "", "malformed"},
		"other extension":      {map[string]any{"hl7-b2b-user": map[string]any{}}, "", false, "TREAT", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(_ *oauth.Config, cl *oauth.Client) {
				if c.noDefault {
					cl.DefaultPurpose = ""
				}
			})
			a := f.assertion()
			if c.extensions != nil {
				a.claims["extensions"] = c.extensions
			}
			var more []string
			if c.form != "" {
				more = []string{"purpose_of_use", c.form}
			}
			got := f.post(t, form(f.sign(t, a), more...))
			if c.want == "" {
				want(t, got, 400, "invalid_request")
				if text, _ := got.body["error_description"].(string); !strings.Contains(text, c.text) {
					t.Errorf("text %q, want it to say %q", text, c.text)
				}
				return
			}
			want(t, got, 200, "")
			grant, err := f.authenticate(got.body["access_token"].(string))
			if err != nil || grant.Purpose != c.want {
				t.Errorf("purpose %q, %v; want %q", grant.Purpose, err, c.want)
			}
		})
	}
}

// No token leaves without its audit record.
func TestOnToken(t *testing.T) {
	var seen []oauth.Outcome
	var fail error
	f := newFixture(t, func(c *oauth.Config, _ *oauth.Client) {
		c.OnToken = func(_ context.Context, o oauth.Outcome) error { seen = append(seen, o); return fail }
	})
	want(t, f.ask(t), 200, "")
	want(t, f.ask(t, "scope", "system/Patient.d"), 400, "invalid_scope")
	want(t, f.ask(t, "client_assertion", "x"), 401, "invalid_client")
	if len(seen) != 3 || seen[0].TokenID == "" || seen[0].Code != "" || seen[0].ClientID != "ehr" || seen[0].Purpose != "TREAT" ||
		seen[1].Code != "invalid_scope" || seen[1].ClientID != "ehr" || seen[2].ClientID != "" || seen[2].Code != "invalid_client" {
		t.Errorf("outcomes %+v", seen)
	}
	fail = errors.New("disk full")
	want(t, f.ask(t), 500, "server_error")
}

// brokenStore fails every call: whatever the database does, the client learns nothing of it.
type brokenStore struct{ *storetest.Memory }

func (brokenStore) UseAssertion(context.Context, string, string, time.Time) error {
	return errors.New("CANARY connection refused")
}

func TestStoreFailureIs500(t *testing.T) {
	f := newFixture(t, func(c *oauth.Config, _ *oauth.Client) { c.Store = brokenStore{c.Store.(*storetest.Memory)} })
	a := f.ask(t)
	want(t, a, 500, "server_error")
	if strings.Contains(a.raw, "CANARY") {
		t.Error(a.raw)
	}
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	_, err := oauth.New(oauth.Config{TokenURL: "/token", Secret: []byte("short")})
	for _, word := range []string{"TokenURL", "Store", "Secret"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}

func TestParallelAssertionsIssueOneToken(t *testing.T) {
	f := newFixture(t)
	body := form(f.sign(t, f.assertion()))
	var wg sync.WaitGroup
	statuses := make(chan int, 50)
	for range 50 {
		wg.Go(func() { statuses <- f.post(t, body).status })
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for s := range statuses {
		count[s]++
	}
	if count[200] != 1 || count[401] != 49 || len(f.store.Tokens()) != 1 {
		t.Errorf("statuses %v, %d tokens; want one 200", count, len(f.store.Tokens()))
	}
}
