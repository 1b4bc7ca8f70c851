package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"trellis/auth/access"
	"trellis/gateway/audit"
	"trellis/gateway/release"
)

// visitor asks as one client for one purpose.
type visitor struct {
	in              *installation
	client, purpose string
	organization    string
}

// as is a visitor; purpose may be empty for the client's default.
func (in *installation) as(client, purpose string) visitor {
	return visitor{in, client, purpose, strings.TrimSuffix(client, "-loader")}
}

// request is what a visitor sends. path is relative to the FHIR base, or absolute.
type request struct {
	method, path string
	body         []byte
	contentType  string // default application/fhir+json
	header       map[string]string
}

// reply is an HTTP answer read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (v visitor) get(path string) reply {
	v.in.t.Helper()
	return v.ask(request{method: "GET", path: path})
}

// ask sends a request with a token and holds the answer to what every answer must be.
func (v visitor) ask(r request) reply {
	v.in.t.Helper()
	header := map[string]string{"Authorization": "Bearer " + v.in.token(v.client, v.purpose, anyScope)}
	for name, value := range r.header {
		header[name] = value
	}
	r.header = header
	a := v.in.send(r)
	v.in.checkReply(v.organization, r, a)
	return a
}

// send sends a request as it is.
func (in *installation) send(r request) reply {
	in.t.Helper()
	url := r.path
	switch {
	case strings.HasPrefix(url, "/"): // of the gateway, outside FHIR
		url = in.gateway.public + url
	case !strings.HasPrefix(url, "http"):
		url = strings.TrimSuffix(in.gateway.base+"/"+url, "/")
	}
	req, err := http.NewRequestWithContext(in.t.Context(), r.method, url, bytes.NewReader(r.body))
	if err != nil {
		in.t.Fatal(err)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/fhir+json")
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := in.http.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		in.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, body}
}

// part2Label is how a record of a Part 2 program shows in a body. All of the fixture's are the program's own.
const part2Label = `"code":"42CFRPart2"`

// personal stands for the organisation of patients and of who acts for them: nothing is disclosed to them by consent.
const personal = "a person"

// checkReply holds every answer to what must always be true: what is released is logged with the digest of
// its bytes, and a Part 2 record in the hands of another than its custodian carries notice, scope and
// redisclosure rule.
func (in *installation) checkReply(organization string, r request, a reply) {
	in.t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Request-Id") == "" {
		in.t.Errorf("%s: may be cached, or has no request id: %v", r.method, a.header)
	}
	if a.status/100 != 2 || (r.method != "GET" && !strings.Contains(r.path, "_search")) {
		return
	}
	events := in.eventsOf(a)
	digests, notice, agreed, parent := 0, false, true, false
	for _, e := range events {
		for _, d := range decisionsOf(in.t, e) { // to a service organization a record goes without the notice
			agreed = agreed && (d.Basis == "qsoa" || d.Basis == "direct-control")
			parent = parent || d.Basis == "consent" && d.Capacity == access.Proxy // whom a minor's consent names
		}
		if (e.Kind == audit.Disclosure || e.Kind == audit.Explain) && e.Released == audit.Digest(a.body) && e.ReleasedBytes == int64(len(a.body)) {
			digests++
			notice = notice || e.NoticeVersion != ""
		}
	}
	if digests == 0 || digests != len(events) {
		in.t.Errorf("%s %s: %d of %d audit events name the bytes received", r.method, r.path, digests, len(events))
	}
	needed := organization != "otp" && (organization != personal || parent) && !agreed && bytes.Contains(a.body, []byte(part2Label))
	if needed != notice || needed != bytes.Contains(a.body, []byte(release.StatementLong)) ||
		needed != disclosed.Match(a.body) ||
		needed != bytes.Contains(a.body, []byte("Redisclosure rule: ")) {
		in.t.Errorf("%s %s: Part 2 content %v, but notice, scope or its audit say otherwise:\n%s", r.method, r.path, needed, a.body)
	}
}

// disclosed begins the explanation of what a release of Part 2 content rests on.
var disclosed = regexp.MustCompile("Disclosed (under the patient's written consent Consent/|under a court order|without the patient's consent)")

// fhirBundle is a Bundle as far as tests look at it.
type fhirBundle struct {
	ResourceType string
	Total        *int
	Link         []struct{ Relation, URL string }
	Entry        []struct {
		FullURL  string `json:"fullUrl"`
		Resource struct{ ResourceType, ID string }
		Request  struct{ Method, URL string }
		Response struct{ Status string }
		Search   struct{ Mode string }
	}
}

func (a reply) bundle(t testing.TB) fhirBundle {
	t.Helper()
	var b fhirBundle
	if err := json.Unmarshal(a.body, &b); err != nil || b.ResourceType != "Bundle" {
		t.Fatalf("not a Bundle: %d %s", a.status, a.body)
	}
	return b
}

// references lists what a set holds, sorted, without outcomes.
func (b fhirBundle) references() []string {
	out := []string{}
	for _, e := range b.Entry {
		if e.Resource.ResourceType != "OperationOutcome" && e.Resource.ID != "" {
			out = append(out, e.Resource.ResourceType+"/"+e.Resource.ID)
		}
	}
	slices.Sort(out)
	return out
}

// next is the URL of the next page, or "".
func (b fhirBundle) next() string {
	for _, l := range b.Link {
		if l.Relation == "next" {
			return l.URL
		}
	}
	return ""
}

// sameHeaders compares header names and values but for those that differ from one answer to the next.
func sameHeaders(a, b http.Header) bool {
	a, b = a.Clone(), b.Clone()
	for _, h := range []http.Header{a, b} {
		h.Del("X-Request-Id")
		h.Del("Date")
	}
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}
