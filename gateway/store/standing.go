package store

import (
	"context"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
)

// Standing is what decisions about one patient rest on, apart from any record.
type Standing struct {
	Facts    access.Facts
	Segments []access.NumberedSegment // of the patient's records
	Terms    access.Terms
}

// Standing reads what was recorded about a patient at known; the zero time is now. Of a patient nobody knows it is empty.
func (s *Store) Standing(ctx context.Context, patient string, known time.Time) (Standing, error) {
	at := int64(forever)
	if !known.IsZero() {
		at = known.UnixMicro()
	}
	var out Standing
	err := s.engine.Read(ctx, func(tx Tx) error {
		pat, err := s.lookupKey(ctx, tx, fhir.Reference{Type: "Patient", ID: patient})
		if err != nil {
			return err
		}
		if out.Facts, err = s.loadFacts(ctx, tx, pat, at, s.custodian); err != nil {
			return err
		}
		if out.Segments, err = readPatientSegments(ctx, tx, pat); err != nil {
			return err
		}
		out.Terms, err = s.loadTerms(ctx, tx, at)
		return err
	})
	return out, err
}
