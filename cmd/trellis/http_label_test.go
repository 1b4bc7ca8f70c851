package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"trellis/auth/label"
	"trellis/conformance/decisions"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// labelsOf is the labels a visitor is shown of a record.
func (v visitor) labelsOf(reference string) string {
	v.in.t.Helper()
	a := v.get(reference)
	if a.status != 200 {
		return fmt.Sprint(a.status)
	}
	root, err := fhir.ParseJSON(a.body)
	if err != nil {
		v.in.t.Fatal(err)
	}
	var codes []string
	for _, n := range root.Path("meta", "security").List() {
		codes = append(codes, n.Get("code").Text())
	}
	return strings.Join(codes, " ")
}

// otherRules is the installation's rules with some switched, as after a restart with another configuration.
func (in *installation) otherRules(cfg label.Config) *label.Classifier {
	in.t.Helper()
	cfg.Programs, cfg.Scope = in.gateway.programs, in.gateway.programs.scope()
	c, err := label.Load(cfg)
	if err != nil {
		in.t.Fatal(err)
	}
	return c
}

// relabelAll labels everything anew under other rules.
func (in *installation) relabelAll(c *label.Classifier) {
	in.t.Helper()
	s := in.gateway.store
	if err := s.BeginRelabel(in.t.Context(), c); err != nil {
		in.t.Fatal(err)
	}
	for worked := true; worked; {
		var err error
		if worked, err = s.Relabel(in.t.Context(), c); err != nil {
			in.t.Fatal(err)
		}
	}
	if job, found, err := s.LastRelabel(in.t.Context()); err != nil || !found || job.State != store.RelabelDone || job.Pack != c.Version() {
		in.t.Fatalf("the relabelling is not done: %+v %v", job, err)
	}
	in.checkIndex()
}

func onP1(typ, id, rest string) string {
	return `{"resourceType":"` + typ + `","id":"` + id + `","subject":{"reference":"Patient/P1"},` + rest + `}`
}

func planOf(id, words string) string {
	return onP1("CarePlan", id, `"status":"active","intent":"plan","text":{"status":"additional","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">`+words+`</div>"}`)
}

