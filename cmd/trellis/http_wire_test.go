package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"trellis/gateway/audit"
	"trellis/gateway/rest"
)

// TestNotModified answers 304 to a caller that may read a version and holds these very bytes, and never to one that
// may not, whose labels changed, or whose copy may say other than the bytes of today.
func TestNotModified(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1", "K2")
		match := func(v string) map[string]string { return map[string]string{"If-None-Match": v} }
		since := func(v string) map[string]string { return map[string]string{"If-Modified-Since": v} }
		for name, c := range map[string]struct {
			as, purpose, path string
			header            map[string]string
			status            int
		}{
			"the version held":                 {"hospital", "TREAT", "Condition/C2", match(`W/"1"`), 304},
			"one of those held":                {"hospital", "TREAT", "Condition/C2", match(`"x", W/"7", W/"1"`), 304},
			"any":                              {"hospital", "TREAT", "Condition/C2", match(`*`), 304},
			"another":                          {"hospital", "TREAT", "Condition/C2", match(`W/"7"`), 200},
			"a version by its number":          {"hospital", "TREAT", "Condition/C2/_history/1", match(`W/"1"`), 304},
			"not since":                        {"hospital", "TREAT", "Condition/C2", since("Mon, 01 Jun 2026 09:00:00 GMT"), 304},
			"since":                            {"hospital", "TREAT", "Condition/C2", since("Mon, 01 Jun 2026 08:59:59 GMT"), 200},
			"a tag counts before a date":       {"hospital", "TREAT", "Condition/C2", map[string]string{"If-None-Match": `W/"7"`, "If-Modified-Since": "Mon, 01 Jun 2027 09:00:00 GMT"}, 200},
			"no date":                          {"hospital", "TREAT", "Condition/C2", since("zqcanary"), 400},
			"hidden":                           {"hospital", "HPAYMT", "Condition/X1", match(`*`), 404},
			"unknown":                          {"hospital", "TREAT", "Condition/C9", match(`*`), 404},
			"own, with references":             {"otp", "TREAT", "CarePlan/CP1", match(`W/"1"`), 304},
			"by consent: the scope may change": {"rco", "COC", "CarePlan/CP1", match(`W/"1"`), 200},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a := in.as(c.as, c.purpose).ask(request{method: method, path: c.path, header: c.header})
				if a.status != c.status || (a.status == 304 && (len(a.body) != 0 || a.header.Get("ETag") != `W/"1"`)) {
					t.Errorf("%s, %s: %d %v %s", method, name, a.status, a.header, a.body)
				}
				events := in.eventsOf(a)
				if a.status == 304 && (len(events) != 1 || events[0].Kind != audit.Disclosure || events[0].Outcome != "not-modified" || events[0].Released != "" || events[0].Patient != "Patient/P1") {
					t.Errorf("%s, %s: %+v", method, name, events)
				}
			}
		}
		in.relabel("Condition", "C2")
		if a := in.as("hospital", "TREAT").ask(request{method: "GET", path: "Condition/C2", header: match(`W/"1"`)}); a.status != 200 || a.header.Get("ETag") != `W/"1"` {
			t.Errorf("relabelled: %d %v", a.status, a.header)
		}
	})
}

// relabel gives a record the labels of another one of the hospital's, as an operator would: no new version.
func (in *installation) relabel(typ, id string) {
	in.t.Helper()
	a := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Condition", body: []byte(`{"resourceType":"Condition","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"CEL"}]},
		"subject":{"reference":"Patient/P1"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I11"}]}}`)})
	other := strings.Split(strings.TrimPrefix(a.header.Get("Location"), in.gateway.base+"/Condition/"), "/")[0]
	in.statement(`UPDATE res SET seg=(SELECT o.seg FROM res o WHERE o.id='` + other + `') WHERE id='` + id + `' AND type_no=(SELECT no FROM dict WHERE kind=1 AND name='` + typ + `')`)
}

// TestHead answers like GET, without a body, and is logged like one.
func TestHead(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1", "K2")
		for _, path := range []string{"Condition/C2", "Condition/C2/_history/1", "Condition/C9", "Condition/X1", "Observation?patient=Patient/P1", "CarePlan/CP1", "Condition?nonsense=1"} {
			v := in.as("rco", "COC")
			get, head := v.ask(request{method: "GET", path: path, header: map[string]string{"Accept-Encoding": "identity"}}), v.ask(request{method: "HEAD", path: path, header: map[string]string{"Accept-Encoding": "identity"}})
			if head.status != get.status || len(head.body) != 0 || !sameHeaders(head.header, get.header) {
				t.Errorf("%s: %d %v\n%d %v", path, get.status, get.header, head.status, head.header)
			}
			a, b := in.eventsOf(get), in.eventsOf(head)
			if len(a) != len(b) || (len(a) > 0 && (a[0].Kind != b[0].Kind || a[0].Released != b[0].Released)) {
				t.Errorf("%s: %+v, %+v", path, a, b)
			}
		}
	})
}

