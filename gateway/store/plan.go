package store

import (
	"context"
	"slices"
	"strconv"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/fhir/search"
)

// plan is a query on its way to SQL: which rows are asked, in which compartment, and in which order.
type plan struct {
	s      *Store
	ctx    context.Context
	tx     Tx
	q      *search.Query
	caller access.Filter
	filter compiled
	types  Int64s
	typ    string // "" when several
	scan   []search.Scan
	rest   search.And // Where without scans and without the driver
	driver *search.Index
	pat    int64 // compartment, 0 for none
	view   view  // of the compartment
	now    int64
	found  Int64s
	order  []sortKey
	apart  bool // rows come without their bodies; see Store.fill
}

// sortKey is one key of the order as SQL.
type sortKey struct {
	column     string // expression over r
	columnArgs []any
	join       string // what brings it in
	args       []any
	desc       bool
}

// plan reads a query. now is asked for before the transaction: it may need a connection of its own.
func (s *Store) plan(ctx context.Context, tx Tx, f access.Filter, q *search.Query, now int64) (*plan, error) {
	p := &plan{s: s, ctx: ctx, tx: tx, q: q, typ: q.Type, caller: f, now: now}
	var err error
	if p.filter, err = s.compile(ctx, tx, f); err != nil {
		return nil, err
	}
	types := q.Types
	if q.Type != "" {
		types = []string{q.Type}
	}
	for _, typ := range types {
		no, err := s.lookup(ctx, tx, dictType, typ)
		if err != nil {
			return nil, err
		}
		p.types = append(p.types, no)
	}
	for _, c := range q.Where {
		if scan, ok := c.(search.Scan); ok {
			p.scan = append(p.scan, scan)
			continue
		}
		p.rest = append(p.rest, c)
	}
	if q.Patient != "" {
		if p.pat, err = s.lookupKey(ctx, tx, fhir.Reference{Type: "Patient", ID: q.Patient}); err != nil {
			return nil, err
		}
	} else {
		p.drive()
	}
	if err := p.orderBy(); err != nil {
		return nil, err
	}
	if len(p.scan) > 0 {
		err = p.scanBodies()
	}
	return p, err
}

// drive picks a condition on one value to read first: its index rows stand in the order of resources, so that a
// page ends as soon as it is full.
func (p *plan) drive() {
	for i, c := range p.rest {
		index, ok := c.(search.Index)
		if !ok || index.Other || index.Kind != search.KindToken || len(index.Values) != 1 || len(index.Params) != 1 || index.Values[0].Code == "" || p.typ == "" {
			continue
		}
		p.driver = &index
		p.rest = slices.Delete(slices.Clone(p.rest), i, i+1)
		return
	}
}

// page reads matches after a position, at most limit. In a compartment the statement says for which epoch of the
// patient it holds; when that has passed it is made anew.
func (p *plan) page(after *Position, limit int) ([]Row, error) {
	for try := range maxConflicts {
		if err := p.look(try); err != nil {
			return nil, err
		}
		b := &statement{}
		if err := p.statement(b, after, limit); err != nil {
			return nil, err
		}
		p.s.counts.add("search")
		rows, current, err := p.run(b)
		if err != nil {
			return nil, err
		}
		if !current {
			p.s.views.forget(p.viewKey())
			continue
		}
		slices.SortStableFunc(rows, p.compare)
		return rows, nil
	}
	return nil, ErrBusy
}

func (p *plan) viewKey() viewKey { return viewKey{p.pat, p.filter.org, p.filter.purpose} }

// maxViews is how often a compartment's view is taken anew before the query goes by the filter itself: a patient whose
// records are being moved or deleted all the time must still be found.
const maxViews = 2

// look takes the compartment's view.
func (p *plan) look(try int) error {
	if p.pat == 0 {
		return nil
	}
	var err error
	p.view, err = p.s.viewOf(p.ctx, p.tx, p.filter, p.pat, p.now)
	p.view.exact = p.view.exact && try < maxViews
	return err
}

func (p *plan) inCompartment() bool { return p.pat != 0 }

// statement selects matches, with their bodies unless those are read apart. The limit stands inside, so that only bodies
// of the page are read.
func (p *plan) statement(b *statement, after *Position, limit int) error {
	b.add("SELECT ")
	if p.inCompartment() {
		b.add("st.epoch,")
	} else {
		b.add("COALESCE(ps.epoch,0),")
	}
	b.add("r.rid,r.type_no,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi")
	body := " JOIN body v ON v.part=0 AND v.seq=r.seq"
	if p.apart {
		b.add(",r.seq")
		body = ""
	} else {
		b.add(",v.enc,v.doc")
	}
	for i := range p.order {
		b.add(",r.k" + strconv.Itoa(i))
	}
	b.add(" FROM ")
	if p.inCompartment() {
		b.add("patient_state st LEFT JOIN ")
	}
	rid := "r.rid"
	if p.driver != nil {
		rid = "x.rid" // the same, and the index stands in its order
	}
	b.add("(SELECT * FROM (SELECT " + rid + " AS rid,r.type_no,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi,r.seq")
	for i, k := range p.order {
		b.add(","+k.column+" AS k"+strconv.Itoa(i), k.columnArgs...)
	}
	if err := p.from(b, after); err != nil {
		return err
	}
	b.add(") r")
	if after != nil {
		b.add(" WHERE ")
		p.keyset(b, after)
	}
	b.add(" ORDER BY " + p.orderText())
	b.limit(p.s.dialect, int64(limit))
	b.add(") r")
	if p.inCompartment() {
		b.add(" ON 1=1")
		if !p.apart {
			b.add(" LEFT" + body) // the compartment's row is there without any
		}
		b.add(" WHERE st.part=0 AND st.pat=?", p.pat)
		return nil
	}
	b.add(body + " LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat")
	return nil
}

