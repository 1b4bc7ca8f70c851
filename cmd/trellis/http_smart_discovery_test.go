package main

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// keySet is a JWKS as an app reads it.
type keySet struct{ Keys []map[string]any }

// texts are the strings of a JSON array.
func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (in *installation) document(url string, header map[string]string) (reply, map[string]any) {
	in.t.Helper()
	a := in.send(request{method: "GET", path: url, header: header})
	var doc map[string]any
	if err := json.Unmarshal(a.body, &doc); err != nil {
		in.t.Fatalf("%s: %d %s", url, a.status, a.body)
	}
	return a, doc
}

// 1.1 discovery: what every conformance kit asserts of the SMART configuration.
func TestDiscoverySMARTConfiguration(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load("K1")
	for _, accept := range []string{"", "application/json", "application/fhir+json", "text/html", "*/*"} {
		a, _ := in.document(in.gateway.base+"/.well-known/smart-configuration", map[string]string{"Accept": accept, "Origin": "https://inferno.example"})
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			t.Errorf("Accept %q: %d %s", accept, a.status, a.header.Get("Content-Type"))
		}
		if origin := a.header.Get("Access-Control-Allow-Origin"); origin != "*" && origin != "https://inferno.example" {
			t.Errorf("CORS: %q", origin)
		}
	}
	_, doc := in.document(in.gateway.base+"/.well-known/smart-configuration", nil)
	for _, name := range []string{"issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint", "management_endpoint"} {
		text, _ := doc[name].(string)
		if u, err := url.Parse(text); err != nil || !u.IsAbs() || !strings.HasPrefix(text, in.gateway.public) {
			t.Errorf("%s is %q", name, text)
		}
	}
	has := func(name string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !slices.Contains(texts(doc[name]), w) {
				t.Errorf("%s lacks %s", name, w)
			}
		}
	}
	has("grant_types_supported", "authorization_code", "refresh_token", "client_credentials")
	has("code_challenge_methods_supported", "S256")
	if slices.Contains(texts(doc["code_challenge_methods_supported"]), "plain") {
		t.Error("plain is listed")
	}
	has("token_endpoint_auth_methods_supported", "private_key_jwt", "client_secret_basic")
	has("token_endpoint_auth_signing_alg_values_supported", "RS384", "ES384")
	has("capabilities", "launch-standalone", "launch-ehr", "client-public", "client-confidential-symmetric", "client-confidential-asymmetric", "sso-openid-connect",
		"context-standalone-patient", "context-banner", "context-style", "context-ehr-patient", "context-ehr-encounter", "permission-offline", "permission-online",
		"permission-patient", "permission-user", "authorize-post", "permission-v1", "permission-v2")
	for _, not := range []string{"smart-app-state", "context-standalone-encounter"} {
		if slices.Contains(texts(doc["capabilities"]), not) {
			t.Errorf("%s is listed and not offered", not)
		}
	}
	if doc["authorization_response_iss_parameter_supported"] != true {
		t.Error("iss on redirects is not advertised (RFC 9207)")
	}
	if doc["registration_endpoint"] != nil {
		t.Error("registration is off, yet its endpoint is listed")
	}
	pattern := regexp.MustCompile(`^(patient|user|system|\*)/Condition\.[cruds]+(\?.*)?$`)
	if !slices.ContainsFunc(texts(doc["scopes_supported"]), pattern.MatchString) {
		t.Error("no resource scope is listed")
	}
}

// 1.1 and 1.3: the OpenID Provider's configuration and keys.
func TestDiscoveryOpenIDConfiguration(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load("K1")
	_, smart := in.document(in.gateway.base+"/.well-known/smart-configuration", nil)
	issuer, _ := smart["issuer"].(string)
	a, doc := in.document(issuer+"/.well-known/openid-configuration", nil)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || doc["issuer"] != issuer {
		t.Errorf("%s %v", a.header.Get("Content-Type"), doc["issuer"])
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri"} {
		if doc[name] != smart[name] {
			t.Errorf("%s: %v here, %v there", name, doc[name], smart[name])
		}
	}
	if !slices.Contains(texts(doc["id_token_signing_alg_values_supported"]), "RS256") || !slices.Contains(texts(doc["response_types_supported"]), "code") || len(texts(doc["subject_types_supported"])) == 0 {
		t.Errorf("%v", doc)
	}
	keys := in.send(request{method: "GET", path: doc["jwks_uri"].(string)})
	var set keySet
	if err := json.Unmarshal(keys.body, &set); err != nil || len(set.Keys) < 2 {
		t.Fatalf("%s %v", keys.body, err)
	}
	for _, key := range set.Keys {
		if key["d"] != nil || key["kty"] != "RSA" || key["kid"] == "" || key["alg"] != "RS256" || key["n"] == nil {
			t.Errorf("key %+v", key)
		}
	}
}

// The key ring turns: what signed stays published, what will sign is published before it does.
func TestSigningKeyRotation(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		published := func() []string {
			a := in.send(request{method: "GET", path: in.gateway.public + "/oauth/jwks.json"})
			var set keySet
			if err := json.Unmarshal(a.body, &set); err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, key := range set.Keys {
				out = append(out, key["kid"].(string))
			}
			return out
		}
		before := published()
		if err := manageKeys(t.Context(), in.gateway.store, true, &strings.Builder{}); err != nil {
			t.Fatal(err)
		}
		after := published()
		if len(before) != 2 || len(after) != 3 || after[0] != before[1] || after[2] != before[0] || slices.Contains(before, after[1]) {
			t.Errorf("before %v, after %v", before, after)
		}
	})
}

// The npm library fhir-kit-client finds the token endpoint, gets a token by private_key_jwt, searches and reads.
func TestFHIRKitClient(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.clock.set(time.Now()) // the library's assertions have the machine's time
	in.load("K1")
	cmd := exec.CommandContext(t.Context(), "node", "backend.cjs", in.gateway.base, "hospital", "system/*.rs", "Condition")
	cmd.Dir = filepath.Join("..", "..", "conformance", "npm")
	cmd.Stdin = strings.NewReader(string(in.keys["hospital"]))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	var got struct {
		TokenURL string
		Expires  float64
		Scope    string
		Found    []string
		Read     string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if got.TokenURL != in.gateway.tokenURL || got.Expires != 300 || got.Scope != "system/*.rs" || len(got.Found) == 0 || got.Read != got.Found[0] {
		t.Errorf("%+v", got)
	}
}
