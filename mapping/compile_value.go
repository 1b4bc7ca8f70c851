package mapping

import "strings"

func (c *compiler) date(s *section, line int) node {
	ps := c.paths(s.strs("$date"), line)
	if len(ps) == 0 || len(ps) > 2 {
		c.fault(line, "$date needs a field, or a date and a time")
		return &constNode{}
	}
	as := s.str("as", false)
	switch as {
	case "":
		as = "dateTime"
	case "date", "dateTime", "instant":
	default:
		c.hint(line, didYouMean(as, []string{"date", "dateTime", "instant"}), "as must be date, dateTime or instant")
	}
	out := &dateNode{leaf: c.leaf("$date", line, ps...), from: ps[0], as: as}
	if len(ps) == 2 {
		out.time = ps[1]
	}
	return out
}

// ucum is the system of units, http://unitsofmeasure.org.
const ucum = "http://unitsofmeasure.org"

func (c *compiler) unit(s *section, line int) node {
	p := c.path(s.str("$unit", true), line)
	code, unit := s.str("code", true), s.str("unit", false)
	if unit == "" {
		unit = code
	}
	tail := appendString([]byte(`,"unit":`), unit)
	tail = append(tail, `,"system":"`+ucum+`","code":`...)
	tail = append(appendString(tail, code), '}')
	l := c.leaf("$unit", line, p)
	l.how = "is " + p.text + " as a quantity in " + unit
	return &unitNode{leaf: l, from: p, code: code, tail: tail}
}

func (c *compiler) code(s *section, line int) node {
	ps := c.paths(s.strs("$code"), line)
	if len(ps) == 0 {
		c.fault(line, "$code needs a field")
		return &constNode{}
	}
	out := &codeNode{from: ps, as: s.str("as", false), label: s.str("label", false), column: -1, keep: s.flag("keep")}
	switch out.as {
	case "":
		out.as = "concept"
	case "concept", "coding", "code", "display":
	default:
		c.hint(s.line("as"), didYouMean(out.as, []string{"concept", "coding", "code", "display"}), "as must be concept, coding, code or display")
	}
	via := s.str("via", true)
	out.via = c.p.tables[via]
	if out.via == nil {
		c.hint(s.line("via"), didYouMean(via, keysOf(c.p.tables)), "there is no table %q", via)
		out.via = &table{name: via}
	} else if len(ps) == 1 {
		c.checkEnum(ps[0], out.via, line)
	}
	c.p.usedTables[via] = true
	if name := s.str("column", false); name != "" {
		i, ok := out.via.columns[name]
		if !ok {
			c.fault(line, "table %q has no column %q", via, name)
		} else {
			out.column = i
		}
		if out.as != "code" {
			c.fault(line, "column goes with as: code")
		}
	}
	out.index()
	c.p.lookups[via] = append(c.p.lookups[via], lookup{asked(ps), place{c.file, line}})
	from := ps
	if text := s.str("text", false); text != "" {
		out.text = c.path(text, line)
		from = append(from[:len(from):len(from)], out.text)
	}
	out.leaf = c.leaf("$code", line, from...)
	out.how = "is looked up from " + strings.Join(textsOf(ps), ", ") + " in the table " + via
	if els := s.child("else"); els != nil {
		out.els = c.node(els)
	}
	return out
}

// asked says which native values a $code can ask its table for.
func asked(ps []*path) [][]string {
	out := make([][]string, len(ps))
	for i, p := range ps {
		out[i] = p.tree.enum
	}
	return out
}

// checkEnum faults a value that the schema allows and the table does not know.
func (c *compiler) checkEnum(p *path, t *table, line int) {
	for _, v := range p.tree.enum {
		if t.rows[v] == nil && !t.todo(v) {
			c.hint(line, "add a row for it", "field %s may be %q, which table %s does not have", p.text, v, t.name)
		}
	}
}

