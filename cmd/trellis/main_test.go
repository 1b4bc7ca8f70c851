package main

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"trellis/conformance/pgtest"
)

// cluster is this package's private PostgreSQL.
var cluster *pgtest.Cluster

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
