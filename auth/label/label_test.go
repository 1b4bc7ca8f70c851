package label

import (
	"fmt"
	"strings"
	"testing"

	"trellis/fhir"
)

func TestClassify(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	program := Source{Organization: "otp", Part2: true, Covered: true}
	clinic := Source{Organization: "clinic", Covered: true}
	coded := func(typ, system, code string) string {
		return fmt.Sprintf(`{"resourceType":%q,"code":{"coding":[{"system":%q,"code":%q}]}}`, typ, system, code)
	}
	for _, tc := range []struct {
		name   string
		doc    string
		source Source
		mapped []fhir.Coding
		want   string // confidentiality, labels, flags
	}{
		{"ordinary", coded("Condition", fhir.SystemICD10CM, "I10"), clinic, nil, "N"},
		{"opioid use disorder at a clinic is sensitive, not Part 2", coded("Condition", fhir.SystemICD10CM, "F11.20"), clinic, nil, "R OPIOIDUD"},
		{"the same at a program is both", coded("Condition", fhir.SystemICD10CM, "F11.20"), program, nil, "R 42CFRPart2 OPIOIDUD part2"},
		{"anything at a program is Part 2", coded("Condition", fhir.SystemICD10CM, "I10"), program, nil, "R 42CFRPart2 part2"},
		{"tobacco is left out", coded("Condition", fhir.SystemICD10CM, "F17.210"), clinic, nil, "N"},
		{"a prefix is a prefix of that system only", coded("Condition", fhir.SystemSNOMED, "F11.20"), clinic, nil, "N"},
		{"medication by ingredient", `{"resourceType":"MedicationRequest","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"1819"}]}}`, clinic, nil, "R OPIOIDUD"},
		{"words alone cannot be classified", `{"resourceType":"Condition","code":{"text":"x"}}`, clinic, nil, "N unclassified hidden"},
		{"an unknown system cannot either", coded("Observation", "https://elsewhere.example/codes", "1"), clinic, nil, "N unclassified hidden"},
		{"own words under a category of ours", `{"resourceType":"Condition","code":{"text":"x"},"category":[{"coding":[{"system":"https://trellis.example/fhir/CodeSystem/need-domain","code":"housing"}]}]}`, clinic, nil, "N"},
		{"contained content raises the whole", `{"resourceType":"DiagnosticReport","code":{"coding":[{"system":"http://loinc.org","code":"1"}]},"contained":[{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org","code":"82667-7"}]}}]}`, clinic, nil, "R SUD"},
		{"inbound labels are kept", `{"resourceType":"Patient","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2"},{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"},{"system":"urn:x","code":"own"}]}}`, clinic, nil, "V 42CFRPart2 own part2"},
		{"an unknown confidentiality is the highest", `{"resourceType":"Patient","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"Q"}]}}`, clinic, nil, "V"},
		{"a mapping's labels count", `{"resourceType":"Patient"}`, clinic, []fhir.Coding{{System: fhir.SystemActCode, Code: "LIVARG"}}, "N LIVARG"},
		{"a counselling note", `{"resourceType":"DocumentReference","meta":{"security":[{"system":"https://trellis.example/fhir/CodeSystem/security-label","code":"sud-counseling-note"}]}}`, program, nil, "V 42CFRPart2 sud-counseling-note part2 note"},
		{"a directory entry has no labels", `{"resourceType":"Organization"}`, program, nil, "U directory"},
	} {
		r, err := fhir.ReadTrusted([]byte(tc.doc))
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(c.Classify(r, tc.source, tc.mapped)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func describe(s Segment) string {
	words := []string{s.Confidentiality}
	for _, l := range s.Labels {
		words = append(words, l.Code)
	}
	for word, on := range map[string]bool{"part2": s.Part2, "note": s.CounselingNote, "hidden": s.Unclassified, "directory": s.Directory} {
		if on {
			words = append(words, word)
		}
	}
	if s.Part2 && s.CounselingNote {
		words = append(words[:len(words)-2], "part2", "note")
	}
	return strings.Join(words, " ")
}

func TestSegmentKey(t *testing.T) {
	a := Segment{Custodian: "x", Part2: true, Confidentiality: "R"}
	b := a
	if a.Key() != b.Key() {
		t.Error("equal segments have different keys")
	}
	b.Covered = true
	if a.Key() == b.Key() {
		t.Error("different segments have one key")
	}
}
