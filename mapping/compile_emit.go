package mapping

import "strings"

// emission compiles one entry of emit.
func (c *compiler) emission(n *yamlNode) emission {
	s := newSection(n, c.file, c.f)
	depth := len(c.scope)
	em := emission{resource: s.str("resource", true), slot: s.str("slot", true), record: s.str("record", false)}
	em.loops = c.loops(s.child("each"), true)
	em.test = c.when(s, "when")
	em.main, em.shared, em.derived = s.flag("main"), s.flag("shared"), s.flag("derived")
	for i := range em.loops {
		em.derived = em.derived || em.loops[i].expr != nil // nothing tells the items of a computed key apart
	}
	c.derived = em.derived
	defer func() { c.derived = false }()
	if keys := s.strs("key"); len(keys) > 0 {
		em.key = c.paths(keys, n.line)
	}
	if em.record == "" {
		em.record = c.m.name
	}
	em.head = []byte(`{"resourceType":"` + em.resource + `","id":"`)
	em.identifiers = identifierOf(em.resource)
	em.profiles = c.profiles(s.child("profile"))
	c.elem = append(c.elem[:0], em.resource)
	em.leaf = c.celLeaf("emit", n.line, em.test)
	em.oneWay = true
	if em.test != nil && !em.derived {
		em.said = c.saidLeaf(n.line, em.test.whenTrue)
	}
	for i := range em.loops {
		if w := em.loops[i].where; w != nil {
			em.fields = append(em.fields, w.fields...)
		}
		if e := em.loops[i].expr; e != nil {
			em.fields = append(em.fields, e.fields...)
		}
		for _, k := range em.loops[i].key {
			k.tree.walk(func(t *fieldTree) { em.fields = append(em.fields, t.id) })
		}
	}
	for _, f := range em.fields {
		c.p.uses[f] = true
	}
	c.consult(em.leaf)
	em.keyPaths = em.key
	if em.key == nil {
		em.keyPaths = c.m.key
	}
	for i := range em.loops {
		em.keyPaths = append(em.keyPaths[:len(em.keyPaths):len(em.keyPaths)], em.loops[i].key...)
	}
	c.within("identifier", func() { em.keyLeaf = c.leaf("key", n.line, em.keyPaths...) })
	c.under(em.test, true, func() { c.emissionSet(s, &em, n.line) })
	c.place(em.set, n.line)
	c.place(claims{em.set}, s.line("profile"))
	for _, rule := range s.list("label") {
		em.labels = append(em.labels, c.labelRule(rule))
	}
	s.done()
	c.scope, c.elem = c.scope[:depth], c.elem[:0]
	return em
}

// emissionSet compiles the body; identifiers are taken out of it, because the own one always comes first.
func (c *compiler) emissionSet(s *section, em *emission, line int) {
	set := s.child("set")
	em.set = &objectNode{}
	if set == nil || set.kind != yamlMap {
		c.fault(line, "set is missing: the resource's elements")
		return
	}
	body, ok := c.node(set).(*objectNode)
	if !ok {
		c.fault(line, "set must be a map of elements")
		return
	}
	for _, f := range body.fields {
		switch f.name {
		case "resourceType", "id", "meta":
			c.fault(line, "%s is written by the engine", f.name)
		case "identifier":
			list, ok := f.node.(*listNode)
			if !ok || em.identifiers != identifierList {
				c.fault(line, "identifier must be a list of further identifiers, on a type that has several")
				continue
			}
			em.more = list
		default:
			em.set.fields = append(em.set.fields, f)
		}
	}
	em.set.live = body.live
}

// profileURL expands the two families of profiles that packs name most.
func profileURL(p string) string {
	switch {
	case strings.HasPrefix(p, "us-core-"):
		return "http://hl7.org/fhir/us/core/StructureDefinition/" + p
	case strings.HasPrefix(p, "SDOHCC-"):
		return "http://hl7.org/fhir/us/sdoh-clinicalcare/StructureDefinition/" + p
	}
	return p
}

// profiles reads one profile or a list of them; an entry may be {url, when}.
func (c *compiler) profiles(n *yamlNode) []profile {
	if n == nil {
		return nil
	}
	list := []*yamlNode{n}
	if n.kind == yamlList {
		list = n.kids
	}
	var out []profile
	for _, item := range list {
		if item.kind == yamlString {
			out = append(out, profile{url: appendString(nil, profileURL(item.text))})
			continue
		}
		s := newSection(item, c.file, c.f)
		p := profile{url: appendString(nil, profileURL(s.str("url", true))), test: c.when(s, "when")}
		c.celLeaf("profile", item.line, p.test)
		s.done()
		out = append(out, p)
	}
	return out
}

// node compiles an element: a constant, an object, a list or a primitive.
func (c *compiler) node(n *yamlNode) node {
	out := c.element(n)
	c.place(out, n.line)
	return out
}

