package mapping

import "strings"

// An undecided field is ignored until its author decides.
type undecided struct {
	place
	field string
}

// ignore marks every field at or below a path as deliberately not carried.
func (c *compiler) ignore(n *yamlNode) {
	s := newSection(n, c.file, c.f)
	field, reason := s.str("field", true), s.str("reason", true)
	s.done()
	var segs []string
	for _, seg := range strings.Split(field, ".") {
		name, list := strings.CutSuffix(seg, "[]")
		segs = append(segs, name)
		if list {
			segs = append(segs, "[]")
		}
	}
	t := c.m.tree.find(segs)
	if t == nil {
		c.hint(n.line, c.nearField(field), "the schema has no field %q to ignore", field)
		return
	}
	t.walk(func(leaf *fieldTree) { c.p.ignored[leaf.id] = reason })
	if strings.HasPrefix(reason, todoReason) {
		c.p.undecided = append(c.p.undecided, undecided{place{c.file, n.line}, field})
	}
}

func (c *compiler) check(n *yamlNode) checkRule {
	s := newSection(n, c.file, c.f)
	depth := len(c.scope)
	out := checkRule{loops: c.loops(s.child("each"), false)}
	out.test = c.when(s, "when")
	out.code, out.say = s.str("code", true), s.str("say", true)
	if at := s.str("at", false); at != "" {
		out.at = c.path(at, n.line)
	}
	out.drop = s.flag("drop")
	if last := len(out.loops) - 1; out.drop && last >= 0 && (out.loops[last].group != "" || len(out.loops[last].from.segs) == 0) {
		c.fault(n.line, "only items of a plain list can be dropped")
	}
	out.leaf = c.celLeaf("check "+out.code, n.line, out.test)
	c.consult(out.leaf)
	s.done()
	c.scope = c.scope[:depth]
	return out
}

func (c *compiler) labelRule(n *yamlNode) labelRule {
	s := newSection(n, c.file, c.f)
	out := labelRule{id: c.m.name + "/" + s.str("rule", true), test: c.when(s, "when"), add: s.strs("add"), from: s.strs("from")}
	c.within("meta.security", func() { out.leaf = c.celLeaf("label "+out.id, n.line, out.test) })
	out.oneWay = true
	if codes := s.child("codes"); codes != nil {
		out.codes = c.predicate(codes.text, codes.line, false)
		out.fields = append(out.fields, c.celLeaf("label", n.line, out.codes).fields...)
	}
	c.consult(out.leaf)
	for _, code := range out.add {
		if !knownLabel(code) {
			c.hint(n.line, oneOf(code, knownLabels()), "label %q is not one that packs may use", code)
		}
	}
	if len(out.add) == 0 && out.codes == nil && len(out.from) == 0 {
		c.fault(n.line, "a label rule needs add, codes or from")
	}
	s.done()
	return out
}

func (c *compiler) provenance(n *yamlNode) *provenanceRule {
	s := newSection(n, c.file, c.f)
	out := &provenanceRule{}
	c.within("Provenance", func() {
		c.within("recorded", func() {
			if rec := s.child("recorded"); rec != nil {
				out.recorded = c.node(rec)
			} else {
				c.fault(n.line, "provenance needs recorded")
			}
		})
		c.within("agent.who", func() {
			if a := s.child("author"); a != nil {
				out.author = c.node(a)
			}
		})
		out.leaf = c.leaf("provenance", n.line)
	})
	s.done()
	return out
}
