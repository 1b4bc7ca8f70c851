package search

import (
	"strings"

	"trellis/fhir"
)

// operate reads a parameter with an operation of _filter (search_filter.html, operators). What cannot be answered as the
// operation is defined is refused. ne asks for another value, beside the one named or without it, which is not the same as not.
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
		modifier, ok := map[string]string{"eq": "", "ne": "", "ss": "below", "sb": "above", "in": "in", "ni": "not-in"}[a.op]
		if ok {
			if modifier != "in" && modifier != "not-in" {
				a.value = namedSystem(a.value, 2)
			}
			c, err := p.token(a, par, modifier, []string{a.value})
			if x, ok := c.(Index); ok {
				x.Other = a.op == "ne"
				c = x
			}
			return c, err
		}
	case KindReference:
		if a.op == "eq" || a.op == "re" {
			return p.reference(a, par, "", []string{a.value})
		}
	case KindURI:
		mode, ok := map[string]Mode{"eq": Exact, "ss": Below}[a.op] // ne: a canonical is there twice, with its version and without
		switch {
		case ok:
			values, err := p.read(a, KindURI, mode, []string{a.value})
			return Index{Kind: KindURI, Params: par.Reads, Mode: mode, Values: values}, err
		case a.op == "sb":
			return p.above(a, par, []string{a.value})
		}
	case KindComposite:
		if a.op == "eq" {
			return p.composite(a, par, []string{strings.ReplaceAll(a.value, `\$`, "$")})
		}
	case KindDate, KindNumber, KindQuantity:
		values, err := p.operateOrdered(a, par.Kind)
		if err != nil || values != nil {
			return Index{Kind: par.Kind, Params: par.Reads, Values: values}, err
		}
	}
	return nil, notOffered(a, string(par.Kind))
}

// namedSystem writes out a code system that search_filter.html lets a filter name shortly. parts is how many the value has
// with its system in it; the system is the last but one.
func namedSystem(value string, parts int) string {
	given := splitEscaped(value, '|')
	if len(given) != parts {
		return value
	}
	system, ok := map[string]string{"loinc": fhir.SystemLOINC, "snomed": fhir.SystemSNOMED, "rxnorm": fhir.SystemRxNorm, "ucum": UCUM}[given[parts-2]]
	if !ok {
		return value
	}
	given[parts-2] = system
	return strings.Join(given, "|")
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
	mode, ok := map[string]Mode{"eq": Same, "ne": Same, "co": Contains, "sw": Prefix, "ew": Ends}[a.op]
	if !ok {
		return nil, notOffered(a, "string")
	}
	values, err := p.read(a, KindString, mode, []string{a.value})
	return Index{Kind: KindString, Params: par.Reads, Mode: mode, Values: values, Other: a.op == "ne"}, err
}

// operateOrdered reads a comparison; nil values mean that the operation is none. po is true when the
// spans share a moment: what the store does for ap, without ap's tenth.
func (p *parser) operateOrdered(a ask, kind Kind) ([]Value, error) {
	if kind == KindQuantity {
		a.value = namedSystem(a.value, 3)
	}
	switch a.op {
	case "eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb":
		return p.read(a, kind, Exact, []string{a.op + a.value})
	case "po", "co":
		if kind != KindDate { // a number's own precision is not kept
			return nil, nil
		}
		values, err := p.read(a, kind, Exact, []string{"eq" + a.value})
		if err == nil {
			values[0].Prefix = map[string]string{"po": "ap", "co": Includes}[a.op]
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
