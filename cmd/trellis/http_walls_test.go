package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
)

// confined are the tokens that are confined to P2's record: the patient's own, in three forms, and one of a member of
// the staff of the organisation that holds all of the records.
func confined(in *installation) map[string]bearer {
	return map[string]bearer{
		"the patient, patient/":      in.self("P2", "launch/patient patient/*.cruds"),
		"the patient, user/":         in.self("P2", "user/*.cruds"),
		"the patient, patient/ v1":   in.self("P2", "patient/*.read"),
		"a representative, patient/": in.person(oauth.Context{User: "r", Capacity: string(access.Representative), Patient: "P2"}, "PATRQT", "patient/*.rs"),
		"staff, patient/":            in.staff("hospital", "P2", "patient/*.cruds"),
	}
}

// ofOthers are records of P1 and P3, and one of P1 and P2 together: none is P2's alone.
var ofOthers = []string{"Patient/P1", "Patient/P3", "Observation/O1", "Observation/O2", "Observation/OX-P1", "Condition/CX-P1", "Condition/CY-P1", "Condition/C1", "Condition/CX-P3",
	"Encounter/EN-P1", "RelatedPerson/RP-P1", "Device/DEV-P1", "Coverage/CV1", "MedicationRequest/M2", "CarePlan/CP1", "Communication/COM", "Binary/BIN", "Condition/CZ-P3"}

var ofP2 = []string{"Patient/P2", "Observation/OX-P2", "Observation/OY-P2", "Condition/CX-P2", "Condition/CY-P2", "Encounter/EN-P2", "RelatedPerson/RP-P2"}

// mentions reports which of others stand in a body as resources or links.
func mentions(body []byte, references []string) []string {
	var out []string
	for _, ref := range references {
		_, id, _ := strings.Cut(ref, "/")
		if bytes.Contains(body, []byte(`"id":"`+id+`"`)) || bytes.Contains(body, []byte("/"+ref+`"`)) {
			out = append(out, ref)
		}
	}
	return out
}

// TestPatientEscapeByReadVreadHistory: by no id, version or history does a confined token reach another's record, and
// the answer is that of an id that was never given.
func TestPatientEscapeByReadVreadHistory(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range confined(in) {
			for _, ref := range ofP2 {
				for _, path := range []string{ref, ref + "/_history/1", ref + "/_history"} {
					if a := b.get(path); a.status != 200 {
						t.Errorf("%s: %s: %d %s", name, path, a.status, a.body)
					}
				}
			}
			for _, ref := range ofOthers {
				typ, _, _ := strings.Cut(ref, "/")
				for _, rest := range []string{"", "/_history/1", "/_history", "/$meta"} {
					a, unknown := b.get(ref+rest), b.get(typ+"/none"+rest)
					if a.status != 404 || !bytes.Equal(a.body, unknown.body) || !sameHeaders(a.header, unknown.header) {
						t.Errorf("%s: %s: %d %s, an unknown id: %d %s", name, ref+rest, a.status, a.body, unknown.status, unknown.body)
					}
				}
			}
			if a := b.get("Patient/P1/$everything"); a.status != 404 {
				t.Errorf("%s: P1's everything: %d", name, a.status)
			}
		}
	})
}

// TestPatientEscapeByInclude: what links lead to is the confined record's or nobody's, in both directions and over any
// number of steps.
func TestPatientEscapeByInclude(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range confined(in) {
			for _, query := range []string{
				"Observation?_include=Observation:focus", "Observation?_include=*", "Observation?_include:iterate=Observation:focus&_include:iterate=Observation:has-member&_revinclude:iterate=Observation:focus",
				"Observation?_include=Observation:has-member", "Patient?_revinclude=Observation:focus", "Patient?_revinclude=Observation:subject&_revinclude:iterate=Observation:derived-from",
				"Condition?_revinclude=Observation:focus&_include=Condition:subject", "Practitioner?_revinclude=Encounter:participant", "Encounter?_include=Encounter:participant&_revinclude=Condition:encounter&_count=1",
				"Patient?_revinclude=Communication:recipient&_revinclude=Communication:subject",
			} {
				for page := query; page != ""; {
					a := b.get(page)
					if a.status != 200 {
						t.Fatalf("%s: %s: %d %s", name, page, a.status, a.body)
					}
					if got := mentions(a.body, slices.DeleteFunc(slices.Clone(ofOthers), func(ref string) bool { return ref == "Patient/P1" })); len(got) > 0 {
						t.Errorf("%s: %s gives or names %v", name, query, got)
					}
					if refs := a.bundle(t).references(); slices.Contains(refs, "Patient/P1") {
						t.Errorf("%s: %s gives P1", name, query)
					}
					page = a.bundle(t).next()
				}
			}
			got := b.found("Observation?_include=Observation:performer&_include=Observation:encounter")
			slices.Sort(got)
			if want := []string{"Encounter/EN-P2", "Observation/OX-P2", "Observation/OY-P2", "Practitioner/PRA"}; !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	})
}

