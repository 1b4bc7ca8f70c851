package mapping

import "strconv"

// A node is one element of a mapping's tree: a primitive, or the object or list that holds some. It is data and runs both
// ways: build makes the element, match and back read it.
type node interface {
	// build appends the element's JSON to r.buf and returns true, or leaves r as it was and returns false when the
	// record has nothing for it.
	build(r *run) bool
	// dynamic tells whether the element depends on the record. An object whose dynamic parts are all absent is absent.
	dynamic() bool
	// match tells whether the node can have made a FHIR element, as decoded JSON; back tells the native record what the
	// element says. See back.go.
	match(b *back, v any) bool
	back(b *back, v any)
}

// A spread is a node that yields several elements where it stands in a list.
type spread interface {
	// buildItems appends its elements to a list that holds n already and returns the new count.
	buildItems(r *run, n int) int
	// matchItem and backItem are match and back for one of them.
	matchItem(b *back, e any) bool
	backItem(b *back, e any)
}

func itoa(i int) string { return strconv.Itoa(i) }

// A leaf carries what a value-making primitive reports about itself.
type leaf struct {
	no      int    // its number in the pack, from 1
	rule    string // file:line primitive
	element string // FHIR element without indices
	fields  []int  // native leaves it reads
	oneWay  bool
	how     string   // what the rule does, in words
	because []string // predicates that must hold for it to be asked
}

// constNode is a literal. The placeholders {base} and {org.system} stand for the deployment's canonical base and
// the organisation's id space.
type constNode struct{ parts []constPart }

type constPart struct {
	json []byte
	name string // "base" or "org.system" when not literal
}

func (n *constNode) dynamic() bool { return false }

func (n *constNode) build(r *run) bool {
	for _, p := range n.parts {
		switch p.name {
		case "base":
			r.buf = appendEscaped(r.buf, r.env.Base)
		case "org.system":
			r.buf = appendEscaped(r.buf, r.env.Organization.System)
		default:
			r.buf = append(r.buf, p.json...)
		}
	}
	return true
}

// objectNode is a FHIR object in the order of the mapping file.
type objectNode struct {
	fields []objectField
	live   bool
}

type objectField struct {
	name string // FHIR element name
	key  []byte // "name":
	node node
}

func (n *objectNode) dynamic() bool { return n.live }

func (n *objectNode) build(r *run) bool {
	mark := r.mark()
	r.buf = append(r.buf, '{')
	count, live := n.buildFields(r, 0)
	if count == 0 || (n.live && !live) {
		r.reset(mark)
		return false
	}
	r.buf = append(r.buf, '}')
	return true
}

// buildFields appends the fields without braces to an object that holds count already; live tells whether a dynamic
// one was among them.
func (n *objectNode) buildFields(r *run, count int) (total int, live bool) {
	for i := range n.fields {
		f := &n.fields[i]
		m := r.mark()
		if count > 0 {
			r.buf = append(r.buf, ',')
		}
		r.buf = append(r.buf, f.key...)
		here := r.pushName(f.name)
		ok := f.node.build(r)
		r.pop(here)
		if !ok {
			r.reset(m)
			continue
		}
		count++
		live = live || f.node.dynamic()
	}
	return count, live
}

// listNode is a FHIR list; items that spread ($each, $split, several references) are laid out in place.
type listNode struct {
	items []node
	live  bool
}

func (n *listNode) dynamic() bool { return n.live }

func (n *listNode) build(r *run) bool {
	mark := r.mark()
	r.buf = append(r.buf, '[')
	if n.buildItems(r, 0) == 0 {
		r.reset(mark)
		return false
	}
	r.buf = append(r.buf, ']')
	return true
}

func (n *listNode) buildItems(r *run, count int) int {
	for _, item := range n.items {
		count = buildItem(r, item, count)
	}
	return count
}

// buildItem appends one list item, or the items it spreads into.
func buildItem(r *run, item node, count int) int {
	if s, ok := item.(spread); ok {
		return s.buildItems(r, count)
	}
	m := r.mark()
	if count > 0 {
		r.buf = append(r.buf, ',')
	}
	here := r.pushIndex(count)
	ok := item.build(r)
	r.pop(here)
	if !ok {
		r.reset(m)
		return count
	}
	return count + 1
}

// buildList wraps what a spreading node yields where it does not stand in a list already.
func buildList(r *run, s spread) bool {
	mark := r.mark()
	r.buf = append(r.buf, '[')
	if s.buildItems(r, 0) == 0 {
		r.reset(mark)
		return false
	}
	r.buf = append(r.buf, ']')
	return true
}

// whenNode chooses by a predicate.
type whenNode struct {
	leaf
	test *predicate
	then node
	els  node // nil: nothing
	// what the test says of fields that it compares with literals, by outcome: that can be read back
	saidTrue, saidFalse leaf
}

func (n *whenNode) dynamic() bool { return true }

func (n *whenNode) choose(r *run) (node, *leaf) {
	if r.test(n.test) {
		return n.then, &n.saidTrue
	}
	return n.els, &n.saidFalse
}

func (n *whenNode) build(r *run) bool {
	c, said := n.choose(r)
	if c == nil || !c.build(r) {
		return false
	}
	r.read(&n.leaf)
	r.read(said)
	return true
}

func (n *whenNode) buildItems(r *run, count int) int {
	c, said := n.choose(r)
	if c == nil {
		return count
	}
	total := buildItem(r, c, count)
	if total > count {
		r.read(&n.leaf)
		r.read(said)
	}
	return total
}

// echoNode repeats what stands elsewhere in the record's resources too: it is made like its node and not read back.
type echoNode struct{ node }

// bare is a node without the wrapping that says it is an echo.
func bare(n node) node {
	if e, ok := n.(*echoNode); ok {
		return e.node
	}
	return n
}

// eachNode walks a native list. Its keys tell the items apart for the way back.
type eachNode struct {
	loop
	item node
}

func (n *eachNode) dynamic() bool     { return true }
func (n *eachNode) build(r *run) bool { return buildList(r, n) }

func (n *eachNode) buildItems(r *run, count int) int {
	saved := r.vars[n.slot]
	for _, b := range r.items(&n.loop) {
		r.vars[n.slot] = b
		if r.test(n.where) {
			count = buildItem(r, n.item, count)
		}
	}
	r.vars[n.slot] = saved
	return count
}

// splitNode cuts one native text into parts and builds an item for each; parts are bound like items of $each.
type splitNode struct {
	leaf
	from *path
	by   string
	slot int
	item node
}

func (n *splitNode) dynamic() bool     { return true }
func (n *splitNode) build(r *run) bool { return buildList(r, n) }

func (n *splitNode) buildItems(r *run, count int) int {
	text, ok := r.scalarAt(n.from)
	if !ok {
		return count
	}
	saved, ptr := r.vars[n.slot], r.pointer(n.from)
	for _, part := range splitTrim(text, n.by) {
		r.vars[n.slot] = binding{value: part, ptr: ptr, part: true}
		count = buildItem(r, n.item, count)
	}
	r.vars[n.slot] = saved
	return count
}
