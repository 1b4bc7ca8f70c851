package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"trellis/auth/oauth"
)

// bundled is the answer to a batch or transaction.
type bundled struct {
	Type  string
	Entry []struct {
		Resource map[string]any
		Response struct {
			Status, Location, Etag, LastModified string
			Outcome                              map[string]any
		}
	}
}

func (a reply) bundled(t *testing.T) bundled {
	t.Helper()
	var b bundled
	if err := json.Unmarshal(a.body, &b); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return b
}

func (b bundled) statuses() []string {
	var out []string
	for _, e := range b.Entry {
		out = append(out, e.Response.Status[:3])
	}
	return out
}

func bundleOf(kind string, entries ...string) []byte {
	return []byte(`{"resourceType":"Bundle","type":"` + kind + `","entry":[` + strings.Join(entries, ",") + `]}`)
}

// doing is an entry; resource and fullURL may be empty, more goes into the request.
func doing(method, url, fullURL, resource, more string) string {
	out := `{`
	if fullURL != "" {
		out += `"fullUrl":"` + fullURL + `",`
	}
	if resource != "" {
		out += `"resource":` + resource + `,`
	}
	return out + `"request":{"method":"` + method + `","url":"` + url + `"` + more + `}}`
}

const (
	aPatient = `{"resourceType":"Patient","identifier":[{"system":"urn:example:mrn","value":"zqcanary-t"}],"name":[{"family":"Zqcanary-T"}]}`
	urnA     = "urn:uuid:5a4ad3a0-2f0f-4a0e-a2d6-9ad9d9f6f8b1"
	urnB     = "urn:uuid:5a4ad3a0-2f0f-4a0e-a2d6-9ad9d9f6f8b2"
)

// about is a Condition of a patient.
func about(reference string) string {
	return `{"resourceType":"Condition","subject":{"reference":"` + reference + `"},"code":{"text":"Zqcanary"}}`
}

// TestTransaction makes every kind of entry in one Bundle, out of order: the answers stand in the order of the entries,
// links point at what was made, and reads see it.
func TestTransaction(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		document := `{"resourceType":"DocumentReference","status":"current","subject":{"reference":"` + urnA + `"},"content":[{"attachment":{"url":"` + urnB + `"}}],` +
			`"extension":[{"url":"urn:example:of","valueUri":"` + urnA + `"}],"identifier":[{"system":"urn:ietf:rfc:3986","value":"` + urnA + `"}]}`
		patch := `{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL25vdGUifV0="}`
		b := in.as("hospital-loader", "").ask(post("", string(bundleOf("transaction",
			doing("GET", "Condition?patient=Patient/P1&code=I10", "", "", ""),
			doing("PATCH", "Condition/C2", "", patch, ""),
			doing("PUT", "Observation/T1", "http://elsewhere.example/fhir/Observation/T1", strings.Replace(about("Patient/T0"), `"Condition",`, `"Observation","id":"T1","status":"final",`, 1), ""),
			doing("POST", "Patient", "http://elsewhere.example/fhir/Patient/T0", strings.Replace(aPatient, "zqcanary-t", "zqcanary-u", 1), ""),
			doing("POST", "Patient", urnA, aPatient, `,"ifNoneExist":"identifier=zqcanary-t"`),
			doing("POST", "DocumentReference", "", document, ""),
			doing("POST", "Binary", urnB, `{"resourceType":"Binary","contentType":"text/plain","data":"aGVsbG8="}`, ""),
			doing("POST", "Condition", "", about("Patient?identifier=urn:example:mrn|zqcanary-4711"), ""),
			doing("DELETE", "Observation/O2", "", "", ""),
			doing("DELETE", "Observation?_id=nothing", "", "", ""),
			doing("HEAD", "Patient/P1", "", "", ""),
			doing("GET", "Observation/O2", "", "", ""),
		)))).bundled(t)
		want := []string{"200", "200", "201", "201", "201", "201", "201", "201", "204", "204", "200", "410"}
		if got := b.statuses(); b.Type != "transaction-response" || !slices.Equal(got, want) {
			t.Fatalf("statuses %v, want %v", got, want)
		}
		id := func(i int) string { return strings.SplitN(b.Entry[i].Response.Location, "/_history", 2)[0] }
		see := func(path string, parts ...string) {
			t.Helper()
			a := in.as("hospital", "TREAT").get(path)
			for _, p := range parts {
				if !strings.Contains(string(a.body), p) {
					t.Errorf("%s lacks %s: %s", path, p, a.body)
				}
			}
		}
		see(id(5), `"subject":{"reference":"`+id(4)+`"}`, `"url":"`+id(6)+`"`, `"valueUri":"`+id(4)+`"`, `"value":"`+urnA+`"`)
		see("Observation/T1", `"subject":{"reference":"`+id(3)+`"}`)
		see(id(7), `"reference":"Patient/P1"`)
		for i, e := range b.Entry {
			if i != 9 && e.Response.Status[0] == '2' && i != 0 && (e.Response.Etag == "" || e.Response.LastModified == "") {
				t.Errorf("entry %d has no etag or lastModified: %+v", i, e.Response)
			}
		}
		if b.Entry[0].Resource["resourceType"] != "Bundle" || b.Entry[10].Resource != nil || b.Entry[1].Resource != nil || b.Entry[11].Response.Outcome == nil {
			t.Errorf("%+v", b)
		}
		if found := fmt.Sprint(b.Entry[0].Resource); strings.Contains(found, "Zqcanary note") || !strings.Contains(found, "C2") {
			t.Errorf("a read does not see the patch: %s", found)
		}
		in.checkIndex()
	})
}

