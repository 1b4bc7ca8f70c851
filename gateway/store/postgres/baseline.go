package postgres

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Baseline is pgx alone on the store's own database: the yardstick of `trellis bench`, and nothing the
// gateway runs on. It knows neither FHIR nor consent nor audit, and it keeps its own copy of the bytes to
// give out in table bare_body, so that both sides of a comparison send the same ones.
type Baseline struct {
	pool *pgxpool.Pool

	observation, patient, date int64 // numbers of the store's dictionary
}

// BaselineRead and BaselineSearch are the statements measured: one body by resource id, and one
// patient's newest bodies.
const (
	BaselineRead   = "SELECT v.doc FROM res r JOIN bare_body v ON v.rid=r.rid WHERE r.part=0 AND r.type_no=$1 AND r.id=$2"
	BaselineSearch = "SELECT v.id,v.doc FROM idx_date x JOIN bare_body v ON v.rid=x.rid WHERE x.part=0 AND x.pat=(SELECT rid FROM res WHERE part=0 AND type_no=$1 AND id=$2) " +
		"AND x.param=$3 ORDER BY x.lo DESC LIMIT $4"
)

// OpenBaseline connects to a store's database. Plans are PostgreSQL's own choice.
func OpenBaseline(ctx context.Context, dsn string) (*Baseline, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("postgres: the connection string cannot be read") // it may hold a password
	}
	cfg.MaxConns = max(cfg.MaxConns, 16) // as many as the store
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b := &Baseline{pool: pool}
	if _, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS bare_body (rid BIGINT PRIMARY KEY, id TEXT NOT NULL, doc BYTEA NOT NULL)"); err != nil {
		pool.Close()
		return nil, err
	}
	return b, nil
}

// Durable reports whether a commit survives power loss on this server.
func (b *Baseline) Durable(ctx context.Context) (bool, error) {
	var fsync, commit string
	err := errors.Join(b.pool.QueryRow(ctx, "SHOW fsync").Scan(&fsync), b.pool.QueryRow(ctx, "SHOW synchronous_commit").Scan(&commit))
	return fsync == "on" && commit != "off" && commit != "local", err
}

// Keep copies the packed bytes of Observations by id.
func (b *Baseline) Keep(ctx context.Context, ids []string, packed [][]byte) error {
	for name, to := range map[string]*int64{"Observation": &b.observation, "Patient": &b.patient, "Observation.date": &b.date} {
		kind := 1
		if name == "Observation.date" {
			kind = 2
		}
		if err := b.pool.QueryRow(ctx, "SELECT no FROM dict WHERE kind=$1 AND name=$2", kind, name).Scan(to); err != nil {
			return err
		}
	}
	var batch pgx.Batch
	for i, id := range ids {
		batch.Queue("INSERT INTO bare_body (rid,id,doc) SELECT rid,id,$1 FROM res WHERE part=0 AND type_no=$2 AND id=$3 ON CONFLICT (rid) DO UPDATE SET doc=excluded.doc", packed[i], b.observation, id)
	}
	return b.pool.SendBatch(ctx, &batch).Close()
}

// Settle does at once what autovacuum does a minute after a load.
func (b *Baseline) Settle(ctx context.Context) error {
	_, err := b.pool.Exec(ctx, "VACUUM ANALYZE")
	return err
}

// Body is the packed body of an Observation.
func (b *Baseline) Body(ctx context.Context, id string) ([]byte, error) {
	var doc []byte
	err := b.pool.QueryRow(ctx, BaselineRead, b.observation, id).Scan(&doc)
	return doc, err
}

// Page is a patient's newest Observations, packed.
func (b *Baseline) Page(ctx context.Context, patient string, count int) (ids []string, docs [][]byte, err error) {
	found, err := b.pool.Query(ctx, BaselineSearch, b.patient, patient, b.date, count)
	if err != nil {
		return nil, nil, err
	}
	defer found.Close()
	for found.Next() {
		var id string
		var doc []byte
		if err := found.Scan(&id, &doc); err != nil {
			return nil, nil, err
		}
		ids, docs = append(ids, id), append(docs, doc)
	}
	return ids, docs, found.Err()
}

// Rows reads what the store wrote to a table for an Observation.
func (b *Baseline) Rows(ctx context.Context, table, id string) (columns []string, values [][]any, err error) {
	found, err := b.pool.Query(ctx, "SELECT * FROM "+table+" WHERE part=0 AND rid=(SELECT rid FROM res WHERE part=0 AND type_no=$1 AND id=$2)", b.observation, id)
	if err != nil {
		return nil, nil, err
	}
	defer found.Close()
	for _, f := range found.FieldDescriptions() {
		columns = append(columns, f.Name)
	}
	for found.Next() {
		row, err := found.Values()
		if err != nil {
			return nil, nil, err
		}
		values = append(values, row)
	}
	return columns, values, found.Err()
}

// Placeholder is the n-th placeholder of a statement, from 1.
func (b *Baseline) Placeholder(n int) string { return "$" + strconv.Itoa(n) }

// Insert runs statements in one durable transaction, pipelined: three round trips in all.
func (b *Baseline) Insert(ctx context.Context, statements []string, args [][]any) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for i, s := range statements {
			batch.Queue(s, args[i]...)
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}

// Size is the bytes of the tables and indexes of the database's current schema, without write-ahead log.
func (b *Baseline) Size(ctx context.Context) (int64, error) {
	var n int64
	err := b.pool.QueryRow(ctx, "SELECT SUM(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relnamespace=current_schema()::regnamespace AND c.relkind='r'").Scan(&n)
	return n, err
}

// ReadScript is a pgbench script that runs the read statement over n Observations whose ids are the
// digests of the numbers 1 to n as UUIDs.
func (b *Baseline) ReadScript(n int) string {
	return "\\set n random(1, " + strconv.Itoa(n) + ")\n" +
		"SELECT v.doc FROM res r JOIN bare_body v ON v.rid=r.rid WHERE r.part=0 AND r.type_no=" + strconv.FormatInt(b.observation, 10) +
		" AND r.id=md5(:n::text)::uuid::text;\n"
}

// Close releases the pool.
func (b *Baseline) Close() error {
	b.pool.Close()
	return nil
}
