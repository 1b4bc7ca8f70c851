package search

import (
	"strings"
)

// filterNode is one node of a parsed _filter (https://hl7.org/fhir/R4/search_filter.html).
type filterNode struct {
	kind  string // and, or, not, compare
	kids  []*filterNode
	path  string      // compare: parameter path up to a bracket or the end
	in    *filterNode // compare: the bracket after path
	rest  *filterNode // compare: what follows the bracket
	op    string
	value string
}

const maxFilterDepth = 20

// filterParameter reads _filter into a condition.
func (p *parser) filterParameter(value string) error {
	f := filterParser{text: value}
	node, err := f.logical()
	if err != nil {
		return err
	}
	if f.space(); f.at < len(f.text) {
		return f.fault("has text after its end")
	}
	c, err := p.build(node, ask{name: "_filter", typ: p.q.Type})
	if err != nil {
		return err
	}
	p.q.Where = append(p.q.Where, c)
	return nil
}

// build turns a node into a condition on resources of a.typ.
func (p *parser) build(n *filterNode, a ask) (Condition, error) {
	switch n.kind {
	case "and", "or":
		list := make([]Condition, 0, len(n.kids))
		for _, kid := range n.kids {
			c, err := p.build(kid, a)
			if err != nil {
				return nil, err
			}
			list = append(list, c)
		}
		if n.kind == "or" {
			return Or(list), nil
		}
		return And(list), nil
	case "not":
		c, err := p.build(n.kids[0], a)
		if err != nil {
			return nil, err
		}
		return Not{c}, nil
	}
	if n.in == nil {
		a.rest, a.value, a.op = n.path, n.value, n.op
		return p.criterion(a)
	}
	if a.depth >= maxDepth {
		return nil, invalid(a.name, "at most four chained steps")
	}
	head, tail, chained := strings.Cut(n.path, ".")
	par, types, err := p.leads(a, head)
	if err != nil {
		return nil, err
	}
	return p.eachType(a, par, types, func(typ string) (Condition, error) {
		next := a.hop(typ, "")
		if chained {
			return p.build(&filterNode{kind: "compare", path: tail, in: n.in, rest: n.rest}, next)
		}
		in, err := p.build(n.in, next)
		if err != nil {
			return nil, err
		}
		rest, err := p.build(n.rest, next)
		if err != nil {
			return nil, err
		}
		return And{in, rest}, nil
	})
}

// filterParser reads the text of a _filter.
type filterParser struct {
	text  string
	at    int
	depth int
	nodes int
}

func (f *filterParser) fault(why string) error { return invalid("_filter", why) }

func (f *filterParser) space() {
	for f.at < len(f.text) && f.text[f.at] == ' ' {
		f.at++
	}
}

// word takes what stands before the next space, bracket or parenthesis.
func (f *filterParser) word() string {
	f.space()
	start := f.at
	for f.at < len(f.text) && strings.IndexByte(` ()[]"`, f.text[f.at]) < 0 {
		f.at++
	}
	return f.text[start:f.at]
}

// keyword takes the word when it comes next.
func (f *filterParser) keyword(word string) bool {
	before := f.at
	if f.word() == word {
		return true
	}
	f.at = before
	return false
}

func (f *filterParser) next(c byte) bool {
	f.space()
	if f.at < len(f.text) && f.text[f.at] == c {
		f.at++
		return true
	}
	return false
}

// logical reads terms joined by and and or, from left to right: neither binds closer.
func (f *filterParser) logical() (*filterNode, error) {
	left, err := f.term()
	for turns := 0; err == nil; {
		kind := "and"
		if !f.keyword(kind) {
			if kind = "or"; !f.keyword(kind) {
				return left, nil
			}
		}
		var right *filterNode
		if right, err = f.term(); err != nil {
			break
		}
		if left.kind == kind {
			left.kids = append(left.kids, right)
			continue
		}
		if turns++; turns > maxFilterDepth {
			return nil, tooMany("_filter", "changes between and and or too often; use parentheses")
		}
		left = &filterNode{kind: kind, kids: []*filterNode{left, right}}
	}
	return nil, err
}

func (f *filterParser) term() (*filterNode, error) {
	f.depth++
	defer func() { f.depth-- }()
	if f.nodes++; f.depth > maxFilterDepth || f.nodes > maxNodes {
		return nil, tooMany("_filter", "is nested too deeply or too long")
	}
	if f.keyword("not") {
		if f.space(); f.at >= len(f.text) || f.text[f.at] != '(' {
			return nil, f.fault("needs a parenthesis after not")
		}
		kid, err := f.term()
		return &filterNode{kind: "not", kids: []*filterNode{kid}}, err
	}
	if f.next('(') {
		n, err := f.logical()
		if err == nil && !f.next(')') {
			err = f.fault("lacks a closing parenthesis")
		}
		return n, err
	}
	return f.compare()
}

func (f *filterParser) compare() (*filterNode, error) {
	n := &filterNode{kind: "compare", path: f.word()}
	if n.path == "" {
		return nil, f.fault("lacks a parameter")
	}
	if f.at < len(f.text) && f.text[f.at] == '[' {
		f.at++
		var err error
		if n.in, err = f.logical(); err != nil {
			return nil, err
		}
		if !f.next(']') || f.at >= len(f.text) || f.text[f.at] != '.' {
			return nil, f.fault("needs ]. and a parameter after a bracket")
		}
		f.at++
		if f.depth++; f.depth > maxFilterDepth {
			return nil, tooMany("_filter", "is nested too deeply or too long")
		}
		defer func() { f.depth-- }()
		n.rest, err = f.compare()
		return n, err
	}
	n.op = f.word()
	var err error
	n.value, err = f.literal()
	return n, err
}

// literal reads a quoted text, or a bare token, number or date. The result is escaped as parameter
// values are, but for the bar, which parts a token or quantity in both languages.
func (f *filterParser) literal() (string, error) {
	if !f.next('"') {
		start := f.at
		for f.at < len(f.text) && strings.IndexByte(" )]", f.text[f.at]) < 0 {
			f.at++
		}
		if f.at == start {
			return "", f.fault("lacks a value")
		}
		return escapeFilter(f.text[start:f.at]), nil
	}
	var b strings.Builder
	for ; f.at < len(f.text); f.at++ {
		switch c := f.text[f.at]; {
		case c == '"':
			f.at++
			return escapeFilter(b.String()), nil
		case c == '\\' && f.at+1 < len(f.text):
			f.at++
			b.WriteByte(f.text[f.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", f.fault("lacks a closing quote")
}

func escapeFilter(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `$`, `\$`).Replace(s)
}
