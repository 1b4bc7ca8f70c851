package mapping

import (
	"slices"
	"strings"

	"trellis/fhir"
)

// A shaper holds a compiled mapping against what R4 says of the elements it makes: their names, whether they are
// lists, what kind of value they take, where references may point, which codes a required binding allows, and what
// must be there.
type shaper struct {
	c        *compiler
	resource string
	path     []string
	slots    map[string]string // resource type by slot
}

// checkShapes looks at every resource of the mapping and at its Provenance.
func (c *compiler) checkShapes() {
	slots := map[string]string{}
	for i := range c.m.emissions {
		slots[c.m.emissions[i].slot] = c.m.emissions[i].resource
	}
	for i := range c.m.emissions {
		em := &c.m.emissions[i]
		at := c.places[em.set]
		list := fhir.ElementsOf(em.resource)
		if list == nil {
			if em.resource != "" {
				c.f.hint(at.file, at.line, didYouMean(em.resource, fhir.Types()), "R4 has no resource type %q", em.resource)
			}
			continue
		}
		s := &shaper{c: c, resource: em.resource, path: []string{em.resource}, slots: slots}
		s.fields(em.set, list, at, em.identifiers != identifierNone)
		if em.more != nil {
			if i := slices.IndexFunc(list, func(e fhir.Element) bool { return e.Name == "identifier" }); i >= 0 {
				s.within("identifier", func() { s.value(em.more, list[i], false) })
			}
		}
		s.profiles(em, c.places[claims{em.set}])
	}
	if p := c.m.provenance; p != nil {
		s := &shaper{c: c, resource: "Provenance", path: []string{"Provenance"}, slots: slots}
		for _, e := range fhir.ElementsOf("Provenance") {
			if e.Name == "recorded" && p.recorded != nil {
				s.within(e.Name, func() { s.value(p.recorded, e, false) })
			}
			if e.Name != "agent" || p.author == nil {
				continue
			}
			for _, who := range e.Elements() {
				if who.Name == "who" {
					s.within("agent.who", func() { s.value(p.author, who, false) })
				}
			}
		}
	}
}

func (s *shaper) within(name string, f func()) {
	s.path = append(s.path, name)
	f()
	s.path = s.path[:len(s.path)-1]
}

// here is the element being looked at, as R4 writes it.
func (s *shaper) here() string { return strings.Join(s.path, ".") }

func (s *shaper) fault(n node, hint, format string, args ...any) {
	at := s.c.places[n]
	s.c.f.hint(at.file, at.line, hint, format, args...)
}

// fields checks the names of an object's elements, each element, and that none is missing which R4 requires.
func (s *shaper) fields(o *objectNode, list []fhir.Element, at place, hasIdentifier bool) {
	given := map[string]bool{"identifier": hasIdentifier}
	for _, f := range o.fields {
		base := strings.TrimPrefix(f.name, "_")
		i := slices.IndexFunc(list, func(e fhir.Element) bool { return e.Name == base })
		if i < 0 {
			if elementName(f.name) { // else it has a fault of its own
				s.fault(f.node, nearElement(f.name, list), "%s has no element %q", s.here(), f.name)
			}
			continue
		}
		e := list[i]
		given[e.Name], given[e.Choice] = true, true
		s.within(f.name, func() {
			if base == f.name {
				s.value(f.node, e, false)
				return
			}
			s.extras(f.node, e)
		})
	}
	for _, e := range list {
		name := e.Name
		if e.Choice != "" {
			name = e.Choice
		}
		if e.Required && !given[name] {
			given[name] = true
			s.c.f.hint(at.file, at.line, requiredHint(e), "%s has no rule for %s, which R4 requires", s.here(), name)
		}
	}
}

