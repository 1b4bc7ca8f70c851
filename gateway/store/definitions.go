package store

import (
	"context"

	"trellis/fhir"
)

// Definitions reads the public directory entries of some types that differ from what the caller has: a code system, say.
// have is what it has, by version; current is what there is, and changed those of it that have does not hold so. state
// stands for both: when it is the one before, nothing is read and changed is nil.
func (s *Store) Definitions(ctx context.Context, types []string, before int64, have map[fhir.Reference]int64) (state int64, current map[fhir.Reference]int64, changed []*fhir.Resource, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		numbers := map[int64]string{}
		var list Int64s
		for _, typ := range types {
			no, err := s.lookup(ctx, tx, dictType, typ)
			if err != nil {
				return err
			}
			numbers[no] = typ
			list = append(list, no)
		}
		// Every write raises a version, a delete too: the sum never comes back to what it was.
		if _, err := one(ctx, tx, "SELECT COALESCE(SUM(ver),0) FROM res WHERE part=0 AND "+s.dialect.In("type_no"), []any{list}, &state); err != nil || state == before {
			return err
		}
		current = map[fhir.Reference]int64{}
		var keys Int64s
		err := each(ctx, tx, "SELECT rid,type_no,id,ver,seg FROM res WHERE part=0 AND del=0 AND ver>0 AND "+s.dialect.In("type_no"), []any{list}, func(r Rows) error {
			var rid, typeNo, ver, seg int64
			var id string
			if err := r.Scan(&rid, &typeNo, &id, &ver, &seg); err != nil || !s.Segment(seg).Directory {
				return err
			}
			ref := fhir.Reference{Type: numbers[typeNo], ID: id}
			if current[ref] = ver; have[ref] != ver {
				keys = append(keys, rid)
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		return each(ctx, tx, "SELECT v.enc,v.doc FROM res r JOIN body v ON v.part=0 AND v.seq=r.seq WHERE r.part=0 AND r.del=0 AND "+s.dialect.In("r.rid"), []any{keys}, func(r Rows) error {
			var enc int64
			var doc []byte
			if err := r.Scan(&enc, &doc); err != nil {
				return err
			}
			sealed, err := s.decompress(enc, doc)
			if err != nil {
				return err
			}
			res, err := fhir.ReadTrusted(sealed.Doc)
			changed = append(changed, res)
			return err
		})
	})
	return state, current, changed, err
}
