package mapping

import (
	"encoding/json"
	"maps"
	"slices"
)

// match tells whether an element can have been made by a constant: same value, placeholders filled in.
func (n *constNode) match(b *back, v any) bool {
	text, ok := jsonText(v)
	return ok && text == n.text(b.env)
}

func (n *constNode) back(*back, any) {}

// text is the literal as plain text.
func (n *constNode) text(env *envState) string {
	r := run{env: env}
	n.build(&r)
	var v any
	if json.Unmarshal(r.buf, &v) == nil {
		if s, ok := v.(string); ok {
			return s
		}
	}
	return string(r.buf)
}

// jsonText is a decoded JSON scalar as text.
func jsonText(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case json.Number:
		return x.String(), true
	case bool:
		if x {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// match: every constant of the object stands in the element, and what else it knows of does not contradict it.
// Displays are not compared where there is a code: servers write their own.
func (n *objectNode) match(b *back, v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	some := false
	for i := range n.fields {
		f := &n.fields[i]
		kid, there := m[f.name]
		switch {
		case !f.node.dynamic() && f.name == "display" && m["code"] != nil:
		case !f.node.dynamic() && (!there || !f.node.match(b, kid)):
			return false
		case !there:
		case !f.node.match(b, kid):
			return false
		default:
			some = true
		}
	}
	return some
}

func (n *objectNode) back(b *back, v any) {
	if m, ok := v.(map[string]any); ok {
		n.backFields(b, m)
	}
}

// backFields reads the elements it knows in the order of the mapping and leaves the others.
func (n *objectNode) backFields(b *back, m map[string]any) {
	known := 0
	for i := range n.fields {
		f := &n.fields[i]
		kid, ok := m[f.name]
		if !ok {
			continue
		}
		known++
		here := b.pushName(f.name)
		switch {
		case f.node.match(b, kid):
			f.node.back(b, kid)
		case f.name != "display" && f.name != "text":
			b.leave("", kid)
		}
		b.pop(here)
	}
	if known == len(m) {
		return
	}
	for _, name := range sortedKeys(m) {
		if !n.names(name) {
			b.leave(name, m[name])
		}
	}
}

// names tells whether the mapping names an element itself.
func (n *objectNode) names(name string) bool {
	for i := range n.fields {
		if n.fields[i].name == name {
			return true
		}
	}
	return false
}

// match: every constant item is there; otherwise some element is one of the items.
func (n *listNode) match(b *back, v any) bool {
	list, ok := v.([]any)
	if !ok {
		return false
	}
	some := false
	for _, item := range n.items {
		found := false
		for _, e := range list {
			if matchItem(b, item, e) {
				found, some = true, true
				break
			}
		}
		if !found && !item.dynamic() {
			return false
		}
	}
	return some
}

// back gives each element to the first item of the list that can have made it; an item that makes one element takes one.
func (n *listNode) back(b *back, v any) {
	list, ok := v.([]any)
	if !ok {
		b.leave("", v)
		return
	}
	used := make([]bool, len(n.items))
	for i, e := range list {
		here := b.pushIndex(i)
		if !n.take(b, used, e) {
			b.leave("", e)
		}
		b.pop(here)
	}
}

func (n *listNode) take(b *back, used []bool, e any) bool {
	for i, item := range n.items {
		if used[i] || !matchItem(b, item, e) {
			continue
		}
		used[i] = !many(item)
		backItem(b, item, e)
		return true
	}
	return false
}

// many tells whether a list item can make several elements.
func many(item node) bool {
	switch n := item.(type) {
	case *eachNode, *splitNode:
		return true
	case *refNode:
		return n.all
	case *whenNode:
		return many(n.then) || (n.els != nil && many(n.els))
	}
	return false
}

// matchItem and backItem treat one element of a list, where a spreading item makes several.
func matchItem(b *back, item node, e any) bool {
	if s, ok := item.(spread); ok {
		return s.matchItem(b, e)
	}
	return item.match(b, e)
}

func backItem(b *back, item node, e any) {
	if s, ok := item.(spread); ok {
		s.backItem(b, e)
		return
	}
	item.back(b, e)
}

// matchList and backList serve spreading nodes that stand for a whole list.
func matchList(b *back, s spread, v any) bool {
	list, _ := v.([]any)
	for _, e := range list {
		if s.matchItem(b, e) {
			return true
		}
	}
	return false
}

func backList(b *back, s spread, v any) {
	list, _ := v.([]any)
	for i, e := range list {
		here := b.pushIndex(i)
		if s.matchItem(b, e) {
			s.backItem(b, e)
		} else {
			b.leave("", e)
		}
		b.pop(here)
	}
}

func (n *whenNode) match(b *back, v any) bool {
	return n.then.match(b, v) || (n.els != nil && n.els.match(b, v))
}

// back finds the branch that made the element and, from it, what the predicate must have said of the record.
func (n *whenNode) back(b *back, v any) { n.choice(b, v, node.match, node.back) }

func (n *whenNode) matchItem(b *back, e any) bool {
	return matchItem(b, n.then, e) || (n.els != nil && matchItem(b, n.els, e))
}

func (n *whenNode) backItem(b *back, e any) {
	n.choice(b, e, func(n node, b *back, v any) bool { return matchItem(b, n, v) },
		func(n node, b *back, v any) { backItem(b, n, v) })
}

func (n *whenNode) choice(b *back, v any, match func(node, *back, any) bool, back func(node, *back, any)) {
	then, els := match(n.then, b, v), n.els != nil && match(n.els, b, v)
	switch {
	case then && els && !n.els.dynamic():
		back(n.els, b, v) // the plainer reading, and no conclusion from it
	case then && els:
		back(n.then, b, v)
	case then:
		b.assume(n.test, true)
		back(n.then, b, v)
	case els:
		b.assume(n.test, false)
		back(n.els, b, v)
	}
}

func (n *echoNode) back(*back, any) {}

func (n *eachNode) match(b *back, v any) bool { return matchList(b, n, v) }
func (n *eachNode) back(b *back, v any)       { backList(b, n, v) }

func (n *eachNode) matchItem(b *back, e any) bool {
	if n.expr != nil {
		return false
	}
	saved := b.at[n.slot]
	b.at[n.slot] = b.fresh(&n.loop)
	if g := b.groupAt(n.from); g != nil && n.group == "" {
		g.share(b.at[n.slot].item)
	}
	ok := matchItem(b, n.item, e)
	b.at[n.slot] = saved
	return ok
}

// fresh binds a loop to an item that nothing is known of.
func (b *back) fresh(l *loop) *bound {
	_, tree := b.place(l.from)
	if l.group != "" {
		return &bound{group: &group{list: &native{}, tree: tree, field: l.group, key: &native{}, first: &native{}, within: b.groupAt(l.from)}, tree: tree}
	}
	return &bound{item: &native{}, tree: tree + "[]"}
}

// backItem reads one element into an item of its own and then puts the item into the list, where it may turn out to be
// one that is known already.
func (n *eachNode) backItem(b *back, e any) {
	saved := b.at[n.slot]
	defer func() { b.at[n.slot] = saved }()
	list, tree := b.place(n.from)
	if n.group != "" {
		g := b.newGroup(list, tree, n.group)
		g.within = b.groupAt(n.from)
		b.at[n.slot] = &bound{group: g, tree: tree}
		b.assume(n.where, true)
		backItem(b, n.item, e)
		return
	}
	item := &native{}
	b.at[n.slot] = &bound{item: item, tree: tree + "[]"}
	g := b.groupAt(n.from)
	if g != nil {
		g.share(item)
	}
	b.assume(n.where, true)
	backItem(b, n.item, e)
	added := list.add(item, b.m.listKeys, tree)
	if g != nil {
		g.joined(added)
	}
}

// groupAt is the group whose items a path walks, nil when it walks something else.
func (b *back) groupAt(p *path) *group {
	if p.slot < 0 || len(p.segs) != 1 || p.segs[0] != groupItems || b.at[p.slot] == nil {
		return nil
	}
	return b.at[p.slot].group
}

func (n *splitNode) match(b *back, v any) bool { return matchList(b, n, v) }
func (n *splitNode) back(b *back, v any)       { backList(b, n, v) }

func (n *splitNode) matchItem(b *back, e any) bool {
	saved := b.at[n.slot]
	b.at[n.slot] = &bound{item: &native{}}
	ok := matchItem(b, n.item, e)
	b.at[n.slot] = saved
	return ok
}

// backItem puts one more part behind those that were read before.
func (n *splitNode) backItem(b *back, e any) {
	saved, part := b.at[n.slot], &native{}
	b.at[n.slot] = &bound{item: part}
	backItem(b, n.item, e)
	b.at[n.slot] = saved
	text, ok := scalar(part.scalar)
	if !ok {
		return
	}
	whole, _ := b.place(n.from)
	if before, ok := scalar(whole.scalar); ok {
		text = before + n.by + text
	}
	whole.scalar = text
}

// assume takes over what a predicate that came out so says of the record: where it compares a field with a literal, the
// field has that value. Everything else it may have read stays open.
func (b *back) assume(p *predicate, holds bool) {
	if p == nil {
		return
	}
	said := p.whenTrue
	if !holds {
		said = p.whenFalse
	}
	for i := range said {
		if n, _ := b.place(said[i].path); n.scalar == nil {
			n.scalar = said[i].value
		}
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