// Case 38: today's label governs every version.
func TestLabelOfTodayGovernsOldVersions(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		const coding = `"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}]}`
		in.keep("hospital", onP1("Condition", "L38", coding))
		v := in.as("otp", "TREAT")
		if a := v.get("Condition/L38/_history/1"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.keep("hospital", onP1("Condition", "L38", `"meta":{"security":[{"system":"https://trellis.example/fhir/CodeSystem/security-label","code":"unclassified"}]},`+coding))
		for _, path := range []string{"Condition/L38", "Condition/L38/_history/1", "Condition/L38/_history/2", "Condition/L38/_history"} {
			a, unknown := v.get(path), v.get(strings.Replace(path, "L38", "L99", 1))
			if a.status != 404 || !bytes.Equal(a.body, unknown.body) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		// The same when rules, not versions, change the label.
		in.keep("hospital", planOf("L38b", "Zqcanary says smack"))
		if a := v.get("CarePlan/L38b/_history/1"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.relabelAll(in.otherRules(label.Config{On: []string{"text.slang"}}))
		if a := v.get("CarePlan/L38b/_history/1"); a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// Case 41: what is contained raises what contains it.
func TestContainedRaisesTheContainer(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		report := func(id, inner string) string {
			return onP1("DiagnosticReport", id, `"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"24323-8"}]},"result":[{"reference":"#t"}],
				"contained":[{"resourceType":"Observation","id":"t","status":"final","code":`+inner+`}]`)
		}
		tox := report("D1", `{"coding":[{"system":"http://loinc.org","code":"19359-9"}]}`)
		in.keep("hospital", tox)
		in.keep("hospital", report("D2", `{"text":"Zqcanary confirmatory test"}`))
		in.keep("otp", strings.Replace(tox, `"D1"`, `"D3"`, 1))
		if got := in.as("otp", "TREAT").labelsOf("DiagnosticReport/D1"); got != "R SUD" {
			t.Errorf("contained toxicology: %s", got)
		}
		if got := in.as("otp", "TREAT").labelsOf("DiagnosticReport/D2"); got != "404" {
			t.Errorf("contained and not classified: %s", got)
		}
		if got := in.as("hospital", "TREAT").labelsOf("DiagnosticReport/D3"); got != "404" {
			t.Errorf("a program's, without consent: %s", got)
		}
		if got := in.as("hospital", "TREAT").get("DiagnosticReport?patient=P1").bundle(t).references(); strings.Contains(strings.Join(got, " "), "D3") {
			t.Errorf("%v", got)
		}
	})
}

// Case 42: words hide a record until a person has looked; the answer holds for these words.
func TestWordsAreReviewed(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		const words = "<p>Zqcanary continues <b>buprenorphine</b> 16 mg.</p>"
		in.keep("hospital", planOf("W1", words))
		in.keep("hospital", planOf("W2", "Zqcanary walks half an hour a day"))
		v, own := in.as("otp", "TREAT"), in.as("hospital", "TREAT")
		for reference, want := range map[string]string{"CarePlan/W1": "404", "CarePlan/W2": "N"} {
			if got := v.labelsOf(reference); got != want {
				t.Errorf("%s: %s, want %s", reference, got, want)
			}
		}
		if got := own.labelsOf("CarePlan/W1"); got != "R unclassified" {
			t.Errorf("its custodian: %s", got)
		}
		if got := v.get("CarePlan?patient=P1").bundle(t).references(); strings.Contains(strings.Join(got, " "), "W1") || !strings.Contains(strings.Join(got, " "), "W2") {
			t.Errorf("%v", got)
		}
		command := in.labelCommand()
		if _, out, _ := command("review"); !strings.Contains(out, "CarePlan/W1") || strings.Contains(out, "W2") || strings.Contains(strings.ToLower(out), canary) {
			t.Errorf("the queue: %s", out)
		}
		for _, c := range []struct {
			args string
			code int
			says string
		}{
			{"review|--clear|CarePlan/W1", 2, "--by is required"},
			{"review|--clear|CarePlan/W1|--by|nobody", 1, "no account"},
			{"review|--clear|CarePlan/W1|--by|maya", 1, "neither staff"},
			{"review|--clear|CarePlan/W2|--by|nora", 1, "no words that wait"},
			{"review|--clear|CarePlan/W9|--by|nora", 1, "there is no"},
			{"review|--clear|CarePlan/W1|--as|SUD|--by|nora", 2, "--as goes with --keep"},
			{"review|--clear|CarePlan/W1|--by|nora", 0, "cleared"},
		} {
			if code, out, errs := command(strings.Split(c.args, "|")...); code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("%s: %d %s%s", c.args, code, out, errs)
			}
		}
		if got := v.labelsOf("CarePlan/W1"); got != "N" {
			t.Errorf("cleared: %s", got)
		}
		settled := 0
		for _, e := range in.events() {
			if e.Kind == audit.Admin && e.Interaction == "label review" && e.Patient == "Patient/P1" && e.Outcome == "cleared" && e.User == "u-nora" {
				settled++
			}
		}
		if settled != 1 {
			t.Errorf("%d events of the answer", settled)
		}
		// The answer survives a change elsewhere in the record and other rules; new words are a new question.
		in.keep("hospital", strings.Replace(planOf("W1", words), `"active"`, `"completed"`, 1))
		in.relabelAll(in.otherRules(label.Config{Off: []string{"icd10cm.family"}}))
		if got := v.labelsOf("CarePlan/W1"); got != "N" {
			t.Errorf("cleared, then changed elsewhere: %s", got)
		}
		in.keep("hospital", planOf("W1", words+" Zqcanary in detox"))
		if got := v.labelsOf("CarePlan/W1"); got != "404" {
			t.Errorf("new words: %s", got)
		}
		if code, _, errs := command("review", "--keep", "CarePlan/W1", "--as", "OPIOIDUD", "--by", "nora"); code != 0 {
			t.Error(errs)
		}
		if _, err := in.gateway.store.Segments(t.Context()); err != nil { // the command made a segment; a server looks every few seconds
			t.Fatal(err)
		}
		if got := v.labelsOf("CarePlan/W1"); got != "R OPIOIDUD" {
			t.Errorf("kept as opioid use: %s", got)
		}
		if _, out, _ := command("explain", "CarePlan/W1"); !strings.Contains(out, "text.medicine") || !strings.Contains(out, "CarePlan.text.div") || !strings.Contains(out, "kept as OPIOIDUD by u-nora") || strings.Contains(strings.ToLower(out), canary) {
			t.Errorf("explained: %s", out)
		}
	})
}

