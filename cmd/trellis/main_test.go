package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"trellis/conformance/pgtest"
	"trellis/fhir/search"
)

// cluster is this package's private PostgreSQL.
var cluster *pgtest.Cluster

// migrated is a database with the current schema and nothing in it.
var migrated = sync.OnceValues(func() (string, error) {
	dsn, err := cluster.CreateDatabase(context.Background())
	if err != nil {
		return "", err
	}
	registry, err := search.New()
	if err != nil {
		return "", err
	}
	s, err := location{postgres: dsn}.open(context.Background(), "", registry, nil)
	if err != nil {
		return "", err
	}
	return dsn, s.Close()
})

// database is a database of PostgreSQL for one test, its schema made: making it anew for each takes longer than most tests.
func database(t testing.TB) string {
	t.Helper()
	dsn, err := migrated()
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Copy(t, dsn)
}

// asCommand makes this test program behave as the command itself, for tests that need a process to kill.
const asCommand = "TRELLIS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	flag.Parse()
	if err := generation(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m, &cluster))
}