// TestTransactionsMakeAllOrNothing sends transactions of which one entry cannot be done.
func TestTransactionsMakeAllOrNothing(t *testing.T) {
	fine := doing("POST", "Patient", urnA, aPatient, "")
	many := make([]string, 5001)
	for i := range many {
		many[i] = doing("GET", "Patient/P1", "", "", "")
	}
	links := make([]string, 600)
	for i := range links {
		links[i] = `{"system":"http://loinc.org","code":"1-` + fmt.Sprint(i) + `"}`
	}
	wide := make([]string, 200)
	for i := range wide {
		wide[i] = doing("POST", "Observation", "", `{"resourceType":"Observation","status":"final","code":{"coding":[`+strings.Join(links, ",")+`]}}`, "")
	}
	for name, c := range map[string]struct {
		entries []string
		status  int
		says    string
	}{
		"two entries on one resource":           {[]string{fine, doing("DELETE", "Condition/C2", "", "", ""), doing("PUT", "Condition/C2", "", strings.Replace(about("Patient/P1"), `"Condition",`, `"Condition","id":"C2",`, 1), "")}, 400, "same resource"},
		"one of them by a condition":            {[]string{fine, doing("DELETE", "Condition/C2", "", "", ""), doing("PUT", "Condition?code=I10", "", about("Patient/P1"), "")}, 400, "same resource"},
		"two creations on one condition":        {[]string{doing("POST", "Patient", "", aPatient, `,"ifNoneExist":"identifier=zqcanary-t"`), doing("POST", "Patient", "", aPatient, `,"ifNoneExist":"identifier=zqcanary-t"`)}, 400, "Bundle.entry[1]"},
		"two entries of one fullUrl":            {[]string{fine, doing("POST", "Patient", urnA, aPatient, "")}, 400, "Bundle.entry[1]"},
		"a condition that several meet":         {[]string{fine, doing("DELETE", "Observation?patient=Patient/P1", "", "", "")}, 412, "Bundle.entry[1]"},
		"a conditional reference without match": {[]string{fine, doing("POST", "Condition", "", about("Patient?identifier=zqcanary-nobody"), "")}, 412, "matches nothing"},
		"a conditional reference to several":    {[]string{fine, doing("POST", "Condition", "", about("Observation?patient=Patient/P1"), "")}, 412, "several"},
		"a conditional reference to another's":  {[]string{fine, doing("POST", "Condition", "", about("Condition?code=F11.20"), "")}, 412, "matches nothing"},
		"a failing test in a patch":             {[]string{fine, doing("PATCH", "Condition/C2", "", `{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W3sib3AiOiJ0ZXN0IiwicGF0aCI6Ii9pZCIsInZhbHVlIjoieCJ9XQ=="}`, "")}, 422, "Bundle.entry[1]"},
		"an old version":                        {[]string{fine, doing("DELETE", "Condition/C2", "", "", `,"ifMatch":"W/\"9\""`)}, 412, "Bundle.entry[1]"},
		"an operation":                          {[]string{fine, doing("POST", "Patient/P1/$everything", "", "", "")}, 400, "Bundle.entry[1]"},
		"an absolute URL":                       {[]string{fine, doing("GET", "http://elsewhere.example/fhir/Patient/1", "", "", "")}, 400, "Bundle.entry[1]"},
		"too many entries":                      {many, 413, "5000"},
		"too many index rows":                   {wide, 413, "parts"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachStore(t, func(t *testing.T, where location) {
				in := newInstallation(t, where, "")
				in.load("K1")
				before := in.stored()
				a := in.as("hospital-loader", "").ask(post("", string(bundleOf("transaction", c.entries...))))
				if a.status != c.status {
					t.Errorf("status %d, want %d", a.status, c.status)
				}
				checkOutcome(t, a, c.says)
				if after := in.stored(); !maps.Equal(before, after) {
					t.Errorf("left rows: %v, was %v", after, before)
				}
			})
		})
	}
}

