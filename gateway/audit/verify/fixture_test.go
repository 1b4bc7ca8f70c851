package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"trellis/gateway/audit"
	"trellis/gateway/audit/logfile"
	"trellis/gateway/audit/storetest"
	"trellis/gateway/audit/verify"
)

// fixture is a log of some steps, and its export as lines.
type fixture struct {
	log    *storetest.Memory
	signer note.Signer
	key    note.Verifier
}

// newFixture numbers one step for each given size; ids are row-000, row-001, ...
func newFixture(t testing.TB, steps ...int) *fixture {
	t.Helper()
	f := &fixture{log: &storetest.Memory{}}
	f.signer, f.key = storetest.Keys(t, "log.example")
	n := 0
	for _, size := range steps {
		for range size {
			f.append(t, fmt.Sprintf("row-%03d", n))
			n++
		}
		f.step(t)
	}
	return f
}

func (f *fixture) append(t testing.TB, id string) {
	t.Helper()
	if err := f.log.Append(context.Background(), storetest.Leaf(t, id)); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) step(t testing.TB) {
	t.Helper()
	s := &audit.Sequencer{Store: f.log, Signer: f.signer, Verifier: f.key, Holder: "x",
		Now: func() time.Time { return time.Date(2026, 3, 1, 12, 1, 0, 0, time.UTC) }}
	if _, err := s.Step(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) head(t testing.TB) []byte {
	t.Helper()
	_, checkpoint, err := f.log.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint
}

// file is an export, line by line.
type file []string

func (f *fixture) export(t testing.TB) file {
	t.Helper()
	var b bytes.Buffer
	if _, err := audit.Export(context.Background(), f.log, "log.example", &b); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(b.String(), "\n")
	return lines[:len(lines)-1] // what follows the last newline
}

// kinds returns the positions of the lines of a kind.
func (x file) kinds(kind string) []int {
	var list []int
	for i, l := range x {
		if strings.HasPrefix(l, `{"kind":"`+kind+`"`) {
			list = append(list, i)
		}
	}
	return list
}

func (f *fixture) verify(t testing.TB, x file, kept ...[]byte) *verify.Report {
	t.Helper()
	report, err := verify.Verify(strings.NewReader(strings.Join(x, "")), verify.Options{Keys: []note.Verifier{f.key}, Kept: kept})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// one demands a finding of the problem about the row, and nothing that accuses another row.
func one(t testing.TB, r *verify.Report, problem verify.Problem, index int64, id string) {
	t.Helper()
	found := false
	for _, f := range r.Findings {
		if f.Problem == problem && f.Index == index && (id == "" || f.ID == id) {
			found = true
		} else if f.Problem != verify.Malformed && f.Problem != verify.DamagedHash {
			t.Errorf("also accused: %s", f)
		}
	}
	if !found {
		t.Errorf("no %s of row %d %s in %v", problem, index, id, r.Findings)
	}
}

func has(t testing.TB, r *verify.Report, problem verify.Problem) verify.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Problem == problem {
			return f
		}
	}
	t.Errorf("no %s in %v", problem, r.Findings)
	return verify.Finding{}
}

// recount makes the end line say what the file holds, as a careful forger would.
func recount(t testing.TB, x file) file {
	t.Helper()
	end := &logfile.Line{Kind: logfile.KindEnd, Counts: &logfile.Counts{
		Checkpoints: int64(len(x.kinds("checkpoint"))), Leaves: int64(len(x.kinds("leaf"))),
		Hashes: int64(len(x.kinds("hash"))), Unnumbered: int64(len(x.kinds("unnumbered")))}}
	return append(x[:len(x)-1:len(x)-1], render(t, end))
}

func render(t testing.TB, l *logfile.Line) string {
	t.Helper()
	var b bytes.Buffer
	w := logfile.NewWriter(&b)
	if err := w.Write(l); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// edit reads line i, lets change work on it and writes it back.
func (x file) edit(t testing.TB, i int, change func(*logfile.Line)) {
	t.Helper()
	l, err := logfile.NewReader(strings.NewReader(x[i] + "\n")).Next()
	if err != nil {
		t.Fatal(err)
	}
	change(&l)
	x[i] = render(t, &l)
}