// labelCommand runs `trellis label` on the installation's data, with its configuration.
func (in *installation) labelCommand() func(args ...string) (code int, stdout, stderr string) {
	in.t.Helper()
	file := in.configFile()
	return func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		code := run(append(append([]string{"label"}, args...), "--config", file), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
}

// configFile is a configuration file of the installation.
func (in *installation) configFile() string {
	in.t.Helper()
	file := filepath.Join(in.t.TempDir(), "trellis.yaml")
	text := "public_url: " + in.gateway.public + "\ndata: " + in.where.data + "\n" +
		"posture: {part2_program: false, covered_entity: true, business_associate_of: [], qsoa_with: [], intermediary: false}\norganizations:\n"
	if in.where.postgres != "" {
		dsn := filepath.Join(in.t.TempDir(), "dsn")
		if err := os.WriteFile(dsn, []byte(in.where.postgres), 0o600); err != nil {
			in.t.Fatal(err)
		}
		text = "postgres_file: " + dsn + "\n" + text
	}
	for _, o := range fixtureOrganizations(in.t) {
		if !strings.Contains(string(configSchema), `"`+string(o.Class)+`"`) { // not for a file to declare
			continue
		}
		text += fmt.Sprintf("  - {id: %s, name: %q, class: %s, payer: %t}\n", o.ID, o.Name, o.Class, o.Payer)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		in.t.Fatal(err)
	}
	return file
}

// Case 77: new rules make records sensitive; no permit given before holds, and the job is logged.
func TestNewRulesReachWhatIsStored(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.keep("hospital", onP1("MedicationRequest", "M77", `"status":"active","intent":"order","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"7242"}]}`))
		in.keep("hospital", planOf("P77", "Zqcanary says smack"))
		in.keep("hospital", `{"resourceType":"Observation","id":"I77","status":"final","subject":{"reference":"Patient/P1"},"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},
			"meta":{"security":[{"system":"urn:x","code":"own"},{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"V"}]}}`)
		v := in.as("otp", "TREAT")
		held := map[string]string{"If-None-Match": `W/"1"`}
		for _, reference := range []string{"MedicationRequest/M77", "CarePlan/P77"} { // permits are cached now
			if got := v.labelsOf(reference); got != "N" {
				t.Fatalf("%s: %s", reference, got)
			}
		}
		before := in.stored()
		in.relabelAll(in.otherRules(label.Config{On: []string{"rxnorm.naloxone", "text.slang"}}))
		if got := v.labelsOf("MedicationRequest/M77"); got != "R OPIOIDUD" {
			t.Errorf("newly sensitive: %s", got)
		}
		if a := v.ask(request{method: "GET", path: "MedicationRequest/M77", header: held}); a.status != 200 || a.header.Get("ETag") != `W/"1"` {
			t.Errorf("a copy with other labels is taken for the same: %d", a.status)
		}
		if got := v.labelsOf("CarePlan/P77"); got != "404" {
			t.Errorf("newly hidden: %s", got)
		}
		if a := v.ask(request{method: "GET", path: "CarePlan/P77", header: held}); a.status != 404 {
			t.Errorf("newly hidden, to who holds a copy: %d", a.status)
		}
		if got := v.get("CarePlan?patient=P1").bundle(t).references(); strings.Contains(strings.Join(got, " "), "P77") {
			t.Errorf("%v", got)
		}
		// What was given stays: labels that came with a record, and consented Part 2 records are what they were.
		if got := v.labelsOf("Observation/I77"); got != "V own" {
			t.Errorf("labels that came with a record: %s", got)
		}
		if got := in.as("hospital", "TREAT").labelsOf("Condition/C1"); got != "R 42CFRPart2 OPIOIDUD NORDSCLCD" {
			t.Errorf("a program's record under consent: %s", got)
		}
		after := in.stored()
		if before["body"] != after["body"] {
			t.Errorf("relabelling made versions: %v, then %v", before, after)
		}
		var job []string
		for _, e := range in.events() {
			if e.Kind == audit.Admin && e.Interaction == "relabel" {
				job = append(job, e.Outcome+" "+e.Detail["changed"])
			}
		}
		if strings.Join(job, ", ") != "started 0, done 2" {
			t.Errorf("the log of the job: %v", job)
		}
		// Back again: nothing sticks.
		in.relabelAll(in.gateway.labels)
		for _, reference := range []string{"MedicationRequest/M77", "CarePlan/P77"} {
			if got := v.labelsOf(reference); got != "N" {
				t.Errorf("%s, switched back: %s", reference, got)
			}
		}
	})
}

