package intake

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// beside stores a resource of the merged record together with what was added to it elsewhere and the mapping does not know,
// and what was changed elsewhere that no rule carries back, where the record makes that as before.
func (m *merging) beside(r mapping.Resource, head store.Kept, merged *mapping.Merged) (store.Change, error) {
	if head.Resource == nil {
		if m.again {
			return m.changeAgain(m.view, r)
		}
		res, err := m.desk.parser.Parse(r.JSON)
		if err != nil {
			return store.Change{}, m.invalid(r.Type, err)
		}
		return m.change(r, res, label.Given{}), nil
	}
	doc, lost, err := m.additions(r, head, merged)
	if err != nil {
		return store.Change{}, err
	}
	m.out.merge.Conflicts = append(m.out.merge.Conflicts, lost...)
	same, err := sameContent(doc, head.Resource.JSON)
	if err != nil {
		return store.Change{}, err
	}
	if same { // in the spelling it is stored in: no new version
		return m.change(r, head.Resource, head.Given), nil
	}
	res, err := m.desk.parser.Parse(doc)
	if err != nil {
		return store.Change{}, m.invalid(r.Type, err)
	}
	return m.change(r, res, head.Given), nil
}

// additions puts what stands beside the record's own elements into a resource; the second result is what could not stay.
func (m *merging) additions(r mapping.Resource, head store.Kept, merged *mapping.Merged) (doc []byte, lost []Conflict, err error) {
	base, err := content(m.base[referenceOf(r)].JSON)
	if err != nil {
		return nil, nil, err
	}
	theirs, err := content(head.Resource.JSON)
	if err != nil {
		return nil, nil, err
	}
	doc, err = keepAround(r.JSON, base, theirs)
	if err != nil {
		return nil, nil, err
	}
	// Elements may exclude each other (a date and a period): each has to leave a resource behind that is one.
	try := func(next []byte, err error) (bool, error) {
		if err != nil || next == nil {
			return false, err
		}
		if _, invalid := m.desk.parser.Parse(next); invalid != nil {
			return false, nil
		}
		doc = next
		return true, nil
	}
	kept := map[string]bool{}
	defer func() { m.out.merge.Kept += len(kept) }()
	for _, e := range merged.NotTaken {
		if e.Type == r.Type && e.ID == r.ID {
			stays, err := try(keepElement(doc, e.Path, base, theirs))
			if err != nil {
				return nil, nil, err
			}
			names := strings.Split(e.Path, ".")[1:]
			was, is := at(base, names), at(theirs, names)
			switch {
			case holdsUnknown(merged, e):
			case stays:
				kept[e.Path] = true
			case was != nil && mapping.Covers(is, was) && !reflect.DeepEqual(unordered(was), unordered(is)):
				lost = append(lost, Conflict{Path: e.Path, Resource: head.Reference().String(), Reason: reasonNoPlace})
			}
		}
	}
	var seen []mapping.Unknown
	for _, u := range merged.Unknown {
		if u.Type != r.Type || u.ID != r.ID || slices.ContainsFunc(seen, func(s mapping.Unknown) bool { return reflect.DeepEqual(s, u) }) {
			continue
		}
		seen = append(seen, u)
		next, left, err := mapping.Restore(doc, []mapping.Unknown{u})
		if err != nil {
			return nil, nil, err
		}
		if len(left) > 0 {
			next, err = keepElement(doc, topList(u.Path), base, theirs)
		}
		stays, err := try(next, err)
		if err != nil {
			return nil, nil, err
		}
		if !stays {
			c := Conflict{Path: u.Path, Resource: head.Reference().String(), Reason: reasonNoPlace}
			if at(base, strings.Split(u.Path, ".")[1:]) != nil {
				c.Reason = reasonBoth
			}
			lost = append(lost, c)
			continue
		}
		kept[u.Path] = true
	}
	return doc, lost, nil
}

// topList is a path up to its first list.
func topList(path string) string {
	at, _, _ := strings.Cut(path, "[")
	return at
}

// keepElement puts an element as it was made elsewhere in the place of the record's, where the record makes that as before;
// nil where it does not.
func keepElement(doc []byte, path string, base, theirs map[string]any) ([]byte, error) {
	body, err := decode(doc)
	if err != nil {
		return nil, err
	}
	names := strings.Split(path, ".")[1:]
	if len(names) == 0 {
		return nil, nil
	}
	value := at(theirs, names)
	if !reflect.DeepEqual(unordered(at(base, names)), unordered(at(body, names))) {
		was, ok1 := at(base, names).([]any)
		is, ok2 := at(body, names).([]any)
		list, ok3 := value.([]any)
		if !ok1 || !ok2 || !ok3 {
			return nil, nil
		}
		if value = keepItems(was, is, list); value == nil {
			return nil, nil
		}
	}
	parent := body
	for _, name := range names[:len(names)-1] {
		next, ok := parent[name].(map[string]any)
		if !ok {
			return nil, nil
		}
		parent = next
	}
	last := names[len(names)-1]
	if value != nil {
		parent[last] = value
	} else {
		delete(parent, last)
	}
	return json.Marshal(body)
}

