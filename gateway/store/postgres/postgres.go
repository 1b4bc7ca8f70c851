// Package postgres runs the store on PostgreSQL through pgx: a pool, custom plans, and retries on
// serialisation failures. Any number of stateless replicas may share one database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"trellis/gateway/store"
)

// maxRetries bounds how often a write is run again after a serialisation failure or deadlock.
const maxRetries = 8

// Engine is a pool of connections.
type Engine struct {
	pool     *pgxpool.Pool // look-ups by key and writes: planned once per connection
	searches *pgxpool.Pool // searches: planned anew for each set of values
	numbered sync.Map      // SQL with ? -> SQL with $n
	stats    statistics
}

var _ store.Engine = (*Engine)(nil)

// Open connects to a DSN (URL or key=value form) and checks that it answers.
func Open(ctx context.Context, dsn string) (*Engine, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("postgres: the connection string cannot be read") // it may hold a password
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "trellis"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	// A page is found in less than a millisecond, however dear the planner takes it for; compiling its plan costs sixty.
	cfg.ConnConfig.RuntimeParams["jit"] = "off"
	if cfg.MaxConns < 16 {
		cfg.MaxConns = 16
	}
	cfg.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan" // planning costs a look-up four times its execution
	e := &Engine{}
	if e.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("postgres: connecting: %w", err)
	}
	if err := e.pool.Ping(ctx); err != nil {
		e.pool.Close()
		return nil, fmt.Errorf("postgres: the server does not answer: %w", err)
	}
	// A generic plan for a skewed code costs a search a factor of hundreds; planning costs it a millisecond.
	custom := cfg.Copy()
	custom.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	if e.searches, err = pgxpool.NewWithConfig(ctx, custom); err != nil {
		e.pool.Close()
		return nil, fmt.Errorf("postgres: connecting: %w", err)
	}
	e.stats.start(e.pool)
	return e, nil
}

// Dialect implements store.Engine.
func (e *Engine) Dialect() store.Dialect {
	return store.Dialect{
		Name: "postgres", Blob: "BYTEA", Text: `TEXT COLLATE "C"`, RowKey: "BIGINT", RowKeys: "part,",
		NowMicros: "(EXTRACT(EPOCH FROM clock_timestamp())*1000000)::bigint",
		InFormat:  "%s = ANY(?)",
		Contains:  "strpos", EndsFormat: "right(%s,length(CAST(? AS TEXT)))=?",
	}
}

// Close releases the pool.
func (e *Engine) Close() error {
	e.stats.stop()
	e.searches.Close()
	e.pool.Close()
	return nil
}

// Read implements store.Engine.
func (e *Engine) Read(ctx context.Context, fn func(store.Tx) error) error {
	return e.read(ctx, e.pool, fn)
}

// Search implements store.Engine.
func (e *Engine) Search(ctx context.Context, fn func(store.Tx) error) error {
	return e.read(ctx, e.searches, fn)
}

func (e *Engine) read(ctx context.Context, pool *pgxpool.Pool, fn func(store.Tx) error) error {
	c, err := pool.Acquire(ctx)
	if err != nil {
		return unavailable(err)
	}
	defer c.Release()
	return translate(fn(tx{e, c}))
}

// Snapshot implements store.Engine.
func (e *Engine) Snapshot(ctx context.Context, fn func(store.Tx) error) error {
	return e.transaction(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

// Write implements store.Engine.
func (e *Engine) Write(ctx context.Context, fn func(store.Tx) error) error {
	var err error
	for range maxRetries {
		err = e.write(ctx, fn)
		if !retryable(err) {
			return err
		}
	}
	return errors.Join(store.ErrBusy, err)
}

func (e *Engine) write(ctx context.Context, fn func(store.Tx) error) error {
	c, err := e.pool.Acquire(ctx)
	if err != nil {
		return unavailable(err)
	}
	defer c.Release()
	t := &writing{e: e, conn: c.Conn()}
	if err := fn(t); err != nil {
		return translate(errors.Join(err, t.rollback(context.WithoutCancel(ctx))))
	}
	if err := t.commit(ctx); err != nil {
		return translate(err)
	}
	e.stats.wrote(t.values)
	return nil
}

func (e *Engine) transaction(ctx context.Context, opts pgx.TxOptions, fn func(store.Tx) error) error {
	t, err := e.pool.BeginTx(ctx, opts)
	if err != nil {
		return unavailable(err)
	}
	if err := fn(tx{e, t}); err != nil {
		if rb := t.Rollback(context.WithoutCancel(ctx)); rb != nil && !errors.Is(rb, pgx.ErrTxClosed) {
			err = errors.Join(err, rb)
		}
		return translate(err)
	}
	return translate(t.Commit(ctx))
}

func unavailable(err error) error { return errors.Join(store.ErrBusy, err) }

func retryable(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "40001" || pe.Code == "40P01")
}

// translate maps a unique violation to store.ErrConflict and drops what the server said about it: a
// PgError's Detail quotes the row.
func translate(err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return err
	}
	switch {
	case retryable(err):
		return err
	case pe.Code == "23505":
		return fmt.Errorf("%w (constraint %s)", store.ErrConflict, pe.ConstraintName)
	}
	out := fmt.Errorf("postgres: SQLSTATE %s in %s", pe.Code, pe.Routine)
	var queued *store.QueueFailed
	if errors.As(err, &queued) {
		out = errors.Join(queued, out)
	}
	if errors.Is(err, store.ErrLog) {
		out = errors.Join(store.ErrLog, out)
	}
	return out
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

type tx struct {
	e *Engine
	q querier
}

// Query implements store.Tx.
func (t tx) Query(ctx context.Context, sql string, args ...any) (store.Rows, error) {
	return t.q.Query(ctx, t.e.number(sql), arguments(args)...)
}

// Exec implements store.Tx.
func (t tx) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := t.q.Exec(ctx, t.e.number(sql), arguments(args)...)
	return tag.RowsAffected(), err
}

// Queue implements store.Tx.
func (t tx) Queue(ctx context.Context, sql string, args ...any) error {
	_, err := t.Exec(ctx, sql, args...)
	return err
}

// arguments turns lists into arrays. A nil list is an empty array, never NULL: x = ANY(NULL) is unknown,
// and NOT unknown would let a row through.
func arguments(args []any) []any {
	for i, a := range args {
		switch v := a.(type) {
		case store.Int64s:
			args[i] = append([]int64{}, v...)
		case store.Strings:
			args[i] = append([]string{}, v...)
		}
	}
	return args
}

// number rewrites ? placeholders to $1, $2, ... ; our SQL has no ? inside literals.
func (e *Engine) number(sql string) string {
	if s, ok := e.numbered.Load(sql); ok {
		return s.(string)
	}
	var b strings.Builder
	n := 0
	for i := 0; i < len(sql); i++ {
		if sql[i] == '?' {
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteByte(sql[i])
	}
	e.numbered.Store(sql, b.String())
	return b.String()
}
