package store

import "trellis/fhir"

// stays holds what a change writes to the one compartment its writer is confined to. The resource itself has to name
// the patient: what its targets are filed under, as a Provenance would be, may be hidden and is not told.
func (w *writer) stays(c Change) error {
	if c.Only == "" || c.Resource == nil {
		return nil
	}
	about := w.s.registry.Patients(withID(c.Resource, c.ID), w.s.base)
	if len(about) != 1 || about[0].ID != c.Only {
		return ErrOutside
	}
	return nil
}

// confined hides a stored record that is not about one patient alone from a writer who may reach only that one.
func (w *writer) confined(h head, only string) error {
	if only == "" {
		return nil
	}
	key, err := w.key(fhir.Reference{Type: "Patient", ID: only})
	if err != nil {
		return err
	}
	if h.pat != key || h.npat != 1 {
		return ErrNotFound
	}
	return nil
}
