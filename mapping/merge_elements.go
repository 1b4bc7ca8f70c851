package mapping

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// notTaken lists the elements that the partner changed and that the record, as the partner's resources tell it, would not
// make so: what is computed, or shows something else's value. Where the partner's resources tell of no record of the schema,
// its changes are conflicts already; then these are the elements to which the partner has only added. An element that neither
// side's record makes is one more that the mapping does not know.
func (p *Pack) notTaken(env Env, was, incoming [][]byte, told *Native, want, base map[string]any) ([]Element, error) {
	out := []Element{}
	data, err := json.Marshal(p.filled(want, base))
	if err != nil {
		return nil, err
	}
	made, readable := was, false
	if again, err := p.MapJSON(env, data); err == nil && len(again.Records) > 0 {
		made, readable = nil, true
		for _, r := range again.Records[0].Resources {
			made = append(made, r.JSON)
		}
	}
	before, err := byRef(made)
	if err != nil {
		return nil, err
	}
	ours, err := byRef(was)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, u := range told.Unknown {
		known[u.Type+"/"+u.ID+" "+u.Path] = true
	}
	for _, b := range incoming {
		v, err := decodeJSON(b)
		if err != nil {
			return nil, err
		}
		ref, err := referenceOf(b)
		if err != nil {
			return nil, err
		}
		typ, id, _ := strings.Cut(ref, "/")
		if typ == "Provenance" {
			continue // says where its own version came from
		}
		body := asObject(v).fields
		if text := asObject(body["text"]).fields; written(text) && !known[ref+" "+typ+".text"] && !same(valueAt(ours[ref], typ+".text"), text) {
			told.Unknown = append(told.Unknown, Unknown{Type: typ, ID: id, Path: typ + ".text", Value: body["text"]})
		}
		for _, path := range different(before[ref], body, typ) {
			value := valueAt(body, path)
			if known[ref+" "+path] {
				continue
			}
			if value != nil && ours[ref] != nil && valueAt(before[ref], path) == nil && valueAt(ours[ref], path) == nil {
				told.Unknown = append(told.Unknown, Unknown{Type: typ, ID: id, Path: path, Value: value})
				continue
			}
			if readable || Covers(value, valueAt(before[ref], path)) {
				out = append(out, Element{Type: typ, ID: id, Path: path})
			}
		}
	}
	return out, nil
}

// written tells whether a person wrote a narrative: others are made anew from what they show.
func written(text map[string]any) bool {
	return text != nil && text["status"] != "generated" && text["status"] != "empty"
}

// byRef decodes resources.
func byRef(bodies [][]byte) (map[string]any, error) {
	out := map[string]any{}
	for _, b := range bodies {
		v, err := decodeJSON(b)
		if err != nil {
			return nil, err
		}
		body := asObject(v).fields
		out[fmt.Sprint(body["resourceType"], "/", body["id"])] = v
	}
	return out, nil
}

func valueAt(body any, path string) any {
	for _, name := range strings.Split(path, ".")[1:] {
		body = asObject(body).fields[name]
	}
	return body
}

// Covers tells whether a value holds all of another one.
func Covers(v, part any) bool {
	switch x := part.(type) {
	case nil:
		return true
	case map[string]any:
		fields := asObject(v).fields
		for name, kid := range x {
			if !Covers(fields[name], kid) {
				return false
			}
		}
		return fields != nil
	case []any:
		list, ok := v.([]any)
		return ok && !slices.ContainsFunc(x, func(item any) bool {
			return !slices.ContainsFunc(list, func(other any) bool { return Covers(other, item) })
		})
	}
	return same(v, part)
}

// filled adds to a record what FHIR does not hold of it, from the record it was made of.
func (p *Pack) filled(rec, base map[string]any) map[string]any {
	out := maps.Clone(base)
	for name := range out {
		if _, told := rec[name]; !told {
			if t := p.maps[0].tree.props[name]; t == nil || !p.lost(t) {
				delete(out, name)
			}
		}
	}
	for name, v := range rec {
		out[name] = v
	}
	return out
}

// lost tells whether nothing at or below a field comes back from FHIR.
func (p *Pack) lost(t *fieldTree) bool {
	all := true
	t.walk(func(leaf *fieldTree) { all = all && p.ignored[leaf.id] != "" })
	return all
}

// different lists the elements in which two versions of a resource differ, without what servers write themselves.
func different(ours, theirs any, path string) []string {
	if same(ours, theirs) || sameItems(ours, theirs) {
		return nil
	}
	a, ok1 := ours.(map[string]any)
	b, ok2 := theirs.(map[string]any)
	if !ok1 || !ok2 {
		return []string{path}
	}
	var out []string
	names := slices.Collect(maps.Keys(b))
	for name := range a {
		if _, ok := b[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	root := !strings.Contains(path, ".")
	for _, name := range names {
		if root && (name == "meta" || name == "text" || name == "id") {
			continue
		}
		out = append(out, different(a[name], b[name], path+"."+name)...)
	}
	return out
}

// sameItems tells whether two lists hold the same items in any order: a partner that sorts them has changed nothing.
func sameItems(a, b any) bool {
	x, ok1 := a.([]any)
	y, ok2 := b.([]any)
	if !ok1 || !ok2 || len(x) != len(y) {
		return false
	}
	rest := slices.Clone(y)
	for _, item := range x {
		i := slices.IndexFunc(rest, func(other any) bool { return same(item, other) })
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return true
}
