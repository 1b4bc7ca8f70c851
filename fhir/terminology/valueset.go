package terminology

import (
	"fmt"
	"slices"
	"strings"

	"trellis/fhir"
)

// maxExpansion bounds an expansion; maxClauses a definition; maxImports how deep value sets may stand in value sets, and
// maps go on to other maps; maxMaps how many maps one translation asks.
const (
	maxExpansion = 10_000
	maxClauses   = 500
	maxImports   = 16
	maxMaps      = 1000
)

// ValueSet is a value set as it can be expanded.
type ValueSet struct {
	ID, URL, Version, Name, Title, Status string

	include, exclude []clause
	inactive         bool // codes out of use belong to it
	listed           []Member
	isListed         bool // it has no definition but an expansion
	broken           string
}

// clause is one include or exclude.
type clause struct {
	system, version string
	concepts        []Member
	filters         []filter
	sets            []string
}

type filter struct{ property, op, value string }

// Member is one code of an expansion.
type Member struct {
	System, Version, Code, Display string
	Inactive, Abstract             bool
	Designations                   []Designation
}

type expansion struct {
	members []Member
	err     error
}

// ReadValueSet reads a ValueSet resource. What its definition has that is not understood is refused when it is expanded.
func ReadValueSet(r *fhir.Resource) *ValueSet {
	root := r.Root
	vs := &ValueSet{ID: r.ID, URL: root.Get("url").Text(), Version: root.Get("version").Text(), Name: root.Get("name").Text(), Title: root.Get("title").Text(), Status: root.Get("status").Text()}
	compose := root.Get("compose")
	vs.inactive = compose.Get("inactive").Text() != "false"
	if !compose.Get("lockedDate").IsZero() {
		vs.broken = "a value set with a locked date is not expanded"
	}
	for _, n := range compose.Get("include").List() {
		vs.include = append(vs.include, vs.clause(n))
	}
	for _, n := range compose.Get("exclude").List() {
		vs.exclude = append(vs.exclude, vs.clause(n))
	}
	if len(vs.include)+len(vs.exclude) > maxClauses {
		vs.broken = "the value set's definition has more parts than are expanded"
	}
	if compose.IsZero() {
		vs.readExpansion(root.Get("expansion"))
	}
	return vs
}

// readExpansion takes an expansion that came with a value set that has no definition, if it is whole.
func (vs *ValueSet) readExpansion(n fhir.Node) {
	vs.isListed = true
	if n.IsZero() {
		vs.broken = "the value set has neither a definition nor an expansion"
		return
	}
	var read func(list []fhir.Node)
	read = func(list []fhir.Node) {
		for _, c := range list {
			if code := c.Get("code").Text(); code != "" {
				vs.listed = append(vs.listed, Member{System: c.Get("system").Text(), Version: c.Get("version").Text(), Code: code, Display: c.Get("display").Text(),
					Inactive: c.Get("inactive").Text() == "true", Abstract: c.Get("abstract").Text() == "true"})
			}
			read(c.Get("contains").List())
		}
	}
	read(n.Get("contains").List())
	if len(vs.listed) > maxExpansion {
		vs.broken = "the value set has no definition and its expansion is longer than is kept"
	}
	if total := n.Get("total").Text(); total != "" && total != fmt.Sprint(len(vs.listed)) {
		vs.broken = "the value set has no definition and its expansion is not whole"
	}
}

func (vs *ValueSet) clause(n fhir.Node) clause {
	var c clause
	c.system, c.version = canonical(n.Get("system").Text(), n.Get("version").Text()) // published value sets write system|version too
	for _, concept := range n.Get("concept").List() {
		m := Member{System: c.system, Version: c.version, Code: concept.Get("code").Text(), Display: concept.Get("display").Text()}
		for _, d := range concept.Get("designation").List() {
			m.Designations = append(m.Designations, Designation{d.Get("language").Text(), d.Get("value").Text()})
		}
		c.concepts = append(c.concepts, m)
	}
	for _, f := range n.Get("filter").List() {
		c.filters = append(c.filters, filter{f.Get("property").Text(), f.Get("op").Text(), f.Get("value").Text()})
	}
	for _, s := range n.Get("valueSet").List() {
		c.sets = append(c.sets, s.Text())
	}
	return c
}

// Expand lists the members of a value set, in the order of its definition, each once.
func (l *Library) Expand(vs *ValueSet) ([]Member, error) { return l.expand(vs, 0) }

func (l *Library) expand(vs *ValueSet, depth int) ([]Member, error) {
	if depth > maxImports {
		return nil, unsupported("value sets stand in each other too deeply, or in a circle")
	}
	l.mu.Lock()
	known := l.expanded[vs]
	l.mu.Unlock()
	if known != nil {
		return known.members, known.err
	}
	members, err := l.compose(vs, depth)
	held, _ := l.ByID(fhir.Reference{Type: "ValueSet", ID: vs.ID})
	if held == any(vs) && (err == nil || depth == 0) { // deeper, an error may come of where the expansion began
		l.mu.Lock()
		l.expanded[vs] = &expansion{members, err}
		l.mu.Unlock()
	}
	return members, err
}

