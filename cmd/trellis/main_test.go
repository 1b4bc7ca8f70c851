package main

import (
	"os"
	"testing"

	"trellis/conformance/pgtest"
)

// cluster is this package's private PostgreSQL.
var cluster *pgtest.Cluster

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, &cluster)) }