// Whoever reads a record and sends it back does not vouch for labels of ours, and loses none it came with.
func TestLabelsOfOursAreNoInboundLabels(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.keep("hospital", planOf("E1", "Zqcanary in detox"))
		own := in.as(loading("hospital"), "")
		read := own.get("CarePlan/E1").body
		if a := own.ask(request{method: "PUT", path: "CarePlan/E1", body: bytes.Replace(read, []byte("in detox"), []byte("in school"), 1)}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if got := in.as("otp", "TREAT").labelsOf("CarePlan/E1"); got != "N" {
			t.Errorf("sent back without the words: %s", got)
		}
		in.keep("hospital", strings.Replace(planOf("E1", "Zqcanary in school"), `"subject"`, `"meta":{"security":[{"system":"urn:x","code":"own"}]},"subject"`, 1))
		read = own.get("CarePlan/E1").body
		if a := own.ask(request{method: "PUT", path: "CarePlan/E1", body: bytes.Replace(read, []byte("school"), []byte("college"), 1)}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.relabelAll(in.otherRules(label.Config{Off: []string{"text.substance"}}))
		if got := in.as("otp", "TREAT").labelsOf("CarePlan/E1"); got != "N own" {
			t.Errorf("its own label: %s", got)
		}
	})
}

// A reference to a program, or to a place of one, says that somebody is its patient.
func TestReferencesToPrograms(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		encounter := func(id, rest string) string {
			return onP1("Encounter", id, `"status":"finished","class":{"code":"AMB"},`+rest)
		}
		in.keep("hospital", encounter("S1", `"serviceProvider":{"reference":"Organization/otp"}`))
		in.keep("hospital", encounter("S2", `"serviceProvider":{"reference":"Organization/plan"}`))
		in.keep("hospital", encounter("S3", `"location":[{"location":{"reference":"Location/ward"}}]`))
		v := in.as("otp", "TREAT")
		for reference, want := range map[string]string{"Encounter/S1": "R SSP", "Encounter/S2": "N", "Encounter/S3": "N"} {
			if got := v.labelsOf(reference); got != want {
				t.Errorf("%s: %s, want %s", reference, got, want)
			}
		}
		// The place turns out to be the program's: what refers to it is labelled anew.
		in.keep("otp", `{"resourceType":"Location","id":"ward","name":"Ward","managingOrganization":{"reference":"Organization/otp"}}`)
		for worked := true; worked; {
			var err error
			if worked, err = in.gateway.relabeler.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := v.labelsOf("Encounter/S3"); got != "R SSP" {
			t.Errorf("at a place of the program: %s", got)
		}
	})
}

// A Bundle is as confidential as the most confidential of what was released in it, and says nothing of why.
func TestHighWaterMark(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		in.keep("hospital", `{"resourceType":"Observation","id":"H1","status":"final","subject":{"reference":"Patient/P1"},"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},
			"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"MASK"},{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"NODSCLCD"}]}}`)
		mark := func(client, path string) string {
			root, err := fhir.ParseJSON(in.as(client, "TREAT").get(path).body)
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			for _, n := range root.Path("meta", "security").List() {
				codes = append(codes, n.Get("code").Text())
			}
			return strings.Join(codes, " ")
		}
		for path, want := range map[string]string{
			"Observation?patient=P1":              "N",
			"Condition?patient=P1":                "N", // C1 is not released, so it counts for nothing
			"Organization?_id=otp":                "",
			"Condition?_id=nothing":               "",
			"Condition?patient=P1&_elements=meta": "N",
		} {
			if got := mark("hospital", path); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		k1, _ := fixture(t).Given("K1")
		in.put(k1)
		for path, want := range map[string]string{"Condition?patient=P1": "R 42CFRPart2 NORDSCLCD", "Condition?_id=C2": "N", "Patient/P1/$everything?_type=Condition": "R 42CFRPart2 NORDSCLCD"} {
			if got := mark("hospital", path); got != want {
				t.Errorf("with consent, %s: %q, want %q", path, got, want)
			}
		}
		alone := string(in.as("hospital", "TREAT").get("Condition/C1").body)
		for _, want := range []string{`extension-sec-label-basis","valueCoding":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2"}`, `extension-sec-label-classifier","valueReference":{"display":"Trellis label rules `} {
			if !strings.Contains(alone, want) {
				t.Errorf("lacks %s: %s", want, alone)
			}
		}
	})
}

