package profile

import (
	"slices"
	"strings"

	"trellis/fhir"
)

// resolve finds what a reference points to: a resource of the document, or as much as the reference says, its type.
func (r *run) resolve(v item) (item, bool) {
	text := v.node.Text()
	if v.node.Kind == '{' {
		text = v.node.Get("reference").Text()
	}
	if id, ok := strings.CutPrefix(text, "#"); ok {
		container := v.home.outermost()
		if id == "" {
			return item{node: container.node, typ: container.node.Get("resourceType").Text(), at: container.at, home: container}, true
		}
		for _, n := range container.node.Get("contained").List() {
			if n.Get("id").Text() == id {
				return v.inner(n, v.at, container), true
			}
		}
		return item{}, false
	}
	if n := r.bundled(text); n.Kind == '{' {
		return v.inner(n, v.at, nil), true
	}
	typ := v.node.Get("type").Text()
	if !fhir.KnownType(typ) {
		typ = typeIn(text)
	}
	if typ == "" {
		return item{}, false
	}
	return item{typ: typ, at: v.at, home: v.home}, true
}

// bundled finds an entry of the document's Bundle by what a reference says.
func (r *run) bundled(text string) fhir.Node {
	text, _, _ = strings.Cut(text, "/_history/")
	if n, ok := r.byURL[text]; ok {
		return n
	}
	return fhir.Node{}
}

// typeIn is the resource type in a literal reference: Patient in .../Patient/1, .../Patient/1/_history/2 and Patient?criteria.
func typeIn(text string) string {
	text, _, _ = strings.Cut(text, "/_history/")
	typ, _, conditional := strings.Cut(text, "?")
	if !conditional {
		i := strings.LastIndexByte(text, '/')
		if i < 0 || !fhir.ValidID(text[i+1:]) {
			return ""
		}
		typ = text[:i]
	}
	if typ = typ[strings.LastIndexByte(typ, '/')+1:]; !fhir.KnownType(typ) {
		return ""
	}
	return typ
}

// reference checks the type of what a reference points to, as far as it is known.
func (r *run) reference(v item, e *element, p *Profile) {
	var targets []string
	for _, t := range e.types {
		if t.code == "Reference" {
			targets = append(targets, t.targets...)
		}
	}
	if len(targets) == 0 {
		return
	}
	target, ok := r.resolve(v)
	if !ok {
		return
	}
	var allowed []string
	unknown := false
	for _, canonical := range targets {
		typ := r.c.Library.typeOf(canonical)
		switch {
		case typ == "Resource" || typ == target.typ:
			return
		case typ == "":
			unknown = true
		case !slices.Contains(allowed, typ):
			allowed = append(allowed, typ)
		}
	}
	if unknown {
		r.about(severityInformation, "not-supported", v, e, p, "%s may point to what conforms to profiles that are not known here: its target's type was not checked", e.name)
		return
	}
	r.about(severityError, "structure", v, e, p, "%s points to another type of resource than the profile allows: %s", e.name, strings.Join(allowed, ", "))
}