// keepItems puts items of a list that were added to elsewhere in the place of the record's, where it makes those as before; nil
// when one that was added to is no longer there, or nothing of the list is as before.
func keepItems(was, is, theirs []any) any {
	out := slices.Clone(is)
	some := false
	for _, item := range theirs {
		same := func(v any) bool { return reflect.DeepEqual(unordered(v), unordered(item)) }
		i := slices.IndexFunc(was, func(v any) bool { return mapping.Covers(item, v) })
		if i < 0 || slices.ContainsFunc(was, same) {
			continue // not one of ours, or as it was
		}
		j := slices.IndexFunc(out, func(v any) bool { return reflect.DeepEqual(unordered(v), unordered(was[i])) })
		if j < 0 {
			return nil
		}
		out[j], some = item, true
	}
	if !some {
		return nil
	}
	return out
}

func at(body map[string]any, names []string) any {
	var v any = body
	for _, name := range names {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// unordered is a value with its lists in one order: what is read back from resources may have another one than the record.
func unordered(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for name, kid := range x {
			out[name] = unordered(kid)
		}
		return out
	case []any:
		texts := make([]string, len(x))
		for i, kid := range x {
			text, err := json.Marshal(unordered(kid))
			if err != nil { // decoded JSON has no such value
				return v
			}
			texts[i] = string(text)
		}
		slices.Sort(texts)
		return texts
	}
	return v
}

// keepAround keeps what was added elsewhere to what Back does not read: tags and extensions of meta, and what a generated
// narrative holds besides its text. What profiles a resource claims is for the mapping to say: it knows what it makes; labels
// are the store's; and a narrative is made anew from what it shows.
func keepAround(doc []byte, base, theirs map[string]any) ([]byte, error) {
	body, err := decode(doc)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, names := range [][]string{{"meta", "tag"}, {"meta", "extension"}, {"text", "extension"}} {
		was, _ := at(base, names).([]any)
		list, _ := at(theirs, names).([]any)
		for _, item := range list {
			same := func(v any) bool { return reflect.DeepEqual(v, item) }
			if slices.ContainsFunc(was, same) {
				continue
			}
			parent, ok := body[names[0]].(map[string]any)
			if !ok && names[0] == "text" {
				continue // there is no narrative any more
			}
			if !ok {
				parent = map[string]any{}
				body[names[0]] = parent
			}
			if have, _ := parent[names[1]].([]any); !slices.ContainsFunc(have, same) {
				parent[names[1]], changed = append(have, item), true
			}
		}
	}
	if !changed {
		return doc, nil
	}
	return json.Marshal(body)
}

// conflict notes a place of the record that cannot be as both sides have it, with the resource it is about: of those that were
// changed the one the place is made into, or was.
func (m *merging) conflict(pointer, reason string, native []byte) {
	m.out.merge.Conflicts = append(m.out.merge.Conflicts, Conflict{Pointer: pointer, Resource: m.resourceOf(pointer, native).String(), Reason: reason})
}

func (m *merging) resourceOf(pointer string, native []byte) fhir.Reference {
	var found []fhir.Reference
	for _, record := range [][]byte{native, m.sent.View} {
		found = append(found, m.madeOf(record, pointer)...)
	}
	for _, ref := range slices.Concat(found, m.baseOrder) {
		if m.changed(ref) {
			return ref
		}
	}
	for _, ref := range found {
		return ref
	}
	return referenceOf(m.record.Resources[0])
}

// madeOf lists the record's own resources into which a place of it goes.
func (m *merging) madeOf(record []byte, pointer string) (out []fhir.Reference) {
	place, ok := m.pack.Place(record, pointer)
	if !ok {
		return nil
	}
	env := m.env
	env.Lineage = true
	result, err := m.pack.MapJSON(env, record)
	if err != nil {
		return nil // it is not this record that says where the place goes
	}
	for _, r := range resourcesOf(result) {
		if r.Shared || r.Type == "Provenance" {
			continue
		}
		if slices.ContainsFunc(r.Lineage, func(l mapping.Lineage) bool {
			return slices.ContainsFunc(strings.Fields(l.Source), func(source string) bool { return source == place || strings.HasPrefix(source, place+"/") })
		}) {
			out = append(out, referenceOf(r))
		}
	}
	return out
}

// changed tells whether a resource is otherwise than it would be had nobody changed it.
func (m *merging) changed(ref fhir.Reference) bool {
	head, there := m.heads[ref]
	if ref.Type == "Provenance" || !there {
		return false
	}
	base, known := m.base[ref]
	if head.Deleted || !known {
		return true
	}
	was, err1 := content(base.JSON)
	is, err2 := content(head.Resource.JSON)
	return err1 != nil || err2 != nil || !reflect.DeepEqual(unordered(was), unordered(is))
}
