package store

import (
	"context"

	"trellis/fhir"
)

// placeTypes are the types whose records say, with their parameter organization, whose they are.
var placeTypes = [...]string{"Location", "HealthcareService", "PractitionerRole"}

// Places lists the places, services and roles of organisations.
func (s *Store) Places(ctx context.Context, organizations []string) ([]fhir.Reference, error) {
	var out []fhir.Reference
	err := s.engine.Read(ctx, func(tx Tx) error {
		out = nil
		for _, id := range organizations {
			target, err := s.lookupKey(ctx, tx, fhir.Reference{Type: "Organization", ID: id})
			if err != nil {
				return err
			}
			for _, typ := range placeTypes {
				param, err := s.lookup(ctx, tx, dictParam, paramName(typ, "organization"))
				if err != nil {
					return err
				}
				if target <= 0 || param == 0 {
					continue
				}
				err = each(ctx, tx, "SELECT r.id FROM idx_ref x JOIN res r ON r.part=0 AND r.rid=x.rid WHERE x.part=0 AND x.target=? AND x.param=? AND r.del=0", []any{target, param}, func(r Rows) error {
					var place string
					err := r.Scan(&place)
					out = append(out, fhir.Reference{Type: typ, ID: place})
					return err
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	return out, err
}

// packDue is the pack of records that are to be labelled anew for another reason than a new pack. Which labels they were
// given is remembered all the same.
const packDue = "due"

// LabelReferring marks the records that refer to any of these as to be labelled anew.
func (s *Store) LabelReferring(ctx context.Context, targets []fhir.Reference) error {
	return s.write(ctx, func(w *writer) error {
		due, err := w.intern(dictPack, packDue)
		if err != nil {
			return err
		}
		for _, ref := range targets {
			target, err := s.lookupKey(ctx, w.tx, ref)
			if err != nil {
				return err
			}
			if target <= 0 {
				continue
			}
			_, err = w.tx.Exec(ctx, "UPDATE res SET pack=? WHERE part=0 AND pack<>0 AND ver>0 AND rid IN (SELECT rid FROM idx_ref WHERE part=0 AND target=?)", due, target)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
