package mapping

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// An Exported is a pack's content as a FHIR R4 resource for other tools. Nothing reads it back: packs are the source.
type Exported struct {
	ID   string // logical id, and a good name for a file
	JSON []byte
}

// An exporter writes the resources of one pack below a canonical base.
type exporter struct {
	p    *Pack
	base string
}

// A doc is a JSON object that keeps the order of its members.
type doc []member

type member struct {
	name  string
	value any
}

// MarshalJSON leaves out members that are empty.
func (d doc) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for _, m := range d {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		switch string(value) {
		case `""`, "null", "[]", "{}":
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendString(out, m.name), ':')
		out = append(out, value...)
	}
	return append(out, '}'), nil
}

func exported(id string, d doc) (Exported, error) {
	data, err := json.Marshal(d)
	return Exported{ID: id, JSON: data}, err
}

// head begins every exported resource. It is a draft: whoever publishes it decides on its status.
func (e *exporter) head(typ, id, title string) doc {
	return doc{
		{"resourceType", typ}, {"id", id}, {"url", e.base + "/" + typ + "/" + id}, {"version", e.p.Version},
		{"name", computerName(id)}, {"title", title}, {"status", "draft"},
	}
}

// computerName is a name that starts with a capital and has no signs, as FHIR's definitions are named.
func computerName(id string) string {
	var b strings.Builder
	for _, part := range regexp.MustCompile(`[^A-Za-z0-9]+`).Split(id, -1) {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

func (e *exporter) system(row *tableRow) string {
	if row.local {
		return e.base + "/CodeSystem/" + strings.TrimPrefix(row.system, localPrefix)
	}
	return row.system
}

// ConceptMaps gives the pack's code tables, one ConceptMap each, from native value to code. A pair that runs either way
// is "equal"; a further native spelling of a code is "relatedto". Codes that are only read back are left out: a
// ConceptMap has one direction. Values that wait for a code are "unmatched".
func (p *Pack) ConceptMaps(base string) ([]Exported, error) {
	e := &exporter{p, base}
	var out []Exported
	for _, name := range keysOf(p.tables) {
		t := p.tables[name]
		if !p.usedTables[name] || len(t.list) == 0 {
			continue
		}
		one, err := exported(e.mapID(t), e.conceptMap(t))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (e *exporter) mapID(t *table) string { return e.p.Name + "-" + t.name }

func (e *exporter) nativeSystem(t *table) string {
	return e.base + "/CodeSystem/native-" + e.p.source + "-" + t.name
}

func (e *exporter) conceptMap(t *table) doc {
	var systems []string
	elements, back := map[string][]doc{}, 0
	for _, row := range t.list {
		target := doc{{"code", row.code}, {"display", row.display}, {"equivalence", "equal"}, {"comment", row.text}}
		system := e.system(row)
		switch row.direction {
		case "out":
			back++
			continue
		case "in":
			target[2].value = "relatedto"
		case directionTodo:
			target, system = doc{{"equivalence", "unmatched"}, {"comment", "no code was chosen yet"}}, ""
		}
		if !slices.Contains(systems, system) {
			systems = append(systems, system)
		}
		elements[system] = append(elements[system], doc{{"code", row.native}, {"target", []doc{target}}})
	}
	description := "Native values of " + e.p.source + " and their codes; made from " + t.file + "."
	if back > 0 {
		description += " " + itoa(back) + " code(s) that are only turned back into native values are left out."
	}
	unmapped := e.unmapped(t)
	if unmapped == nil {
		description += " A value that is not in it gets no code."
	}
	var groups []doc
	for _, s := range systems {
		group := doc{{"source", e.nativeSystem(t)}, {"target", s}, {"element", elements[s]}}
		if unmapped != nil && (unmapped.system == s || unmapped.system == "") {
			group = append(group, member{"unmapped", doc{{"mode", "fixed"}, {"code", unmapped.code}}})
		}
		groups = append(groups, group)
	}
	return append(e.head("ConceptMap", e.mapID(t), e.p.Title+": "+t.name),
		member{"description", description}, member{"group", groups})
}

// unmapped is the code that every use of a table falls back on, nil when there is none or they differ.
func (e *exporter) unmapped(t *table) *tableRow {
	var found []tableRow
	for _, m := range e.p.maps {
		for i := range m.emissions {
			each(m.emissions[i].set, func(n node) {
				code, ok := n.(*codeNode)
				if !ok || code.via != t {
					return
				}
				var fallback tableRow
				switch els := code.els.(type) {
				case *constNode:
					fallback.code, _ = els.literal()
				case *objectNode:
					fallback.system, fallback.code = els.literal("system"), els.literal("code")
				}
				found = append(found, fallback)
			})
		}
	}
	if len(found) == 0 || found[0].code == "" {
		return nil
	}
	for _, f := range found {
		if f.code != found[0].code || f.system != found[0].system {
			return nil
		}
	}
	return &found[0]
}

// literal is a constant text element of an object, "" when it has none.
func (o *objectNode) literal(name string) string {
	for _, f := range o.fields {
		if c, ok := f.node.(*constNode); ok && f.name == name {
			text, _ := c.literal()
			return text
		}
	}
	return ""
}

// each visits a node and everything below it.
func each(n node, visit func(node)) {
	if n == nil {
		return
	}
	n = bare(n)
	visit(n)
	switch v := n.(type) {
	case *objectNode:
		for _, f := range v.fields {
			each(f.node, visit)
		}
	case *listNode:
		for _, item := range v.items {
			each(item, visit)
		}
	case *whenNode:
		each(v.then, visit)
		each(v.els, visit)
	case *eachNode:
		each(v.item, visit)
	case *splitNode:
		each(v.item, visit)
	case *codeNode:
		each(v.els, visit)
	}
}
