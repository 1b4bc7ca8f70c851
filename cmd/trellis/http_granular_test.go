package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"trellis/auth/access"
	"trellis/auth/oauth"
)

const (
	conditionCategory   = "http://terminology.hl7.org/CodeSystem/condition-category"
	observationCategory = "http://terminology.hl7.org/CodeSystem/observation-category"
)

// US Core's two groups of granular scopes, as its test kit asks for them.
var granularGroups = [][]string{
	{"Condition.rs?category=" + conditionCategory + "|encounter-diagnosis", "Condition.rs?category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
		"Observation.rs?category=" + observationCategory + "|laboratory", "Observation.rs?category=" + observationCategory + "|social-history"},
	{"Condition.rs?category=" + conditionCategory + "|problem-list-item", "Observation.rs?category=" + observationCategory + "|vital-signs",
		"Observation.rs?category=" + observationCategory + "|survey", "Observation.rs?category=http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh"},
}

// granularSearches are US Core's searches for the two types.
var granularSearches = []string{
	"Condition?patient=P2", "Condition?patient=Patient/P2&_count=1", "Condition?patient=P2&category=problem-list-item", "Condition?patient=P2&category=" + conditionCategory + "|encounter-diagnosis",
	"Condition?patient=P2&code=I10", "Condition?patient=P2&encounter=Encounter/EN-P2", "Condition?patient=P2&category=encounter-diagnosis&encounter=Encounter/EN-P2", "Condition?patient=P2&recorded-date=ge2026-01-01", "Condition?patient=P2&category:not=health-concern&_sort=-recorded-date",
	"Observation?patient=P2", "Observation?patient=P2&category=laboratory", "Observation?patient=P2&category=vital-signs&date=ge2026-01-01", "Observation?patient=P2&code=8480-6", "Observation?patient=P2&category=laboratory&status=final,amended",
	"Observation?patient=P2&category=laboratory,vital-signs&_sort=date&_count=1", "Observation?patient=P2&category:missing=true", "Observation?patient=P2&_lastUpdated=ge2020-01-01", "Observation?_sort=_id", "Condition?_sort=code",
}

// TestGranularScopes: every search replayed under granular scopes gives exactly what the same search gives without
// them, as far as a scope matches; a read of a match is 200, of any other the 404 of an unknown id, in every version.
func TestGranularScopes(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for i, category := range []string{"laboratory", "social-history", "vital-signs", "survey", "imaging", ""} {
			o := crossedObservation(fmt.Sprintf("OG%d", i), "P2", category, "")
			if category == "survey" { // two categories, of which one is in the other group
				o = strings.Replace(o, `"category":[`, `"category":[{"coding":[{"system":"`+observationCategory+`","code":"laboratory"}]},`, 1)
			}
			if category == "" {
				o = strings.Replace(o, `"code":""`, `"code":"unknown"`, 1)
			}
			in.put(recordOf("hospital", o))
			in.put(recordOf("hospital", strings.Replace(crossedObservation(fmt.Sprintf("OQ%d", i), "P1", category, ""), `"code":""`, `"code":"unknown"`, 1)))
		}
		in.put(recordOf("hospital", strings.Replace(crossedCondition("CG1", "P2", "J45", "health-concern"), conditionCategory, "http://hl7.org/fhir/us/core/CodeSystem/condition-category", 1)))
		in.put(recordOf("hospital", crossedCondition("CG2", "P2", "J45", "health-concern"))) // of another system
		for name, as := range map[string]func(scopes string) bearer{
			"the patient": func(scopes string) bearer { return in.self("P2", scopes) },
			"staff":       func(scopes string) bearer { return in.staff("hospital", "P2", scopes) },
		} {
			baseline := as("patient/*.rs")
			categories := categoriesOf(t, baseline)
			for _, group := range granularGroups {
				b := as("patient/" + strings.Join(group, " patient/"))
				inScope := func(ref string) bool {
					return slices.ContainsFunc(group, func(scope string) bool {
						typ, wanted, _ := strings.Cut(scope, ".rs?category=")
						return strings.HasPrefix(ref, typ+"/") && slices.Contains(categories[ref], wanted)
					})
				}
				some := 0
				for _, query := range granularSearches {
					want := slices.DeleteFunc(baseline.found(query), func(ref string) bool { return !inScope(ref) })
					got := b.found(query)
					if !slices.Equal(got, want) {
						t.Errorf("%s: %s: %v, want %v", name, query, got, want)
					}
					some += len(got)
					if a := b.get(query + "&_summary=count"); *a.bundle(t).Total != len(want) {
						t.Errorf("%s: %s counts %d, want %d", name, query, *a.bundle(t).Total, len(want))
					}
				}
				if some == 0 {
					t.Error("nothing was found")
				}
				matched := 0
				for ref := range categories {
					typ, _, _ := strings.Cut(ref, "/")
					for _, rest := range []string{"", "/_history/1", "/_history"} {
						a, unknown := b.get(ref+rest), b.get(typ+"/none"+rest)
						if inScope(ref) {
							matched++
						}
						if inScope(ref) != (a.status == 200) || !inScope(ref) && (a.status != 404 || !bytes.Equal(a.body, unknown.body)) {
							t.Errorf("%s: %s: %d, in scope %v", name, ref+rest, a.status, inScope(ref))
						}
					}
				}
				if matched == 0 {
					t.Error("nothing was read")
				}
				if a := b.get("Encounter/EN-P2"); a.status != 403 {
					t.Errorf("%s: another type: %d", name, a.status)
				}
			}
		}
	})
}

