package search

import (
	"strings"

	"trellis/fhir"
)

// ask is one criterion while it is taken apart: rest is what of its name is still to be read, for
// resources of typ ("" for any).
type ask struct {
	name  string // as sent, for errors
	typ   string
	rest  string
	value string
	depth int    // hops behind us
	top   bool   // a text scan may stand here
	op    string // operation of a _filter; "" elsewhere
}

// hop goes over one reference; what follows is about resources of typ.
func (a ask) hop(typ, rest string) ask {
	a.typ, a.rest, a.depth, a.top = typ, rest, a.depth+1, false
	return a
}

// criterion reads a parameter: _has, a chain, or a parameter of the type itself.
func (p *parser) criterion(a ask) (Condition, error) {
	if a.depth > maxDepth {
		return nil, invalid(a.name, "at most four chained steps")
	}
	if p.steps++; p.steps > maxSteps {
		return nil, tooMany(a.name, "leads to too many types; name them as reference:Type")
	}
	if rest, ok := strings.CutPrefix(a.rest, "_has:"); ok {
		return p.has(a, rest)
	}
	if head, tail, found := strings.Cut(a.rest, "."); found {
		return p.chain(a, head, tail)
	}
	code, modifier, modified := strings.Cut(a.rest, ":")
	if modified && modifier == "" {
		return nil, bad(a.name, "this modifier is not offered")
	}
	if strings.HasPrefix(code, "_") {
		if a.op != "" && isSpecial(code) {
			var err error
			if modifier, a, err = specialOperation(a, code); err != nil {
				return nil, err
			}
		}
		if c, known, err := p.special(a, code, modifier); known {
			return c, err
		}
	}
	par, err := p.find(a, code)
	if err != nil {
		return nil, err
	}
	if a.op != "" {
		return p.operate(a, par)
	}
	return p.simple(a, par, modifier)
}

// find looks a parameter up; the problem says why it cannot be used.
func (p *parser) find(a ask, code string) (*Parameter, error) {
	par, ok := p.s.lookup(a.typ, code)
	if ok && par.notReady {
		return nil, notReady(a.name)
	}
	if ok {
		return par, nil
	}
	if ps := p.s.byType[a.typ]; ps != nil && ps.unserved[code] != "" {
		return nil, bad(a.name, ps.unserved[code])
	}
	where := a.typ
	if where == "" {
		where = "a search across types"
	}
	if a.name == "_filter" {
		return nil, bad(a.name, "names a parameter that is not known for "+where)
	}
	return nil, bad(a.name, "is not known for "+where)
}

func notReady(name string) *fhir.Problem {
	return fhir.NewProblem(fhir.Unavailable, "transient", "search parameter "+clean(name)+": is being indexed; try again later")
}

// has reads _has:Type:reference:rest (R4 3.1.1.4.5).
func (p *parser) has(a ask, rest string) (Condition, error) {
	parts := strings.SplitN(rest, ":", 3)
	if len(parts) != 3 || !fhir.KnownType(parts[0]) {
		return nil, bad(a.name, "must be _has:Type:reference:parameter")
	}
	inner := a.hop(parts[0], parts[2])
	par, err := p.find(inner, parts[1])
	if err != nil {
		return nil, err
	}
	if par.Kind != KindReference {
		return nil, bad(a.name, "its second part is no reference parameter")
	}
	if a.typ != "" && (par.Target != "" && par.Target != a.typ || len(par.Targets) > 0 && !contains(par.Targets, a.typ)) {
		return nil, bad(a.name, "its reference never leads to "+a.typ)
	}
	where, err := p.criterion(inner)
	if err != nil {
		return nil, err
	}
	return Has{Type: parts[0], Params: par.Reads, Where: where}, nil
}

// chain reads reference[:Type].rest (R4 3.1.1.4.4).
func (p *parser) chain(a ask, head, tail string) (Condition, error) {
	par, types, err := p.leads(a, head)
	if err != nil {
		return nil, err
	}
	return p.eachType(a, par, types, func(typ string) (Condition, error) { return p.criterion(a.hop(typ, tail)) })
}

// leads finds the reference parameter of a chain and the types it may lead to.
func (p *parser) leads(a ask, head string) (*Parameter, []string, error) {
	code, typ, typed := strings.Cut(head, ":")
	par, err := p.find(a, code)
	if err != nil {
		return nil, nil, err
	}
	if par.Kind != KindReference {
		return nil, nil, bad(a.name, "only references can be chained")
	}
	switch {
	case typed && (!fhir.KnownType(typ) || par.Target != "" && par.Target != typ || len(par.Targets) > 0 && !contains(par.Targets, typ)):
		return nil, nil, bad(a.name, "the reference never leads to the type named")
	case typed:
		return par, []string{typ}, nil
	case par.Target != "":
		return par, []string{par.Target}, nil
	}
	return par, par.Targets, nil
}