// TestCase31FocusIsNoMembership: that P2's record speaks of P1 makes P1's no part of it, and P1's that speaks of P2
// does not become P2's.
func TestCase31FocusIsNoMembership(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range confined(in) {
			if got := b.found("Observation?_include=Observation:focus"); !slices.Equal(got, []string{"Observation/OX-P2", "Observation/OY-P2"}) {
				t.Errorf("%s: %v", name, got)
			}
			if got := b.found("Observation?focus=Patient/P2"); len(got) != 0 {
				t.Errorf("%s: %v", name, got)
			}
			if got := b.found("Patient/P2/Observation"); !slices.Equal(got, []string{"Observation/OX-P2", "Observation/OY-P2"}) {
				t.Errorf("%s: %v", name, got)
			}
		}
		whole := bearer{in, in.token("hospital", "TREAT", anyScope), "hospital"}
		if got := whole.found("Observation?focus=Patient/P2"); !slices.Equal(got, []string{"Observation/OX-P1"}) {
			t.Errorf("the organisation itself: %v", got)
		}
	})
}

// TestPatientEscapeByChainHasFilterSort: criteria that go through others' records find what they would if there were
// none.
func TestPatientEscapeByChainHasFilterSort(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range confined(in) {
			for query, want := range map[string][]string{
				"Patient?_has:Observation:focus:code=8480-6":                         {},
				"Patient?_has:Condition:patient:code=I10":                            {"Patient/P2"},
				"Patient?_has:Communication:recipient:status=completed":              {},
				"Observation?focus:Condition.code=I10":                               {},
				"Observation?focus:Observation.code=85354-9":                         {},
				"Observation?has-member.code=85354-9":                                {},
				"Observation?subject:Patient.name=zqcanary&_sort=-date":              {"Observation/OX-P2", "Observation/OY-P2"},
				"Condition?patient=P1":                                               {},
				"Condition?patient=P1,P2&_sort=code":                                 {"Condition/CX-P2", "Condition/CY-P2"},
				"Condition?_id=CX-P1,C1,CX-P2":                                       {"Condition/CX-P2"},
				"Condition?_filter=code%20eq%20I10%20or%20patient%20re%20Patient/P1": {"Condition/CX-P2"},
				"Condition?_content=zqcanary&patient=P1":                             {},
				"Encounter?participant=Practitioner/PRA&_sort=-_lastUpdated":         {"Encounter/EN-P2"},
				"Practitioner?_has:Encounter:participant:subject=Patient/P1":         {},
				"Practitioner?_has:Encounter:participant:subject=Patient/P2":         {"Practitioner/PRA"},
				"Device?patient=P1":                                                  {},
				"Observation?focus=Condition/C1":                                     {},
				"Patient?identifier:missing=true&_sort=birthdate":                    {"Patient/P2"},
			} {
				if a := b.get(query + "&_total=accurate&_count=1"); a.status != 200 || a.bundle(t).Total == nil || *a.bundle(t).Total != len(want) {
					t.Errorf("%s: %s: %d %s, want %v", name, query, a.status, a.body, want)
				}
				got := b.found(query)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s: %s: %v, want %v", name, query, got, want)
				}
			}
		}
	})
}

// TestPatientEscapeByEverythingBatchConditionalCounts: the same through operations, batches and counts; and a page
// link works with no token but one for the same.
func TestPatientEscapeByEverythingBatchConditionalCounts(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range confined(in) {
			got := b.found("Patient/P2/$everything?_count=3")
			for _, ref := range got {
				if slices.Contains(ofOthers, ref) {
					t.Errorf("%s: everything of P2 has %s", name, ref)
				}
			}
			for _, ref := range ofP2 {
				if !slices.Contains(got, ref) {
					t.Errorf("%s: everything of P2 lacks %s: %v", name, ref, got)
				}
			}
			batch := `{"resourceType":"Bundle","type":"batch","entry":[`
			paths := []string{"Patient/P2", "Patient/P1", "Condition?patient=P1", "Condition?_summary=count", "Patient/P1/$everything", "_history", "Observation/OX-P1/_history/1"}
			for i, path := range paths {
				batch += []string{"", ","}[min(i, 1)] + fmt.Sprintf(`{"request":{"method":"GET","url":%q}}`, path)
			}
			a := b.send("POST", "", batch+"]}")
			if a.status != 200 || len(mentions(a.body, ofOthers)) > 0 && name != "the patient, user/" {
				t.Errorf("%s: batch: %d %v %s", name, a.status, mentions(a.body, ofOthers), a.body)
			}
			var set fhirBundle
			if err := json.Unmarshal(a.body, &set); err != nil || len(set.Entry) != len(paths) {
				t.Fatal(err, string(a.body))
			}
			for i, want := range []string{"200", "404", "200", "200", "404", "200", "404"} {
				if !strings.HasPrefix(set.Entry[i].Response.Status, want) {
					t.Errorf("%s: batch %s: %s, want %s", name, paths[i], set.Entry[i].Response.Status, want)
				}
			}
			if a := b.get("Condition?_summary=count"); a.bundle(t).Total == nil || *a.bundle(t).Total != 2 {
				t.Errorf("%s: %s", name, a.body)
			}
			for _, path := range []string{"_history", "Condition/_history", "Patient/_history"} {
				for _, ref := range b.found(path + "?_count=2") {
					if slices.Contains(ofOthers, ref) {
						t.Errorf("%s: %s has %s", name, path, ref)
					}
				}
			}
			if a := b.get("Observation/$lastn?patient=P1"); a.status != 200 || len(a.bundle(t).references()) > 0 {
				t.Errorf("%s: lastn: %d %s", name, a.status, a.body)
			}
		}
		staff := in.staff("hospital", "P2", "patient/*.cruds")
		next := staff.get("Condition?_count=1").bundle(t).next()
		for name, other := range map[string]bearer{
			"launched for another": in.staff("hospital", "P1", "patient/*.cruds"), "with other scopes": in.staff("hospital", "P2", "patient/Condition.rs"),
			"the patient": in.self("P2", "patient/*.cruds"), "without launch": in.staff("hospital", "", "user/*.cruds"), "the organisation": {in, in.token("hospital", "TREAT", anyScope), "hospital"},
		} {
			if a := other.get(next); a.status != 400 {
				t.Errorf("%s: the page link works: %d %s", name, a.status, a.body)
			}
		}
		if a := in.staff("hospital", "P2", "patient/*.cruds").get(next); a.status != 200 || !slices.Equal(a.bundle(t).references(), []string{"Condition/CY-P2"}) {
			t.Errorf("a token for the same: %d %s", a.status, a.body)
		}
	})
}

