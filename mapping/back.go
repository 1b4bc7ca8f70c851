package mapping

import (
	"slices"
	"sort"
	"strings"
)

// Native is one native record as FHIR resources tell it.
type Native struct {
	// Map and Key name the kind of record and the record.
	Map, Key string
	// Record is the record in the shape of its schema, without the fields that FHIR does not hold. Of a CSV pack it is the
	// record assembled from rows (see Pack.Rows).
	Record map[string]any
	// Unknown are the elements that no rule of the mapping speaks of: what a partner added. They are to be kept and sent on.
	Unknown []Unknown
	// Problems name what could not be read, by element and never with a value.
	Problems []Problem

	told *native
}

// Unknown is an element of a resource, as FHIR path below it, that the mapping does not know.
type Unknown struct {
	Type, ID string
	Path     string // e.g. CarePlan.note[0]
	Value    any
}

// Back reads FHIR resources back into native records: the other direction of the same mapping files. Resources may come
// in any order; those that were not made by this pack are left alone and named in the second result. Lists come back in
// the order in which the resources tell of them. What FHIR does not hold (ignored fields, what only shaped something else)
// is not in the records: Merge puts it back from the record as it is kept.
func (p *Pack) Back(env Env, resources [][]byte) ([]Native, []string, error) {
	es := p.prepare(env)
	set := map[string]*located{}
	var all []*located
	var foreign []string
	for _, data := range resources {
		v, err := decodeJSON(data)
		if err != nil {
			return nil, nil, err
		}
		body, ok := v.(map[string]any)
		if !ok {
			return nil, nil, &InvalidError{Problems: []Problem{{Code: "not-fhir", Text: "a resource must be a JSON object"}}}
		}
		l := p.locate(es, body)
		ref := l.typ + "/" + l.id
		if set[ref] != nil {
			continue
		}
		set[ref] = l
		if len(l.found) == 0 && l.provenance == nil {
			foreign = append(foreign, ref)
			continue
		}
		all = append(all, l)
	}
	var out []Native
	for _, m := range p.maps {
		for _, key := range m.keysOf(all) {
			out = append(out, m.back(es, key, set, all))
		}
	}
	return out, foreign, nil
}

// A located resource is one whose place in the mapping its identifier tells.
type located struct {
	typ, id string
	body    map[string]any
	found   []finding
	// provenance is the record kind that this Provenance speaks of, and key its record.
	provenance *recordMap
	key        string
}

// A finding is one emission that can have made a resource: shared resources can come from several.
type finding struct {
	m     *recordMap
	em    *emission
	key   string   // the key its identifier was made of
	parts []string // the same, field by field
	keys  []string // loop keys
	own   bool     // it is known by the record's key
}

// locate finds out which emissions can have made a resource.
func (p *Pack) locate(es *envState, body map[string]any) *located {
	l := &located{body: body}
	l.typ, _ = body["resourceType"].(string)
	l.id, _ = body["id"].(string)
	if l.typ == "Provenance" {
		l.provenance, l.key = p.provenanceOf(es, body)
		return l
	}
	for _, m := range p.maps {
		for i := range m.emissions {
			em := &m.emissions[i]
			if em.resource != l.typ {
				continue
			}
			for _, value := range identifierValues(body["identifier"], es.idSystem(em.record)) {
				l.found = append(l.found, m.findings(em, value)...)
			}
		}
	}
	l.found = likelyFindings(l.found, func(f *finding) bool {
		return es.id(f.em.resource, f.em.record, f.key, f.em.idSlot(f.keys)) == l.id
	})
	return l
}

// likelyFindings keeps those that the id, which is made of the parts, proves right. Where a partner gave the resource an
// id of its own, a value that names a slot is taken to mean it, and every other reading stands.
func likelyFindings(all []finding, made func(*finding) bool) []finding {
	var sure, named []finding
	for i := range all {
		if made(&all[i]) {
			sure = append(sure, all[i])
		}
		if !all[i].em.main {
			named = append(named, all[i])
		}
	}
	switch {
	case len(sure) > 0:
		return sure
	case len(named) > 0:
		return named
	}
	return all
}

