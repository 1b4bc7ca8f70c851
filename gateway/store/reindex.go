package store

import (
	"context"
	"errors"
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
)

// indexBatch is how many resources, or rows to remove, one transaction takes.
const indexBatch = 500

// IndexParameters does one batch of the work custom parameters need: rows made for resources that are stored already, or
// removed. worked is false when there is none. A batch, its position and what it changes are one transaction: it may be
// killed at any time, run again and run on several replicas.
func (s *Store) IndexParameters(ctx context.Context) (worked bool, err error) {
	var due bool
	err = s.engine.Read(ctx, func(tx Tx) error {
		var n int64
		due, err = one(ctx, tx, "SELECT 1 FROM search_parameter WHERE state<>? LIMIT 1", []any{ParameterReady}, &n)
		return err
	})
	if err != nil || !due {
		return false, err
	}
	if err := s.reserveRowKeys(ctx, indexBatch); err != nil {
		return false, err
	}
	err = s.write(ctx, (*writer).indexParameters)
	if errors.Is(err, errSettled) {
		return false, nil
	}
	return err == nil, err
}

// indexParameters works on the first parameter whose time has come.
func (w *writer) indexParameters() error {
	grace := parameterGrace.Microseconds()
	if w.s.dialect.Name == "sqlite" { // one process writes, one write at a time
		grace = 0
	}
	// Locks the row: a second replica waits here and then goes on where this one ended.
	n, err := w.tx.Exec(w.ctx, "UPDATE search_parameter SET total=total WHERE id=(SELECT id FROM search_parameter WHERE state<>? AND changed<=? ORDER BY changed,id LIMIT 1)",
		ParameterReady, w.now-grace)
	if err != nil {
		return err
	}
	if n == 0 {
		return errSettled
	}
	rows, err := readParameters(w.ctx, w.tx)
	if err != nil {
		return err
	}
	for _, p := range rows {
		switch {
		case p.state == ParameterReady || p.changed > w.now-grace:
		case p.state == ParameterIndexing:
			return w.indexParameter(p)
		default:
			return w.removeParameter(p)
		}
	}
	return errSettled
}

// indexParameter makes the rows of one parameter for the next resources. Where a definition was read here that the
// registry of this process does not have yet, it waits.
func (w *writer) indexParameter(p parameterRow) error {
	for _, typ := range p.def.Base {
		if par, ok := w.s.registry.Lookup(typ, p.def.Code); !ok || par.URL != p.def.URL {
			return errSettled
		}
	}
	if p.next == 0 && w.s.dialect.Name == "postgres" { // waits for writes that began before the definition was known
		if _, err := w.tx.Exec(w.ctx, "LOCK TABLE res IN SHARE MODE"); err != nil {
			return err
		}
	}
	types, err := w.typeNumbers(p.def.Base)
	if err != nil {
		return err
	}
	keep := func(param string) bool { return param == p.def.Code || param == p.def.Code+":identifier" }
	next, n, err := w.indexFrom(p.next, types, keep)
	if err != nil {
		return err
	}
	if n < indexBatch {
		if err := w.lockParameters(); err != nil {
			return err
		}
		_, err = w.tx.Exec(w.ctx, "UPDATE search_parameter SET state=?,next=?,done=done+?,total=done+? WHERE id=?", ParameterReady, next, n, n, p.id)
		return err
	}
	_, err = w.tx.Exec(w.ctx, "UPDATE search_parameter SET next=?,done=done+? WHERE id=?", next, n, p.id)
	return err
}

// indexFrom makes rows for the next resources behind a row key, nil types for all, and only those of parameters keep
// names. Rows that stand already stay. next is the key of the last resource, n how many there were.
func (w *writer) indexFrom(after int64, types Int64s, keep func(param string) bool) (next int64, n int, err error) {
	var b statement
	b.add("SELECT r.rid,d.name,r.id,r.pat,r.npat,r.seq,r.del FROM res r JOIN dict d ON d.kind=1 AND d.no=r.type_no WHERE r.part=0 AND r.rid>? AND r.ver>0", after)
	if types != nil {
		b.add(" AND "+w.s.dialect.In("r.type_no"), types)
	}
	b.add(" ORDER BY r.rid LIMIT ?", indexBatch)
	if w.s.dialect.Name == "postgres" {
		b.add(" FOR UPDATE OF r") // nobody changes a resource while its rows are made
	}
	type live struct {
		head
		typ, id string
	}
	var heads []live
	err = each(w.ctx, w.tx, b.String(), b.args, func(r Rows) error {
		var l live
		var del int64
		if err := r.Scan(&l.rid, &l.typ, &l.id, &l.pat, &l.npat, &l.seq, &del); err != nil {
			return err
		}
		l.deleted = del == 1
		heads = append(heads, l)
		return nil
	})
	if err != nil {
		return after, 0, err
	}
	next = after
	for _, l := range heads {
		next = l.rid
		if l.deleted {
			continue
		}
		if err := w.indexOne(l.head, l.typ, l.id, keep); err != nil {
			return 0, 0, err
		}
	}
	return next, len(heads), nil
}

