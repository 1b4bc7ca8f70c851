package store

import (
	"fmt"

	"trellis/fhir/search"
)

// lastText sorts after every indexed text: rows without a value come last.
const lastText = "\U0010FFFF"

// orderBy turns _sort into keys. A compartment stands in the order of the clinical date, and a sort by that date
// reads no more than its page; other keys are brought in by a join that takes each row's least value, or its
// greatest when descending. Rows without a value come last.
func (p *plan) orderBy() error {
	for i, k := range p.q.Sort {
		key, err := p.sortKey(i, k)
		if err != nil {
			return err
		}
		key.desc = k.Descending
		p.order = append(p.order, key)
	}
	if p.typ == "" || p.typ == "Patient" {
		// A Patient's row key is as old as the first record about it, visible or not: its place must not tell.
		p.order = append(p.order, sortKey{column: "r.id"})
	}
	return nil
}

func (p *plan) sortKey(i int, k search.Sort) (sortKey, error) {
	switch k.Code {
	case "_id":
		return sortKey{column: "r.id"}, nil
	case "_lastUpdated":
		return sortKey{column: "r.upd"}, nil
	}
	if code, ok := p.s.registry.Clinical(p.typ); ok && k.Kind == search.KindDate && len(k.Params) == 1 && k.Params[0] == code {
		if k.Descending {
			return sortKey{column: "r.lo"}, nil
		}
		return sortKey{column: "CASE WHEN r.lo=? THEN CAST(? AS BIGINT) ELSE r.lo END", columnArgs: []any{int64(beginning), int64(forever)}}, nil
	}
	table, column := kindTables[k.Kind], "lo"
	var missing any = int64(forever)
	if k.Descending {
		missing = int64(beginning)
	}
	switch k.Kind {
	case search.KindToken:
		column = "code"
	case search.KindString:
		column = "folded"
	case search.KindURI:
		column = "uri"
	}
	if column != "lo" {
		if missing = lastText; k.Descending {
			missing = ""
		}
	}
	pick := "MIN"
	if k.Descending {
		pick = "MAX"
	}
	w := where{s: p.s, ctx: p.ctx, tx: p.tx}
	params, err := w.params(p.typ, k.Params)
	if err != nil {
		return sortKey{}, err
	}
	join := fmt.Sprintf(" LEFT JOIN (SELECT x.rid,%s(x.%s) AS k FROM %s x WHERE x.part=0 AND ", pick, column, table)
	var args []any
	if p.inCompartment() {
		join += "x.pat=? AND "
		args = append(args, p.pat)
	}
	if k.Kind == search.KindToken { // what is there without a code has no place in an order of codes
		join += "x.code<>'' AND "
	}
	join += p.s.dialect.In("x.param") + fmt.Sprintf(" GROUP BY x.rid) s%d ON s%d.rid=r.rid", i, i)
	args = append(args, params)
	return sortKey{column: fmt.Sprintf("COALESCE(s%d.k,?)", i), columnArgs: []any{missing}, join: join, args: args}, nil
}
