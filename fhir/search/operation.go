package search

import "strings"

// operate reads a parameter with an operation of _filter. What cannot be answered as the operation is
// defined is refused: ne, say, asks for another value beside the one named, which is not the same as not.
func (p *parser) operate(a ask, par *Parameter) (Condition, error) {
	if strings.Contains(a.rest, ":") {
		return nil, bad(a.name, "a modifier is not offered in a filter")
	}
	if a.op == "pr" {
		return presence(a, present(par))
	}
	if a.value == "" {
		return nil, invalid(a.name, errEmpty.Error())
	}
	switch par.Kind {
	case KindString:
		return p.operateText(a, par)
	case KindToken:
		modifier, ok := map[string]string{"eq": "", "ss": "below", "sb": "above", "in": "in", "ni": "not-in"}[a.op]
		if ok {
			return p.token(a, par, modifier, []string{a.value})
		}
	case KindReference:
		if a.op == "eq" || a.op == "re" {
			return p.reference(a, par, "", []string{a.value})
		}
	case KindURI:
		mode, ok := map[string]Mode{"eq": Exact, "sb": Below}[a.op]
		if ok {
			values, err := p.read(a, KindURI, mode, []string{a.value})
			return Index{Kind: KindURI, Params: par.Reads, Mode: mode, Values: values}, err
		}
	case KindDate, KindNumber, KindQuantity:
		values, err := p.operateOrdered(a, par.Kind)
		if err != nil || values != nil {
			return Index{Kind: par.Kind, Params: par.Reads, Values: values}, err
		}
	}
	return nil, notOffered(a, string(par.Kind))
}

func notOffered(a ask, kind string) error {
	if !knownOperation(a.op) {
		return invalid(a.name, "the operation is not one of R4's filter operations")
	}
	return bad(a.name, "the operation "+a.op+" is not offered for "+kind+" parameters")
}

func knownOperation(op string) bool {
	return contains([]string{"eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re"}, op)
}

func presence(a ask, present Condition) (Condition, error) {
	switch a.value {
	case "true":
		return present, nil
	case "false":
		return Not{present}, nil
	}
	return nil, invalid(a.name, "pr must be true or false")
}

func (p *parser) operateText(a ask, par *Parameter) (Condition, error) {
	mode, ok := map[string]Mode{"eq": Same, "co": Contains, "sw": Prefix, "ew": Ends}[a.op]
	if !ok {
		return nil, notOffered(a, "string")
	}
	values, err := p.read(a, KindString, mode, []string{a.value})
	return Index{Kind: KindString, Params: par.Reads, Mode: mode, Values: values}, err
}

// operateOrdered reads a comparison; nil values mean that the operation is none. po is true when the
// spans share a moment: what the store does for ap, without ap's tenth.
func (p *parser) operateOrdered(a ask, kind Kind) ([]Value, error) {
	switch a.op {
	case "eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb":
		return p.read(a, kind, Exact, []string{a.op + a.value})
	case "po":
		if kind != KindDate {
			return nil, nil
		}
		values, err := p.read(a, kind, Exact, []string{"eq" + a.value})
		if err == nil {
			values[0].Prefix = "ap"
		}
		return values, err
	}
	return nil, nil
}

func isSpecial(code string) bool {
	switch code {
	case "_id", "_lastUpdated", "_security", "_list", "_text", "_content":
		return true
	}
	return false
}

// specialOperation puts an operation on a parameter that is no index row into the terms of its modifiers.
func specialOperation(a ask, code string) (modifier string, out ask, err error) {
	if strings.Contains(a.rest, ":") {
		return "", a, bad(a.name, "a modifier is not offered in a filter")
	}
	op := a.op
	a.op = ""
	switch {
	case op == "eq" && code != "_text" && code != "_content":
		return "", a, nil
	case code == "_lastUpdated" && contains([]string{"ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"}, op):
		a.value = op + a.value
		return "", a, nil
	}
	a.op = op
	return "", a, notOffered(a, "such")
}
