package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"trellis/auth/oauth"
)

// badInput is one request that must be refused.
type badInput struct {
	name string
	request
	status int
	says   string // text the outcome must hold: which parameter, which element
}

// TestBadInput sends what a gateway must refuse: the right status, an OperationOutcome that names the place and
// never a value, and nothing stored.
func TestBadInput(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		before := in.stored()
		for _, table := range [][]badInput{malformedBodies(), malformedSearches(), malformedRequests(), in.unusableCursors(), nativeRecords(in)} {
			for _, b := range table {
				t.Run(b.name, func(t *testing.T) {
					a := in.as("hospital", "TREAT").ask(b.request)
					if a.status != b.status {
						t.Errorf("status %d, want %d: %s", a.status, b.status, a.body)
					}
					checkOutcome(t, a, b.says)
				})
			}
		}
		if after := in.stored(); !maps.Equal(before, after) {
			t.Errorf("refused requests left rows: %v, was %v", after, before)
		}
	})
}

// checkOutcome holds a refusal to its form.
func checkOutcome(t *testing.T, a reply, says string) {
	t.Helper()
	var outcome struct {
		ResourceType string
		Issue        []struct {
			Severity, Code string
			Details        struct{ Text string }
		}
	}
	if err := json.Unmarshal(a.body, &outcome); err != nil || outcome.ResourceType != "OperationOutcome" || len(outcome.Issue) == 0 {
		t.Fatalf("not an OperationOutcome: %s", a.body)
	}
	for _, i := range outcome.Issue {
		if i.Severity != "error" || i.Code == "" || i.Details.Text == "" {
			t.Errorf("an issue without severity, code or text: %s", a.body)
		}
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/fhir+json") {
		t.Errorf("content type %s", a.header.Get("Content-Type"))
	}
	if !bytes.Contains(a.body, []byte(says)) {
		t.Errorf("the outcome does not say %q: %s", says, a.body)
	}
	if bytes.Contains(bytes.ToLower(a.body), []byte(canary)) {
		t.Errorf("the outcome repeats a value: %s", a.body)
	}
}

func post(path, body string) request { return request{method: "POST", path: path, body: []byte(body)} }

