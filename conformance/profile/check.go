package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"trellis/fhir"
)

// check says what there is to say of an item by one definition of it, and of all below it.
func (r *run) check(v item, e *element, p *Profile) {
	if !r.enter(v) {
		return
	}
	defer r.leave()
	if !r.fits(v, e, p) {
		return
	}
	r.values(v, e, p)
	for _, b := range e.bindings {
		if r.more(v) {
			r.bound(v, e, b, p)
		}
	}
	for _, c := range e.constraints {
		if r.more(v) {
			r.invariant(v, e, c, p)
		}
	}
	r.below(v, e, p)
	r.definitions(v, e, p)
}

// enter reports whether there is time and room for a look at an item. Where there is none the check ends, and says so.
func (r *run) enter(v item) bool {
	if r.nesting >= maxNesting {
		r.end(v)
		return false
	}
	if !r.more(v) {
		return false
	}
	r.nesting++
	return true
}

// more is enter for what goes no deeper.
func (r *run) more(v item) bool {
	r.steps++
	if r.over() {
		r.end(v)
		return false
	}
	return true
}

func (r *run) over() bool { return r.steps > maxSteps || r.ctx.Err() != nil }

func (r *run) end(v item) {
	if !r.ended {
		r.ended = true
		r.findings = append(r.findings, Finding{severityWarning, "too-costly", v.at, "", "", "the check was ended here, because it takes too long"})
	}
}

func (r *run) leave() { r.nesting-- }

// fits checks the type: that of a choice, or of a resource in another. What has another type is not checked further.
func (r *run) fits(v item, e *element, p *Profile) bool {
	if len(e.types) == 0 || v.typ == "" {
		return true
	}
	var names []string
	for _, t := range e.types {
		if t.code == v.typ || t.code == "Resource" || t.code == "DomainResource" || t.code == "Element" || t.code == "BackboneElement" {
			return true
		}
		names = append(names, t.code)
	}
	if !e.choice && !fhir.KnownType(v.typ) {
		return true // the definition is of a data type: R4's structure says what it is
	}
	r.about(severityError, "structure", v, e, p, "%s has another type than the profile allows: %s", e.name, strings.Join(names, ", "))
	return false
}

// values checks the item's own value.
func (r *run) values(v item, e *element, p *Profile) {
	if v.node.IsZero() {
		if !e.fixed.IsZero() {
			r.about(severityError, "value", v, e, p, "%s has no value, and must be %s", e.name, said(e.fixed))
		}
		return
	}
	if !e.fixed.IsZero() && !equal(v.node, e.fixed) {
		r.about(severityError, "value", v, e, p, "%s must be exactly %s", e.name, said(e.fixed))
	}
	if !e.pattern.IsZero() && !matches(v.node, e.pattern) {
		r.about(severityError, "value", v, e, p, "%s must have at least %s", e.name, said(e.pattern))
	}
	if e.maxLength > 0 && v.primitive() && utf8.RuneCountInString(v.node.Text()) > e.maxLength {
		r.about(severityError, "too-long", v, e, p, "%s may have %d characters at most", e.name, e.maxLength)
	}
	for _, bound := range []struct {
		limit fhir.Node
		sign  int
		text  string
	}{{e.minValue, -1, "less"}, {e.maxValue, 1, "more"}} {
		if bound.limit.IsZero() {
			continue
		}
		switch sign, ok := order(v.node, bound.limit); {
		case !ok:
			r.about(severityInformation, "not-supported", v, e, p, "it could not be told whether %s is %s than %s", e.name, bound.text, said(bound.limit))
		case sign == bound.sign:
			r.about(severityError, "value", v, e, p, "%s may not be %s than %s", e.name, bound.text, said(bound.limit))
		}
	}
}

// said is a value of the profile in a text.
func said(n fhir.Node) string { return short(string(n.Raw())) }

// below checks the elements of an item.
func (r *run) below(v item, e *element, p *Profile) {
	children := e.children
	if len(children) == 0 && e.content != "" {
		if target := p.root.at(e.content); target != nil {
			children = target.children
		}
	}
	for _, c := range children {
		if v.primitive() && c.name != "id" && c.name != "extension" {
			continue // the definition of a primitive type has its value as an element
		}
		items := v.reach(c.name, c.choice, c.types)
		r.count(v, len(items), c, p, c.name)
		if c.max == 0 {
			continue
		}
		r.all(items, v, c, p)
	}
}

// all checks the items of one element, by it and by its slices.
func (r *run) all(items []item, v item, e *element, p *Profile) {
	for _, i := range items {
		r.check(i, e, p)
	}
	if len(e.slices) > 0 || e.slicing != nil {
		r.sliced(items, v, e, p)
	}
}

