package search

import (
	"fmt"
	"sort"
	"strings"

	"trellis/fhir"
)

// Kind is the R4 search parameter type.
type Kind string

// The kinds this server indexes.
const (
	KindToken     Kind = "token"
	KindReference Kind = "reference"
	KindDate      Kind = "date"
	KindString    Kind = "string"
)

// definition is one generated row: base type, code, kind, expression and target types.
type definition struct{ base, code, kind, expression, targets string }

// Parameter is a search parameter of one resource type with its compiled accessor.
type Parameter struct {
	Code    string
	Kind    Kind
	Targets []string // for references: the types R4 allows
	paths   []path
}

// Registry holds the search parameters of every resource type. It is read-only after New.
type Registry struct {
	byType map[string]map[string]*Parameter
	// unserved holds standard parameters of kinds not indexed yet, to tell them from unknown ones.
	unserved map[string]string
}

// New compiles the R4 standard parameters.
func New() (*Registry, error) {
	r := &Registry{byType: map[string]map[string]*Parameter{}, unserved: map[string]string{}}
	for _, d := range r4Parameters() {
		if d.base == "Resource" {
			continue // _id, _lastUpdated and the other common ones are columns, not index rows
		}
		kind := Kind(d.kind)
		switch kind {
		case KindToken, KindReference, KindDate, KindString:
		default:
			r.unserved[d.base+"."+d.code] = d.kind
			continue
		}
		paths, err := compile(d.expression)
		if err != nil {
			return nil, fmt.Errorf("search: %s.%s: %w", d.base, d.code, err)
		}
		if r.byType[d.base] == nil {
			r.byType[d.base] = map[string]*Parameter{}
		}
		r.byType[d.base][d.code] = &Parameter{Code: d.code, Kind: kind, Targets: strings.Fields(d.targets), paths: paths}
	}
	return r, nil
}

// Lookup finds a parameter of a type.
func (r *Registry) Lookup(typ, code string) (*Parameter, bool) {
	p, ok := r.byType[typ][code]
	return p, ok
}

// Parameters lists the parameters served for a type, in alphabetical order.
func (r *Registry) Parameters(typ string) []*Parameter {
	out := make([]*Parameter, 0, len(r.byType[typ]))
	for _, p := range r.byType[typ] {
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Code < out[j].Code })
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
	seen := map[string]bool{}
	for _, code := range patientCompartment(res.Type) {
		p, ok := r.Lookup(res.Type, code)
		if !ok {
			continue
		}
		for _, n := range p.nodes(res) {
			ref, ok := fhir.ParseReference(n.Get("reference").Text(), base)
			if ok && ref.Type == "Patient" && !seen[ref.ID] {
				seen[ref.ID] = true
				out = append(out, ref)
			}
		}
	}
	return out
}

// InPatientCompartment reports whether resources of the type can be in a Patient's compartment.
func InPatientCompartment(typ string) bool {
	return typ == "Patient" || len(patientCompartment(typ)) > 0
}
