package store

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"trellis/fhir"
)

// CheckIndex recomputes every live resource's index rows and compares them with what is stored. It is
// the invariant tests hold after every write and an operator can run after a crash. The error names
// the resource, never its content.
func (s *Store) CheckIndex(ctx context.Context) error {
	want := map[string]map[string]bool{} // table -> row
	owner := map[string]string{}         // rid -> resource
	err := s.write(ctx, func(w *writer) error {
		type live struct {
			resRow
			typ    string
			npat   int64
			sealed fhir.Sealed
			pat    int64
		}
		var rows []live
		err := each(ctx, w.tx, "SELECT r.rid,r.type_no,d.name,r.id,r.pat,r.npat,v.enc,v.doc FROM res r JOIN dict d ON d.kind=1 AND d.no=r.type_no JOIN body v ON v.part=0 AND v.seq=r.seq WHERE r.del=0", nil, func(r Rows) error {
			var l live
			var enc int64
			var doc []byte
			if err := r.Scan(&l.rid, &l.typeNo, &l.typ, &l.id, &l.pat, &l.npat, &enc, &doc); err != nil {
				return err
			}
			var err error
			l.sealed, err = s.decompress(enc, doc)
			rows = append(rows, l)
			return err
		})
		if err != nil {
			return err
		}
		for _, l := range rows {
			res, err := fhir.ReadTrusted(l.sealed.Doc)
			if err != nil {
				return err
			}
			pats, err := w.patients(Change{Type: l.typ, ID: l.id, Resource: res})
			if err != nil {
				return err
			}
			l.pats = pats
			if l.owner() != l.pat || len(pats) != int(l.npat) {
				return fmt.Errorf("store: %s/%s is filed under another patient than its content says", l.typ, l.id)
			}
			index, err := w.rows(l.typ, l.rid, pats, s.registry.Extract(res, s.base))
			if err != nil {
				return err
			}
			owner[fmt.Sprint(l.rid)] = l.typ + "/" + l.id
			for i, table := range indexTables {
				if want[table.name] == nil {
					want[table.name] = map[string]bool{}
				}
				for _, row := range index[i] {
					want[table.name][rowKeyText(row)] = true
				}
			}
		}
		return w.compareIndex(want, owner)
	})
	return err
}

func (w *writer) compareIndex(want map[string]map[string]bool, owner map[string]string) error {
	for _, table := range indexTables {
		columns := strings.Count(table.columns, ",") + 1
		err := each(w.ctx, w.tx, "SELECT "+table.columns+" FROM "+table.name+" WHERE part=0", nil, func(r Rows) error {
			values := make([]any, columns)
			dest := make([]any, columns)
			for i := range values {
				dest[i] = &values[i]
			}
			if err := r.Scan(dest...); err != nil {
				return err
			}
			key := rowKeyText(values)
			if !want[table.name][key] {
				return fmt.Errorf("store: %s has a row for %q that its content does not give", table.name, owner[fmt.Sprint(values[1])])
			}
			delete(want[table.name], key)
			return nil
		})
		if err != nil {
			return err
		}
		if n := len(want[table.name]); n > 0 {
			missing := make([]string, 0, n)
			for key := range want[table.name] {
				rid, _ := strconv.ParseInt(strings.Split(key, ",")[1], 36, 64)
				missing = append(missing, owner[fmt.Sprint(rid)])
			}
			sort.Strings(missing)
			return fmt.Errorf("store: %s lacks %d rows, one of %s", table.name, n, missing[0])
		}
	}
	return nil
}
