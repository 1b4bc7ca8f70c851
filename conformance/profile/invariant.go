package profile

import (
	"strings"

	"trellis/fhir"
	"trellis/fhir/path"
)

// invariant checks one constraint of an element.
func (r *run) invariant(v item, e *element, c constraint, p *Profile) {
	if c.expression == "" || c.key == "ele-1" && v.primitive() {
		return
	}
	key := place{v.at, c.key, c.expression}
	if r.done[key] {
		return
	}
	r.done[key] = true
	holds := r.holds(v, e, c)
	severity := severityError
	if c.warning {
		severity = severityWarning
	}
	switch holds {
	case no:
		r.add(Finding{severity, "invariant", v.at, p.Canonical(), c.key, "the rule does not hold: " + short(c.text)})
	case untold:
		r.add(Finding{severityInformation, "not-supported", v.at, p.Canonical(), c.key, "the rule could not be evaluated: " + short(c.text)})
	}
}

// holds evaluates a constraint. R4's own, which nearly every element has, are known here.
func (r *run) holds(v item, e *element, c constraint) verdict {
	switch c.key {
	case "ele-1":
		for _, m := range v.node.Members {
			if m.Name != "id" {
				return yes
			}
		}
		return no
	case "ext-1":
		value := len(v.reach("value", true, nil)) > 0
		return told(value != !v.node.Get("extension").IsZero())
	case "dom-2":
		return contained(v, func(n fhir.Node) bool { return n.Get("contained").IsZero() })
	case "dom-3":
		return told(containedUsed(v.node))
	case "dom-4":
		return contained(v, func(n fhir.Node) bool {
			return n.Path("meta", "versionId").IsZero() && n.Path("meta", "lastUpdated").IsZero()
		})
	case "dom-5":
		return contained(v, func(n fhir.Node) bool { return n.Path("meta", "security").IsZero() })
	case "dom-6":
		return told(!v.node.Path("text", "div").IsZero())
	}
	if v.node.IsZero() || r.c.Paths == nil {
		return untold
	}
	in, err := r.c.Paths.Read(c.expression)
	if err != nil {
		return untold
	}
	typ := v.typ
	if typ == "BackboneElement" || typ == "Element" || typ == "" {
		if typ = e.path; e.content != "" {
			typ = e.content
		}
	}
	if fhir.KnownType(v.typ) {
		typ = ""
	}
	ok, err := r.c.Paths.Holds(r.ctx, in, path.Subject{Resource: v.home.node, Root: v.home.outermost().node, Element: v.node, Type: typ, Resolve: func(reference string) []byte {
		quoted, err := fhir.ParseJSON(fhir.Quote(reference))
		if err != nil {
			return nil
		}
		target, ok := r.resolve(item{node: quoted, at: v.at, home: v.home})
		switch {
		case !ok:
			return nil
		case target.node.Kind == '{':
			return target.node.Raw()
		}
		return append(append([]byte(`{"resourceType":`), fhir.Quote(target.typ)...), '}')
	}})
	if err != nil {
		return untold
	}
	return told(ok)
}

// contained reports whether all that a resource contains is good.
func contained(v item, good func(fhir.Node) bool) verdict {
	for _, n := range v.node.Get("contained").List() {
		if !good(n) {
			return no
		}
	}
	return yes
}

// containedUsed is R4's dom-3: what is contained is referred to from the resource that contains it, or refers to that.
func containedUsed(n fhir.Node) bool {
	contained := n.Get("contained").List()
	if len(contained) == 0 {
		return true
	}
	used := map[string]bool{}
	note := func(v fhir.Node) {
		if id, ok := strings.CutPrefix(v.Text(), "#"); ok && v.Kind == '"' {
			used[id] = true
		}
	}
	n.Walk(func(object fhir.Node) {
		for _, m := range object.Members {
			for _, v := range m.Value.List() {
				note(v)
			}
		}
	})
	for _, c := range contained {
		if used[c.Get("id").Text()] {
			continue
		}
		back := false
		c.Walk(func(object fhir.Node) { back = back || object.Get("reference").Text() == "#" })
		if !back {
			return false
		}
	}
	return true
}