// TestWriteEscape: a write with patient/ scopes begins and ends in the compartment; what lies outside is as if it were
// not there, and a record cannot be moved out, in, or to two patients. Patients and proxies write nothing.
func TestWriteEscape(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		staff := in.staff("hospital", "P2", "patient/*.cruds")
		both := `{"resourceType":"Communication","status":"completed","subject":{"reference":"Patient/P2"},"recipient":[{"reference":"Patient/P1"}]}`
		for _, c := range []struct {
			what, method, path, body string
			status                   int
			header                   []string
		}{
			{"create in it", "POST", "Condition", crossedCondition("", "P2", "J45", "problem-list-item"), 201, nil},
			{"create in another", "POST", "Condition", crossedCondition("", "P1", "J45", "problem-list-item"), 403, nil},
			{"create about two", "POST", "Communication", both, 403, nil},
			{"create about nobody", "POST", "Medication", `{"resourceType":"Medication"}`, 403, nil},
			{"create a directory entry", "POST", "Practitioner", `{"resourceType":"Practitioner"}`, 403, nil},
			{"create a patient", "POST", "Patient", `{"resourceType":"Patient"}`, 403, nil},
			{"create of a Provenance that hangs on another's", "POST", "Provenance", `{"resourceType":"Provenance","recorded":"2026-05-01T00:00:00Z","target":[{"reference":"Condition/CX-P1"}],"agent":[{"who":{"reference":"Practitioner/PRA"}}]}`, 403, nil},
			{"update in it", "PUT", "Condition/CX-P2", crossedCondition("CX-P2", "P2", "J45", "problem-list-item"), 200, nil},
			{"move out", "PUT", "Condition/CX-P2", crossedCondition("CX-P2", "P1", "J45", "problem-list-item"), 403, nil},
			{"move in", "PUT", "Condition/CX-P1", crossedCondition("CX-P1", "P2", "J45", "problem-list-item"), 404, nil},
			{"update as create", "PUT", "Condition/none", crossedCondition("none", "P2", "J45", "problem-list-item"), 404, nil},
			{"change another's", "PUT", "Condition/CX-P1", crossedCondition("CX-P1", "P1", "J45", "problem-list-item"), 403, nil},
			{"change an unknown one of another's", "PUT", "Condition/none", crossedCondition("none", "P1", "J45", "problem-list-item"), 403, nil},
			{"delete another's", "DELETE", "Condition/CX-P1", "", 404, nil},
			{"delete an unknown one", "DELETE", "Condition/none", "", 404, nil},
			{"delete of a shared one", "DELETE", "Communication/COM", "", 404, nil},
			{"conditional create on another's", "POST", "Condition", crossedCondition("", "P2", "E11.9", "problem-list-item"), 201, []string{"If-None-Exist", "code=E11.9&patient=P1"}},
			{"conditional create on its own", "POST", "Condition", crossedCondition("", "P2", "E11.9", "problem-list-item"), 200, []string{"If-None-Exist", "_id=CY-P2"}},
			{"conditional update of another's", "PUT", "Condition?_id=CX-P1", crossedCondition("", "P2", "E11.9", "problem-list-item"), 201, nil},
			{"conditional delete of another's", "DELETE", "Condition?_id=CX-P1", "", 204, nil},
			{"delete in it", "DELETE", "Condition/CY-P2", "", 204, nil},
		} {
			body := strings.Replace(c.body, `"id":"",`, "", 1)
			if a := staff.send(c.method, c.path, body, c.header...); a.status != c.status {
				t.Errorf("%s: %d %s, want %d", c.what, a.status, a.body, c.status)
			}
			in.checkIndex()
		}
		for _, ref := range []string{"Condition/CX-P1", "Communication/COM"} {
			a := in.as("hospital", "TREAT").get(ref + "/_history")
			if len(a.bundle(t).Entry) != 1 {
				t.Errorf("%s was changed: %s", ref, a.body)
			}
		}
		patch := request{method: "PATCH", path: "Condition/CX-P2", contentType: "application/json-patch+json", body: []byte(`[{"op":"replace","path":"/subject/reference","value":"Patient/P1"}]`)}
		if a := staff.ask(patch); a.status != 403 {
			t.Errorf("a patch that moves: %d %s", a.status, a.body)
		}
		patch.path = "Condition/CX-P1"
		if a := staff.ask(patch); a.status != 404 {
			t.Errorf("a patch of another's: %d %s", a.status, a.body)
		}
		transaction := fmt.Sprintf(`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":%s,"request":{"method":"PUT","url":"Condition/CX-P2"}},{"resource":%s,"request":{"method":"POST","url":"Condition"}}]}`,
			crossedCondition("CX-P2", "P2", "K21.9", "problem-list-item"), strings.Replace(crossedCondition("", "P1", "K21.9", "problem-list-item"), `"id":"",`, "", 1))
		if a := staff.send("POST", "", transaction); a.status != 403 {
			t.Errorf("a transaction with an entry outside: %d %s", a.status, a.body)
		}
		if a := staff.get("Condition/CX-P2"); bytes.Contains(a.body, []byte("K21.9")) {
			t.Error("half of a transaction was done")
		}
		// user/ of staff is the organisation's.
		if a := in.staff("hospital", "P2", "user/Condition.u patient/Condition.rs").send("PUT", "Condition/CX-P1", crossedCondition("CX-P1", "P1", "I10", "encounter-diagnosis")); a.status != 200 {
			t.Errorf("user/: %d %s", a.status, a.body)
		}
		for name, b := range map[string]bearer{"a patient": in.self("P2", "patient/*.cruds user/*.cruds"),
			"a proxy": in.person(oauth.Context{User: "x", Capacity: string(access.Proxy), Patient: "P2"}, "FAMRQT", "patient/*.cruds user/*.cruds")} {
			for _, r := range []request{{method: "POST", path: "Condition"}, {method: "PUT", path: "Condition/CX-P2"}, {method: "PUT", path: "Condition?_id=CX-P2"}, {method: "DELETE", path: "Condition/CX-P2"}} {
				if r.method != "DELETE" {
					r.body = []byte(crossedCondition("CX-P2", "P2", "I10", "problem-list-item"))
				}
				if a := b.ask(r); a.status != 403 {
					t.Errorf("%s: %s %s: %d %s", name, r.method, r.path, a.status, a.body)
				}
			}
			if a := b.send("POST", "", transaction); a.status != 403 {
				t.Errorf("%s: transaction: %d %s", name, a.status, a.body)
			}
			if a := b.send("POST", strings.TrimSuffix(in.gateway.base, "/fhir")+"/intake/peer-encounter", `{}`); a.status == 200 {
				t.Errorf("%s: intake: %d %s", name, a.status, a.body)
			}
		}
	})
}

