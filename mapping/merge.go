package mapping

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Merged is what became of a partner's changes to a record's FHIR resources.
type Merged struct {
	// Record is the native record with every change that could be taken over. It follows the schema.
	Record map[string]any `json:"record"`
	// Taken are the places of the native record that were changed.
	Taken []Change `json:"taken"`
	// Conflicts are for a person: both sides changed a place, or the partner said two things of it. The record keeps ours.
	Conflicts []Change `json:"conflicts"`
	// NotTaken are the elements that the partner changed and that no rule can carry back.
	NotTaken []Element `json:"notTaken"`
	// Unknown are the elements that the mapping does not know: see Restore.
	Unknown []Unknown `json:"unknown"`
}

// Change is one place of a native record: what it was when the partner saw it, what it is here, and what the partner made
// of it. A nil value means absent. Values are the record's own: they go to its keeper and into no log.
type Change struct {
	Pointer string `json:"pointer"` // JSON pointer; items of lists with a key are named by it: /goals/[g1]/status
	Base    any    `json:"base"`
	Ours    any    `json:"ours"`
	Theirs  any    `json:"theirs"`
	Reason  string `json:"reason,omitempty"`
}

// Element is a place in a resource.
type Element struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Path string `json:"path"`
}

// Merge brings changes that a partner made to a record's resources back into the native record, three ways: base is the
// record as it was mapped when the partner read it, current as it is now, incoming the resources as the partner has them
// now (those that did not change may be left out), deleted the references of those it removed. A change is taken where we have not changed the same place since; what
// the partner cannot see (fields that are not carried, private entries) is not touched. Records are JSON of a JSON pack.
//
// Where both sides changed a place, where the partner changed one of two elements that tell the same and left the other
// with a third value, or where a change would break the schema, the place is a conflict and stays as it is.
func (p *Pack) Merge(env Env, base, current []byte, incoming [][]byte, deleted []string) (*Merged, error) {
	was, err := p.MapJSON(env, base)
	if err != nil {
		return nil, err
	}
	now, err := p.record(current)
	if err != nil {
		return nil, err
	}
	old, err := p.record(base)
	if err != nil {
		return nil, err
	}
	if len(was.Records) == 0 {
		return nil, &InvalidError{Problems: []Problem{{Code: "not-one-record", Text: "the base record is one that is not carried: there is nothing a partner can have changed"}}}
	}
	var bodies [][]byte
	for _, r := range was.Records[0].Resources {
		bodies = append(bodies, r.JSON)
	}
	seen, err := p.only(env, bodies)
	if err != nil {
		return nil, err
	}
	theirs, err := overlaid(bodies, incoming, deleted)
	if err != nil {
		return nil, err
	}
	told, displaced, err := p.legible(env, theirs, bodies)
	if err != nil {
		return nil, err
	}
	if told.Key != seen.Key {
		return nil, &InvalidError{Problems: []Problem{{Code: "other-record", Text: "the resources are of another record"}}}
	}
	m := &merger{pack: p, keys: p.maps[0].listKeys, out: &Merged{
		Taken: []Change{}, Conflicts: []Change{}, NotTaken: []Element{}, Unknown: told.Unknown,
	}}
	m.choose(told.told, seen.Record, "", "")
	want, _ := told.told.value().(map[string]any)
	if len(deleted) > 0 {
		m.withoutRests(want)
	}
	shown, err := p.shown(env, current)
	if err != nil {
		return nil, err
	}
	result := m.object("", "", spot{seen.Record, old, now, want, shown}, true)
	m.out.Record = m.valid(now, result)
	m.out.NotTaken, err = p.notTaken(env, bodies, incoming, &told, want, old)
	m.out.Unknown = told.Unknown
	m.out.NotTaken = append(m.out.NotTaken, displaced...)
	return m.out, err
}