// eachType is the chain to any of types for which where makes sense; to none is an error.
func (p *parser) eachType(a ask, par *Parameter, types []string, where func(typ string) (Condition, error)) (Condition, error) {
	var out Or
	var first error
	for _, typ := range types {
		c, err := where(typ)
		if err != nil {
			if problem, ok := err.(*fhir.Problem); ok && len(types) > 1 && problem.Category == fhir.Unsupported {
				if first == nil {
					first = err
				}
				continue // this type does not know the parameter
			}
			return nil, err
		}
		if out = append(out, Chain{Params: par.Reads, Target: typ, Where: c}); len(out) > maxTypes {
			return nil, bad(a.name, "leads to too many types; name one as reference:Type")
		}
	}
	switch {
	case len(out) == 1:
		return out[0], nil
	case len(out) > 1:
		return out, nil
	case len(types) == 1 && first != nil:
		return nil, first
	}
	return nil, bad(a.name, "no type the reference may lead to knows the parameter")
}

// simple reads a parameter of the type with its modifier and value.
func (p *parser) simple(a ask, par *Parameter, modifier string) (Condition, error) {
	if modifier == "missing" {
		return missing(a, present(par))
	}
	alternatives, err := p.alternatives(a)
	if err != nil {
		return nil, err
	}
	switch par.Kind {
	case KindToken:
		return p.token(a, par, modifier, alternatives)
	case KindReference:
		return p.reference(a, par, modifier, alternatives)
	case KindComposite:
		if modifier != "" {
			return nil, bad(a.name, "this modifier is not offered")
		}
		return p.composite(a, par, alternatives)
	case KindSpecial:
		return p.near(a, par, modifier, alternatives)
	}
	mode := Exact
	switch {
	case par.Kind == KindString && modifier == "":
		mode = Prefix
	case modifier == "":
	case par.Kind == KindString && modifier == "exact":
	case par.Kind == KindString && modifier == "contains":
		mode = Contains
	case par.Kind == KindURI && modifier == "below":
		mode = Below
	case par.Kind == KindURI && modifier == "above":
		return p.above(a, par, alternatives)
	default:
		return nil, bad(a.name, "this modifier is not offered")
	}
	values, err := p.read(a, par.Kind, mode, alternatives)
	if err != nil {
		return nil, err
	}
	return Index{Kind: par.Kind, Params: par.Reads, Mode: mode, Values: values}, nil
}

// missing is R4 3.1.1.4.2's :missing, given the condition that there is a value.
func missing(a ask, present Condition) (Condition, error) {
	switch a.value {
	case "true":
		return Not{present}, nil
	case "false":
		return present, nil
	}
	return nil, invalid(a.name, ":missing must be true or false")
}

// present holds when the resource has any value of the parameter.
func present(par *Parameter) Condition {
	switch par.Kind {
	case KindReference:
		rows := []Condition{Index{Kind: KindReference, Params: par.Reads, Target: par.Target}}
		if par.Target == "" {
			rows = append(rows, Index{Kind: KindURI, Params: par.Reads}, Index{Kind: KindToken, Params: suffixed(par.Reads, ":identifier")})
		}
		return Or(rows)
	case KindComposite:
		var out Or
		if root := par.composite.root; root != nil {
			out = append(out, And{present(root.halves[0]), present(root.halves[1])})
		}
		if len(par.composite.elems) > 0 {
			out = append(out, Index{Kind: KindComposite, Params: par.composite.reads})
		}
		return out
	case KindSpecial:
		return Index{Kind: KindComposite, Params: par.Reads}
	}
	return Index{Kind: par.Kind, Params: par.Reads}
}

func suffixed(params []string, suffix string) []string {
	out := make([]string, len(params))
	for i, p := range params {
		out[i] = p + suffix
	}
	return out
}

// composite reads a$b (R4 3.1.1.4.16).
func (p *parser) composite(a ask, par *Parameter, alternatives []string) (Condition, error) {
	c := par.composite
	var out Or
	for _, alt := range alternatives {
		parts := splitEscaped(alt, '$')
		if len(parts) != 2 {
			return nil, invalid(a.name, "must be two values joined by $")
		}
		if c.root != nil {
			var both And
			for i, half := range c.root.halves {
				b := a
				b.value, b.top = parts[i], false
				cond, err := p.simple(b, half, "")
				if err != nil {
					return nil, err
				}
				both = append(both, cond)
			}
			out = append(out, both)
		}
		if len(c.elems) > 0 {
			e := Element{Params: c.reads}
			for i, into := range []*Component{&e.A, &e.B} {
				component, err := p.component(a, par, i, parts[i])
				if err != nil {
					return nil, err
				}
				*into = component
			}
			out = append(out, e)
		}
	}
	if len(out) == 1 {
		return out[0], nil
	}
	return out, nil
}

func (p *parser) component(a ask, par *Parameter, side int, value string) (Component, error) {
	kind := par.composite.elems[0].kinds[side]
	out := Component{Kind: kind}
	if kind == KindString {
		out.Mode = Prefix
	}
	var err error
	if kind == KindReference {
		v, ok := p.literal(&Parameter{Code: par.composite.codes[side]}, "", unescape(value))
		if !ok || v.RefID == "" {
			return Component{}, invalid(a.name, "needs a reference as Type/id")
		}
		out.Values = []Value{v}
		return out, nil
	}
	out.Values, err = p.read(a, kind, out.Mode, []string{value})
	if kind == KindToken && err == nil {
		if half, ok := p.s.lookup(a.typ, par.composite.codes[side]); ok && half.implied != "" {
			out.Values = implicit(out.Values, half.implied)
		}
	}
	return out, err
}
