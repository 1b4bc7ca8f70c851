package postgres_test

import (
	"context"
	"testing"
	"time"

	"trellis/conformance/storetest"
	"trellis/gateway/store"
	"trellis/gateway/store/postgres"
)

// TestShared has two replicas that both write.
func TestShared(t *testing.T) {
	storetest.RunShared(t, func(t testing.TB) func(testing.TB, func() time.Time) *store.Store {
		dsn := cluster.Database(t)
		return func(t testing.TB, clock func() time.Time) *store.Store {
			t.Helper()
			e, err := postgres.Open(context.Background(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			return storetest.Over(t, e, clock)
		}
	}, 2)
}
