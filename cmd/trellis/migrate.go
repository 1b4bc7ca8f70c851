package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"
)

const migrateHelp = `trellis migrate: bring a database up to this version

Usage:
  trellis migrate reindex [--data DIR | --postgres DSN]

The schema is brought up to date whenever a database is opened; nothing is to be run for that. "reindex" makes the
whole search index anew. It is needed when the server says so at its start, after a version that indexes otherwise.
Stop the server first. An interrupted run is taken up by the same command.

Flags:
  --data DIR       folder of the embedded database (default ./trellis-data)
  --postgres DSN   PostgreSQL database instead

Exit status: 0 done; 1 it failed or was interrupted; 2 wrong use.

Example:
  trellis migrate reindex --data /var/lib/trellis
`

func runMigrate(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("migrate", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, migrateHelp) }
	var where location
	where.flags(fs)
	reindex := len(args) > 0 && args[0] == "reindex"
	if reindex {
		args = args[1:]
	}
	if code, done := parseFlags(fs, args, stdout, migrateHelp); done {
		return code
	}
	if !reindex || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "trellis migrate: say what to do: reindex; see `trellis migrate --help`")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := rebuildIndex(ctx, where, stderr); err != nil {
		fmt.Fprintln(stderr, "trellis migrate:", err)
		return 1
	}
	return 0
}

func rebuildIndex(ctx context.Context, where location, stderr io.Writer) (err error) {
	s, err := where.openTool(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	bar := newProgress(stderr, "indexing, % of resources", 100)
	return s.RebuildIndex(ctx, func(done, total int64) {
		for total > 0 && int64(bar.done) < 100*done/total {
			bar.step()
		}
	})
}