// TestExistenceOracle: a type outside the token is refused before data is looked at, alike with and without data; and
// scopes of a level the bearer has no right to count for nothing.
func TestExistenceOracle(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range map[string]bearer{
			"patient/": in.self("P2", "patient/Observation.rs"), "user/": in.staff("hospital", "", "user/Observation.rs"), "staff, patient/": in.staff("hospital", "P2", "patient/Observation.rs"),
			"patient/ without a patient": in.staff("hospital", "", "user/Observation.rs patient/*.cruds"), "a person's system/": in.staff("hospital", "P2", "patient/Observation.rs system/*.cruds"),
		} {
			for _, paths := range [][2]string{{"Condition?patient=P2", "Goal?patient=P2"}, {"Condition/CX-P2", "Goal/none"}, {"Condition/CX-P1/_history", "Goal/none/_history"},
				{"Observation?_revinclude=Provenance:target", "Observation?_revinclude=DiagnosticReport:result"}, {"Observation?subject:Patient._has:Condition:patient:code=I10", "Observation?subject:Patient._has:Goal:patient:lifecycle-status=active"}} {
				a, nothing := b.get(paths[0]), b.get(paths[1])
				if a.status != 403 || nothing.status != 403 || !bytes.Equal(a.body, nothing.body) {
					t.Errorf("%s: %s: %d %s, %s: %d %s", name, paths[0], a.status, a.body, paths[1], nothing.status, nothing.body)
				}
			}
			if a := b.get("Observation?_total=accurate"); a.status != 200 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		// What an app was not given is not named by what it was given either way: an unknown capacity opens nothing at all.
		b := in.person(oauth.Context{User: "x", Capacity: "guardian", Patient: "P2"}, "PATRQT", "patient/*.rs user/*.rs")
		if a := b.get("Patient/P2"); a.status != 401 && a.status != 403 {
			t.Errorf("an unknown capacity: %d %s", a.status, a.body)
		}
		if a := in.as("app", "TREAT").get("Patient/P2"); a.status != 404 && a.status != 403 {
			t.Errorf("the app for itself: %d", a.status)
		}
	})
}

