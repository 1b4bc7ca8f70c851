package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// Baseline is the bare driver on the store's own file: the yardstick of `trellis bench`, and nothing the
// gateway runs on. It knows neither FHIR nor consent nor audit, and it keeps its own copy of the bytes to
// give out in table bare_body, so that both sides of a comparison send the same ones.
type Baseline struct {
	db   *sql.DB
	dsn  string
	body *sql.Stmt
	page *sql.Stmt

	observation, patient, date int64 // numbers of the store's dictionary

	mu     sync.Mutex // SQLite has one writer: waiting here is cheaper than SQLITE_BUSY
	writer *conn
}

// BaselineRead and BaselineSearch are the statements measured: one body by resource id, and one
// patient's newest bodies.
const (
	BaselineRead   = "SELECT v.doc FROM res r JOIN bare_body v ON v.rid=r.rid WHERE r.part=0 AND r.type_no=? AND r.id=?"
	BaselineSearch = "SELECT v.id,v.doc FROM idx_date x JOIN bare_body v ON v.rid=x.rid WHERE x.part=0 AND x.pat=(SELECT rid FROM res WHERE part=0 AND type_no=? AND id=?) " +
		"AND x.param=? ORDER BY x.lo DESC LIMIT ?"
)

// OpenBaseline opens a store's file, with the engine's own durability.
func OpenBaseline(ctx context.Context, file string) (*Baseline, error) {
	dsn := "file:" + uriPath(file) + "?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlite: opening: %w", err)
	}
	n := max(4, runtime.NumCPU())
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	b := &Baseline{db: db, dsn: dsn}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return b, nil
}

func (b *Baseline) open(ctx context.Context) error {
	if _, err := b.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS bare_body (rid INTEGER PRIMARY KEY, id TEXT NOT NULL, doc BLOB NOT NULL)"); err != nil {
		return err
	}
	var err error
	if b.body, err = b.db.PrepareContext(ctx, BaselineRead); err != nil {
		return err
	}
	if b.page, err = b.db.PrepareContext(ctx, BaselineSearch); err != nil {
		return err
	}
	b.writer, err = open(b.dsn)
	return err
}

// Durable reports whether a commit survives power loss on this connection.
func (b *Baseline) Durable(ctx context.Context) (bool, error) {
	var level int
	var mode string
	err := errors.Join(b.db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level), b.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode))
	return level == 2 && mode == "wal", err
}

// Keep copies the packed bytes of Observations by id.
func (b *Baseline) Keep(ctx context.Context, ids []string, packed [][]byte) error {
	for name, to := range map[string]*int64{"Observation": &b.observation, "Patient": &b.patient, "Observation.date": &b.date} {
		kind := 1
		if name == "Observation.date" {
			kind = 2
		}
		if err := b.db.QueryRowContext(ctx, "SELECT no FROM dict WHERE kind=? AND name=?", kind, name).Scan(to); err != nil {
			return err
		}
	}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if _, err := tx.ExecContext(ctx, "INSERT INTO bare_body (rid,id,doc) SELECT rid,id,? FROM res WHERE part=0 AND type_no=? AND id=? ON CONFLICT (rid) DO UPDATE SET doc=excluded.doc", packed[i], b.observation, id); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// Settle does nothing: the gateway keeps no planner statistics on SQLite, so it is measured without any.
func (b *Baseline) Settle(context.Context) error { return nil }

// Body is the packed body of an Observation.
func (b *Baseline) Body(ctx context.Context, id string) ([]byte, error) {
	var doc []byte
	err := b.body.QueryRowContext(ctx, b.observation, id).Scan(&doc)
	return doc, err
}

// Page is a patient's newest Observations, packed.
func (b *Baseline) Page(ctx context.Context, patient string, count int) (ids []string, docs [][]byte, err error) {
	found, err := b.page.QueryContext(ctx, b.patient, patient, b.date, count)
	if err != nil {
		return nil, nil, err
	}
	for found.Next() {
		var id string
		var doc []byte
		if err := found.Scan(&id, &doc); err != nil {
			return nil, nil, errors.Join(err, found.Close())
		}
		ids, docs = append(ids, id), append(docs, doc)
	}
	return ids, docs, errors.Join(found.Err(), found.Close())
}

// Rows reads what the store wrote to a table for an Observation.
func (b *Baseline) Rows(ctx context.Context, table, id string) (columns []string, values [][]any, err error) {
	found, err := b.db.QueryContext(ctx, "SELECT * FROM "+table+" WHERE part=0 AND rid=(SELECT rid FROM res WHERE part=0 AND type_no=? AND id=?)", b.observation, id)
	if err != nil {
		return nil, nil, err
	}
	if columns, err = found.Columns(); err != nil {
		return nil, nil, errors.Join(err, found.Close())
	}
	for found.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, nil, errors.Join(err, found.Close())
		}
		values = append(values, row)
	}
	return columns, values, errors.Join(found.Err(), found.Close())
}

// Placeholder is the n-th placeholder of a statement, from 1.
func (b *Baseline) Placeholder(int) string { return "?" }

// Insert runs statements in one durable transaction.
func (b *Baseline) Insert(ctx context.Context, statements []string, args [][]any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.writer.Exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for i, s := range statements {
		if _, err := b.writer.Exec(ctx, s, args[i]...); err != nil {
			_, rb := b.writer.Exec(ctx, "ROLLBACK")
			return errors.Join(err, rb)
		}
	}
	_, err := b.writer.Exec(ctx, "COMMIT")
	return err
}

// Size is the bytes of the database on disk, write-ahead log folded in.
func (b *Baseline) Size(ctx context.Context) (int64, error) {
	if _, err := b.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return 0, err
	}
	var pages, size int64
	err := errors.Join(b.db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages), b.db.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size))
	return pages * size, err
}

// Close releases the connections.
func (b *Baseline) Close() error {
	return errors.Join(b.body.Close(), b.page.Close(), b.writer.close(), b.db.Close())
}
