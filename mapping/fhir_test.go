package mapping

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"trellis/fhir"
)

// eachCaseResource calls f for every resource that the golden cases of all packs give.
func eachCaseResource(t *testing.T, f func(t *testing.T, file string, r Resource)) {
	t.Helper()
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := load(t, name)
		files, err := fs.Glob(Packs(), name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := fs.ReadFile(Packs(), file)
			if err != nil {
				t.Fatal(err)
			}
			input, _, _ := strings.Cut(string(data), caseRule)
			res, err := mapInput(p, testEnv(strings.HasSuffix(file, "-part2.case")), input)
			if err != nil {
				continue // cases of refused input
			}
			for _, rec := range res.Records {
				for _, r := range rec.Resources {
					f(t, file, r)
				}
			}
		}
	}
}

func TestResourcesAreR4(t *testing.T) {
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	eachCaseResource(t, func(t *testing.T, file string, r Resource) {
		if _, err := parser.Parse(r.Labelled()); err != nil {
			t.Errorf("%s: %s %s: %v", file, r.Type, r.Slot, err)
		}
	})
}

// mandatory lists, per profile claimed, the elements that US Core 6.1, 7.0 and 8.0 all make mandatory (1..), as paths
// into the JSON; alternatives are separated by a bar.
func mandatory() map[string][]string {
	const (
		us      = "http://hl7.org/fhir/us/core/StructureDefinition/"
		gravity = "http://hl7.org/fhir/us/sdoh-clinicalcare/StructureDefinition/"
	)
	return map[string][]string{
		us + "us-core-patient":                            {"identifier.system", "identifier.value", "name.family|name.given|name.extension", "gender"},
		us + "us-core-organization":                       {"active", "name"},
		us + "us-core-careplan":                           {"text.status", "text.div", "status", "intent", "category", "subject"},
		us + "us-core-careteam":                           {"subject", "participant.role", "participant.member"},
		us + "us-core-goal":                               {"lifecycleStatus", "description.text", "subject"},
		us + "us-core-encounter":                          {"identifier.system", "identifier.value", "status", "class", "type", "subject"},
		us + "us-core-simple-observation":                 {"status", "category", "code", "subject"},
		us + "us-core-procedure":                          {"status", "code", "subject", "performedPeriod|performedDateTime"},
		us + "us-core-relatedperson":                      {"active", "patient", "name|relationship"},
		us + "us-core-practitionerrole":                   {"telecom", "practitioner|organization"},
		us + "us-core-questionnaireresponse":              {"questionnaire", "status|_status", "subject", "authored"},
		us + "us-core-condition-problems-health-concerns": {"category", "code", "subject"},
		us + "us-core-servicerequest":                     {"status", "intent", "code", "subject", "category"},
		us + "us-core-provenance":                         {"target", "recorded", "agent.type", "agent.who", "entity.role", "entity.what"},
		us + "us-core-observation-screening-assessment": {"status", "category", "code", "subject",
			"valueCodeableConcept|valueQuantity|dataAbsentReason|hasMember|component"},
		gravity + "SDOHCC-ObservationScreeningResponse": {
			"status", "category", "code", "subject", "effectiveDateTime|effectivePeriod"},
		gravity + "SDOHCC-Location":                           {"address"},
		gravity + "SDOHCC-HealthcareService":                  {"active", "telecom"},
		gravity + "SDOHCC-ServiceRequest":                     {"status", "intent", "category", "code", "subject"},
		gravity + "SDOHCC-TaskForReferralManagement":          {"status", "intent", "code", "focus", "for", "authoredOn", "requester"},
		gravity + "SDOHCC-ObservationProgramEnrollmentStatus": {"status", "category", "code", "subject", "valueCodeableConcept"},
	}
}

func TestMandatoryElements(t *testing.T) {
	want := mandatory()
	claimed := map[string]bool{}
	eachCaseResource(t, func(t *testing.T, file string, r Resource) {
		var doc map[string]any
		if err := json.Unmarshal(r.JSON, &doc); err != nil {
			t.Fatal(err)
		}
		profiles, _ := doc["meta"].(map[string]any)["profile"].([]any)
		for _, p := range profiles {
			elements, ok := want[p.(string)]
			if !ok {
				t.Errorf("%s: %s claims %s, which this test does not know", file, r.Slot, p)
			}
			claimed[p.(string)] = true
			for _, e := range elements {
				if !hasAny(doc, e) {
					t.Errorf("%s: %s %s lacks %s of %s", file, r.Type, r.Slot, e, p)
				}
			}
		}
	})
	for p := range want {
		if !claimed[p] && !strings.HasSuffix(p, "practitionerrole") {
			t.Errorf("no case claims %s", p)
		}
	}
}

func hasAny(doc any, paths string) bool {
	for _, p := range strings.Split(paths, "|") {
		if has(doc, strings.Split(p, ".")) {
			return true
		}
	}
	return false
}

// has tells whether every item along the path has the element, and there is one.
func has(v any, segs []string) bool {
	if list, ok := v.([]any); ok {
		for _, item := range list {
			if !has(item, segs) {
				return false
			}
		}
		return len(list) > 0
	}
	if len(segs) == 0 {
		return v != nil
	}
	m, ok := v.(map[string]any)
	if !ok || m[segs[0]] == nil {
		return false
	}
	return has(m[segs[0]], segs[1:])
}

// Gravity: a screening response carries survey and SDOH categories, interpretation is never negative.
func TestScreeningCategories(t *testing.T) {
	eachCaseResource(t, func(t *testing.T, file string, r Resource) {
		text := string(r.JSON)
		if strings.Contains(text, `"NEG"`) {
			t.Errorf("%s: %s has a negative interpretation", file, r.Slot)
		}
		if !strings.Contains(text, "SDOHCC-ObservationScreeningResponse") {
			return
		}
		for _, code := range []string{`"survey"`, `"sdoh"`} {
			if !strings.Contains(text, code) {
				t.Errorf("%s: %s lacks category %s", file, r.Slot, code)
			}
		}
	})
}