func (l *Library) compose(vs *ValueSet, depth int) ([]Member, error) {
	switch {
	case vs.broken != "":
		return nil, unsupported(vs.broken)
	case vs.isListed:
		return vs.listed, nil
	}
	var out []Member
	at := map[fhir.Coding]bool{}
	for _, c := range vs.include {
		members, err := l.clause(c, depth)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			if k := m.coding(); !at[k] && (vs.inactive || !m.Inactive) {
				at[k] = true
				out = append(out, m)
			}
		}
		if len(out) > maxExpansion {
			return nil, tooCostly()
		}
	}
	for _, c := range vs.exclude {
		members, err := l.clause(c, depth)
		if err != nil {
			return nil, err
		}
		drop := codings(members)
		out = slices.DeleteFunc(out, func(m Member) bool { return drop[m.coding()] })
	}
	return out, nil
}

func tooCostly() error {
	return fhir.NewProblem(fhir.TooLarge, "too-costly", fmt.Sprintf("the value set has more than %d codes", maxExpansion))
}

func (m Member) coding() fhir.Coding { return fhir.Coding{System: m.System, Code: m.Code} }

func codings(list []Member) map[fhir.Coding]bool {
	out := make(map[fhir.Coding]bool, len(list))
	for _, m := range list {
		out[m.coding()] = true
	}
	return out
}

// clause is what an include or exclude holds: codes of a system, those of value sets, or what all of them share.
func (l *Library) clause(c clause, depth int) ([]Member, error) {
	var out []Member
	if c.system != "" {
		var err error
		if out, err = l.ofSystem(c); err != nil {
			return nil, err
		}
	}
	for i, url := range c.sets {
		vs, err := l.Set(url, "")
		if err != nil {
			return nil, err
		}
		members, err := l.expand(vs, depth+1)
		if err != nil {
			return nil, err
		}
		if i == 0 && c.system == "" {
			out = slices.Clone(members)
			continue
		}
		shared := codings(members)
		out = slices.DeleteFunc(slices.Clone(out), func(m Member) bool { return !shared[m.coding()] })
	}
	return out, nil
}

// ofSystem is the codes of a system a clause names one by one, by filters, or whole.
func (l *Library) ofSystem(c clause) ([]Member, error) {
	cs, err := l.System(c.system, c.version)
	if len(c.concepts) > 0 {
		out := slices.Clone(c.concepts)
		for i := range out {
			if err == nil { // a list needs no system; one that is known says more
				out[i].complete(cs)
			}
		}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if !cs.complete {
		return nil, unsupported("the code system is held in part only, and what the value set takes of it cannot be listed")
	}
	list := cs.order
	for _, f := range c.filters {
		if list, err = cs.filter(list, f); err != nil {
			return nil, err
		}
	}
	if len(list) > maxExpansion {
		return nil, tooCostly()
	}
	out := make([]Member, 0, len(list))
	for _, concept := range list {
		out = append(out, Member{System: cs.URL, Version: c.version, Code: concept.Code, Display: concept.Display, Inactive: concept.Inactive, Abstract: concept.Abstract, Designations: concept.Designations})
	}
	return out, nil
}

func (m *Member) complete(cs *CodeSystem) {
	concept, ok := cs.Concept(m.Code)
	if !ok {
		return
	}
	m.Inactive, m.Abstract = concept.Inactive, concept.Abstract
	if m.Display == "" {
		m.Display = concept.Display
	}
	if m.Designations == nil {
		m.Designations = concept.Designations
	}
}

// filter keeps the concepts a filter names (https://hl7.org/fhir/R4/valueset-filter-operator.html).
func (cs *CodeSystem) filter(list []*Concept, f filter) ([]*Concept, error) {
	if (f.property == "concept" || f.property == "code") && (f.op == "is-a" || f.op == "descendent-of" || f.op == "is-not-a") {
		root, ok := cs.Concept(f.value)
		if !ok {
			return nil, unknown("code a filter names")
		}
		below := map[*Concept]bool{}
		for _, c := range cs.below(root) {
			below[c] = true
		}
		return slices.DeleteFunc(slices.Clone(list), func(c *Concept) bool {
			in := below[c] && (f.op != "descendent-of" || c != root)
			return in == (f.op == "is-not-a")
		}), nil
	}
	var holds func(text string, has bool) bool
	switch f.op {
	case "=":
		holds = func(text string, has bool) bool { return has && text == f.value }
	case "in", "not-in":
		wanted := strings.Split(f.value, ",")
		for i := range wanted {
			wanted[i] = strings.TrimSpace(wanted[i])
		}
		holds = func(text string, has bool) bool { return has && slices.Contains(wanted, text) }
	case "exists":
		holds = func(_ string, has bool) bool { return has }
	default:
		return nil, unsupported("a filter of this kind is not offered")
	}
	negative := f.op == "not-in" || f.op == "exists" && f.value == "false"
	return slices.DeleteFunc(slices.Clone(list), func(c *Concept) bool {
		found := false
		for _, text := range c.values(f.property) {
			found = found || holds(text, true)
		}
		return found == negative
	}), nil
}

// values are a concept's values of a property; code, display and parent are properties too.
func (c *Concept) values(property string) []string {
	switch property {
	case "code", "concept":
		return []string{c.Code}
	case "display":
		return []string{c.Display}
	case "parent":
		return c.Parents
	}
	var out []string
	for _, p := range c.Properties {
		if p.Code == property {
			out = append(out, p.Text)
		}
	}
	return out
}
