package store

import (
	"bytes"
	"strconv"

	"trellis/fhir"
	"trellis/fhir/search"
)

// The index tables with their columns after part. Every column is part of the key.
var indexTables = [...]struct{ name, columns string }{
	{"idx_token", "pat,rid,param,sys,code"},
	{"idx_ref", "pat,rid,target,param"},
	{"idx_uri", "pat,rid,param,uri"},
	{"idx_date", "pat,rid,lo,hi,param"},
	{"idx_number", "pat,rid,lo,hi,param,unit"},
	{"idx_string", "pat,rid,param,folded,exact"},
	{"idx_element", "pat,rid,alo,ahi,blo,bhi,param,asys,bsys,acode,bcode"},
}

// indexRows is what a version contributes, in the order of indexTables.
type indexRows [len(indexTables)][][]any

// index writes what differs between the rows of the version before (zero for none) and of this one.
func (w *writer) index(before, after indexRows) error {
	for i, table := range indexTables {
		add, drop := difference(before[i], after[i])
		w.insertAll(table.name, table.columns, add)
		for _, row := range drop {
			if err := w.tx.Queue(w.ctx, "DELETE FROM "+table.name+" WHERE part=0"+equals(table.columns), row...); err != nil {
				return err
			}
		}
	}
	return nil
}

// equals is " AND a=? AND b=?" for columns "a,b".
func equals(columns string) string {
	var b bytes.Buffer
	for _, c := range bytes.Split([]byte(columns), []byte(",")) {
		b.WriteString(" AND ")
		b.Write(c)
		b.WriteString("=?")
	}
	return b.String()
}

// distinctRows is how many values of a resource extraction promises to be distinct.
const distinctRows = 64

func difference(before, after [][]any) (add, drop [][]any) {
	if len(before) == 0 && len(after) <= distinctRows {
		return after, nil
	}
	stands := make(map[string][]any, len(before))
	for _, row := range before {
		stands[rowKeyText(row)] = row
	}
	seen := make(map[string]bool, len(after))
	for _, row := range after {
		k := rowKeyText(row)
		if _, ok := stands[k]; ok {
			delete(stands, k)
		} else if !seen[k] {
			add = append(add, row)
		}
		seen[k] = true
	}
	for _, row := range stands {
		drop = append(drop, row)
	}
	return add, drop
}

// rowKeyText tells rows of one table apart.
func rowKeyText(row []any) string {
	var b []byte
	for _, v := range row {
		switch x := v.(type) {
		case int64:
			b = strconv.AppendInt(b, x, 36)
		case int32:
			b = strconv.AppendInt(b, int64(x), 36)
		case int16:
			b = strconv.AppendInt(b, int64(x), 36)
		case string:
			b = strconv.AppendQuote(b, x)
		}
		b = append(b, ',')
	}
	return string(b)
}

// rows computes the index rows of a version filed under pats.
func (w *writer) rows(typ string, rid int64, pats []int64, v search.Values) (indexRows, error) {
	if len(pats) == 0 {
		pats = []int64{0}
	}
	var out indexRows
	n := numbering{w: w, typ: typ}
	for _, pat := range pats {
		for _, t := range v.Tokens {
			out[0] = append(out[0], []any{pat, rid, n.param(t.Param), n.system(t.System), t.Code})
		}
		for _, t := range v.Refs {
			out[1] = append(out[1], []any{pat, rid, n.target(t), n.param(t.Param)})
		}
		for _, u := range v.URIs {
			out[2] = append(out[2], []any{pat, rid, n.param(u.Param), u.URI})
		}
		for _, d := range v.Dates {
			out[3] = append(out[3], []any{pat, rid, d.Lo, d.Hi, n.param(d.Param)})
		}
		for _, q := range v.Numbers {
			out[4] = append(out[4], []any{pat, rid, q.Lo, q.Hi, n.param(q.Param), n.unit(q.Unit)})
		}
		for _, t := range v.Strings {
			out[5] = append(out[5], []any{pat, rid, n.param(t.Param), t.Folded, t.Exact})
		}
		for _, e := range v.Elements {
			out[6] = append(out[6], []any{pat, rid, e.A.Lo, e.A.Hi, e.B.Lo, e.B.Hi, n.param(e.Param), n.system(e.A.System), n.system(e.B.System), e.A.Code, e.B.Code})
		}
	}
	return out, n.err
}

// numbering turns names into the dictionary's numbers and keeps the first failure.
type numbering struct {
	w   *writer
	typ string
	err error
}

func (n *numbering) take(no int64, err error) int64 {
	if err != nil && n.err == nil {
		n.err = err
	}
	return no
}

func (n *numbering) param(code string) int64 {
	return n.take(n.w.intern(dictParam, paramName(n.typ, code)))
}

// paramName is how an index parameter of a type stands in the dictionary. Parameters every type has are one.
func paramName(typ, code string) string {
	if code[0] == '_' {
		typ = "Resource"
	}
	return typ + "." + code
}

func (n *numbering) system(uri string) int64 {
	if uri == "" {
		return 0
	}
	return n.take(n.w.intern(dictSystem, uri))
}

func (n *numbering) unit(u search.Unit) int64 {
	if u == (search.Unit{}) {
		return 0
	}
	return n.take(n.w.intern(dictUnit, unitName(u)))
}

func unitName(u search.Unit) string { return u.System + "|" + u.Code }

func (n *numbering) target(r search.Ref) int64 {
	return n.take(n.w.key(fhir.Reference{Type: r.Type, ID: r.ID}))
}

// pending collects rows to insert, so that a transaction sends few statements.
type pending struct {
	columns string
	rows    [][]any
}

// insertOrder is the order pending rows are written in: heads before what hangs on them.
var insertOrder = [...]string{"res", "res_also", "body", "idx_token", "idx_ref", "idx_uri", "idx_date", "idx_number", "idx_string", "idx_element"}

func (w *writer) insert(table, columns string, row []any) { w.insertAll(table, columns, [][]any{row}) }

func (w *writer) insertAll(table, columns string, rows [][]any) {
	if len(rows) == 0 {
		return
	}
	p := w.pending[table]
	if p == nil {
		p = &pending{columns: columns}
		w.pending[table] = p
	}
	p.rows = append(p.rows, rows...)
	w.rowCount += len(rows)
}

// flush sends the pending rows. Whatever reads what this transaction wrote calls it first.
func (w *writer) flush() error {
	for _, table := range insertOrder {
		p := w.pending[table]
		if p == nil || len(p.rows) == 0 {
			continue
		}
		if err := w.insertRows(table, p.columns, p.rows); err != nil {
			return err
		}
		p.rows = nil
	}
	return nil
}

// insertRows inserts in groups of 64, 32, ... 1 rows, so that few distinct statements are prepared.
func (w *writer) insertRows(table, columns string, rows [][]any) error {
	for size := 64; len(rows) > 0; {
		if len(rows) < size {
			size /= 2
			continue
		}
		args := make([]any, 0, size*len(rows[0]))
		for _, row := range rows[:size] {
			args = append(args, row...)
		}
		sql := "INSERT INTO " + table + " (part," + columns + ") VALUES " + placeholders(size, len(rows[0]))
		if err := w.tx.Queue(w.ctx, sql, args...); err != nil {
			return err
		}
		rows = rows[size:]
	}
	return nil
}
