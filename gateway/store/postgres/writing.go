package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"trellis/gateway/store"
)

// writing is a read-write transaction that waits for the server as seldom as it can: queued statements go
// out together with the next one that has an outcome, or with the commit. One that only queues is a single
// round trip, which PostgreSQL runs as one transaction (extended protocol, until Sync).
type writing struct {
	e      *Engine
	conn   *pgx.Conn
	queued pgx.Batch
	sql    []string // of what is queued, as the store wrote it
	begun  bool
	values int64 // bound so far: how much was written, about
}

// Queue implements store.Tx.
func (t *writing) Queue(_ context.Context, sql string, args ...any) error {
	t.queued.Queue(t.e.number(sql), arguments(args)...)
	t.sql = append(t.sql, sql)
	t.values += int64(len(args))
	return nil
}

// send sends what is queued and one more statement, and stands at that statement's result.
func (t *writing) send(ctx context.Context, sql string, args []any) (pgx.BatchResults, error) {
	batch := pgx.Batch{}
	if !t.begun {
		batch.Queue("BEGIN")
	}
	batch.QueuedQueries = append(batch.QueuedQueries, t.queued.QueuedQueries...)
	batch.Queue(t.e.number(sql), arguments(args)...)
	before, queued := batch.Len()-1-len(t.sql), t.sql
	t.queued, t.sql, t.begun = pgx.Batch{}, nil, true
	results := t.conn.SendBatch(ctx, &batch)
	if err := t.outcomes(results, before, queued); err != nil {
		return nil, errors.Join(err, results.Close())
	}
	return results, nil
}

// outcomes reads the results of what stands before and of queued statements, and says which one failed. A statement
// that cannot be prepared fails the whole batch before any of it runs, and names itself.
func (t *writing) outcomes(results pgx.BatchResults, before int, queued []string) error {
	for i := range before + len(queued) {
		_, err := results.Exec()
		if err == nil {
			continue
		}
		var preparing pgx.ErrPreprocessingBatch
		for j, sql := range queued {
			if errors.As(err, &preparing) && t.e.number(sql) == preparing.SQL() || !errors.As(err, &preparing) && i == before+j {
				return errors.Join(err, &store.QueueFailed{Statement: sql})
			}
		}
		return err
	}
	return nil
}

// Query implements store.Tx.
func (t *writing) Query(ctx context.Context, sql string, args ...any) (store.Rows, error) {
	results, err := t.send(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	rows, err := results.Query()
	if err != nil {
		return nil, errors.Join(err, results.Close())
	}
	return &writingRows{Rows: rows, results: results}, nil
}

// Exec implements store.Tx.
func (t *writing) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	results, err := t.send(ctx, sql, args)
	if err != nil {
		return 0, err
	}
	tag, err := results.Exec()
	return tag.RowsAffected(), errors.Join(err, results.Close())
}

func (t *writing) commit(ctx context.Context) error {
	if !t.begun {
		results := t.conn.SendBatch(ctx, &t.queued)
		return errors.Join(t.outcomes(results, 0, t.sql), results.Close())
	}
	results, err := t.send(ctx, "COMMIT", nil)
	if err != nil {
		return errors.Join(err, t.rollback(context.WithoutCancel(ctx)))
	}
	tag, err := results.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = errors.New("postgres: the transaction was rolled back")
	}
	return errors.Join(err, results.Close())
}

func (t *writing) rollback(ctx context.Context) error {
	if !t.begun || t.conn.IsClosed() {
		return nil
	}
	_, err := t.conn.Exec(ctx, "ROLLBACK")
	return err
}

// writingRows is the result of a query with what is left of its batch.
type writingRows struct {
	pgx.Rows
	results pgx.BatchResults
	end     error
}

// Err implements store.Rows.
func (r *writingRows) Err() error { return errors.Join(r.Rows.Err(), r.end) }

// Close implements store.Rows.
func (r *writingRows) Close() {
	r.Rows.Close()
	r.end = r.results.Close()
}
