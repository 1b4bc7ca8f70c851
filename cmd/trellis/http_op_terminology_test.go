package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"trellis/auth/oauth"
	"trellis/gateway/audit"
	"trellis/gateway/telemetry"
)

// terms writes a small code system of diagnoses, value sets over it and a map.
func (in *installation) terms() {
	in.keep("hospital", `{"resourceType":"CodeSystem","id":"icd","url":"http://hl7.org/fhir/sid/icd-10-cm","version":"2026","name":"Some","status":"active","content":"complete","concept":[
		{"code":"I10-I16","display":"Hypertensive diseases","concept":[{"code":"I10","display":"Essential hypertension","designation":[{"language":"de","value":"Hypertonie"}]},{"code":"I11","display":"Hypertensive heart disease","property":[{"code":"inactive","valueBoolean":true}]}]},
		{"code":"F11","display":"Opioid related disorders","concept":[{"code":"F11.20","display":"Opioid dependence"}]}]}`)
	in.keep("hospital", `{"resourceType":"ValueSet","id":"pressure","url":"urn:vs:pressure","status":"active","compose":{"include":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","filter":[{"property":"concept","op":"is-a","value":"I10-I16"}]}]}}`)
	in.keep("hospital", `{"resourceType":"ValueSet","id":"pattern","url":"urn:vs:pattern","status":"active","compose":{"include":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","filter":[{"property":"code","op":"regex","value":"I.*"}]}]}}`)
	in.keep("hospital", `{"resourceType":"ValueSet","id":"none","url":"urn:vs:none","status":"active","compose":{"include":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","filter":[{"property":"code","op":"=","value":"Z99"}]}]}}`)
	in.keep("hospital", `{"resourceType":"ConceptMap","id":"plain","url":"urn:map:plain","status":"active","group":[{"source":"http://hl7.org/fhir/sid/icd-10-cm","target":"urn:plain","element":[{"code":"I10","target":[{"code":"high-pressure","equivalence":"equivalent"}]}]}]}`)
}

