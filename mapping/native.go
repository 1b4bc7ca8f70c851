package mapping

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// A native is a part of a native record while it is read back from FHIR: an object, a list or a scalar. The parts are
// shared by pointer, because several resources tell of the same item and what one of them leaves open another may settle.
type native struct {
	fields map[string]*native
	order  []string // names of fields as they were first told
	items  []*native
	scalar any // string, json.Number or bool
	// other holds values that other elements told for the same scalar: a partner changed one of two places.
	other []any
	// became is the item this one turned out to be.
	became *native
}

// here follows an item to the one it turned out to be.
func (n *native) here() *native {
	for n != nil && n.became != nil {
		n = n.became
	}
	return n
}

// field returns the named part, making it when there is none.
func (n *native) field(name string) *native {
	n = n.here()
	if kid := n.fields[name]; kid != nil {
		return kid.here()
	}
	if n.fields == nil {
		n.fields = map[string]*native{}
	}
	kid := &native{}
	n.fields[name] = kid
	n.order = append(n.order, name)
	return kid
}

// share makes a part of another item a field of this one too.
func (n *native) share(name string, part *native) {
	if n.fields == nil {
		n.fields = map[string]*native{}
	}
	n.fields[name] = part
	n.order = append(n.order, name)
}

// find returns the part at segs, nil when nothing was told of it.
func (n *native) find(segs []string) *native {
	for _, s := range segs {
		n = n.here()
		if n == nil {
			return nil
		}
		n = n.fields[s]
	}
	return n.here()
}

// tell sets a scalar. A second, different value is kept beside the first.
func (n *native) tell(v any) {
	n = n.here()
	switch {
	case n.scalar == nil:
		n.scalar = v
	case !sameScalar(n.scalar, v) && !slices.ContainsFunc(n.other, func(o any) bool { return sameScalar(o, v) }):
		n.other = append(n.other, v)
	}
}

func sameScalar(a, b any) bool {
	x, ok1 := scalar(a)
	y, ok2 := scalar(b)
	return ok1 == ok2 && x == y
}

// become turns n into what other is, adding what n knows.
func (n *native) become(other *native, keys listKeys, at string) {
	n, other = n.here(), other.here()
	if n == other {
		return
	}
	n.became = other
	if n.scalar != nil {
		other.tell(n.scalar)
		for _, o := range n.other {
			other.tell(o)
		}
	}
	for _, name := range n.order {
		kid := n.fields[name]
		if have := other.fields[name]; have != nil {
			kid.become(have, keys, below(at, name))
			continue
		}
		if other.fields == nil {
			other.fields = map[string]*native{}
		}
		other.fields[name] = kid
		other.order = append(other.order, name)
	}
	for _, item := range n.items {
		other.add(item, keys, at)
	}
}

// add puts an item into the list at a schema path; an item that is there already, by its key or as the same scalar, is
// joined with it.
func (n *native) add(item *native, keys listKeys, at string) *native {
	n, item = n.here(), item.here()
	for _, have := range n.items {
		if have.here() == item || keys.same(at, have, item) {
			item.become(have, keys, at+"[]")
			return have
		}
	}
	n.items = append(n.items, item)
	return item
}

func below(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// listKeys names, per list of the schema, the paths below an item that tell the items apart.
type listKeys map[string][][]string

// same tells whether two items are one.
func (k listKeys) same(at string, a, b *native) bool {
	a, b = a.here(), b.here()
	if a.scalar != nil || b.scalar != nil {
		return a.scalar != nil && b.scalar != nil && sameScalar(a.scalar, b.scalar)
	}
	keys := k[at]
	if len(keys) == 0 {
		return false
	}
	for _, segs := range keys {
		x, y := a.find(segs), b.find(segs)
		if x == nil || y == nil || x.scalar == nil || y.scalar == nil || !sameScalar(x.scalar, y.scalar) {
			return false
		}
	}
	return true
}

// value is the plain form of n; nil when there is nothing in it.
func (n *native) value() any {
	n = n.here()
	switch {
	case n == nil:
		return nil
	case n.scalar != nil:
		return n.scalar
	case len(n.items) > 0:
		list := make([]any, 0, len(n.items))
		for _, item := range n.items {
			if v := item.value(); v != nil {
				list = append(list, v)
			}
		}
		if len(list) == 0 {
			return nil
		}
		return list
	}
	out := map[string]any{}
	for _, name := range n.order {
		if v := n.fields[name].value(); v != nil {
			out[name] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// disputed calls f for every scalar for which different values were told, with its JSON pointer.
func (n *native) disputed(ptr string, f func(ptr string, values []any)) {
	n = n.here()
	if n == nil {
		return
	}
	if len(n.other) > 0 {
		f(ptr, append([]any{n.scalar}, n.other...))
	}
	for _, name := range n.order {
		n.fields[name].disputed(ptr+"/"+escapePointer(name), f)
	}
	for i, item := range n.items {
		item.disputed(ptr+"/"+itoa(i), f)
	}
}

// typed turns a text into the JSON type that the schema gives the field; false when it cannot be one.
func typed(text string, t *fieldTree) (any, bool) {
	switch t.typ {
	case "number", "integer":
		if !isDecimal(text) {
			return nil, false
		}
		return json.Number(text), true
	case "boolean":
		b, err := strconv.ParseBool(text)
		return b, err == nil
	}
	return text, strings.TrimSpace(text) != ""
}
