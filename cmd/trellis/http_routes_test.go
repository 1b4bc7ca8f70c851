package main

import (
	"strings"
	"testing"

	"trellis/auth/oauth"
	"trellis/gateway/rest"
)

// TestEveryRouteAsksForATokenAndAScope walks the route table: whatever is not public answers 401 without a
// token and 403 with a token whose scope is elsewhere, before it looks at any data.
func TestEveryRouteAsksForATokenAndAScope(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.register(oauth.Client{ID: "elsewhere", Organization: "hospital", Scopes: []string{"system/Basic.r"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		elsewhere := map[string]string{"Authorization": "Bearer " + in.token("elsewhere", "TREAT", "system/Basic.r")}
		before := in.stored()
		routes := (&rest.Server{}).Routes()
		if len(routes) < 12 {
			t.Fatalf("only %d routes", len(routes))
		}
		public := map[string]bool{}
		for _, route := range routes {
			name := route.Method + " " + route.Path
			if route.Public {
				public[name] = true
				continue
			}
			r := in.sample(route)
			a := in.send(r)
			if a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s without a token: %d %s", name, a.status, a.body)
			}
			r.header = elsewhere
			if a := in.send(r); a.status != 403 || strings.Contains(string(a.body), "C1") {
				t.Errorf("%s with a scope elsewhere: %d %s", name, a.status, a.body)
			}
		}
		for name := range public {
			switch name {
			case "GET /healthz", "GET /fhir/metadata": // what the server is
			case "GET /fhir/.well-known/smart-configuration", "GET /.well-known/openid-configuration", "GET /.well-known/oauth-authorization-server",
				"GET /oauth/jwks.json", "GET /smart/style-1.json", "GET /cds-services": // discovery: where things are, public keys, colours
			case "POST /oauth/token", "POST /oauth/par", "POST /oauth/introspect", "POST /oauth/revoke", "POST /oauth/register",
				"GET /oauth/userinfo", "POST /oauth/userinfo", "GET /oauth/register/:client", "PUT /oauth/register/:client", "DELETE /oauth/register/:client":
				// Endpoints of the authorization server that look at the caller's own proof.
				r := in.sample(rest.RouteInfo{Method: strings.Fields(name)[0], Path: strings.Fields(name)[1]})
				if a := in.send(r); a.status/100 != 4 {
					t.Errorf("%s without any proof: %d %s", name, a.status, a.body)
				}
			default:
				if strings.HasPrefix(name, "OPTIONS /fhir") || strings.HasPrefix(name, "OPTIONS /oauth/") { // a preflight has no token and gets no body
					continue
				}
				t.Errorf("%s is public; if it is meant to be, say here why it carries no patient data", name)
			}
		}
		if after := in.stored(); after["res"] != before["res"] || after["body"] != before["body"] {
			t.Error("refused requests left records")
		}
	})
}

// sample is a request that would succeed on a route with the right token.
func (in *installation) sample(route rest.RouteInfo) request {
	path := strings.NewReplacer(":type", "Condition", ":id", "C1", ":member", "Condition", ":version", "1", ":kind", "peer-encounter").Replace(route.Path)
	r := request{method: route.Method, path: strings.TrimSuffix(in.gateway.base, "/fhir") + path}
	switch {
	case route.Interaction == "transaction":
		r.body = []byte(`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}]}`)
	case route.Interaction == "intake":
		r.contentType = "application/json"
		r.body = []byte(`{"session_id":"S-1","client":{"id":"C-1","name":{"first":"Zqcanary","last":"Zqcanary"},"birth_date":"1990-02-03","sex":"female"},
			"peer":{"id":"W-7","name":"Pat Peer","role":"recovery-coach"},"status":"done","start":"2026-03-02T14:05:00-05:00","end":"2026-03-02T14:50:00-05:00","minutes":45,"mode":"in-person","activities":[{"kind":"peer-support"}],"last_updated":"2026-03-02T16:00:00-05:00"}`)
	case route.Method == "POST" && strings.HasSuffix(path, "_search"):
		r.body, r.contentType = []byte("patient=P1"), "application/x-www-form-urlencoded"
	case route.Method == "PATCH":
		r.body, r.contentType = []byte(`[{"op":"remove","path":"/code"}]`), "application/json-patch+json"
	case route.Method == "POST" || route.Method == "PUT":
		r.body = []byte(`{"resourceType":"Condition","id":"C1","subject":{"reference":"Patient/P1"}}`)
	}
	return r
}

// TestNoOtherRoute asks for paths that gateways of this kind often have: here they are unknown, with and
// without a token.
func TestNoOtherRoute(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load("K1")
	root := strings.TrimSuffix(in.gateway.base, "/fhir")
	for _, path := range []string{"/", "/debug/pprof/", "/metrics", "/fhir/../healthz", "/fhir/$export", "/fhir/Patient/$export", "/fhir/Condition/C1/$everything",
		"/fhir/Condition/C1/", "/fhir//Condition/C1", "/FHIR/Condition/C1", "/fhir/Condition/C1/$meta-add", "/fhir/Condition/C1/$nonsense", "/fhir/Condition/C1/_history/1/x", "/fhir/Patient/P1/Nonsense", "/intake", "/oauth/authorize"} {
		for _, header := range []map[string]string{nil, {"Authorization": "Bearer " + in.token("hospital", "TREAT", anyScope)}} {
			a := in.send(request{method: "GET", path: root + path, header: header})
			if a.status/100 == 2 && path != "/fhir/../healthz" || strings.Contains(string(a.body), "F11.20") {
				t.Errorf("GET %s: %d %s", path, a.status, a.body)
			}
		}
	}
}