// parameters reads a Parameters answer as name=value, parts joined.
func (a reply) parameters(t testing.TB) string {
	t.Helper()
	type parameter map[string]json.RawMessage
	var doc struct {
		ResourceType string
		Parameter    []parameter
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.ResourceType != "Parameters" {
		return fmt.Sprintf("%d %v", a.status, a.issueCodes())
	}
	var show func(list []parameter) string
	show = func(list []parameter) string {
		var out []string
		for _, p := range list {
			value := ""
			for name, raw := range p {
				switch {
				case name == "part":
					var parts []parameter
					if err := json.Unmarshal(raw, &parts); err != nil {
						t.Fatal(err)
					}
					value = "(" + show(parts) + ")"
				case name != "name":
					value = strings.Trim(string(raw), `"`)
				}
			}
			out = append(out, strings.Trim(string(p["name"]), `"`)+"="+value)
		}
		return strings.Join(out, " ")
	}
	return show(doc.Parameter)
}

func (a reply) issueCodes() []string {
	var doc struct{ Issue []struct{ Code string } }
	if json.Unmarshal(a.body, &doc) != nil {
		return nil
	}
	var out []string
	for _, i := range doc.Issue {
		out = append(out, i.Code)
	}
	return out
}

func TestTerminologyOperations(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.terms()
		v := in.as("hospital", "TREAT")
		icd := "system=" + url.QueryEscape("http://hl7.org/fhir/sid/icd-10-cm")
		for path, want := range map[string]string{
			"CodeSystem/$lookup?code=I10&" + icd:                                                               "name=Some version=2026 display=Essential hypertension designation=(language=de value=Hypertonie) property=(code=parent value=I10-I16)",
			"CodeSystem/$lookup?code=I10&property=display&" + icd:                                              "name=Some version=2026 display=Essential hypertension",
			"CodeSystem/$lookup?code=male&system=http://hl7.org/fhir/administrative-gender":                    "name=http://hl7.org/fhir/administrative-gender version=4.0.1 display=male",
			"CodeSystem/$lookup?code=home&system=https://trellis.example/fhir/CodeSystem/samhsa-dimension":     "name=https://trellis.example/fhir/CodeSystem/samhsa-dimension display=Home",
			"CodeSystem/$lookup?code=mood&system=https://trellis.example/fhir/CodeSystem/observation-measures": "name=https://trellis.example/fhir/CodeSystem/observation-measures display=Self-reported mood",
			"CodeSystem/$lookup?code=8867-4&system=http://loinc.org":                                           "404 [not-found]",
			"CodeSystem/$lookup?code=I99&" + icd:                                                               "404 [not-found]",
			"CodeSystem/$lookup?code=I10":                                                                      "400 [required]",
			"CodeSystem/$lookup?" + icd:                                                                        "400 [required]",
			"CodeSystem/$lookup?code=I10&nonsense=1&" + icd:                                                    "400 [not-supported]",
			"ValueSet/$lookup?code=I10&" + icd:                                                                 "404 [not-supported]",
			"CodeSystem/$validate-code?code=I10&url=http://hl7.org/fhir/sid/icd-10-cm":                         "result=true display=Essential hypertension",
			"CodeSystem/$validate-code?code=I10&display=hypertonie&url=http://hl7.org/fhir/sid/icd-10-cm":      "result=true display=Essential hypertension",
			"CodeSystem/$validate-code?code=I10&display=Flu&url=http://hl7.org/fhir/sid/icd-10-cm":             "result=false message=the display is not one of the code display=Essential hypertension",
			"CodeSystem/icd/$validate-code?code=I99":                                                           "result=false message=the code is not in the code system",
			"CodeSystem/nobody/$validate-code?code=I99":                                                        "404 [not-found]",
			"ValueSet/$validate-code?code=I11&url=urn:vs:pressure&" + icd:                                      "result=true display=Hypertensive heart disease",
			"ValueSet/pressure/$validate-code?code=F11&" + icd:                                                 "result=false message=the code is not in the value set",
			"ValueSet/$validate-code?code=male&system=http://hl7.org/fhir/administrative-gender&url=http://hl7.org/fhir/ValueSet/administrative-gender": "result=true",
			"ValueSet/$validate-code?code=I10&url=urn:vs:nobody&" + icd:                                                                                 "404 [not-found]",
			"ValueSet/$validate-code?code=I10&url=urn:vs:pattern&" + icd:                                                                                "422 [not-supported]",
			"CodeSystem/$subsumes?codeA=I10-I16&codeB=I10&" + icd:                                                                                       "outcome=subsumes",
			"CodeSystem/icd/$subsumes?codeA=F11.20&codeB=F11":                                                                                           "outcome=subsumed-by",
			"CodeSystem/$subsumes?codeA=F11.20&codeB=I10&" + icd:                                                                                        "outcome=not-subsumed",
			"CodeSystem/$subsumes?codeA=F11.20&codeB=Q1&" + icd:                                                                                         "404 [not-found]",
			"ConceptMap/$translate?code=I10&url=urn:map:plain&" + icd:                                                                                   `result=true match=(equivalence=equivalent concept={"system":"urn:plain","code":"high-pressure"} source=urn:map:plain)`,
			"ConceptMap/plain/$translate?code=high-pressure&system=urn:plain&reverse=true":                                                              `result=true match=(equivalence=equivalent concept={"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"} source=urn:map:plain)`,
			"ConceptMap/plain/$translate?code=F11&" + icd:                                                                                               "result=false message=the maps have no translation of the code",
			"ConceptMap/$translate?code=I10&url=urn:map:nobody&" + icd:                                                                                  "404 [not-found]",
		} {
			a := v.get(path)
			if got := a.parameters(t); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
			if a.status == 200 {
				if _, err := in.gateway.parser.Parse(a.body); err != nil {
					t.Errorf("%s: not valid R4: %v", path, err)
				}
			}
		}
		for path, body := range map[string]string{
			"CodeSystem/$lookup":        `{"name":"coding","valueCoding":{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}}`,
			"CodeSystem/$validate-code": `{"name":"coding","valueCoding":{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}}`,
			"ValueSet/$validate-code":   `{"name":"valueSet","resource":{"resourceType":"ValueSet","status":"active","compose":{"include":[{"valueSet":["urn:vs:pressure"]}]}}},{"name":"codeableConcept","valueCodeableConcept":{"coding":[{"system":"urn:x","code":"y"},{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}]}}`,
			"CodeSystem/$subsumes":      `{"name":"codingA","valueCoding":{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}},{"name":"codingB","valueCoding":{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}}`,
			"ConceptMap/$translate":     `{"name":"url","valueUri":"urn:map:plain"},{"name":"coding","valueCoding":{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}}`,
		} {
			a := v.ask(request{method: "POST", path: path, body: []byte(`{"resourceType":"Parameters","parameter":[` + body + `]}`)})
			if got := a.parameters(t); a.status != 200 || strings.Contains(got, "result=false") {
				t.Errorf("POST %s: %s", path, got)
			}
		}
		if a := in.send(request{method: "GET", path: "CodeSystem/$lookup?code=I10&" + icd, header: in.narrowed("nothing", "hospital", "system/Patient.r")}); a.status != 403 {
			t.Errorf("without scope: %d", a.status)
		}
	})
}

