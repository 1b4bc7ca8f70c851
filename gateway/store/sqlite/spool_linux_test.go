package sqlite

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"trellis/fhir/search"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// spooled is a store whose files can be copied as a crash would leave them.
type spooled struct {
	*store.Store
	dir string
}

func openIn(t *testing.T, dir string) spooled {
	t.Helper()
	registry, err := search.New()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(t.Context(), filepath.Join(dir, "trellis.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Engine: e, Registry: registry})
	if err != nil {
		t.Fatal(errors.Join(err, e.Close()))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return spooled{s, dir}
}

// add appends leaves one after the other, so that each is a record of its own, and returns their ids.
func (s spooled) add(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Disclosure, At: time.Now(), Client: "spool-test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Audit().Append(t.Context(), leaf); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, leaf.ID)
	}
	return ids
}

// move puts what is in the spool into the log, as each step of the sequencer does.
func (s spooled) move(t *testing.T) []string {
	t.Helper()
	leaves, err := s.Audit().Unnumbered(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range leaves {
		ids = append(ids, l.ID)
	}
	return ids
}

// copyFiles copies files of one folder into another, as they are now.
func copyFiles(t *testing.T, from, to, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, pattern))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing to copy", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(f)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpoolAfterACrash: whatever moment a crash comes at, each leaf whose Append returned is in the log once.
func TestSpoolAfterACrash(t *testing.T) {
	both := "trellis.db*"
	for name, crash := range map[string]func(t *testing.T, s spooled, to string) (want []string){
		"before the first move": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 3)
			copyFiles(t, s.dir, to, both)
			return ids
		},
		"between the log and the spool": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 3)
			copyFiles(t, s.dir, to, "*-leaves*")
			s.move(t)
			copyFiles(t, s.dir, to, "trellis.db")
			copyFiles(t, s.dir, to, "trellis.db-wal")
			return ids
		},
		"after a move, with more behind it": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 3)
			s.move(t)
			ids = append(ids, s.add(t, 2)...)
			copyFiles(t, s.dir, to, both)
			return ids
		},
		"over an older, longer filling": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 5)
			s.move(t)
			ids = append(ids, s.add(t, 1)...)
			s.move(t)
			ids = append(ids, s.add(t, 2)...)
			copyFiles(t, s.dir, to, both)
			return ids
		},
		"and a clock that was ahead": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 2)
			s.move(t)
			copyFiles(t, s.dir, to, "trellis.db")
			copyFiles(t, s.dir, to, "trellis.db-wal")
			e, err := Open(t.Context(), filepath.Join(to, "trellis.db"))
			if err != nil {
				t.Fatal(err)
			}
			err = e.Write(t.Context(), func(tx store.Tx) error {
				n, err := tx.Exec(t.Context(), "UPDATE setting SET value=? WHERE name='audit.unspooled'", []byte{0x7f, 255, 255, 255, 255, 255, 255, 255})
				if err == nil && n != 1 {
					err = errors.New("the store does not remember what it moved")
				}
				return err
			})
			if err := errors.Join(err, e.Close()); err != nil {
				t.Fatal(err)
			}
			return ids
		},
		"in the middle of a record": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 2)
			before, err := os.Stat(filepath.Join(s.dir, "trellis.db-leaves0"))
			if err != nil {
				t.Fatal(err)
			}
			s.add(t, 1) // whose Append would not have returned
			copyFiles(t, s.dir, to, both)
			if err := os.Truncate(filepath.Join(to, "trellis.db-leaves0"), before.Size()+40); err != nil {
				t.Fatal(err)
			}
			return ids
		},
		"with a record that did not reach the disk whole": func(t *testing.T, s spooled, to string) []string {
			ids := s.add(t, 3)
			copyFiles(t, s.dir, to, both)
			file := filepath.Join(to, "trellis.db-leaves0")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)-1] ^= 1
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return ids[:2]
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			want := crash(t, openIn(t, t.TempDir()), to)
			again := openIn(t, to)
			if got := again.move(t); !slices.Equal(got, want) {
				t.Errorf("%d leaves after the crash, want %d: %v, %v", len(got), len(want), got, want)
			}
			// The numbers of the new process may be smaller than those of the old one: what it adds is not taken for moved.
			want = append(want, again.add(t, 2)...)
			if got := again.move(t); !slices.Equal(got, want) {
				t.Errorf("then %d leaves, want %d", len(got), len(want))
			}
		})
	}
}

