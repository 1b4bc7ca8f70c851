package intake

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"

	"trellis/fhir"
	"trellis/mapping"
)

// removals are the deleted resources without which the record is another one: it loses an item, or a value. Each is looked at
// for itself, on the record as it was sent before: what becomes of a deletion must not depend on what else was changed.
func (m *merging) removals() (gone []string, err error) {
	m.needed, m.standing = map[fhir.Reference]bool{}, map[fhir.Reference]bool{}
	for _, ref := range m.deleted {
		if ref.Type == "Provenance" { // it is about the delivery
			continue
		}
		without, err := m.pack.Merge(m.env, m.sent.View, m.sent.View, nil, []string{ref.String()})
		switch {
		case errors.As(err, new(*mapping.InvalidError)):
			m.needed[ref] = true
			continue
		case err != nil:
			return nil, err
		case len(without.Conflicts) > 0:
			m.needed[ref] = true
			continue
		}
		still, err := m.makes(without.Record, ref)
		if err != nil {
			return nil, err
		}
		if still {
			m.standing[ref] = true
			continue
		}
		gone = append(gone, ref.String())
	}
	return gone, nil
}

func (m *merging) makes(record map[string]any, ref fhir.Reference) (bool, error) {
	doc, err := json.Marshal(record)
	if err != nil {
		return false, err
	}
	result, err := m.pack.MapJSON(m.env, doc)
	if errors.As(err, new(*mapping.InvalidError)) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(resourcesOf(result), func(r mapping.Resource) bool { return referenceOf(r) == ref }), nil
}

// staysDeleted tells of a deleted resource that the merged record still makes whether it stays deleted: if it is no part of the
// record by itself, as long as the record makes it as it did when it was deleted.
func (m *merging) staysDeleted(ref fhir.Reference, asSent mapping.Resource) bool {
	if m.needed[ref] {
		m.out.merge.Conflicts = append(m.out.merge.Conflicts, Conflict{Path: ref.Type, Resource: ref.String(), Reason: reasonNeeded})
	}
	if !m.standing[ref] {
		return false
	}
	was, err1 := content(m.base[ref].JSON)
	is, err2 := content(asSent.JSON)
	if err1 != nil || err2 != nil || !reflect.DeepEqual(unordered(was), unordered(is)) {
		m.out.merge.Conflicts = append(m.out.merge.Conflicts, Conflict{Path: ref.Type, Resource: ref.String(), Reason: reasonBoth})
		return false
	}
	m.out.merge.NotTaken = append(m.out.merge.NotTaken, mapping.Element{Type: ref.Type, ID: ref.ID, Path: ref.Type})
	return true
}
