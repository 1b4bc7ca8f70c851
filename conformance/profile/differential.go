package profile

import (
	"slices"
	"strings"

	"trellis/fhir"
)

// fromDifferential puts a differential over the definition it constrains: one of the library, or R4's own structure. It
// understands what names its elements by id, as publishers write them.
func (l *Library) fromDifferential(root fhir.Node, list []fhir.Node) (*element, error) {
	if len(list) > maxElements {
		return nil, refuse("it has more than %d elements", maxElements)
	}
	above, err := l.above(root.Get("baseDefinition").Text(), root.Get("type").Text())
	if err != nil {
		return nil, err
	}
	b := &overlay{library: l, root: above, budget: maxMade - above.size()}
	if b.budget < 0 {
		return nil, refuse("its differential makes too many elements")
	}
	for _, n := range list {
		if err := bounded(n); err != nil {
			return nil, err
		}
		e, err := b.place(n)
		if err != nil {
			return nil, err
		}
		e.merge(n)
		if id := n.Get("id").Text(); id != "" {
			e.id = id
		}
	}
	return above, nil
}

// above is a copy of the definition that a differential constrains.
func (l *Library) above(canonical, typ string) (*element, error) {
	p, err := l.find(canonical)
	if err == nil {
		return p.root.clone(), nil
	}
	if l.definition(canonical) != nil {
		return nil, refuse("it has no snapshot, and the profile it is based on cannot be used either: %s", strings.TrimPrefix(err.Error(), "profile: "))
	}
	if canonical != base+typ {
		return nil, refuse("it has no snapshot, and the profile it is based on is not known here")
	}
	e := ofType(typ)
	if e == nil {
		return nil, refuse("it has no snapshot, and the type it constrains is none of R4's that are known here")
	}
	return e, nil
}

// ofType is R4's own definition of a type as the codec knows it: elements with their types, and no constraints.
func ofType(typ string) *element {
	list := fhir.TypeElements(typ)
	if list == nil {
		return nil
	}
	e := &element{id: typ, path: typ, name: typ, max: unbounded}
	e.below(list)
	return e
}

// below gives an element the elements of its type.
func (e *element) below(list []fhir.Element) {
	for _, f := range list {
		t := typeRef{code: f.Type}
		if f.Type == "SimpleQuantity" || f.Type == "MoneyQuantity" {
			t = typeRef{code: "Quantity", profiles: []string{base + f.Type}}
		}
		for _, target := range f.Targets {
			t.targets = append(t.targets, base+target)
		}
		name := f.Name
		if f.Choice != "" {
			name = f.Choice
			if c := e.child(name); c != nil && c.choice {
				c.types = append(c.types, t)
				continue
			}
		}
		c := &element{id: e.id + "." + name, max: 1, types: []typeRef{t}}
		if c.named(e.path + "." + name); f.Repeats {
			c.max = unbounded
		}
		if f.Required {
			c.min = 1
		}
		e.children = append(e.children, c)
	}
}

// overlay is a tree while a differential is put over it.
type overlay struct {
	library *Library
	root    *element
	budget  int // elements that may be made
}

// place finds the element that a row of a differential is about, and makes those it needs on the way.
func (b *overlay) place(n fhir.Node) (*element, error) {
	path, id := n.Get("path").Text(), n.Get("id").Text()
	if id == "" {
		id = path
		if s := n.Get("sliceName").Text(); s != "" {
			id += ":" + s
		}
	}
	e := b.root
	parts := strings.Split(id, ".")
	if name, _, _ := strings.Cut(parts[0], ":"); name != b.root.name || len(parts) > 30 {
		return nil, refuse("its differential has an element of another type")
	}
	for _, part := range parts[1:] {
		name, slice, sliced := strings.Cut(part, ":")
		if len(e.children) == 0 {
			if err := b.expand(e); err != nil {
				return nil, err
			}
		}
		c := e.child(name)
		if c == nil {
			return nil, refuse("its differential names %s, which its base does not have", path)
		}
		if c.choice && !sliced && !strings.HasSuffix(name, "[x]") && name != c.name {
			slice, sliced = name, true // the short way to write the slice of a type
		}
		if !sliced {
			e = c
			continue
		}
		next, err := b.slice(c, slice, id)
		if err != nil {
			return nil, err
		}
		e = next
	}
	return e, nil
}

