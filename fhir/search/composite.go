package search

import (
	"errors"
	"sort"
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
	e := elementSet{}
	if base != typ {
		bases, err := compile(typ, KindComposite, base)
		if err != nil {
			return err
		}
		e.base = bases[0]
	}
	for i := range c.exprs {
		if err := c.half(ps, &e, base, i); err != nil {
			return err
		}
	}
	if base == typ {
		root, err := ps.rootPair(c, e.halves)
		c.root = root
		return err
	}
	c.elems = append(c.elems, e)
	return nil
}

// half compiles one component as the parameter that defines it would be. R4 names the parameters of
// DocumentReference.relationship the wrong way round, so one that does not read the expression gives
// way to one that does.
func (c *composite) half(ps *parameters, e *elementSet, base string, i int) error {
	candidates := []*Parameter{ps.byCode[c.codes[i]]}
	if candidates[0] == nil {
		return errors.New("a composite is made of an unknown parameter")
	}
	for _, code := range sortedCodes(ps.byCode) {
		candidates = append(candidates, ps.byCode[code])
	}
	for _, par := range candidates {
		if par.composite != nil {
			continue
		}
		halves, err := compileHalf(base, par.Kind, c.exprs[i])
		if err != nil {
			return err
		}
		whole := Parameter{}
		for _, h := range halves {
			whole.paths = append(whole.paths, path{steps: append(append([]step(nil), e.base.steps...), h.steps...)})
		}
		if intersects(exactKeys(par), exactKeys(&whole)) {
			e.halves[i], e.kinds[i], c.codes[i] = halves, par.Kind, par.Code
			return nil
		}
	}
	return errors.New("no parameter stands for a half of a composite")
}

func compileHalf(base string, kind Kind, expression string) ([]path, error) {
	start := datatypePath(base, base[strings.LastIndexByte(base, '.')+1:])
	var out []path
	for _, alt := range splitOutside(expression, '|') {
		p, err := compileSteps(start, kind, splitOutside(strings.TrimSpace(alt), '.'))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func sortedCodes(byCode map[string]*Parameter) []string {
	out := make([]string, 0, len(byCode))
	for code := range byCode {
		out = append(out, code)
	}
	sort.Strings(out)
	return out
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
	b.WriteString(strings.Join(e.base.keys(), "|"))
	for _, half := range e.halves {
		for _, p := range half {
			b.WriteString("|" + strings.Join(p.keys(), "|"))
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
