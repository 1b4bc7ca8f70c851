package store

import (
	"context"
	"maps"
	"slices"

	"trellis/auth/access"
	"trellis/fhir"
)

// Reach is how far Referred goes.
type Reach struct {
	Types   []string // only these
	Patient string   // records of this Patient too, beside those of nobody
	Anybody bool     // records of any patient
}

// Referred fetches what rows refer to, by any literal reference, as far as the caller may see it and rows do not hold
// it. truncated reports that a limit was reached.
func (s *Store) Referred(ctx context.Context, f access.Filter, rows []Row, reach Reach) (referred []Row, truncated bool, err error) {
	byType := map[string]Strings{}
	programs, err := s.Programs(ctx, f, rows)
	if err != nil {
		return nil, false, err
	}
	for i := range rows {
		for _, ref := range rows[i].sealed.Refs {
			if s.leadsToProgram(&rows[i], ref, programs) {
				continue
			}
			if slices.Contains(reach.Types, ref.Type) && !slices.Contains(byType[ref.Type], ref.ID) {
				byType[ref.Type] = append(byType[ref.Type], ref.ID)
			}
		}
	}
	if len(byType) == 0 {
		return nil, false, nil
	}
	err = s.engine.Search(ctx, func(tx Tx) error {
		in, err := s.include(ctx, tx, f, rows)
		if err != nil {
			return err
		}
		pat := int64(-1) // nobody's key
		if reach.Patient != "" {
			if pat, err = s.lookupKey(ctx, tx, fhir.Reference{Type: "Patient", ID: reach.Patient}); err != nil {
				return err
			}
		}
		for _, typ := range slices.Sorted(maps.Keys(byType)) {
			typeNo, err := s.lookup(ctx, tx, dictType, typ)
			if err != nil {
				return err
			}
			b := in.selectRows("res r")
			b.add(" WHERE r.part=0 AND r.type_no=? AND "+s.dialect.In("r.id"), typeNo, byType[typ])
			if !reach.Anybody {
				b.add(" AND (r.npat=0 OR (r.npat=1 AND r.pat=?))", pat)
			}
			if err := in.add(b, typ); err != nil {
				return err
			}
		}
		referred, truncated = in.rows, in.truncated
		return nil
	})
	return referred, truncated, err
}