// Replicas share the work of labelling anew, and one that is killed is carried on for by another.
func TestReplicasRelabelTogether(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		for i := range 250 {
			in.as(loading("hospital"), "").ask(request{method: "PUT", path: fmt.Sprintf("CarePlan/R%d", i), body: []byte(planOf(fmt.Sprintf("R%d", i), "Zqcanary says smack"))})
		}
		c := in.otherRules(label.Config{On: []string{"text.slang"}})
		var wg sync.WaitGroup
		for range 3 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err := in.gateway.store.BeginRelabel(t.Context(), c); err != nil {
					t.Error(err)
				}
				for worked := true; worked; {
					var err error
					if worked, err = in.gateway.store.Relabel(t.Context(), c); err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Wait()
		in.relabelAll(c)
		job, _, err := in.gateway.store.LastRelabel(t.Context())
		if err != nil || job.Changed != 250 || job.No != 2 {
			t.Errorf("%+v %v", job, err)
		}
		if got := in.as("otp", "TREAT").get("CarePlan?patient=P1&_summary=count"); !bytes.Contains(got.body, []byte(`"total":1`)) {
			t.Errorf("%s", got.body)
		}
		if reviews, err := in.gateway.store.LabelReviews(t.Context(), store.ReviewOpen, 1000); err != nil || len(reviews) != 250 {
			t.Errorf("%d %v", len(reviews), err)
		}
	})
}

// TestLabelCases runs the stories of conformance/decisions/labels.json over HTTP on both databases.
func TestLabelCases(t *testing.T) {
	cases, err := decisions.LabelCases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			onEachStore(t, func(t *testing.T, where location) {
				in := newInstallation(t, where, "")
				in.load()
				for _, w := range c.Writes {
					in.keep(w.Owner, compacted(t, w.Resource))
				}
				in.tellLabels(c.Reads)
				if len(c.RulesOn) > 0 {
					in.relabelAll(in.otherRules(label.Config{On: c.RulesOn}))
					in.tellLabels(c.Then)
				}
			})
		})
	}
}

func compacted(t *testing.T, doc []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, doc); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (in *installation) tellLabels(reads []decisions.LabelRead) {
	in.t.Helper()
	for _, r := range reads {
		v := in.as(r.As, "TREAT")
		if got := v.labelsOf(r.Read); r.Hidden && got != "404" || !r.Hidden && got != r.Labels {
			in.t.Errorf("%s as %s: %s, want %q", r.Read, r.As, got, r.Labels)
		}
		if !r.Hidden {
			continue
		}
		typ, rest, _ := strings.Cut(r.Read, "/")
		_, version, _ := strings.Cut(rest, "/")
		unknown := strings.TrimSuffix(typ+"/nobody/"+version, "/")
		if a, b := v.get(r.Read), v.get(unknown); !bytes.Equal(a.body, b.body) {
			in.t.Errorf("%s as %s: does not look like an unknown id: %s", r.Read, r.As, a.body)
		}
	}
}

// What a mapping says of a record cannot be found again by looking at it, and survives new rules all the same.
func TestMappedLabelsSurvive(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		data, err := os.ReadFile("../../mapping/packs/recovery-plan/cases/full-plan.case")
		if err != nil {
			t.Fatal(err)
		}
		record, _, _ := strings.Cut(string(data), "\n---")
		a := in.send(request{method: "POST", path: in.gateway.public + "/intake/recovery-plan", body: []byte(record), contentType: "application/json",
			header: map[string]string{"Authorization": "Bearer " + in.token("rco", "COC", anyScope)}})
		if a.status/100 != 2 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		labels := func() map[string]string {
			out := map[string]string{}
			var receipt struct {
				Records []struct{ Resources []struct{ Reference string } }
			}
			if err := json.Unmarshal(a.body, &receipt); err != nil {
				t.Fatal(err)
			}
			for _, r := range receipt.Records {
				for _, made := range r.Resources {
					out[made.Reference] = in.as("rco", "COC").labelsOf(made.Reference)
				}
			}
			return out
		}
		before, mapped := labels(), 0
		in.relabelAll(in.otherRules(label.Config{On: []string{"icd10cm.tobacco"}}))
		for reference, want := range before {
			if got := labels()[reference]; got != want {
				t.Errorf("%s: %s, was %s", reference, got, want)
			}
			if strings.ContainsAny(want, " ") {
				mapped++
			}
		}
		if mapped == 0 {
			t.Errorf("no record had labels of the mapping: %v", before)
		}
	})
}
