package mapping

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// The mistakes that are easiest to make with records of recovery support, each as a check over what all packs make of
// their golden cases, where it can be one.

const (
	sdohcc  = "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes"
	hcpcs   = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
	loinc   = "http://loinc.org"
	testURL = "https://trellis.example/fhir"
)

// (1) What carries a category of Gravity's also carries US Core's sdoh: without it SDOH-Obs-4 and SDOH-Con-3 fail.
func TestGravityCategoryComesWithSDOH(t *testing.T) {
	seen := false
	eachMade(t, func(t *testing.T, r made) {
		codings := codingsOf(r.body["category"])
		if len(inSystem(codings, sdohcc)) == 0 {
			return
		}
		seen = true
		if !slices.Contains(inSystem(codings, "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"), "sdoh") {
			t.Errorf("%s: %s lacks us-core-category#sdoh", r.file, r.slot)
		}
	})
	if !seen {
		t.Error("no case has a category of Gravity's")
	}
}

// (2) No interpretation is negative: an answer does not rule a need out.
func TestInterpretationIsPositiveOrAbsent(t *testing.T) {
	eachMade(t, func(t *testing.T, r made) {
		for _, c := range codingsOf(r.body["interpretation"]) {
			if c != "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation|POS" {
				t.Errorf("%s: %s has the interpretation %s", r.file, r.slot, c)
			}
		}
	})
}

// (3) HCPCS has two URIs. US Core 6.1 to 8.0 bind the https one.
func TestHCPCSHasOneSystem(t *testing.T) {
	shape := regexp.MustCompile(`^[GHT][0-9]{4}$`)
	check := func(t *testing.T, where, system, code string) {
		if (strings.Contains(system, "HCPCS") || shape.MatchString(code)) && system != hcpcs {
			t.Errorf("%s: code %s has the system %s", where, code, system)
		}
	}
	eachMade(t, func(t *testing.T, r made) {
		walkJSON(r.body, func(m map[string]any) {
			system, _ := m["system"].(string)
			code, _ := m["code"].(string)
			check(t, r.file+" "+r.slot, system, code)
		})
	})
	eachTableRow(t, func(t *testing.T, table string, row *tableRow) { check(t, table, row.system, row.code) })
}

// (4) Forms share questions under different answers: 71802-3 and 93030-5 of PRAPARE are not those of AHC HRSN. Only where
// PRAPARE was filled in does its answer stand, and an answer of another question is never taken.
func TestAnswersBelongToTheirForm(t *testing.T) {
	prapareOnly := []string{"LA30189-7", "LA30190-5", "LA30133-5", "LA30134-3", "LA30257-2"}
	ahcOnly := []string{"LA31993-1", "LA31994-9", "LA31995-6"}
	inputs := map[string]string{}
	eachCase(t, func(t *testing.T, p *Pack, file, input string) { inputs[file] = strings.ToLower(input) })
	found := 0
	eachMade(t, func(t *testing.T, r made) {
		code := inSystem(codingsOf(r.body["code"]), loinc)
		if !slices.Contains(code, "71802-3") && !slices.Contains(code, "93030-5") {
			return
		}
		found++
		foreign := prapareOnly
		if strings.Contains(inputs[r.file], "prapare") {
			foreign = ahcOnly
		}
		for _, a := range inSystem(codingsOf(r.body["valueCodeableConcept"]), loinc) {
			if slices.Contains(foreign, a) {
				t.Errorf("%s: %s has %s, an answer of another form", r.file, r.slot, a)
			}
		}
	})
	if found == 0 {
		t.Error("no case asks a shared question")
	}
	for _, file := range []string{"sdoh-screening/cases/other-instruments-answer.case", "employment-education/cases/other-questions-answer.case"} {
		if !hasProblem(mapCase(t, file, false), "answer-not-in-list") {
			t.Errorf("%s: the answer of another question was taken", file)
		}
	}
}

