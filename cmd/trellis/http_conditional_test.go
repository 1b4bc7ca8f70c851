package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// personOf is a Patient with an identifier; id may be empty.
func personOf(id, identifier, family string) []byte {
	if id != "" {
		id = `"id":"` + id + `",`
	}
	return fmt.Appendf(nil, `{"resourceType":"Patient",%s"identifier":[{"system":"urn:example:mrn","value":%q}],"name":[{"family":%q}]}`, id, identifier, family)
}

// step is a request with what must come back.
type step struct {
	name string
	request
	status int
	has    string // in the body
	header [2]string
}

func (in *installation) follow(as string, steps []step) {
	in.t.Helper()
	for _, s := range steps {
		a := in.as(as, "").ask(s.request)
		if a.status != s.status || !strings.Contains(string(a.body), s.has) || !strings.Contains(a.header.Get(s.header[0]), s.header[1]) {
			in.t.Errorf("%s: %d %v\n%s", s.name, a.status, a.header, a.body)
		}
		if a.status >= 400 && s.method != "HEAD" {
			checkOutcome(in.t.(*testing.T), a, s.has)
		}
	}
	in.checkIndex()
}

func exists(criteria string) map[string]string { return map[string]string{"If-None-Exist": criteria} }

// TestConditionalWrites takes each conditional interaction through no match, one and several.
func TestConditionalWrites(t *testing.T) {
	const a, b = "identifier=urn:example:mrn|zqcanary-a", "identifier=urn:example:mrn|zqcanary-b"
	person := func(id, family string) []byte { return personOf(id, "zqcanary-a", "Zqcanary-"+family) }
	other := func(family string) []byte { return personOf("", "zqcanary-b", "Zqcanary-"+family) }
	remove := []byte(`[{"op":"replace","path":"/name/0/family","value":"Zqcanary-Patched"}]`)
	const asPatch = "application/json-patch+json"
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.follow("hospital-loader", []step{
			{"create, none", request{method: "POST", path: "Patient", body: person("", "One"), header: exists(a)}, 201, "Zqcanary-One", [2]string{"ETag", `W/"1"`}},
			{"create, one", request{method: "POST", path: "Patient", body: person("", "Two"), header: exists("Patient?" + a)}, 200, "Zqcanary-One", [2]string{"Location", "/_history/1"}},
			{"update, one", request{method: "PUT", path: "Patient?" + a, body: person("", "Three")}, 200, "Zqcanary-Three", [2]string{"ETag", `W/"2"`}},
			{"update, one, of another version", request{method: "PUT", path: "Patient?" + a, body: person("", "Four"), header: map[string]string{"If-Match": `W/"1"`}}, 412, "version", [2]string{}},
			{"update, one, with another id", request{method: "PUT", path: "Patient?" + a, body: person("elsewhere", "Four")}, 400, "Patient.id", [2]string{}},
			{"update, none", request{method: "PUT", path: "Patient?" + b, body: other("Other")}, 201, "Zqcanary-Other", [2]string{"ETag", `W/"1"`}},
			{"update, none, with an id", request{method: "PUT", path: "Patient?identifier=zqcanary-c", body: personOf("chosen", "zqcanary-c", "Zqcanary")}, 201, `"id":"chosen"`, [2]string{}},
			{"update, none, with an id that is taken", request{method: "PUT", path: "Patient?identifier=zqcanary-d", body: personOf("chosen", "zqcanary-d", "Zqcanary")}, 409, "", [2]string{}},
			{"patch, one", request{method: "PATCH", path: "Patient?" + b, body: remove, contentType: asPatch}, 200, "Zqcanary-Patched", [2]string{"ETag", `W/"2"`}},
			{"patch, none", request{method: "PATCH", path: "Patient?identifier=zqcanary-z", body: remove, contentType: asPatch}, 404, "", [2]string{}},
			{"a second of the kind", request{method: "POST", path: "Patient", body: person("", "Five")}, 201, "", [2]string{}},
			{"create, several", request{method: "POST", path: "Patient", body: person("", "Six"), header: exists(a)}, 412, "several", [2]string{}},
			{"update, several", request{method: "PUT", path: "Patient?" + a, body: person("", "Six")}, 412, "several", [2]string{}},
			{"patch, several", request{method: "PATCH", path: "Patient?" + a, body: remove, contentType: asPatch}, 412, "several", [2]string{}},
			{"delete, several", request{method: "DELETE", path: "Patient?" + a}, 412, "several", [2]string{}},
			{"delete, none", request{method: "DELETE", path: "Patient?identifier=zqcanary-z"}, 204, "", [2]string{}},
			{"delete, one", request{method: "DELETE", path: "Patient?" + b}, 204, "", [2]string{}},
			{"delete, gone", request{method: "DELETE", path: "Patient?" + b}, 204, "", [2]string{}},
			{"delete without criteria", request{method: "DELETE", path: "Patient"}, 412, "condition", [2]string{}},
			{"delete with a page size alone", request{method: "DELETE", path: "Patient?_count=1"}, 400, "_count", [2]string{}},
		})
		in.follow("hospital", []step{
			{"update, none, by who may not choose ids", request{method: "PUT", path: "Patient?identifier=zqcanary-e", body: personOf("mine", "zqcanary-e", "Zqcanary")}, 404, "", [2]string{}},
		})
	})
}

