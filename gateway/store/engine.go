package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// Engine is a database that runs the store's SQL. Its two implementations are packages sqlite and
// postgres; conformance/storetest holds both to one suite.
type Engine interface {
	// Read runs fn on one connection. Statements see committed data, each its own snapshot.
	Read(ctx context.Context, fn func(Tx) error) error
	// Search is Read for statements whose best plan depends on the values asked for.
	Search(ctx context.Context, fn func(Tx) error) error
	// Snapshot runs fn on one consistent snapshot.
	Snapshot(ctx context.Context, fn func(Tx) error) error
	// Write runs fn in a read-write transaction. When it returns nil the changes are durable; when it
	// returns an error none happened. fn may be run again after a serialisation failure.
	Write(ctx context.Context, fn func(Tx) error) error
	// Dialect says how the engine spells what the two databases spell differently.
	Dialect() Dialect
	Close() error
}

// Tx runs statements. SQL is written with ? placeholders; Int64s and Strings are list arguments.
type Tx interface {
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Queue is Exec for a statement whose outcome nobody waits for: an engine may send it together with the next
	// one or with the commit. Its failure fails what comes next, or the transaction.
	Queue(ctx context.Context, sql string, args ...any) error
}

// Rows is an open result. Close it; Err tells whether it ended early.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// Dialect is the little the two databases spell differently.
type Dialect struct {
	Name      string
	Blob      string // column type of bytes
	Text      string // column type of text compared byte by byte
	NoRowID   string // table suffix that stores rows in their primary key
	RowKey    string // type of an integer key that is where the row is kept
	RowKeys   string // columns such a key needs before it, each with a comma
	NowMicros string // expression: database clock, microseconds since 1970 UTC
	InFormat  string // "%s = ANY(?)" or the json_each form
	Literals  bool   // short lists of numbers are spelled out
	Contains  string // function (text, part) > 0 when text holds part
	// EndsFormat is the condition that %s ends with a text, which is bound twice.
	EndsFormat string
}

// In is the condition that column is in a list argument.
func (d Dialect) In(column string) string { return strings.Replace(d.InFormat, "%s", column, 1) }

// maxLiterals is how many numbers are spelled out in a statement. They are the deployment's own (segments, types,
// parameters), so that few statements differ by them.
const maxLiterals = 64

// InNumbers adds the condition that column is in a list of numbers: spelled out where a list argument would be read
// anew for each row.
func (b *statement) inNumbers(d Dialect, column string, list Int64s) {
	switch {
	case !d.Literals || len(list) > maxLiterals:
		b.add(d.In(column), list)
	case len(list) == 0:
		b.add("1=0")
	case len(list) == 1:
		b.add(column + "=" + strconv.FormatInt(list[0], 10))
	default:
		text := list.JSON()
		b.add(column + " IN (" + text[1:len(text)-1] + ")")
	}
}

// inTexts adds the condition that column is in a list of texts.
func (b *statement) inTexts(d Dialect, column string, list Strings) {
	if len(list) == 1 {
		b.add(column+"=?", list[0])
		return
	}
	b.add(d.In(column), list)
}

// Int64s is a list argument of integers.
type Int64s []int64

// JSON is the list as a JSON array, the form SQLite's json_each reads.
func (l Int64s) JSON() string {
	out := make([]byte, 0, 2+8*len(l))
	out = append(out, '[')
	for i, n := range l {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendInt(out, n, 10)
	}
	return string(append(out, ']'))
}

// Strings is a list argument of texts.
type Strings []string

// ErrConflict is returned by Write when a unique key or a compare-and-swap failed.
var ErrConflict = errors.New("store: conflict")

// ErrBusy is returned when the database cannot take a write now; the caller answers 503.
var ErrBusy = errors.New("store: busy")

// one runs a query that yields at most one row and reports whether there was one.
func one(ctx context.Context, tx Tx, sql string, args []any, dest ...any) (bool, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if !rows.Next() {
		return false, rows.Err()
	}
	if err := rows.Scan(dest...); err != nil {
		return false, err
	}
	return true, rows.Err()
}

// each runs fn for every row of a query.
func each(ctx context.Context, tx Tx, sql string, args []any, fn func(Rows) error) error {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
