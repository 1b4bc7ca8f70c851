package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"trellis/auth/oauth"
	"trellis/gateway/audit"
)

// keep writes a resource under its id as an organisation that may choose ids.
func (in *installation) keep(owner, doc string) {
	in.t.Helper()
	typ, rest, _ := strings.Cut(strings.SplitN(doc, `"resourceType":"`, 2)[1], `"`)
	id, _, _ := strings.Cut(strings.SplitN(rest, `"id":"`, 2)[1], `"`)
	if a := in.as(loading(owner), "").ask(request{method: "PUT", path: typ + "/" + id, body: []byte(doc)}); a.status/100 != 2 {
		in.t.Fatalf("%s/%s: %d %s", typ, id, a.status, a.body)
	}
	in.checkIndex()
}

// narrowed is a client of an organisation with some scopes only; header asks as it.
func (in *installation) narrowed(id, organization, scope string) map[string]string {
	in.t.Helper()
	in.register(oauth.Client{ID: id, Organization: organization, Scopes: strings.Fields(scope), Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
	return map[string]string{"Authorization": "Bearer " + in.token(id, "TREAT", scope)}
}

// walk follows the pages of a set and lists what they hold, in order, page by page.
func (v visitor) walk(path string) (pages [][]string, matches []string) {
	v.in.t.Helper()
	for path != "" {
		a := v.get(path)
		if a.status != 200 {
			v.in.t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		b := a.bundle(v.in.t)
		pages = append(pages, b.references())
		for _, e := range b.Entry {
			if e.Search.Mode == "match" {
				matches = append(matches, e.Resource.ResourceType+"/"+e.Resource.ID)
			}
		}
		path = b.next()
	}
	slices.Sort(matches)
	return pages, matches
}

// hospitalChart is what the hospital keeps about P1 besides the fixture: a stay, its encounter, and a medication.
func (in *installation) hospitalChart() {
	in.keep("hospital", `{"resourceType":"Practitioner","id":"DR","name":[{"family":"Doe"}]}`)
	in.keep("hospital", `{"resourceType":"Medication","id":"MED","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"197361"}]}}`)
	in.keep("hospital", `{"resourceType":"EpisodeOfCare","id":"EP","status":"active","patient":{"reference":"Patient/P1"},"managingOrganization":{"reference":"Organization/hospital"},"diagnosis":[{"condition":{"reference":"Condition/C2"}}]}`)
	in.keep("hospital", `{"resourceType":"Encounter","id":"EH","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"subject":{"reference":"Patient/P1"},"episodeOfCare":[{"reference":"EpisodeOfCare/EP"}],"participant":[{"individual":{"reference":"Practitioner/DR"}}],"period":{"start":"2026-03-05T10:00:00Z","end":"2026-03-05T11:00:00Z"}}`)
	in.keep("hospital", `{"resourceType":"Observation","id":"OH","status":"final","subject":{"reference":"Patient/P1"},"encounter":{"reference":"Encounter/EH"},"focus":[{"reference":"Condition/OTHER"}],"effectiveDateTime":"2026-03-05T10:30:00Z","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}}`)
	in.keep("hospital", `{"resourceType":"MedicationStatement","id":"MS","status":"active","subject":{"reference":"Patient/P1"},"medicationReference":{"reference":"Medication/MED"}}`)
	in.keep("hospital", `{"resourceType":"Condition","id":"OTHER","subject":{"reference":"Patient/P2"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}]}}`)
}

func TestEverythingOfAPatient(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.hospitalChart()
		v := in.as("hospital", "TREAT")
		_, all := v.walk("Patient/P1/$everything?_count=1000")
		want := []string{"Condition/C2", "Coverage/CV1", "Encounter/EH", "EpisodeOfCare/EP", "MedicationRequest/M2", "MedicationStatement/MS", "Observation/O1", "Observation/O2", "Observation/OH", "Patient/P1"}
		if !slices.Equal(all, want) {
			t.Errorf("everything is %v", all)
		}
		pages, paged := v.walk("Patient/P1/$everything?_count=2")
		if !slices.Equal(paged, all) || len(pages) != (len(all)+1)/2 {
			t.Errorf("%d pages hold %v", len(pages), paged)
		}
		whole := v.get("Patient/P1/$everything?_count=1000").bundle(t).references()
		for _, r := range []string{"Practitioner/DR", "Medication/MED", "Organization/hospital"} {
			if !slices.Contains(whole, r) {
				t.Errorf("%s does not come with what refers to it: %v", r, whole)
			}
		}
		if slices.Contains(whole, "Condition/OTHER") {
			t.Errorf("another patient's record came along: %v", whole)
		}
		for path, want := range map[string]string{
			"Patient/P1/$everything?_type=Observation,Practitioner":              "[Observation/O1 Observation/O2 Observation/OH]",
			"Patient/P1/$everything?_type=Encounter&_type=Practitioner":          "[Encounter/EH Practitioner/DR]",
			"Patient/P1/$everything?_type=Observation&start=2026-03-02":          "[Observation/O2 Observation/OH]",
			"Patient/P1/$everything?_type=Observation&end=2026-03-02":            "[Observation/O1 Observation/O2]",
			"Patient/P1/$everything?_type=Patient&start=2030-01-01":              "[Patient/P1]",
			"Patient/P1/$everything?_type=Observation&_since=2026-06-02":         "[]",
			"Patient/P1/$everything?_type=Practitioner":                          "[]",
			"Patient/P1/$everything?_type=Condition&_since=2026-06-01T00:00:00Z": "[Condition/C2]",
		} {
			if got := fmt.Sprint(v.get(path).bundle(t).references()); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		for path, status := range map[string]int{
			"Patient/P1/$everything?_type=Zqcanary": 400, "Patient/P1/$everything?_count=0": 400, "Patient/P1/$everything?start=zqcanary": 400,
			"Patient/P1/$everything?start=2026-02-02&end=2026-01-01": 400, "Patient/P1/$everything?code=I10": 400, "Condition/C2/$everything": 404, "Patient/nobody/$everything": 404,
		} {
			if a := v.get(path); a.status != status || strings.Contains(string(a.body), canary) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		posted := v.ask(request{method: "POST", path: "Patient/P1/$everything", body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"_type","valueCode":"Encounter"},{"name":"_count","valueInteger":1}]}`)})
		if got := posted.bundle(t).references(); !slices.Contains(got, "Encounter/EH") || slices.Contains(got, "Practitioner/DR") {
			t.Errorf("posted: %d %v", posted.status, got)
		}
		next := v.get("Patient/P1/$everything?_count=2").bundle(t).next()
		if a := v.get(strings.Replace(next, "Patient/P1", "Patient/P2", 1)); a.status != 400 || next == "" {
			t.Errorf("a cursor works for another patient: %d", a.status)
		}
	})
}

// TestEverythingIsTheCallersView: what consent hides is in none of it, and a hidden root is an unknown one.
func TestEverythingIsTheCallersView(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.hospitalChart()
		if a := in.as("hospital", "TREAT").get("Patient/P1/$everything?_count=1000"); strings.Contains(string(a.body), "F11.20") || strings.Contains(string(a.body), part2Label) {
			t.Errorf("without consent: %s", a.body)
		}
		hidden, unknown := in.as("hospital", "TREAT").get("Encounter/E1/$everything"), in.as("hospital", "TREAT").get("Encounter/E0/$everything")
		if hidden.status != 404 || !sameHeaders(hidden.header, unknown.header) || string(hidden.body) != string(unknown.body) {
			t.Errorf("hidden %d %s, unknown %d %s", hidden.status, hidden.body, unknown.status, unknown.body)
		}
		for _, a := range []reply{hidden, unknown} {
			if events := in.eventsOf(a); len(events) != 1 || events[0].Kind != audit.Denial {
				t.Errorf("%d events", len(events))
			}
		}
		if a := in.as("plan", "HPAYMT").get("Patient/P1/$everything"); a.status != 200 && a.status != 404 {
			t.Errorf("%d", a.status)
		}
		in.load("K1")
		refs := in.as("hospital", "TREAT").get("Patient/P1/$everything?_count=1000").bundle(t).references()
		if !slices.Contains(refs, "Condition/C1") || slices.Contains(refs, "Condition/X1") {
			t.Errorf("with consent: %v", refs)
		}
		header := in.narrowed("few", "hospital", "system/Patient.rs system/Observation.rs")
		b := in.send(request{method: "GET", path: "Patient/P1/$everything?_count=1000", header: header}).bundle(t)
		if got := fmt.Sprint(b.references()); got != "[Observation/O1 Observation/O2 Observation/OH Patient/P1]" {
			t.Errorf("scopes let through %s", got)
		}
		if a := in.send(request{method: "GET", path: "Encounter/EH/$everything", header: header}); a.status != 403 {
			t.Errorf("%d", a.status)
		}
	})
}

func TestEverythingOfAnEncounterAndAnEpisode(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.hospitalChart()
		v := in.as("hospital", "TREAT")
		for path, want := range map[string]string{
			"Encounter/EH/$everything":                   "[Encounter/EH EpisodeOfCare/EP Observation/OH Patient/P1 Practitioner/DR]",
			"Encounter/EH/$everything?_type=Observation": "[Observation/OH]",
			"EpisodeOfCare/EP/$everything":               "[Condition/C2 Encounter/EH EpisodeOfCare/EP Observation/OH Organization/hospital Patient/P1 Practitioner/DR]",
		} {
			if got := fmt.Sprint(v.get(path).bundle(t).references()); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		_, matches := v.walk("EpisodeOfCare/EP/$everything?_count=1")
		if got := fmt.Sprint(matches); got != "[Encounter/EH EpisodeOfCare/EP Observation/OH]" {
			t.Errorf("pages: %s", got)
		}
		header := in.narrowed("episodes", "hospital", "system/EpisodeOfCare.rs system/Observation.rs")
		if a := in.send(request{method: "GET", path: "EpisodeOfCare/EP/$everything", header: header}); a.status != 403 {
			t.Errorf("encounters are looked at without their scope: %d", a.status)
		}
	})
}

// TestReadOfAPart: _summary and _elements of a read cut what is released, and the log names the bytes that went out.
func TestReadOfAPart(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		for path, want := range map[string][2]string{ // has, lacks
			"Condition/C1?_summary=true":            {"F11.20", `"note"`},
			"Condition/C2?_summary=true":            {"I10", "hypertension"},
			"Condition/C2?_elements=note":           {"hypertension", "I10"},
			"Condition/C2?_elements=Condition.code": {"I10", "hypertension"},
			"Condition/C2?_summary=text":            {"subject", "I10"},
			"Condition/C2?_summary=data":            {"I10", `"text":{"status"`},
			"Condition/C2/_history/1?_summary=true": {"I10", "hypertension"},
			"Condition/C1?_elements=recordedDate":   {"2026-02-01", "F11.20"},
			"Condition/C2?_summary=false":           {"hypertension", "SUBSETTED"},
		} {
			a := in.as("hospital", "TREAT").get(path)
			if a.status != 200 || !strings.Contains(string(a.body), want[0]) || strings.Contains(string(a.body), want[1]) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			if strings.Contains(string(a.body), "SUBSETTED") == strings.Contains(path, "=false") {
				t.Errorf("%s: the tag SUBSETTED: %s", path, a.body)
			}
			if strings.Contains(path, "C1") && !strings.Contains(string(a.body), part2Label) {
				t.Errorf("%s: no labels", path)
			}
		}
		for path, status := range map[string]int{"Condition/C2?_summary=count": 400, "Condition/C2?_summary=zqcanary": 400, "Condition/C2?_elements=zqcanary": 400,
			"Condition/C2?_summary=true&_elements=code": 400, "Condition/X1?_summary=true": 404, "Condition/C2?_sort=code": 400} {
			if a := in.as("hospital", "TREAT").get(path); a.status != status || strings.Contains(string(a.body), canary) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
}
