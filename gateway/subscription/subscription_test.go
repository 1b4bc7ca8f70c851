package subscription

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/store"
)

const base = "https://gateway.example/fhir"

func rules(t testing.TB, allowPrivate bool) Rules {
	t.Helper()
	registry, err := search.New()
	if err != nil {
		t.Fatal(err)
	}
	return Rules{Registry: registry, Base: base, AllowPrivate: allowPrivate}
}

func resource(t testing.TB, doc string) *fhir.Resource {
	t.Helper()
	res, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

const whole = `{"resourceType":"Subscription","id":"s","status":"active","end":"2026-07-01T00:00:00Z","reason":"news","criteria":"Observation?code=x&patient=Patient/p","error":"old",
	"channel":{"extension":[{"url":"http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-heartbeat-period","valueUnsignedInt":60},
		{"url":"http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-timeout","valueUnsignedInt":5},
		{"url":"http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-max-count","valuePositiveInt":1}],
		"type":"rest-hook","endpoint":"https://ehr.example/hook","header":["authorization: Bearer x"],"payload":"application/fhir+json",
		"_payload":{"extension":[{"url":"http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content","valueCode":"empty"}]}}}`

func TestRead(t *testing.T) {
	sub, q, err := rules(t, false).Read(context.Background(), resource(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	if q.Type != "Observation" || len(q.Where) != 2 {
		t.Errorf("query: %+v", q)
	}
	if sub.State != store.SubscriptionRequested || sub.Type != "Observation" || sub.Criteria != "code=x&patient=Patient/p" || sub.Endpoint != "https://ehr.example/hook" || !sub.Bare ||
		sub.Header["Authorization"] != "Bearer x" || sub.Heartbeat != time.Minute || sub.Timeout != 5*time.Second || !sub.End.Equal(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", sub)
	}
}

// TestEndpoint: nothing is taken that a request may not go to, whatever way it is written.
func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		url             string
		public, private bool // taken by a server that sends to public addresses alone, or to private ones as well
	}{
		{"https://ehr.example/hook?x=y", true, true},
		{"https://8.8.8.8/", true, true},
		{"http://ehr.example/hook", false, false},
		{"http://8.8.8.8/", false, false},
		{"http://127.0.0.1:8080/", false, true},
		{"http://[::1]:8080/", false, true},
		{"http://localhost/", false, true},
		{"https://localhost/", false, true},
		{"https://127.0.0.1/", false, true},
		{"https://[::ffff:127.0.0.1]/", false, true},
		{"https://10.1.2.3/", false, true},
		{"http://10.1.2.3/", false, false},
		{"https://169.254.169.254/", false, false},
		{"https://[fe80::1]/", false, false},
		{"https://0.0.0.0/", false, false},
		{"ftp://ehr.example/", false, false},
		{"https:///hook", false, false},
		{"/hook", false, false},
		{"", false, false},
		{"https://a:b@ehr.example/", false, false},
		{"https://ehr.example/#x", false, false},
		{"https://ehr.example/" + strings.Repeat("x", maxEndpoint), false, false},
	} {
		for allow, want := range map[bool]bool{false: c.public, true: c.private} {
			if err := rules(t, allow).endpoint(c.url); (err == nil) != want {
				t.Errorf("%.60s, private addresses allowed %v: %v", c.url, allow, err)
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	for text, taken := range map[string]bool{
		"Authorization: Bearer x": true, "X-Key:": true, "x-key:y:z": true, "no colon": false, ": value": false, "a b: c": false, "host: x": false, "Content-Type: x": false,
		"X: a\nb": false, "X: a\x00": false, "X: \u00e9": false, "X: " + strings.Repeat("y", maxHeader): false,
	} {
		_, err := headers(resource(t, `{"resourceType":"Basic","header":[`+string(fhir.Quote(text))+`]}`).Root.Get("header").List())
		var p *fhir.Problem
		if (err == nil) != taken || err != nil && (!errors.As(err, &p) || p.Category != fhir.Unprocessable || strings.Contains(err.Error(), "Bearer")) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// TestRestated: the server's status and error take the place of the client's, and everything else stays.
func TestRestated(t *testing.T) {
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	for status, fault := range map[string]string{"requested": "", "error": "HTTP_503"} {
		res, err := Restated(resource(t, whole), status, fault)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(res.JSON); err != nil {
			t.Errorf("%s is not R4: %v", res.JSON, err)
		}
		if res.Root.Get("status").Text() != status || res.Root.Get("error").Text() != fault || res.Root.Path("channel", "endpoint").Text() != "https://ehr.example/hook" || res.ID != "s" {
			t.Errorf("%s", res.JSON)
		}
	}
}

// TestStatus: a status is R4 and names records only where the payload does.
func TestStatus(t *testing.T) {
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	for _, bare := range []bool{false, true} {
		s := Status{Base: base, Kind: Event, Sub: store.Subscription{ID: "s", State: "error", Fault: "HTTP_503", Events: 7, Bare: bare},
			Events: []Told{{Number: 7, At: time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC), Type: "Condition", ID: "c"}}}
		body := s.Parameters()
		if _, err := parser.Parse(body); err != nil {
			t.Errorf("%s is not R4: %v", body, err)
		}
		if strings.Contains(string(body), "Condition/c") == bare || !strings.Contains(string(body), `"events-since-subscription-start","valueString":"7"`) {
			t.Errorf("%s", body)
		}
	}
}

// FuzzRead: whatever a Subscription holds is read or refused, and what is taken has an endpoint that may be sent to.
func FuzzRead(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"resourceType":"Subscription","status":"requested","criteria":"Condition?_has:Observation:subject:code=x","channel":{"type":"rest-hook"}}`))
	r := rules(f, false)
	f.Fuzz(func(t *testing.T, doc []byte) {
		res, err := fhir.ReadTrusted(doc)
		if err != nil || res.Type != "Subscription" {
			return
		}
		sub, q, err := r.Read(context.Background(), res)
		if err == nil && (q == nil || r.endpoint(sub.Endpoint) != nil || sub.Timeout <= 0) {
			t.Errorf("%+v", sub)
		}
	})
}