// (5) Refused is not negative: it has a reason why there is no value, and neither a value nor an interpretation.
func TestRefusedIsNotNegative(t *testing.T) {
	refused := 0
	eachMade(t, func(t *testing.T, r made) {
		if r.body["resourceType"] != "Observation" || r.body["dataAbsentReason"] == nil {
			return
		}
		if slices.Contains(codingsOf(r.body["dataAbsentReason"]), "http://terminology.hl7.org/CodeSystem/data-absent-reason|asked-declined") {
			refused++
		}
		for name := range r.body {
			if strings.HasPrefix(name, "value") || name == "interpretation" {
				t.Errorf("%s: %s has no answer and yet %s", r.file, r.slot, name)
			}
		}
	})
	if refused < 5 {
		t.Errorf("only %d cases have a refused answer", refused)
	}
	eachTableRow(t, func(t *testing.T, table string, row *tableRow) {
		answer := row.native == "declined" || strings.HasSuffix(row.native, "|declined")
		if answer && !strings.HasPrefix(table, "referral/") && row.code != "asked-declined" { // a referral is declined otherwise
			t.Errorf("%s: %s is %s", table, row.native, row.code)
		}
	})
}

// (6) Headers of ICD-10-CM are not codes to be recorded. These have codes below them in the 2026 list.
func TestNoHeaderICDCodes(t *testing.T) {
	headers := []string{"Z55", "Z56", "Z59", "Z60", "Z62", "Z63", "Z65", "Z59.0", "Z59.1", "Z59.4", "Z59.7", "Z59.8", "Z59.81", "Z59.86", "Z56.8"}
	check := func(t *testing.T, where, system, code string) {
		if strings.Contains(system, "icd-10") && slices.Contains(headers, code) {
			t.Errorf("%s: %s is a header", where, code)
		}
	}
	eachMade(t, func(t *testing.T, r made) {
		walkJSON(r.body, func(m map[string]any) {
			system, _ := m["system"].(string)
			code, _ := m["code"].(string)
			check(t, r.file+" "+r.slot, system, code)
		})
	})
	eachTableRow(t, func(t *testing.T, table string, row *tableRow) { check(t, table, row.system, row.code) })
}

// (7) A panel holds its members and has no value; a total has a value and holds none.
func TestPanelsAndTotals(t *testing.T) {
	panels := []string{"96777-8", "97023-6", "88121-9", "93025-5", "72109-2", "82666-9", "44249-1", "55757-9", "69737-5", "93373-9", "76506-5"}
	totals := []string{"88124-3", "95614-4", "75626-2", "75624-7", "82667-7", "44261-6", "55758-7", "70274-6"}
	seen := map[bool]bool{}
	eachMade(t, func(t *testing.T, r made) {
		if r.body["resourceType"] != "Observation" {
			return
		}
		valued := false
		for name := range r.body {
			valued = valued || strings.HasPrefix(name, "value")
		}
		for _, code := range inSystem(codingsOf(r.body["code"]), loinc) {
			switch {
			case slices.Contains(panels, code):
				seen[true] = true
				if valued || r.body["hasMember"] == nil {
					t.Errorf("%s: the panel %s has a value, or no members", r.file, code)
				}
			case slices.Contains(totals, code):
				seen[false] = true
				if r.body["hasMember"] != nil || !valued && r.body["dataAbsentReason"] == nil {
					t.Errorf("%s: the total %s has members, or no value", r.file, code)
				}
			}
		}
	})
	if !seen[true] || !seen[false] {
		t.Error("no case has a panel and a total")
	}
}

