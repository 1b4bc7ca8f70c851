package mapping

import (
	"slices"
	"strings"
)

// InOrder puts the lists of a record that was read back into the order that a record has, as far as their items have keys: FHIR
// does not hold it.
func (p *Pack) InOrder(told map[string]any, record []byte) error {
	v, err := decodeJSON(record)
	if err != nil {
		return err
	}
	m := merger{pack: p, keys: p.maps[0].listKeys}
	m.inOrder(told, v, "")
	return nil
}

func (m *merger) inOrder(told, record any, at string) {
	switch x := told.(type) {
	case map[string]any:
		for name, kid := range x {
			m.inOrder(kid, asObject(record).fields[name], below(at, name))
		}
	case []any:
		if len(m.keys[at]) == 0 {
			return
		}
		list := m.byName(at, record)
		place := func(item any) int {
			if i := slices.Index(list.order, m.name(at, asObject(item).fields)); i >= 0 {
				return i
			}
			return len(list.order)
		}
		slices.SortStableFunc(x, func(a, b any) int { return place(a) - place(b) })
		for _, item := range x {
			m.inOrder(item, list.items[m.name(at, asObject(item).fields)], at+"[]")
		}
	}
}

// Place turns the pointer of a Change, in which items of lists are named by their keys, into the JSON pointer of that place in
// a record. False when the record has no such item.
func (p *Pack) Place(record []byte, pointer string) (string, bool) {
	v, err := decodeJSON(record)
	if err != nil {
		return "", false
	}
	m := merger{pack: p, keys: p.maps[0].listKeys}
	out, at := "", ""
	for _, seg := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		if list, ok := v.([]any); ok {
			i := slices.IndexFunc(list, func(item any) bool { return "["+escapePointer(m.name(at, asObject(item).fields))+"]" == seg })
			if i < 0 {
				return "", false
			}
			v, at, out = list[i], at+"[]", out+"/"+itoa(i)
			continue
		}
		name := unescapePointer(seg)
		v, at, out = asObject(v).fields[name], below(at, name), out+"/"+seg
	}
	return out, true
}
