package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"trellis/auth/label"
	"trellis/conformance/storetest"
	"trellis/gateway/store"
	"trellis/gateway/store/sqlite"
)

// plans notes how SQLite runs each statement it is given.
type plans struct {
	*sqlite.Engine
	mu    sync.Mutex
	steps map[string][]string // by statement
}

func (p *plans) Read(ctx context.Context, fn func(store.Tx) error) error {
	return p.Engine.Read(ctx, p.planned(fn))
}
func (p *plans) Search(ctx context.Context, fn func(store.Tx) error) error {
	return p.Engine.Search(ctx, p.planned(fn))
}
func (p *plans) Snapshot(ctx context.Context, fn func(store.Tx) error) error {
	return p.Engine.Snapshot(ctx, p.planned(fn))
}
func (p *plans) Write(ctx context.Context, fn func(store.Tx) error) error {
	return p.Engine.Write(ctx, p.planned(fn))
}

func (p *plans) planned(fn func(store.Tx) error) func(store.Tx) error {
	return func(tx store.Tx) error { return fn(planned{tx, p}) }
}

type planned struct {
	store.Tx
	of *plans
}

func (p planned) Query(ctx context.Context, sql string, args ...any) (store.Rows, error) {
	if err := p.plan(ctx, sql, args); err != nil {
		return nil, err
	}
	return p.Tx.Query(ctx, sql, args...)
}

func (p planned) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if err := p.plan(ctx, sql, args); err != nil {
		return 0, err
	}
	return p.Tx.Exec(ctx, sql, args...)
}

func (p planned) Queue(ctx context.Context, sql string, args ...any) error {
	if err := p.plan(ctx, sql, args); err != nil {
		return err
	}
	return p.Tx.Queue(ctx, sql, args...)
}

func (p planned) plan(ctx context.Context, sql string, args []any) error {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	verb, _, _ := strings.Cut(sql, " ")
	if _, known := p.of.steps[sql]; known || !strings.Contains("SELECT UPDATE DELETE WITH", verb) {
		return nil
	}
	rows, err := p.Tx.Query(ctx, "EXPLAIN QUERY PLAN "+sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	p.of.steps[sql] = nil
	for rows.Next() {
		var id, parent, unused int64
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			return err
		}
		p.of.steps[sql] = append(p.of.steps[sql], step)
	}
	return rows.Err()
}

// openPlanned is a store that fails the test when records are looked for by the label rules they are under, which nearly
// all share, for any question but whether there is one under others.
func openPlanned(t testing.TB) *plans {
	t.Helper()
	e, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "trellis.db"))
	if err != nil {
		t.Fatal(err)
	}
	p := &plans{Engine: e, steps: map[string][]string{}}
	t.Cleanup(func() {
		for sql, steps := range p.steps {
			for _, step := range steps {
				if strings.Contains(step, "res_pack") && !strings.HasPrefix(sql, "SELECT 1 FROM res WHERE part=0 AND ver>0 AND pack>") {
					t.Errorf("%s: %s", sql, step)
				}
			}
		}
	})
	return p
}

// TestStartReadsNoRecords: whether records are under other label rules is asked at every start, and the answer must not
// take reading all of them.
func TestStartReadsNoRecords(t *testing.T) {
	p := openPlanned(t)
	s := storetest.Over(t, p, nil)
	c, err := label.Load(label.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.BeginRelabel(t.Context(), c); err != nil { // no rules are known: all records are counted once
		t.Fatal(err)
	}
	clear(p.steps)
	if err := s.BeginRelabel(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for sql, steps := range p.steps {
		if !strings.Contains(sql, "FROM res ") {
			continue
		}
		asked++
		// part is the same in all records: an index that is searched by it alone is read whole.
		if len(steps) != 1 || !strings.HasPrefix(steps[0], "SEARCH res USING INDEX res_pack (part=? AND pack>") {
			t.Errorf("%s: %q", sql, steps)
		}
	}
	if asked != 2 {
		t.Errorf("records were asked %d times", asked)
	}
}
