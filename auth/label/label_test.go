package label

import (
	"fmt"
	"io/fs"
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

func classify(t *testing.T, c *Classifier, doc string, src Source) Verdict {
	t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return c.Examine(r, src, nil)
}

// program is a Part 2 program with one place.
type program struct{}

func (program) Program(reference string) bool {
	return reference == "Organization/otp" || reference == "Location/site"
}

func TestRulesOfThePack(t *testing.T) {
	c, err := Load(Config{Programs: program{}})
	if err != nil {
		t.Fatal(err)
	}
	clinic := Source{Organization: "clinic", Covered: true}
	const med = `{"resourceType":"MedicationRequest","medicationCodeableConcept":%s}`
	for _, tc := range []struct{ name, doc, want, rule, path string }{
		{"a code without its dot", `{"resourceType":"Condition","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"f1120"}]}}`, "R OPIOIDUD", "icd10cm.opioid", "Condition.code.coding[0]"},
		{"a code system by its OID", `{"resourceType":"Condition","code":{"coding":[{"system":"urn:oid:2.16.840.1.113883.6.90","code":"F10.10"}]}}`, "R ETHUD", "icd10cm.alcohol", "Condition.code.coding[0]"},
		{"the very code before a range", `{"resourceType":"Procedure","code":{"coding":[{"system":"https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets","code":"H0020"}]}}`, "R OPIOIDUD", "hcpcs.opioid", "Procedure.code.coding[0]"},
		{"a range", `{"resourceType":"Procedure","code":{"coding":[{"system":"https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets","code":"H0010"}]}}`, "R SUD", "hcpcs.substance", "Procedure.code.coding[0]"},
		{"past a range", `{"resourceType":"Procedure","code":{"coding":[{"system":"https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets","code":"H00101"}]}}`, "N", "", ""},
		{"off unless asked for", fmt.Sprintf(med, `{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"7242"}]}`), "N", "", ""},
		{"a medicine by its name", fmt.Sprintf(med, `{"text":"SUBOXONE 8/2"}`), "R OPIOIDUD", "medicine.opioid", "MedicationRequest.medicationCodeableConcept.text"},
		{"a name that no rule knows", fmt.Sprintf(med, `{"text":"aspirin"}`), "N unclassified hidden", "unclassified", ""},
		{"a contained medicine", `{"resourceType":"MedicationRequest","medicationReference":{"reference":"#m"},"contained":[{"resourceType":"Medication","id":"m","code":{"text":"methadone"}}]}`, "R OPIOIDUD", "medicine.opioid", "MedicationRequest.contained[0].code.text"},
		{"a program", `{"resourceType":"Task","owner":{"reference":"Organization/otp"}}`, "R SSP", "structure.program", "Task.owner"},
		{"a place of one", `{"resourceType":"Encounter","location":[{"location":{"reference":"Location/site"}}]}`, "R SSP", "structure.program", "Encounter.location[0].location"},
		{"words in a narrative", `{"resourceType":"CarePlan","text":{"div":"<div>He is <i>so</i>ber now; sobriety&nbsp;since May</div>"}}`, "R unclassified hidden", "text.substance", "CarePlan.text.div"},
		{"words inside words are none", `{"resourceType":"CarePlan","text":{"div":"<div>detoxifier, soberly, addictive</div>"}}`, "N", "", ""},
		{"the display of a reference goes with it", `{"resourceType":"List","entry":[{"item":{"reference":"Condition/1","display":"opioid use disorder"}}]}`, "N", "", ""},
		{"a display that stays", `{"resourceType":"Encounter","serviceProvider":{"reference":"Organization/x","display":"Addiction clinic"}}`, "R unclassified hidden", "text.substance", "Encounter.serviceProvider.display"},
		{"a plural", `{"resourceType":"Communication","payload":[{"contentString":"two overdoses of heroin, illicit drugs"}]}`, "R unclassified hidden", "text.substance", "Communication.payload[0].contentString"},
		{"a text attachment", `{"resourceType":"DocumentReference","content":[{"attachment":{"contentType":"text/plain; charset=utf-8","data":"T24gbWV0aGFkb25lLg=="}}]}`, "R unclassified hidden", "text.medicine", "DocumentReference.content[0].attachment.data"},
		{"an attachment that is no text", `{"resourceType":"DocumentReference","content":[{"attachment":{"contentType":"image/png","data":"T24gbWV0aGFkb25lLg=="}}]}`, "N", "", ""},
		{"words where codes have said it", `{"resourceType":"Condition","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"F11.20"}],"text":"opioid use disorder"}}`, "R OPIOIDUD", "icd10cm.opioid", "Condition.code.coding[0]"},
		{"names of people are no text", `{"resourceType":"Patient","name":[{"family":"Sober","given":["Heroin"]}]}`, "N", "", ""},
		{"what tells only together", `{"resourceType":"Claim","diagnosis":[{"diagnosisCodeableConcept":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"Z79.891"}]}}],"item":[{"productOrService":{"coding":[{"system":"http://www.ama-assn.org/go/cpt","code":"80306"}]}}]}`, "R SUD", "combination.monitored-opioids", ""},
		{"half of it", `{"resourceType":"Claim","item":[{"productOrService":{"coding":[{"system":"http://www.ama-assn.org/go/cpt","code":"80306"}]}}]}`, "N", "", ""},
		{"contained and unknown", `{"resourceType":"DiagnosticReport","code":{"coding":[{"system":"http://loinc.org","code":"1"}]},"contained":[{"resourceType":"Observation","code":{"text":"x"}}]}`, "N unclassified hidden", "unclassified", ""},
	} {
		v := classify(t, c, tc.doc, clinic)
		if got := describe(v.Segment); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
		if tc.rule == "" && len(v.Findings) > 0 || tc.rule != "" && (len(v.Findings) == 0 || v.Findings[0].Rule != tc.rule || v.Findings[0].Path != tc.path) {
			t.Errorf("%s: %+v", tc.name, v.Findings)
		}
		if (v.Review != nil) != strings.HasPrefix(tc.rule, "text.") {
			t.Errorf("%s: review %+v", tc.name, v.Review)
		}
	}
}

// What people wrote in a program's record needs no review: it is a Part 2 record whatever the words.
func TestWordsOfAProgram(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	v := classify(t, c, `{"resourceType":"CarePlan","title":"Stay sober"}`, Source{Organization: "otp", Part2: true})
	if v.Review != nil || describe(v.Segment) != "R 42CFRPart2 part2" {
		t.Errorf("%+v", v)
	}
}

func TestUnder(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	v := classify(t, c, `{"resourceType":"CarePlan","title":"Stay sober","meta":{"security":[{"system":"urn:x","code":"own"}]}}`, Source{Organization: "clinic"})
	sud := []fhir.Coding{{System: fhir.SystemActCode, Code: "SUD"}}
	for _, tc := range []struct {
		given Given
		want  string
	}{
		{v.Given, "R unclassified own hidden"},
		{Given{}, "R unclassified hidden"},
		{Given{Mapped: sud}, "R SUD"},
		{Given{Inbound: []fhir.Coding{{System: fhir.SystemConfidentiality, Code: "V"}}}, "V unclassified hidden"},
	} {
		under := v.Under(tc.given)
		if got := describe(under.Segment); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.given, got, tc.want)
		}
		if under.Review != nil && describe(under.Review.Clear) == describe(under.Review.Kept) {
			t.Errorf("%+v: a review that changes nothing", tc.given)
		}
	}
}