// slice finds a slice, or makes it of what is sliced.
func (b *overlay) slice(c *element, name, id string) (*element, error) {
	if s := c.slice(name); s != nil {
		return s, nil
	}
	if outer, _, ok := strings.Cut(name, "/"); ok && c.slice(outer) != nil {
		c = c.slice(outer)
		if s := c.slice(name); s != nil {
			return s, nil
		}
	}
	if b.budget -= c.size(); b.budget < 0 {
		return nil, refuse("its differential makes too many elements")
	}
	s := c.clone()
	s.id = id
	s.moved(s.path, s.path)
	s.sliceName, s.min, s.slicing, s.slices = name, 0, nil, nil
	if typ := choiceType(c.name, name); c.choice && typ != "" {
		s.types = slices.DeleteFunc(s.types, func(t typeRef) bool { return t.code != typ })
	}
	c.slices = append(c.slices, s)
	return s, nil
}

func (e *element) size() int {
	n := 1
	for _, c := range e.children {
		n += c.size()
	}
	for _, s := range e.slices {
		n += s.size()
	}
	return n
}

// expand gives an element the elements of its type, or of the one it repeats.
func (b *overlay) expand(e *element) error {
	if e.content != "" {
		if target := b.root.at(e.content); target != nil {
			if b.budget -= target.size(); b.budget < 0 {
				return refuse("its differential makes too many elements")
			}
			copied := target.clone()
			e.children = copied.children
			e.moved(target.path, e.path)
			return nil
		}
	}
	if len(e.types) != 1 {
		return refuse("its differential goes below %s, which has not one type", e.path)
	}
	code := e.types[0].code
	if code == "BackboneElement" || code == "Element" { // of R4's structure, which has no definition of its own
		list := fhir.ElementsOf(strings.SplitN(e.path, ".", 2)[0])
		for _, name := range strings.Split(e.path, ".")[1:] {
			i := slices.IndexFunc(list, func(f fhir.Element) bool { return f.Name == name })
			if i < 0 {
				return refuse("its differential goes below %s, which is not known here", e.path)
			}
			list = list[i].Elements()
		}
		if b.budget -= len(list); b.budget < 0 {
			return refuse("its differential makes too many elements")
		}
		e.below(list)
		return nil
	}
	var found *element
	if p, err := b.library.find(base + code); err == nil {
		found = p.root.clone()
	} else {
		found = ofType(code)
	}
	if found == nil {
		found = &element{path: code}
		found.below(fhir.DataTypeElements("Extension")[:2]) // a primitive has an id and extensions
	}
	if b.budget -= found.size(); b.budget < 0 {
		return refuse("its differential makes too many elements")
	}
	e.children = found.children
	e.constraints = append(slices.Clone(found.constraints), e.constraints...)
	e.moved(found.path, e.path)
	return nil
}

// moved writes the paths and ids below an element anew.
func (e *element) moved(from, to string) {
	for _, c := range e.children {
		c.path = to + strings.TrimPrefix(c.path, from)
		c.id = e.id + c.path[strings.LastIndexByte(c.path, '.'):]
		c.moved(from, to)
		for _, s := range c.slices {
			s.path, s.id = c.path, c.id+":"+s.sliceName
			s.moved(from, to)
		}
	}
}

// at finds an element by its path without slices.
func (e *element) at(path string) *element {
	if e.path == path {
		return e
	}
	for _, c := range e.children {
		if c.path == path || strings.HasPrefix(path, c.path+".") {
			return c.at(path)
		}
	}
	return nil
}
