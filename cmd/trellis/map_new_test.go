package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A draft is written once, lint lists what it leaves open, and it runs on the sample it was made from.
func TestMapNew(t *testing.T) {
	dir := t.TempDir()
	sample := filepath.Join(dir, "sessions.csv")
	text := "session id,client id,first name,last name,dob,session date,contact type,status,notes,mystery\n" +
		"s-1,c-1,Canaria,Canary,04/05/1987,03/02/2026,phone,done,canary,canary\n" +
		"s-2,c-2,Canarina,Canary,05/06/1988,03/03/2026,in-person,planned,canary,canary\n"
	if err := os.WriteFile(sample, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(status int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := runMap(args, &out, &errs); got != status {
			t.Errorf("%v: status %d, want %d\n%s%s", args, got, status, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	out, _ := run(0, "new", "--name", "house-stays", "--out", filepath.Join(dir, "packs"), sample)
	for _, want := range []string{
		filepath.Join(dir, "packs", "house-stays", "pack.yaml"), "key: sessionid", "wait for your decision", "trellis map lint", "contacttype (2)", "codes/mode.csv: codes are proposed for 2 of 2 value(s)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	pack := filepath.Join(dir, "packs", "house-stays")
	lint, _ := run(1, "lint", pack)
	if !strings.Contains(lint, "mystery waits for a decision") || strings.Contains(lint, `native value "phone"`) || !strings.Contains(lint, "loads, and is not finished") {
		t.Errorf("lint: %s", lint)
	}
	bundle, report := run(0, "run", "--packs", filepath.Join(dir, "packs"), "--pack", "house-stays", sample)
	if !strings.Contains(bundle, `"Encounter"`) || !strings.Contains(report, "2 record(s) mapped, 0 rejected") {
		t.Errorf("run: %s", report)
	}
	run(0, "golden", "--packs", filepath.Join(dir, "packs"), "--pack", "house-stays")
	if err := filepath.WalkDir(pack, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(strings.ToLower(string(data)), "canar") {
			t.Errorf("%s betrays the sample", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, errs := run(1, "new", "--name", "house-stays", "--out", filepath.Join(dir, "packs"), sample); !strings.Contains(errs, "is there already; nothing was written") {
		t.Errorf("a second time: %s", errs)
	}
	out, _ = run(0, "new", "--name", "again", "--out", dir, "--report", "json", sample)
	var report2 struct {
		Pack, Dir          string
		Files, Notes, Next []string
	}
	if err := json.Unmarshal([]byte(out), &report2); err != nil || report2.Pack != "again" || len(report2.Files) < 5 || len(report2.Next) == 0 {
		t.Errorf("%v: %+v", err, report2)
	}
	run(2, "new", sample)
	run(2, "new", "--name", "x2")
	run(2, "new", "--name", "x2", filepath.Join(dir, "none.csv"))
	run(2, "new", "--name", "x2", "--report", "xml", sample)
	run(1, "new", "--name", "No Good", sample)
	if help, _ := run(0, "new", "--help"); !strings.Contains(help, "Examples:") {
		t.Error("help has no examples")
	}
}
