package mapping

// An emission is one entry of a mapping's emit section: a resource, made once or once per item of a list.
type emission struct {
	leaf
	resource, slot string
	record         string  // record kind the id is made under
	key            []*path // nil: the record's own key
	keyLeaf        leaf
	keyPaths       []*path // everything the own identifier is made of
	main           bool    // its identifier is the bare record key
	shared         bool    // other records tell of the same thing
	derived        bool    // computed from the rest of the record: made anew each time, never read back
	loops          []loop
	test           *predicate
	said           leaf // what the test says of fields that can be read back
	profiles       []profile
	head           []byte // {"resourceType":"…","id":"
	set            *objectNode
	more           *listNode // identifiers beside the own one
	identifiers    identifierKind
	labels         []labelRule
}

// idSlot is the slot that goes into the id. A resource with a key of its own is known by that key alone, so that other
// records can refer to it.
func (em *emission) idSlot(keys []string) string {
	if em.key != nil || len(keys) == 0 {
		return em.slot
	}
	return em.slot + ":" + joinKeys(keys)
}

// resourceOf is the type of the resources in a slot.
func (m *recordMap) resourceOf(slot string) string {
	for i := range m.emissions {
		if m.emissions[i].slot == slot {
			return m.emissions[i].resource
		}
	}
	return ""
}

// A profile is a claim in meta.profile, made always or under a condition.
type profile struct {
	url  []byte // JSON
	test *predicate
}

type identifierKind int

const (
	identifierList identifierKind = iota
	identifierSingle
	identifierNone
)

// identifierOf tells how many identifiers a resource type holds in R4.
func identifierOf(resource string) identifierKind {
	switch resource {
	case "Provenance", "Binary", "AuditEvent", "OperationOutcome", "Parameters":
		return identifierNone
	case "QuestionnaireResponse", "Bundle", "Composition":
		return identifierSingle
	}
	return identifierList
}

// A loop is one level of `each`: a list, or a list grouped by a field. A group is bound as {key, first, items}.
type loop struct {
	from  *path
	list  int // number of the list, with its grouping
	slot  int
	group string
	key   []*path
	expr  *predicate // key computed by $derive, instead of fields
	where *predicate
}

// An instance is one resource that a record will give.
type instance struct {
	em   *emission
	id   string
	key  string    // record key its id is made under
	slot string    // slot, with the loop keys behind a colon
	keys []string  // loop keys
	at   []binding // what the loops stand at
}

// planAll decides which resources the record gives before any is built, so that references only ever point at
// resources that exist.
func (r *run) planAll(key string) {
	seen := make(map[string]bool, len(r.m.emissions))
	r.plan = make([]instance, 0, len(r.m.emissions))
	for i := range r.m.emissions {
		em := &r.m.emissions[i]
		r.planLoop(em, key, 0, nil, seen)
	}
}

func (r *run) planLoop(em *emission, key string, depth int, keys []string, seen map[string]bool) {
	if depth == len(em.loops) {
		r.planOne(em, key, keys, seen)
		return
	}
	l := &em.loops[depth]
	for _, b := range r.items(l) {
		r.vars[l.slot] = b
		if !r.test(l.where) {
			continue
		}
		k, ok := r.loopKey(l)
		if !ok {
			r.report(b.ptr, em.rule, "no-key", "has no key of its own; no "+em.resource+" was made of it", true)
			continue
		}
		r.planLoop(em, key, depth+1, append(keys[:len(keys):len(keys)], k), seen)
	}
}

func (r *run) loopKey(l *loop) (string, bool) {
	if l.expr == nil {
		return r.key(l.key)
	}
	v, ok := r.compute(l.expr)
	if !ok {
		return "", false
	}
	return scalar(v)
}

func (r *run) planOne(em *emission, key string, keys []string, seen map[string]bool) {
	if !r.test(em.test) {
		return
	}
	slot := em.slot
	if len(keys) > 0 {
		slot += ":" + joinKeys(keys)
	}
	if em.key != nil {
		own, ok := r.key(em.key)
		if !ok {
			return
		}
		key = own
	}
	id := r.env.id(em.resource, em.record, key, em.idSlot(keys))
	if seen[id] {
		ptr := ""
		if len(em.loops) > 0 {
			ptr = r.vars[em.loops[len(em.loops)-1].slot].ptr
		}
		r.report(ptr, em.rule, "duplicate-key", "has the same key as an earlier item; only the first was taken", true)
		return
	}
	seen[id] = true
	var at []binding
	for i := range em.loops {
		at = append(at, r.vars[em.loops[i].slot])
	}
	r.plan = append(r.plan, instance{em: em, id: id, key: key, slot: slot, keys: keys, at: at})
}

// items lists what a loop walks; the same each time until a check takes items out.
func (r *run) items(l *loop) []binding {
	holder := &r.memo
	if l.from.slot >= 0 {
		holder = r.vars[l.from.slot].memo
	}
	if holder == nil {
		return r.walk(l)
	}
	for _, w := range holder.lists {
		if w.list == l.list {
			return w.items
		}
	}
	items := r.walk(l)
	holder.lists = append(holder.lists, walk{l.list, items})
	return items
}

func (r *run) walk(l *loop) []binding {
	list, _ := r.value(l.from).([]any)
	if len(list) == 0 {
		return nil
	}
	base := r.pointer(l.from)
	origins := r.origins(l.from, base)
	out := make([]binding, 0, len(list))
	for i, v := range list {
		ptr := ""
		if i < len(origins) {
			ptr = origins[i]
		} else {
			ptr = base + "/" + itoa(i)
		}
		out = append(out, binding{value: v, ptr: ptr})
	}
	if l.group != "" {
		out = grouped(l.group, out)
	}
	memos := make([]memo, len(out))
	for i := range out {
		out[i].memo = &memos[i]
	}
	return out
}

// origins gives the pointers of the items of a group, or of a list that lost some: they stand elsewhere in the record.
func (r *run) origins(p *path, base string) []string {
	if len(r.moved) > 0 {
		if o, ok := r.moved[base]; ok {
			return o
		}
	}
	if p.slot < 0 || len(p.segs) != 1 || p.segs[0] != groupItems {
		return nil
	}
	return r.vars[p.slot].origins
}

// What a group is bound as.
const (
	groupKey   = "key"
	groupFirst = "first"
	groupItems = "items"
)

// grouped gathers items by a field, in the order in which each value is first seen; items without it are left out.
func grouped(field string, items []binding) []binding {
	index := map[string]int{}
	var out []binding
	for _, b := range items {
		m, _ := b.value.(map[string]any)
		key, ok := scalar(m[field])
		if !ok {
			continue
		}
		at, ok := index[key]
		if !ok {
			at = len(out)
			index[key] = at
			out = append(out, binding{ptr: b.ptr, group: field, value: map[string]any{
				groupKey: key, groupFirst: b.value, groupItems: []any{},
			}})
		}
		g := out[at].value.(map[string]any)
		g[groupItems] = append(g[groupItems].([]any), b.value)
		out[at].origins = append(out[at].origins, b.ptr)
	}
	return out
}