// legible reads the one record that a partner's resources tell of. Where an element of ours now holds what no rule can read,
// the record is read as if it had stayed as it was, so that it does not look as if the partner had removed the value; these
// elements are the second result.
func (p *Pack) legible(env Env, theirs, base [][]byte) (Native, []Element, error) {
	told, err := p.only(env, theirs)
	if err != nil || len(told.Unknown) == 0 {
		return told, nil, err
	}
	ours, err := byRef(base)
	if err != nil {
		return Native{}, nil, err
	}
	var displaced []Element
	asBefore := slices.Clone(theirs)
	for i, b := range theirs {
		v, err := decodeJSON(b)
		if err != nil {
			return Native{}, nil, err
		}
		body := asObject(v).fields
		changed := false
		for _, u := range told.Unknown {
			segs := strings.Split(u.Path, ".")[1:]
			if u.Type != body["resourceType"] || u.ID != body["id"] || strings.Contains(u.Path, "[") || len(segs) == 0 {
				continue
			}
			from, to := asObject(ours[u.Type+"/"+u.ID]).fields, body
			for _, name := range segs[:len(segs)-1] {
				from, to = asObject(from[name]).fields, asObject(to[name]).fields
			}
			last := segs[len(segs)-1]
			if from[last] == nil || to == nil || last == "text" && len(segs) == 1 {
				continue
			}
			to[last], changed = from[last], true
			displaced = append(displaced, Element{Type: u.Type, ID: u.ID, Path: u.Path})
		}
		if changed {
			if asBefore[i], err = json.Marshal(body); err != nil {
				return Native{}, nil, err
			}
		}
	}
	if len(displaced) == 0 {
		return told, nil, nil
	}
	again, err := p.only(env, asBefore)
	again.Unknown = told.Unknown
	return again, displaced, err
}

// shown is what a partner would see of a record.
func (p *Pack) shown(env Env, record []byte) (map[string]any, error) {
	res, err := p.MapJSON(env, record)
	if err != nil {
		return nil, err
	}
	if len(res.Records) == 0 { // nothing of it is carried
		return nil, nil
	}
	var bodies [][]byte
	for _, r := range res.Records[0].Resources {
		bodies = append(bodies, r.JSON)
	}
	told, err := p.only(env, bodies)
	return told.Record, err
}

// withoutRests takes items out of lists that are nothing but the rest of an item whose resource the partner removed: they lack
// what the schema asks of one. The other resources that told of the item stay as they are.
func (m *merger) withoutRests(want map[string]any) {
	rests := map[string]bool{}
	for _, p := range m.pack.maps[0].schema.check(any(want)) {
		if p.Keyword == "required" && p.Pointer != "" {
			rests[p.Pointer] = true
		}
	}
	if len(rests) > 0 {
		m.cut(want, "", "", rests)
	}
}

func (m *merger) cut(v any, at, ptr string, gone map[string]bool) {
	for name, kid := range asObject(v).fields {
		list, ok := kid.([]any)
		if !ok {
			m.cut(kid, below(at, name), ptr+"/"+escapePointer(name), gone)
			continue
		}
		here := below(at, name)
		kept := []any{}
		for i, item := range list {
			itemPtr := ptr + "/" + escapePointer(name) + "/" + itoa(i)
			if gone[itemPtr] && len(m.keys[here]) > 0 {
				continue
			}
			m.cut(item, here+"[]", itemPtr, gone)
			kept = append(kept, item)
		}
		asObject(v).fields[name] = kept
	}
}

// record decodes and checks a native record.
func (p *Pack) record(data []byte) (map[string]any, error) {
	v, err := decodeJSON(data)
	if err != nil {
		return nil, err
	}
	if problems := p.maps[0].schema.check(v); len(problems) > 0 {
		return nil, &InvalidError{Problems: problems}
	}
	rec, _ := v.(map[string]any)
	p.maps[0].tree.listed(rec)
	return rec, nil
}

// only reads back the one record that resources tell of.
func (p *Pack) only(env Env, bodies [][]byte) (Native, error) {
	got, _, err := p.Back(env, bodies)
	if err != nil {
		return Native{}, err
	}
	if len(got) != 1 {
		return Native{}, &InvalidError{Problems: []Problem{{Code: "not-one-record", Text: fmt.Sprintf("the resources tell of %d records, not of one", len(got))}}}
	}
	return got[0], nil
}

// overlaid puts incoming resources in place of those they are versions of and leaves out the deleted ones.
func overlaid(base, incoming [][]byte, deleted []string) ([][]byte, error) {
	at := map[string]int{}
	var out [][]byte
	for _, b := range base {
		ref, err := referenceOf(b)
		if err != nil {
			return nil, err
		}
		if slices.Contains(deleted, ref) {
			continue
		}
		at[ref] = len(out)
		out = append(out, b)
	}
	for _, b := range incoming {
		ref, err := referenceOf(b)
		if err != nil {
			return nil, err
		}
		if i, ok := at[ref]; ok {
			out[i] = b
			continue
		}
		out = append(out, b)
	}
	return out, nil
}

