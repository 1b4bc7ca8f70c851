package mapping

import (
	"slices"
	"strings"

	celast "cel.dev/cel-go/common/ast"
)

// A reach finds what in an expression can never happen because the schema or a code table has no such value.
type reach struct {
	whereabouts
	vars map[string]*fieldTree
}

// reachable faults comparisons that never hold, and returns the expression's value when it has the same one for every
// record.
func (c *compiler) reachable(e celast.Expr, source whereabouts) (constant *bool) {
	r := &reach{whereabouts: source, vars: map[string]*fieldTree{"record": c.m.tree}}
	for _, v := range c.scope {
		r.vars[v.name] = v.tree
	}
	r.walk(e)
	return fixed(e)
}

func (r *reach) walk(e celast.Expr) {
	defer r.enter(e)()
	switch e.Kind() {
	case celast.SelectKind:
		r.walk(e.AsSelect().Operand())
	case celast.ListKind:
		for _, el := range e.AsList().Elements() {
			r.walk(el)
		}
	case celast.CallKind:
		r.call(e.AsCall())
	case celast.ComprehensionKind:
		comp := e.AsComprehension()
		r.walk(comp.IterRange())
		inner := &reach{whereabouts: r.whereabouts, vars: map[string]*fieldTree{}}
		for k, v := range r.vars {
			inner.vars[k] = v
		}
		delete(inner.vars, comp.IterVar())
		if over := r.field(comp.IterRange()); over != nil && over.items != nil {
			inner.vars[comp.IterVar()] = over.items
		}
		for _, sub := range []celast.Expr{comp.AccuInit(), comp.LoopCondition(), comp.LoopStep(), comp.Result()} {
			inner.walk(sub)
		}
	}
}

func (r *reach) call(call celast.CallExpr) {
	args := call.Args()
	if call.IsMemberFunction() {
		r.walk(call.Target())
	}
	for _, a := range args {
		r.walk(a)
	}
	switch call.FunctionName() {
	case "_==_", "_!=_":
		r.compare(args[0], args[1])
		r.compare(args[1], args[0])
	case "@in":
		if args[1].Kind() == celast.ListKind {
			for _, el := range args[1].AsList().Elements() {
				r.compare(args[0], el)
			}
		}
	case "table":
		r.table(args)
	}
}

// compare looks at one side of a comparison with a literal.
func (r *reach) compare(side, other celast.Expr) {
	want, ok := literal(other)
	if !ok {
		return
	}
	if t := r.field(side); t != nil && len(t.enum) > 0 && !slices.Contains(t.enum, want) {
		r.hint(oneOf(want, t.enum), "CEL: %s is never %q", t.name, want)
	}
	if name, column, ok := tableCall(side); ok && want != "" {
		t := r.c.p.tables[name]
		if t == nil {
			return
		}
		at, ok := t.columns[column]
		if !ok {
			return
		}
		var values []string
		for _, row := range t.list {
			if row.direction != "out" && at < len(row.cells) && !slices.Contains(values, row.cells[at]) {
				values = append(values, row.cells[at])
			}
		}
		if !slices.Contains(values, want) {
			r.hint(didYouMean(want, values), "CEL: column %q of table %q never holds %q", column, name, want)
		}
	}
}

// tableCall takes table(name, native, column) apart.
func tableCall(e celast.Expr) (name, column string, ok bool) {
	if e.Kind() != celast.CallKind || e.AsCall().FunctionName() != "table" || len(e.AsCall().Args()) != 3 {
		return "", "", false
	}
	name, ok1 := literal(e.AsCall().Args()[0])
	column, ok2 := literal(e.AsCall().Args()[2])
	return name, column, ok1 && ok2
}

// table remembers which native values an expression looks up.
func (r *reach) table(args []celast.Expr) {
	if len(args) != 3 {
		return
	}
	name, ok := literal(args[0])
	if ok && r.c.p.tables[name] != nil {
		r.c.p.lookups[name] = append(r.c.p.lookups[name], lookup{r.native(args[1]), r.at})
		r.c.p.usedTables[name] = true
	}
}

