package search

import (
	"strings"

	"trellis/fhir"
)

// special reads the parameters every resource has that are no index rows (R4 3.1.1.4.1); known is false
// for any other name.
func (p *parser) special(a ask, code, modifier string) (c Condition, known bool, err error) {
	switch code {
	case "_id":
		c, err = p.id(a, modifier)
	case "_lastUpdated":
		c, err = p.lastUpdated(a, modifier)
	case "_security":
		c, err = p.label(a, modifier)
	case "_list":
		c, err = p.list(a, modifier)
	case "_text", "_content":
		c, err = p.words(a, code, modifier)
	default:
		return nil, false, nil
	}
	return c, true, err
}

func (p *parser) id(a ask, modifier string) (Condition, error) {
	if modifier == "missing" {
		return missing(a, And{})
	}
	f := Field{Name: "_id"}
	alternatives, err := p.alternatives(a)
	if err != nil {
		return nil, err
	}
	for _, alt := range alternatives {
		if !fhir.ValidID(alt) {
			return nil, invalid(a.name, "is not an id")
		}
		f.Values = append(f.Values, Value{Code: alt})
	}
	switch modifier {
	case "":
		return f, nil
	case "not":
		return Not{f}, nil
	}
	return nil, bad(a.name, "this modifier is not offered")
}

func (p *parser) lastUpdated(a ask, modifier string) (Condition, error) {
	switch modifier {
	case "missing":
		return missing(a, And{})
	case "":
	default:
		return nil, bad(a.name, "this modifier is not offered")
	}
	alternatives, err := p.alternatives(a)
	if err != nil {
		return nil, err
	}
	values, err := p.read(a, KindDate, Exact, alternatives)
	return Field{Name: "_lastUpdated", Values: values}, err
}

func (p *parser) label(a ask, modifier string) (Condition, error) {
	if modifier == "missing" {
		return missing(a, Label{})
	}
	if modifier != "" && modifier != "not" {
		return nil, bad(a.name, "this modifier is not offered")
	}
	alternatives, err := p.alternatives(a)
	if err != nil {
		return nil, err
	}
	values, err := p.read(a, KindToken, Exact, alternatives)
	if err != nil {
		return nil, err
	}
	if modifier == "not" {
		return Not{Label{values}}, nil
	}
	return Label{values}, nil
}

// list is membership in a List by its id (R4 3.1.1.4.14); the functional lists ($current-...) are not kept.
func (p *parser) list(a ask, modifier string) (Condition, error) {
	if strings.HasPrefix(a.value, "$") {
		return nil, bad(a.name, "functional lists are not offered")
	}
	par, err := p.find(ask{name: a.name, typ: "List"}, "item")
	if err != nil {
		return nil, err
	}
	if modifier == "missing" {
		return missing(a, Has{Type: "List", Params: par.Reads, Where: And{}})
	}
	f, err := p.id(a, modifier)
	if err != nil {
		return nil, err
	}
	if _, plain := f.(Field); !plain {
		return nil, bad(a.name, "this modifier is not offered")
	}
	return Has{Type: "List", Params: par.Reads, Where: f}, nil
}

// words reads _text (the narrative) and _content (all text): every word must be there (R4 3.1.1.4.1.2).
func (p *parser) words(a ask, code, modifier string) (Condition, error) {
	if modifier != "" {
		return nil, bad(a.name, "this modifier is not offered")
	}
	if !a.top {
		return nil, bad(a.name, "text is searched at the top of a query only")
	}
	given, err := p.alternatives(a)
	if err != nil {
		return nil, err
	}
	var alternatives [][]string
	for _, alt := range given {
		words := wordsOf(nil, unescape(alt))
		if len(words) == 0 {
			return nil, invalid(a.name, "has no words")
		}
		alternatives = append(alternatives, words)
	}
	return Scan{Param: clean(a.name), Holds: func(doc []byte) bool {
		res, err := fhir.ReadTrusted(doc)
		if err != nil {
			return false
		}
		return holdsWords(res, code == "_content", alternatives)
	}}, nil
}