func TestSwitches(t *testing.T) {
	plain, err := New()
	if err != nil {
		t.Fatal(err)
	}
	off, err := Load(Config{Off: []string{"icd10cm.opioid"}, On: []string{"icd10cm.tobacco"}})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Version() != RulesVersion || off.Version() == RulesVersion || len(off.Switched()) != 2 {
		t.Errorf("%s, %s", plain.Version(), off.Version())
	}
	for code, want := range map[string]string{"F11.20": "N", "F17.210": "R SUD", "F10.10": "R ETHUD"} {
		v := classify(t, off, `{"resourceType":"Condition","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"`+code+`"}]}}`, Source{Organization: "clinic"})
		if got := describe(v.Segment); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
	for _, cfg := range []Config{{Off: []string{"nonsense"}}, {Off: []string{"source.part2"}}, {Off: []string{"unclassified"}}, {On: []string{"inbound.label"}}} {
		if _, err := Load(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	if again, err := Load(Config{On: []string{"icd10cm.opioid"}}); err != nil || again.Version() != RulesVersion {
		t.Errorf("switching on what is on is another version: %v", err)
	}
}

// A rule that is not confirmed says who has to.
func TestStatusOfRules(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Rules() {
		switch r.Status {
		case "confirmed":
		case "to be confirmed":
			if !strings.Contains(r.Note, "off") && !strings.Contains(r.Note, "to be confirmed by") {
				t.Errorf("%s does not say who confirms it", r.ID)
			}
		default:
			t.Errorf("%s: status %q", r.ID, r.Status)
		}
		if len(r.Labels) == 0 && r.Kind != "inbound" || r.Basis == "" || r.Note == "" {
			t.Errorf("%+v is not whole", r)
		}
	}
}

// TestPackHash holds the pack to its version: whoever changes a file raises VERSION and RulesVersion, and this hash. Records
// are labelled anew under another version only.
func TestPackHash(t *testing.T) {
	const want = RulesVersion + " 14b75b522e85eab9"
	var all []string
	err := fs.WalkDir(packFiles, "pack", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := packFiles.ReadFile(name)
		all = append(all, name+"\n"+string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := RulesVersion + " " + digest(all)[:16]; got != want {
		t.Errorf("the pack is %s, not %s: raise the version", got, want)
	}
}

// TestCorpus holds the pack to what it measured on the golden corpus, and the corpus to what makes it one.
func TestCorpus(t *testing.T) {
	cases, err := Corpus()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Measure(Config{}, cases)
	if err != nil {
		t.Fatal(err)
	}
	if m.Cases < 120 || float64(m.Negatives+m.Uncoded) < 0.4*float64(m.Cases) {
		t.Errorf("%d records, %d negative, %d without a code", m.Cases, m.Negatives, m.Uncoded)
	}
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.ID] || c.Reason == "" || (c.Kind == "negative") != (len(c.Expect) == 0) {
			t.Errorf("%s stands twice, has no reason, or its kind is not what it expects", c.ID)
		}
		seen[c.ID] = true
	}
	for _, least := range []struct {
		label             string
		precision, recall float64
	}{{"SUD", 0.90, 0.90}, {"OPIOIDUD", 0.90, 0.80}, {"ETHUD", 0.95, 0.80}, {"42CFRPart2", 1, 1}, {"SSP", 0.95, 0.85}, {CodeUnclassified, 0.65, 0.75}} {
		if s := m.Labels[least.label]; s.Precision() < least.precision || s.Recall() < least.recall {
			t.Errorf("%s: precision %.2f, recall %.2f", least.label, s.Precision(), s.Recall())
		}
	}
	if m.Overall.Precision() < 0.85 || m.Overall.Recall() < 0.85 {
		t.Errorf("all: precision %.2f, recall %.2f", m.Overall.Precision(), m.Overall.Recall())
	}
}

func TestHighWater(t *testing.T) {
	var mark HighWater
	if mark.Security() != nil {
		t.Error("a mark of nothing")
	}
	mark.Raise(Segment{Directory: true, Confidentiality: "U"})
	if mark.Security() != nil {
		t.Error("a mark of public entries")
	}
	for _, s := range []Segment{{Confidentiality: "N"}, {Confidentiality: "R", Labels: []fhir.Coding{{System: fhir.SystemActCode, Code: "42CFRPart2"}, {System: fhir.SystemActCode, Code: "MASK"}, {System: fhir.SystemActCode, Code: "SUD"}}}} {
		mark.Raise(s)
	}
	if got := fmt.Sprint(mark.Security()); got != "[{http://terminology.hl7.org/CodeSystem/v3-Confidentiality R} {http://terminology.hl7.org/CodeSystem/v3-ActCode 42CFRPart2}]" {
		t.Error(got)
	}
}

func TestBasis(t *testing.T) {
	act := func(code string) fhir.Coding { return fhir.Coding{System: fhir.SystemActCode, Code: code} }
	s := Segment{Part2: true, Covered: true, Confidentiality: "R", Labels: []fhir.Coding{act("42CFRPart2"), act("LIVARG"), act("OPIOIDUD")}}
	for l, want := range map[fhir.Coding]string{{System: fhir.SystemConfidentiality, Code: "R"}: "42CFRPart2", act("42CFRPart2"): "", act("OPIOIDUD"): "42CFRPart2", act("LIVARG"): RulesVersion} {
		if basis, ok := s.Basis(l); basis.Code != want || ok != (want != "") {
			t.Errorf("%s: %s", l.Code, basis.Code)
		}
	}
	for n, s := range []Segment{{}, {Covered: true}, {Covered: true, Labels: []fhir.Coding{act("SUD")}}, s} {
		if got := s.Policies(); got != n {
			t.Errorf("%d policies, want %d", got, n)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "<div>sober</div>", "12-step", "\xff<", "a'b"} {
		f.Add(s)
	}
	c, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if found := c.words.in(text + " heroin"); len(found) == 0 {
			t.Error("a word is lost behind another text")
		}
		plain(text)
	})
}
