package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"trellis/conformance/storetest"
	"trellis/gateway/store"
	"trellis/gateway/store/sqlite"
)

func open(t testing.TB, clock func() time.Time) *store.Store {
	t.Helper()
	return storetest.Over(t, openPlanned(t), clock)
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

// TestFolderNames opens databases in folders whose names mean something in a URI: each is its own file there.
func TestFolderNames(t *testing.T) {
	for _, name := range []string{"a#b", "a?b", "a%23b", "a b", "a&mode=memory"} {
		file := filepath.Join(t.TempDir(), name, "trellis.db")
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		e, err := sqlite.Open(context.Background(), file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(file); err != nil || info.Size() == 0 && !exists(file+"-wal") {
			t.Errorf("%s: nothing was written to %v (%v)", name, info, err)
		}
	}
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

// TestDurability reads the settings back: a returned write must survive power loss.
func TestDurability(t *testing.T) {
	e, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "trellis.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	check := func(tx store.Tx, pragma, want string) {
		rows, err := tx.Query(context.Background(), "PRAGMA "+pragma)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got string
		if !rows.Next() {
			t.Fatal("no value for", pragma)
		}
		if err := rows.Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	err = e.Write(context.Background(), func(tx store.Tx) error {
		check(tx, "synchronous", "2") // FULL
		check(tx, "journal_mode", "wal")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
