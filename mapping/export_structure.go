package mapping

import (
	"encoding/json"
	"fmt"
	"strings"
)

// StructureMaps gives the pack's mappings, one StructureMap each: a group for every resource, with rules from source to
// target. They go one way and are for reading and for tools that show mappings: predicates and computed values are CEL,
// which StructureMaps do not know, and stand in the rules' documentation.
func (p *Pack) StructureMaps(base string) ([]Exported, error) {
	e := &exporter{p, base}
	var out []Exported
	for _, m := range p.maps {
		id := p.Name
		if m.name != p.Name {
			id += "-" + m.name
		}
		one, err := exported(id, (&structureMap{exporter: e, m: m}).doc(id))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// A structureMap writes one mapping; variables are numbered, because ids have no room for the names of fields.
type structureMap struct {
	*exporter
	m     *recordMap
	slots map[int]string // variable of each loop in scope
	vars  int
	rules int
}

func (s *structureMap) doc(id string) doc {
	native := s.base + "/StructureDefinition/native-" + s.p.source + "-" + s.m.name
	structures := []doc{{{"url", native}, {"mode", "source"}, {"alias", "Native"}}}
	seen := map[string]bool{}
	entry := []doc{}
	var groups []doc
	for i := range s.m.emissions {
		em := &s.m.emissions[i]
		if !seen[em.resource] {
			seen[em.resource] = true
			structures = append(structures, doc{{"url", "http://hl7.org/fhir/StructureDefinition/" + em.resource}, {"mode", "target"}, {"alias", em.resource}})
		}
		s.slots, s.vars, s.rules = map[int]string{}, 0, 0
		call, group := s.emission(em)
		entry = append(entry, call)
		groups = append(groups, group)
	}
	structures = append(structures, doc{{"url", "http://hl7.org/fhir/StructureDefinition/Bundle"}, {"mode", "target"}, {"alias", "Bundle"}})
	main := doc{{"name", "record"}, {"typeMode", "none"}, {"documentation", "One native record becomes the resources of a transaction."},
		{"input", []doc{{{"name", "src"}, {"type", "Native"}, {"mode", "source"}}, {{"name", "bundle"}, {"type", "Bundle"}, {"mode", "target"}}}},
		{"rule", entry}}
	return append(s.head("StructureMap", id, s.p.Title+": "+s.m.name),
		member{"description", "Made from " + s.m.file + ". One way; conditions and computed values are CEL and stand in the documentation of their rules."},
		member{"structure", structures}, member{"group", append([]doc{main}, groups...)})
}

// emission gives the rule that calls a resource's group, once or once per item, and the group.
func (s *structureMap) emission(em *emission) (call, group doc) {
	name := "make-" + ident(em.slot)
	var notes []string
	if em.test != nil {
		notes = append(notes, "when CEL: "+em.test.words())
	}
	sources := []doc{{{"context", "src"}}}
	inputs := []doc{{{"name", "src"}, {"type", "Native"}, {"mode", "source"}}}
	given := []string{"src"}
	if len(em.loops) > 0 {
		sources = nil
	}
	for i := range em.loops {
		l := &em.loops[i]
		chain, v := s.chain(l.from)
		s.slots[l.slot] = v
		sources = append(sources, chain...)
		given = append(given, v)
		inputs = append(inputs, doc{{"name", v}, {"mode", "source"}})
		if l.group != "" {
			notes = append(notes, "grouped by "+l.group)
		}
		if l.where != nil {
			notes = append(notes, "where CEL: "+l.where.words())
		}
	}
	s.rules++
	call = doc{{"name", ident(em.slot)}, {"source", sources},
		{"target", []doc{
			{{"context", "bundle"}, {"contextType", "variable"}, {"element", "entry"}, {"variable", "entry"}},
			{{"context", "entry"}, {"contextType", "variable"}, {"element", "resource"}, {"variable", "tgt"},
				{"transform", "create"}, {"parameter", []doc{{{"valueString", em.resource}}}}}}},
		{"dependent", []doc{{{"name", name}, {"variable", append(given, "tgt")}}}},
		{"documentation", strings.Join(notes, "; ")}}
	inputs = append(inputs, doc{{"name", "tgt"}, {"type", em.resource}, {"mode", "target"}})
	rules := []doc{}
	for _, p := range em.profiles {
		rule := s.rule("src", "", "profile", doc{{"context", "tgt"}, {"contextType", "variable"}, {"element", "meta.profile"},
			{"transform", "copy"}, {"parameter", []doc{{{"valueString", unquoted(p.url)}}}}})
		if p.test != nil {
			rule = append(rule, member{"documentation", "when CEL: " + p.test.words()})
		}
		rules = append(rules, rule)
	}
	for _, f := range em.set.fields {
		rules = append(rules, s.node(f.node, "tgt", f.name, nil)...)
	}
	if len(rules) == 0 { // a group has rules
		rules = []doc{s.rule("src", "", "nothing", nil)}
	}
	group = doc{{"name", name}, {"typeMode", "none"}, {"input", inputs}, {"rule", rules}}
	return call, group
}

func unquoted(b []byte) string {
	var out string
	if json.Unmarshal(b, &out) != nil {
		return "" // it is a JSON string of our own
	}
	return out
}

// ident makes a FHIR id of a name.
func ident(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, name)
}

func (s *structureMap) variable() string {
	s.vars++
	return "v" + itoa(s.vars)
}

// chain is the sources that lead to a native field, one for each step, and the variable that holds its value.
func (s *structureMap) chain(p *path) ([]doc, string) {
	context := "src"
	if p.slot >= 0 {
		if v, ok := s.slots[p.slot]; ok {
			context = v
		}
	}
	var out []doc
	for _, seg := range p.segs {
		v := s.variable()
		out = append(out, doc{{"context", context}, {"element", seg}, {"variable", v}})
		context = v
	}
	if len(out) == 0 {
		out = []doc{{{"context", context}}}
	}
	return out, context
}

// rule is one rule with a source context and a target.
func (s *structureMap) rule(context, condition, name string, target doc) doc {
	s.rules++
	out := doc{{"name", ident(name) + "-" + itoa(s.rules)}, {"source", []doc{{{"context", context}}}}}
	if target != nil {
		out = append(out, member{"target", []doc{target}})
	}
	if condition != "" {
		out = append(out, member{"documentation", condition})
	}
	return out
}

// with is a rule whose sources lead to native fields.
func (s *structureMap) with(sources []doc, name, note string, targets []doc, kids []doc) doc {
	s.rules++
	return doc{{"name", ident(name) + "-" + itoa(s.rules)}, {"source", sources}, {"target", targets}, {"rule", kids}, {"documentation", note}}
}

func target(context, element, variable, transform string, parameters ...doc) doc {
	return doc{{"context", context}, {"contextType", "variable"}, {"element", element}, {"variable", variable},
		{"transform", transform}, {"parameter", parameters}}
}

// node gives the rules that make an element of the target variable.
func (s *structureMap) node(n node, context, element string, notes []string) []doc {
	note := strings.Join(notes, "; ")
	one := func(d doc) []doc { return []doc{d} }
	switch v := n.(type) {
	case *constNode:
		return one(s.with([]doc{{{"context", "src"}}}, element, note, []doc{target(context, element, "", "copy", s.parameter(v))}, nil))
	case *objectNode:
		t := s.variable()
		var kids []doc
		for _, f := range v.fields {
			kids = append(kids, s.node(f.node, t, f.name, nil)...)
		}
		return one(s.with([]doc{{{"context", "src"}}}, element, note, []doc{target(context, element, t, "")}, kids))
	case *listNode:
		var out []doc
		for _, item := range v.items {
			out = append(out, s.node(item, context, element, notes)...)
		}
		return out
	case *whenNode:
		out := s.node(v.then, context, element, append(notes[:len(notes):len(notes)], "when CEL: "+v.test.words()))
		if v.els != nil {
			out = append(out, s.node(v.els, context, element, append(notes[:len(notes):len(notes)], "unless CEL: "+v.test.words()))...)
		}
		return out
	case *eachNode:
		sources, loop := s.chain(v.from)
		s.slots[v.slot] = loop
		if v.where != nil {
			notes = append(notes[:len(notes):len(notes)], "where CEL: "+v.where.words())
		}
		return one(s.with(sources, element, strings.Join(notes, "; "), nil, s.node(v.item, context, element, nil)))
	case *splitNode:
		sources, whole := s.chain(v.from)
		s.slots[v.slot] = whole
		notes = append(notes[:len(notes):len(notes)], fmt.Sprintf("each part of the text, split at %q", v.by))
		return one(s.with(sources, element, strings.Join(notes, "; "), nil, s.node(v.item, context, element, nil)))
	case *deriveNode:
		return one(s.with([]doc{{{"context", "src"}}}, element, strings.TrimPrefix(note+"; computed, CEL: "+v.expr.words(), "; "), []doc{target(context, element, "", "")}, nil))
	case *textNode:
		return one(s.with([]doc{{{"context", "src"}}}, element, "a narrative is generated", []doc{target(context, element, "", "")}, nil))
	}
	return one(s.leaf(n, context, element, note))
}

// leaf is the rule of a primitive that takes its value from the record.
func (s *structureMap) leaf(n node, context, element, note string) doc {
	id := func(v string) doc { return doc{{"valueId", v}} }
	text := func(v string) doc { return doc{{"valueString", v}} }
	switch v := n.(type) {
	case *copyNode:
		sources, from := s.chain(v.from)
		if v.as != "" {
			return s.with(sources, element, note, []doc{target(context, element, "", "cast", id(from), text(v.as))}, nil)
		}
		return s.with(sources, element, note, []doc{target(context, element, "", "copy", id(from))}, nil)
	case *dateNode:
		sources, from := s.chain(v.from)
		return s.with(sources, element, note, []doc{target(context, element, "", "cast", id(from), text(v.as))}, nil)
	case *unitNode:
		sources, from := s.chain(v.from)
		t := s.variable()
		kids := []doc{s.with(sources, "value", "", []doc{target(t, "value", "", "cast", id(from), text("decimal"))}, nil)}
		for _, part := range []string{"unit", "system", "code"} {
			_, rest, _ := strings.Cut(string(v.tail), `"`+part+`":"`)
			value, _, _ := strings.Cut(rest, `"`)
			kids = append(kids, s.with([]doc{{{"context", "src"}}}, part, "", []doc{target(t, part, "", "copy", text(value))}, nil))
		}
		return s.with([]doc{{{"context", "src"}}}, element, note, []doc{target(context, element, t, "")}, kids)
	case *joinNode:
		sources, parts := s.chains(v.from, v.by)
		return s.with(sources, element, note, []doc{target(context, element, "", "append", parts...)}, nil)
	case *codeNode:
		return s.code(v, context, element, note)
	case *refNode:
		return s.ref(v, context, element, note)
	}
	return s.with([]doc{{{"context", "src"}}}, element, note, []doc{target(context, element, "", "")}, nil)
}

// chains are the sources of several fields, and the parameters that put them together.
func (s *structureMap) chains(paths []*path, by string) (sources, parts []doc) {
	for i, p := range paths {
		chain, from := s.chain(p)
		sources = append(sources, chain...)
		if i > 0 && by != "" {
			parts = append(parts, doc{{"valueString", by}})
		}
		parts = append(parts, doc{{"valueId", from}})
	}
	return sources, parts
}

func (s *structureMap) code(n *codeNode, context, element, note string) doc {
	as := map[string]string{"concept": "CodeableConcept", "coding": "Coding", "code": "code", "display": "display"}[n.as]
	translated := func(from string) []doc {
		return []doc{target(context, element, "", "translate", doc{{"valueId", from}},
			doc{{"valueString", s.base + "/ConceptMap/" + s.mapID(n.via)}}, doc{{"valueString", as}})}
	}
	if len(n.from) == 1 {
		sources, from := s.chain(n.from[0])
		return s.with(sources, element, note, translated(from), nil)
	}
	sources, parts := s.chains(n.from, "|")
	whole := s.variable()
	joined := doc{{"variable", whole}, {"transform", "append"}, {"parameter", parts}}
	return s.with(sources, element, note, append([]doc{joined}, translated(whole)...), nil)
}

// ref makes a Reference; which resource it means is the engine's to know, so the rule names its type and slot.
func (s *structureMap) ref(n *refNode, context, element, note string) doc {
	typ, slot := n.resource, n.otherSlot
	switch {
	case n.organization:
		typ, slot = "Organization", "the sender"
	case typ == "":
		slot = n.slot
		for i := range s.m.emissions {
			if s.m.emissions[i].slot == slot {
				typ = s.m.emissions[i].resource
			}
		}
	}
	t := s.variable()
	kid := s.with([]doc{{{"context", "src"}}}, "reference", "to "+slot, []doc{target(t, "reference", "", "reference", doc{{"valueString", typ}})}, nil)
	return s.with([]doc{{{"context", "src"}}}, element, note, []doc{target(context, element, t, "create", doc{{"valueString", "Reference"}})}, []doc{kid})
}

// parameter is a constant; its placeholders are filled for this deployment where they are known.
func (s *structureMap) parameter(n *constNode) doc {
	var b strings.Builder
	for _, p := range n.parts {
		switch p.name {
		case "base":
			b.WriteString(s.base)
		case "org.system":
			b.WriteString("{org.system}")
		default:
			b.Write(p.json)
		}
	}
	text := b.String()
	switch {
	case text == "true" || text == "false":
		return doc{{"valueBoolean", text == "true"}}
	case strings.HasPrefix(text, `"`):
		return doc{{"valueString", unquoted([]byte(text))}}
	}
	if _, whole := integer(text); whole && !strings.ContainsAny(text, ".eE") {
		return doc{{"valueInteger", rawNumber(text)}}
	}
	return doc{{"valueDecimal", rawNumber(text)}}
}

// A rawNumber is written as it stands.
type rawNumber string

// MarshalJSON implements json.Marshaler.
func (n rawNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil }
