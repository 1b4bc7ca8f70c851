package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"trellis/auth/oauth"
	"trellis/gateway/audit"
	"trellis/gateway/release"
)

// TestWritesDoNotTellHiddenFromUnknown tries to change a hidden record and one that does not exist: the same
// answer, byte for byte, and nothing stored.
func TestWritesDoNotTellHiddenFromUnknown(t *testing.T) {
	const condition = `{"resourceType":"Condition","id":"ID","subject":{"reference":"Patient/P1"},"code":{"text":"Zqcanary"}}`
	entry := func(method, resource string) string {
		return `{"resourceType":"Bundle","type":"transaction","entry":[` + resource + `"request":{"method":"` + method + `","url":"Condition/ID"}}]}`
	}
	requests := map[string]request{
		"update":                   {method: "PUT", path: "Condition/ID", body: []byte(condition)},
		"update of a version":      {method: "PUT", path: "Condition/ID", body: []byte(condition), header: map[string]string{"If-Match": `W/"1"`}},
		"update of another":        {method: "PUT", path: "Condition/ID", body: []byte(condition), header: map[string]string{"If-Match": `W/"7"`}},
		"delete":                   {method: "DELETE", path: "Condition/ID"},
		"delete of a version":      {method: "DELETE", path: "Condition/ID", header: map[string]string{"If-Match": `W/"7"`}},
		"update in a transaction":  {method: "POST", body: []byte(entry("PUT", `{"resource":`+condition+`,`))},
		"delete in a transaction":  {method: "POST", body: []byte(entry("DELETE", `{`))},
		"conditional update":       {method: "PUT", path: "Condition?_id=ID", body: []byte(condition)},
		"conditional delete":       {method: "DELETE", path: "Condition?_id=ID"},
		"patch":                    {method: "PATCH", path: "Condition/ID", body: []byte(`[{"op":"test","path":"/id","value":"ID"}]`), contentType: "application/json-patch+json"},
		"conditional patch":        {method: "PATCH", path: "Condition?_id=ID", body: []byte(`[{"op":"remove","path":"/code"}]`), contentType: "application/json-patch+json"},
		"conditional reference":    {method: "POST", body: []byte(`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Basic","code":{"text":"Zqcanary"},"subject":{"reference":"Condition?_id=ID"}},"request":{"method":"POST","url":"Basic"}}]}`)},
		"update in a batch":        {method: "POST", body: []byte(strings.Replace(entry("PUT", `{"resource":`+condition+`,`), "transaction", "batch", 1))},
		"read in a batch":          {method: "POST", body: []byte(strings.Replace(entry("GET", `{`), "transaction", "batch", 1))},
		"malformed method in it":   {method: "POST", body: []byte(strings.Replace(entry("HEAD", `{`), "transaction", "batch", 1))},
		"search of it in a batch":  {method: "POST", body: []byte(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Condition?_id=ID&_total=accurate"}}]}`)},
		"history of it in a batch": {method: "POST", body: []byte(`{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Condition/ID/_history"}}]}`)},
	}
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		before := in.stored()
		for name, r := range requests {
			about := func(id string) reply {
				r := r
				r.path, r.body = strings.ReplaceAll(r.path, "ID", id), bytes.ReplaceAll(r.body, []byte("ID"), []byte(id))
				r.header = maps.Clone(r.header)
				for h := range r.header {
					r.header[h] = strings.ReplaceAll(r.header[h], "ID", id)
				}
				return in.as("hospital", "TREAT").ask(r)
			}
			hidden, unknown := about("C1"), about("C9")
			body := strings.ReplaceAll(string(unknown.body), "C9", "C1")
			if hidden.status != unknown.status || string(hidden.body) != body || !sameHeaders(hidden.header, unknown.header) {
				t.Errorf("%s: answers differ:\n%d %v\n%s\n%d %v\n%s", name, hidden.status, hidden.header, hidden.body, unknown.status, unknown.header, unknown.body)
			}
		}
		if after := in.stored(); !maps.Equal(before, after) {
			t.Errorf("refused writes left rows: %v, was %v", after, before)
		}
	})
}

