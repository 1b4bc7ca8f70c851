package store

import (
	"context"
	"slices"

	"trellis/auth/label"
	"trellis/fhir"
)

// asReleased gives the rows' bodies as far as release would let them out: without references the caller may not
// follow, and without narrative where there are any. The caller's own records are whole. Words a search looks for
// must not be found where release cuts them.
func (s *Store) asReleased(ctx context.Context, tx Tx, c compiled, rows []Row) ([][]byte, error) {
	hidden := map[fhir.Reference]bool{}
	byType := map[string]Strings{}
	for i := range rows {
		if slices.Contains(c.own, rows[i].Segment) {
			continue
		}
		for _, ref := range rows[i].sealed.Refs {
			if Askable(ref) && !hidden[ref] {
				hidden[ref] = true
				byType[ref.Type] = append(byType[ref.Type], ref.ID)
			}
		}
	}
	for typ, ids := range byType {
		err := s.visibleIDs(ctx, tx, c, typ, ids, func(id string) { delete(hidden, fhir.Reference{Type: typ, ID: id}) })
		if err != nil {
			return nil, err
		}
	}
	out := make([][]byte, len(rows))
	for i := range rows {
		out[i] = rows[i].Doc
		cut := func(ref fhir.Reference) bool { return hidden[ref] }
		if slices.Contains(c.own, rows[i].Segment) || !slices.ContainsFunc(rows[i].sealed.Refs, cut) {
			continue
		}
		res, err := fhir.ReadTrusted(rows[i].Doc)
		if err != nil {
			return nil, err
		}
		out[i] = fhir.DropReferences(res, func(reference string) bool {
			ref, ok := fhir.ParseReference(reference, s.base)
			return ok && hidden[ref]
		})
	}
	return out, nil
}

// Askable reports whether a reference leads to something that may be hidden. Directory entries are public; a
// record's own patient is told by the record itself.
func Askable(ref fhir.Reference) bool {
	return ref.Type != "Patient" && !label.Directory(ref.Type)
}

// visibleIDs tells which of the ids of a type the caller may see.
func (s *Store) visibleIDs(ctx context.Context, tx Tx, c compiled, typ string, ids Strings, found func(id string)) error {
	typeNo, err := s.lookup(ctx, tx, dictType, typ)
	if err != nil {
		return err
	}
	var b statement
	b.add("SELECT r.id FROM res r WHERE r.part=0 AND r.type_no=? AND ", typeNo)
	b.inTexts(s.dialect, "r.id", ids)
	b.add(" AND r.del=0 AND ")
	s.visible(&b, c)
	s.counts.add("visible")
	return each(ctx, tx, b.String(), b.args, func(r Rows) error {
		var id string
		err := r.Scan(&id)
		found(id)
		return err
	})
}
