package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
)

// Facts is what is recorded about a patient, as the transaction sees it. Of a patient nobody knows it is empty.
func (v *View) Facts(patient string) (access.Facts, error) {
	w := v.w
	pat, err := w.s.lookupKey(w.ctx, w.tx, fhir.Reference{Type: "Patient", ID: patient})
	if err != nil || pat == 0 {
		return access.Facts{}, err
	}
	return w.s.loadFacts(w.ctx, w.tx, pat, forever, w.custodian)
}

// Holding is how many records of a kind an organisation has of a patient: records that any decision answers alike.
type Holding struct {
	Type    string
	Segment label.Segment
	Period  consent.Period
	Count   int
}

// Holdings counts what an organisation holds of a patient. Records about others as well are not counted. wanted are further
// marks the records have to be told apart by: those of an instrument that is not on file.
func (s *Store) Holdings(ctx context.Context, organization, patient string, wanted []string) ([]Holding, error) {
	var out []Holding
	err := s.engine.Read(ctx, func(tx Tx) error {
		pat, err := s.lookupKey(ctx, tx, fhir.Reference{Type: "Patient", ID: patient})
		if err != nil || pat == 0 {
			return err
		}
		at := map[string]int{}
		return each(ctx, tx, "SELECT d.name,r.id,r.seg,r.lo,r.hi,v.enc,v.doc FROM res r JOIN dict d ON d.kind=1 AND d.no=r.type_no JOIN body v ON v.part=0 AND v.seq=r.seq WHERE r.part=0 AND r.pat=? AND r.npat=1 AND r.del=0", []any{pat}, func(r Rows) error {
			var seg, enc int64
			var id string
			var doc []byte
			h := Holding{Count: 1}
			if err := r.Scan(&h.Type, &id, &seg, &h.Period.Lo, &h.Period.Hi, &enc, &doc); err != nil {
				return err
			}
			if h.Segment = s.Segment(seg); h.Segment.Custodian != organization {
				return nil
			}
			if len(wanted) > 0 {
				if err := s.mark(&h, id, enc, doc, wanted); err != nil {
					return err
				}
			}
			key := fmt.Sprint(h.Type, " ", h.Period, " ", h.Segment.Key())
			if i, known := at[key]; known {
				out[i].Count++
				return nil
			}
			at[key] = len(out)
			out = append(out, h)
			return nil
		})
	})
	return out, err
}

// mark adds to a record's segment those of the wanted marks it has.
func (s *Store) mark(h *Holding, id string, enc int64, doc []byte, wanted []string) error {
	sealed, err := s.decompress(enc, bytes.Clone(doc))
	if err != nil {
		return err
	}
	root, err := fhir.ParseJSON(sealed.Doc)
	if err != nil {
		return fmt.Errorf("store: a stored %s cannot be read", h.Type)
	}
	marks := append(consent.Marks(h.Type, id, root, wanted, s.base), h.Segment.Marks...)
	slices.Sort(marks)
	h.Segment = h.Segment.Marked(slices.Compact(marks))
	return nil
}

// Actors lists the registered organisations with the purposes their clients may ask for.
func (s *Store) Actors(ctx context.Context) (out []access.Actor, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		out, err = s.actors(ctx, tx)
		return err
	})
	return out, err
}

// Now is the instant the transaction writes at.
func (v *View) Now() time.Time { return v.w.at() }