func referenceOf(body []byte) (string, error) {
	var head struct{ ResourceType, ID string }
	if err := json.Unmarshal(body, &head); err != nil || head.ResourceType == "" {
		return "", &InvalidError{Problems: []Problem{{Code: "not-fhir", Text: "is not a FHIR resource"}}}
	}
	return head.ResourceType + "/" + head.ID, nil
}

// A merger walks the base as the partner saw it (seen), the base, the current record and what the partner wants, in step.
type merger struct {
	pack *Pack
	keys listKeys
	out  *Merged
}

type object struct{ fields map[string]any }

func asObject(v any) object {
	m, _ := v.(map[string]any)
	return object{m}
}

// choose settles places for which several elements told different values: the one that is not what it was is the change.
func (m *merger) choose(n *native, seen any, at, ptr string) {
	n = n.here()
	if len(n.other) > 0 {
		changed := slices.DeleteFunc(append([]any{n.scalar}, n.other...), func(v any) bool { return sameScalar(v, seen) })
		switch {
		case len(changed) == 1:
			n.scalar = changed[0]
		default:
			m.out.Conflicts = append(m.out.Conflicts, Change{Pointer: ptr, Base: seen, Ours: seen, Theirs: changed[0], Reason: "the partner's resources say several things of it"})
			n.scalar = seen
		}
		n.other = nil
	}
	was, _ := seen.(map[string]any)
	for _, name := range n.order {
		m.choose(n.fields[name], was[name], below(at, name), ptr+"/"+escapePointer(name))
	}
	list, _ := seen.([]any)
	for i, item := range n.items {
		var before any
		for _, s := range list {
			if v, ok := item.value().(map[string]any); ok && m.name(at, v) != "" && m.name(at, v) == m.name(at, asObject(s).fields) {
				before = s
			}
		}
		m.choose(item, before, at+"[]", ptr+"/"+itoa(i))
	}
}

// name is the key of an item of the list at a schema path, "" when the list has none.
func (m *merger) name(at string, item map[string]any) string {
	keys := m.keys[at]
	if len(keys) == 0 {
		return ""
	}
	var parts []string
	for _, segs := range keys {
		var v any = item
		for _, s := range segs {
			v = asObject(v).fields[s]
		}
		text, ok := scalar(v)
		if !ok {
			return ""
		}
		parts = append(parts, text)
	}
	return joinKey(parts)
}

// A spot holds what stands at one place of the record: as the partner saw it, in the base, here, as the partner wants it, and
// as the partner would see ours now.
type spot struct{ seen, base, ours, theirs, shown any }

// below is the spot of a field.
func (p spot) below(name string) spot {
	in := func(v any) any { return asObject(v).fields[name] }
	return spot{in(p.seen), in(p.base), in(p.ours), in(p.theirs), in(p.shown)}
}