// TestBundleScopes: every entry needs its own scope, and a condition the right to search as well. In a transaction one
// refusal refuses all; in a batch it is that entry's answer.
func TestBundleScopes(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		const scope = "system/Patient.cru system/Condition.s"
		in.register(oauth.Client{ID: "narrow", Organization: "hospital", Scopes: []string{"system/Patient.cru", "system/Condition.s"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		ask := func(kind string, entries ...string) reply {
			return in.send(request{method: "POST", body: bundleOf(kind, entries...), header: map[string]string{"Authorization": "Bearer " + in.token("narrow", "TREAT", scope)}})
		}
		before := in.stored()
		create := doing("POST", "Patient", "", aPatient, "")
		for name, entry := range map[string]string{
			"delete":                doing("DELETE", "Patient/P1", "", "", ""),
			"another type":          doing("POST", "Basic", "", `{"resourceType":"Basic","code":{"text":"Zqcanary"}}`, ""),
			"condition":             doing("POST", "Patient", "", aPatient, `,"ifNoneExist":"identifier=zqcanary"`),
			"conditional reference": doing("PUT", "Patient/P1", "", `{"resourceType":"Patient","id":"P1","link":[{"type":"refer","other":{"reference":"Patient?identifier=zqcanary"}}]}`, ""),
		} {
			if a := ask("transaction", create, entry); a.status != 403 || !strings.Contains(string(a.body), "Bundle.entry[1]") {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if after := in.stored(); !maps.Equal(before, after) {
			t.Errorf("left rows: %v, was %v", after, before)
		}
		b := ask("batch", create, doing("DELETE", "Patient/P1", "", "", ""), doing("GET", "Patient/P1", "", "", ""), doing("GET", "Patient?_id=P1", "", "", ""),
			doing("PATCH", "Patient/P1", "", `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"delete"},{"name":"path","valueString":"Patient.birthDate"}]}]}`, "")).bundled(t)
		if got := b.statuses(); !slices.Equal(got, []string{"201", "403", "200", "403", "200"}) || b.Entry[1].Response.Outcome == nil || b.Entry[4].Response.Etag != `W/"2"` {
			t.Errorf("%+v", b)
		}
	})
}

// TestPrefer: a client says how much it wants to hear back.
func TestPrefer(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		prefer := func(p string) map[string]string { return map[string]string{"Prefer": p} }
		for p, has := range map[string]string{"": "Zqcanary-T", "return=representation": "Zqcanary-T", "respond-async, return=minimal": "", "return=OperationOutcome": "informational"} {
			a := in.as("hospital", "").ask(request{method: "POST", path: "Patient", body: []byte(aPatient), header: prefer(p)})
			if a.status != 201 || (has == "") != (len(a.body) == 0) || !strings.Contains(string(a.body), has) || a.header.Get("ETag") != `W/"1"` || !strings.HasPrefix(a.header.Get("Location"), in.gateway.base+"/Patient/") {
				t.Errorf("%q: %d %v %s", p, a.status, a.header, a.body)
			}
			a = in.as("hospital", "").ask(request{method: "POST", body: bundleOf("transaction", doing("POST", "Patient", "", aPatient, "")), header: prefer(p)})
			b := a.bundled(t)
			if (b.Entry[0].Resource != nil) != (p == "return=representation") || (b.Entry[0].Response.Outcome != nil) != (p == "return=OperationOutcome") {
				t.Errorf("transaction, %q: %s", p, a.body)
			}
		}
	})
}
