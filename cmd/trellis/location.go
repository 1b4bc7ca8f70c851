package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"trellis/fhir/search"
	"trellis/gateway/store"
	"trellis/gateway/store/postgres"
	"trellis/gateway/store/sqlite"
)

// location is where an installation keeps its data.
type location struct {
	data     string // folder of the embedded database and of local files
	postgres string // connection string; empty for the embedded database
}

// flags registers --data and --postgres.
func (l *location) flags(fs *flag.FlagSet) {
	fs.StringVar(&l.data, "data", "./trellis-data", "`DIR` of the embedded database and of local files")
	fs.StringVar(&l.postgres, "postgres", "", "PostgreSQL connection string (`DSN`) to use instead of the embedded database")
}

// file is a path inside the data folder.
func (l location) file(name string) string { return filepath.Join(l.data, name) }

// engine opens the database.
func (l location) engine(ctx context.Context) (store.Engine, error) {
	if l.postgres != "" {
		return postgres.Open(ctx, l.postgres)
	}
	if err := os.MkdirAll(l.data, 0o700); err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, l.file("trellis.db"))
}

// exists reports whether a tool would open data rather than make an empty database.
func (l location) exists() error {
	if l.postgres != "" {
		return nil
	}
	if _, err := os.Stat(l.file("trellis.db")); err != nil {
		return fmt.Errorf("no installation in %s; name its folder with --data, or its database with --postgres", l.data)
	}
	return nil
}

// open opens the store. base is the FHIR base URL, empty for tools; clock is nil outside of tests.
func (l location) open(ctx context.Context, base string, registry *search.Registry, clock func() time.Time) (*store.Store, error) {
	engine, err := l.engine(ctx)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Config{Engine: engine, Registry: registry, Base: base, Clock: clock})
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	return s, nil
}

// openTool opens an existing installation for a command line tool.
func (l location) openTool(ctx context.Context) (*store.Store, error) {
	if err := l.exists(); err != nil {
		return nil, err
	}
	registry, err := search.New()
	if err != nil {
		return nil, err
	}
	return l.open(ctx, "", registry, nil)
}

// work does a tool's work on the store and returns the exit status; what went wrong is told under the command's name.
func (l location) work(command string, stderr io.Writer, do func(context.Context, *store.Store) error) int {
	ctx := context.Background()
	s, err := l.openTool(ctx)
	if err == nil {
		err = errors.Join(do(ctx, s), s.Close())
	}
	if err != nil {
		fmt.Fprintf(stderr, "trellis %s: %v\n", command, err)
		return 1
	}
	return 0
}
