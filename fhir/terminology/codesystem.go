package terminology

import (
	"slices"
	"strings"

	"trellis/fhir"
)

// CodeSystem is a code system as it can be asked.
type CodeSystem struct {
	ID, URL, Version, Name, Title string
	// ValueSet is the value set of all its codes, "" for none.
	ValueSet string

	complete bool // all its codes are here
	folded   bool // codes compare without regard to case
	byCode   map[string]*Concept
	order    []*Concept
}

// Concept is one code with what its system says of it.
type Concept struct {
	Code, Display, Definition string
	Inactive, Abstract        bool
	Properties                []Property
	Designations              []Designation
	Parents                   []string

	children []*Concept
}

// Property is a property of a concept: its value as text, and its JSON name and bytes as they stand in the resource.
type Property struct {
	Code, Text string
	Member     string // valueCode and so on
	Raw        []byte
}

// Designation is another text for a concept.
type Designation struct{ Language, Value string }

// NewCodeSystem makes a system of a plain list of codes: all of them, without hierarchy.
func NewCodeSystem(url, name string, concepts []Concept) *CodeSystem {
	cs := &CodeSystem{URL: url, Name: name, complete: true, byCode: map[string]*Concept{}}
	for i := range concepts {
		cs.put(&concepts[i])
	}
	return cs
}

// ReadCodeSystem reads a CodeSystem resource.
func ReadCodeSystem(r *fhir.Resource) *CodeSystem {
	root := r.Root
	cs := &CodeSystem{
		ID: r.ID, URL: root.Get("url").Text(), Version: root.Get("version").Text(), Name: root.Get("name").Text(), Title: root.Get("title").Text(),
		ValueSet: root.Get("valueSet").Text(), complete: root.Get("content").Text() == "complete", folded: root.Get("caseSensitive").Text() == "false",
		byCode: map[string]*Concept{},
	}
	cs.read(root.Get("concept").List(), "")
	cs.link()
	return cs
}

func (cs *CodeSystem) key(code string) string {
	if cs.folded {
		return strings.ToLower(code)
	}
	return code
}

func (cs *CodeSystem) put(c *Concept) {
	if _, twice := cs.byCode[cs.key(c.Code)]; twice || c.Code == "" {
		return // R4 cld-1: codes are unique
	}
	cs.byCode[cs.key(c.Code)] = c
	cs.order = append(cs.order, c)
}

func (cs *CodeSystem) read(list []fhir.Node, parent string) {
	for _, n := range list {
		c := &Concept{Code: n.Get("code").Text(), Display: n.Get("display").Text(), Definition: n.Get("definition").Text()}
		if parent != "" {
			c.Parents = []string{parent}
		}
		for _, d := range n.Get("designation").List() {
			c.Designations = append(c.Designations, Designation{d.Get("language").Text(), d.Get("value").Text()})
		}
		for _, p := range n.Get("property").List() {
			c.property(p)
		}
		cs.put(c)
		cs.read(n.Get("concept").List(), c.Code)
	}
}

// property reads one property; some of R4's own names say what state or place a concept has.
func (c *Concept) property(n fhir.Node) {
	p := Property{Code: n.Get("code").Text()}
	for _, m := range n.Members {
		if strings.HasPrefix(m.Name, "value") {
			p.Member, p.Raw, p.Text = m.Name, m.Value.Raw(), m.Value.Text()
			if m.Name == "valueCoding" {
				p.Text = m.Value.Get("code").Text()
			}
		}
	}
	switch {
	case p.Code == "parent" || p.Code == "subsumedBy":
		c.Parents = append(c.Parents, p.Text)
	case p.Code == "inactive" && p.Text == "true", p.Code == "status" && (p.Text == "retired" || p.Text == "inactive"):
		c.Inactive = true
	case p.Code == "notSelectable" && p.Text == "true", p.Code == "abstract" && p.Text == "true":
		c.Abstract = true
	}
	c.Properties = append(c.Properties, p)
}

// link turns parents, and properties that name children, into one hierarchy.
func (cs *CodeSystem) link() {
	for _, c := range cs.order {
		for _, p := range c.Properties {
			if child := cs.byCode[cs.key(p.Text)]; p.Code == "child" && child != nil && !slices.Contains(child.Parents, c.Code) {
				child.Parents = append(child.Parents, c.Code)
			}
		}
	}
	for _, c := range cs.order {
		for _, code := range c.Parents {
			if parent := cs.byCode[cs.key(code)]; parent != nil { // reach takes each once, however often it is named
				parent.children = append(parent.children, c)
			}
		}
	}
}

// Complete reports whether all codes of the system are known.
func (cs *CodeSystem) Complete() bool { return cs.complete }

// Concept finds a code.
func (cs *CodeSystem) Concept(code string) (*Concept, bool) {
	c, ok := cs.byCode[cs.key(code)]
	return c, ok
}

// below is a concept with all that it subsumes, each once.
func (cs *CodeSystem) below(c *Concept) []*Concept {
	return reach(c, func(c *Concept) []*Concept { return c.children })
}

// above is a concept with all that subsume it, each once.
func (cs *CodeSystem) above(c *Concept) []*Concept {
	return reach(c, func(c *Concept) []*Concept {
		var out []*Concept
		for _, code := range c.Parents {
			if parent := cs.byCode[cs.key(code)]; parent != nil {
				out = append(out, parent)
			}
		}
		return out
	})
}

// reach goes on from a concept as far as it can; a circle ends where it was entered.
func reach(c *Concept, next func(*Concept) []*Concept) []*Concept {
	out, seen := []*Concept{c}, map[*Concept]bool{c: true}
	for i := 0; i < len(out); i++ {
		for _, n := range next(out[i]) {
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	return out
}

// Names reports whether text is a way to write the concept: its display or a designation, without regard to case.
func (c *Concept) Names(text string) bool {
	if strings.EqualFold(text, c.Display) {
		return true
	}
	return slices.ContainsFunc(c.Designations, func(d Designation) bool { return strings.EqualFold(text, d.Value) })
}