func malformedBodies() []badInput {
	long := strings.Repeat(canary, 33<<20/len(canary))
	return []badInput{
		{"malformed JSON", post("Patient", `{"resourceType":"Patient","name":[{"family":"Zqcanary"`), 400, ""},
		{"no JSON at all", post("Patient", `zqcanary`), 400, ""},
		{"empty body", post("Patient", ` `), 400, "empty"},
		{"two documents", post("Patient", `{"resourceType":"Patient"}{"resourceType":"Patient","name":[{"family":"Zqcanary"}]}`), 400, ""},
		{"a member twice", post("Patient", `{"resourceType":"Patient","gender":"male","gender":"female","name":[{"family":"Zqcanary"}]}`), 400, ""},
		{"invalid UTF-8", post("Patient", "{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"Zqcanary\xff\"}]}"), 400, ""},
		{"nested too deep", post("Patient", `{"resourceType":"Patient","extension":`+strings.Repeat(`[{"url":"urn:zqcanary","extension":`, 300)+`[]`+strings.Repeat(`}]`, 300)+`}`), 400, ""},
		{"larger than the limit", post("Patient", `{"resourceType":"Patient","name":[{"family":"`+long+`"}]}`), 413, ""},
		{"unknown element", post("Patient", `{"resourceType":"Patient","nickname":"Zqcanary"}`), 400, `"expression":["Patient"]`},
		{"unknown resource type in the body", post("Patient", `{"resourceType":"Person1","name":[{"family":"Zqcanary"}]}`), 400, ""},
		{"no resource type", post("Patient", `{"name":[{"family":"Zqcanary"}]}`), 400, ""},
		{"another type than the URL", post("Patient", `{"resourceType":"Basic","code":{"text":"Zqcanary"}}`), 400, "resourceType"},
		{"a list where one belongs", post("Patient", `{"resourceType":"Patient","gender":["zqcanary"]}`), 400, "gender"},
		{"one where a list belongs", post("Patient", `{"resourceType":"Patient","name":{"family":"Zqcanary"}}`), 400, "name"},
		{"required element missing", post("Observation", `{"resourceType":"Observation","code":{"text":"Zqcanary"}}`), 400, "status"},
		{"code outside a required value set", post("Patient", `{"resourceType":"Patient","gender":"zqcanary"}`), 400, "gender"},
		{"malformed date", post("Patient", `{"resourceType":"Patient","birthDate":"zqcanary-04-12"}`), 400, "birthDate"},
		{"a date that does not exist", post("Patient", `{"resourceType":"Patient","birthDate":"1988-02-31","name":[{"family":"Zqcanary"}]}`), 400, "birthDate"},
		{"malformed id", post("Patient", `{"resourceType":"Patient","id":"zqcanary!","name":[{"family":"Zqcanary"}]}`), 400, "id"},
		{"two kinds of one value", post("Observation", `{"resourceType":"Observation","status":"final","code":{"text":"Zqcanary"},"valueString":"Zqcanary","valueInteger":1}`), 400, ""},
		{"ids that differ", request{method: "PUT", path: "Patient/P1", body: []byte(`{"resourceType":"Patient","id":"P2","name":[{"family":"Zqcanary"}]}`)}, 400, "Patient.id"},
		{"transaction with a bad entry", post("", `{"resourceType":"Bundle","type":"transaction","entry":[
			{"resource":{"resourceType":"Patient","name":[{"family":"Zqcanary"}]},"request":{"method":"POST","url":"Patient"}},
			{"resource":{"resourceType":"Patient","gender":"zqcanary"},"request":{"method":"POST","url":"Patient"}}]}`), 400, "gender"},
		{"transaction with an unresolved reference", post("", `{"resourceType":"Bundle","type":"transaction","entry":[
			{"resource":{"resourceType":"Patient","name":[{"family":"Zqcanary"}]},"request":{"method":"POST","url":"Patient"}},
			{"resource":{"resourceType":"Basic","code":{"text":"Zqcanary"},"subject":{"reference":"urn:uuid:5a4ad3a0-2f0f-4a0e-a2d6-9ad9d9f6f8b1"}},"request":{"method":"POST","url":"Basic"}}]}`), 400, "entry[1]"},
		{"transaction that changes another's record", post("", `{"resourceType":"Bundle","type":"transaction","entry":[
			{"resource":{"resourceType":"Patient","name":[{"family":"Zqcanary"}]},"request":{"method":"POST","url":"Patient"}},
			{"resource":{"resourceType":"Condition","id":"C1","subject":{"reference":"Patient/P1"},"code":{"text":"Zqcanary"}},"request":{"method":"PUT","url":"Condition/C1"}}]}`), 404, "entry[1]"},
		{"transaction with a condition of nothing", post("", `{"resourceType":"Bundle","type":"transaction","entry":[
			{"resource":{"resourceType":"Patient","name":[{"family":"Zqcanary"}]},"request":{"method":"PUT","url":"Patient?identifier="}}]}`), 412, "entry[0]"},
		{"bundle of another type", post("", `{"resourceType":"Bundle","type":"collection"}`), 400, "Bundle.type"},
		{"no bundle", post("", `{"resourceType":"Patient","name":[{"family":"Zqcanary"}]}`), 400, "Bundle"},
	}
}

func malformedSearches() []badInput {
	get := func(path string) request { return request{method: "GET", path: path} }
	return []badInput{
		{"unknown parameter", get("Condition?patient=P1&nonsense=zqcanary"), 400, "nonsense"},
		{"unsupported modifier", get("Patient?name:text=zqcanary"), 400, "name:text"},
		{"modifier of another kind", get("Condition?code:exact=zqcanary"), 400, "code:exact"},
		{"malformed date parameter", get("Observation?date=zqcanary"), 400, "date"},
		{"malformed prefix", get("Observation?date=xx2026-01-01"), 400, "date"},
		{"chain", get("Condition?patient.zqnosuch=zqcanary"), 400, "patient.zqnosuch"},
		{"reverse chain", get("Patient?_has:Condition:zqnosuch:code=zqcanary"), 400, "_has"},
		{"malformed _count", get("Condition?_count=zqcanary"), 400, "_count"},
		{"negative _count", get("Condition?_count=-1"), 400, "_count"},
		{"unknown _sort", get("Condition?_sort=zqcanary"), 400, "_sort"},
		{"unknown _include", get("Condition?_include=Condition:zqcanary"), 400, "_include"},
		{"unknown _revinclude", get("Condition?_revinclude=Zqcanary:*"), 400, "_revinclude"},
		{"unsupported _total", get("Condition?_total=roughly"), 400, "_total"},
		{"unsupported _summary", get("Condition?_summary=most"), 400, "_summary"},
		{"unsupported _elements", get("Condition?_elements=zqcanary"), 400, "_elements"},
		{"_filter", get("Condition?_filter=zqnosuch%20eq%20zqcanary"), 400, "_filter"},
		{"parameter of a read", get("Condition/C2?_summary=true&x=zqcanary"), 400, ""},
		{"parameter of a history", get("Condition/_history?code=zqcanary"), 400, ""},
		{"malformed query string", get("Condition?code=%zz"), 400, ""},
		{"too many values", request{method: "POST", path: "Condition/_search", body: []byte("code=" + strings.Repeat("zqcanary,", 3000)), contentType: "application/x-www-form-urlencoded"}, 413, "code"},
		{"search posted as JSON", post("Condition/_search", `{"code":"zqcanary"}`), 415, ""},
	}
}

