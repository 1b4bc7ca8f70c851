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

// caseFile writes the native input of a golden case into a file, or of a CSV pack into a folder, with texts replaced.
func caseFile(t *testing.T, pack, name string, replace ...string) string {
	t.Helper()
	data, err := fs.ReadFile(mapping.Packs(), pack+"/cases/"+name+".case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), "----------\n")
	input = strings.NewReplacer(replace...).Replace(input)
	dir := t.TempDir()
	if !strings.HasPrefix(input, "== ") {
		file := filepath.Join(dir, "record.json")
		writeFile(t, file, []byte(input))
		return file
	}
	for _, f := range mapping.CaseFiles(input) {
		writeFile(t, filepath.Join(dir, f.Name), f.Data)
	}
	return dir
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mapOut(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := runMap(args, &out, &errs); got != want {
		t.Fatalf("trellis map %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, want, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

func TestMapBack(t *testing.T) {
	session := caseFile(t, "peer-encounter", "session-in-person")
	bundle, _ := mapOut(t, 0, "run", "--pack", "peer-encounter", session)
	file := filepath.Join(t.TempDir(), "bundle.json")
	writeFile(t, file, []byte(bundle))
	out, told := mapOut(t, 0, "back", "--pack", "peer-encounter", file)
	var rec struct {
		SessionID string `json:"session_id"`
		Place     string
		Note      string
	}
	if err := json.Unmarshal([]byte(out), &rec); err != nil {
		t.Fatal(err)
	}
	if rec.SessionID != "S-100" || rec.Place != "shelter" || rec.Note != "" {
		t.Errorf("got %+v", rec)
	}
	if !strings.Contains(told, "1 native record") {
		t.Errorf("told %q", told)
	}
	// Another organisation's identifiers are not ours.
	if _, told := mapOut(t, 1, "back", "--pack", "peer-encounter", "--org-system", "https://other.example/ids", file); !strings.Contains(told, "--org-system") {
		t.Errorf("told %q", told)
	}
}

func TestMapBackRows(t *testing.T) {
	delivery := caseFile(t, "ny-1115-ahc-hrsn", "clean")
	mapOut(t, 0, "roundtrip", "--pack", "ny-1115-ahc-hrsn", delivery)
	names, err := filepath.Glob(filepath.Join(delivery, "*.csv"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, _ := mapOut(t, 0, append([]string{"run", "--pack", "ny-1115-ahc-hrsn"}, names...)...)
	lines, told := mapOut(t, 0, "run", "--pack", "ny-1115-ahc-hrsn", "--ndjson", delivery)
	if strings.Count(lines, "\n") < 10 || !strings.Contains(told, "record(s) mapped, 0 rejected") {
		t.Errorf("got %s, told %q", lines, told)
	}
	file, dir := filepath.Join(t.TempDir(), "bundle.json"), t.TempDir()
	writeFile(t, file, []byte(bundle))
	if _, told := mapOut(t, 2, "back", "--pack", "ny-1115-ahc-hrsn", file); !strings.Contains(told, "--out") {
		t.Errorf("told %q", told)
	}
	out, _ := mapOut(t, 0, "back", "--pack", "ny-1115-ahc-hrsn", "--out", dir, file)
	if n := strings.Count(out, ".csv"); n != 3 {
		t.Errorf("%d files came back: %s", n, out)
	}
	again, _ := mapOut(t, 0, "run", "--pack", "ny-1115-ahc-hrsn", filepath.Join(dir, "screening.csv"), filepath.Join(dir, "demographic.csv"), filepath.Join(dir, "admin.csv"))
	if strings.Count(again, `"resourceType"`) != strings.Count(bundle, `"resourceType"`) {
		t.Error("the files that came back map to other resources")
	}
}

func TestMapRoundtripDiffCoverageExplain(t *testing.T) {
	plan := caseFile(t, "peer-encounter", "session-in-person")
	later := caseFile(t, "peer-encounter", "session-in-person", `"status": "done"`, `"status": "under-way"`)
	tests := []struct {
		name string
		exit int
		args []string
		want []string
	}{
		{"roundtrip", 0, []string{"roundtrip", "--pack", "peer-encounter", plan}, []string{"came back", "note (1): narrative-private", "Everything else"}},
		{"roundtrip as JSON", 0, []string{"roundtrip", "--pack", "peer-encounter", "--report", "json", plan}, []string{`"records": 1`, `"changed": []`}},
		{"no difference", 0, []string{"diff", "--pack", "peer-encounter", plan, plan}, []string{"No difference."}},
		{"difference", 1, []string{"diff", "--pack", "peer-encounter", plan, later}, []string{`S-100.status: "done" -> "under-way"`, `Encounter.status: "finished" -> "in-progress"`}},
		{"difference as JSON", 1, []string{"diff", "--pack", "peer-encounter", "--report", "json", plan, later}, []string{`"path": "Encounter.status"`}},
		{"coverage of the pack", 0, []string{"coverage", "--pack", "peer-encounter"}, []string{"both ways", "ignored", "narrative-private"}},
		{"coverage of input", 0, []string{"coverage", "--pack", "peer-encounter", plan}, []string{"1 record(s) mapped", "1× carried"}},
		{"explain an element", 0, []string{"explain", "--pack", "peer-encounter", "Encounter.class"}, []string{"looked up from place in the table place-class", "only when record.mode == 'in-person'"}},
		{"explain a field", 0, []string{"explain", "--pack", "peer-encounter", "place"}, []string{"Encounter.class"}},
		{"explain with input", 0, []string{"explain", "--pack", "peer-encounter", "Encounter.period.start", plan}, []string{"from /start"}},
		{"explain nothing", 1, []string{"explain", "--pack", "peer-encounter", "Encounter.perod"}, []string{"no rule"}},
		{"golden", 0, []string{"golden", "--pack", "peer-encounter"}, []string{"ok       peer-encounter/cases/no-show.case"}},
		{"golden writes only into one's own folder", 2, []string{"golden", "--pack", "peer-encounter", "--update"}, []string{"--packs"}},
		{"no pack", 2, []string{"roundtrip", plan}, []string{"give --pack"}},
		{"too little", 2, []string{"explain", "--pack", "peer-encounter"}, []string{"--help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, told := mapOut(t, tt.exit, tt.args...)
			for _, want := range tt.want {
				if !strings.Contains(out+told, want) {
					t.Errorf("lacks %q:\n%s%s", want, out, told)
				}
			}
		})
	}
}

func TestMapMerge(t *testing.T) {
	base := caseFile(t, "recovery-plan", "full-plan")
	bundle, _ := mapOut(t, 0, "run", "--pack", "recovery-plan", base)
	theirs := filepath.Join(t.TempDir(), "theirs.json")
	changed := strings.Replace(bundle, `"lifecycleStatus": "active"`, `"lifecycleStatus": "completed"`, 1)
	if changed == bundle {
		t.Fatal("the case has no active goal")
	}
	writeFile(t, theirs, []byte(changed))
	out, told := mapOut(t, 0, "merge", "--pack", "recovery-plan", "--from", base, "--current", base, theirs)
	if !strings.Contains(out, `"status": "completed"`) || !strings.Contains(told, "Taken over") {
		t.Errorf("got %s", told)
	}
	ours := caseFile(t, "recovery-plan", "full-plan", `"status": "active", "progress"`, `"status": "on-hold", "progress"`)
	if _, told := mapOut(t, 1, "merge", "--pack", "recovery-plan", "--from", base, "--current", ours, theirs); !strings.Contains(told, "Conflicts") {
		t.Errorf("told %q", told)
	}
	same := filepath.Join(t.TempDir(), "same.json")
	writeFile(t, same, []byte(bundle))
	if _, told := mapOut(t, 0, "merge", "--pack", "recovery-plan", "--from", base, "--current", base, same); !strings.Contains(told, "changed nothing") {
		t.Errorf("told %q", told)
	}
}

// A golden case of one's own pack is written, kept, and noticed when it no longer holds.
func TestMapGolden(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "ours"), subFS(t, "peer-encounter")); err != nil {
		t.Fatal(err)
	}
	pack := filepath.Join(dir, "ours", "pack.yaml")
	data, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, pack, bytes.Replace(data, []byte("pack: peer-encounter"), []byte("pack: ours"), 1))
	mapOut(t, 1, "golden", "--packs", dir, "--pack", "ours") // rules have other names in their lines now
	mapOut(t, 0, "golden", "--packs", dir, "--pack", "ours", "--update")
	out, _ := mapOut(t, 0, "golden", "--packs", dir, "--pack", "ours")
	if !strings.Contains(out, "ok       ours/cases/no-show.case") {
		t.Errorf("got %s", out)
	}
}

func subFS(t *testing.T, name string) fs.FS {
	t.Helper()
	sub, err := fs.Sub(mapping.Packs(), name)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}
