package path

import (
	"slices"
	"strconv"
	"strings"

	"trellis/fhir"
)

// maxExpression bounds a path.
const maxExpression = 1000

// step is one part of a path: a member, or a filter on what the path has reached so far.
type step struct {
	kind  string // member, index, first, last, where, ofType
	name  string // of the member; of where's member; of the type
	value string // where's
	index int
}

// expression is a compiled path.
type expression []step

func malformed(why string) error {
	return fhir.NewProblem(fhir.Invalid, "invalid", "a path of the patch "+why)
}

// compile reads a path. typ may lead it and is not a step.
func compile(text, typ string) (expression, error) {
	if text == "" || len(text) > maxExpression {
		return nil, malformed("is empty or too long")
	}
	r := reader{text: text}
	var out expression
	for first := true; !r.end(); first = false {
		if !first && !r.take('.') {
			return nil, malformed("has a step without a dot before it")
		}
		name := r.word()
		if name == "" {
			return nil, malformed("has a step without a name")
		}
		switch {
		case r.take('('):
			s, err := r.function(name)
			if err != nil {
				return nil, err
			}
			out = append(out, s...)
		case first && (name == typ || name == "Resource" || name == "DomainResource"):
		case first && fhir.KnownType(name):
			return nil, malformed("begins with another type than the resource's")
		default:
			out = append(out, step{kind: "member", name: name})
		}
		for r.take('[') {
			n, err := strconv.Atoi(r.until(']'))
			if err != nil || n < 0 {
				return nil, malformed("has an index that is no number")
			}
			out = append(out, step{kind: "index", index: n})
		}
	}
	return out, nil
}

type reader struct {
	text string
	at   int
}

func (r *reader) end() bool { return r.at >= len(r.text) }

func (r *reader) take(c byte) bool {
	if !r.end() && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *reader) spaces() {
	for r.take(' ') {
	}
}

func (r *reader) word() string {
	start := r.at
	quoted := r.take('`') // a delimited identifier
	for !r.end() {
		c := r.text[r.at]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= '0' && c <= '9' && r.at > start) {
			break
		}
		r.at++
	}
	if quoted {
		if !r.take('`') {
			return ""
		}
		return r.text[start+1 : r.at-1]
	}
	return r.text[start:r.at]
}

// until is the text up to a mark, which is passed; "" when there is none.
func (r *reader) until(mark byte) string {
	i := strings.IndexByte(r.text[r.at:], mark)
	if i < 0 {
		r.at = len(r.text)
		return ""
	}
	out := r.text[r.at : r.at+i]
	r.at += i + 1
	return out
}

// function reads a call after its opening parenthesis.
func (r *reader) function(name string) ([]step, error) {
	var s step
	switch name {
	case "first", "last":
		s = step{kind: name}
	case "single":
		s = step{kind: "single"}
	case "ofType", "as":
		r.spaces()
		s = step{kind: "ofType", name: r.word()}
		if (s.name == "FHIR" || s.name == "System") && r.take('.') {
			s.name = r.word()
		}
		if s.name == "" {
			return nil, malformed("has ofType without a type")
		}
	case "extension":
		r.spaces()
		url, err := r.literal()
		if err != nil {
			return nil, err
		}
		r.spaces()
		if !r.take(')') {
			return nil, malformed("has a call that is not closed")
		}
		return []step{{kind: "member", name: "extension"}, {kind: "where", name: "url", value: url}}, nil
	case "where":
		return r.where()
	default:
		return nil, fhir.NewProblem(fhir.Unsupported, "not-supported", "a path of the patch uses a function that is not offered: first, last, single, where, extension and ofType are")
	}
	r.spaces()
	if !r.take(')') {
		return nil, malformed("has a call that is not closed")
	}
	return []step{s}, nil
}

// where reads x='y', or several of those joined by "and".
func (r *reader) where() ([]step, error) {
	var out []step
	for {
		r.spaces()
		s := step{kind: "where", name: r.word()}
		for r.take('.') {
			s.name += "." + r.word()
		}
		r.spaces()
		if s.name == "" || !r.take('=') {
			return nil, malformed("has a where that is not of the form x='y'")
		}
		r.spaces()
		var err error
		if s.value, err = r.literal(); err != nil {
			return nil, err
		}
		out = append(out, s)
		r.spaces()
		if r.take(')') {
			return out, nil
		}
		if r.word() != "and" {
			return nil, malformed("has a where that is not closed")
		}
	}
}

// literal reads 'text', a number, true or false.
func (r *reader) literal() (string, error) {
	if !r.take('\'') {
		start := r.at
		for !r.end() && !strings.ContainsRune(" )", rune(r.text[r.at])) {
			r.at++
		}
		if r.at == start {
			return "", malformed("has a comparison without a value")
		}
		return r.text[start:r.at], nil
	}
	var out []byte
	for !r.end() {
		c := r.text[r.at]
		r.at++
		switch {
		case c == '\'':
			return string(out), nil
		case c == '\\' && !r.end():
			out = append(out, r.text[r.at])
			r.at++
		default:
			out = append(out, c)
		}
	}
	return "", malformed("has a text that is not closed")
}

// place is where a value stands in a resource.
type place struct {
	owner *node    // the object it is a member of
	name  string   // JSON name there
	index int      // in the member's array; -1 when it is none
	path  []string // names from the resource down
	value *node
}

// find evaluates an expression: the places it reaches, in document order.
func (e expression) find(typ string, root *node) ([]place, error) {
	places := []place{{index: -1, value: root}}
	for _, s := range e {
		var next []place
		switch s.kind {
		case "member":
			for _, p := range places {
				reached, err := p.member(typ, s.name)
				if err != nil {
					return nil, err
				}
				next = append(next, reached...)
			}
		case "index":
			if s.index < len(places) {
				next = places[s.index : s.index+1]
			}
		case "first":
			next = places[:min(1, len(places))]
		case "last":
			next = places[max(0, len(places)-1):]
		case "single":
			if len(places) > 1 {
				return nil, unfit("single() finds several elements")
			}
			next = places
		default:
			for _, p := range places {
				if p.passes(s) {
					next = append(next, p)
				}
			}
		}
		places = next
	}
	return places, nil
}

// member goes down to an element. A choice is named without its type.
func (p place) member(typ, name string) ([]place, error) {
	path := append(slices.Clone(p.path), name)
	shape := fhir.ShapeOf(typ, path...)
	if !shape.Known {
		return nil, malformed("names an element R4 does not have there")
	}
	names := []string{name}
	if shape.Choices != nil {
		names = shape.Choices
	}
	var out []place
	for _, n := range names {
		value := p.value.get(n)
		if value == nil {
			continue
		}
		path := append(slices.Clone(p.path), n)
		if value.kind != '[' {
			out = append(out, place{p.value, n, -1, path, value})
			continue
		}
		for i, item := range value.items {
			out = append(out, place{p.value, n, i, path, item})
		}
	}
	return out, nil
}

func (p place) passes(s step) bool {
	if s.kind == "ofType" {
		return strings.HasSuffix(strings.ToLower(p.name), strings.ToLower(s.name))
	}
	values := []*node{p.value}
	for _, name := range strings.Split(s.name, ".") {
		var next []*node
		for _, v := range values {
			switch m := v.get(name); {
			case m == nil:
			case m.kind == '[':
				next = append(next, m.items...)
			default:
				next = append(next, m)
			}
		}
		values = next
	}
	return slices.ContainsFunc(values, func(v *node) bool { return v.kind != '{' && v.text() == s.value })
}