// TestBatchReleasesThroughTheGate reads several records in one batch: each entry is what a read of its own would give,
// notice and scope included, and each has its own event with the digest of its bytes.
func TestBatchReleasesThroughTheGate(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K2")
		a := in.as("rco", "COC").ask(request{method: "POST", body: []byte(`{"resourceType":"Bundle","type":"batch","entry":[
			{"request":{"method":"GET","url":"CarePlan/CP1"}},{"request":{"method":"GET","url":"Condition/C1"}},
			{"request":{"method":"GET","url":"../healthz"}},{"request":{"method":"POST","url":"../oauth/token"}}]}`)})
		var batch struct {
			Entry []struct {
				Resource json.RawMessage
				Response struct{ Status string }
			}
		}
		if err := json.Unmarshal(a.body, &batch); err != nil || a.status != 200 || len(batch.Entry) != 4 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for i, want := range []string{"200", "404", "404", "405"} {
			if !strings.HasPrefix(batch.Entry[i].Response.Status, want) {
				t.Errorf("entry %d: %s", i, batch.Entry[i].Response.Status)
			}
		}
		plan := batch.Entry[0].Resource
		if !bytes.Equal(plan, in.as("rco", "COC").get("CarePlan/CP1").body) {
			t.Errorf("a read in a batch differs from a read: %s", plan)
		}
		if !bytes.Contains(plan, []byte(release.StatementLong)) || bytes.Contains(a.body, []byte("F11.20")) {
			t.Errorf("%s", a.body)
		}
		logged := 0
		for _, e := range in.events() {
			if e.Kind == audit.Disclosure && e.Released == audit.Digest(plan) && e.NoticeVersion != "" {
				logged++
			}
		}
		if logged != 2 { // once in the batch, once alone
			t.Errorf("%d events name the plan's bytes", logged)
		}
	})
}

// TestWritesAreAudited holds that every accepted write leaves an event, and that identical bytes make no version.
func TestWritesAreAudited(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		f := fixture(t)
		k1, _ := f.Given("K1")
		k4, _ := f.Given("K4")
		again, changed, deleted := in.write(k1), in.write(k4), in.remove("Condition/C1", "otp")
		for name, c := range map[string]struct {
			reply
			status  int
			version string
		}{"the same once more": {again, 200, "1"}, "a change": {changed, 200, "2"}, "a deletion": {deleted, 204, "2"}} {
			events := in.eventsOf(c.reply)
			if c.reply.status != c.status || len(events) != 1 || len(events[0].Resources) != 1 || events[0].Resources[0].Version != c.version || events[0].Patient != "Patient/P1" {
				t.Errorf("%s: %d %+v", name, c.reply.status, events)
			}
		}
	})
}

// TestRefusalsAreAudited: a request that ends at its scope, and a write to what the writer does not hold, each
// leave one event about nobody.
func TestRefusalsAreAudited(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.register(oauth.Client{ID: "narrow", Organization: "hospital", Scopes: []string{"system/Observation.r"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		narrow := map[string]string{"Authorization": "Bearer " + in.token("narrow", "TREAT", "system/Observation.r")}
		hospital := map[string]string{"Authorization": "Bearer " + in.token("hospital", "TREAT", anyScope)}
		for name, c := range map[string]struct {
			request
			status int
			code   string
		}{
			"scope":          {request{method: "GET", path: "Condition/C1", header: narrow}, 403, "FORBIDDEN"},
			"not held":       {request{method: "DELETE", path: "Condition/C1", header: hospital}, 404, "NOT_HELD"},
			"does not exist": {request{method: "DELETE", path: "Condition/C9", header: hospital}, 404, "NOT_HELD"},
		} {
			r := in.send(c.request)
			events := in.eventsOf(r)
			if r.status != c.status || len(events) != 1 || events[0].Kind != audit.Denial || events[0].Detail["code"] != c.code || events[0].Patient != "" {
				t.Errorf("%s: %d %+v", name, r.status, events)
			}
		}
	})
}