// TestSharedTypes: directory entries and things that are nobody's are read by confined tokens; what they are used for
// is not.
func TestSharedTypes(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for name, b := range confined(in) {
			for _, path := range []string{"Practitioner/PRA", "Practitioner/PRB", "Location/L1", "Practitioner?name=zqcanary"} {
				if a := b.get(path); a.status != 200 {
					t.Errorf("%s: %s: %d %s", name, path, a.status, a.body)
				}
			}
			things := 404 // a patient sees records about the patient, the directory, and what a medicine is
			if name == "staff, patient/" {
				things = 200
			}
			for path, want := range map[string]int{"Medication/MED": 200, "Device/DEV": things, "Device/DEV-P1": 404, "Binary/BIN": 404} {
				if a := b.get(path); a.status != want {
					t.Errorf("%s: %s: %d, want %d", name, path, a.status, want)
				}
			}
			if got := b.found("Practitioner?_id=PRA&_revinclude=Encounter:participant"); !slices.Equal(got, []string{"Encounter/EN-P2", "Practitioner/PRA"}) {
				t.Errorf("%s: %v", name, got)
			}
		}
		own := in.staff("hospital", "P1", "patient/*.rs")
		if a := own.get("Device/DEV-P1"); a.status != 200 {
			t.Errorf("the launch patient's own device: %d", a.status)
		}
	})
}

