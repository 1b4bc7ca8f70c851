package postgres_test

import (
	"context"
	"os"
	"testing"
	"time"

	"trellis/conformance/pgtest"
	"trellis/conformance/storetest"
	"trellis/gateway/store"
	"trellis/gateway/store/postgres"
)

var cluster *pgtest.Cluster

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, &cluster)) }

func open(t testing.TB, clock func() time.Time) *store.Store {
	t.Helper()
	e, err := postgres.Open(context.Background(), cluster.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Over(t, e, clock)
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

// TestSettings reads the settings back: a returned write must survive power loss, and no plan is compiled, which costs a
// page of a few thousand patients a hundred times its own time.
func TestSettings(t *testing.T) {
	e, err := postgres.Open(context.Background(), cluster.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "jit": "off"} {
		err := e.Read(context.Background(), func(tx store.Tx) error {
			rows, err := tx.Query(context.Background(), "SELECT current_setting('"+setting+"')")
			if err != nil {
				return err
			}
			defer rows.Close()
			var got string
			if !rows.Next() {
				t.Fatal("no value for", setting)
			}
			if err := rows.Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %s", setting, got)
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