// (8) Items and totals of BARC-10 say which wording they belong to, and so does the questionnaire.
func TestBARCSaysItsVersion(t *testing.T) {
	p := load(t, "recovery-capital")
	codes := map[string][]string{}
	for _, version := range []string{"published", "reworded"} {
		record := `{"measure_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "last_updated": "2026-03-02T16:00:00Z",
			"barc": {"version": "` + version + `", "on": "2026-03-02", "items": [{"item": "1", "score": 2}], "total": 20}}`
		res, err := p.MapJSON(testEnv(false), []byte(record))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Records[0].Resources {
			var body map[string]any
			if err := json.Unmarshal(r.JSON, &body); err != nil {
				t.Fatal(err)
			}
			switch r.Type {
			case "Observation":
				codes[version] = append(codes[version], codingsOf(body["code"])...)
			case "QuestionnaireResponse":
				form, _ := body["questionnaire"].(string)
				if !strings.Contains(form, "|") {
					t.Errorf("the questionnaire %s has no version", form)
				}
				codes[version] = append(codes[version], form)
			}
		}
	}
	if len(codes["published"]) != 3 || len(codes["reworded"]) != 3 {
		t.Fatalf("made %v", codes)
	}
	// The screening pack takes the published form too, and means the same by its codes.
	for _, row := range load(t, "sdoh-screening").tables["question"].list {
		if row.native == "barc-10|item_1" && !slices.Contains(codes["published"], testURL+"/CodeSystem/instrument-items|"+row.code) {
			t.Errorf("item 1 is %s in one pack and %v in the other", row.code, codes["published"])
		}
	}
	for _, c := range codes["published"] {
		if slices.Contains(codes["reworded"], c) {
			t.Errorf("%s stands for both wordings", c)
		}
	}
}

// (9) NUCC's 175T00000X stands for several kinds of peer work: a text says which.
func TestPeerCodeHasItsText(t *testing.T) {
	seen := false
	eachMade(t, func(t *testing.T, r made) {
		walkJSON(r.body, func(m map[string]any) {
			codings, _ := m["coding"].([]any)
			if len(codings) == 0 || !slices.Contains(codingsOf(codings), "http://nucc.org/provider-taxonomy|175T00000X") {
				return
			}
			seen = true
			if text, _ := m["text"].(string); text == "" {
				t.Errorf("%s: %s says 175T00000X and not what the worker is", r.file, r.slot)
			}
		})
	})
	if !seen {
		t.Error("no case has a peer worker")
	}
}

// (10) Ids follow from the record: the same record, mapped again later, has the same ones, and none is random.
func TestIDsAreNotRandom(t *testing.T) {
	eachCase(t, func(t *testing.T, p *Pack, file, input string) {
		env := testEnv(false)
		later := env
		later.Now = env.Now.AddDate(1, 0, 0)
		a, err1 := mapInput(p, env, input)
		b, err2 := mapInput(p, later, input)
		if err1 != nil || err2 != nil {
			return // cases of refused input
		}
		var ids [2][]string
		for i, res := range []*Result{a, b} {
			for _, rec := range res.Records {
				for _, r := range rec.Resources {
					ids[i] = append(ids[i], r.Type+"/"+r.ID)
					if id, err := uuid.Parse(r.ID); err != nil || id.Version() != 5 {
						t.Errorf("%s: %s has the id %s", file, r.Slot, r.ID)
					}
				}
			}
		}
		if diff := cmp.Diff(ids[0], ids[1]); diff != "" {
			t.Errorf("%s: mapped again it has other ids\n%s", file, diff)
		}
	})
}