// native is what a composite native value is made of: per part the values it can have, nil for any. A text that is not
// put together with bars is one part; nil means that nothing is known.
func (r *reach) native(e celast.Expr) [][]string {
	var parts [][]string
	var join func(e celast.Expr) bool
	join = func(e celast.Expr) bool {
		if e.Kind() == celast.CallKind && e.AsCall().FunctionName() == "_+_" {
			return join(e.AsCall().Args()[0]) && join(e.AsCall().Args()[1])
		}
		if text, ok := literal(e); ok {
			if text != "|" {
				head, bar := strings.CutSuffix(text, "|")
				if !bar || head == "" || strings.HasPrefix(head, "|") {
					return false
				}
				for _, p := range strings.Split(head, "|") {
					parts = append(parts, []string{p})
				}
			}
			return true
		}
		var enum []string
		if t := r.field(e); t != nil {
			enum = t.enum
		}
		parts = append(parts, enum)
		return true
	}
	if !join(e) {
		return nil
	}
	return parts
}

// field is the native field an expression stands for, nil when it is none.
func (r *reach) field(e celast.Expr) *fieldTree {
	switch e.Kind() {
	case celast.IdentKind:
		return r.vars[e.AsIdent()]
	case celast.SelectKind:
		if t := r.field(e.AsSelect().Operand()); t != nil && !e.AsSelect().IsTestOnly() {
			return t.props[e.AsSelect().FieldName()]
		}
	}
	return nil
}

// fixed computes what an expression is when no record can change it.
func fixed(e celast.Expr) *bool {
	yes, no := true, false
	switch e.Kind() {
	case celast.LiteralKind:
		if b, ok := e.AsLiteral().Value().(bool); ok {
			return &b
		}
	case celast.CallKind:
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case "!_":
			if b := fixed(args[0]); b != nil {
				not := !*b
				return &not
			}
		case "_&&_":
			a, b := fixed(args[0]), fixed(args[1])
			if a != nil && !*a || b != nil && !*b {
				return &no
			}
			if a != nil && b != nil {
				return &yes
			}
		case "_||_":
			a, b := fixed(args[0]), fixed(args[1])
			if a != nil && *a || b != nil && *b {
				return &yes
			}
			if a != nil && b != nil {
				return &no
			}
		case "_==_", "_!=_":
			x, ok1 := literal(args[0])
			y, ok2 := literal(args[1])
			if ok1 && ok2 {
				same := (x == y) == (e.AsCall().FunctionName() == "_==_")
				return &same
			}
		}
	}
	return nil
}

// A lookup says of one use of a code table which native values can be asked for: per part of a composite value those
// its field can have, nil for any. No parts mean that nothing is known.
type lookup struct {
	parts [][]string
	at    place
}

// allows tells whether the use can ask for a native value.
func (l lookup) allows(native string) bool {
	if l.parts == nil {
		return true
	}
	parts := []string{native}
	if len(l.parts) > 1 {
		parts = strings.Split(native, "|")
	}
	if len(parts) != len(l.parts) {
		return false
	}
	for i, p := range parts {
		if l.parts[i] != nil && !slices.Contains(l.parts[i], p) {
			return false
		}
	}
	return true
}

// checkRows faults rows of the pack's own tables that no record can reach. Tables that packs share have rows for the
// others.
func (p *Pack) checkRows(f *faults) {
	for _, name := range keysOf(p.tables) {
		t := p.tables[name]
		if !strings.HasPrefix(t.file, p.Name+"/") || len(p.lookups[name]) == 0 {
			continue
		}
		for _, row := range t.list {
			if row.direction == "out" || slices.ContainsFunc(p.lookups[name], func(l lookup) bool { return l.allows(row.native) }) {
				continue
			}
			var values []string
			for _, l := range p.lookups[name] {
				if len(l.parts) == 1 {
					values = append(values, l.parts[0]...)
				}
			}
			hint := didYouMean(row.native, values)
			if hint == "" {
				hint = "take the row out, or allow the value in the schema"
			}
			f.hint(t.file, row.line, hint, "no field that table %s is used for can be %q", name, row.native)
		}
	}
}
