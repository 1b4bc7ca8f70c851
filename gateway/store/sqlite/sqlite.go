// Package sqlite runs the store on an embedded SQLite database: one writer with group commit,
// readers apart, WAL, and synchronous=FULL so that a returned write survives power loss.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"

	sqlite3 "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"trellis/gateway/store"
)

// maxGroup is the most write transactions one commit carries.
const maxGroup = 128

// Engine is one database file. Close it once.
type Engine struct {
	readers chan *conn
	jobs    chan *job
	done    chan struct{}
	stop    sync.Once
	closed  chan struct{}
	spool   *spool // nil when another process has it

	held      heldMemory
	writerErr error // of closing the writer's connection; read after closed
}

var (
	_ store.Engine   = (*Engine)(nil)
	_ store.Spooling = (*Engine)(nil)
)

// job is one caller's write waiting for the writer.
type job struct {
	ctx context.Context
	fn  func(store.Tx) error
	err chan error
}

// Open opens or creates the database file and checks its durability settings.
func Open(ctx context.Context, file string) (*Engine, error) {
	// The file holds patients' records: it is its owner's alone from its first byte.
	if f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("sqlite: creating: %w", err)
	} else if err := f.Close(); err != nil {
		return nil, fmt.Errorf("sqlite: creating: %w", err)
	}
	dsn := "file:" + uriPath(file) + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)&_pragma=foreign_keys(0)&_pragma=mmap_size(1073741824)"
	e := &Engine{held: holdMemory(), jobs: make(chan *job), done: make(chan struct{}), closed: make(chan struct{})}
	n := max(4, runtime.NumCPU())
	e.readers = make(chan *conn, n)
	writer, err := open(dsn)
	if err != nil {
		return nil, err
	}
	for range n {
		c, err := open(dsn)
		if err != nil {
			return nil, errors.Join(err, writer.close(), e.closeReaders())
		}
		e.readers <- c
	}
	if e.spool, err = openSpool(file); err != nil {
		return nil, errors.Join(err, writer.close(), e.closeReaders())
	}
	go e.write(writer)
	return e, nil
}

// Spool implements store.Spooling.
func (e *Engine) Spool() store.Spool {
	if e.spool == nil {
		return nil // and not a nil *spool
	}
	return e.spool
}

// Dialect implements store.Engine.
func (e *Engine) Dialect() store.Dialect {
	return store.Dialect{
		Name: "sqlite", Blob: "BLOB", Text: "TEXT", NoRowID: "WITHOUT ROWID", RowKey: "INTEGER",
		NowMicros: "CAST(unixepoch('subsec')*1000000 AS INTEGER)",
		InFormat:  "%s IN (SELECT value FROM json_each(?))",
		Literals:  true,
		Contains:  "instr", EndsFormat: "substr(%s,-length(?))=?",
	}
}

// Close waits for readers and for the writer's group to finish and closes the file.
func (e *Engine) Close() error {
	e.stop.Do(func() { close(e.done) })
	<-e.closed
	err := e.writerErr
	if e.spool != nil {
		err = errors.Join(err, e.spool.close())
	}
	for range cap(e.readers) {
		err = errors.Join(err, (<-e.readers).close())
	}
	e.held.release()
	return err
}

// closeReaders closes the readers that are at rest.
func (e *Engine) closeReaders() error {
	var err error
	for len(e.readers) > 0 {
		err = errors.Join(err, (<-e.readers).close())
	}
	return err
}

// Read implements store.Engine.
func (e *Engine) Read(ctx context.Context, fn func(store.Tx) error) error {
	select {
	case c := <-e.readers:
		defer func() { e.readers <- c }()
		return fn(c)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Search implements store.Engine: SQLite plans a statement once, by the statistics of a migration. A search ends
// with its context; watching for that costs as much as a look-up by key, which does without.
func (e *Engine) Search(ctx context.Context, fn func(store.Tx) error) error {
	return e.Read(ctx, func(tx store.Tx) error { return fn(watched{tx.(*conn)}) })
}

// Snapshot implements store.Engine.
func (e *Engine) Snapshot(ctx context.Context, fn func(store.Tx) error) error {
	return e.Read(ctx, func(tx store.Tx) error {
		c := tx.(*conn)
		if _, err := c.Exec(ctx, "BEGIN"); err != nil {
			return err
		}
		err := fn(c)
		if _, end := c.Exec(context.WithoutCancel(ctx), "COMMIT"); end != nil {
			return errors.Join(err, end)
		}
		return err
	})
}

// Write implements store.Engine: the job joins the group the writer commits next.
func (e *Engine) Write(ctx context.Context, fn func(store.Tx) error) error {
	j := &job{ctx: ctx, fn: fn, err: make(chan error, 1)}
	select {
	case e.jobs <- j:
		return <-j.err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return store.ErrBusy
	}
}

// write is the one goroutine that changes the database. Each job runs in a savepoint, so that one
// job's failure undoes that job alone; all jobs of a group learn the outcome after their common commit.
func (e *Engine) write(c *conn) {
	defer close(e.closed)
	for {
		select {
		case <-e.done:
			e.writerErr = c.close()
			return
		case first := <-e.jobs:
			e.group(c, first)
		}
	}
}

func (e *Engine) group(c *conn, first *job) {
	ctx := context.Background()
	if _, err := c.Exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		first.err <- translate(err)
		return
	}
	var passed []*job
	run := func(j *job) {
		if err := savepoint(ctx, c, j); err != nil {
			j.err <- translate(err)
			return
		}
		passed = append(passed, j)
	}
	run(first)
	for more := true; more && len(passed) < maxGroup; {
		select {
		case j := <-e.jobs:
			run(j)
		default:
			more = false
		}
	}
	_, err := c.Exec(ctx, "COMMIT")
	if err != nil {
		if _, rb := c.Exec(ctx, "ROLLBACK"); rb != nil {
			err = errors.Join(err, rb)
		}
	}
	for _, j := range passed {
		j.err <- translate(err)
	}
}

func savepoint(ctx context.Context, c *conn, j *job) (err error) {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, "SAVEPOINT job"); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sqlite: a write panicked: %v", p)
		}
		if err != nil {
			if _, rb := c.Exec(ctx, "ROLLBACK TO job"); rb != nil {
				err = errors.Join(err, rb)
			}
		}
		if _, rel := c.Exec(ctx, "RELEASE job"); rel != nil {
			err = errors.Join(err, rel)
		}
	}()
	return j.fn(c)
}

// translate maps constraint failures to store.ErrConflict.
func translate(err error) error {
	var se *sqlite3.Error
	if errors.As(err, &se) {
		switch se.Code() & 0xff {
		case lib.SQLITE_CONSTRAINT:
			return errors.Join(store.ErrConflict, err)
		case lib.SQLITE_BUSY, lib.SQLITE_FULL, lib.SQLITE_IOERR:
			return errors.Join(store.ErrBusy, err)
		}
	}
	return err
}

// uriPath writes a path as SQLite's URIs want it: what means something in a URI is escaped, so that a folder may have any
// name.
func uriPath(file string) string { return strings.ReplaceAll(url.PathEscape(file), "%2F", "/") }