func malformedRequests() []badInput {
	patient := []byte(`{"resourceType":"Patient","id":"P1","name":[{"family":"Zqcanary-Abara"}]}`)
	with := func(method, path string, body []byte, header, value string) request {
		return request{method: method, path: path, body: body, header: map[string]string{header: value}}
	}
	return []badInput{
		{"unknown resource type", request{method: "GET", path: "Zqcanary/1"}, 404, ""},
		{"unknown resource type searched", request{method: "GET", path: "Zqcanary?name=zqcanary"}, 404, ""},
		{"unknown resource type created", post("Zqcanary", `{"resourceType":"Zqcanary"}`), 404, ""},
		{"unknown id", request{method: "GET", path: "Condition/zqcanary"}, 404, ""},
		{"id too long", request{method: "GET", path: "Condition/" + strings.Repeat(canary, 20)}, 404, ""},
		{"unknown version", request{method: "GET", path: "Condition/C2/_history/zqcanary"}, 404, ""},
		{"update of an unknown id", request{method: "PUT", path: "Patient/zqcanary", body: []byte(`{"resourceType":"Patient","id":"zqcanary"}`)}, 404, ""},
		{"update of another's record", request{method: "PUT", path: "Condition/C1", body: []byte(`{"resourceType":"Condition","id":"C1","subject":{"reference":"Patient/P1"},"code":{"text":"Zqcanary"}}`)}, 404, ""},
		{"delete of another's record", request{method: "DELETE", path: "Condition/C1"}, 404, ""},
		{"delete of an unknown id", request{method: "DELETE", path: "Condition/zqcanary"}, 404, ""},
		{"operation", request{method: "GET", path: "Patient/P1/$graph"}, 404, ""},
		{"method not offered", request{method: "DELETE", path: "Patient/P1/_history"}, 405, ""},
		{"patch of no patch format", request{method: "PATCH", path: "Patient/P1", body: patient, contentType: "application/json"}, 415, ""},
		{"XML body", request{method: "POST", path: "Patient", body: []byte(`<Patient xmlns="http://hl7.org/fhir"><id value="zqcanary"/></Patient>`), contentType: "application/fhir+xml"}, 415, ""},
		{"body of no type", request{method: "POST", path: "Patient", body: patient, contentType: "text/plain"}, 415, ""},
		{"XML wanted", with("GET", "Condition/C2", nil, "Accept", "application/fhir+xml"), 406, ""},
		{"XML wanted by _format", request{method: "GET", path: "Condition/C2?_format=xml"}, 406, ""},
		{"unknown encoding", with("POST", "Patient", patient, "Content-Encoding", "br"), 415, ""},
		{"no gzip", with("POST", "Patient", patient, "Content-Encoding", "gzip"), 400, ""},
		{"malformed If-Match", with("PUT", "Patient/P1", patient, "If-Match", "zqcanary"), 400, "If-Match"},
		{"stale If-Match", with("PUT", "Patient/P1", patient, "If-Match", `W/"7"`), 412, ""},
		{"condition of nothing", with("POST", "Patient", []byte(`{"resourceType":"Patient","name":[{"family":"Zqcanary"}]}`), "If-None-Exist", "identifier="), 412, "condition"},
		{"unknown parameter in a condition", with("POST", "Patient", []byte(`{"resourceType":"Patient","name":[{"family":"Zqcanary"}]}`), "If-None-Exist", "nonsense=zqcanary"), 400, "nonsense"},
	}
}

// unusableCursors are page positions that do not belong to the search they are sent with.
func (in *installation) unusableCursors() []badInput {
	in.t.Helper()
	next := in.as("hospital", "TREAT").get("Observation?patient=P1&_count=1").bundle(in.t).next()
	foreign := in.as("otp", "TREAT").get("Condition?patient=P1&_count=1").bundle(in.t).next()
	query, cursor, ok := strings.Cut(next, "_cursor=")
	if !ok || foreign == "" {
		in.t.Fatalf("no page links: %q %q", next, foreign)
	}
	cursor, rest, _ := strings.Cut(cursor, "&")
	flipped := []byte(cursor)
	if middle := len(flipped) / 2; flipped[middle] == 'A' {
		flipped[middle] = 'B'
	} else {
		flipped[middle] = 'A'
	}
	with := func(c string) request { return request{method: "GET", path: query + "_cursor=" + c + "&" + rest} }
	return []badInput{
		{"cursor of nobody", with("zqcanary"), 400, "_cursor"},
		{"cursor that is no base64", with("!!!"), 400, "_cursor"},
		{"tampered cursor", with(string(flipped)), 400, "_cursor"},
		{"cut cursor", with(cursor[:len(cursor)/2]), 400, "_cursor"},
		{"another's cursor", request{method: "GET", path: foreign}, 400, "_cursor"},
		{"cursor of another search", request{method: "GET", path: "Observation?patient=P1&_count=1&status=final&_cursor=" + cursor}, 400, "_cursor"},
		{"cursor of another type", request{method: "GET", path: "Condition?patient=P1&_count=1&_cursor=" + cursor}, 400, "_cursor"},
		{"cursor in a history", request{method: "GET", path: "Condition/_history?_cursor=" + cursor}, 400, "_cursor"},
	}
}

