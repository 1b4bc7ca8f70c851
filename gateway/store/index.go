package store

import (
	"trellis/fhir/search"
)

// The index tables with their columns after part.
var indexTables = [...]struct{ name, columns string }{
	{"idx_token", "pat,type_no,param,code,sys,rid"},
	{"idx_ref", "pat,type_no,param,ttype,tid,rid"},
	{"idx_date", "pat,type_no,param,lo,hi,rid"},
	{"idx_string", "pat,type_no,param,folded,exact,rid"},
}

// index writes the index rows of a version; clear drops those of the version before.
func (w *writer) index(r resRow, v search.Values, clear bool) error {
	if clear {
		if err := w.clearIndex(r.rid); err != nil {
			return err
		}
	}
	pats := r.pats
	if len(pats) == 0 {
		pats = []int64{0}
	}
	rows, err := w.indexRows(r, pats, v)
	if err != nil {
		return err
	}
	for i, table := range indexTables {
		if err := w.insertRows(table.name, table.columns, rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// indexRows computes the rows of every index table, in the order of indexTables.
func (w *writer) indexRows(r resRow, pats []int64, v search.Values) ([len(indexTables)][][]any, error) {
	var out [len(indexTables)][][]any
	for _, pat := range pats {
		for _, t := range v.Tokens {
			param, err := w.intern(dictParam, t.Param)
			if err != nil {
				return out, err
			}
			sys := int64(0)
			if t.System != "" {
				if sys, err = w.intern(dictSystem, t.System); err != nil {
					return out, err
				}
			}
			out[0] = append(out[0], []any{pat, r.typeNo, param, t.Code, sys, r.rid})
		}
		for _, t := range v.Refs {
			param, err := w.intern(dictParam, t.Param)
			if err != nil {
				return out, err
			}
			target := int64(0)
			if t.Type != "" {
				if target, err = w.intern(dictType, t.Type); err != nil {
					return out, err
				}
			}
			out[1] = append(out[1], []any{pat, r.typeNo, param, target, t.ID, r.rid})
		}
		for _, d := range v.Dates {
			param, err := w.intern(dictParam, d.Param)
			if err != nil {
				return out, err
			}
			out[2] = append(out[2], []any{pat, r.typeNo, param, d.Lo, d.Hi, r.rid})
		}
		for _, t := range v.Strings {
			param, err := w.intern(dictParam, t.Param)
			if err != nil {
				return out, err
			}
			out[3] = append(out[3], []any{pat, r.typeNo, param, t.Folded, t.Exact, r.rid})
		}
	}
	return out, nil
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
		if _, err := w.tx.Exec(w.ctx, sql, args...); err != nil {
			return err
		}
		rows = rows[size:]
	}
	return nil
}

func (w *writer) clearIndex(rid int64) error {
	for _, table := range indexTables {
		if _, err := w.tx.Exec(w.ctx, "DELETE FROM "+table.name+" WHERE part=0 AND rid=?", rid); err != nil {
			return err
		}
	}
	return nil
}