// count checks cardinality.
func (r *run) count(v item, n int, e *element, p *Profile, name string) {
	code, text := "structure", ""
	switch {
	case n < e.min && n == 0:
		code, text = "required", fmt.Sprintf("%s is missing: the profile asks for at least %d", name, e.min)
	case n < e.min:
		code, text = "required", fmt.Sprintf("%s occurs %s: the profile asks for at least %d", name, times(n), e.min)
	case e.max == 0 && n > 0:
		text = name + " is not allowed by the profile"
	case e.max != unbounded && n > e.max:
		text = fmt.Sprintf("%s occurs %s: the profile allows %d at most", name, times(n), e.max)
	default:
		return
	}
	v.at += "." + e.name
	r.about(severityError, code, v, e, p, "%s", text)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// definitions checks an item by the definitions of its type: the profiles the element names, the definition of an extension
// that its url names, and the type's own where it is held.
func (r *run) definitions(v item, e *element, p *Profile) {
	switch {
	case v.typ == "Extension" && e != p.root:
		r.extension(v, e, p)
		return
	case v.typ == "Reference":
		r.reference(v, e, p)
	}
	var named []string
	for _, t := range e.types {
		if t.code == v.typ || fhir.KnownType(v.typ) && (t.code == "Resource" || t.code == "DomainResource") {
			named = append(named, t.profiles...)
		}
	}
	switch {
	case len(named) == 1:
		r.conforms(v, named[0], e, p)
	case len(named) > 1:
		r.oneOf(v, named, e, p)
	}
	if len(e.children) > 0 || e.content != "" {
		return
	}
	if own, err := r.c.Library.Find(base + v.typ); err == nil && own.root != e && !v.primitive() && !fhir.KnownType(v.typ) {
		r.checkOnce(v, own)
		return
	}
	r.sweep(v, e, p)
}

// sweep looks for extensions below an item whose elements no definition that is held describes.
func (r *run) sweep(v item, e *element, p *Profile) {
	if !r.enter(v) {
		return
	}
	defer r.leave()
	object, of := v.object(), r.elements(v.typ)
	for _, m := range object.Members {
		name := strings.TrimPrefix(m.Name, "_")
		if m.Name != name && !object.Get(name).IsZero() || m.Value.Kind != '{' && m.Value.Kind != '[' && object.Get("_"+name).IsZero() {
			continue // it comes with its value, or there is nothing below
		}
		typ, at := "", name
		if i := slices.IndexFunc(of, func(f fhir.Element) bool { return f.Name == name }); i >= 0 {
			typ = of[i].Type
			if of[i].Choice != "" {
				at = strings.TrimSuffix(of[i].Choice, "[x]")
			}
		}
		if name == "extension" || name == "modifierExtension" {
			typ = "Extension"
		}
		for _, below := range v.values(object.Get(name), object.Get("_"+name), v.at+"."+at, typ) {
			if typ == "Extension" {
				r.extension(below, e, p)
				continue
			}
			r.sweep(below, e, p)
		}
	}
}

// elements are those of a resource type or data type, read once.
func (r *run) elements(typ string) []fhir.Element {
	list, known := r.types[typ]
	if !known {
		list = fhir.TypeElements(typ)
		r.types[typ] = list
	}
	return list
}

func (r *run) checkOnce(v item, p *Profile) {
	key := place{v.at, p.URL, p.Version}
	if r.done[key] {
		return
	}
	r.done[key] = true
	if !p.about(v) {
		r.about(severityError, "structure", v, p.root, p, "the resource has another type than the profile, which is for %s", p.Type)
		return
	}
	r.check(v, p.root, p)
}

// about reports whether a profile is for the item's type. Data types are a matter of R4's structure.
func (p *Profile) about(v item) bool {
	return !fhir.KnownType(v.typ) || p.Type == v.typ || p.Type == "Resource" || p.Type == "DomainResource"
}

// conforms checks an item by the one profile its element names.
func (r *run) conforms(v item, canonical string, e *element, p *Profile) {
	found, err := r.c.Library.beside(p, canonical)
	switch {
	case err == nil:
		r.checkOnce(v, found)
	case canonical == base+"SimpleQuantity":
		if !v.node.Get("comparator").IsZero() {
			r.about(severityError, "structure", v, e, p, "%s is a simple quantity, which has no comparator", e.name)
		}
	case canonical != base+v.typ && canonical != base+"MoneyQuantity":
		r.about(severityInformation, "not-supported", v, e, p, "%s is to conform to %s, which is not known here: it was not checked", e.name, canonical)
	}
}

// oneOf checks that an item fits one of several profiles.
func (r *run) oneOf(v item, list []string, e *element, p *Profile) {
	unknown := false
	for _, canonical := range list {
		switch fits, known := r.conformsSilently(v, canonical, p); {
		case !known:
			unknown = true
		case fits:
			return
		}
	}
	if unknown {
		r.about(severityInformation, "not-supported", v, e, p, "%s is to conform to one of several profiles, not all of which are known here: it was not checked", e.name)
		return
	}
	r.about(severityError, "invalid", v, e, p, "%s conforms to none of the profiles it is to conform to: %s", e.name, strings.Join(list, ", "))
}

func (r *run) conformsSilently(v item, canonical string, by *Profile) (fits, known bool) {
	p, err := r.c.Library.beside(by, canonical)
	if err != nil {
		return canonical == base+v.typ, canonical == base+v.typ
	}
	if !p.about(v) {
		return false, true
	}
	s := r.silent()
	s.check(v, p.root, p)
	r.steps = s.steps
	return !slices.ContainsFunc(s.findings, func(f Finding) bool { return f.Severity == severityError }), !s.ended
}

// extension checks an extension by the definition its url names.
func (r *run) extension(v item, e *element, p *Profile) {
	url := v.node.Get("url").Text()
	if !strings.Contains(url, ":") {
		return // a part of an extension, which the extension's own definition describes
	}
	canonical := url
	for _, t := range e.types {
		for _, declared := range t.profiles {
			if plain, _, _ := strings.Cut(declared, "|"); plain == url {
				canonical = declared
			}
		}
	}
	found, err := r.c.Library.beside(p, canonical)
	if err != nil && canonical != url {
		found, err = r.c.Library.beside(p, url)
	}
	switch {
	case err != nil:
		r.add(Finding{severityInformation, "not-supported", v.at, "", "", "the definition of the extension is not known here: it was not checked"})
	case found.Type != "Extension":
		r.add(Finding{severityError, "extension", v.at, found.Canonical(), "", "the url is that of a definition which is no extension's"})
	default:
		r.checkOnce(v, found)
	}
}