// from adds the rows and every condition they must meet.
func (p *plan) from(b *statement, after *Position) error {
	b.add(" FROM ")
	w := where{s: p.s, ctx: p.ctx, tx: p.tx, b: b, filter: p.filter, typ: p.typ, row: "r", pat: p.pat, inside: p.inCompartment(), list: p.driver == nil}
	if p.driver != nil {
		b.add("idx_token x CROSS JOIN ")
	}
	b.add("res r")
	for _, k := range p.order {
		b.add(k.join, k.args...)
	}
	b.add(" WHERE r.part=0 AND ")
	if p.driver != nil {
		params, err := w.params(p.typ, p.driver.Params)
		if err != nil {
			return err
		}
		b.add("r.rid=x.rid AND x.pat=r.pat AND x.part=0 AND x.param=?", params[0])
		if err := w.values(*p.driver, "x"); err != nil {
			return err
		}
		if p.driver.Values[0].AnySystem { // one code in two systems is one match
			b.add(" AND NOT EXISTS (SELECT 1 FROM idx_token y WHERE y.part=0 AND y.pat=x.pat AND y.param=x.param AND y.code=x.code AND y.rid=x.rid AND y.sys<x.sys)")
		}
		b.add(" AND ")
		if after != nil && len(p.order) == 0 { // the page goes on where the index stands
			b.add("x.rid>? AND ", after.Row)
		}
	}
	w.equalTo("r.type_no", p.types)
	b.add(" AND r.del=0 AND ")
	if err := p.visible(b); err != nil {
		return err
	}
	if p.scan != nil {
		b.add(" AND "+p.s.dialect.In("r.rid"), p.found)
	}
	for _, c := range p.rest {
		b.add(" AND ")
		if err := w.add(c); err != nil {
			return err
		}
	}
	return nil
}

// visible adds the compartment and what the caller may see of it.
func (p *plan) visible(b *statement) error {
	switch {
	case !p.inCompartment():
		return p.s.visible(b, p.filter, p.typ)
	case p.view.exact:
		b.add("r.pat=? AND ", p.pat)
		b.inNumbers(p.s.dialect, "r.seg", p.view.segmentsFor(p.filter, p.pat))
		b.add(" AND r.npat<2") // the view is not exact where there are others
		if p.typ != "" && p.filter.exactly(p.typ, p.pat) {
			return nil
		}
		return p.s.within(b, p.filter, "r", p.typ, true)
	}
	b.add("r.rid IN ")
	b.patientRows(p.s.dialect, p.pat, p.types)
	b.add(" AND ")
	return p.s.visible(b, p.filter, p.typ)
}

// run reads the statement's rows. current is false when the compartment has moved on since its view was taken.
func (p *plan) run(b *statement) (rows []Row, current bool, err error) {
	current = true
	err = each(p.ctx, p.tx, b.String(), b.args, func(r Rows) error {
		var row Row
		var epoch int64
		var rid, typeNo, ver, upd, seg, pat, npat, lo, hi, seq, enc *int64
		var id *string
		var doc []byte
		row.sortKeys = make([]any, len(p.order))
		dest := []any{&epoch, &rid, &typeNo, &id, &ver, &upd, &seg, &pat, &npat, &lo, &hi}
		if p.apart {
			dest = append(dest, &seq)
		} else {
			dest = append(dest, &enc, &doc)
		}
		for i := range row.sortKeys {
			dest = append(dest, &row.sortKeys[i])
		}
		if err := r.Scan(dest...); err != nil {
			return err
		}
		if p.view.exact && epoch != p.view.epoch {
			current = false
			return nil
		}
		if rid == nil { // the compartment is there, and empty
			return nil
		}
		row.rid, row.ID, row.Version, row.Updated, row.Segment, row.pat, row.npat = *rid, *id, *ver, time.UnixMicro(*upd).UTC(), *seg, *pat, *npat
		row.period.Lo, row.period.Hi, row.epoch = *lo, *hi, epoch
		if row.pat != p.pat && p.inCompartment() {
			row.epoch = unknownEpoch
		}
		row.Type = p.typ
		if row.Type == "" {
			row.Type = p.s.name(dictType, *typeNo)
		}
		if p.apart {
			row.seq = *seq
		} else {
			sealed, err := p.s.decompress(*enc, doc)
			if err != nil {
				return err
			}
			row.seal(sealed)
		}
		rows = append(rows, row)
		return nil
	})
	return rows, current, err
}

// unknownEpoch is never a patient's: facts read under it are read again.
const unknownEpoch = -1

func (p *plan) count(limit int64) (int64, error) {
	for try := range maxConflicts {
		if err := p.look(try); err != nil {
			return 0, err
		}
		b := &statement{}
		b.add("SELECT COUNT(*)")
		if limit > 0 {
			b.add(" FROM (SELECT r.rid")
		}
		order := p.order
		p.order = nil
		err := p.from(b, nil)
		p.order = order
		if err != nil {
			return 0, err
		}
		if limit > 0 {
			b.limit(p.s.dialect, limit)
			b.add(") n")
		}
		p.s.counts.add("count")
		var n, epoch int64
		if _, err := one(p.ctx, p.tx, b.String(), b.args, &n); err != nil {
			return 0, err
		}
		if !p.view.exact {
			return n, nil
		}
		if _, err := one(p.ctx, p.tx, "SELECT epoch FROM patient_state WHERE part=0 AND pat=?", []any{p.pat}, &epoch); err != nil {
			return 0, err
		}
		if epoch == p.view.epoch {
			return n, nil
		}
		p.s.views.forget(p.viewKey())
	}
	return 0, ErrBusy
}