// categoriesOf lists the categories of P2's Conditions and Observations by what is read.
func categoriesOf(t *testing.T, b bearer) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, typ := range []string{"Condition", "Observation"} {
		for _, ref := range b.found(typ + "?patient=P2") {
			var r struct {
				Category []struct {
					Coding []struct{ System, Code string }
				}
			}
			if err := json.Unmarshal(b.get(ref).body, &r); err != nil {
				t.Fatal(err)
			}
			out[ref] = []string{}
			for _, c := range r.Category {
				for _, coding := range c.Coding {
					out[ref] = append(out[ref], coding.System+"|"+coding.Code)
				}
			}
		}
	}
	if len(out) < 10 {
		t.Fatalf("too few records: %v", out)
	}
	return out
}

// TestGranularScopesCombine: scopes add up, the constraints of one scope all have to hold, one that cannot be read opens
// nothing, and links, chains and histories go by the same.
func TestGranularScopesCombine(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		staff := func(scopes string) bearer { return in.staff("hospital", "P2", scopes) }
		for _, c := range []struct {
			scopes, query string
			want          []string // nil: 403
		}{
			{"patient/Condition.rs?category=problem-list-item&code=I10", "Condition?_sort=_id", []string{"Condition/CX-P2"}},
			{"patient/Condition.rs?category=problem-list-item&code=E11.9", "Condition?_sort=_id", []string{}},
			{"patient/Condition.rs?category=problem-list-item patient/Condition.rs?code=E11.9", "Condition?_sort=_id", []string{"Condition/CX-P2", "Condition/CY-P2"}},
			{"patient/Condition.rs?category=problem-list-item patient/Condition.rs", "Condition?_sort=_id", []string{"Condition/CX-P2", "Condition/CY-P2"}},
			{"user/Condition.rs?code=I10 patient/Condition.rs?code=E11.9", "Condition?_sort=_id&code=I10,E11.9&patient=P1,P2", []string{"Condition/C2", "Condition/CX-P1", "Condition/CX-P2", "Condition/CY-P2"}},
			{"patient/Condition.rs?code=I10,E11.9", "Condition?_sort=_id", []string{"Condition/CX-P2", "Condition/CY-P2"}},
			{"patient/*.rs?category=laboratory", "Observation?_sort=_id", []string{"Observation/OX-P2"}},
			{"patient/*.rs?category=laboratory", "Encounter", nil}, // has no category
			{"patient/*.rs?category=laboratory", "?_type=Observation,Condition,Encounter", []string{"Observation/OX-P2"}},
			{"patient/Condition.rs?nonsense=1", "Condition", nil},
			{"patient/Condition.rs?_filter=code%20eq%20I10", "Condition", nil},
			{"patient/Condition.rs?_content=zqcanary", "Condition", nil},
			{"patient/Condition.rs?_count=5", "Condition", nil},
			{"patient/Condition.rs?recorded-date=yesterday", "Condition", nil},
			{"patient/Condition.rs?_id=CX-P2", "Condition", []string{"Condition/CX-P2"}},
			{"patient/Condition.r?category=problem-list-item", "Condition", nil}, // no search
			{"patient/Patient.rs patient/Condition.rs?category=problem-list-item", "Patient?_revinclude=Condition:patient", []string{"Condition/CX-P2", "Patient/P2"}},
			{"patient/Patient.rs patient/Condition.s patient/Condition.r?category=problem-list-item", "Patient?_revinclude=Condition:patient", []string{"Condition/CX-P2", "Patient/P2"}},
			{"patient/Patient.rs patient/Condition.r patient/Condition.s?category=problem-list-item", "Patient?_revinclude=Condition:patient", []string{"Condition/CX-P2", "Patient/P2"}},
			{"patient/Patient.rs patient/Condition.rs?category=problem-list-item", "Patient?_has:Condition:patient:code=E11.9", []string{}},
			{"patient/Patient.rs patient/Condition.rs?category=problem-list-item", "Patient?_has:Condition:patient:code=I10", []string{"Patient/P2"}},
			{"patient/Observation.rs patient/Encounter.rs?_id=none", "Observation?encounter.participant=Practitioner/PRA", []string{}},
			{"patient/Observation.rs patient/Encounter.rs", "Observation?encounter.participant=Practitioner/PRA", []string{"Observation/OX-P2"}},
			{"patient/Observation.rs patient/Encounter.rs?_id=none", "Observation?_include=Observation:encounter&_id=OX-P2", []string{"Observation/OX-P2"}},
			{"patient/Condition.rs?category=problem-list-item", "Condition/_history", []string{"Condition/CX-P2"}},
			{"patient/Patient.rs patient/Condition.rs?category=problem-list-item", "Patient/P2/$everything", []string{"Condition/CX-P2", "Patient/P2"}},
			{"patient/Observation.rs?category=vital-signs", "Observation/$lastn?patient=P2", []string{"Observation/OY-P2"}},
		} {
			b := staff(c.scopes)
			if c.want == nil {
				if a := b.get(c.query); a.status != 403 {
					t.Errorf("%s: %s: %d %s, want 403", c.scopes, c.query, a.status, a.body)
				}
				continue
			}
			got := b.found(c.query)
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %s: %v, want %v", c.scopes, c.query, got, c.want)
			}
		}
		// A granular scope writes nothing, and conditions look at what it leaves.
		for _, scopes := range []string{"patient/Condition.cruds?category=problem-list-item", "user/Condition.cruds?category=problem-list-item"} {
			for _, r := range []request{{method: "PUT", path: "Condition/CX-P2"}, {method: "POST", path: "Condition"}, {method: "DELETE", path: "Condition/CX-P2"}} {
				r.body = []byte(crossedCondition("CX-P2", "P2", "I10", "problem-list-item"))
				if a := staff(scopes).ask(r); a.status != 403 {
					t.Errorf("%s: %s: %d", scopes, r.method, a.status)
				}
			}
		}
		body := strings.Replace(crossedCondition("", "P2", "E11.9", "encounter-diagnosis"), `"id":"",`, "", 1)
		if a := staff("patient/Condition.c patient/Condition.s?category=problem-list-item").send("POST", "Condition", body, "If-None-Exist", "_id=CY-P2"); a.status != 201 {
			t.Errorf("a condition sees what a granular scope leaves out: %d", a.status)
		}
		// An older version is shown only where the scope leaves the whole type: its index is gone.
		in.put(recordOf("hospital", crossedCondition("CX-P2", "P2", "J45", "problem-list-item")))
		for scopes, want := range map[string]int{"patient/Condition.rs": 200, "patient/Condition.rs?category=problem-list-item": 404} {
			if a := staff(scopes).get("Condition/CX-P2/_history/1"); a.status != want {
				t.Errorf("%s: an older version: %d, want %d", scopes, a.status, want)
			}
			if a := staff(scopes).get("Condition/CX-P2/_history/2"); a.status != 200 {
				t.Errorf("%s: the current version: %d", scopes, a.status)
			}
		}
		// For a client that acts for itself, the same.
		in.register(oauth.Client{ID: "backend", Organization: "hospital", Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT", Scopes: []string{"system/*.cruds"}}, false)
		system := bearer{in, in.token("backend", "TREAT", "system/Condition.rs?category=encounter-diagnosis"), "hospital"}
		if got := system.found("Condition?_sort=_id&_id=CX-P1,CY-P1,CX-P2,CY-P2"); !slices.Equal(got, []string{"Condition/CY-P1", "Condition/CY-P2"}) {
			t.Errorf("system/: %v", got)
		}
		if a := system.get("Condition/CX-P1"); a.status != 404 {
			t.Errorf("system/: %d", a.status)
		}
	})
}

// TestGranularScopesOfAMovedRecord: a record that leaves what a scope describes is no longer seen, and one that comes
// to it is, at once.
func TestGranularScopesOfAMovedRecord(t *testing.T) {
	in := crossed(t, location{data: t.TempDir()})
	b := in.staff("hospital", "P2", "patient/Condition.rs?category=problem-list-item")
	for _, c := range []struct {
		category string
		status   int
	}{{"problem-list-item", 200}, {"encounter-diagnosis", 404}, {"problem-list-item", 200}} {
		in.put(recordOf("hospital", crossedCondition("CX-P2", "P2", "I10", c.category)))
		if a := b.get("Condition/CX-P2"); a.status != c.status {
			t.Errorf("%s: %d, want %d", c.category, a.status, c.status)
		}
		if got := len(b.found("Condition?patient=P2")); got != map[int]int{200: 1, 404: 0}[c.status] {
			t.Errorf("%s: %d found", c.category, got)
		}
	}
	in.remove("Condition/CX-P2", "hospital")
	if a := b.get("Condition/CX-P2"); a.status != 404 {
		t.Errorf("deleted: %d", a.status)
	}
}

// TestFHIRUserIsReadable: openid and fhirUser let the one resource be read that stands for the user, and nothing else.
func TestFHIRUserIsReadable(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		proxy := oauth.Context{User: "x", FHIRUser: "RelatedPerson/RP-P3", Capacity: string(access.Proxy), Patient: "P3"}
		for _, c := range []struct {
			name   string
			b      bearer
			path   string
			status int
		}{
			{"staff", in.staff("hospital", "P2", "openid fhirUser patient/Observation.rs"), "Practitioner/PRA", 200},
			{"staff, another", in.staff("hospital", "P2", "openid fhirUser patient/Observation.rs"), "Practitioner/PRB", 403},
			{"staff, unknown", in.staff("hospital", "P2", "openid fhirUser patient/Observation.rs"), "Practitioner/none", 403},
			{"staff, user/", in.staff("hospital", "", "openid fhirUser user/Observation.rs"), "Practitioner/PRA", 200},
			{"staff, no scope for records", in.staff("hospital", "", "openid fhirUser"), "Practitioner/PRA", 200},
			{"staff, search", in.staff("hospital", "P2", "openid fhirUser patient/Observation.rs"), "Practitioner?_id=PRA", 403},
			{"staff, history", in.staff("hospital", "P2", "openid fhirUser patient/Observation.rs"), "Practitioner/PRA/_history", 403},
			{"staff, without fhirUser", in.staff("hospital", "P2", "openid patient/Observation.rs"), "Practitioner/PRA", 403},
			{"staff, without openid", in.staff("hospital", "P2", "fhirUser patient/Observation.rs"), "Practitioner/PRA", 403},
			{"staff, granular", in.staff("hospital", "P2", "openid fhirUser patient/Practitioner.rs?_id=PRB"), "Practitioner/PRA", 200},
			{"a patient", in.self("P2", "openid fhirUser patient/Observation.rs"), "Patient/P2", 403},
			{"a patient, no scope for records", in.self("P2", "openid fhirUser"), "Patient/P2", 403},
			{"a patient who let Patient be read", in.self("P2", "openid fhirUser patient/Patient.r"), "Patient/P2", 200},
			{"a patient, a granular scope that leaves the own out", in.self("P2", "openid fhirUser patient/Patient.r?_id=P1"), "Patient/P2", 404},
			{"a patient, a granular scope", in.self("P2", "openid fhirUser patient/Patient.r?_id=P2"), "Patient/P2", 200},
			{"a patient, another", in.self("P2", "openid fhirUser patient/Observation.rs"), "Patient/P1", 403},
			{"a proxy", in.person(proxy, "FAMRQT", "openid fhirUser patient/Observation.rs"), "RelatedPerson/RP-P3", 200},
			{"a proxy, the patient", in.person(proxy, "FAMRQT", "openid fhirUser patient/Observation.rs"), "Patient/P3", 403},
		} {
			if a := c.b.get(c.path); a.status != c.status {
				t.Errorf("%s: %s: %d %s, want %d", c.name, c.path, a.status, a.body, c.status)
			}
		}
		// It opens what the decision lets the user have, no more.
		foreign := proxy
		foreign.FHIRUser = "RelatedPerson/RP-P1"
		if a := in.person(foreign, "FAMRQT", "openid fhirUser").get("RelatedPerson/RP-P1"); a.status != 404 {
			t.Errorf("another's RelatedPerson: %d", a.status)
		}
	})
}

// TestStaffAskAsTheirOrganisation: what consent lets an organisation have, its staff may have, with the statement; and
// an app's purposes count for the staff of every organisation.
func TestStaffAskAsTheirOrganisation(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.registerApp("app", "TREAT", "TREATDS")
		in.load("K1")
		for _, purpose := range []string{"TREAT", "TREATDS"} {
			who := oauth.Context{User: "s", Capacity: string(access.Staff), Organization: "hospital", Patient: "P1"}
			b := bearer{in, in.userToken("app", who, purpose, "patient/*.rs"), "hospital"}
			want := in.as("hospital", "TREAT").get("Condition/C1")
			if a := b.get("Condition/C1"); a.status != want.status || a.status != 200 {
				t.Errorf("%s: %d, the organisation itself %d", purpose, a.status, want.status)
			}
			if a := b.get("Condition?patient=P1"); !bytes.Contains(a.body, []byte("Condition/C1")) {
				t.Errorf("%s: %s", purpose, a.body)
			}
		}
		for _, organization := range []string{"rco", "none"} {
			who := oauth.Context{User: "s", Capacity: string(access.Staff), Organization: organization, Patient: "P1"}
			if a := (bearer{in, in.userToken("app", who, "TREAT", "patient/*.rs user/*.rs"), organization}).get("Condition/C1"); a.status != 404 {
				t.Errorf("staff of %q: %d", organization, a.status)
			}
		}
	})
}

// TestCORSOnlyRegisteredOrigins: discovery answers any page; records and tokens only pages of registered clients'
// origins, byte for byte, and none with credentials.
func TestCORSOnlyRegisteredOrigins(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load()
	in.register(oauth.Client{ID: "spa", Purposes: []string{"PATRQT"}, Scopes: []string{"patient/*.rs"}, RedirectURIs: []string{"https://app.example/cb?x=1", "http://127.0.0.1:7000/cb", "https://Other.example:443/cb", "com.example.app:/cb"}, LaunchURL: "https://launch.example:8443/start"}, false)
	in.register(oauth.Client{ID: "gone", Disabled: true, Purposes: []string{"PATRQT"}, Scopes: []string{"patient/*.rs"}, RedirectURIs: []string{"https://gone.example/cb"}}, false)
	root := strings.TrimSuffix(in.gateway.base, "/fhir")
	discovery := []string{"metadata", ".well-known/smart-configuration", root + "/.well-known/openid-configuration", root + "/oauth/jwks.json"}
	protected := []request{{method: "GET", path: "Condition/C2"}, {method: "GET", path: "Condition?patient=P1"}, {method: "OPTIONS", path: "Condition/C2"}, {method: "OPTIONS", path: "Condition"},
		{method: "POST", path: root + "/oauth/token", contentType: "application/x-www-form-urlencoded", body: []byte("grant_type=none")}, {method: "OPTIONS", path: root + "/oauth/token"}, {method: "GET", path: root + "/oauth/userinfo"}, {method: "OPTIONS", path: root + "/oauth/revoke"}, {method: "GET", path: "NoSuchType/1"}}
	for origin, known := range map[string]bool{
		"https://app.example": true, "http://127.0.0.1:7000": true, "https://other.example": true, "https://launch.example:8443": true,
		"http://app.example": false, "https://app.example:444": false, "https://app.example.evil": false, "https://APP.example": false, "https://evil.example": false, "null": false,
		"https://launch.example": false, "https://gone.example": false, "https://app.example/cb": false, "com.example.app://": false, "*": false, "": false,
	} {
		for _, path := range discovery {
			a := in.send(request{method: "GET", path: path, header: map[string]string{"Origin": origin}})
			if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %d %v", path, origin, a.status, a.header)
			}
		}
		for _, r := range protected {
			r.header = map[string]string{"Origin": origin, "Access-Control-Request-Method": "GET"}
			a := in.send(r)
			want := ""
			if known {
				want = origin
			}
			vary := strings.Join(a.header.Values("Vary"), ",")
			if a.header.Get("Access-Control-Allow-Origin") != want || a.header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(vary, "Origin") {
				t.Errorf("%s %s from %q: %d %v", r.method, r.path, origin, a.status, a.header)
			}
			if r.method == http.MethodOptions && (a.status != 204 || known != (a.header.Get("Access-Control-Allow-Methods") != "")) {
				t.Errorf("preflight of %s from %q: %d %v", r.path, origin, a.status, a.header)
			}
		}
	}
	if a := in.send(request{method: "GET", path: "Condition/C2"}); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without Origin: %v", a.header)
	}
}