// requiredHint offers how a required element can be filled when the source does not know it.
func requiredHint(e fhir.Element) string {
	switch {
	case e.Choice != "":
		return "write it with its type, as in " + e.Name
	case e.Type == "Coding":
		return "for what is not known: {system: http://terminology.hl7.org/CodeSystem/data-absent-reason, code: unknown}"
	case slices.Contains(e.Codes, "unknown"):
		return "for what is not known: unknown"
	}
	return ""
}

// nearElement guesses which element a name meant; a choice must be written with its type.
func nearElement(name string, list []fhir.Element) string {
	var names, types []string
	for _, e := range list {
		names = append(names, e.Name)
		if base := strings.TrimSuffix(e.Choice, "[x]"); base != "" && distance(base, strings.TrimSuffix(name, "[x]")) <= 1 {
			types = append(types, e.Name)
		}
	}
	if len(types) > 4 {
		types = append(types[:4:4], "…")
	}
	if len(types) > 0 {
		return "write it with its type: " + strings.Join(types, ", ")
	}
	if hint := didYouMean(name, names); hint != "" {
		return hint
	}
	for _, n := range names { // period for periodStart, codes for code
		if len(n) > 3 && (strings.HasPrefix(name, n) || strings.HasPrefix(n, name)) {
			return `did you mean "` + n + `"?`
		}
	}
	return ""
}

// extras checks the object beside a primitive, _status: its id and extensions.
func (s *shaper) extras(n node, e fhir.Element) {
	if !e.Primitive() {
		s.fault(n, "", "%s stands beside no primitive: %s is %s", s.here(), e.Name, article(e.Type))
		return
	}
	for _, b := range branches(n) {
		if o, ok := b.(*objectNode); ok {
			for _, f := range o.fields {
				if f.name != "id" && f.name != "extension" {
					s.fault(f.node, "", "%s has no element %q, only id and extension", s.here(), f.name)
				}
			}
		}
	}
}

// value checks what stands at an element; inList tells that it is one item of its list.
func (s *shaper) value(n node, e fhir.Element, inList bool) {
	switch v := bare(n).(type) {
	case *listNode:
		if !e.Repeats {
			s.fault(n, "take it out of its brackets", "%s is a list, and R4 has one %s there", s.here(), e.Type)
			return
		}
		for _, item := range v.items {
			s.value(item, e, true)
		}
		return
	case *eachNode:
		s.spread(n, v.item, e)
		return
	case *splitNode:
		s.spread(n, v.item, e)
		return
	case *whenNode:
		for _, b := range []node{v.then, v.els} {
			if b != nil {
				s.value(b, e, inList)
			}
		}
		return
	case *refNode:
		if v.all && !e.Repeats {
			s.fault(n, "leave out all", "%s takes one reference, and all: true makes a list", s.here())
			return
		}
		inList = inList || v.all
	case *codeNode:
		if v.els != nil {
			s.value(v.els, e, inList)
		}
	}
	if e.Repeats && !inList {
		s.fault(n, "put it into brackets: […]", "%s is a list in R4, and one value stands there", s.here())
	}
	s.kind(n, e)
}

func (s *shaper) spread(n, item node, e fhir.Element) {
	if !e.Repeats {
		s.fault(n, "", "%s takes one %s in R4, and a list is made there", s.here(), e.Type)
		return
	}
	s.value(item, e, true)
}

// article puts "a" or "an" before a name.
func article(name string) string {
	if name != "" && strings.ContainsRune("aeiouAEIO", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

// branches are the nodes that may stand where n does.
func branches(n node) []node {
	switch v := bare(n).(type) {
	case *whenNode:
		var out []node
		if v.then != nil {
			out = append(out, branches(v.then)...)
		}
		if v.els != nil {
			out = append(out, branches(v.els)...)
		}
		return out
	case *listNode:
		var out []node
		for _, item := range v.items {
			out = append(out, branches(item)...)
		}
		return out
	case *eachNode:
		return branches(v.item)
	case *splitNode:
		return branches(v.item)
	case *codeNode:
		if v.els != nil {
			return append([]node{n}, branches(v.els)...)
		}
	}
	return []node{n}
}
