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

// ownPacks is a packs folder on disk with a copy of peer-encounter under another name, changed by edit.
func ownPacks(t *testing.T, name string, edit func(file, text string) string) string {
	t.Helper()
	dir := t.TempDir()
	err := fs.WalkDir(mapping.Packs(), "peer-encounter", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(mapping.Packs(), file)
		if err != nil {
			return err
		}
		text := strings.Replace(string(data), "pack: peer-encounter", "pack: "+name, 1)
		to := filepath.Join(dir, name, filepath.FromSlash(strings.TrimPrefix(file, "peer-encounter/")))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, []byte(edit(filepath.Base(to), text)), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func unchanged(_, text string) string { return text }

func TestMapLint(t *testing.T) {
	good := ownPacks(t, "ours", unchanged)
	bad := ownPacks(t, "ours", func(file, text string) string {
		if file == "peer-encounter.map.yaml" {
			text = strings.Replace(text, "      period:\n", "      perod:\n", 1)
			text = strings.Replace(text, "reason: narrative-private", `reason: "TODO: decide"`, 1)
		}
		return text
	})
	tests := []struct {
		name     string
		args     []string
		status   int
		out, err string
	}{
		{"embedded", []string{"--pack", "peer-encounter"}, 0, "pack peer-encounter is sound", ""},
		{"warnings are no failure", []string{"--pack", "ny-1115-ahc-hrsn"}, 0, "cannot be told apart when one of them is absent", ""},
		{"folder", []string{filepath.Join(good, "ours")}, 0, "pack ours is sound", ""},
		{"folder with a slash", []string{filepath.Join(good, "ours") + "/"}, 0, "pack ours is sound", ""},
		{"--packs", []string{"--packs", good, "--pack", "ours"}, 0, "pack ours is sound", ""},
		{"fault", []string{filepath.Join(bad, "ours")}, 1,
			filepath.Join(bad, "ours", "peer-encounter.map.yaml") + `:104: Encounter has no element "perod"; did you mean "period"?`, ""},
		{"todo", []string{filepath.Join(bad, "ours")}, 1, "1 to decide", ""},
		{"no such pack", []string{"--pack", "nope"}, 1, "nope/pack.yaml: cannot be read", ""},
		{"no such folder", []string{"--packs", filepath.Join(good, "none"), "--pack", "ours"}, 2, "", "is not a folder"},
		{"nothing named", nil, 2, "", "--pack"},
		{"both named", []string{"--pack", "ours", "x"}, 2, "", "--pack"},
		{"bad report", []string{"--report", "xml", "--pack", "peer-encounter"}, 2, "", "json or text"},
		{"help", []string{"--help"}, 0, "Examples:", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := runMap(append([]string{"lint"}, tt.args...), &out, &errs); got != tt.status {
				t.Errorf("status %d, want %d\n%s%s", got, tt.status, out.String(), errs.String())
			}
			if !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.err) {
				t.Errorf("want %q and %q in\n%s%s", tt.out, tt.err, out.String(), errs.String())
			}
		})
	}
}

func TestMapLintJSON(t *testing.T) {
	bad := ownPacks(t, "ours", func(file, text string) string {
		return strings.Replace(text, "planned,http", "plannned,http", 1)
	})
	var out, errs bytes.Buffer
	if got := runMap([]string{"lint", "--report", "json", filepath.Join(bad, "ours")}, &out, &errs); got != 1 {
		t.Errorf("status %d", got)
	}
	var found mapping.Findings
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	want := mapping.Fault{
		File: filepath.Join(bad, "ours", "codes", "session-status.csv"), Line: 3,
		Text: `no field that table session-status is used for can be "plannned"`, Hint: `did you mean "planned"?`,
	}
	if found.Pack != "ours" || len(found.Faults) != 2 || found.Faults[0] != want || found.Warnings == nil || found.Todos == nil {
		t.Errorf("got %+v", found)
	}
}

func TestMapPacks(t *testing.T) {
	dir := ownPacks(t, "ours", unchanged)
	var out, errs bytes.Buffer
	if got := runMap([]string{"packs", "--packs", dir, "--json"}, &out, &errs); got != 0 {
		t.Errorf("status %d: %s", got, errs.String())
	}
	var list []struct{ Name, Version, Format, Title string }
	own, shipped := false, 0
	err := json.Unmarshal(out.Bytes(), &list)
	for _, p := range list {
		own = own || p.Name == "ours"
		if p.Name != "ours" {
			shipped++
		}
	}
	if names, fault := mapping.Names(mapping.Packs()); err != nil || fault != nil || !own || shipped != len(names) {
		t.Errorf("%v: %+v", err, list)
	}
	broken := ownPacks(t, "ours", func(_, text string) string { return strings.Replace(text, "format: json", "format: xml", 1) })
	out.Reset()
	if got := runMap([]string{"packs", "--packs", broken}, &out, &errs); got != 1 || !strings.Contains(out.String(), "recovery-plan") {
		t.Errorf("status %d, %s", got, out.String())
	}
	if !strings.Contains(errs.String(), filepath.Join(broken, "ours", "pack.yaml")+":6: format must be json or csv") {
		t.Errorf("standard error: %s", errs.String())
	}
}

func TestMapSchema(t *testing.T) {
	for _, of := range []string{"map", "pack"} {
		var out, errs bytes.Buffer
		if got := runMap([]string{"schema", of}, &out, &errs); got != 0 || !json.Valid(out.Bytes()) {
			t.Errorf("%s: status %d, %s", of, got, errs.String())
		}
	}
	for _, args := range [][]string{{"schema"}, {"schema", "nope"}, {"schema", "map", "pack"}} {
		var out, errs bytes.Buffer
		if got := runMap(args, &out, &errs); got != 2 || errs.Len() == 0 {
			t.Errorf("%v: status %d", args, got)
		}
	}
}

// A pack of one's own runs with --packs, and its faults name the files on disk.
func TestMapRunOwnPack(t *testing.T) {
	dir := ownPacks(t, "ours", unchanged)
	record := filepath.Join(dir, "one.json")
	if err := os.WriteFile(record, caseInput(t, "peer-encounter/cases/session-in-person.case"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if got := runMap([]string{"run", "--packs", dir, "--pack", "ours", record}, &out, &errs); got != 0 || !strings.Contains(out.String(), `"Encounter"`) {
		t.Errorf("status %d: %s", got, errs.String())
	}
}
