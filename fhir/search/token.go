package search

import (
	"errors"
	"strings"

	"trellis/fhir"
)

// token reads a token parameter with its modifiers (R4 3.1.1.4.2, 3.1.1.4.10).
func (p *parser) token(a ask, par *Parameter, modifier string, alternatives []string) (Condition, error) {
	x := Index{Kind: KindToken, Params: par.Reads}
	var err error
	switch modifier {
	case "", "not":
		x.Values, err = p.read(a, KindToken, Exact, alternatives)
	case "of-type":
		x.Params = suffixed(par.Reads, ":of-type")
		x.Values, err = ofType(a, alternatives)
	case "in", "not-in":
		x.Values, err = p.expanded(a, alternatives)
	case "above", "below":
		x.Values, err = p.hierarchy(a, modifier, alternatives)
	case "text":
		return p.textScan(a, par, alternatives)
	default:
		return nil, bad(a.name, "this modifier is not offered")
	}
	if err != nil {
		return nil, err
	}
	if par.implied != "" && modifier != "of-type" {
		x.Values = implicit(x.Values, par.implied)
	}
	var c Condition = x
	if len(x.Values) == 0 {
		c = Or{} // a known value set without codes has no members; no Values would mean any row
	}
	if modifier == "not" || modifier == "not-in" {
		return Not{c}, nil
	}
	return c, nil
}

// implicit takes off the system that an element of type code has without saying so (R4 3.1.1.4.10).
func implicit(values []Value, system string) []Value {
	for i, v := range values {
		if v.System == system && v.Code != "" {
			values[i] = Value{AnySystem: true, Code: v.Code}
		}
	}
	return values
}

// ofType reads system|code|value; all three must be there.
func ofType(a ask, alternatives []string) ([]Value, error) {
	var out []Value
	for _, alt := range alternatives {
		parts := splitEscaped(alt, '|')
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			return nil, invalid(a.name, "must be system|code|value")
		}
		out = append(out, Value{System: cut(unescape(parts[0])), Code: cut(unescape(parts[1]) + "|" + unescape(parts[2]))})
	}
	return out, nil
}

func (p *parser) expanded(a ask, alternatives []string) ([]Value, error) {
	if p.o.Terminology == nil {
		return nil, bad(a.name, "value sets are not offered here")
	}
	var out []Value
	for _, alt := range alternatives {
		codings, err := p.o.Terminology.Expand(p.ctx, unescape(alt))
		if err != nil {
			return nil, unknownTerm(a, "the value set is not known here", err)
		}
		for _, c := range codings {
			out = append(out, Value{System: c.System, Code: c.Code})
		}
		if len(out) > maxExpanded {
			return nil, tooMany(a.name, "the value set is too large to search by")
		}
	}
	return out, nil
}

func (p *parser) hierarchy(a ask, modifier string, alternatives []string) ([]Value, error) {
	if p.o.Terminology == nil {
		return nil, bad(a.name, "code hierarchies are not offered here")
	}
	related := p.o.Terminology.Below
	if modifier == "above" {
		related = p.o.Terminology.Above
	}
	var out []Value
	for _, alt := range alternatives {
		v, err := tokenValue(alt)
		if err != nil || v.System == "" || v.Code == "" {
			return nil, invalid(a.name, "must be system|code")
		}
		codes, err := related(p.ctx, v.System, v.Code)
		if err != nil {
			return nil, unknownTerm(a, "the code or its code system is not known here", err)
		}
		if !contains(codes, v.Code) {
			out = append(out, v)
		}
		for _, code := range codes {
			out = append(out, Value{System: v.System, Code: code})
		}
		if len(out) > maxExpanded {
			return nil, tooMany(a.name, "the hierarchy is too large to search by")
		}
	}
	return out, nil
}

// unknownTerm is the refusal for what terminology does not know; its own problems (say, unavailable) pass
// with their category but under the parameter's name.
func unknownTerm(a ask, why string, err error) error {
	var problem *fhir.Problem
	if errors.As(err, &problem) && problem.Category == fhir.Unavailable {
		return fhir.NewProblem(fhir.Unavailable, "transient", "search parameter "+clean(a.name)+": terminology is not available; try again later").Because(err)
	}
	return invalid(a.name, why).Because(err)
}

// textScan reads :text: the folded value at the start of a word of a display or text.
func (p *parser) textScan(a ask, par *Parameter, alternatives []string) (Condition, error) {
	if !a.top {
		return nil, bad(a.name, "text is searched at the top of a query only")
	}
	var wanted []string
	for _, alt := range alternatives {
		text := Fold(unescape(alt))
		if text == "" {
			return nil, invalid(a.name, errEmpty.Error())
		}
		wanted = append(wanted, text)
	}
	return Scan{Param: clean(a.name), Holds: func(doc []byte) bool {
		res, err := fhir.ReadTrusted(doc)
		if err != nil {
			return false
		}
		for _, n := range par.nodes(nil, &res.Root) {
			if displayed(n, wanted) {
				return true
			}
		}
		return false
	}}, nil
}

// displayed reports whether a text of a concept, coding, identifier or reference has one of wanted at
// the start of a word.
func displayed(n *fhir.Node, wanted []string) bool {
	texts := []string{n.Get("text").Text(), n.Get("display").Text(), n.Path("type", "text").Text()}
	for _, c := range n.Get("coding").List() {
		texts = append(texts, c.Get("display").Text())
	}
	for _, t := range texts {
		folded := Fold(t)
		for _, w := range wanted {
			if strings.HasPrefix(folded, w) || strings.Contains(folded, " "+w) {
				return true
			}
		}
	}
	return false
}