// object merges one object; the result is nil when nothing is left of it.
func (m *merger) object(at, ptr string, p spot, root bool) map[string]any {
	out := maps.Clone(asObject(p.ours).fields)
	if out == nil {
		out = map[string]any{}
	}
	theirs := asObject(p.theirs).fields
	names := slices.Collect(maps.Keys(theirs))
	for name := range asObject(p.seen).fields {
		if _, ok := theirs[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		v := m.value(below(at, name), ptr+"/"+escapePointer(name), p.below(name))
		if v == nil {
			delete(out, name)
			continue
		}
		out[name] = v
	}
	if !root && allEmpty(out) {
		return nil
	}
	return out
}

// allEmpty tells whether nothing is left of an object but lists and objects without anything in them.
func allEmpty(fields map[string]any) bool {
	for _, v := range fields {
		if !empty(v) {
			return false
		}
	}
	return true
}

func (m *merger) value(at, ptr string, p spot) any {
	if same(p.seen, p.theirs) {
		return p.ours
	}
	_, list := firstOf(p.theirs, p.seen).([]any)
	_, obj := firstOf(p.theirs, p.seen).(map[string]any)
	switch {
	case list && len(m.keys[at]) > 0:
		return m.keyed(at, ptr, p)
	case list:
		return m.set(ptr, p)
	case obj && (p.ours != nil || p.base == nil):
		if out := m.object(at, ptr, p, false); out != nil {
			return out
		}
		return nil
	}
	return m.decide(ptr, p)
}

func firstOf(a, b any) any {
	if a != nil {
		return a
	}
	return b
}

// decide settles one place that the partner changed. Ours is as it was when it is the base's, or when the partner would see
// what it saw: what it cannot see (fields that are not carried, private entries) may be different.
func (m *merger) decide(ptr string, p spot) any {
	switch {
	case same(p.ours, p.theirs):
		return p.ours
	case same(p.ours, p.base), p.ours != nil && same(p.shown, p.seen):
		m.out.Taken = append(m.out.Taken, Change{Pointer: ptr, Base: p.base, Ours: p.ours, Theirs: p.theirs})
		return p.theirs
	}
	m.out.Conflicts = append(m.out.Conflicts, Change{Pointer: ptr, Base: p.base, Ours: p.ours, Theirs: p.theirs, Reason: "both sides changed it"})
	return p.ours
}

// keyed merges a list whose items have keys: item by item, ours in their order, new ones of the partner behind them.
func (m *merger) keyed(at, ptr string, p spot) any {
	was, old, mine, want, shown := m.byName(at, p.seen), m.byName(at, p.base), m.byName(at, p.ours), m.byName(at, p.theirs), m.byName(at, p.shown)
	var out []any
	for _, name := range mine.order {
		item, itemPtr := mine.items[name], ptr+"/["+escapePointer(name)+"]"
		partner, stays := want.items[name]
		_, wasSeen := was.items[name]
		here := spot{was.items[name], old.items[name], item, partner, shown.items[name]}
		switch {
		case !stays && wasSeen:
			if left := m.decide(itemPtr, here); left != nil {
				out = append(out, left)
			}
		case stays:
			if v := m.value(at+"[]", itemPtr, here); v != nil {
				out = append(out, v)
			}
		default:
			out = append(out, item) // the partner cannot see it
		}
	}
	for _, name := range want.order {
		if _, here := mine.items[name]; here {
			continue
		}
		_, wasSeen := was.items[name]
		if wasSeen && same(was.items[name], want.items[name]) {
			continue // we took it out, the partner left it as it was
		}
		if v := m.decide(ptr+"/["+escapePointer(name)+"]", spot{was.items[name], old.items[name], nil, want.items[name], nil}); v != nil {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

type named struct {
	order []string
	items map[string]any
}

func (m *merger) byName(at string, v any) named {
	list, _ := v.([]any)
	out := named{items: map[string]any{}}
	for _, item := range list {
		name := m.name(at, asObject(item).fields)
		if _, dup := out.items[name]; dup {
			continue
		}
		out.order = append(out.order, name)
		out.items[name] = item
	}
	return out
}

// set merges a list without keys: as a set of scalars where it is one, else as a whole.
func (m *merger) set(ptr string, p spot) any {
	was, ok1 := scalars(p.seen)
	want, ok2 := scalars(p.theirs)
	mine, ok3 := scalars(p.ours)
	if !ok1 || !ok2 || !ok3 {
		return m.decide(ptr, p)
	}
	out, _ := p.ours.([]any)
	out = slices.Clone(out)
	wanted, _ := p.theirs.([]any)
	for i, text := range want {
		if !slices.Contains(was, text) && !slices.Contains(mine, text) {
			out = append(out, wanted[i])
		}
	}
	out = slices.DeleteFunc(out, func(v any) bool {
		text, _ := scalar(v)
		return slices.Contains(was, text) && !slices.Contains(want, text)
	})
	var result any
	if len(out) > 0 {
		result = out
	}
	if !same(result, p.ours) {
		m.out.Taken = append(m.out.Taken, Change{Pointer: ptr, Base: p.base, Ours: p.ours, Theirs: p.theirs})
	}
	return result
}

func scalars(v any) ([]string, bool) {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := scalar(item)
		if !ok {
			return nil, false
		}
		out = append(out, text)
	}
	return out, true
}

// same compares decoded JSON; an empty list or object is as good as none.
func same(a, b any) bool {
	if empty(a) && empty(b) {
		return true
	}
	if x, ok := scalar(a); ok {
		y, ok := scalar(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case []any:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0
	}
	return false
}

// valid keeps the merged record if it follows the schema. Otherwise nothing is taken: a record half changed would be
// neither side's.
func (m *merger) valid(now, merged map[string]any) map[string]any {
	problems := m.pack.maps[0].schema.check(any(merged))
	if len(problems) == 0 {
		return merged
	}
	for _, c := range m.out.Taken {
		c.Reason = "taken over with the rest, the record would not follow its schema"
		m.out.Conflicts = append(m.out.Conflicts, c)
	}
	m.out.Taken = []Change{}
	return now
}