func nativeRecords(in *installation) []badInput {
	intake := func(kind, body string) request {
		url := strings.TrimSuffix(in.gateway.base, "/fhir") + "/intake/" + kind
		return request{method: "POST", path: url, body: []byte(body), contentType: "application/json"}
	}
	const session = `"session_id":"S-1","client":{"id":"C-1","name":{"first":"Zqcanary","last":"Zqcanary"},"birth_date":"1990-02-03","sex":"female"},` +
		`"peer":{"id":"W-7","name":"Pat Peer","role":"recovery-coach"},"status":"done","start":"2026-03-02T14:05:00-05:00","mode":"in-person"`
	return []badInput{
		{"unknown field", intake("peer-encounter", `{`+session+`,"shoe_size":"zqcanary"}`), 422, "a field that the schema does not know"},
		{"unknown nested field", intake("peer-encounter", `{`+strings.Replace(session, `"sex":`, `"ssn":"zqcanary","sex":`, 1)+`}`), 422, `"expression":["/client"]`},
		{"wrong type", intake("peer-encounter", `{`+session+`,"minutes":"zqcanary"}`), 422, "/minutes"},
		{"code nobody knows", intake("peer-encounter", `{`+strings.Replace(session, `"in-person"`, `"zqcanary"`, 1)+`}`), 422, "/mode"},
		{"required field missing", intake("peer-encounter", `{"session_id":"zqcanary"}`), 422, ""},
		{"malformed native JSON", intake("peer-encounter", `{`+session), 400, ""},
		{"unknown kind", intake("zqcanary", `{`+session+`}`), 404, ""},
		{"native record as XML", func() request {
			r := intake("peer-encounter", `<s>zqcanary</s>`)
			r.contentType = "application/xml"
			return r
		}(), 415, ""},
		{"CSV kind sent as JSON", intake("ny-1115-ahc-hrsn", `{`+session+`}`), 415, ""},
	}
}

// TestNoToken asks without a usable token, and with one whose scope does not reach.
func TestNoToken(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.register(oauth.Client{ID: "narrow", Organization: "hospital", Scopes: []string{"system/Observation.r"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		good := in.token("hospital", "TREAT", anyScope)
		narrow := in.token("narrow", "TREAT", "system/Observation.r")
		bearer := func(token string) map[string]string { return map[string]string{"Authorization": "Bearer " + token} }
		for _, c := range []struct {
			name, path string
			header     map[string]string
			status     int
		}{
			{"no token", "Condition/C2", nil, 401},
			{"token in the query string", "Condition/C2?access_token=" + good, nil, 401},
			{"token in the query string and garbage in the header", "Condition/C2?access_token=" + good, bearer("zqcanary"), 401},
			{"garbage", "Condition/C2", bearer("zqcanary"), 401},
			{"tampered token", "Condition/C2", bearer(good[:len(good)-2] + "zz"), 401},
			{"basic authentication", "Condition/C2", map[string]string{"Authorization": "Basic enFjYW5hcnk6eA=="}, 401},
			{"scope of another type", "Condition/C2", bearer(narrow), 403},
			{"scope of another type, hidden record", "Condition/C1", bearer(narrow), 403},
			{"scope of another type, unknown id", "Condition/zqcanary", bearer(narrow), 403},
			{"scope without search", "Observation?patient=P1", bearer(narrow), 403},
			{"_revinclude beyond the scope", "Observation/_history", bearer(narrow), 403},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := in.send(request{method: "GET", path: c.path, header: c.header})
				if a.status != c.status {
					t.Errorf("status %d, want %d: %s", a.status, c.status, a.body)
				}
				checkOutcome(t, a, "")
				if challenge := a.header.Get("WWW-Authenticate"); (a.status == 401) != strings.HasPrefix(challenge, "Bearer") {
					t.Errorf("challenge %q", challenge)
				}
			})
		}
	})
}