func (c *compiler) ref(s *section, line int) node {
	name := s.str("$ref", true)
	out := &refNode{}
	if name == "organization" {
		out.organization = true
		out.leaf = c.leaf("$ref", line)
		return out
	}
	if keys := s.strs("key"); s.child("record") != nil {
		out.resource, out.record, out.otherSlot = name, s.str("record", true), s.str("slot", true)
		out.keys, out.identify = c.paths(keys, line), s.flag("identify")
		if len(keys) == 0 {
			c.fault(line, "a reference to another record needs its key")
		}
		out.leaf = c.leaf("$ref", line, out.keys...)
		// The id of another record cannot be turned back into its key.
		out.oneWay = out.oneWay || !out.identify
		return out
	} else {
		out.key = c.paths(keys, line)
	}
	out.slot, out.all = name, s.flag("all")
	c.p.slotRefs = append(c.p.slotRefs, slotRef{c.file, line, name})
	from := out.key
	if d := s.str("display", false); d != "" {
		out.display = c.path(d, line)
		from = append(from[:len(from):len(from)], out.display)
	}
	out.leaf = c.leaf("$ref", line, from...)
	return out
}

func (c *compiler) whenNode(s *section, line int) node {
	test := c.when(s, "$when")
	out := &whenNode{leaf: c.celLeaf("$when", line, test), test: test}
	out.oneWay = true
	if test != nil {
		out.saidTrue = c.saidLeaf(line, test.whenTrue)
		out.saidFalse = c.saidLeaf(line, test.whenFalse)
	}
	c.consult(out.leaf)
	if test == nil {
		c.fault(line, "$when needs a predicate")
	}
	if then := s.child("then"); then != nil {
		c.under(test, true, func() { out.then = c.node(then) })
	} else {
		c.fault(line, "$when needs then")
	}
	if els := s.child("else"); els != nil {
		c.under(test, false, func() { out.els = c.node(els) })
		if test != nil && test.always != nil && *test.always {
			c.hint(els.line, "take it out", "$when is always true: else never applies")
		}
	}
	return out
}

func textsOf(ps []*path) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.text
	}
	return out
}

func (c *compiler) eachNode(s *section) node {
	depth := len(c.scope)
	out := &eachNode{loop: c.loop(s, "$each", false)}
	if out.where != nil {
		c.celLeaf("$each", s.node.line, out.where)
	}
	if item := s.child("item"); item != nil {
		out.item = c.node(item)
	} else {
		c.fault(s.node.line, "$each needs item")
		out.item = &constNode{}
	}
	c.scope = c.scope[:depth]
	return out
}

func (c *compiler) split(s *section, line int) node {
	p := c.path(s.str("$split", true), line)
	depth := len(c.scope)
	out := &splitNode{leaf: c.leaf("$split", line, p), from: p, by: s.str("by", true)}
	out.slot = c.declare(s.str("as", true), &fieldTree{id: p.tree.id, name: p.tree.name}, line)
	if item := s.child("item"); item != nil {
		out.item = c.node(item)
	} else {
		c.fault(line, "$split needs item")
		out.item = &constNode{}
	}
	c.scope = c.scope[:depth]
	return out
}

func (c *compiler) text(s *section, line int) node {
	out := &textNode{}
	for _, n := range s.list("$text") {
		ls := newSection(n, c.file, c.f)
		depth := len(c.scope)
		l := textLine{say: ls.str("say", true)}
		if each := ls.child("each"); each != nil {
			inner := newSection(each, c.file, c.f)
			lp := c.loop(inner, "from", false)
			inner.done()
			l.loop = &lp
		}
		l.where = c.when(ls, "where")
		if of := ls.str("of", l.loop != nil); of != "" {
			l.of = c.path(of, n.line)
		}
		l.leaf = c.leaf("$text", n.line, l.of)
		l.oneWay = true
		ls.done()
		c.scope = c.scope[:depth]
		out.lines = append(out.lines, l)
	}
	if len(out.lines) == 0 {
		c.fault(line, "$text needs lines")
	}
	return out
}
