package mapping

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Findings are what lint has to say of a pack.
type Findings struct {
	Pack string `json:"pack"`
	// Faults keep the pack from loading.
	Faults []Fault `json:"faults"`
	// Todos wait for a decision of the author: the pack loads, but is not finished.
	Todos []Fault `json:"todos"`
	// Warnings are legal, and often not what was meant.
	Warnings []Fault `json:"warnings"`
}

// Clean tells whether the pack is finished and without faults; it may have warnings.
func (f *Findings) Clean() bool { return len(f.Faults)+len(f.Todos) == 0 }

// todoReason begins the reason of a field that is ignored until somebody decides.
const todoReason = "TODO"

// maxIgnored is the share of a pack's fields, in percent, above which ignoring is worth a second look.
const maxIgnored = 5

// Lint loads a pack and tells everything about it at once.
func Lint(fsys fs.FS, name string) (*Findings, error) {
	f := &faults{}
	out := &Findings{Pack: name, Faults: []Fault{}, Todos: []Fault{}, Warnings: []Fault{}}
	p, err := compilePack(fsys, name, f)
	var le *LoadError
	switch {
	case errors.As(err, &le):
		out.Faults = le.Faults
		return out, nil
	case err != nil:
		return nil, err
	}
	p.checkAll(f)
	w := &warner{p: p, todos: &faults{}, warnings: &faults{}}
	w.decisions()
	w.fields()
	w.tables()
	for _, c := range p.compilers {
		w.mapping(c)
	}
	out.Faults = append(out.Faults, inOrder(f.list)...)
	out.Todos = append(out.Todos, inOrder(w.todos.list)...)
	out.Warnings = append(out.Warnings, inOrder(append(w.warnings.list, p.doubts...))...)
	return out, nil
}

// Lint tells everything about the pack, from the folder it was loaded from.
func (p *Pack) Lint() (*Findings, error) { return Lint(p.fsys, p.Name) }

// A warner looks at a compiled pack for what is legal and suspicious.
type warner struct {
	p               *Pack
	todos, warnings *faults
}

// decisions lists what the author has not decided yet.
func (w *warner) decisions() {
	for _, d := range w.p.undecided {
		w.todos.hint(d.file, d.line, "map the field, or give the reason why it is not carried", "field %s waits for a decision", d.field)
	}
	for _, name := range keysOf(w.p.tables) {
		t := w.p.tables[name]
		for _, row := range t.list {
			if row.direction == directionTodo {
				w.todos.hint(t.file, row.line, "fill in system and code, and both, in or out as the direction", "native value %q has no code yet", row.native)
			}
		}
	}
}

// fields counts what is ignored, and looks whether dates can be read as they are declared.
func (w *warner) fields() {
	for _, l := range w.p.dates.layouts {
		if w.p.dates.zone == nil && l.clock && !l.zoned {
			w.warnings.hint(w.p.Name+"/"+packFile, w.p.datesLine, "name the source's time zone: zone",
				"date layout %q has a time and no zone: such dates are left out where a time is asked for", l.text)
		}
	}
	w.required()
	total, ignored := len(w.p.fields.names), 0
	for i := range w.p.fields.names {
		if w.p.ignored[i] != "" && !w.p.uses[i] {
			ignored++
		}
	}
	if total > 0 && 100*ignored > maxIgnored*total {
		w.warnings.add(w.p.Name+"/"+packFile, w.p.recordsLine, "%d of %d native fields (%d %%) are ignored", ignored, total, 100*ignored/total)
	}
}

// required finds fields that a record must have and FHIR does not hold: what comes back is no record then.
func (w *warner) required() {
	warn := func(file string, tree *fieldTree, names []string) {
		for _, name := range names {
			if t := tree.props[name]; t != nil && t.id >= 0 && w.p.ignored[t.id] != "" && !w.p.uses[t.id] {
				w.warnings.hint(file, 0, "take it out of required in the schema", "field %s is required and not carried: a record that comes back from FHIR lacks it", t.name)
			}
		}
	}
	for _, k := range w.p.files {
		warn(w.p.Name+"/"+packFile, k.tree, k.required)
	}
	if w.p.Format == "json" {
		for _, m := range w.p.maps {
			warn(m.file, m.tree, m.schema.schema.Required)
		}
	}
}

