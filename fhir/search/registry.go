package search

import (
	"fmt"
	"sort"
	"strings"
	"sync/atomic"

	"trellis/fhir"
)

// Kind is the R4 search parameter type (R4 3.1.1.4).
type Kind string

// The kinds this server serves. KindComposite marks rows of pairs; see Element.
const (
	KindToken     Kind = "token"
	KindReference Kind = "reference"
	KindDate      Kind = "date"
	KindString    Kind = "string"
	KindNumber    Kind = "number"
	KindQuantity  Kind = "quantity"
	KindURI       Kind = "uri"
	KindComposite Kind = "composite"
	KindSpecial   Kind = "special" // Location.near; see Near
)

// definition is one generated row: base type, code, kind, expression, target types and the components of a composite.
type definition struct{ base, code, kind, expression, targets, components string }

// Parameter is a search parameter of one resource type with its compiled accessor.
type Parameter struct {
	Code    string
	Kind    Kind
	Targets []string // for references: the types R4 allows
	// Reads lists the parameters whose index rows answer for this one: itself when it is indexed,
	// others when they hold the same rows anyway (Observation.patient reads subject).
	Reads []string
	// Target narrows the rows of Reads to references to this type; "" when they are not narrowed.
	Target string
	URL    string // canonical URL of a custom definition; "" for those of R4

	paths     []path
	composite *composite
	implied   string // tokens of type code: their code system, which rows do not repeat
	notReady  bool   // a custom parameter whose rows are still being made
}

// Indexed reports whether the parameter makes index rows of its own.
func (p *Parameter) Indexed() bool {
	for _, r := range p.Reads {
		if r == p.Code {
			return true
		}
	}
	return false
}

// Ready reports whether the parameter can be searched by: a custom one only once its rows are made.
func (p *Parameter) Ready() bool { return !p.notReady }

// Registry holds the search parameters of every resource type. It is safe for concurrent use; only
// Define changes it, and then all at once.
type Registry struct {
	standard *snapshot
	current  atomic.Pointer[snapshot]
}

// snapshot is one immutable state of the registry.
type snapshot struct {
	byType map[string]*parameters
	common *parameters
}

// parameters are those of one type.
type parameters struct {
	byCode map[string]*Parameter
	sorted []*Parameter // by code
	// indexed are those that make rows, in the order of code.
	indexed  []*Parameter
	unserved map[string]string // standard parameters that are not offered, and why
	clinical map[string]bool   // indexed date parameters that say when care happened
}

// New compiles the R4 standard parameters.
func New() (*Registry, error) {
	s := &snapshot{byType: map[string]*parameters{}, common: newParameters()}
	for _, typ := range fhir.Types() {
		s.byType[typ] = newParameters()
	}
	for _, d := range r4Parameters() {
		into := s.byType[d.base]
		if d.base == "Resource" {
			if into = s.common; d.code != "_tag" && d.code != "_profile" && d.code != "_source" {
				continue // columns, labels or text, not index rows
			}
			d.code, d.expression = strings.TrimSpace(d.code), strings.TrimSpace(d.expression)
		}
		if err := into.define(d); err != nil {
			return nil, fmt.Errorf("search: %s.%s: %w", d.base, d.code, err)
		}
	}
	s.common.finish()
	for typ, p := range s.byType {
		if err := p.composites(typ); err != nil {
			return nil, fmt.Errorf("search: %s: %w", typ, err)
		}
		p.finish()
	}
	r := &Registry{standard: s}
	r.current.Store(s)
	return r, nil
}

func newParameters() *parameters {
	return &parameters{byCode: map[string]*Parameter{}, unserved: map[string]string{}, clinical: map[string]bool{}}
}

func (ps *parameters) define(d definition) error {
	p := &Parameter{Code: d.code, Kind: Kind(d.kind), Targets: targetTypes(d.targets)}
	switch {
	case p.Kind == KindComposite:
		c, err := parseComposite(d)
		if err != nil {
			ps.unserved[d.code] = err.Error()
			return nil
		}
		p.composite = c
	case strings.Contains(d.expression, "["):
		ps.unserved[d.code] = "search by a resource inside a Bundle is not offered"
		return nil
	default:
		paths, err := compile(d.base, p.Kind, d.expression)
		if err != nil {
			return err
		}
		p.paths = paths
		if p.Kind == KindToken {
			p.implied = impliedBy(d.expression)
		}
	}
	ps.byCode[d.code] = p
	return nil
}

