package mapping

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// A letName is an expression with a name, so that a mapping says once what it asks often:
//
//	let:
//	  asked: record.instrument + '|' + a.question
//	  kind: table('question', asked, 'kind')
//
// It may be used wherever the loop variables it reads are in scope, here a, and by those after it.
type letName struct {
	name  string
	at    place
	typ   *cel.Type
	needs []string // loop variables it reads, by way of other names too; what reads one alone is computed once for each item
	slots []int    // theirs
	expr  celast.Expr
	own   *predicate // how to compute it
	used  bool
}

// lets compiles the names in the order in which they stand.
func (c *compiler) lets(n *yamlNode) {
	if n == nil {
		return
	}
	if n.kind != yamlMap {
		c.fault(n.line, "let must be a map of names to expressions")
		return
	}
	for i, kid := range n.kids {
		name, line := n.keys[i].name, n.keys[i].line
		if !isName(name) || reserved(name) || c.letNamed(name) != nil {
			c.fault(line, "%q cannot be the name of an expression, or is in use already", name)
			continue
		}
		if kid.kind != yamlString {
			c.fault(kid.line, "%s must be an expression", name)
			continue
		}
		c.let(name, kid.text, line)
	}
}

func (c *compiler) let(name, text string, line int) {
	parsed, iss := c.p.cel.Parse(text)
	if iss.Err() != nil {
		c.celFaults(iss, line)
		return
	}
	var needs []string
	for _, ident := range freeNames(parsed.NativeRep().Expr()) {
		if l := c.letNamed(ident); l != nil {
			needs = append(needs, l.needs...)
		} else if !reserved(ident) {
			needs = append(needs, ident)
		}
	}
	slices.Sort(needs)
	needs = slices.Compact(needs)
	env, err := c.celEnvOf(needs)
	if err != nil {
		c.fault(line, "CEL environment: %v", err)
		return
	}
	tree, own := c.program(env, text, line)
	if own == nil {
		return
	}
	c.m.lets = append(c.m.lets, &letName{name: name, at: place{c.file, line}, typ: tree.OutputType(), needs: needs, expr: tree.NativeRep().Expr(), own: own})
}

// reserved tells the names that mean something in every expression.
func reserved(name string) bool {
	switch name {
	case "record", "org", "now", "propose":
		return true
	}
	return false
}

// isName tells whether CEL can read a text as an identifier.
func isName(text string) bool {
	for i, ch := range []byte(text) {
		letter := ch == '_' || 'a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z'
		if !letter && (i == 0 || ch < '0' || ch > '9') {
			return false
		}
	}
	return text != ""
}

func (c *compiler) letNamed(name string) *letName {
	for _, l := range c.m.lets {
		if l.name == name {
			return l
		}
	}
	return nil
}

// freeNames are the identifiers of an expression that it does not bind itself, each once.
func freeNames(e celast.Expr) []string {
	var out []string
	var walk func(e celast.Expr, bound []string)
	walk = func(e celast.Expr, bound []string) {
		switch e.Kind() {
		case celast.IdentKind:
			if name := e.AsIdent(); !slices.Contains(bound, name) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		case celast.SelectKind:
			walk(e.AsSelect().Operand(), bound)
		case celast.CallKind:
			if e.AsCall().IsMemberFunction() {
				walk(e.AsCall().Target(), bound)
			}
			for _, a := range e.AsCall().Args() {
				walk(a, bound)
			}
		case celast.ListKind:
			for _, el := range e.AsList().Elements() {
				walk(el, bound)
			}
		case celast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				walk(entry.AsMapEntry().Key(), bound)
				walk(entry.AsMapEntry().Value(), bound)
			}
		case celast.ComprehensionKind:
			comp := e.AsComprehension()
			walk(comp.IterRange(), bound)
			walk(comp.AccuInit(), bound)
			inner := append(slices.Clone(bound), comp.IterVar(), comp.AccuVar())
			for _, sub := range []celast.Expr{comp.LoopCondition(), comp.LoopStep(), comp.Result()} {
				walk(sub, inner)
			}
		}
	}
	walk(e, nil)
	return out
}

// spelledOut puts the expressions in place of their names, for everything that asks what an expression reads and means.
// The places are where the parts that came in were written, by the id of the part.
func (c *compiler) spelledOut(e celast.Expr, at place, places map[int64]place) celast.Expr {
	factory := celast.NewExprFactory()
	e = factory.CopyExpr(e)
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		switch e.Kind() {
		case celast.ComprehensionKind:
			if name := e.AsComprehension().IterVar(); c.letNamed(name) != nil {
				c.f.add(at.file, at.line, "CEL: %s is the name of an expression; call the variable of the loop otherwise", name)
			}
		case celast.IdentKind:
			l := c.letNamed(e.AsIdent())
			if l == nil {
				return
			}
			l.used = true
			parts := map[int64]place{}
			inner := c.spelledOut(l.expr, l.at, parts)
			inner.RenumberIDs(func(id int64) int64 {
				c.lastID--
				if at, ok := parts[id]; ok {
					places[c.lastID] = at
				}
				return c.lastID
			})
			places[e.ID()] = l.at
			e.SetKindCase(inner)
		}
	}))
	return e
}

// whereOf says what the names in an expression stand for, those in them included.
func (c *compiler) whereOf(e celast.Expr) string {
	var said []string
	var add func(e celast.Expr)
	add = func(e celast.Expr) {
		for _, name := range freeNames(e) {
			l := c.letNamed(name)
			if l == nil {
				continue
			}
			if text := name + " is " + l.own.text; !slices.Contains(said, text) {
				said = append(said, text)
				add(l.expr)
			}
		}
	}
	add(e)
	if len(said) == 0 {
		return ""
	}
	return ", where " + strings.Join(said, " and ")
}

// unusable says why a name cannot be used here, for a hint; "" when it is none.
func (c *compiler) unusable(name string) string {
	l := c.letNamed(name)
	if l == nil {
		return ""
	}
	return name + " reads " + strings.Join(l.needs, " and ") + ": use it where a loop has that variable"
}

// checkLets faults names that nothing uses and gives the others the places of their loop variables.
func (c *compiler) checkLets() {
	for _, l := range c.m.lets {
		mend := "take it out"
		for _, name := range l.needs {
			slot, ok := c.m.varSlot[name]
			if !ok {
				mend = fmt.Sprintf("no loop has the variable %q, and a name stands after those it uses", name)
			}
			l.slots = append(l.slots, slot)
		}
		if !l.used {
			c.f.hint(l.at.file, l.at.line, mend, "nothing uses %q", l.name)
		}
	}
}

// letValue computes a name, or takes what was computed for the record or for the item that its loop variable stands for.
func (r *run) letValue(i int) ref.Val {
	l, about := r.m.lets[i], &r.memo
	if len(l.slots) > 0 {
		about = r.vars[l.slots[0]].memo
	}
	if about == nil || len(l.slots) > 1 {
		return r.letAnew(l)
	}
	if about.said == nil {
		about.said = make([]ref.Val, len(r.m.lets))
	}
	if about.said[i] == nil {
		about.said[i] = r.letAnew(l)
	}
	return about.said[i]
}

func (r *run) letAnew(l *letName) ref.Val {
	out, _, err := r.programOf(l.own).Eval(activation{r})
	if err != nil {
		r.failed(l.own, err)
		return types.WrapErr(err)
	}
	return out
}
