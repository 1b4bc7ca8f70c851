package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command lists and measures the pack and explains a file, and says what is wrong with how it is used.
func TestLabelCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	plan := write("plan.json", `{"resourceType":"CarePlan","status":"active","intent":"plan","subject":{"reference":"Patient/1"},"title":"Zqcanary stays sober"}`)
	broken := write("broken.json", `{"resourceType":"CarePlan","zqcanary":1}`)
	config := func(name, rules string) string {
		return write(name, "public_url: http://127.0.0.1:8080\nposture: {part2_program: false, covered_entity: true, business_associate_of: [], qsoa_with: [], intermediary: false}\n"+
			"organizations:\n  - {id: otp, name: A Program, class: part2_program_ce}\n"+rules)
	}
	label := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(append([]string{"label"}, args...), &out, &out)
		return code, out.String()
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 0, "trellis label eval"},
		{[]string{"--help"}, 0, "Examples:"},
		{[]string{"rules", "--help"}, 0, "Examples:"},
		{[]string{"fly"}, 2, "none of rules"},
		{[]string{"rules", "more"}, 2, "too many arguments"},
		{[]string{"rules"}, 0, "icd10cm.opioid"},
		{[]string{"rules"}, 0, "to be confirmed by counsel"},
		{[]string{"rules", "--config", config("off.yaml", "label_rules_off: [icd10cm.opioid]\n")}, 0, "icd10cm.opioid off OPIOIDUD"},
		{[]string{"rules", "--config", config("bad.yaml", "label_rules_off: [nonsense]\n")}, 1, `no rule "nonsense"`},
		{[]string{"rules", "--config", config("law.yaml", "label_rules_off: [source.part2]\n")}, 1, "cannot be switched"},
		{[]string{"eval"}, 0, "records are not as expected"},
		{[]string{"explain", plan}, 0, "text.substance"},
		{[]string{"explain", plan, "--program"}, 0, "42CFRPart2"},
		{[]string{"explain", broken}, 1, "is no FHIR R4 resource"},
		{[]string{"explain", filepath.Join(dir, "none.json")}, 1, "no such file"},
		{[]string{"explain", "nonsense"}, 2, "no Type/id"},
		{[]string{"explain"}, 2, "takes one"},
		{[]string{"status", "--data", filepath.Join(dir, "nowhere")}, 1, "no installation"},
		{[]string{"review", "--clear", "A/1", "--keep", "A/1"}, 2, "exclude each other"},
		{[]string{"review", "--clear", "CarePlan/1", "--by", "nora"}, 2, "--config is required"},
	} {
		code, out := label(c.args...)
		if code != c.code || !strings.Contains(out, c.says) && !strings.Contains(strings.Join(strings.Fields(out), " "), c.says) || strings.Contains(strings.ToLower(out), canary) {
			t.Errorf("%v: %d %s", c.args, code, out)
		}
	}
	for _, args := range [][]string{{"rules", "--json"}, {"eval", "--json"}, {"explain", plan, "--json"}} {
		code, out := label(args...)
		if code != 0 || !json.Valid([]byte(out)) {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
}
