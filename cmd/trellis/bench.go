package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trellis/conformance/pgtest"
	"trellis/gateway/store/postgres"
)

const benchHelp = `trellis bench: measure against the bare database

Usage:
  trellis bench [--stores sqlite,postgres] [--patients N] [--clients N] [--seconds S] [--growth A,B] [--full] [--data DIR]
                [--postgres DSN] [--json] [--profile DIR]

Every figure stands beside that of a bare baseline, measured in turns with it in the same run: the same bytes from
the same database, through net/http where Trellis answers over HTTP, with no FHIR, no token, no consent and no audit.
Ratios are what to look at; throughput alone is the machine's. Answers are compared byte for byte first, and any error
ends the run.

  read, search     against a handler that runs one statement, decompresses and writes
  create, transaction   against the driver alone inserting the same rows, one durable transaction each
  consent, audit   on against off; off exists in this command only

  tenant-wide and chained searches, $export, loads   by themselves; growth tells what size does to searches

It makes synthetic patients of its own, in a temporary folder and in a private PostgreSQL cluster from the system's
binaries, and removes them. Progress goes to standard error, a table to standard output.

Flags:
  --stores LIST     which stores: sqlite, postgres or both (default sqlite,postgres)
  --patients N      patients, each with about 35 resources (default 400)
  --clients N       concurrent clients (default 32)
  --seconds S       load on each side of a comparison (default 2)
  --growth A,B      compare the searches' p50 at these numbers of patients (default 100,400; empty for none)
  --full            growth at 1000, 4000, 16000 and 64000 patients: takes an hour and 5 GB of disk
  --data DIR        also load this folder of FHIR Bundles into an empty store: resources/s and bytes per resource
  --postgres DSN    use this server, in a schema made for the run and dropped after it
  --json            write the rows as JSON
  --profile DIR     write a CPU profile of each phase to DIR

Examples:
  trellis bench
  trellis bench --stores sqlite --seconds 10 --patients 2000 --growth 1000,4000
  trellis bench --stores sqlite --growth "" --data ./bundles
  trellis bench --stores postgres --postgres "postgres://trellis@127.0.0.1:5432/bench?sslmode=disable" --json
`

// benchFlags is the command line.
type benchFlags struct {
	stores, growth, postgres, profile, data string
	patients, clients                       int
	seconds                                 float64
	json, full                              bool
}

func runBench(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, benchHelp) }
	var f benchFlags
	fs.StringVar(&f.stores, "stores", "sqlite,postgres", "")
	fs.StringVar(&f.growth, "growth", "100,400", "")
	fs.StringVar(&f.postgres, "postgres", "", "")
	fs.StringVar(&f.profile, "profile", "", "")
	fs.IntVar(&f.patients, "patients", 400, "")
	fs.IntVar(&f.clients, "clients", 32, "")
	fs.Float64Var(&f.seconds, "seconds", 2, "")
	fs.BoolVar(&f.json, "json", false, "")
	fs.BoolVar(&f.full, "full", false, "")
	fs.StringVar(&f.data, "data", "", "")
	if code, done := parseFlags(fs, args, stdout, benchHelp); done {
		return code
	}
	b, err := f.bench(stderr)
	if err != nil || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "trellis bench: see `trellis bench --help`:", err)
		return 2
	}
	if b.executable, err = os.Executable(); err != nil {
		fmt.Fprintln(stderr, "trellis bench:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	rows, err := f.run(ctx, b)
	if err == nil {
		err = writeReport(stdout, machine(b), rows, f.json)
	}
	if err != nil {
		fmt.Fprintln(stderr, "trellis bench:", err)
		return 1
	}
	return 0
}

// bench checks the flags.
func (f benchFlags) bench(stderr io.Writer) (bench, error) {
	b := bench{patients: f.patients, clients: f.clients, seconds: time.Duration(f.seconds * float64(time.Second)), profiles: f.profile, stderr: stderr}
	if b.patients < 3 || b.clients < 1 || b.seconds <= 0 {
		return b, errors.New("--patients must be 3 or more, --clients and --seconds more than 0")
	}
	for _, name := range strings.Split(f.stores, ",") {
		if name != "sqlite" && name != "postgres" {
			return b, fmt.Errorf("--stores: no store %q", name)
		}
	}
	if f.full {
		f.growth = "1000,4000,16000,64000"
	}
	if f.growth == "" {
		return b, nil
	}
	for _, text := range strings.Split(f.growth, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 3 {
			return b, errors.New("--growth takes numbers of patients, 3 or more, such as 100,400")
		}
		b.growth = append(b.growth, n)
	}
	return b, nil
}

// run measures each store in a place of its own, one after another.
func (f benchFlags) run(ctx context.Context, b bench) (rows []measurement, err error) {
	dir, err := os.MkdirTemp("", "trellis-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return nil, err
		}
	}
	for _, name := range strings.Split(f.stores, ",") {
		for i, part := range (&storeBench{bench: b}).parts(f.data) {
			s := &storeBench{bench: b, name: name, where: location{data: filepath.Join(dir, name, strconv.Itoa(i))}}
			s.part = part(s)
			if err := os.MkdirAll(s.where.data, 0o700); err != nil {
				return nil, err
			}
			if name == "postgres" {
				err = f.onPostgres(ctx, s)
			} else {
				err = s.run(ctx)
			}
			if err != nil {
				return nil, err
			}
			rows = append(rows, s.rows...)
		}
	}
	fmt.Fprintln(b.stderr, "mapping engine")
	more, err := mappingRows(b.seconds)
	return append(rows, more...), err
}

// onPostgres gives the run a database: one of a private cluster, or a schema on the server named. Without
// the server's programs the store is passed over.
func (f benchFlags) onPostgres(ctx context.Context, s *storeBench) (err error) {
	if f.postgres != "" {
		return f.onSchema(ctx, s)
	}
	cluster, err := pgtest.Start(ctx)
	if err != nil {
		fmt.Fprintf(s.stderr, "postgres is left out: %v\n", err)
		s.single("not measured", "no PostgreSQL here; name one with --postgres", "")
		return nil
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if s.where.postgres, err = cluster.CreateDatabase(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// onSchema runs in a schema of its own and drops it.
func (f benchFlags) onSchema(ctx context.Context, s *storeBench) error {
	return postgres.InTemporarySchema(ctx, f.postgres, fmt.Sprintf("trellis_bench_%d", os.Getpid()), func(dsn string) error {
		s.where.postgres = dsn
		return s.run(ctx)
	})
}

// machine is the line above the tables: what the figures were measured on.
func machine(b bench) string {
	return fmt.Sprintf("%d clients on %d cores with database and load generator (%s %s), %d patients, %d resources, %s of load on each side of a ratio.",
		b.clients, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, b.patients, benchResources(b.patients), b.seconds)
}
