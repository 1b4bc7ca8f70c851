package postgres

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// InTemporarySchema makes a schema on a server, runs fn with a connection string whose sessions work in
// it, and drops the schema. The benchmark measures in one, beside whatever the database holds.
func InTemporarySchema(ctx context.Context, dsn, schema string, fn func(dsn string) error) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return errors.New("postgres: the server does not answer") // the error may quote the password
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize()); err != nil {
		return err
	}
	defer func() {
		_, drop := conn.Exec(context.WithoutCancel(ctx), "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
		err = errors.Join(err, drop)
	}()
	inside, err := withSearchPath(dsn, schema)
	if err != nil {
		return err
	}
	return fn(inside)
}

// withSearchPath adds a search path to a connection string, as pgx and libpq both read it.
func withSearchPath(dsn, schema string) (string, error) {
	option := "-csearch_path=" + schema
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " options=" + option, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("postgres: the connection string cannot be read")
	}
	q := u.Query()
	q.Set("options", option)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // libpq reads + as itself
	return u.String(), nil
}