// (11) What a partner adds to a resource survives that the resource is made anew: Merge keeps it and Restore puts it back.
func TestPartnersAdditionsSurvive(t *testing.T) {
	eachCase(t, func(t *testing.T, p *Pack, file, input string) {
		if p.Format != "json" {
			return
		}
		env, data := testEnv(false), []byte(input)
		if _, err := p.record(data); err != nil {
			return // refused, or FHIR itself
		}
		res, err := p.MapJSON(env, data)
		if err != nil || len(res.Records) == 0 {
			return
		}
		var theirs [][]byte
		for _, r := range res.Records[0].Resources {
			theirs = append(theirs, added(t, r))
		}
		merged, err := p.Merge(env, data, data, theirs, nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(merged.Taken)+len(merged.Conflicts) > 0 {
			t.Errorf("%s: an addition changed the record: %+v %+v", file, merged.Taken, merged.Conflicts)
		}
		again, err := p.MapJSON(env, mustJSON(t, merged.Record))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, r := range again.Records[0].Resources {
			if r.Type == "Provenance" {
				continue // tells of our own version
			}
			whole, left, err := Restore(r.JSON, merged.Unknown)
			if err != nil {
				t.Fatal(err)
			}
			if len(left) > 0 || !bytes.Contains(whole, []byte("https://ehr.example/seen")) || !bytes.Contains(whole, []byte(`"language":"en"`)) {
				t.Errorf("%s: what the partner added to %s is lost", file, r.Slot)
			}
		}
	})
}

// added is a resource as a partner has it who noted something on it.
func added(t *testing.T, r Resource) []byte {
	t.Helper()
	v, err := decodeJSON(r.JSON) // keeps the digits of numbers
	if err != nil {
		t.Fatal(err)
	}
	body := asObject(v).fields
	list, _ := body["extension"].([]any)
	body["extension"] = append(list, map[string]any{"url": "https://ehr.example/seen", "valueCode": "yes"})
	body["language"] = "en"
	return mustJSON(t, body)
}

// (12) What is private stands nowhere in the output, the narrative included: notes, diaries, and the words of the cases
// that are kept back, all of which hold "secret".
func TestPrivateTextIsNowhere(t *testing.T) {
	kept := 0
	eachCase(t, func(t *testing.T, p *Pack, file, input string) {
		if p.Format != "json" {
			return
		}
		res, err := p.MapJSON(testEnv(false), []byte(input))
		if err != nil {
			return
		}
		bundle, err := res.Bundle()
		if err != nil {
			t.Fatal(err)
		}
		var rec map[string]any
		if err := json.Unmarshal([]byte(input), &rec); err != nil {
			t.Fatal(err)
		}
		words := []string{"secret"}
		for _, field := range []string{"note", "diary"} {
			if text, ok := rec[field].(string); ok {
				words = append(words, text)
			}
		}
		if strings.Contains(input, "secret") {
			kept++
		}
		for _, w := range words {
			if bytes.Contains(bundle, []byte(w)) {
				t.Errorf("%s: the output holds %q", file, w)
			}
		}
	})
	if kept < 12 {
		t.Errorf("only %d cases keep something back", kept)
	}
}

// (13) US Core 6.1 and 7.0 insist on assess-plan. (14) Steps of a plan are resources of their own, never activity.detail.
func TestCarePlans(t *testing.T) {
	seen := false
	eachMade(t, func(t *testing.T, r made) {
		if r.body["resourceType"] != "CarePlan" {
			return
		}
		seen = true
		if !slices.Contains(codingsOf(r.body["category"]), "http://hl7.org/fhir/us/core/CodeSystem/careplan-category|assess-plan") {
			t.Errorf("%s: %s lacks assess-plan", r.file, r.slot)
		}
		walkJSON(r.body["activity"], func(m map[string]any) {
			if m["detail"] != nil {
				t.Errorf("%s: %s has an activity.detail", r.file, r.slot)
			}
		})
	})
	if !seen {
		t.Error("no case has a CarePlan")
	}
}

// (15) The address of a house or shelter is the house's: it never stands in a Patient, where matching would take it for a
// sign of who somebody is.
func TestHouseAddressIsNotThePersons(t *testing.T) {
	places := map[string]map[string]bool{}
	eachMade(t, func(t *testing.T, r made) {
		if r.body["resourceType"] != "Location" || r.body["address"] == nil {
			return
		}
		if places[r.file] == nil {
			places[r.file] = map[string]bool{}
		}
		places[r.file][string(mustJSON(t, asObject(r.body["address"]).fields["line"]))] = true
	})
	seen := 0
	eachMade(t, func(t *testing.T, r made) {
		if r.body["resourceType"] != "Patient" || places[r.file] == nil {
			return
		}
		seen++
		walkJSON(r.body, func(m map[string]any) {
			if m["line"] != nil && places[r.file][string(mustJSON(t, m["line"]))] {
				t.Errorf("%s: the Patient lives at the address of the house", r.file)
			}
		})
	})
	if seen == 0 {
		t.Error("no case has a house with an address")
	}
}

// (16) A domain of Gravity's promises a code of that domain's set: never one of ours, and never mere words.
func TestDomainsStandBesideStandardCodes(t *testing.T) {
	open := []string{"sdoh-category-unspecified", "program-enrollment"}
	seen := false
	eachMade(t, func(t *testing.T, r made) {
		domains := slices.DeleteFunc(inSystem(codingsOf(r.body["category"]), sdohcc), func(c string) bool { return slices.Contains(open, c) })
		if len(domains) == 0 {
			return
		}
		seen = true
		about := []string{"code", "description", "valueCodeableConcept"}
		for _, name := range about {
			v, there := r.body[name]
			if !there {
				continue
			}
			codings := codingsOf(v)
			if len(codings) == 0 {
				t.Errorf("%s: %s has the domain %v beside mere words in %s", r.file, r.slot, domains, name)
			}
			for _, c := range codings {
				if strings.HasPrefix(c, testURL) || strings.HasPrefix(c, "|") {
					t.Errorf("%s: %s has the domain %v beside our own code %s", r.file, r.slot, domains, c)
				}
			}
		}
	})
	if !seen {
		t.Error("no case has a domain")
	}
	services := load(t, "referral").tables["referral-service"]
	for _, row := range services.list {
		if domain := services.cell(row.native, "category"); domain != "" && row.system != "http://snomed.info/sct" {
			t.Errorf("the service %s has the domain %s and no standard code", row.native, domain)
		}
	}
}

// (17) A completed Task of a referral says what came of it, whatever the record left out.
func TestCompletedTasksHaveOutput(t *testing.T) {
	seen := false
	check := func(t *testing.T, where string, body map[string]any) {
		if body["resourceType"] != "Task" || body["intent"] != "order" || body["status"] != "completed" {
			return
		}
		seen = true
		if out, _ := body["output"].([]any); len(out) == 0 {
			t.Errorf("%s: a completed Task without output", where)
		}
	}
	eachMade(t, func(t *testing.T, r made) { check(t, r.file+" "+r.slot, r.body) })
	for pack, record := range map[string]string{
		"referral":    `{"referral_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "service": "taxi", "sent_on": "2026-03-02T16:00:00Z", "last_updated": "2026-03-02T16:00:00Z", "status": "STATUS"}`,
		"mat-linkage": `{"linkage_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "asked_on": "2026-03-02", "last_updated": "2026-03-02T16:00:00Z", "status": "STATUS"}`,
	} {
		p := load(t, pack)
		for _, status := range p.maps[0].tree.props["status"].enum {
			res, err := p.MapJSON(testEnv(false), []byte(strings.Replace(record, "STATUS", status, 1)))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range res.Records[0].Resources {
				var body map[string]any
				if err := json.Unmarshal(r.JSON, &body); err != nil {
					t.Fatal(err)
				}
				check(t, pack+" "+status, body)
			}
		}
	}
	if !seen {
		t.Error("no case has a completed Task")
	}
}

// (18) An answer is sent only where somebody gave it: a stay is not an answer about housing, a job none about work.
func TestAnswersAreNotInferred(t *testing.T) {
	for pack, field := range map[string]string{"recovery-housing": "housing_asked", "employment-education": "answers"} {
		asked, answered := 0, 0
		eachCase(t, func(t *testing.T, p *Pack, file, input string) {
			if p.Name != pack {
				return
			}
			res, err := p.MapJSON(testEnv(false), []byte(input))
			if err != nil {
				return
			}
			var rec map[string]any
			if err := json.Unmarshal([]byte(input), &rec); err != nil {
				t.Fatal(err)
			}
			list, _ := rec[field].([]any)
			here, dropped := 0, 0
			for _, pr := range res.Report.Problems {
				if pr.Dropped {
					dropped++
				}
			}
			for _, r := range res.Records[0].Resources {
				var body map[string]any
				if err := json.Unmarshal(r.JSON, &body); err != nil {
					t.Fatal(err)
				}
				if r.Type == "Observation" && len(inSystem(codingsOf(body["code"]), loinc)) > 0 {
					here++
				}
			}
			if here != len(list)-dropped {
				t.Errorf("%s: %d answers for %d questions asked", file, here, len(list))
			}
			asked, answered = asked+len(list), answered+here
		})
		if asked == 0 || answered == 0 {
			t.Errorf("no case of %s asks anything", pack)
		}
	}
}
