package mapping

import (
	"sort"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// A fieldTree is the set of native fields of a record as its schema knows them. Leaves have a number, under which
// coverage is counted; a list has the shape of its items.
type fieldTree struct {
	id    int // -1 for an object or a list
	name  string
	props map[string]*fieldTree
	items *fieldTree
	enum  []string
	typ   string   // JSON type of a leaf: string unless the schema says number, integer or boolean
	kinds []string // JSON types the schema allows; none means any
	form  string   // JSON Schema format of a text, "date"
	def   string   // the schema's default as text: a record that leaves the field out means this
}

// fieldSet numbers the leaves of all records of a pack.
type fieldSet struct{ names []string }

func (s *fieldSet) leaf(name string) *fieldTree {
	s.names = append(s.names, name)
	return &fieldTree{id: len(s.names) - 1, name: name}
}

// maxSchemaDepth ends recursive schemas: deeper than this a record is not mapped anyway.
const maxSchemaDepth = 12

// tree reads the fields out of a compiled schema. Names are written like goals[].own_words.
func (s *fieldSet) tree(sc *jsonschema.Schema, name string, depth int) *fieldTree {
	for sc.Ref != nil && len(sc.Properties) == 0 && sc.Items2020 == nil {
		sc = sc.Ref
	}
	switch {
	case depth > maxSchemaDepth:
		return s.leaf(name)
	case len(sc.Properties) > 0:
		t := &fieldTree{id: -1, name: name, props: map[string]*fieldTree{}}
		keys := make([]string, 0, len(sc.Properties))
		for k := range sc.Properties {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			full := k
			if name != "" {
				full = name + "." + k
			}
			t.props[k] = s.tree(sc.Properties[k], full, depth+1)
		}
		return t
	case sc.Items2020 != nil:
		return &fieldTree{id: -1, name: name, items: s.tree(sc.Items2020, name+"[]", depth+1)}
	}
	t := s.leaf(name)
	t.kinds, t.form = sc.Types, sc.Format
	t.def, _ = scalar(sc.Default)
	for _, typ := range sc.Types {
		if typ != "null" {
			t.typ = typ
		}
	}
	for _, e := range append(sc.Enum, sc.Constant...) {
		switch v := e.(type) {
		case string:
			t.enum = append(t.enum, v)
		case bool:
			t.typ = "boolean"
		}
	}
	return t
}

// walk calls f for every leaf at or below t.
func (t *fieldTree) walk(f func(*fieldTree)) { t.walkDepth(f, 0) }

func (t *fieldTree) walkDepth(f func(*fieldTree), depth int) {
	if t == nil || depth > 2*maxSchemaDepth {
		return
	}
	if t.id >= 0 {
		f(t)
		return
	}
	t.items.walkDepth(f, depth+1)
	for _, p := range t.props {
		p.walkDepth(f, depth+1)
	}
}

// present counts, per leaf, how often the record holds a value.
func (t *fieldTree) present(v any, counts []int) {
	switch x := v.(type) {
	case nil:
	case map[string]any:
		if t.props == nil {
			t.whole(counts)
			return
		}
		for k, kid := range x {
			if p := t.props[k]; p != nil {
				p.present(kid, counts)
			}
		}
	case []any:
		if t.items == nil {
			t.whole(counts)
			return
		}
		for _, kid := range x {
			t.items.present(kid, counts)
		}
	default:
		if t.id >= 0 {
			counts[t.id]++
		}
	}
}

// whole counts a list or an object that the schema does not look into: it is a leaf, and can only be ignored.
func (t *fieldTree) whole(counts []int) {
	if t.id >= 0 {
		counts[t.id]++
	}
}

// listed puts a single value into a list of one where the schema takes either, as some formats write a list of one.
func (t *fieldTree) listed(v any) any {
	switch x := v.(type) {
	case nil:
		return nil
	case map[string]any:
		for k, kid := range x {
			if p := t.props[k]; p != nil {
				x[k] = p.listed(kid)
			}
		}
	case []any:
		if t.items != nil {
			for i, kid := range x {
				x[i] = t.items.listed(kid)
			}
		}
		return x
	}
	if t.items != nil {
		return []any{t.items.listed(v)}
	}
	return v
}

// strangers calls f for every object with fields that an open schema lets pass and does not name: how many, never which,
// for their names are the sender's.
func (t *fieldTree) strangers(v any, ptr string, f func(ptr string, count int)) {
	switch x := v.(type) {
	case map[string]any:
		if t.props == nil {
			return
		}
		count := 0
		for _, k := range sortedKeys(x) {
			if p := t.props[k]; p != nil {
				p.strangers(x[k], ptr+"/"+k, f)
			} else {
				count++
			}
		}
		if count > 0 {
			f(ptr, count)
		}
	case []any:
		if t.items == nil {
			return
		}
		for i, kid := range x {
			t.items.strangers(kid, ptr+"/"+itoa(i), f)
		}
	}
}

// names tells whether the schema names every field of a value.
func (t *fieldTree) names(v any) bool {
	switch x := v.(type) {
	case map[string]any:
		if t.props == nil {
			return true
		}
		for k, kid := range x {
			if p := t.props[k]; p == nil || !p.names(kid) {
				return false
			}
		}
	case []any:
		if t.items == nil {
			return true
		}
		for _, kid := range x {
			if !t.items.names(kid) {
				return false
			}
		}
	}
	return true
}

// find resolves a path such as client.name.first or goals[] below t; nil when the schema does not know it.
func (t *fieldTree) find(segs []string) *fieldTree {
	for _, s := range segs {
		if t == nil {
			return nil
		}
		if s == "[]" {
			t = t.items
			continue
		}
		t = t.props[s]
	}
	return t
}