// TestSpoolReused: what an older filling left in a file is not moved again with a newer, shorter one.
func TestSpoolReused(t *testing.T) {
	s := openIn(t, t.TempDir())
	var want []string
	for _, n := range []int{5, 1, 2, 0, 3, 1, 1} {
		want = append(want, s.add(t, n)...)
		if got := s.move(t); !slices.Equal(got, want) {
			t.Fatalf("%d leaves in the log, want %d", len(got), len(want))
		}
	}
}

// TestSpoolHasOneOwner: a second process writes to the log itself, and neither loses what the other has.
func TestSpoolHasOneOwner(t *testing.T) {
	first := openIn(t, t.TempDir())
	ids := first.add(t, 1)
	second := openIn(t, first.dir)
	ids = append(ids, second.add(t, 1)...)
	if got := second.move(t); !slices.Equal(got, ids[1:]) {
		t.Errorf("the second sees %v in the log, want its own %v", got, ids[1:])
	}
	got := first.move(t)
	slices.Sort(got) // a UUIDv7 each
	if !slices.Equal(got, ids) {
		t.Errorf("%v in the log, want %v", got, ids)
	}
}

// TestSpoolOnAFailingDisk: a file that cannot be written takes no more leaves, and the log itself takes them over.
func TestSpoolOnAFailingDisk(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	sp, err := openSpool(filepath.Join(dir, "other.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.files[0].Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sp.Add(1, 1, []byte("x")); !errors.Is(err, store.ErrBusy) {
			t.Errorf("a pack that could not be written: %v", err)
		}
	}
	if _, _, err := sp.Seal(); err == nil {
		t.Error("a file that cannot be read was read")
	}
	if err := sp.Add(2, 1, []byte("y")); err != nil {
		t.Errorf("the other file does not take over: %v", err)
	}
	if err := sp.files[1].Close(); err != nil {
		t.Fatal(err)
	}

	// A store whose spool cannot be moved appends to the log.
	broken := &brokenSpool{}
	e := &spoolingEngine{Engine: nil, spool: broken}
	if e.Engine, err = Open(t.Context(), filepath.Join(t.TempDir(), "trellis.db")); err != nil {
		t.Fatal(err)
	}
	registry, err := search.New()
	if err != nil {
		t.Fatal(err)
	}
	if s.Store, err = store.Open(t.Context(), store.Config{Engine: e, Registry: registry}); err != nil {
		t.Fatal(err)
	}
	s.add(t, 1)
	broken.err = errors.New("unreadable")
	if _, err := s.Audit().Unnumbered(t.Context(), 10); err == nil {
		t.Error("the sequencer does not hear of a spool that cannot be read")
	}
	added := broken.added
	s.add(t, 1)
	if broken.added != added {
		t.Error("a leaf was added to a spool that cannot be read")
	}
	broken.err = nil
	if got := s.move(t); len(got) != 1 {
		t.Errorf("%d leaves in the log, want the one that went there", len(got))
	}
	s.add(t, 1)
	if broken.added != added+1 {
		t.Error("the spool is not used again")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// spoolingEngine is an engine with another spool.
type spoolingEngine struct {
	store.Engine
	spool store.Spool
}

func (e *spoolingEngine) Spool() store.Spool { return e.spool }

// brokenSpool is a disk that takes writes and gives nothing back while err is set.
type brokenSpool struct {
	added int
	err   error
}

func (b *brokenSpool) Left() ([]store.Spooled, error)       { return nil, nil }
func (b *brokenSpool) Clear() error                         { return nil }
func (b *brokenSpool) Add(int64, int, []byte) error         { b.added++; return nil }
func (b *brokenSpool) Seal() ([]store.Spooled, bool, error) { return nil, false, b.err }
func (b *brokenSpool) Release() error                       { return nil }

// FuzzSpoolRecords: whatever a file holds, reading it ends, and gives no more than was there.
func FuzzSpoolRecords(f *testing.F) {
	dir := f.TempDir()
	sp, err := openSpool(filepath.Join(dir, "seed.db"))
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if err := sp.Add(int64(i+1), 1, bytes.Repeat([]byte{byte(i)}, 10*i)); err != nil {
			f.Fatal(err)
		}
	}
	if err := sp.close(); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(filepath.Join(dir, "seed.db-leaves0"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		if _, err := io.Copy(file, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		packs, err := records(file)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, p := range packs {
			size += recordHeader + len(p.Body)
		}
		if size > len(data) {
			t.Errorf("%d bytes of records in %d", size, len(data))
		}
	})
}
