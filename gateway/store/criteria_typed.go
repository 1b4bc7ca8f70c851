package store

import "trellis/fhir/search"

// typed adds a condition on rows of one type in a search across types: its parameters are that type's.
func (w where) typed(c search.Typed) error {
	no, err := w.s.lookup(w.ctx, w.tx, dictType, c.Type)
	if err != nil {
		return err
	}
	w.b.add("("+w.row+".type_no=? AND ", no)
	w.typ = c.Type
	if err := w.add(c.Where); err != nil {
		return err
	}
	w.b.add(")")
	return nil
}