func identifierValues(v any, system string) []string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, item := range list {
		m, _ := item.(map[string]any)
		if value, ok := m["value"].(string); ok && m["system"] == system {
			out = append(out, value)
		}
	}
	return out
}

// findings takes an identifier's value apart. Keys are what organisations choose, so a value can be cut in several
// places.
func (m *recordMap) findings(em *emission, value string) []finding {
	var cuts []finding
	if em.main {
		cuts = append(cuts, finding{m: m, em: em, key: value})
	} else {
		mark := "#" + em.slot
		for at := strings.LastIndex(value, mark); at >= 0; at = strings.LastIndex(value[:at], mark) {
			rest := value[at+len(mark):]
			if rest == "" || rest[0] == ':' {
				cuts = append(cuts, finding{m: m, em: em, key: value[:at], keys: cutKeys(strings.TrimPrefix(rest, ":"), len(em.loops))})
			}
		}
	}
	var out []finding
	for _, f := range cuts {
		if f.complete() {
			out = append(out, f)
		}
	}
	return out
}

// complete fills in the parts of the key and the loop keys; false when the value cannot be one of this emission.
func (f *finding) complete() bool {
	paths := f.em.key
	if paths == nil {
		paths = f.m.key
	}
	f.own = f.em.record == f.m.name && slices.EqualFunc(paths, f.m.key, func(a, b *path) bool { return a.slot == b.slot && a.text == b.text })
	f.parts = cutKey(f.key, len(paths))
	if f.parts == nil {
		return false
	}
	if f.em.main && len(f.em.loops) > 0 {
		// The bare key is all there is: the loop keys are among its fields.
		for i := range f.em.loops {
			key, ok := f.loopKeyFrom(paths, &f.em.loops[i])
			if !ok {
				return false
			}
			f.keys = append(f.keys, key)
		}
	}
	return len(f.keys) == len(f.em.loops)
}

func (f *finding) loopKeyFrom(paths []*path, l *loop) (string, bool) {
	var parts []string
	for _, want := range l.key {
		for i, p := range paths {
			if p.slot == want.slot && p.text == want.text {
				parts = append(parts, f.parts[i])
			}
		}
	}
	if l.expr != nil || len(parts) != len(l.key) {
		return "", false
	}
	return joinKey(parts), true
}

// keysOf lists the records of this kind that the resources tell of.
func (m *recordMap) keysOf(all []*located) []string {
	seen := map[string]bool{}
	var out []string
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			out = append(out, key)
		}
	}
	for _, l := range all {
		for _, f := range l.found {
			if f.m == m && f.own {
				add(f.key)
			}
		}
		if l.provenance == m {
			add(l.key)
		}
	}
	return out
}

// A back is the reading of one record.
type back struct {
	run     // placeholders, environment, element path and the predicates' variables
	set     map[string]*located
	root    *native
	at      []*bound // by loop variable
	queue   []reached
	reached map[*emission]map[string]bool
	known   map[*located]bool // reached as anything
	later   []func() bool
	groups  []*group
	unknown []Unknown
	current *located
}

// A bound loop variable stands for an item, or for a group of items.
type bound struct {
	item  *native
	group *group
	tree  string // schema path of the item
}

// A group is the view of those items of a list that agree in a field.
type group struct {
	list       *native
	tree       string // schema path of the list
	field      string
	key, first *native
	items      []*native
	within     *group // the group whose items this one groups further
}

// share gives a new item what its group, and the groups around it, agree in.
func (g *group) share(item *native) {
	for at := g; at != nil; at = at.within {
		item.share(at.field, at.key)
	}
}

// joined notes that an item stands in the group and those around it.
func (g *group) joined(item *native) {
	for at := g; at != nil; at = at.within {
		at.items = append(at.items, item)
	}
}

// reached is a resource to be read as this finding.
type reached struct {
	l *located
	f finding
}