func (c *compiler) element(n *yamlNode) node {
	switch n.kind {
	case yamlString:
		return c.constText(n)
	case yamlNumber, yamlBool:
		if n.kind == yamlNumber && !isDecimal(n.text) {
			c.fault(n.line, "number %q is not one JSON knows", n.text)
		}
		return &constNode{parts: []constPart{{json: []byte(n.text)}}}
	case yamlList:
		out := &listNode{}
		for _, kid := range n.kids {
			item := c.node(kid)
			out.items = append(out.items, item)
			out.live = out.live || item.dynamic()
		}
		return out
	case yamlMap:
		if op := primitiveOf(n); op != "" {
			return c.primitive(op, n)
		}
		return c.object(n)
	}
	c.fault(n.line, "an element cannot be empty; leave it out")
	return &constNode{}
}

func (c *compiler) object(n *yamlNode) node {
	out := &objectNode{}
	for i, k := range n.keys {
		if !elementName(k.name) {
			c.fault(k.line, "%q is not the name of a FHIR element", k.name)
		}
		c.within(k.name, func() {
			kid := c.node(n.kids[i])
			c.place(kid, k.line)
			out.fields = append(out.fields, objectField{name: k.name, key: []byte(`"` + k.name + `":`), node: kid})
			out.live = out.live || kid.dynamic()
		})
	}
	return out
}

func elementName(s string) bool {
	for i, c := range strings.TrimPrefix(s, "_") {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && s != "_"
}

// constText compiles a literal text with its placeholders.
func (c *compiler) constText(n *yamlNode) node {
	out := &constNode{parts: []constPart{{json: []byte{'"'}}}}
	rest := n.text
	for {
		i := strings.IndexByte(rest, '{')
		j := strings.IndexByte(rest[i+1:], '}')
		if i < 0 || j < 0 {
			break
		}
		name := rest[i+1 : i+1+j]
		if name != "base" && name != "org.system" {
			c.fault(n.line, "placeholder {%s} is not known: there are {base} and {org.system}", name)
		}
		out.parts = append(out.parts, constPart{json: appendEscaped(nil, rest[:i])}, constPart{name: name})
		rest = rest[i+j+2:]
	}
	out.parts = append(out.parts, constPart{json: append(appendEscaped(nil, rest), '"')})
	return out
}

// primitiveOf returns the $name that makes a map a primitive, "" for a plain object.
func primitiveOf(n *yamlNode) string {
	for _, k := range n.keys {
		if strings.HasPrefix(k.name, "$") {
			return k.name
		}
	}
	return ""
}

func primitives() []string {
	return []string{"$copy", "$const", "$code", "$date", "$unit", "$join", "$split", "$each", "$when", "$ref", "$text", "$derive"}
}

// primitive compiles a map with a $name.
func (c *compiler) primitive(op string, n *yamlNode) node {
	s := newSection(n, c.file, c.f)
	defer s.done()
	if s.flag("echo") {
		was := c.derived
		c.derived = true
		defer func() { c.derived = was }()
		return &echoNode{c.valueNode(op, s)}
	}
	return c.valueNode(op, s)
}

func (c *compiler) valueNode(op string, s *section) node {
	n := s.node
	switch op {
	case "$const":
		v := s.child(op)
		if v.kind == yamlMap || v.kind == yamlList {
			c.fault(n.line, "$const holds a text, number or boolean")
			return &constNode{}
		}
		if v.kind == yamlString {
			return &constNode{parts: []constPart{{json: appendString(nil, v.text)}}}
		}
		return c.node(v)
	case "$copy":
		p := c.path(s.str(op, true), n.line)
		return &copyNode{leaf: c.leaf(op, n.line, p), from: p, as: c.as(s, n.line)}
	case "$derive":
		expr := c.predicate(s.str(op, true), n.line, false)
		if expr == nil {
			return &constNode{}
		}
		l := c.celLeaf(op, n.line, expr)
		l.oneWay = true
		return &deriveNode{leaf: l, expr: expr, as: c.as(s, n.line)}
	case "$date":
		return c.date(s, n.line)
	case "$unit":
		return c.unit(s, n.line)
	case "$join":
		ps := c.paths(s.strs(op), n.line)
		return &joinNode{leaf: c.leaf(op, n.line, ps...), from: ps, by: s.str("by", true)}
	case "$code":
		return c.code(s, n.line)
	case "$ref":
		return c.ref(s, n.line)
	case "$when":
		return c.whenNode(s, n.line)
	case "$each":
		return c.eachNode(s)
	case "$split":
		return c.split(s, n.line)
	case "$text":
		return c.text(s, n.line)
	}
	c.hint(n.line, oneOf(op, primitives()), "there is no primitive %q", op)
	for _, k := range n.keys {
		s.seen[k.name] = true
	}
	return &constNode{}
}

// as reads the FHIR primitive a value is written as.
func (c *compiler) as(s *section, line int) string {
	as := s.str("as", false)
	switch as {
	case "", "string", "integer", "decimal", "boolean", "code":
		return as
	}
	c.hint(line, didYouMean(as, []string{"string", "integer", "decimal", "boolean", "code"}), "as must be string, integer, decimal, boolean or code")
	return ""
}