func (w *writer) indexOne(h head, typ, id string, keep func(string) bool) error {
	sealed, err := w.stored(h)
	if err != nil {
		return err
	}
	res, err := fhir.ReadTrusted(sealed.Doc)
	if err != nil {
		return err
	}
	pats, err := w.filedNow(h)
	if err != nil {
		return err
	}
	rows, err := w.rows(typ, h.rid, pats, only(w.s.registry.Extract(withID(res, id), w.s.base), keep))
	if err != nil {
		return err
	}
	for i, table := range indexTables {
		if err := w.addRows(table.name, table.columns, rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// addRows inserts index rows that are not there yet.
func (w *writer) addRows(table, columns string, rows [][]any) error {
	for _, row := range rows {
		if err := w.tx.Queue(w.ctx, "INSERT INTO "+table+" (part,"+columns+") VALUES "+placeholders(1, len(row))+" ON CONFLICT DO NOTHING", row...); err != nil {
			return err
		}
	}
	return nil
}

// only keeps the values of the parameters keep names; nil keeps all.
func only(v search.Values, keep func(param string) bool) search.Values {
	if keep == nil {
		return v
	}
	v.Tokens = kept(v.Tokens, func(t search.Token) bool { return keep(t.Param) })
	v.Refs = kept(v.Refs, func(t search.Ref) bool { return keep(t.Param) })
	v.URIs = kept(v.URIs, func(t search.URI) bool { return keep(t.Param) })
	v.Dates = kept(v.Dates, func(t search.Date) bool { return keep(t.Param) })
	v.Numbers = kept(v.Numbers, func(t search.Number) bool { return keep(t.Param) })
	v.Strings = kept(v.Strings, func(t search.Text) bool { return keep(t.Param) })
	v.Elements = nil // composites are never custom
	return v
}

func kept[T any](list []T, keep func(T) bool) []T {
	var out []T
	for _, v := range list {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

// removeParameter takes rows of one parameter away, and in the end the parameter itself.
func (w *writer) removeParameter(p parameterRow) error {
	if p.done == 0 && w.s.dialect.Name == "postgres" { // waits for writes that still knew the definition
		if _, err := w.tx.Exec(w.ctx, "LOCK TABLE res IN SHARE MODE"); err != nil {
			return err
		}
	}
	removed := 0
	for _, typ := range p.def.Base {
		for _, code := range []string{p.def.Code, p.def.Code + ":identifier"} {
			no, err := w.intern(dictParam, paramName(typ, code))
			if err != nil {
				return err
			}
			for _, table := range indexTables {
				n, err := w.removeRows(table.name, table.columns, no, indexBatch-removed)
				if err != nil {
					return err
				}
				if removed += n; removed >= indexBatch {
					_, err := w.tx.Exec(w.ctx, "UPDATE search_parameter SET done=done+? WHERE id=?", removed, p.id)
					return err
				}
			}
		}
	}
	if err := w.lockParameters(); err != nil {
		return err
	}
	if _, err := w.tx.Exec(w.ctx, "DELETE FROM search_parameter WHERE id=?", p.id); err != nil {
		return err
	}
	// A definition that took this one's place may come in now.
	_, err := w.tx.Exec(w.ctx, "UPDATE counter SET value=-1 WHERE name='parameters.sum'")
	return err
}

// removeRows deletes up to limit rows of a parameter by their whole keys.
func (w *writer) removeRows(table, columns string, param int64, limit int) (int, error) {
	width := strings.Count(columns, ",") + 1
	var rows [][]any
	err := each(w.ctx, w.tx, "SELECT "+columns+" FROM "+table+" WHERE part=0 AND param=? LIMIT ?", []any{param, limit}, func(r Rows) error {
		values, dest := make([]any, width), make([]any, width)
		for i := range values {
			dest[i] = &values[i]
		}
		err := r.Scan(dest...)
		rows = append(rows, values)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if err := w.tx.Queue(w.ctx, "DELETE FROM "+table+" WHERE part=0"+equals(columns), row...); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}
