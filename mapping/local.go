package mapping

import (
	"slices"
	"strings"
)

// LocalCode is a code of a code system that packs publish themselves, below the deployment's canonical base.
type LocalCode struct{ System, Code, Display string }

// LocalCodes are the codes of local code systems that a pack can write: those of its tables and those that stand in its
// mapping files, in the order of systems and codes.
func (p *Pack) LocalCodes() []LocalCode {
	var out []LocalCode
	seen := map[string]bool{}
	add := func(system, code, display string) {
		if system != "" && code != "" && !seen[system+"|"+code] {
			seen[system+"|"+code] = true
			out = append(out, LocalCode{system, code, display})
		}
	}
	for _, t := range p.tables {
		for _, row := range t.list {
			if row.local && row.direction != directionTodo {
				add(strings.TrimPrefix(row.system, localPrefix), row.code, row.display)
			}
		}
	}
	for _, m := range p.maps {
		for i := range m.emissions {
			eachObject(m.emissions[i].set, func(o *objectNode) {
				system, code, display := o.written("system"), o.written("code"), o.written("display")
				if rest, ok := strings.CutPrefix(system, "{base}/CodeSystem/"); ok {
					add(rest, code, display)
				}
			})
		}
	}
	slices.SortFunc(out, func(a, b LocalCode) int {
		if a.System != b.System {
			return strings.Compare(a.System, b.System)
		}
		return strings.Compare(a.Code, b.Code)
	})
	return out
}

// written is the constant text of a field as it stands in the mapping file, placeholders included; "" when it is none.
func (n *objectNode) written(name string) string {
	for _, f := range n.fields {
		c, ok := f.node.(*constNode)
		if !ok || f.name != name {
			continue
		}
		var text strings.Builder
		for _, p := range c.parts {
			if p.name != "" {
				text.WriteString("{" + p.name + "}")
				continue
			}
			text.WriteString(strings.Trim(string(p.json), `"`))
		}
		return text.String()
	}
	return ""
}

// eachObject visits every object of a node.
func eachObject(n node, f func(*objectNode)) {
	each(n, func(n node) {
		if o, ok := n.(*objectNode); ok {
			f(o)
		}
	})
}

// LocalExtensions are the names of the extensions that a pack writes below the deployment's canonical base, those of the
// engine's own included.
func (p *Pack) LocalExtensions() []string {
	names := []string{"native-value", "source-record-sha256", "mapping-rule", "source-path"}
	for _, m := range p.maps {
		for i := range m.emissions {
			eachObject(m.emissions[i].set, func(o *objectNode) {
				if rest, ok := strings.CutPrefix(o.written("url"), "{base}/StructureDefinition/"); ok && !slices.Contains(names, rest) {
					names = append(names, rest)
				}
			})
		}
	}
	slices.Sort(names)
	return names
}

// Made is one kind of resource that a pack makes.
type Made struct {
	Map, Slot, Resource string
	Profiles            []string // canonical URLs it claims, always or under a condition
	Elements            []string // JSON names of the elements it can have, in their order
}

// Makes lists what a pack makes, in the order of its mappings.
func (p *Pack) Makes() []Made {
	var out []Made
	for _, m := range p.maps {
		for i := range m.emissions {
			em := &m.emissions[i]
			made := Made{Map: m.name, Slot: em.slot, Resource: em.resource}
			for _, pr := range em.profiles {
				made.Profiles = append(made.Profiles, strings.Trim(string(pr.url), `"`))
			}
			if em.identifiers != identifierNone {
				made.Elements = append(made.Elements, "identifier")
			}
			for _, f := range em.set.fields {
				made.Elements = append(made.Elements, f.name)
			}
			out = append(out, made)
		}
	}
	return out
}
