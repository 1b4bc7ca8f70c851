package store

import (
	"context"
	"fmt"

	"trellis/auth/access"
	"trellis/fhir/search"
)

// Position is where a page ended: the sort keys of its last row and the row itself.
type Position struct {
	Keys []any
	Row  int64
}

// Page is one page of matches, filled from the caller's view alone.
type Page struct {
	Rows []Row
	Next *Position // nil on the last page
}

// cut keeps limit rows of one more, which tells that another page follows.
func (p *Page) cut(limit int) {
	if len(p.Rows) > limit {
		p.Rows = p.Rows[:limit]
		last := &p.Rows[limit-1]
		p.Next = &Position{Keys: last.sortKeys, Row: last.rid}
	}
}

// Search finds one page with one statement: criteria, visibility, order and limit together, so that hidden rows cost no
// page and leave no trace in it. Bodies that are not at hand are read with another one, by their keys.
func (s *Store) Search(ctx context.Context, f access.Filter, q *search.Query, after *Position) (Page, error) {
	var page Page
	now, err := s.now(ctx)
	if err != nil {
		return page, err
	}
	err = s.reader(q)(ctx, func(tx Tx) error {
		p, err := s.plan(ctx, tx, f, q, now)
		if err != nil {
			return err
		}
		if after != nil && len(after.Keys) != len(p.order) {
			return errPosition
		}
		p.apart = true
		if page.Rows, err = p.page(after, q.Count+1); err != nil {
			return err
		}
		page.cut(q.Count)
		return s.fill(ctx, tx, page.Rows)
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

// Count is the number of rows of the caller's view that match; with a limit greater than 0, no more than that
// are counted.
func (s *Store) Count(ctx context.Context, f access.Filter, q *search.Query, limit int64) (int64, error) {
	var n int64
	now, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	err = s.reader(q)(ctx, func(tx Tx) error {
		p, err := s.plan(ctx, tx, f, q, now)
		if err != nil {
			return err
		}
		n, err = p.count(limit)
		return err
	})
	return n, err
}

// reader is how a query is run: in one patient's compartment any plan is a short range of an index, and planning would
// cost more than it; across patients the best plan depends on the values.
func (s *Store) reader(q *search.Query) func(context.Context, func(Tx) error) error {
	if q.Patient != "" {
		return s.engine.Read
	}
	return s.engine.Search
}

// errPosition is a cursor that does not fit its query.
var errPosition = fmt.Errorf("store: the position does not fit the query")