// TestFormats: this server writes JSON, indented and compressed as the client wishes, and says so when it wants else.
func TestFormats(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load("K1")
	token := "Bearer " + in.token("hospital", "TREAT", anyScope)
	send := func(path string, header ...string) reply {
		r := request{method: "GET", path: path, header: map[string]string{"Authorization": token}}
		for i := 0; i+1 < len(header); i += 2 {
			r.header[header[i]] = header[i+1]
		}
		return in.send(r)
	}
	for path, status := range map[string]int{
		"Condition/C2?_format=json": 200, "Condition/C2?_format=application/json": 200, "Condition/C2?_format=application/fhir%2Bjson": 200, "Condition/C2?_format=application/fhir+json": 200,
		"Condition/C2?_format=xml": 406, "Condition/C2?_format=application/fhir%2Bxml": 406, "Condition/C2?_format=ttl": 406, "Condition?_format=xml": 406, "metadata?_format=xml": 406, "_history?_format=xml": 406,
	} {
		if a := send(path); a.status != status || (status == 406 && !strings.Contains(string(a.body), "OperationOutcome")) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := send("Condition/C2?_format=json", "Accept", "application/fhir+xml"); a.status != 200 {
		t.Errorf("_format does not win over Accept: %d", a.status)
	}
	plain, pretty := send("Condition/C2"), send("Condition/C2?_pretty=true")
	var compact bytes.Buffer
	if err := json.Compact(&compact, pretty.body); err != nil || compact.String() != string(plain.body) || bytes.Count(pretty.body, []byte("\n")) < 10 {
		t.Errorf("%v: %s", err, pretty.body)
	}
	if events := in.eventsOf(pretty); len(events) != 1 || events[0].Released != audit.Digest(plain.body) {
		t.Errorf("%+v", events)
	}
	whole, zipped := send("Observation?_count=20", "Accept-Encoding", "identity"), send("Observation?_count=20", "Accept-Encoding", "br, gzip;q=0.5")
	z, err := gzip.NewReader(bytes.NewReader(zipped.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != string(whole.body) || len(whole.body) < 1024 || zipped.header.Get("Content-Encoding") != "gzip" || !strings.Contains(zipped.header.Get("Vary"), "Accept-Encoding") {
		t.Errorf("%v %v", err, zipped.header)
	}
	for _, accept := range []string{"identity", "gzip;q=0", "br"} {
		if a := send("Observation?_count=20", "Accept-Encoding", accept); a.header.Get("Content-Encoding") != "" || string(a.body) != string(whole.body) {
			t.Errorf("%s: %v", accept, a.header)
		}
	}
	if a := send("Condition/C9", "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" {
		t.Errorf("a small body is compressed: %v", a.header)
	}
}

// TestCrossOrigin: an app in a browser that a registered client comes from can find out what it may send, on every FHIR
// route and without a token, and read what it gets. TestCORSOnlyRegisteredOrigins says who else can.
func TestCrossOrigin(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.registerApp("app")
	in.load()
	root := strings.TrimSuffix(in.gateway.base, "/fhir")
	tried := 0
	for _, route := range (&rest.Server{}).Routes() {
		if route.Method != "OPTIONS" {
			continue
		}
		tried++
		path := strings.NewReplacer(":type", "Condition", ":id", "C1", ":version", "1").Replace(route.Path)
		want := appOrigin
		if strings.HasSuffix(path, "/metadata") || strings.Contains(path, "/.well-known/") {
			want = "*"
		}
		a := in.send(request{method: "OPTIONS", path: root + path, header: map[string]string{"Origin": appOrigin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,if-match"}})
		if a.status != 204 || len(a.body) != 0 || a.header.Get("Access-Control-Allow-Origin") != want || a.header.Get("Access-Control-Allow-Credentials") != "" ||
			!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "PATCH") || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "If-Match") {
			t.Errorf("%s: %d %v", route.Path, a.status, a.header)
		}
	}
	if tried < 8 {
		t.Errorf("only %d routes answer a preflight", tried)
	}
	for path, want := range map[string]string{"metadata": "*", "Condition/C9": appOrigin} {
		a := in.send(request{method: "GET", path: path, header: map[string]string{"Origin": appOrigin}})
		if a.header.Get("Access-Control-Allow-Origin") != want || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "ETag") {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
	}
}

// TestStatementIsTrue: what the CapabilityStatement says of writes is what the other tests here do.
func TestStatementIsTrue(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load()
	a := in.send(request{method: http.MethodGet, path: "metadata"})
	var doc struct {
		PatchFormat []string
		Rest        []struct {
			Resource []struct {
				Type, ConditionalRead, ConditionalDelete           string
				ConditionalCreate, ConditionalUpdate, UpdateCreate bool
				Interaction                                        []struct{ Code string }
			}
		}
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || len(doc.Rest) != 1 || len(doc.Rest[0].Resource) < 140 {
		t.Fatalf("%v %d %s", err, a.status, a.body)
	}
	for _, r := range doc.Rest[0].Resource {
		var codes []string
		for _, i := range r.Interaction {
			codes = append(codes, i.Code)
		}
		if !r.ConditionalCreate || !r.ConditionalUpdate || !r.UpdateCreate || r.ConditionalRead != "full-support" || r.ConditionalDelete != "single" || !strings.Contains(strings.Join(codes, " "), "patch") {
			t.Fatalf("%+v", r)
		}
	}
	if strings.Join(doc.PatchFormat, " ") != "application/json-patch+json application/fhir+json" {
		t.Errorf("%v", doc.PatchFormat)
	}
	if _, err := in.gateway.parser.Parse(a.body); err != nil {
		t.Errorf("the statement is not valid R4: %v", err)
	}
}
