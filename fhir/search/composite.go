package search

import (
	"errors"
	"strings"
)

// composite is a parameter over pairs of values (R4 3.1.1.4.16).
type composite struct {
	bases []string     // expressions of the objects that hold both halves; the type itself for the root
	codes [2]string    // parameters that define the halves
	exprs [2]string    // their expressions, from each base
	root  *rootPair    // set when the resource itself is a base
	elems []elementSet // the other bases
	reads []string     // element rows that answer for elems
}

// rootPair is a pair on the resource itself: two conditions that must both hold.
type rootPair struct{ halves [2]*Parameter }

// elementSet is one sub-element whose two halves must match together.
type elementSet struct {
	base   path
	halves [2][]path
	kinds  [2]Kind
}

func parseComposite(d definition) (*composite, error) {
	parts := strings.Split(d.components, ";")
	if len(parts) != 2 {
		return nil, errors.New("composites of other than two components are not offered")
	}
	c := &composite{}
	for i, part := range parts {
		c.codes[i], c.exprs[i], _ = strings.Cut(part, ":")
		if strings.Contains(c.exprs[i], "%") {
			return nil, errors.New("composites over the whole resource are not offered")
		}
	}
	for _, alt := range strings.Split(d.expression, "|") {
		c.bases = append(c.bases, strings.TrimSpace(alt))
	}
	return c, nil
}

// composites compiles the composite parameters once the simple ones are known.
func (ps *parameters) composites(typ string) error {
	for _, p := range ps.byCode {
		c := p.composite
		if c == nil {
			continue
		}
		for _, base := range c.bases {
			if err := c.add(ps, typ, base); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *composite) add(ps *parameters, typ, base string) error {
	var halves [2][]path
	var kinds [2]Kind
	for i, expr := range c.exprs {
		defined := ps.byCode[c.codes[i]]
		if defined == nil {
			return errors.New("a composite is made of an unknown parameter")
		}
		kinds[i] = defined.Kind
		for _, alt := range splitOutside(expr, '|') {
			p, err := compileSteps(datatypePath(base, base[strings.LastIndexByte(base, '.')+1:]), defined.Kind, splitOutside(strings.TrimSpace(alt), '.'))
			if err != nil {
				return err
			}
			halves[i] = append(halves[i], p)
		}
	}
	if base == typ {
		root, err := ps.rootPair(c, halves)
		c.root = root
		return err
	}
	basePaths, err := compile(typ, KindComposite, base)
	if err != nil {
		return err
	}
	c.elems = append(c.elems, elementSet{base: basePaths[0], halves: halves, kinds: kinds})
	return nil
}

// rootPair finds the parameters whose rows are those of the halves: the defining ones, or, where these
// reach further (combo-code), the ones that stand for the root only.
func (ps *parameters) rootPair(c *composite, halves [2][]path) (*rootPair, error) {
	out := &rootPair{}
	for i := range halves {
		want := exactKeys(&Parameter{paths: halves[i]})
		for _, p := range ps.byCode {
			if p.composite != nil || p.Kind != ps.byCode[c.codes[i]].Kind || !intersects(exactKeys(p), want) {
				continue
			}
			if best := out.halves[i]; best == nil || len(p.paths) < len(best.paths) || len(p.paths) == len(best.paths) && p.Code < best.Code {
				out.halves[i] = p
			}
		}
		if out.halves[i] == nil {
			return nil, errors.New("no parameter stands for a half of a composite")
		}
	}
	return out, nil
}

func intersects(a, b map[string]bool) bool {
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}

func (e elementSet) key() string {
	var b strings.Builder
	b.WriteString(e.base.key())
	for _, half := range e.halves {
		for _, p := range half {
			b.WriteString("|" + p.key())
		}
		b.WriteByte('$')
	}
	return b.String()
}

// aliasElements lets a composite read the element rows of another that has the same elements, and
// leaves composites over the root without rows.
func (ps *parameters) aliasElements() {
	first := map[string]string{}
	for _, pure := range []bool{true, false} { // those over elements alone keep the rows
		for _, p := range ps.sorted {
			c := p.composite
			if c == nil || (c.root == nil) != pure {
				continue
			}
			c.reads = nil
			for _, e := range c.elems {
				if first[e.key()] == "" {
					first[e.key()] = p.Code
				}
				c.reads = append(c.reads, first[e.key()])
			}
			p.Reads = c.reads
		}
	}
}
