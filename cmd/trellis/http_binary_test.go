package main

import (
	"bytes"
	"strings"
	"testing"

	"trellis/gateway/audit"
	"trellis/gateway/release"
)

// scan is bytes that are no text.
var scan = []byte("\x89PNG zqcanary \x00\xff\xfe")

// upload posts bytes as they are and gives the Binary's id.
func (in *installation) upload(as, contentType, context string) string {
	in.t.Helper()
	r := request{method: "POST", path: "Binary", body: scan, contentType: contentType}
	if context != "" {
		r.header = map[string]string{"X-Security-Context": context}
	}
	a := in.as(as, "").ask(r)
	if a.status != 201 || !strings.Contains(string(a.body), `"data":"iVBORw`) && !strings.Contains(string(a.body), `"data":"iVBO`) && !bytes.Contains(a.body, []byte(`"data":"`)) {
		in.t.Fatalf("%d %s", a.status, a.body)
	}
	return strings.Split(strings.TrimPrefix(a.header.Get("Location"), in.gateway.base+"/Binary/"), "/")[0]
}

// fetch reads a Binary as it is, without what checkReply expects of a FHIR body.
func (in *installation) fetch(as, purpose, id, accept string) reply {
	in.t.Helper()
	return in.send(request{method: "GET", path: "Binary/" + id, header: map[string]string{"Authorization": "Bearer " + in.token(as, purpose, anyScope), "Accept": accept}})
}