// back reads one record.
func (m *recordMap) back(es *envState, key string, set map[string]*located, all []*located) Native {
	b := &back{
		run: run{m: m, env: es, vars: make([]binding, len(m.varSlot))}, set: set, root: &native{},
		at: make([]*bound, len(m.varSlot)), reached: map[*emission]map[string]bool{}, known: map[*located]bool{},
	}
	for i, part := range cutKey(key, len(m.key)) {
		b.put(m.key[i], part)
	}
	var provenance *located
	for _, l := range all {
		if l.provenance == m && l.key == key {
			provenance = l
		}
		for _, f := range l.found {
			if f.m == m && f.own && f.key == key {
				b.reach(l, f)
			}
		}
	}
	// The resource that bears the record's bare key tells first: its lists have the order of the record.
	sort.SliceStable(b.queue, func(i, j int) bool { return b.queue[i].f.em.main && !b.queue[j].f.em.main })
	b.readAll()
	b.siblings(all)
	b.readAll()
	if provenance != nil {
		b.readProvenance(provenance)
		b.targets(provenance)
		b.readAll()
	}
	b.settle()
	out := Native{Map: m.name, Key: key, told: b.root, Unknown: b.unknown, Problems: b.problems}
	out.Record, _ = b.root.value().(map[string]any)
	return out
}

// readAll takes in what is queued, and what that leads to.
func (b *back) readAll() {
	for len(b.queue) > 0 {
		next := b.queue[0]
		b.queue = b.queue[1:]
		b.read(next)
	}
}

// targets reaches what nothing but the Provenance of the record points at, where there is no doubt what it is.
func (b *back) targets(provenance *located) {
	list, _ := provenance.body["target"].([]any)
	for _, e := range list {
		typ, id := b.target(e)
		l := b.set[typ+"/"+id]
		if l == nil || b.known[l] {
			continue
		}
		var mine []finding
		for _, f := range l.found {
			if f.m == b.m && !f.own && len(f.keys) == 0 {
				mine = append(mine, f)
			}
		}
		if len(mine) == 1 {
			b.reach(l, mine[0])
		}
	}
}

// siblings reaches resources that have a key of their own into which the record's key goes (a goal, by plan and goal).
func (b *back) siblings(all []*located) {
	for _, l := range all {
		for _, f := range l.found {
			if f.m != b.m || f.own || !b.keyed(&f) {
				continue
			}
			b.reach(l, f)
		}
	}
}

