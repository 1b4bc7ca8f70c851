package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"trellis/auth/label"
	"trellis/conformance/storetest"
	"trellis/gateway/store"
	"trellis/gateway/store/sqlite"
)

// plans notes how SQLite runs the queries of write transactions.
type plans struct {
	*sqlite.Engine
	seen []string
}

func (p *plans) Write(ctx context.Context, fn func(store.Tx) error) error {
	return p.Engine.Write(ctx, func(tx store.Tx) error { return fn(planned{tx, p}) })
}

type planned struct {
	store.Tx
	of *plans
}

func (p planned) Query(ctx context.Context, sql string, args ...any) (store.Rows, error) {
	rows, err := p.Tx.Query(ctx, "EXPLAIN QUERY PLAN "+sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int64
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			return nil, err
		}
		p.of.seen = append(p.of.seen, step+"  -- "+sql)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return p.Tx.Query(ctx, sql, args...)
}

// TestStartReadsNoRecords: whether records are under other label rules is asked at every start, and the answer must not
// take reading all of them.
func TestStartReadsNoRecords(t *testing.T) {
	e, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "trellis.db"))
	if err != nil {
		t.Fatal(err)
	}
	p := &plans{Engine: e}
	s := storetest.Over(t, p, nil)
	c, err := label.Load(label.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.BeginRelabel(t.Context(), c); err != nil { // no pack is known: all records are counted once
		t.Fatal(err)
	}
	p.seen = nil
	if err := s.BeginRelabel(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, step := range p.seen {
		if !strings.Contains(step, "FROM res ") {
			continue
		}
		asked++
		// part is the same in all records: an index that is searched by it alone is read whole.
		if !strings.HasPrefix(step, "SEARCH res USING INDEX res_pack (part=? AND pack") {
			t.Error(step)
		}
	}
	if asked == 0 {
		t.Errorf("records were not asked: %q", p.seen)
	}
}
