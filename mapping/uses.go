package mapping

import (
	"slices"
	"sort"
	"strings"
)

// How a native field fares in a pack.
const (
	BothWays = "both ways" // it comes back from FHIR as it was
	OneWay   = "one way"   // it stands in FHIR, or shaped something there, and does not come back
	Decides  = "decides"   // rules read it to decide something; nothing of it stands in FHIR
)

// Use is what a pack does with one native field, whatever the input.
type Use struct {
	Field    string   `json:"field"`
	Way      string   `json:"way"` // both ways, one way, decides, restated or ignored
	Elements []string `json:"elements,omitempty"`
	Rules    []string `json:"rules,omitempty"` // file:line primitive
	Reason   string   `json:"reason,omitempty"`
}

// Uses lists every native field of the pack with what becomes of it, in the order of their names.
func (p *Pack) Uses() []Use {
	uses := make([]Use, len(p.fields.names))
	for i, name := range p.fields.names {
		uses[i] = Use{Field: name, Way: Decides}
	}
	back := make([]bool, len(uses))
	for _, m := range p.maps {
		m.eachLeaf(func(l *leaf) {
			for _, f := range l.fields {
				u := &uses[f]
				if l.element != "" && !slices.Contains(u.Elements, l.element) {
					u.Elements = append(u.Elements, l.element)
				}
				if !slices.Contains(u.Rules, l.rule) {
					u.Rules = append(u.Rules, l.rule)
				}
				if l.element == "" {
					continue // a check
				}
				if u.Way = OneWay; !l.oneWay {
					back[f] = true
				}
			}
		})
	}
	for i := range uses {
		u := &uses[i]
		switch {
		case back[i]:
			u.Way, u.Reason = BothWays, p.ignored[i]
		case p.restated[i] != "":
			u.Way, u.Reason = Restated, "says again what "+p.restated[i]+" says, and is written anew on the way back"
		case p.joined[i] && len(u.Elements) == 0:
			u.Way, u.Reason = Restated, "says which rows belong together"
		case p.ignored[i] != "" && len(u.Elements) == 0:
			u.Way, u.Reason = Ignored, p.ignored[i]
		}
		sort.Strings(u.Elements)
	}
	sort.SliceStable(uses, func(i, j int) bool { return uses[i].Field < uses[j].Field })
	return uses
}

// eachLeaf visits every rule of a mapping that reads native fields.
func (m *recordMap) eachLeaf(f func(*leaf)) {
	for i := range m.checks {
		l := m.checks[i].leaf
		l.element = ""
		f(&l)
	}
	for i := range m.labels {
		f(&m.labels[i].leaf)
	}
	for i := range m.emissions {
		em := &m.emissions[i]
		f(&em.leaf)
		f(&em.keyLeaf)
		f(&em.said)
		for j := range em.labels {
			f(&em.labels[j].leaf)
		}
		eachLeafOf(em.set, f)
		if em.more != nil {
			eachLeafOf(em.more, f)
		}
	}
	if m.provenance != nil {
		eachLeafOf(m.provenance.recorded, f)
		if m.provenance.author != nil {
			eachLeafOf(m.provenance.author, f)
		}
	}
}

func eachLeafOf(n node, f func(*leaf)) {
	switch x := bare(n).(type) {
	case *objectNode:
		for i := range x.fields {
			eachLeafOf(x.fields[i].node, f)
		}
	case *listNode:
		for _, item := range x.items {
			eachLeafOf(item, f)
		}
	case *whenNode:
		f(&x.leaf)
		f(&x.saidTrue)
		f(&x.saidFalse)
		eachLeafOf(x.then, f)
		if x.els != nil {
			eachLeafOf(x.els, f)
		}
	case *eachNode:
		eachLeafOf(x.item, f)
	case *splitNode:
		f(&x.leaf)
		eachLeafOf(x.item, f)
	case *textNode:
		for i := range x.lines {
			f(&x.lines[i].leaf)
		}
	case *copyNode:
		f(&x.leaf)
	case *codeNode:
		f(&x.leaf)
		if x.els != nil {
			eachLeafOf(x.els, f)
		}
	case *dateNode:
		f(&x.leaf)
	case *unitNode:
		f(&x.leaf)
	case *joinNode:
		f(&x.leaf)
	case *refNode:
		f(&x.leaf)
	case *deriveNode:
		f(&x.leaf)
	}
}

// Reason is why an element is what it is: one rule of a mapping, in words.
type Reason struct {
	Element string   `json:"element"` // FHIR element without indices
	Fields  []string `json:"fields"`  // native fields the rule reads
	Rule    string   `json:"rule"`    // file:line primitive
	Does    string   `json:"does"`    // what the rule does, in plain words
	When    []string `json:"when,omitempty"`
}

// Explain tells which rules make an element (Encounter.status), everything below one (Encounter.period), or use a native
// field (client.birth_date, goals[].due; of a CSV pack the column alone will do). Rules come in the order of the mapping; none means that nothing has that name.
func (p *Pack) Explain(path string) []Reason {
	var out []Reason
	seen := map[string]bool{}
	for _, m := range p.maps {
		m.eachLeaf(func(l *leaf) {
			var fields []string
			named := l.element == path || strings.HasPrefix(l.element, path+".")
			for _, f := range l.fields {
				name := p.fields.names[f]
				fields = append(fields, name)
				named = named || name == path || strings.HasSuffix(name, "."+path) || strings.HasPrefix(name, path+".") || strings.HasPrefix(name, path+"[]")
			}
			id := l.element + " " + l.rule + " " + l.how
			if !named || seen[id] || l.how == "" {
				return
			}
			seen[id] = true
			slices.Sort(fields)
			r := Reason{Element: l.element, Fields: slices.Compact(fields), Rule: l.rule, Does: l.how, When: l.because}
			if r.Element == "" {
				r.Element = "(check)"
			}
			out = append(out, r)
		})
	}
	return out
}