// TestCase18ParentProxy: a parent sees a minor's records but those of a Part 2 program, without the minor's consent.
func TestCase18ParentProxy(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		parent := in.person(oauth.Context{User: "parent", FHIRUser: "RelatedPerson/RP-P3", Capacity: string(access.Proxy), Patient: "P3"}, "FAMRQT", "openid fhirUser patient/*.rs")
		a, unknown := parent.get("Condition/CZ-P3"), parent.get("Condition/none")
		if a.status != 404 || !bytes.Equal(a.body, unknown.body) {
			t.Errorf("Part 2: %d %s", a.status, a.body)
		}
		if got := parent.found("Condition?patient=P3&_sort=_id"); !slices.Equal(got, []string{"Condition/CX-P3", "Condition/CY-P3"}) {
			t.Errorf("%v", got)
		}
		for _, e := range in.eventsOf(parent.get("Condition/CZ-P3")) {
			if d := decisionsOf(t, e); e.User != "parent" || e.Capacity != "proxy" || e.Launch != "Patient/P3" || len(d) != 1 || d[0].Code != "PROXY_PART2" {
				t.Errorf("the log says %+v", e)
			}
		}
		// The minor, and a personal representative, see all of it.
		for name, b := range map[string]bearer{"the minor": in.self("P3", "patient/*.rs"),
			"a representative": in.person(oauth.Context{User: "rep", Capacity: string(access.Representative), Patient: "P3"}, "PATRQT", "patient/*.rs")} {
			if got := b.found("Condition?patient=P3&_sort=_id"); !slices.Equal(got, []string{"Condition/CX-P3", "Condition/CY-P3", "Condition/CZ-P3"}) {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// TestCase19OwnRecord: a patient reads the own Part 2 record without consent and without the statement of 2.32, and
// counselling notes not at all.
func TestCase19OwnRecord(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		b := in.self("P1", "launch/patient patient/*.rs")
		for _, path := range []string{"Condition/C1", "Condition/X1", "Encounter/E1", "CarePlan/CP1", "Condition?patient=P1"} { // checkReply looks for the statement
			a := b.get(path)
			if a.status != 200 || a.header.Get("X-Part2-Notice") != "" {
				t.Errorf("%s: %d %v %s", path, a.status, a.header, a.body)
			}
		}
		if a := b.get("DocumentReference/N1"); a.status != 404 {
			t.Errorf("a counselling note: %d %s", a.status, a.body)
		}
		a := b.get("CarePlan/CP1")
		if !bytes.Contains(a.body, []byte("Condition/C1")) {
			t.Errorf("the own plan's references are cut: %s", a.body)
		}
		for _, e := range in.eventsOf(a) {
			if d := decisionsOf(t, e); e.User != "user-P1" || e.Capacity != "self" || e.Launch != "Patient/P1" || e.NoticeVersion != "" || len(d) != 1 || d[0].Code != "PATIENT_ACCESS" {
				t.Errorf("the log says %+v %s", e, e.Decision)
			}
		}
	})
}

// TestCase53BulkExport and TestBulkExportEscape: exports are for clients acting for themselves, over whole types; a job is its client's.
func TestCase53BulkExport(t *testing.T) { testBulkEscape(t) }

func TestBulkExportEscape(t *testing.T) { testBulkEscape(t) }

func testBulkEscape(t *testing.T) {
	t.Helper()
	in := crossed(t, location{data: t.TempDir()})
	in.register(oauth.Client{ID: "narrow", Organization: "hospital", Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT", Scopes: []string{"system/*.cruds"}}, false)
	in.put(recordOf("hospital", `{"resourceType":"Group","id":"G1","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/P1"}},{"entity":{"reference":"Patient/P2"}}]}`))
	where := in.as("hospital", "TREAT").export("$export?_type=Condition")
	in.work()
	file := in.as("hospital", "TREAT").files(where).Output[0].URL
	granular := in.as("narrow", "TREAT")
	tokens := map[string]bearer{
		"staff": in.staff("hospital", "", "user/*.cruds"), "staff with system/": in.staff("hospital", "P1", "user/*.cruds patient/*.cruds system/*.cruds"), "a patient": in.self("P1", "patient/*.cruds user/*.cruds"),
		"granular system/": {in, in.token(granular.client, "TREAT", "system/Condition.rs?category=problem-list-item"), "hospital"},
	}
	for name, b := range tokens {
		for _, path := range []string{"$export", "Patient/$export", "Group/G1/$export", "$export?_type=Condition", "Group/none/$export"} {
			if a := b.send("GET", path, "", "Prefer", "respond-async"); a.status != 403 {
				t.Errorf("%s: %s: %d %s", name, path, a.status, a.body)
			}
		}
		for _, path := range []string{where, file, strings.TrimSuffix(in.gateway.base, "/fhir") + "/bulk/none"} {
			if a := b.send("GET", path, ""); a.status != 403 {
				t.Errorf("%s: %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	for _, path := range []string{where, file} {
		if a := in.as("narrow", "TREAT").plain("GET", path, nil); a.status != 404 {
			t.Errorf("another client: %s: %d", path, a.status)
		}
	}
	if a := in.as("hospital", "TREAT").plain("GET", where, nil); a.status != 200 {
		t.Errorf("its own: %d", a.status)
	}
}

// TestReferencesOverTheWall: another organisation's record does not name a second patient's record to a token launched
// for the first, nor is it found by it, though the organisation may see both.
func TestReferencesOverTheWall(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		k1, ok := fixture(t).Given("K1")
		if !ok {
			t.Fatal("no K1")
		}
		in.put(k1)
		in.put(recordOf("otp", `{"resourceType":"CarePlan","id":"CPW","status":"active","intent":"plan","subject":{"reference":"Patient/P1"},"addresses":[{"reference":"Condition/CX-P2"},{"reference":"Condition/CX-P1"}]}`))
		for scopes, named := range map[string]bool{"user/*.rs": true, "patient/*.rs": false, "patient/CarePlan.rs": false, "patient/CarePlan.rs?status=active": false, "user/CarePlan.rs": true} {
			b := in.staff("hospital", "P1", scopes)
			for _, path := range []string{"CarePlan/CPW", "CarePlan?patient=P1", "CarePlan/CPW/_history"} {
				a := b.get(path)
				if a.status != 200 || bytes.Contains(a.body, []byte(`Condition/CX-P2"`)) != named || !bytes.Contains(a.body, []byte(`Condition/CX-P1"`)) {
					t.Errorf("%s: %s: %d, names P2's record %v, want %v", scopes, path, a.status, !named, named)
				}
			}
			if got := b.found("CarePlan?condition=Condition/CX-P2"); (len(got) == 1) != named {
				t.Errorf("%s: %v", scopes, got)
			}
			if got := b.found("CarePlan?condition=Condition/CX-P1"); len(got) != 1 {
				t.Errorf("%s: %v", scopes, got)
			}
		}
	})
}

// TestIncludeGoesThroughReadableTypesOnly: what a token may not read is no way to what it may.
func TestIncludeGoesThroughReadableTypesOnly(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		const query = "Observation?_id=OX-P2&_include=Observation:encounter&_include:iterate=Encounter:participant"
		for scopes, want := range map[string][]string{
			"Observation.rs %[1]s/Practitioner.rs": nil, "Observation.rs %[1]s/Practitioner.rs %[1]s/Encounter.s": nil,
			"Observation.rs %[1]s/Practitioner.rs %[1]s/Encounter.r": {"Encounter/EN-P2", "Observation/OX-P2", "Practitioner/PRA"},
		} {
			for name, b := range map[string]bearer{
				"a client":    {in, in.token("hospital", "TREAT", fmt.Sprintf("%[1]s/"+scopes, "system")), "hospital"},
				"the patient": in.self("P2", fmt.Sprintf("%[1]s/"+scopes, "patient")), "staff": in.staff("hospital", "P2", fmt.Sprintf("%[1]s/"+scopes, "patient")),
			} {
				a := b.get(query)
				if want == nil {
					if a.status != 403 {
						t.Errorf("%s, %s: %d %s", name, scopes, a.status, a.body)
					}
					continue
				}
				got := a.bundle(t).references()
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s: %v, want %v", name, scopes, got, want)
				}
			}
		}
		// Nor in the other direction: what refers to an Encounter that is not read.
		b := bearer{in, in.token("hospital", "TREAT", "system/Observation.rs system/Condition.rs"), "hospital"}
		if got := b.found("Observation?_id=OX-P2&_include=Observation:encounter&_revinclude:iterate=Condition:encounter"); !slices.Equal(got, []string{"Observation/OX-P2"}) {
			t.Errorf("%v", got)
		}
	})
}

// TestOwnReferencesOverTheWall: a token of staff launched for one patient is not told of others by the organisation's own
// records, finds none by what it is not told, and cannot make them lose it.
func TestOwnReferencesOverTheWall(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		const plan = `{"resourceType":"CarePlan","id":"CPO","status":"active","intent":"plan","subject":{"reference":"Patient/P1"},"addresses":[{"reference":"Condition/CX-P2","display":"zqother"},{"reference":"Condition/CX-P1"}]}`
		in.put(recordOf("hospital", plan))
		for scopes, named := range map[string]bool{"user/*.rs": true, "patient/*.rs": false, "patient/CarePlan.rs": false, "user/CarePlan.rs": true} {
			b := in.staff("hospital", "P1", scopes)
			etag := b.get("CarePlan/CPO").header.Get("ETag")
			for _, path := range []string{"CarePlan/CPO", "CarePlan?patient=P1", "CarePlan/CPO/_history"} {
				a := b.get(path)
				if a.status != 200 || bytes.Contains(a.body, []byte(`Condition/CX-P2"`)) != named || bytes.Contains(a.body, []byte("zqother")) != named || !bytes.Contains(a.body, []byte(`Condition/CX-P1"`)) {
					t.Errorf("%s: %s: %d, want it named %v: %s", scopes, path, a.status, named, a.body)
				}
			}
			for query, want := range map[string]bool{"condition=Condition/CX-P2": named, "condition=Condition/CX-P1": true} {
				if got := b.found("CarePlan?_id=CPO&" + query); (len(got) == 1) != want {
					t.Errorf("%s: %s: %v", scopes, query, got)
				}
			}
			if a := b.send("GET", "CarePlan/CPO", "", "If-None-Match", etag); (a.status == 304) != named {
				t.Errorf("%s: %d for what the client holds", scopes, a.status)
			}
		}
		patch := request{method: "PATCH", path: "CarePlan/CPO", contentType: jsonPatchType, body: []byte(`[{"op":"replace","path":"/status","value":"active"}]`)}
		cut := strings.Replace(plan, `{"reference":"Condition/CX-P2","display":"zqother"},`, "", 1)
		confined := in.staff("hospital", "P1", "patient/*.cruds")
		for what, a := range map[string]reply{"an update": confined.send("PUT", "CarePlan/CPO", cut), "a patch": confined.ask(patch)} {
			if a.status != 422 || bytes.Contains(a.body, []byte("CX-P2")) {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		if a := in.staff("hospital", "P1", "user/*.cruds").send("PUT", "CarePlan/CPO", cut); a.status != 200 {
			t.Errorf("by the organisation's: %d %s", a.status, a.body)
		}
		if a := confined.send("PUT", "CarePlan/CPO", strings.Replace(cut, "active", "revoked", 1)); a.status != 200 {
			t.Errorf("with nothing to lose: %d %s", a.status, a.body)
		}
	})
}

const jsonPatchType = "application/json-patch+json"

// TestWriteShowsNoMoreThanRead: a write answers with the record only to a token that reads it.
func TestWriteShowsNoMoreThanRead(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for scopes, shown := range map[string]bool{"user/Condition.u": false, "user/Condition.us": false, "user/Condition.u user/Condition.r?code=E11.9": false, "user/Condition.u user/Condition.r?code=I10": true,
			"user/Condition.ru": true, "user/Condition.u patient/Condition.r": false} {
			b := in.staff("hospital", "P1", scopes)
			patch := request{method: "PATCH", path: "Condition/CX-P2", contentType: jsonPatchType, body: []byte(`[{"op":"replace","path":"/recordedDate","value":"2026-05-01"}]`), header: map[string]string{"Prefer": "return=representation"}}
			a := b.ask(patch)
			if a.status != 200 || bytes.Contains(a.body, []byte("I10")) != shown || !shown && len(a.body) > 0 {
				t.Errorf("%s: %d %s, shown: want %v", scopes, a.status, a.body, shown)
			}
			entry := fmt.Sprintf(`{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Binary","contentType":%q,"data":"W3sib3AiOiJ0ZXN0IiwicGF0aCI6Ii9pZCIsInZhbHVlIjoiQ1gtUDIifV0="},"request":{"method":"PATCH","url":"Condition/CX-P2"}}]}`, jsonPatchType)
			if a := b.send("POST", "", entry, "Prefer", "return=representation"); a.status != 200 || bytes.Contains(a.body, []byte("I10")) != shown {
				t.Errorf("%s, transaction: %d %s, shown: want %v", scopes, a.status, a.body, shown)
			}
		}
	})
}

// TestPatientSeesPrescribedMedication: what is prescribed is seen with the prescription.
func TestPatientSeesPrescribedMedication(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		in.put(recordOf("otp", `{"resourceType":"Medication","id":"MED2","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"6813"}]}}`))
		for id, med := range map[string]string{"MR-H": "MED", "MR-O": "MED2"} {
			in.put(recordOf("hospital", fmt.Sprintf(`{"resourceType":"MedicationRequest","id":%q,"status":"active","intent":"order","subject":{"reference":"Patient/P3"},"medicationReference":{"reference":"Medication/%s"}}`, id, med)))
		}
		all := []string{"Medication/MED", "Medication/MED2", "MedicationRequest/MR-H", "MedicationRequest/MR-O"}
		for name, c := range map[string]struct {
			capacity access.Capacity
			want     []string
		}{"the patient": {access.Self, all}, "a representative": {access.Representative, all}, "a proxy": {access.Proxy, []string{"Medication/MED", "MedicationRequest/MR-H", "MedicationRequest/MR-O"}}} {
			who := oauth.Context{User: "m-" + string(c.capacity), Capacity: string(c.capacity), Patient: "P3"}
			if c.capacity == access.Self {
				who.FHIRUser = "Patient/P3"
			}
			b := in.person(who, "PATRQT", "patient/*.rs")
			got := b.found("MedicationRequest?patient=P3&_include=MedicationRequest:medication")
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
			for med, request := range map[string]string{"MED": "MR-H", "MED2": "MR-O"} {
				seen := slices.Contains(c.want, "Medication/"+med)
				if a := b.get("Medication/" + med); (a.status == 200) != seen {
					t.Errorf("%s: %s: %d", name, med, a.status)
				}
				if a := b.get("MedicationRequest/" + request); a.status != 200 || bytes.Contains(a.body, []byte("Medication/"+med+`"`)) != seen {
					t.Errorf("%s: %s: %d %s", name, request, a.status, a.body)
				}
				if got := b.found("MedicationRequest?medication=Medication/" + med); (len(got) == 1) != seen {
					t.Errorf("%s: by %s: %v", name, med, got)
				}
			}
		}
		if a := in.self("P3", "patient/MedicationRequest.rs").get("Medication/MED"); a.status != 403 {
			t.Errorf("without scope: %d", a.status)
		}
	})
}

// TestCase18ParentProxyByOtherWays: nor by counts, reverse chains, history, everything, references and their displays.
func TestCase18ParentProxyByOtherWays(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		in.put(recordOf("hospital", `{"resourceType":"CarePlan","id":"CP3","status":"active","intent":"plan","subject":{"reference":"Patient/P3"},"addresses":[{"reference":"Condition/CZ-P3","display":"zqopioid"},{"reference":"Condition/CX-P3"}]}`))
		parent := in.person(oauth.Context{User: "parent", Capacity: string(access.Proxy), Patient: "P3"}, "FAMRQT", "patient/*.rs")
		for query, want := range map[string]int{"Condition?patient=P3&_total=accurate": 2, "Condition?_summary=count": 2, "Condition?code=F11.20&_total=accurate": 0,
			"Patient?_has:Condition:patient:code=F11.20&_total=accurate": 0, "Patient?_has:Condition:patient:code=I10&_total=accurate": 1, "CarePlan?condition=Condition/CZ-P3&_total=accurate": 0, "CarePlan?condition.code=F11.20&_total=accurate": 0} {
			if a := parent.get(query); a.status != 200 || a.bundle(t).Total == nil || *a.bundle(t).Total != want {
				t.Errorf("%s: %d %s, want %d", query, a.status, a.body, want)
			}
		}
		for _, path := range []string{"_history", "Condition/_history", "Patient/P3/$everything", "CarePlan/CP3", "CarePlan/CP3/_history/1", "CarePlan?_include=CarePlan:condition", "Patient/P3/$everything?_type=Condition,CarePlan"} {
			a := parent.get(path)
			if a.status != 200 || bytes.Contains(a.body, []byte("CZ-P3")) || bytes.Contains(a.body, []byte("zqopioid")) || bytes.Contains(a.body, []byte("F11.20")) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"Condition/CZ-P3/_history", "Condition/CZ-P3/_history/1"} {
			if a := parent.get(path); a.status != 404 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
	})
}

// TestCase19OneOfSeveralRecords: totals count the own record with its Part 2 entries, and a token for one of several
// records of a person opens no other.
func TestCase19OneOfSeveralRecords(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		in.account(oauth.Context{User: "user-P1", Capacity: string(access.Self), Patient: "P2"})
		b := in.self("P1", "patient/*.rs")
		if a := b.get("Condition?patient=P1&_total=accurate"); a.status != 200 || a.bundle(t).Total == nil || *a.bundle(t).Total != len(b.found("Condition?patient=P1")) || *a.bundle(t).Total < 4 {
			t.Errorf("%d %s", a.status, a.body)
		}
		for _, ref := range ofP2 {
			if a := b.get(ref); a.status != 404 {
				t.Errorf("%s: %d", ref, a.status)
			}
		}
		if a := b.get("Condition?patient=P2&_total=accurate"); *a.bundle(t).Total != 0 {
			t.Errorf("%s", a.body)
		}
	})
}

// TestPatientStandingEndsTokens: a token that was given holds no longer, within a second, when the proxy's authority has
// ended or the account is disabled.
func TestPatientStandingEndsTokens(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		for what, change := range map[string]func(u *people.User){
			"authority-ended": func(u *people.User) { u.Proxies = nil }, "account-disabled": func(u *people.User) { u.Disabled = true },
		} {
			parent := in.person(oauth.Context{User: what, Capacity: string(access.Proxy), Patient: "P3"}, "FAMRQT", "patient/*.rs")
			if a := parent.get("Condition/CX-P3"); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			u, err := in.gateway.store.User(t.Context(), what)
			if err != nil {
				t.Fatal(err)
			}
			change(&u)
			if err := in.gateway.store.PutUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			in.clock.advance(time.Second)
			if a := parent.get("Condition/CX-P3"); a.status != 401 {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
	})
}
