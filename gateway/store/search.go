package store

import (
	"context"
	"fmt"
	"time"

	"trellis/auth/access"
	"trellis/fhir/search"
)

// Position is where a page ended: the sort keys of its last row and the row itself.
type Position struct {
	Keys []any `json:"k,omitempty"`
	Row  int64 `json:"r"`
}

// Page is one page of matches, filled from the caller's view alone.
type Page struct {
	Rows []Row
	Next *Position // nil on the last page
}

// Search fills one page with one statement: criteria, visibility, order and limit together, so that
// hidden rows cost no page and leave no trace in it.
func (s *Store) Search(ctx context.Context, f access.Filter, q *search.Query, after *Position) (Page, error) {
	var page Page
	err := s.engine.Search(ctx, func(tx Tx) error {
		b := &statement{}
		keys, err := s.searchStatement(ctx, tx, b, f, q, after)
		if err != nil {
			return err
		}
		page.Rows, err = s.rows(ctx, tx, "search", b, q.Type, keys)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	if len(page.Rows) > q.Count {
		page.Rows = page.Rows[:q.Count]
		last := page.Rows[len(page.Rows)-1]
		page.Next = &Position{Keys: last.sortKeys, Row: last.rid}
	}
	return page, nil
}

func (s *Store) searchStatement(ctx context.Context, tx Tx, b *statement, f access.Filter, q *search.Query, after *Position) (keys int, err error) {
	order := ""
	b.add("SELECT r.rid,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi,COALESCE(ps.epoch,0),v.enc,v.doc,v.spans")
	for i := range q.Sort {
		b.add(fmt.Sprintf(",r.k%d", i))
	}
	b.add(" FROM (SELECT * FROM (SELECT r.rid,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi")
	for i, key := range q.Sort {
		b.add(",")
		if err := s.sortKey(ctx, tx, b, q.Type, key); err != nil {
			return 0, err
		}
		b.add(fmt.Sprintf(" AS k%d", i))
		direction := ""
		if key.Descending {
			direction = " DESC"
		}
		order += fmt.Sprintf("r.k%d%s,", i, direction)
	}
	b.add(" FROM res r WHERE ")
	if err := s.matching(ctx, tx, b, f, q); err != nil {
		return 0, err
	}
	b.add(") r")
	if after != nil {
		if len(after.Keys) != len(q.Sort) {
			return 0, errPosition
		}
		b.add(" WHERE ")
		keyset(b, q.Sort, after)
	}
	b.add(" ORDER BY "+order+"r.rid LIMIT ?", q.Count+1)
	b.add(") r JOIN body v ON v.part=0 AND v.rid=r.rid AND v.ver=r.ver LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat ORDER BY " + order + "r.rid")
	return len(q.Sort), nil
}

// errPosition is a cursor that does not fit its query.
var errPosition = fmt.Errorf("store: the position does not fit the query")

// keyset adds (k0,k1,...,rid) > position, each key in its own direction.
func keyset(b *statement, sort []search.Sort, after *Position) {
	b.add("(")
	for i := 0; i <= len(sort); i++ {
		if i > 0 {
			b.add(" OR ")
		}
		b.add("(")
		for j := range i {
			b.add(fmt.Sprintf("r.k%d=? AND ", j), after.Keys[j])
		}
		switch {
		case i == len(sort):
			b.add("r.rid>?", after.Row)
		case sort[i].Descending:
			b.add(fmt.Sprintf("r.k%d<?", i), after.Keys[i])
		default:
			b.add(fmt.Sprintf("r.k%d>?", i), after.Keys[i])
		}
		b.add(")")
	}
	b.add(")")
}

// lastText sorts after every indexed text: rows without a value come last.
const lastText = "\U0010FFFF"

func (s *Store) sortKey(ctx context.Context, tx Tx, b *statement, typ string, key search.Sort) error {
	switch key.Code {
	case "_id":
		b.add("r.id")
		return nil
	case "_lastUpdated":
		b.add("r.upd")
		return nil
	}
	param, err := s.lookup(ctx, tx, dictParam, key.Code)
	if err != nil {
		return err
	}
	table, column := "idx_token", "code"
	var missing any = lastText
	switch key.Kind {
	case search.KindDate:
		table, column, missing = "idx_date", "lo", int64(search.OpenHi)
	case search.KindString:
		table, column = "idx_string", "folded"
	}
	pick := "MIN"
	if key.Descending {
		pick = "MAX"
		if missing = any(""); key.Kind == search.KindDate {
			missing = int64(search.OpenLo)
		}
	}
	b.add("COALESCE((SELECT "+pick+"(x."+column+") FROM "+table+" x WHERE x.part=0 AND x.rid=r.rid AND x.param=?),?)", param, missing)
	return nil
}

// matching adds the conditions every statement about a query shares: type, criteria, visibility.
func (s *Store) matching(ctx context.Context, tx Tx, b *statement, f access.Filter, q *search.Query) error {
	c, err := s.compile(ctx, tx, f)
	if err != nil {
		return err
	}
	typeNo, err := s.lookup(ctx, tx, dictType, q.Type)
	if err != nil {
		return err
	}
	b.add("r.part=0 AND r.type_no=? AND r.del=0", typeNo)
	cc := criteria{s: s, ctx: ctx, tx: tx, b: b, filter: c, typeNo: typeNo}
	if ids := q.Patients(); len(ids) == 1 {
		if cc.pat, err = s.patientNumber(ctx, tx, ids[0]); err != nil {
			return err
		}
		cc.inCompartment = true
	}
	for _, criterion := range q.Criteria {
		b.add(" AND ")
		if err := cc.add(criterion); err != nil {
			return err
		}
	}
	b.add(" AND ")
	s.visible(b, c)
	return nil
}

// patientNumber is the key of a Patient id, or -1, which no row carries.
func (s *Store) patientNumber(ctx context.Context, tx Tx, id string) (int64, error) {
	typeNo, err := s.lookup(ctx, tx, dictType, "Patient")
	if err != nil {
		return 0, err
	}
	rid := int64(-1)
	_, err = one(ctx, tx, "SELECT rid FROM ident WHERE type_no=? AND id=?", []any{typeNo, id}, &rid)
	return rid, err
}

// Count is the number of rows of the caller's view that match.
func (s *Store) Count(ctx context.Context, f access.Filter, q *search.Query) (int64, error) {
	var n int64
	err := s.engine.Search(ctx, func(tx Tx) error {
		b := &statement{}
		b.add("SELECT COUNT(*) FROM res r WHERE ")
		if err := s.matching(ctx, tx, b, f, q); err != nil {
			return err
		}
		s.counts.add("count")
		_, err := one(ctx, tx, b.String(), b.args, &n)
		return err
	})
	return n, err
}

// rows runs a statement whose columns are those of searchStatement.
func (s *Store) rows(ctx context.Context, tx Tx, what string, b *statement, typ string, keys int) ([]Row, error) {
	s.counts.add(what)
	var out []Row
	err := each(ctx, tx, b.String(), b.args, func(r Rows) error {
		row := Row{Type: typ, sortKeys: make([]any, keys)}
		var upd, enc int64
		dest := []any{&row.rid, &row.ID, &row.Version, &upd, &row.Segment, &row.pat, &row.npat, &row.period.Lo, &row.period.Hi, &row.epoch, &enc, &row.Doc, &row.Spans}
		for i := range row.sortKeys {
			dest = append(dest, &row.sortKeys[i])
		}
		if err := r.Scan(dest...); err != nil {
			return err
		}
		row.Updated = time.UnixMicro(upd).UTC()
		doc, err := s.decompress(enc, append([]byte(nil), row.Doc...))
		if err != nil {
			return err
		}
		row.Doc = doc
		out = append(out, row)
		return nil
	})
	return out, err
}

// maxIncluded bounds what includes may add to a page.
const maxIncluded = 1000

// Include fetches what _include and _revinclude add to a page's matches, each row through the
// caller's view before the limit. truncated reports that the limit was reached.
func (s *Store) Include(ctx context.Context, f access.Filter, q *search.Query, matches []Row) (included []Row, truncated bool, err error) {
	if len(matches) == 0 || len(q.Include)+len(q.RevInclude) == 0 {
		return nil, false, nil
	}
	rids, ids := make(Int64s, len(matches)), make(Strings, len(matches))
	seen := map[int64]bool{}
	for i, m := range matches {
		rids[i], ids[i], seen[m.rid] = m.rid, m.ID, true
	}
	err = s.engine.Search(ctx, func(tx Tx) error {
		c, err := s.compile(ctx, tx, f)
		if err != nil {
			return err
		}
		for i, inc := range append(append([]search.Include{}, q.Include...), q.RevInclude...) {
			rows, err := s.include(ctx, tx, c, q.Type, inc, i >= len(q.Include), rids, ids)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if !seen[r.rid] && len(included) < maxIncluded {
					seen[r.rid], r.Included = true, true
					included = append(included, r)
				}
			}
			truncated = truncated || len(rows) > maxIncluded || len(included) >= maxIncluded
		}
		return nil
	})
	return included, truncated, err
}

func (s *Store) include(ctx context.Context, tx Tx, c compiled, searched string, inc search.Include, reverse bool, rids Int64s, ids Strings) ([]Row, error) {
	param, err := s.lookup(ctx, tx, dictParam, inc.Code)
	if err != nil {
		return nil, err
	}
	const columns = "r.rid,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi,COALESCE(ps.epoch,0),v.enc,v.doc,v.spans"
	const joins = " JOIN body v ON v.part=0 AND v.rid=r.rid AND v.ver=r.ver LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat WHERE r.del=0 AND "
	if reverse {
		sourceNo, err := s.lookup(ctx, tx, dictType, inc.Source)
		if err != nil {
			return nil, err
		}
		targetNo, err := s.lookup(ctx, tx, dictType, searched)
		if err != nil {
			return nil, err
		}
		b := &statement{}
		b.add("SELECT "+columns+" FROM (SELECT DISTINCT x.rid FROM idx_ref x WHERE x.part=0 AND x.ttype=? AND "+s.dialect.In("x.tid")+" AND x.param=? AND x.type_no=?) f JOIN res r ON r.part=0 AND r.rid=f.rid", targetNo, ids, param, sourceNo)
		b.add(joins)
		s.visible(b, c)
		b.add(" ORDER BY r.rid LIMIT ?", maxIncluded+1)
		return s.rows(ctx, tx, "include", b, inc.Source, 0)
	}
	targets, err := s.includeTargets(ctx, tx, inc, param, rids)
	if err != nil {
		return nil, err
	}
	var out []Row
	for _, target := range targets {
		b := &statement{}
		b.add("SELECT "+columns+" FROM (SELECT DISTINCT x.tid FROM idx_ref x WHERE x.part=0 AND "+s.dialect.In("x.rid")+" AND x.param=? AND x.ttype=?) f JOIN res r ON r.part=0 AND r.type_no=? AND r.id=f.tid", rids, param, target.no, target.no)
		b.add(joins)
		s.visible(b, c)
		b.add(" ORDER BY r.rid LIMIT ?", maxIncluded+1)
		rows, err := s.rows(ctx, tx, "include", b, target.name, 0)
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

type namedNumber struct {
	no   int64
	name string
}

// includeTargets lists the resource types a forward include reaches from these rows.
func (s *Store) includeTargets(ctx context.Context, tx Tx, inc search.Include, param int64, rids Int64s) ([]namedNumber, error) {
	var out []namedNumber
	err := each(ctx, tx, "SELECT DISTINCT x.ttype,d.name FROM idx_ref x JOIN dict d ON d.kind=1 AND d.no=x.ttype WHERE x.part=0 AND "+s.dialect.In("x.rid")+" AND x.param=?", []any{rids, param}, func(r Rows) error {
		var n namedNumber
		err := r.Scan(&n.no, &n.name)
		if inc.Target == "" || inc.Target == n.name {
			out = append(out, n)
		}
		return err
	})
	return out, err
}

// upperBound is the first text after every text that starts with prefix.
func upperBound(prefix string) string { return prefix + lastText }
