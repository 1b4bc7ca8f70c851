package mapping

import (
	"io/fs"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// A recordMap is one compiled mapping file: how one kind of native record becomes resources.
//
//	map: peer-encounter          name of the record kind; ids are made under it
//	version: 1.0.0
//	key: session_id              field or fields that identify the record
//	include: [client.map.yaml]   files of the pack or of packs/shared with further let, check, label, emit and ignore entries
//	let:        names for expressions                                 (let.go)
//	check:      what to report or drop before anything is made        (checks.go)
//	provenance: when it was recorded, who wrote it                    (provenance.go)
//	label:      rules for every resource of the record                (labels.go)
//	emit:       the resources, each in the shape of its FHIR JSON     (plan.go, values.go)
//	ignore:     fields that are deliberately not carried, with reason
type recordMap struct {
	pack          *Pack
	name, version string
	file          string
	key           []*path
	tree          *fieldTree
	varSlot       map[string]int
	lets          []*letName
	checks        []checkRule
	labels        []labelRule
	emissions     []emission
	provenance    *provenanceRule
	assembly      *assembly // how CSV rows become records; nil for JSON packs
	schema        nativeSchema
	predicates    int      // how many predicates come out the same wherever they are asked in a record
	listKeys      listKeys // what tells the items of lists apart, as the emissions and loops say
}

// compiler turns the YAML of one mapping file into a recordMap, collecting faults.
type compiler struct {
	p     *Pack
	m     *recordMap
	file  string
	f     *faults
	scope []scopeVar
	elem  []string
	envs  map[string]*cel.Env
	// conditions are the predicates around what is being compiled, in words.
	conditions []string
	// derived tells that the resource being compiled is never read back.
	derived bool
	walked  map[string]int // numbers of the lists that loops walk
	lastID  int64          // of the parts of expressions that were put in place of their names, downwards
	// places says where each node and emission was written, for the checks that look at the finished tree.
	places map[any]place
}

// A scopeVar is a loop variable that may be named where we are.
type scopeVar struct {
	name string
	slot int
	tree *fieldTree
}

func (c *compiler) fault(line int, format string, args ...any) {
	c.f.add(c.file, line, format, args...)
}

func (c *compiler) hint(line int, hint, format string, args ...any) {
	c.f.hint(c.file, line, hint, format, args...)
}

// declare puts a loop variable into scope. Every name of a mapping has one slot; names may be used again where they
// are not in scope.
func (c *compiler) declare(name string, tree *fieldTree, line int) int {
	if name == "" || reserved(name) || c.lookup(name) != nil || c.letNamed(name) != nil {
		c.fault(line, "loop variable %q cannot be named so, or is in use already", name)
	}
	if c.m.tree != nil && c.m.tree.props[name] != nil {
		c.fault(line, "loop variable %q hides the field of the same name", name)
	}
	slot, ok := c.m.varSlot[name]
	if !ok {
		slot = len(c.m.varSlot)
		c.m.varSlot[name] = slot
	}
	c.scope = append(c.scope, scopeVar{name, slot, tree})
	return slot
}

func (c *compiler) lookup(name string) *scopeVar {
	for i := range c.scope {
		if c.scope[i].name == name {
			return &c.scope[i]
		}
	}
	return nil
}

// celEnv is the CEL environment of the loop variables in scope.
func (c *compiler) celEnv() (*cel.Env, error) {
	names := make([]string, len(c.scope))
	for i, v := range c.scope {
		names[i] = v.name
	}
	return c.celEnvOf(names)
}

// celEnvOf is the environment of some loop variables and of the expressions that were named before and can be computed of
// them.
func (c *compiler) celEnvOf(names []string) (*cel.Env, error) {
	key := strings.Join(names, " ") + " " + itoa(len(c.m.lets))
	if env := c.envs[key]; env != nil {
		return env, nil
	}
	var opts []cel.EnvOption
	for _, n := range names {
		opts = append(opts, cel.Variable(n, cel.DynType))
	}
	for _, l := range c.m.lets {
		if !slices.ContainsFunc(l.needs, func(n string) bool { return !slices.Contains(names, n) }) {
			opts = append(opts, cel.Variable(l.name, l.typ))
		}
	}
	env, err := c.p.cel.Extend(opts...)
	if err != nil {
		return nil, err
	}
	c.envs[key] = env
	return env, nil
}

// path resolves a native path against the loop variables in scope, then the record.
func (c *compiler) path(text string, line int) *path {
	segs := strings.Split(text, ".")
	p := &path{slot: -1, text: text, tree: c.m.tree}
	if v := c.lookup(segs[0]); v != nil {
		p.slot, p.tree, segs = v.slot, v.tree, segs[1:]
	}
	p.segs = segs
	p.tree = p.tree.find(segs)
	if p.tree == nil {
		c.hint(line, c.nearField(text), "the schema has no field %q", text)
		p.tree = &fieldTree{id: -1}
	}
	return p
}

func (c *compiler) paths(texts []string, line int) []*path {
	out := make([]*path, len(texts))
	for i, t := range texts {
		out[i] = c.path(t, line)
	}
	return out
}

// leaf names a rule at line for the element being compiled.
func (c *compiler) leaf(op string, line int, from ...*path) leaf {
	c.p.leaves++
	l := leaf{no: c.p.leaves, rule: c.file + ":" + itoa(line) + " " + op, element: strings.Join(c.elem, ".")}
	for _, p := range from {
		if p != nil {
			p.tree.walk(func(t *fieldTree) { l.fields = append(l.fields, t.id) })
		}
	}
	for _, f := range l.fields {
		c.p.uses[f] = true
	}
	l.oneWay = c.derived
	l.how, l.because = howOf(op, from), slices.Clone(c.conditions)
	return l
}

// howOf says what a primitive does with its fields. Rules that do something of their own say it themselves.
func howOf(op string, from []*path) string {
	var names []string
	for _, p := range from {
		if p != nil {
			names = append(names, p.text)
		}
	}
	fields := strings.Join(names, ", ")
	switch op {
	case "$copy":
		return "is " + fields + " as it stands in the record"
	case "$date":
		return "is the date or time in " + fields
	case "$join":
		return "is " + fields + " joined"
	case "$split":
		return "is made of the parts of " + fields
	case "$ref":
		if fields == "" {
			return ""
		}
		return "points at the resource that " + fields + " names"
	case "key":
		return "is made of the key, " + fields
	case "$text":
		if fields == "" {
			return ""
		}
		return "shows " + fields + " to people"
	}
	return ""
}

// under compiles what only applies when a predicate came out so.
func (c *compiler) under(p *predicate, holds bool, f func()) {
	if p == nil {
		f()
		return
	}
	text := p.text
	if !holds {
		text = "not (" + text + ")"
	}
	c.conditions = append(c.conditions, text+p.where)
	f()
	c.conditions = c.conditions[:len(c.conditions)-1]
}

// saidLeaf is the leaf of what a predicate says of fields, which can be read back.
func (c *compiler) saidLeaf(line int, said []implication) leaf {
	l := c.leaf("$when", line)
	l.fields, l.how = append(l.fields, fieldsOf(said)...), ""
	return l
}

func (c *compiler) within(elem string, f func()) {
	c.elem = append(c.elem, elem)
	f()
	c.elem = c.elem[:len(c.elem)-1]
}

// celLeaf is a leaf whose fields an expression reads.
func (c *compiler) celLeaf(op string, line int, p *predicate) leaf {
	l := c.leaf(op, line)
	if p != nil {
		l.how = howCEL(op, p.words())
		l.fields = append(l.fields, p.fields...)
		for _, f := range p.fields {
			c.p.uses[f] = true
		}
	}
	return l
}

func howCEL(op, text string) string {
	switch {
	case op == "$derive":
		return "is computed as " + text
	case op == "$when":
		return "is chosen by " + text
	case op == "emit":
		return "is made when " + text
	case strings.HasPrefix(op, "label"):
		return "gets a label when " + text
	case strings.HasPrefix(op, "check"):
		return "is reported when " + text
	}
	return ""
}

// consult remembers which fields decide something without standing in the output.
func (c *compiler) consult(l leaf) {
	for _, f := range l.fields {
		if c.p.consulted[f] == "" {
			c.p.consulted[f] = l.rule
		}
	}
}

// when compiles an optional predicate under key.
func (c *compiler) when(s *section, key string) *predicate {
	n := s.child(key)
	if n == nil {
		return nil
	}
	p := c.predicate(n.text, n.line, true)
	if p != nil && p.always != nil && !*p.always {
		c.hint(n.line, "take it out", "%s is never true: what it decides on never applies", key)
	}
	return p
}

// loops reads `each`: one loop or a list of nested ones, outermost first. The variables stay in scope; the caller
// takes them out.
func (c *compiler) loops(n *yamlNode, wantKey bool) []loop {
	if n == nil {
		return nil
	}
	list := []*yamlNode{n}
	if n.kind == yamlList {
		list = n.kids
	}
	var out []loop
	for _, item := range list {
		s := newSection(item, c.file, c.f)
		out = append(out, c.loop(s, "from", wantKey))
		s.done()
	}
	return out
}

// loop reads from/as/group/key/where.
func (c *compiler) loop(s *section, fromKey string, wantKey bool) loop {
	line := 0
	if s.node != nil {
		line = s.node.line
	}
	l := loop{from: c.path(s.str(fromKey, true), line), group: s.str("group", false)}
	tree := l.from.tree.items
	if tree == nil {
		c.fault(line, "%q is not a list", l.from.text)
		tree = &fieldTree{id: -1}
	}
	if l.group != "" {
		key := tree.props[l.group]
		if key == nil {
			c.hint(line, didYouMean(l.group, keysOf(tree.props)), "items have no field %q to group by", l.group)
			key = &fieldTree{id: -1}
		}
		tree = &fieldTree{id: -1, name: tree.name, props: map[string]*fieldTree{
			groupKey: key, groupFirst: tree, groupItems: {id: -1, name: tree.name, items: tree},
		}}
	}
	l.list = c.list(&l)
	as := s.str("as", true)
	l.slot = c.declare(as, tree, line)
	l.where = c.when(s, "where")
	if n := s.child("key"); n != nil && n.kind == yamlMap {
		ks := newSection(n, c.file, c.f)
		l.expr = c.predicate(ks.str("$derive", true), n.line, false)
		ks.done()
		return l
	}
	keys := s.strs("key")
	if l.group != "" && len(keys) == 0 {
		keys = []string{as + "." + groupKey}
	}
	if wantKey && len(keys) == 0 {
		c.fault(line, "each needs a key: the field that tells its items apart")
	}
	l.key = c.paths(keys, line)
	c.keyed(&l)
	return l
}

// list numbers the list that a loop walks.
func (c *compiler) list(l *loop) int {
	name := itoa(l.from.slot) + " " + l.from.text + " " + l.group
	if _, ok := c.walked[name]; !ok {
		c.walked[name] = len(c.walked)
	}
	return c.walked[name]
}

// keyed remembers what tells the items of a list apart.
func (c *compiler) keyed(l *loop) {
	if l.group != "" || len(l.key) == 0 || l.from.tree.items == nil {
		return
	}
	var segs [][]string
	for _, k := range l.key {
		if k.slot != l.slot {
			return
		}
		segs = append(segs, k.segs)
	}
	if c.m.listKeys == nil {
		c.m.listKeys = listKeys{}
	}
	c.m.listKeys[l.from.tree.name] = segs
}

// compileMap reads a mapping file and its includes.
func (c *compiler) compileMap(n *yamlNode) {
	s := newSection(n, c.file, c.f)
	c.m.name, c.m.version = s.str("map", true), s.str("version", true)
	c.m.key = c.paths(s.strs("key"), s.line("key"))
	if len(c.m.key) == 0 {
		c.fault(n.line, "key is missing: the field or fields that identify a record")
	}
	includes := s.strs("include")
	c.entries(s)
	own := c.file
	for _, name := range includes {
		c.file = c.p.Name + "/" + name
		if _, err := fs.Stat(c.p.fsys, c.file); err != nil {
			c.file = sharedDir + "/" + name
		}
		if inc := readYAML(c.p.fsys, c.file, c.f); inc != nil {
			is := newSection(inc, c.file, c.f)
			c.entries(is)
			is.done()
		}
	}
	c.file = own
	if prov := s.child("provenance"); prov != nil {
		c.m.provenance = c.provenance(prov)
	}
	s.done()
	c.checkLets()
	c.checkSlots(n.line)
}

// entries reads the sections that included files may have too.
func (c *compiler) entries(s *section) {
	c.lets(s.child("let"))
	for _, n := range s.list("check") {
		c.m.checks = append(c.m.checks, c.check(n))
	}
	for _, n := range s.list("label") {
		c.m.labels = append(c.m.labels, c.labelRule(n))
	}
	for _, n := range s.list("emit") {
		c.m.emissions = append(c.m.emissions, c.emission(n))
	}
	for _, n := range s.list("ignore") {
		c.ignore(n)
	}
}

// checkSlots faults references and unions that name a slot nobody fills.
func (c *compiler) checkSlots(line int) {
	slots := map[string]bool{}
	for i := range c.m.emissions {
		em := &c.m.emissions[i]
		if slots[em.slot] {
			c.fault(line, "slot %q stands twice", em.slot)
		}
		slots[em.slot] = true
	}
	for _, ref := range c.p.slotRefs {
		if !slots[ref.slot] {
			c.f.hint(ref.file, ref.line, didYouMean(ref.slot, append(keysOf(slots), "organization")), "no resource has the slot %q", ref.slot)
		}
	}
	c.p.slotRefs = nil
	for i := range c.m.emissions {
		for _, l := range c.m.emissions[i].labels {
			for _, from := range l.from {
				if !slots[from] {
					c.hint(line, didYouMean(from, keysOf(slots)), "label rule %q takes from slot %q, which no resource has", l.id, from)
				}
			}
		}
	}
}

// slotRef is a use of a slot name, checked when all slots are known.
type slotRef struct {
	file string
	line int
	slot string
}
