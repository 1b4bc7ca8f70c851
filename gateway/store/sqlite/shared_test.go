package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"trellis/conformance/storetest"
	"trellis/gateway/store"
	"trellis/gateway/store/sqlite"
)

// TestShared has one store that writes: an embedded database belongs to one process.
func TestShared(t *testing.T) {
	storetest.RunShared(t, func(t testing.TB) func(testing.TB, func() time.Time) *store.Store {
		file := filepath.Join(t.TempDir(), "trellis.db")
		return func(t testing.TB, clock func() time.Time) *store.Store {
			t.Helper()
			e, err := sqlite.Open(context.Background(), file)
			if err != nil {
				t.Fatal(err)
			}
			return storetest.Over(t, e, clock)
		}
	}, 1)
}