// expansion lists an expanded value set's codes.
func (a reply) expansion(t testing.TB) string {
	t.Helper()
	var doc struct {
		ResourceType string
		Expansion    struct {
			Total    int
			Contains []struct{ Code string }
		}
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.ResourceType != "ValueSet" {
		return fmt.Sprintf("%d %v", a.status, a.issueCodes())
	}
	out := fmt.Sprint(doc.Expansion.Total, ":")
	for _, c := range doc.Expansion.Contains {
		out += " " + c.Code
	}
	return out
}

func TestExpandValueSet(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.terms()
		v := in.as("rco", "COC") // another organisation's definitions are everybody's
		for path, want := range map[string]string{
			"ValueSet/$expand?url=urn:vs:pressure":                               "3: I10-I16 I10 I11",
			"ValueSet/pressure/$expand?activeOnly=true":                          "2: I10-I16 I10",
			"ValueSet/pressure/$expand?filter=heart+hyp":                         "1: I11",
			"ValueSet/pressure/$expand?filter=i10":                               "2: I10-I16 I10",
			"ValueSet/pressure/$expand?offset=1&count=1":                         "3: I10",
			"ValueSet/pressure/$expand?count=0":                                  "3:",
			"ValueSet/pressure/$expand?offset=9":                                 "3:",
			"ValueSet/none/$expand":                                              "0:",
			"ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/narrative-status": "4: generated extensions additional empty",
			"ValueSet/$expand?url=urn:vs:nobody":                                 "404 [not-found]",
			"ValueSet/pattern/$expand":                                           "422 [not-supported]",
			"ValueSet/$expand":                                                   "400 [required]",
			"ValueSet/pressure/$expand?count=-1":                                 "400 [invalid]",
			"ValueSet/pressure/$expand?date=2026":                                "400 [not-supported]",
		} {
			a := v.get(path)
			if got := a.expansion(t); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
			if a.status == 200 {
				if _, err := in.gateway.parser.Parse(a.body); err != nil {
					t.Errorf("%s: not valid R4: %v", path, err)
				}
			}
		}
		if a := v.get("ValueSet/pressure/$expand?includeDesignations=true"); !strings.Contains(string(a.body), "Hypertonie") {
			t.Errorf("%s", a.body)
		}
		posted := v.ask(request{method: "POST", path: "ValueSet/$expand", body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"valueSet","resource":{"resourceType":"ValueSet","status":"active","compose":{"include":[{"valueSet":["urn:vs:pressure"]}],"exclude":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","concept":[{"code":"I10"}]}]}}}]}`)})
		if got := posted.expansion(t); got != "2: I10-I16 I11" {
			t.Errorf("posted: %s", got)
		}
	})
}

// TestTokenModifiers: :in, :not-in, :above and :below ask the value sets and systems there are, and what they find is
// the caller's view. A change of a definition shows in the next search, on another replica too.
func TestTokenModifiers(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		v := in.as("otp", "TREAT")
		search := func(criterion string) string {
			a := v.get("Condition?patient=P1&" + criterion)
			if a.status != 200 {
				return fmt.Sprint(a.status)
			}
			return fmt.Sprint(a.bundle(t).references())
		}
		if got := search("code:in=urn:vs:pressure"); got != "400" {
			t.Errorf("an unknown value set: %s", got)
		}
		in.terms()
		for criterion, want := range map[string]string{
			"code:in=urn:vs:pressure":                          "[Condition/C2]",
			"code:not-in=urn:vs:pressure":                      "[Condition/C1 Condition/X1]",
			"code:in=urn:vs:none":                              "[]",
			"code:not-in=urn:vs:none":                          "[Condition/C1 Condition/C2 Condition/X1]",
			"code:below=http://hl7.org/fhir/sid/icd-10-cm|F11": "[Condition/C1]",
			"code:below=http://hl7.org/fhir/sid/icd-10-cm|F11,http://hl7.org/fhir/sid/icd-10-cm|I10": "[Condition/C1 Condition/C2]",
			"code:above=http://hl7.org/fhir/sid/icd-10-cm|F11.20":                                    "[Condition/C1]",
			"code:below=http://loinc.org|8867-4":                                                     "400",
			"code:in=urn:vs:pattern":                                                                 "400",
		} {
			if got := search(criterion); got != want {
				t.Errorf("%s: %s, want %s", criterion, got, want)
			}
		}
		if got := in.as("hospital", "TREAT").get("Condition?patient=P1&code:below=http://hl7.org/fhir/sid/icd-10-cm|F11").bundle(t).references(); len(got) != 0 {
			t.Errorf("a hierarchy finds what is hidden: %v", got)
		}
		other := in.replica(t)
		if got := other.as("otp", "TREAT").get("Condition?patient=P1&code:in=urn:vs:pressure").bundle(t).references(); fmt.Sprint(got) != "[Condition/C2]" {
			t.Errorf("a replica: %v", got)
		}
		in.keep("hospital", `{"resourceType":"ValueSet","id":"pressure","url":"urn:vs:pressure","status":"active","compose":{"include":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","concept":[{"code":"F11.20"}]}]}}`)
		for name, i := range map[string]*installation{"here": in, "on a replica": other} {
			if got := i.as("otp", "TREAT").get("Condition?patient=P1&code:in=urn:vs:pressure").bundle(t).references(); fmt.Sprint(got) != "[Condition/C1]" {
				t.Errorf("after a change, %s: %v", name, got)
			}
		}
		if a := in.remove("ValueSet/pressure", "hospital"); a.status != 204 {
			t.Fatal(a.status)
		}
		for name, i := range map[string]*installation{"here": in, "on a replica": other} {
			if a := i.as("otp", "TREAT").get("Condition?patient=P1&code:in=urn:vs:pressure"); a.status != 400 {
				t.Errorf("after it is gone, %s: %d", name, a.status)
			}
		}
	})
}

// replica is a second gateway on the same database, under the same name.
func (in *installation) replica(t *testing.T) *installation {
	t.Helper()
	other := *in
	other.server = httptest.NewUnstartedServer(nil)
	address := other.server.Listener.Addr().String()
	other.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}}}
	other.sources, other.decoded = map[string]*oauth.TokenSource{}, map[string][]audit.Event{}
	var err error
	other.gateway, err = assemble(t.Context(), deployment{location: in.where, logger: telemetry.NewLogger(in.log), clock: in.clock.now,
		config: config{PublicURL: strings.TrimSuffix(in.gateway.base, "/fhir"), AllowPrivate: true, Posture: demoPosture(), Organizations: fixtureOrganizations(t)}})
	if err != nil {
		t.Fatal(err)
	}
	other.server.Config.Handler = other.gateway.handler
	other.server.Start()
	t.Cleanup(func() {
		other.server.Close()
		other.http.CloseIdleConnections()
		if err := other.gateway.close(); err != nil {
			t.Error(err)
		}
	})
	return &other
}
