package store

import (
	"context"
	"maps"
	"slices"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
)

// maxIncluded bounds what includes may add to a page; maxRounds how often :iterate goes on.
const (
	maxIncluded = 1000
	maxRounds   = 8
)

// inclusion collects what includes add to a page.
type inclusion struct {
	s         *Store
	ctx       context.Context
	tx        Tx
	caller    access.Filter
	filter    compiled
	seen      map[int64]bool
	rows      []Row
	readable  func(typ string) bool
	truncated bool
}

// Include fetches what _include and _revinclude add to a page's matches, each row through the caller's view before
// the limit; those with :iterate go on from what they added. Types that are not readable (nil: all are) add nothing and
// are not gone through. truncated reports that a limit was reached.
func (s *Store) Include(ctx context.Context, f access.Filter, q *search.Query, matches []Row, readable func(typ string) bool) (included []Row, truncated bool, err error) {
	if len(matches) == 0 || len(q.Include)+len(q.RevInclude) == 0 {
		return nil, false, nil
	}
	err = s.engine.Search(ctx, func(tx Tx) error {
		in, err := s.include(ctx, tx, f, matches)
		if err != nil {
			return err
		}
		if readable != nil {
			in.readable = readable
		}
		from := matches
		for round := 0; len(from) > 0; round++ {
			if round == maxRounds {
				in.truncated = true
				break
			}
			start := len(in.rows)
			if err := in.round(q, from, round == 0); err != nil {
				return err
			}
			from = slices.Clone(in.rows[start:])
		}
		included, truncated = in.rows, in.truncated
		return nil
	})
	return included, truncated, err
}

// include starts from a page's rows, which are not added again.
func (s *Store) include(ctx context.Context, tx Tx, f access.Filter, page []Row) (*inclusion, error) {
	c, err := s.compile(ctx, tx, f)
	if err != nil {
		return nil, err
	}
	in := &inclusion{s: s, ctx: ctx, tx: tx, caller: f, filter: c, seen: map[int64]bool{}, readable: func(string) bool { return true }}
	for i := range page {
		in.seen[page[i].rid] = true
	}
	return in, nil
}

// round follows every include from rows: all of them from the matches, those with :iterate from what was added.
func (in *inclusion) round(q *search.Query, from []Row, first bool) error {
	for _, inc := range q.Include {
		if first || inc.Iterate {
			if err := in.forward(inc, from); err != nil {
				return err
			}
		}
	}
	for _, inc := range q.RevInclude {
		if first || inc.Iterate {
			if err := in.reverse(inc, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// forward adds what rows refer to. The references are read from the bodies at hand.
func (in *inclusion) forward(inc search.Include, from []Row) error {
	byType := map[string]Strings{}
	programs, err := in.s.programsIn(in.ctx, in.tx, in.caller, from)
	if err != nil {
		return err
	}
	for _, row := range from {
		if row.Type != inc.Source || row.Doc == nil {
			continue
		}
		res, err := fhir.ReadTrusted(row.Doc)
		if err != nil {
			return err
		}
		for _, ref := range in.s.registry.Extract(res, in.s.base).Refs {
			if in.s.leadsToProgram(&row, fhir.Reference{Type: ref.Type, ID: ref.ID}, programs) {
				continue
			}
			if slices.Contains(inc.Params, ref.Param) && (inc.Target == "" || inc.Target == ref.Type) && !slices.Contains(byType[ref.Type], ref.ID) {
				byType[ref.Type] = append(byType[ref.Type], ref.ID)
			}
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		if !in.readable(typ) {
			continue
		}
		typeNo, err := in.s.lookup(in.ctx, in.tx, dictType, typ)
		if err != nil {
			return err
		}
		b := in.selectRows("res r")
		b.add(" WHERE r.part=0 AND r.type_no=? AND "+in.s.dialect.In("r.id"), typeNo, byType[typ])
		if err := in.add(b, typ); err != nil {
			return err
		}
	}
	return nil
}

// reverse adds what refers to rows.
func (in *inclusion) reverse(inc search.Include, from []Row) error {
	if !in.readable(inc.Source) {
		return nil
	}
	var targets Int64s
	for _, row := range from {
		if inc.Target == "" || inc.Target == row.Type {
			targets = append(targets, row.rid)
		}
	}
	if len(targets) == 0 {
		return nil
	}
	w := where{s: in.s, ctx: in.ctx, tx: in.tx}
	params, err := w.params(inc.Source, inc.Params)
	if err != nil {
		return err
	}
	b := in.selectRows("(SELECT DISTINCT x.rid FROM idx_ref x WHERE x.part=0 AND "+in.s.dialect.In("x.target")+" AND "+in.s.dialect.In("x.param")+") f JOIN res r ON r.part=0 AND r.rid=f.rid", targets, params)
	b.add(" WHERE r.part=0")
	if slices.ContainsFunc(from, func(row Row) bool { return label.Directory(row.Type) }) {
		if err := in.throughNoProgram(b, inc, targets, params); err != nil {
			return err
		}
	}
	return in.add(b, inc.Source)
}

// throughNoProgram keeps what refers to rows by a reference that release lets stand.
func (in *inclusion) throughNoProgram(b *statement, inc search.Include, targets, params Int64s) error {
	w := where{s: in.s, ctx: in.ctx, tx: in.tx, b: b, filter: in.filter, typ: inc.Source, row: "r"}
	b.add(" AND EXISTS (SELECT 1 FROM idx_ref y WHERE y.part=0 AND y.rid=r.rid AND y.pat=r.pat AND "+in.s.dialect.In("y.target")+" AND "+in.s.dialect.In("y.param"), targets, params)
	err := w.unnamedTarget("y")
	b.add(")")
	return err
}

func (in *inclusion) selectRows(source string, args ...any) *statement {
	b := &statement{}
	b.add("SELECT COALESCE(ps.epoch,0),r.rid,r.type_no,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi,v.enc,v.doc FROM "+source+
		" JOIN body v ON v.part=0 AND v.seq=r.seq LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat", args...)
	return b
}

// add runs the statement on the caller's view and keeps what is new.
func (in *inclusion) add(b *statement, typ string) error {
	b.add(" AND r.del=0 AND ")
	if err := in.s.visible(b, in.filter, typ); err != nil {
		return err
	}
	if typ == "Patient" { // see orderBy
		b.add(" ORDER BY r.id")
	} else {
		b.add(" ORDER BY r.rid")
	}
	b.limit(in.s.dialect, maxIncluded+1)
	in.s.counts.add("include")
	p := &plan{s: in.s, ctx: in.ctx, tx: in.tx, typ: typ}
	rows, _, err := p.run(b)
	if err != nil {
		return err
	}
	in.truncated = in.truncated || len(rows) > maxIncluded
	for _, r := range rows {
		if in.seen[r.rid] {
			continue
		}
		if len(in.rows) == maxIncluded {
			in.truncated = true
			return nil
		}
		in.seen[r.rid], r.Included = true, true
		in.rows = append(in.rows, r)
	}
	return nil
}