// impliedBy is the one code system of the code elements an expression reads; "" when there is none.
func impliedBy(expression string) string {
	out := ""
	for i, alt := range strings.Split(expression, " | ") {
		systems := impliedSystem(alt)
		if len(systems) == 0 || i > 0 && systems[0] != out {
			return ""
		}
		out = systems[0]
	}
	return out
}

func targetTypes(s string) []string {
	if s == "*" {
		return fhir.Types()
	}
	return strings.Fields(s)
}

// finish sorts the parameters, works out which read the rows of others and lists the rest.
func (ps *parameters) finish() {
	ps.sorted, ps.indexed = nil, nil
	for _, p := range ps.byCode {
		ps.sorted = append(ps.sorted, p)
	}
	sort.Slice(ps.sorted, func(i, j int) bool { return ps.sorted[i].Code < ps.sorted[j].Code })
	ps.alias()
	for _, p := range ps.sorted {
		if p.Indexed() {
			ps.indexed = append(ps.indexed, p)
		}
		if p.Kind == KindDate && clinicalCode(p.Code) {
			for _, code := range p.Reads {
				ps.clinical[code] = true
			}
		}
	}
}

// clinicalCode names the date parameters that say when care happened; birthdate and the like do not.
func clinicalCode(code string) bool {
	switch code {
	case "date", "onset-date", "authored", "authoredon", "recorded-date", "period", "start-date", "effective":
		return true
	}
	return false
}

// Lookup finds a parameter of a type, or one common to all types ("_tag", "_profile", "_source").
// With type "" only the common ones are found.
func (r *Registry) Lookup(typ, code string) (*Parameter, bool) {
	return r.current.Load().lookup(typ, code)
}

func (s *snapshot) lookup(typ, code string) (*Parameter, bool) {
	if ps := s.byType[typ]; ps != nil {
		if p, ok := ps.byCode[code]; ok {
			return p, true
		}
	}
	p, ok := s.common.byCode[code]
	return p, ok
}

// Parameters lists the parameters served for a type, in alphabetical order, without the common ones.
func (r *Registry) Parameters(typ string) []*Parameter {
	ps := r.current.Load().byType[typ]
	if ps == nil {
		return nil
	}
	return append([]*Parameter(nil), ps.sorted...)
}

// Indexed lists the parameters of a type that make index rows, the common ones included.
func (r *Registry) Indexed(typ string) []*Parameter {
	s := r.current.Load()
	out := append([]*Parameter(nil), s.common.indexed...)
	if ps := s.byType[typ]; ps != nil {
		out = append(out, ps.indexed...)
	}
	return out
}

// Patients lists the Patients whose compartment a resource is in. Membership comes from the
// CompartmentDefinition's parameters only: Observation.focus, say, never confers it. A Patient is
// in its own compartment.
func (r *Registry) Patients(res *fhir.Resource, base string) []fhir.Reference {
	if res.Type == "Patient" {
		return []fhir.Reference{{Type: "Patient", ID: res.ID}}
	}
	var out []fhir.Reference
	var buf []*fhir.Node
	for _, code := range compartmentParams("Patient", res.Type) {
		p, ok := r.standard.lookup(res.Type, code)
		if !ok {
			continue
		}
		buf = p.nodes(buf, &res.Root)
	next:
		for _, n := range buf {
			ref, ok := fhir.ParseReference(n.Get("reference").Text(), base)
			if !ok || ref.Type != "Patient" {
				continue
			}
			for _, seen := range out {
				if seen == ref {
					continue next
				}
			}
			out = append(out, ref)
		}
	}
	return out
}

// InPatientCompartment reports whether resources of the type can be in a Patient's compartment.
func InPatientCompartment(typ string) bool {
	return typ == "Patient" || len(compartmentParams("Patient", typ)) > 0
}