// TestConditionsSeeOwnRecordsOnly: what another organisation holds never meets a condition, visible or not.
func TestConditionsSeeOwnRecordsOnly(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		mrn := "identifier=urn:example:mrn|zqcanary-4711" // P1 is the hospital's, and the program can read it
		in.follow("otp", []step{
			{"create", request{method: "POST", path: "Patient", body: personOf("", "zqcanary-4711", "Zqcanary"), header: exists(mrn)}, 201, "", [2]string{}},
			{"delete of its own", request{method: "DELETE", path: "Patient?" + mrn}, 204, "", [2]string{}},
			{"patch", request{method: "PATCH", path: "Condition?_id=C2", body: []byte(`[{"op":"remove","path":"/code"}]`), contentType: "application/json-patch+json"}, 404, "", [2]string{}},
		})
		in.follow("hospital", []step{
			{"hidden", request{method: "POST", path: "Condition", body: []byte(`{"resourceType":"Condition","subject":{"reference":"Patient/P2"},"code":{"text":"Zqcanary"}}`), header: exists("code=F11.20")}, 201, "", [2]string{}},
			{"own", request{method: "POST", path: "Patient", body: personOf("", "zqcanary-4711", "Zqcanary"), header: exists(mrn)}, 200, `"id":"P1"`, [2]string{}},
		})
	})
}

// TestConditionalCreateRace sends one conditional create from 150 clients of an organisation at once: one makes the
// resource, all others get it, and nobody sees a conflict.
func TestConditionalCreateRace(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		token := in.token("hospital", "TREAT", anyScope)
		var wg sync.WaitGroup
		replies := make([]reply, 150)
		for i := range replies {
			wg.Add(1)
			go func() {
				defer wg.Done()
				replies[i] = in.send(request{method: "POST", path: "Patient", body: personOf("", "zqcanary-race", fmt.Sprintf("Zqcanary-%d", i)),
					header: map[string]string{"Authorization": "Bearer " + token, "If-None-Exist": "identifier=urn:example:mrn|zqcanary-race"}})
			}()
		}
		wg.Wait()
		made, places := 0, map[string]bool{}
		for _, r := range replies {
			switch r.status {
			case http.StatusCreated:
				made++
			case http.StatusOK:
			default:
				t.Errorf("%d %s", r.status, r.body)
			}
			places[r.header.Get("Location")] = true
		}
		if made != 1 || len(places) != 1 || in.stored()["res"] != in.before(1) {
			t.Errorf("%d made, at %v", made, places)
		}
		in.checkIndex()
	})
}

// before is how many resources an installation without records holds, and n more.
func (in *installation) before(n int64) int64 { return int64(len(fixture(in.t).Organizations)) + 1 + n }
