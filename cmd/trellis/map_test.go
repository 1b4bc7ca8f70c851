package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trellis/mapping"
)

// caseInput is the native half of a golden case of a pack.
func caseInput(t *testing.T, file string) []byte {
	t.Helper()
	data, err := fs.ReadFile(mapping.Packs(), file)
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := bytes.Cut(data, []byte("----------\n"))
	return input
}

func TestMapRun(t *testing.T) {
	dir := t.TempDir()
	good := caseInput(t, "peer-encounter/cases/session-in-person.case")
	var compact bytes.Buffer
	if err := json.Compact(&compact, good); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one := write("one.json", string(good))
	array := write("array.json", "["+compact.String()+","+compact.String()+"]")
	mixed := write("mixed.ndjson", compact.String()+"\n{\"session_id\":\"canary-7\"}\n"+compact.String()+"\n")
	broken := write("broken.json", compact.String()+"\n{canary-7")
	tests := []struct {
		name     string
		args     []string
		status   int
		out, err string
		not      string
	}{
		{"one", []string{"run", "--pack", "peer-encounter", one}, 0, `"transaction"`, "1 record(s) mapped, 0 rejected", ""},
		{"array", []string{"run", "--pack", "peer-encounter", array}, 0, `"PUT"`, "2 record(s) mapped", ""},
		{"mixed", []string{"run", "--pack", "peer-encounter", mixed}, 1, `"Encounter"`, "mixed.ndjson record 2", "canary-7"},
		{"broken", []string{"run", "--pack", "peer-encounter", broken}, 1, `"Encounter"`, "is not JSON", "canary-7"},
		{"json report", []string{"run", "--pack", "peer-encounter", "--report", "json", one}, 0, "", `"narrative-private"`, ""},
		{"part 2", []string{"run", "--pack", "peer-encounter", "--part2", one}, 0, `"42CFRPart2"`, "", ""},
		{"no pack", []string{"run", one}, 2, "", "--pack", ""},
		{"unknown pack", []string{"run", "--pack", "nope", one}, 2, "", "nope", ""},
		{"bad namespace", []string{"run", "--pack", "peer-encounter", "--namespace", "x", one}, 2, "", "UUID", ""},
		{"packs", []string{"packs"}, 0, "peer-encounter", "", ""},
		{"help", []string{"--help"}, 0, "Examples:", "", ""},
		{"run help", []string{"run", "--help"}, 0, "--pack recovery-plan", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := runMap(tt.args, &out, &errs); got != tt.status {
				t.Errorf("status %d, want %d\n%s", got, tt.status, errs.String())
			}
			if !strings.Contains(out.String(), tt.out) {
				t.Errorf("standard output lacks %q", tt.out)
			}
			if !strings.Contains(errs.String(), tt.err) {
				t.Errorf("standard error lacks %q:\n%s", tt.err, errs.String())
			}
			if tt.not != "" && strings.Contains(errs.String()+out.String(), tt.not) {
				t.Errorf("output betrays %q", tt.not)
			}
		})
	}
}

// The three files of a delivery, one of them with a person nobody describes: the rest is mapped and the status is 1.
func TestMapRunFiles(t *testing.T) {
	dir := t.TempDir()
	var names []string
	parts := strings.Split("\n"+string(caseInput(t, "ny-1115-ahc-hrsn/cases/flawed-rows.case")), "\n== ")[1:]
	for _, part := range parts {
		name, data, _ := strings.Cut(part, "\n")
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, file)
	}
	var out, errs bytes.Buffer
	status := runMap(append([]string{"run", "--pack", "ny-1115-ahc-hrsn", "--report", "json"}, names...), &out, &errs)
	var report mapping.Report
	if err := json.Unmarshal(errs.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if status != 1 || report.Counts.Rejected != 1 || report.Counts.ByType["Observation"] == 0 {
		t.Errorf("status %d, counts %+v", status, report.Counts)
	}
	var bundle struct{ Entry []json.RawMessage }
	if err := json.Unmarshal(out.Bytes(), &bundle); err != nil || len(bundle.Entry) == 0 {
		t.Errorf("bundle: %v, %d entries", err, len(bundle.Entry))
	}
	names[0] = filepath.Join(dir, "missing.csv")
	if got := runMap(append([]string{"run", "--pack", "ny-1115-ahc-hrsn"}, names...), &out, &errs); got != 2 {
		t.Errorf("a missing file gave status %d", got)
	}
}

func TestMapRunIsRepeatable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "one.json")
	if err := os.WriteFile(file, caseInput(t, "peer-encounter/cases/session-in-person.case"), 0o600); err != nil {
		t.Fatal(err)
	}
	var a, b, discard bytes.Buffer
	runMap([]string{"run", "--pack", "peer-encounter", file}, &a, &discard)
	runMap([]string{"run", "--pack", "peer-encounter", file}, &b, &discard)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two runs over the same file differ")
	}
}
