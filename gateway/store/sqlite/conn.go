package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	sqlite3 "modernc.org/sqlite"

	"trellis/gateway/store"
)

// conn is one connection with its prepared statements. It is the driver's own: database/sql between them would
// cost as much as a look-up. One goroutine uses it at a time.
type conn struct {
	c     driver.Conn
	stmts map[string]driver.Stmt
}

func open(dsn string) (*conn, error) {
	c, err := (&sqlite3.Driver{}).Open(dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlite: opening: %w", err)
	}
	return &conn{c: c, stmts: map[string]driver.Stmt{}}, nil
}

func (c *conn) close() error {
	var err error
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.c.Close())
}

// maxStatements bounds the prepared statements of one connection.
const maxStatements = 512

func (c *conn) prepare(query string) (driver.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStatements {
		for q, s := range c.stmts {
			if err := s.Close(); err != nil {
				return nil, err
			}
			delete(c.stmts, q)
		}
	}
	s, err := c.c.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// Query implements store.Tx.
func (c *conn) Query(_ context.Context, query string, args ...any) (store.Rows, error) {
	return c.query(context.Background(), query, args)
}

func (c *conn) query(ctx context.Context, query string, args []any) (store.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	named, err := arguments(args)
	if err != nil {
		return nil, err
	}
	r, err := s.(driver.StmtQueryContext).QueryContext(ctx, named)
	if err != nil {
		return nil, err
	}
	return &rows{r: r, values: make([]driver.Value, len(r.Columns()))}, nil
}

// Exec implements store.Tx.
func (c *conn) Exec(_ context.Context, query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	named, err := arguments(args)
	if err != nil {
		return 0, err
	}
	r, err := s.(driver.StmtExecContext).ExecContext(context.Background(), named)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Queue implements store.Tx: a statement costs no round trip, so nothing is saved by waiting.
func (c *conn) Queue(ctx context.Context, query string, args ...any) error {
	if _, err := c.Exec(ctx, query, args...); err != nil {
		return errors.Join(err, &store.QueueFailed{Statement: query})
	}
	return nil
}

// watched is a connection whose queries end with their context.
type watched struct{ *conn }

// Query implements store.Tx.
func (w watched) Query(ctx context.Context, query string, args ...any) (store.Rows, error) {
	return w.query(ctx, query, args)
}

func arguments(args []any) ([]driver.NamedValue, error) {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i].Ordinal = i + 1
		switch v := a.(type) {
		case int:
			out[i].Value = int64(v)
		case store.Int64s:
			out[i].Value = v.JSON()
		case store.Strings:
			data, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			out[i].Value = string(data)
		case int64, float64, string, []byte, nil:
			out[i].Value = v
		default:
			return nil, fmt.Errorf("sqlite: an argument of type %T", a)
		}
	}
	return out, nil
}

// rows is an open result.
type rows struct {
	r      driver.Rows
	values []driver.Value
	err    error
	closed bool
}

// Next implements store.Rows.
func (r *rows) Next() bool {
	if r.closed || r.err != nil {
		return false
	}
	err := r.r.Next(r.values)
	if errors.Is(err, io.EOF) {
		return false
	}
	r.err = err
	return err == nil
}

// Scan implements store.Rows. Bytes and texts are the row's own and stay valid.
func (r *rows) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("sqlite: %d columns into %d variables", len(r.values), len(dest))
	}
	for i, v := range r.values {
		if err := assign(dest[i], v); err != nil {
			return fmt.Errorf("sqlite: column %d: %w", i, err)
		}
	}
	return nil
}

// assign puts a column into a variable of the kinds the store scans into.
func assign(dest any, v driver.Value) error {
	switch d := dest.(type) {
	case *int64:
		n, ok := v.(int64)
		if !ok {
			return fmt.Errorf("%T for a number", v)
		}
		*d = n
	case *string:
		switch s := v.(type) {
		case string:
			*d = s
		case int64:
			*d = strconv.FormatInt(s, 10)
		default:
			return fmt.Errorf("%T for a text", v)
		}
	case *[]byte:
		return assignBytes(d, v)
	case **int64:
		*d = nil
		if n, ok := v.(int64); ok {
			*d = &n
		} else if v != nil {
			return fmt.Errorf("%T for a number", v)
		}
	case **string:
		*d = nil
		if s, ok := v.(string); ok {
			*d = &s
		} else if v != nil {
			return fmt.Errorf("%T for a text", v)
		}
	case *any:
		*d = v
	default:
		return fmt.Errorf("a variable of type %T", dest)
	}
	return nil
}

func assignBytes(d *[]byte, v driver.Value) error {
	switch b := v.(type) {
	case []byte:
		*d = b
	case string:
		*d = []byte(b)
	case nil:
		*d = nil
	default:
		return fmt.Errorf("%T for bytes", v)
	}
	return nil
}

// Err implements store.Rows.
func (r *rows) Err() error { return r.err }

// Close implements store.Rows; a failure to close shows in Err.
func (r *rows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	if err := r.r.Close(); err != nil && r.err == nil {
		r.err = err
	}
}