// tables finds tables nobody uses and values of enums that a lookup finds no row for.
func (w *warner) tables() {
	for _, name := range keysOf(w.p.tables) {
		t := w.p.tables[name]
		own := strings.HasPrefix(t.file, w.p.Name+"/")
		if own && !w.p.usedTables[name] {
			w.warnings.add(t.file, 1, "no rule uses the table %q", name)
		}
		told := map[string]bool{}
		for _, l := range w.p.lookups[name] {
			for i, values := range l.parts {
				if lack := missing(t, len(l.parts), i, values); lack != "" && !told[lack] {
					told[lack] = true
					w.warnings.add(l.at.file, l.at.line, "table %s has no row for %s", t.name, lack)
				}
			}
		}
	}
}

// missing lists the values that a field can have and that stand in no row of a table at their place in the native
// value, which has so many parts.
func missing(t *table, parts, part int, values []string) string {
	have := map[string]bool{}
	for _, row := range t.list {
		given := []string{row.native}
		if parts > 1 {
			given = strings.Split(row.native, "|")
		}
		if part < len(given) && row.direction != "out" {
			have[given[part]] = true
		}
	}
	var lack []string
	for _, v := range values {
		if !have[v] && !slices.Contains(lack, v) {
			lack = append(lack, v)
		}
	}
	return quoteAll(lack)
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(quoted, ", ")
}

// mapping walks the resources of one mapping.
func (w *warner) mapping(c *compiler) {
	for i := range c.m.emissions {
		em := &c.m.emissions[i]
		if em.test != nil && em.test.always != nil && *em.test.always {
			at := c.places[em.set]
			w.warnings.hint(at.file, at.line, "take it out", "when is always true")
		}
		w.node(c, em.set, em.resource)
	}
}

func (w *warner) node(c *compiler, n node, path string) {
	switch v := bare(n).(type) {
	case *objectNode:
		for _, f := range v.fields {
			w.node(c, f.node, path+"."+f.name)
		}
	case *listNode:
		w.apart(c, v, path)
		for _, item := range v.items {
			w.node(c, item, path)
		}
	case *whenNode:
		for _, b := range []node{v.then, v.els} {
			if b != nil {
				w.node(c, b, path)
			}
		}
	case *eachNode:
		w.node(c, v.item, path)
	case *splitNode:
		w.node(c, v.item, path)
	}
}

// apart warns of list items that come from the record and look alike: when one is absent, nobody can tell from the
// FHIR side which one is left.
func (w *warner) apart(c *compiler, list *listNode, path string) {
	for j := range list.items {
		for i := range j {
			a, b := list.items[i], list.items[j]
			if !a.dynamic() || !b.dynamic() || differ(marks(a), marks(b)) {
				continue
			}
			at, hint := c.places[b], ""
			if _, object := b.(*objectNode); object {
				hint = "give each a constant of its own, such as use or type"
			}
			w.warnings.hint(at.file, at.line, hint,
				"items %d and %d of %s cannot be told apart when one of them is absent", i+1, j+1, path)
		}
	}
}

// marks are what tells an item from others: constants by their path within it, and systems of code tables.
func marks(n node) map[string][]string {
	out := map[string][]string{}
	for _, b := range branches(n) {
		addMarks(b, "", out)
	}
	return out
}

func addMarks(n node, path string, out map[string][]string) {
	switch v := bare(n).(type) {
	case *constNode:
		if text, ok := v.literal(); ok {
			out[path] = append(out[path], text)
		} else if len(v.parts) > 0 {
			var text string
			for _, p := range v.parts {
				text += p.name + string(p.json)
			}
			out[path] = append(out[path], text)
		}
	case *objectNode:
		for _, f := range v.fields {
			for _, b := range branches(f.node) {
				addMarks(b, path+"."+f.name, out)
			}
		}
	case *codeNode:
		below := path
		switch v.as {
		case "concept":
			below += ".coding"
		case "coding":
		default:
			return
		}
		for _, row := range v.via.list {
			out[below+".system"] = append(out[below+".system"], row.system)
		}
	case *refNode:
		out[path+".$ref"] = append(out[path+".$ref"], v.slot+v.resource+v.record)
	}
}

// differ tells whether two items have a place at which they can never hold the same.
func differ(a, b map[string][]string) bool {
	for path, x := range a {
		y, ok := b[path]
		if ok && !slices.ContainsFunc(x, func(v string) bool { return slices.Contains(y, v) }) {
			return true
		}
	}
	return false
}
