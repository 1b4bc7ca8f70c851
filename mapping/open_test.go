package mapping

import (
	"slices"
	"strings"
	"testing"
)

// Formats of others let further fields pass. A record with some is mapped, and the report says how many were not read and
// never what they are called: a name may be the sender's own.
func TestFieldsNobodyKnowsAreCounted(t *testing.T) {
	p := load(t, "meeting-guide")
	res, err := p.MapJSON(testEnv(false), []byte(`{"name": "A", "slug": "a", "Ada Testwoman": 1, "contact_1_name": "Bo"}`))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, pr := range res.Report.Problems {
		found = found || pr.Code == "unknown-field" && strings.HasPrefix(pr.Text, "has 2 ") && pr.Dropped
		if strings.Contains(pr.Text+pr.Pointer, "Ada") {
			t.Errorf("the report names a field of the sender: %+v", pr)
		}
	}
	if !found {
		t.Errorf("fields were left out without a word: %+v", res.Report.Problems)
	}
	for _, r := range res.Records[0].Resources {
		if strings.Contains(string(r.JSON), "Bo") || strings.Contains(string(r.JSON), "Ada") {
			t.Errorf("%s holds what the pack does not know", r.Slot)
		}
	}
}

// A list of one may be written as the one thing where the schema says so.
func TestOneValueIsAListOfOne(t *testing.T) {
	p := load(t, "meeting-guide")
	var got [2]string
	for i, day := range []string{"3", "[3]"} {
		res, err := p.MapJSON(testEnv(false), []byte(`{"name": "A", "slug": "a", "day": `+day+`, "time": "9:05"}`))
		if err != nil {
			t.Fatal(err)
		}
		got[i] = string(res.Records[0].Resources[0].JSON)
	}
	if got[0] != got[1] || !strings.Contains(got[0], `"daysOfWeek":["wed"]`) || !strings.Contains(got[0], `"availableStartTime":"09:05:00"`) {
		t.Errorf("one day\n%s\nand a list of it\n%s", got[0], got[1])
	}
}

// Directories tell of services, organisations and places. The people whom their cases name stay out of what is made.
func TestDirectoriesNameNobody(t *testing.T) {
	named := map[string]bool{}
	eachCase(t, func(t *testing.T, p *Pack, file, input string) {
		if p.Name == "hsds" || p.Name == "meeting-guide" {
			named[p.Name] = named[p.Name] || strings.Contains(input, "Testperson")
		}
	})
	if !named["hsds"] || !named["meeting-guide"] {
		t.Errorf("the cases that name somebody are %v", named)
	}
	eachCaseResource(t, func(t *testing.T, file string, r Resource) {
		pack, _, _ := strings.Cut(file, "/")
		if pack != "hsds" && pack != "meeting-guide" {
			return
		}
		if !slices.Contains([]string{"HealthcareService", "Organization", "Location"}, r.Type) {
			t.Errorf("%s: makes a %s", file, r.Type)
		}
		for _, name := range []string{"Testperson", "testperson", "555 555 0177", "ExampleQuiet"} {
			if strings.Contains(string(r.JSON), name) {
				t.Errorf("%s: %s tells of %s", file, r.Slot, name)
			}
		}
	})
}

// What a worker puts down of where somebody lives is an Observation of ours in the stay; what is not known, not told or not
// asked has a reason and no value.
func TestLivingSituationsOfHMIS(t *testing.T) {
	absent, treated, held := 0, 0, 0
	eachMade(t, func(t *testing.T, r made) {
		if !strings.HasPrefix(r.file, "hmis-csv/") || r.body["resourceType"] != "Observation" {
			return
		}
		if code := inSystem(codingsOf(r.body["code"]), loinc); len(code) > 0 {
			t.Errorf("%s: %s is made an answer to %v", r.file, r.slot, code)
		}
		if (r.body["valueCodeableConcept"] == nil) == (r.body["dataAbsentReason"] == nil) {
			t.Errorf("%s: %s has a value and a reason for none, or neither", r.file, r.slot)
		}
		if r.body["dataAbsentReason"] != nil {
			absent++
		}
		labels := codingsOf(r.body["meta"])
		has := func(label string) bool {
			return slices.Contains(labels, "http://terminology.hl7.org/CodeSystem/v3-ActCode|"+label)
		}
		if !has("LIVARG") {
			t.Errorf("%s: %s tells of a home and does not say so", r.file, r.slot)
		}
		for _, code := range inSystem(codingsOf(r.body["valueCodeableConcept"]), testURL+"/CodeSystem/hmis-living-situation") {
			switch code {
			case "205":
				treated++
				if !has("SUD") || !has("ETH") {
					t.Errorf("%s: %s tells of treatment and does not say so", r.file, r.slot)
				}
			case "204":
				held++
				if !has("MH") || !has("PSY") {
					t.Errorf("%s: %s tells of a psychiatric facility and does not say so", r.file, r.slot)
				}
			}
		}
	})
	if absent < 3 || treated == 0 || held == 0 {
		t.Errorf("the cases have %d without an answer, %d of treatment and %d of a psychiatric facility", absent, treated, held)
	}
}

// A note of a stay knows the project by way of the stay, and without the stay knows none.
func TestJoinByAJoinedRow(t *testing.T) {
	p := load(t, "hmis-csv")
	files := func(project string) []File {
		return []File{
			{"p", []byte("ProjectID,OrganizationID,ProjectName,TargetPopulation\nP1,O1,A,1\nP2,O1,B,4\n")},
			{"c", []byte("PersonalID,NameDataQuality,DOBDataQuality\nC1,99,99\n")},
			{"e", []byte("EnrollmentID,PersonalID,ProjectID,EntryDate\nE1,C1," + project + ",2025-01-01\n")},
			{"l", []byte("CurrentLivingSitID,EnrollmentID,PersonalID,InformationDate,CurrentLivingSituation\nS1,E1,C1,2025-01-02,101\n")},
		}
	}
	// What kind of project it is must be known to be none for survivors of violence.
	for project, want := range map[string]bool{"P1": true, "P2": false, "P9": true} {
		res, err := p.MapFiles(testEnv(false), files(project))
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		for _, rec := range res.Records {
			for _, r := range rec.Resources {
				if r.Slot != "now" {
					continue
				}
				seen = true
				if got := slices.ContainsFunc(r.Labels, func(l Label) bool { return l.Code == "SDV" }); got != want {
					t.Errorf("in %s the note is labelled SDV: %v", project, got)
				}
			}
		}
		if !seen {
			t.Errorf("in %s there is no note", project)
		}
	}
}