// TestBinaryBytes: bytes go in as they are and come out the same, or as a resource for who asks for FHIR.
func TestBinaryBytes(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		id := in.upload("hospital", "image/png", "")
		for accept, status := range map[string]int{"image/png": 200, "image/*": 200, "*/*": 200, "application/pdf": 406, "application/fhir+xml": 406} {
			a := in.fetch("hospital", "TREAT", id, accept)
			if a.status != status {
				t.Errorf("%s: %d %s", accept, a.status, a.body)
			}
			if status != 200 {
				continue
			}
			events := in.eventsOf(a)
			if !bytes.Equal(a.body, scan) || a.header.Get("Content-Type") != "image/png" || !strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") || a.header.Get("ETag") != `W/"1"` ||
				len(events) != 1 || events[0].Released != audit.Digest(scan) {
				t.Errorf("%s: %v %q %+v", accept, a.header, a.body, events)
			}
		}
		if a := in.fetch("hospital", "TREAT", id, "application/fhir+json"); a.status != 200 || !strings.Contains(string(a.body), `"resourceType":"Binary"`) || !strings.Contains(string(a.body), `"contentType":"image/png"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := in.as("hospital", "TREAT").ask(request{method: "GET", path: "Binary/" + id, header: map[string]string{"If-None-Match": `W/"1"`}}); a.status != 304 || len(a.body) != 0 {
			t.Errorf("a Binary held: %d %s", a.status, a.body)
		}
		changed := in.as("hospital", "TREAT").ask(request{method: "PUT", path: "Binary/" + id, body: []byte("zqcanary 2"), contentType: "text/plain"})
		if a := in.fetch("hospital", "TREAT", id, "*/*"); changed.status != 200 || string(a.body) != "zqcanary 2" || a.header.Get("ETag") != `W/"2"` {
			t.Errorf("%d, %v %s", changed.status, a.header, a.body)
		}
		if a := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Binary", body: bytes.Repeat([]byte("x"), 7<<20), contentType: "text/plain"}); a.status != 413 {
			t.Errorf("a large Binary: %d", a.status)
		}
		if a := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Binary", body: []byte("<Binary/>"), contentType: "application/fhir+xml"}); a.status != 415 {
			t.Errorf("XML: %d", a.status)
		}
		if a := in.as("hospital", "TREAT").ask(request{method: "POST", path: "Patient", body: scan, contentType: "image/png"}); a.status != 415 {
			t.Errorf("bytes as a Patient: %d", a.status)
		}
	})
}

// TestBinaryFollowsItsRecord: bytes are readable to whoever may read the record they belong to, which is the one their
// securityContext names, else the document that points at them, else none.
func TestBinaryFollowsItsRecord(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K2") // the recovery organisation may read the program's plans
		loose, plan, condition, foreign, nowhere := in.upload("otp", "image/png", ""), in.upload("otp", "image/png", "CarePlan/CP1"), in.upload("otp", "image/png", "Condition/C1"),
			in.upload("otp", "image/png", "Condition/C2"), in.upload("otp", "image/png", "urn:uuid:5a4ad3a0-2f0f-4a0e-a2d6-9ad9d9f6f8b1")
		reads := func(as, purpose, id string, status int) reply {
			t.Helper()
			a := in.fetch(as, purpose, id, "image/png")
			if a.status != status || (status == 200) != bytes.Equal(a.body, scan) {
				t.Errorf("%s reads %s: %d, want %d: %q", as, id, a.status, status, a.body)
			}
			return a
		}
		for _, id := range []string{loose, plan, condition, foreign, nowhere} {
			reads("otp", "TREAT", id, 200)
		}
		for _, id := range []string{loose, condition, foreign, nowhere, "unknown"} {
			reads("rco", "COC", id, 404)
		}
		a := reads("rco", "COC", plan, 200)
		events := in.eventsOf(a)
		if a.header.Get("X-Part2-Notice") != release.StatementShort || len(events) != 1 || events[0].Patient != "Patient/P1" || events[0].NoticeVersion == "" || events[0].Released != audit.Digest(scan) {
			t.Errorf("%v %+v", a.header, events)
		}
		if a := in.as("rco", "COC").ask(request{method: "GET", path: "Binary/" + plan, header: map[string]string{"Accept": "application/fhir+json"}}); a.status != 200 || !strings.Contains(string(a.body), release.StatementLong) {
			t.Errorf("%d %s", a.status, a.body)
		}
		// Sets and other versions do not get around it.
		for _, path := range []string{"Binary", "Binary/_history", "_history?_since=2026-01-01"} {
			if a := in.as("rco", "COC").get(path); strings.Contains(string(a.body), `"Binary"`) || a.status != 200 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		hidden, unknown := in.fetch("rco", "COC", condition, "image/png"), in.fetch("rco", "COC", "unknown", "image/png")
		if string(hidden.body) != string(unknown.body) || !sameHeaders(hidden.header, unknown.header) {
			t.Errorf("%v %s\n%v %s", hidden.header, hidden.body, unknown.header, unknown.body)
		}
		in.documents(t, loose, plan, condition)
	})
}

// documents lets documents point at Binaries: the custodian's own count, where the Binary does not say otherwise.
func (in *installation) documents(t *testing.T, loose, plan, condition string) {
	document := func(as, typ, id string, attachments ...string) {
		t.Helper()
		content := ""
		for i, b := range attachments {
			content += ",{}"[:min(i, 1)] + `{"attachment":{"url":"Binary/` + b + `"}}`
		}
		body := `{"resourceType":"DocumentReference","id":"` + id + `","status":"current","subject":{"reference":"Patient/` + typ + `"},"content":[` + content + `]}`
		if a := in.as(loading(as), "").ask(request{method: "PUT", path: "DocumentReference/" + id, body: []byte(body)}); a.status/100 != 2 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	status := func(as, id string) int { return in.fetch(as, "TREAT", id, "image/png").status }
	mine := in.upload("hospital", "image/png", "")
	if got := status("otp", mine); got != 404 {
		t.Fatalf("a Binary nothing points at: %d", got)
	}
	document("otp", "P1", "theirs", mine, condition)
	if got := status("otp", mine); got != 404 {
		t.Errorf("another's document opens a Binary: %d", got)
	}
	document("hospital", "P2", "D1", mine)
	if got := status("otp", mine); got != 200 { // care of P2 is the hospital's to share for treatment
		t.Errorf("its document does not open a Binary: %d", got)
	}
	document("hospital", "P2", "D1", plan)
	if got := status("otp", mine); got != 404 {
		t.Errorf("a document that points elsewhere now: %d", got)
	}
	document("hospital", "P2", "D2", mine)
	if a := in.remove("DocumentReference/D2", "hospital"); a.status != 204 || status("otp", mine) != 404 {
		t.Errorf("a deleted document opens a Binary")
	}
	if in.fetch("rco", "COC", loose, "image/png").status != 404 || in.fetch("hospital", "TREAT", condition, "image/png").status != 404 {
		t.Error("a document opens what it does not hold")
	}
}