// keyed tells whether all fields of the record's key are in the finding's key, with the record's values.
func (b *back) keyed(f *finding) bool {
	if f.em.key == nil {
		return false
	}
	for _, want := range b.m.key {
		ok := false
		for i, p := range f.em.key {
			if p.slot == want.slot && p.text == want.text {
				text, known := b.text(want)
				ok = known && text == f.parts[i]
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// reach queues a resource, once as each emission.
func (b *back) reach(l *located, f finding) {
	id := f.em.idSlot(f.keys) + "\x1f" + f.key
	if b.reached[f.em] == nil {
		b.reached[f.em] = map[string]bool{}
	}
	if b.reached[f.em][id] {
		return
	}
	b.reached[f.em][id], b.known[l] = true, true
	b.queue = append(b.queue, reached{l, f})
}

// read takes one resource in.
func (b *back) read(next reached) {
	em := next.f.em
	b.current = next.l
	for i := range b.at {
		b.at[i] = nil
	}
	if em.derived {
		b.readDerived(next)
		return
	}
	for i := range em.loops {
		if !b.enter(&em.loops[i], next.f.keys[i]) {
			return
		}
	}
	if em.key != nil {
		for i, p := range em.key {
			b.put(p, next.f.parts[i])
		}
	}
	b.assume(em.test, true)
	for i := range em.loops {
		b.assume(em.loops[i].where, true)
	}
	b.elem = append(b.elem[:0], em.resource...)
	body := make(map[string]any, len(next.l.body))
	for k, v := range next.l.body {
		switch k {
		case "resourceType", "id", "meta":
		case "identifier":
			b.identifiers(em, v)
		case "text":
			if written(asObject(v).fields) {
				b.leave("text", v)
			}
		default:
			body[k] = v
		}
	}
	em.set.backFields(b, body)
}

// readDerived takes nothing over from a computed resource, which is made anew each time, but keeps the elements that a
// partner added to it.
func (b *back) readDerived(next reached) {
	b.elem = append(b.elem[:0], next.f.em.resource...)
	for _, name := range sortedKeys(next.l.body) {
		switch name {
		case "resourceType", "id", "meta", "identifier", "text":
		default:
			if !next.f.em.set.has(name) {
				b.leave(name, next.l.body[name])
			}
		}
	}
}

// identifiers reads those beside the resource's own.
func (b *back) identifiers(em *emission, v any) {
	list, ok := v.([]any)
	if !ok {
		return
	}
	var others []any
	for _, item := range list {
		m, _ := item.(map[string]any)
		if m["system"] != b.env.idSystem(em.record) {
			others = append(others, item)
		}
	}
	if len(others) == 0 {
		return
	}
	here := b.pushName("identifier")
	if em.more == nil {
		em.more = &listNode{}
	}
	em.more.back(b, others)
	b.pop(here)
}

// enter binds a loop variable to the item with this key, making it when it is not there.
func (b *back) enter(l *loop, key string) bool {
	if l.expr != nil {
		return false
	}
	list, tree := b.place(l.from)
	if l.group != "" {
		g := b.groupOf(list, tree, l.group, key)
		g.within = b.groupAt(l.from)
		b.at[l.slot] = &bound{group: g, tree: tree}
		return true
	}
	item := &native{}
	b.at[l.slot] = &bound{item: item, tree: tree + "[]"}
	parts := cutKey(key, len(l.key))
	if parts == nil {
		return false
	}
	for i, p := range l.key {
		b.put(p, parts[i])
	}
	b.at[l.slot].item = list.add(item, b.m.listKeys, tree)
	return true
}

// groupOf finds or makes a group by its key.
func (b *back) groupOf(list *native, tree, field, key string) *group {
	for _, g := range b.groups {
		if g.list.here() == list.here() && g.field == field && g.key.scalar == any(key) {
			return g
		}
	}
	g := b.newGroup(list, tree, field)
	g.key.tell(key)
	return g
}

func (b *back) newGroup(list *native, tree, field string) *group {
	g := &group{list: list, tree: tree, field: field, key: &native{}, first: &native{}}
	b.groups = append(b.groups, g)
	return g
}

// settle runs what waited for other values until nothing moves, then gives the items of groups what their group knows.
func (b *back) settle() {
	for moved := true; moved; {
		moved = false
		rest := b.later[:0]
		for _, try := range b.later {
			if try() {
				moved = true
				continue
			}
			rest = append(rest, try)
		}
		b.later = rest
	}
	for _, g := range b.groups {
		if len(g.items) == 0 && g.key.here().scalar != nil {
			item := &native{}
			g.share(item)
			g.joined(g.list.add(item, b.m.listKeys, g.tree))
		}
		for _, item := range g.items {
			item = item.here()
			if g.key.scalar != nil && item.fields[g.field] == nil {
				item.share(g.field, g.key)
			}
			for _, name := range g.first.order {
				if have := item.fields[name]; have == nil {
					item.field(name).become(g.first.fields[name], b.m.listKeys, "")
				}
			}
		}
	}
}

// place returns the part of the record that a path names, with its schema path.
func (b *back) place(p *path) (*native, string) {
	n, tree, segs := b.root, "", p.segs
	if p.slot >= 0 {
		at := b.at[p.slot]
		if at == nil {
			return &native{}, "" // a variable nobody bound: what is told of it goes nowhere
		}
		n, tree = at.item, at.tree
		if g := at.group; g != nil && len(segs) > 0 {
			switch segs[0] {
			case groupKey:
				return g.key, below(tree+"[]", g.field)
			case groupFirst:
				n, tree = g.first, tree+"[]"
			case groupItems:
				return g.list, tree
			}
			segs = segs[1:]
		}
	}
	for _, s := range segs {
		n, tree = n.field(s), below(tree, s)
	}
	return n.here(), tree
}

// put tells the record a scalar at a path, in the type the schema asks for.
func (b *back) put(p *path, text string) {
	v, ok := typed(text, p.tree)
	if !ok {
		b.say("bad-value", "cannot be what the native field holds; it was not taken over")
		return
	}
	n, _ := b.place(p)
	n.tell(v)
}

// text is what the record is known to hold at a path.
func (b *back) text(p *path) (string, bool) {
	n, _ := b.place(p)
	return scalar(n.here().scalar)
}

// leave keeps an element that no rule speaks of.
func (b *back) leave(name string, v any) {
	here := len(b.elem)
	if name != "" {
		here = b.pushName(name)
	}
	u := Unknown{Path: string(b.elem), Value: v}
	if b.current != nil {
		u.Type, u.ID = b.current.typ, b.current.id
	}
	b.unknown = append(b.unknown, u)
	b.pop(here)
}

// say reports the element being read.
func (b *back) say(code, text string) {
	b.problems = append(b.problems, Problem{Code: code, Pointer: string(b.elem), Text: text})
}

// provenanceOf tells which record a Provenance of ours speaks of.
func (p *Pack) provenanceOf(es *envState, body map[string]any) (*recordMap, string) {
	entities, _ := body["entity"].([]any)
	for _, e := range entities {
		entity, _ := e.(map[string]any)
		what, _ := entity["what"].(map[string]any)
		for _, m := range p.maps {
			for _, key := range identifierValues(what["identifier"], es.idSystem(m.name)) {
				if m.provenance != nil && entity["role"] == "source" && cutKey(key, len(m.key)) != nil {
					return m, key
				}
			}
		}
	}
	return nil, ""
}

// readProvenance takes over when the record was recorded and who wrote it.
func (b *back) readProvenance(l *located) {
	b.current = l
	rule := b.m.provenance
	b.elem = append(b.elem[:0], "Provenance"...)
	if v, ok := l.body["recorded"]; ok && rule.recorded.match(b, v) {
		here := b.pushName("recorded")
		rule.recorded.back(b, v)
		b.pop(here)
	}
	agents, _ := l.body["agent"].([]any)
	if len(agents) == 0 || rule.author == nil {
		return
	}
	first, _ := agents[0].(map[string]any)
	if who, ok := first["who"]; ok && rule.author.match(b, who) {
		here := b.pushName("agent[0].who")
		rule.author.back(b, who)
		b.pop(here)
	}
}

// joinKey puts the fields of a key into one text; cutKey takes it apart again, nil when it has another number of fields.
func joinKey(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return joinEscaped(parts, "|", "%7C")
}

func cutKey(key string, n int) []string {
	if n == 1 {
		return []string{key}
	}
	if parts := cutEscaped(key, "|", "%7C"); len(parts) == n {
		return parts
	}
	return nil
}

// joinKeys and cutKeys do the same for the keys of nested loops.
func joinKeys(keys []string) string {
	if len(keys) == 1 {
		return keys[0]
	}
	return joinEscaped(keys, "/", "%2F")
}

func cutKeys(text string, n int) []string {
	if n > 1 {
		return cutEscaped(text, "/", "%2F")
	}
	if n == 0 && text == "" {
		return nil
	}
	return []string{text}
}

func joinEscaped(parts []string, by, escaped string) string {
	out := strings.Join(parts, by)
	if strings.Count(out, by) == len(parts)-1 && !strings.Contains(out, "%") {
		return out
	}
	r := strings.NewReplacer("%", "%25", by, escaped)
	var b strings.Builder
	for i, s := range parts {
		if i > 0 {
			b.WriteString(by)
		}
		b.WriteString(r.Replace(s))
	}
	return b.String()
}

func cutEscaped(text, by, escaped string) []string {
	parts := strings.Split(text, by)
	if !strings.Contains(text, "%") {
		return parts
	}
	r := strings.NewReplacer("%25", "%", escaped, by)
	for i := range parts {
		parts[i] = r.Replace(parts[i])
	}
	return parts
}
