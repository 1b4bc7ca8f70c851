package search

import (
	"slices"
	"strconv"
	"strings"

	"trellis/fhir"
)

// parameter reads one parameter value: one that shapes the result, or a criterion.
func (p *parser) parameter(name, value string) error {
	q := p.q
	switch name {
	case "_format", "_pretty":
		return nil
	case "_cursor":
		q.Cursor = value
		return nil
	case "_count":
		return p.count(value)
	case "_total":
		return p.total(value)
	case "_summary":
		return p.summary(value)
	case "_elements":
		return p.elements(value)
	case "_sort":
		return p.sorts(value)
	case "_contained":
		if value != "false" {
			return bad(name, "contained resources are not searched")
		}
		return nil
	case "_type":
		if q.Type != "" {
			return bad(name, "is offered for searches across types only")
		}
		return nil // read by scope
	case "_filter":
		return p.filterParameter(value)
	}
	if kind, modifier, _ := strings.Cut(name, ":"); kind == "_include" || kind == "_revinclude" {
		return p.include(kind, modifier, value)
	}
	c, err := p.criterion(ask{name: name, typ: q.Type, rest: name, value: value, top: true})
	if err != nil {
		return err
	}
	q.Where = append(q.Where, c)
	p.notePatient(name, c)
	return nil
}

func (p *parser) count(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return invalid("_count", "must be a whole number, 0 or more")
	}
	p.q.Count, p.q.CountOnly = min(n, MaxCount), p.q.CountOnly || n == 0
	return nil
}

func (p *parser) total(value string) error {
	switch value {
	case "none":
		p.q.Total = TotalNone
	case "estimate":
		p.q.Total = TotalEstimate
	case "accurate":
		p.q.Total = TotalAccurate
	default:
		return invalid("_total", "must be none, estimate or accurate")
	}
	return nil
}

func (p *parser) summary(value string) error {
	mode, ok := fhir.ParseSummary(value)
	if !ok {
		return invalid("_summary", "must be true, text, data, count or false")
	}
	p.q.Summary = mode
	p.q.CountOnly = p.q.CountOnly || mode == SummaryCount
	return nil
}

// elements reads _elements (R4 3.1.1.5.9). A path into an element asks for the element.
func (p *parser) elements(value string) error {
	for _, name := range strings.Split(value, ",") {
		name = strings.TrimSpace(name)
		if typ, rest, found := strings.Cut(name, "."); found && (typ == p.q.Type || fhir.KnownType(typ)) {
			name = rest
		}
		name, _, _ = strings.Cut(name, ".")
		if name == "" {
			continue
		}
		if !p.knownElement(name) {
			return invalid("_elements", "names an element the type does not have")
		}
		p.q.Elements = append(p.q.Elements, name)
	}
	return nil
}

func (p *parser) knownElement(name string) bool {
	if p.q.Type != "" {
		return fhir.HasElement(p.q.Type, name)
	}
	for _, typ := range p.q.Types {
		if fhir.HasElement(typ, name) {
			return true
		}
	}
	return false
}

const maxSorts = 4

func (p *parser) sorts(value string) error {
	keys := p.q.Sort
	for _, key := range strings.Split(value, ",") {
		code, desc := strings.CutPrefix(key, "-")
		s := Sort{Code: code, Descending: desc}
		if code != "_id" && code != "_lastUpdated" {
			par, ok := p.s.lookup(p.q.Type, code)
			if !ok {
				return bad("_sort", "names an unknown parameter")
			}
			switch {
			case par.Kind == KindReference: // the order would tell of references the caller may not follow
				return bad("_sort", "sorting by a reference is not offered")
			case par.Kind == KindComposite:
				return bad("_sort", "sorting by a composite is not offered")
			case par.Kind == KindSpecial:
				return bad("_sort", "sorting by a distance is not offered")
			case par.notReady:
				return notReady("_sort")
			}
			s.Kind, s.Params = par.Kind, par.Reads
		}
		keys = append(keys, s)
	}
	if len(keys) > maxSorts {
		return bad("_sort", "at most four keys")
	}
	p.q.Sort = keys
	return nil
}

// include reads _include and _revinclude (R4 3.1.1.5.4).
func (p *parser) include(name, modifier, value string) error {
	inc := Include{}
	switch modifier {
	case "":
	case "iterate", "recurse": // recurse is the name STU3 used
		inc.Iterate = true
	default:
		return bad(name+":"+modifier, "this modifier is not offered")
	}
	if value == "*" && name == "_include" && p.q.Type != "" {
		value = p.q.Type + ":*"
	}
	if value == "*" && name == "_revinclude" {
		p.everything(inc.Iterate)
		return nil
	}
	parts := strings.Split(value, ":")
	if len(parts) < 2 || len(parts) > 3 || !fhir.KnownType(parts[0]) {
		return bad(name, "must be Type:parameter, Type:parameter:Target, Type:* or *")
	}
	inc.Source, inc.Code = parts[0], parts[1]
	if len(parts) == 3 {
		if !fhir.KnownType(parts[2]) {
			return bad(name, "names an unknown target type")
		}
		inc.Target = parts[2]
	}
	if err := p.followed(name, &inc); err != nil {
		return err
	}
	switch {
	case name == "_revinclude":
		if !inc.Iterate && inc.Target != "" && !p.searched(inc.Target) {
			return bad(name, "its target type is not the type searched")
		}
		p.q.RevInclude = append(p.q.RevInclude, inc)
	case !inc.Iterate && !p.searched(inc.Source):
		return bad(name, "its source type is not the type searched")
	default:
		p.q.Include = append(p.q.Include, inc)
	}
	return nil
}

// everything stands for whatever refers to what is found, of the types the token may search.
func (p *parser) everything(iterate bool) {
	for _, typ := range fhir.Types() {
		inc := Include{Source: typ, Code: "*", Iterate: iterate, Whatever: true}
		leads := false
		for _, par := range p.s.byType[typ].indexed {
			if par.Kind == KindReference && !par.notReady {
				inc.Params = append(inc.Params, par.Code)
				leads = leads || iterate || len(par.Targets) == 0 || slices.ContainsFunc(par.Targets, p.searched)
			}
		}
		if leads {
			p.q.RevInclude = append(p.q.RevInclude, inc)
		}
	}
}

func (p *parser) searched(typ string) bool {
	return p.q.Type == typ || p.q.Type == "" && contains(p.q.Types, typ)
}

// followed finds the index parameters an include follows.
func (p *parser) followed(name string, inc *Include) error {
	if inc.Code == "*" {
		for _, par := range p.s.byType[inc.Source].indexed {
			if par.Kind == KindReference && !par.notReady {
				inc.Params = append(inc.Params, par.Code)
			}
		}
		return nil
	}
	par, ok := p.s.lookup(inc.Source, inc.Code)
	if !ok || par.Kind != KindReference {
		return bad(name, "names no reference parameter of that type")
	}
	if par.notReady {
		return notReady(name)
	}
	if par.Target != "" {
		if inc.Target != "" && inc.Target != par.Target {
			return bad(name, "the parameter never refers to that target type")
		}
		inc.Target = par.Target
	}
	inc.Params = par.Reads
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
