package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"trellis/gateway/audit"
	"trellis/gateway/audit/storetest"
)

// auditFixture is an installation with a log in memory and a directory to work in.
type auditFixture struct {
	dir      string
	log      *storetest.Memory
	sequence *audit.Sequencer
	failing  error // of Append
}

func (f *auditFixture) path(name string) string { return filepath.Join(f.dir, name) }

// run runs the command and returns its exit status and what it printed.
func (f *auditFixture) run(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	open := func(context.Context, location) (*auditLog, error) {
		return &auditLog{Store: f.log, Origin: "log.example", Close: func() error { return nil },
			Append: func(ctx context.Context, l ...audit.Leaf) error {
				return errors.Join(f.failing, f.log.Append(ctx, l...))
			}}, nil
	}
	status = auditCommand{open: open, stdout: &out, stderr: &errs}.run(args)
	return status, out.String(), errs.String()
}

func newAuditFixture(t *testing.T) *auditFixture {
	t.Helper()
	f := &auditFixture{dir: t.TempDir(), log: &storetest.Memory{}}
	status, public, errs := f.run("key", "--origin", "log.example", "--out", f.path("audit.key"))
	if status != 0 {
		t.Fatal(errs)
	}
	if err := os.WriteFile(f.path("audit.pub"), []byte(public), 0o644); err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(f.path("audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(private)))
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(strings.TrimSpace(public))
	if err != nil {
		t.Fatal(err)
	}
	f.sequence = &audit.Sequencer{Store: f.log, Signer: signer, Verifier: key, Holder: "x"}
	for _, id := range []string{"row-a", "row-b", "row-c"} {
		if err := f.log.Append(t.Context(), storetest.Leaf(t, id)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.sequence.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAuditExportAndVerify(t *testing.T) {
	f := newAuditFixture(t)
	if status, _, errs := f.run("checkpoint", "--out", f.path("kept")); status != 0 {
		t.Fatal(errs)
	}
	if status, _, errs := f.run("export", "--out", f.path("log.ndjson")); status != 0 {
		t.Fatal(errs)
	}
	if info, err := os.Stat(f.path("log.ndjson")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("export has mode %v, %v", info.Mode(), err)
	}
	// Flags before and after the file, the key as a file and as text.
	public, err := os.ReadFile(f.path("audit.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", f.path("log.ndjson"), "--key", f.path("audit.pub"), "--checkpoint", f.path("kept")},
		{"verify", "--key", strings.TrimSpace(string(public)), f.path("log.ndjson"), "-checkpoint=" + f.path("kept")},
	} {
		status, out, errs := f.run(args...)
		if status != 0 || !strings.Contains(out, "INTACT") || !strings.Contains(out, "agrees with 1 of 1") ||
			!strings.Contains(out, "unnumbered:   1") { // the export's own event
			t.Errorf("%v: %d\n%s%s", args, status, out, errs)
		}
	}
	f.log.Tamper("row-b", func(l audit.Leaf) audit.Leaf {
		l.Event = bytes.Replace(l.Event, []byte("TREAT"), []byte("HMARKT"), 1)
		return l
	})
	if status, _, errs := f.run("export", "--out", f.path("log.ndjson")); status != 0 {
		t.Fatal(errs)
	}
	status, out, _ := f.run("verify", f.path("log.ndjson"), "--key", f.path("audit.pub"))
	if status != 1 || !strings.Contains(out, "changed-row: row 1 (id row-b, line 4)") || strings.Contains(out, "HMARKT") {
		t.Errorf("%d\n%s", status, out)
	}
	if status, out, _ = f.run("verify", "--json", f.path("log.ndjson"), "--key", f.path("audit.pub")); status != 1 ||
		!strings.Contains(out, `"problem":"changed-row","index":1,"id":"row-b"`) {
		t.Errorf("%d\n%s", status, out)
	}
}

func TestAuditExportIsAudited(t *testing.T) {
	f := newAuditFixture(t)
	f.failing = errors.New("disk full")
	if status, out, errs := f.run("export"); status != 2 || out != "" || !strings.Contains(errs, "disk full") {
		t.Errorf("%d %q %q", status, out, errs)
	}
	if status, _, _ := f.run("export", "--out", f.path("none")); status != 2 {
		t.Error(status)
	}
	if _, err := os.Stat(f.path("none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed export left a file: %v", err)
	}
}

func TestAuditUsage(t *testing.T) {
	f := newAuditFixture(t)
	for _, args := range [][]string{
		{}, {"frobnicate"}, {"verify"}, {"verify", "x"}, {"verify", "a", "b", "--key", "k"}, {"export", "x"}, {"export", "--bogus"},
		{"key"}, {"key", "--origin", "a b", "--out", f.path("k2")}, {"verify", f.path("none"), "--key", f.path("audit.pub")},
		{"verify", f.path("audit.pub"), "--key", f.path("audit.key")}, {"key", "--origin", "x", "--out", f.path("audit.key")},
	} {
		if status, _, errs := f.run(args...); status != 2 || errs == "" {
			t.Errorf("%v: status %d, %q", args, status, errs)
		}
	}
	for _, args := range [][]string{{"--help"}, {"help"}, {"verify", "--help"}, {"verify", "x", "-h"}} {
		if status, out, _ := f.run(args...); status != 0 || !strings.Contains(out, "Examples:") {
			t.Errorf("%v: status %d", args, status)
		}
	}
	var out, errs bytes.Buffer
	if status := runAudit([]string{"--help"}, &out, &errs); status != 0 || !strings.Contains(out.String(), "trellis audit verify") {
		t.Error(status, errs.String())
	}
}
