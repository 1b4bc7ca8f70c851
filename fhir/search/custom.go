package search

import (
	"fmt"
	"strings"

	"trellis/fhir"
)

// Custom is a search parameter a deployment defines (R4 SearchParameter).
type Custom struct {
	Base       []string // resource types
	Code       string
	Kind       Kind
	Expression string // one expression; alternatives of other types than Base may stand in it
	URL        string
	Targets    []string // references: the types they may lead to; empty for any
	// Ready says that rows exist for all stored resources. Until then the parameter is extracted on
	// writes and refused in searches: an empty answer would be a lie.
	Ready bool
}

// Define replaces the custom parameters with defs, all at once; on error nothing changes. The error names
// the definition and the construct that is not offered.
func (r *Registry) Define(defs []Custom) error {
	next := &snapshot{byType: make(map[string]*parameters, len(r.standard.byType)), common: r.standard.common}
	for typ, ps := range r.standard.byType {
		next.byType[typ] = ps
	}
	copied := map[string]bool{}
	for _, d := range defs {
		compiled, err := r.compileCustom(d)
		if err != nil {
			return err
		}
		for typ, par := range compiled {
			if !copied[typ] {
				copied[typ] = true
				next.byType[typ] = next.byType[typ].copy()
			}
			if _, exists := next.byType[typ].byCode[par.Code]; exists {
				return customFault(d, "two custom parameters have this code for "+typ)
			}
			next.byType[typ].byCode[par.Code] = par
		}
	}
	for typ := range copied {
		next.byType[typ].finish()
	}
	r.current.Store(next)
	return nil
}

// Check reports whether a custom definition could be served, without defining it.
func (r *Registry) Check(d Custom) error {
	_, err := r.compileCustom(d)
	return err
}

// compileCustom makes the parameter for each of its base types.
func (r *Registry) compileCustom(d Custom) (map[string]*Parameter, error) {
	if !validCode(d.Code) {
		return nil, customFault(d, "the code must be letters, digits and hyphens, at most 64")
	}
	switch d.Kind {
	case KindToken, KindReference, KindDate, KindString, KindNumber, KindQuantity, KindURI:
	default:
		return nil, customFault(d, "this type of parameter is not offered for custom definitions")
	}
	if len(d.Base) == 0 {
		return nil, customFault(d, "a base type is required")
	}
	for _, t := range d.Targets {
		if !fhir.KnownType(t) {
			return nil, customFault(d, "names an unknown target type")
		}
	}
	out := map[string]*Parameter{}
	for _, typ := range d.Base {
		ps := r.standard.byType[typ]
		if ps == nil {
			return nil, customFault(d, "names an unknown base type")
		}
		if _, standard := r.standard.lookup(typ, d.Code); standard || ps.unserved[d.Code] != "" {
			return nil, customFault(d, "R4 defines a parameter with this code for "+typ)
		}
		paths, err := compile(typ, d.Kind, alternativesFor(d.Expression, typ))
		if err != nil {
			return nil, customFault(d, err.Error())
		}
		out[typ] = &Parameter{Code: d.Code, Kind: d.Kind, Targets: d.Targets, URL: d.URL, paths: paths, notReady: !d.Ready}
		if d.URL == "" {
			return nil, customFault(d, "a canonical URL is required")
		}
	}
	return out, nil
}

// alternativesFor keeps the alternatives of a shared expression that are about typ; what starts at no
// resource type is kept too, for compile to refuse.
func alternativesFor(expression, typ string) string {
	var keep []string
	for _, alt := range splitOutside(expression, '|') {
		alt = strings.TrimSpace(alt)
		root, _, _ := strings.Cut(strings.TrimLeft(alt, "("), ".")
		switch {
		case root == "Resource" || root == "DomainResource":
			keep = append(keep, strings.Replace(alt, root+".", typ+".", 1))
		case root == typ || !fhir.KnownType(root):
			keep = append(keep, alt)
		}
	}
	if len(keep) == 0 {
		return expression
	}
	return strings.Join(keep, " | ")
}

func customFault(d Custom, why string) error {
	return fhir.NewProblem(fhir.Unprocessable, "not-supported", fmt.Sprintf("SearchParameter %s: %s", clean(d.Code), why))
}

func validCode(s string) bool {
	for i, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c >= '0' && c <= '9' || c == '-')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// copy is a shallow copy whose parameters may be added to; finish makes its lists anew. The standard
// parameters in it are copied too, because finish writes what they read.
func (ps *parameters) copy() *parameters {
	out := newParameters()
	for code, p := range ps.byCode {
		q := *p
		if p.composite != nil {
			c := *p.composite
			q.composite = &c
		}
		out.byCode[code] = &q
	}
	out.unserved = ps.unserved
	return out
}
