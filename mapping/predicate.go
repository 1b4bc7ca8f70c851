package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// evalCost bounds one CEL evaluation, in the library's cost units: a predicate over a few hundred rows passes, a
// predicate that multiplies rows with rows does not run away.
const evalCost = 2_000_000

// A predicate is a compiled CEL expression over `record`, `org` and the loop variables in scope.
type predicate struct {
	rule    string // file:line
	text    string
	where   string // what the names in it stand for, for people: ", where kind is …"
	program cel.Program
	// bounded is the program with a bound on its cost, for records of many items; nil when the expression cannot loop
	bounded cel.Program
	fields  []int // native leaves it reads, for coverage
	// what it says of fields by its outcome, for the way back
	whenTrue, whenFalse []implication
	always              *bool // its value when it is the same for every record
	// once is the number under which a run keeps its outcome, from 1, when it reads no loop variable; 0 when it may differ
	// from item to item
	once int
}

// words are the expression for people, with what the names in it stand for.
func (p *predicate) words() string { return p.text + p.where }

// newCEL makes the environment of a pack: its variables are dynamic, because native records are.
func newCEL(p *Pack) (*cel.Env, error) {
	return cel.NewEnv(
		cel.CustomTypeAdapter(nativeAdapter{}),
		cel.EnableIdentifierEscapeSyntax(), // record.sheet.`Mood 1-5`
		cel.Macros(cel.GlobalMacro("has", 1, hasNamed)),
		cel.Variable("record", cel.DynType),
		cel.Variable("org", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("now", cel.StringType),
		cel.Variable("propose", cel.BoolType),
		ext.Strings(),
		cel.Function("table", cel.Overload("table_name_native_column",
			[]*cel.Type{cel.StringType, cel.DynType, cel.StringType}, cel.StringType,
			cel.FunctionBinding(p.celTable))),
		cel.Function("day", cel.Overload("day_text", []*cel.Type{cel.DynType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return p.celTime(v, "date") }))),
		cel.Function("instant", cel.Overload("instant_text", []*cel.Type{cel.DynType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return p.celTime(v, "by") }))),
		cel.Function("sum", cel.Overload("sum_texts", []*cel.Type{cel.ListType(cel.DynType)}, cel.StringType,
			cel.UnaryBinding(sum))),
		cel.Function("latest", cel.Overload("latest_texts", []*cel.Type{cel.ListType(cel.DynType)}, cel.StringType,
			cel.UnaryBinding(latest))),
		cel.Function("repeated", cel.Overload("repeated_texts", []*cel.Type{cel.ListType(cel.DynType)}, cel.ListType(cel.StringType),
			cel.UnaryBinding(repeated))),
	)
}

// celTable is table(name, native value, column): one cell of a code table, "" when there is no such row.
func (p *Pack) celTable(args ...ref.Val) ref.Val {
	name, ok1 := args[0].(types.String)
	column, ok2 := args[2].(types.String)
	if !ok1 || !ok2 || p.tables[string(name)] == nil {
		return types.NewErr("table: no such table")
	}
	native, ok := args[1].(types.String)
	if !ok {
		native = types.String(fmt.Sprint(args[1].Value()))
	}
	return types.String(p.tables[string(name)].cell(string(native), string(column)))
}

// celTime is day(text) or instant(text): the native date as YYYY-MM-DD or as the UTC instant by which it had come, ""
// when it is not a date.
func (p *Pack) celTime(v ref.Val, as string) ref.Val {
	text, ok := v.Value().(string)
	if !ok {
		return types.String("")
	}
	got, _ := p.dates.read(text, as)
	if as == "by" && got != "" {
		// One width, so that texts compare like times.
		t, err := time.Parse(time.RFC3339Nano, got)
		if err != nil {
			return types.String("")
		}
		got = t.Format(instantLayout)
	}
	return types.String(got)
}

const instantLayout = "2006-01-02T15:04:05.000000Z"

// sum adds a list of numbers, written as texts, exactly.
func sum(v ref.Val) ref.Val {
	list, ok := v.(traits.Lister)
	if !ok {
		return types.String("")
	}
	total := new(big.Rat)
	for it := list.Iterator(); it.HasNext() == types.True; {
		text := fmt.Sprint(it.Next().Value())
		n, ok := new(big.Rat).SetString(text)
		if !ok || !isDecimal(text) {
			return types.NewErr("sum: not a number")
		}
		total.Add(total, n)
	}
	if total.IsInt() {
		return types.String(total.Num().String())
	}
	return types.String(strings.TrimRight(total.FloatString(6), "0"))
}

// latest is the greatest of a list of days or instants.
func latest(v ref.Val) ref.Val {
	list, ok := v.(traits.Lister)
	if !ok {
		return types.String("")
	}
	best := ""
	for it := list.Iterator(); it.HasNext() == types.True; {
		if s, ok := it.Next().Value().(string); ok && s > best {
			best = s
		}
	}
	return types.String(strings.Replace(best, ".000000Z", "Z", 1))
}

// repeated lists the texts that stand in a list more than once.
func repeated(v ref.Val) ref.Val {
	list, ok := v.(traits.Lister)
	if !ok {
		return types.NewErr("repeated: not a list")
	}
	seen := map[string]int{}
	var out []string
	for it := list.Iterator(); it.HasNext() == types.True; {
		text := fmt.Sprint(it.Next().Value())
		if seen[text]++; seen[text] == 2 {
			out = append(out, text)
		}
	}
	return types.NewStringList(types.DefaultTypeAdapter, out)
}

// nativeAdapter shows decoded JSON to CEL; numbers stay integers where they are.
type nativeAdapter struct{}

func (a nativeAdapter) NativeToValue(v any) ref.Val {
	switch x := v.(type) {
	case json.Number:
		if i, err := x.Int64(); err == nil {
			return types.Int(i)
		}
		if f, err := x.Float64(); err == nil {
			return types.Double(f)
		}
		return types.String(x)
	case map[string]any:
		return types.NewStringInterfaceMap(a, x)
	case []any:
		return types.NewDynamicList(a, x)
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// ResolveName and Parent make a run the activation of its own predicates.
func (r *run) ResolveName(name string) (any, bool) {
	switch name {
	case "record":
		return r.record, true
	case "org":
		return r.env.org, true
	case "now":
		return r.env.now, true
	case "propose":
		return r.env.ProposeConcerns, true
	}
	if i, ok := r.m.varSlot[name]; ok {
		return r.vars[i].value, r.vars[i].value != nil
	}
	for i, l := range r.m.lets {
		if l.name == name {
			return r.letValue(i), true
		}
	}
	return nil, false
}

// test evaluates a predicate; an expression that fails (a field it reads is absent) is false.
func (r *run) test(p *predicate) bool {
	if p == nil {
		return true
	}
	if p.once == 0 {
		return r.eval(p)
	}
	if r.known[p.once-1] == unknown {
		r.known[p.once-1] = no
		if r.eval(p) {
			r.known[p.once-1] = yes
		}
	}
	return r.known[p.once-1] == yes
}

// fewItems is how many list items a record may hold for its expressions to run without counting what they cost: three
// loops within each other come to a few hundred thousand steps.
const fewItems = 64

func (r *run) programOf(p *predicate) cel.Program {
	if p.bounded == nil || r.few {
		return p.program
	}
	return p.bounded
}

// listItems counts the items of all lists of a record.
func listItems(v any) int {
	n := 0
	switch x := v.(type) {
	case map[string]any:
		for _, kid := range x {
			n += listItems(kid)
		}
	case []any:
		n += len(x)
		for _, kid := range x {
			n += listItems(kid)
		}
	}
	return n
}

// outcome is what a run knows of a predicate.
type outcome byte

const (
	unknown outcome = iota
	no
	yes
)

func (r *run) eval(p *predicate) bool {
	out, _, err := r.programOf(p).Eval(activation{r})
	if err != nil {
		r.failed(p, err)
		return false
	}
	b, ok := out.Value().(bool)
	return ok && b
}

// failed tells a predicate that ran out of its cost bound from one that read an absent field: the record is too large
// to be decided on, and is rejected rather than mapped with rules that did not run.
func (r *run) failed(p *predicate, err error) {
	var stopped interpreter.EvalCancelledError
	if !errors.As(err, &stopped) {
		return
	}
	r.report("", p.rule, "too-large", "the record has too many entries for a rule of the mapping; it was not mapped", true)
	r.reject = true
}

// compute evaluates a CEL expression to a scalar; a failing expression yields nothing.
func (r *run) compute(p *predicate) (any, bool) {
	out, _, err := r.programOf(p).Eval(activation{r})
	if err != nil {
		r.failed(p, err)
		return nil, false
	}
	switch x := out.Value().(type) {
	case string:
		return x, x != ""
	case bool:
		return x, true
	case int64:
		return json.Number(fmt.Sprint(x)), true
	case float64:
		return json.Number(strings.TrimSuffix(fmt.Sprintf("%g", x), ".0")), true
	}
	return nil, false
}

// activation lets CEL read a run without copying it.
type activation struct{ *run }

func (a activation) Parent() cel.Activation { return nil }

// predicate compiles a CEL text found at line and records which native fields it reads.
func (c *compiler) predicate(text string, line int, wantBool bool) *predicate {
	env, err := c.celEnv()
	if err != nil {
		c.f.add(c.file, line, "CEL environment: %v", err)
		return nil
	}
	tree, p := c.program(env, text, line)
	if p == nil {
		return nil
	}
	if t := tree.OutputType(); wantBool && !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		c.f.add(c.file, line, "CEL: must be true or false, is %s", t)
		return nil
	}
	source := whereabouts{c, place{c.file, line}, map[int64]place{}}
	expr := c.spelledOut(tree.NativeRep().Expr(), source.at, source.places)
	reader := celReader{whereabouts: source, vars: map[string]*fieldTree{"record": c.m.tree}}
	for _, v := range c.scope {
		reader.vars[v.name] = v.tree
	}
	reader.read(expr)
	p.where = c.whereOf(tree.NativeRep().Expr())
	p.once, p.fields = c.once(expr), reader.fields
	p.whenTrue, p.whenFalse = c.implications(expr, true), c.implications(expr, false)
	p.always = c.reachable(expr, source)
	return p
}

// program compiles a CEL text to what computes it; nil when it cannot be, which is faulted.
func (c *compiler) program(env *cel.Env, text string, line int) (*cel.Ast, *predicate) {
	tree, iss := env.Compile(text)
	if iss.Err() != nil {
		c.celFaults(iss, line)
		return nil, nil
	}
	selectNamed(tree)
	p := &predicate{rule: c.file + ":" + itoa(line), text: text}
	var err error
	p.program, err = env.Program(tree, cel.EvalOptions(cel.OptOptimize))
	if err == nil && loops(tree.NativeRep().Expr()) {
		p.bounded, err = env.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(evalCost))
	}
	if err != nil {
		c.f.add(c.file, line, "CEL: %v", err)
		return nil, nil
	}
	return tree, p
}

// selectNamed makes record['Sponsor?'] the selection that it is, so that fields whose names CEL cannot write are checked, counted
// and concluded from like all others.
func selectNamed(tree *cel.Ast) {
	native, factory := tree.NativeRep(), celast.NewExprFactory()
	celast.PostOrderVisit(native.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.CallKind || e.AsCall().FunctionName() != operators.Index {
			return
		}
		args := e.AsCall().Args()
		if name, ok := literal(args[1]); ok {
			delete(native.ReferenceMap(), e.ID()) // of the call
			e.SetKindCase(factory.NewSelect(e.ID(), args[0], name))
		}
	}))
}

// hasNamed is the macro has(), which takes record.sheet['Sponsor?'] too: not every name of a column can be written after a dot.
func hasNamed(make cel.MacroExprFactory, _ celast.Expr, args []celast.Expr) (celast.Expr, *cel.Error) {
	switch arg := args[0]; {
	case arg.Kind() == celast.SelectKind:
		return make.NewPresenceTest(arg.AsSelect().Operand(), arg.AsSelect().FieldName()), nil
	case arg.Kind() == celast.CallKind && arg.AsCall().FunctionName() == operators.Index:
		if name, ok := literal(arg.AsCall().Args()[1]); ok {
			return make.NewPresenceTest(arg.AsCall().Args()[0], name), nil
		}
	}
	return nil, make.NewError(args[0].ID(), "has() asks for a field: has(record.field), or has(record['its name'])")
}

// once numbers an expression that reads no loop variable: it comes out the same wherever it is asked in a record.
func (c *compiler) once(e celast.Expr) int {
	varies := false
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		varies = varies || e.Kind() == celast.IdentKind && c.lookup(e.AsIdent()) != nil
	}))
	if varies {
		return 0
	}
	c.m.predicates++
	return c.m.predicates
}

// loops tells whether an expression walks a list.
func loops(e celast.Expr) bool {
	found := false
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) { found = found || e.Kind() == celast.ComprehensionKind }))
	return found
}

// celReader finds the native fields an expression reads, and faults those the schema does not know.
type celReader struct {
	whereabouts
	vars   map[string]*fieldTree
	fields []int
}

// whereabouts tells where the part of an expression that is looked at was written, for faults.
type whereabouts struct {
	c      *compiler
	at     place
	places map[int64]place // of what stands in place of a name
}

// enter goes to a part, which may have been written elsewhere; leave goes back.
func (w *whereabouts) enter(e celast.Expr) (leave func()) {
	outside := w.at
	if at, ok := w.places[e.ID()]; ok {
		w.at = at
	}
	return func() { w.at = outside }
}

func (w *whereabouts) hint(hint, format string, args ...any) {
	w.c.f.hint(w.at.file, w.at.line, hint, format, args...)
}

// read returns the field tree an expression stands for, nil when it is not a path.
func (r *celReader) read(e celast.Expr) *fieldTree {
	defer r.enter(e)()
	switch e.Kind() {
	case celast.IdentKind:
		return r.vars[e.AsIdent()]
	case celast.SelectKind:
		return r.selection(e.AsSelect())
	case celast.CallKind:
		return r.call(e.AsCall())
	case celast.ListKind:
		for _, el := range e.AsList().Elements() {
			// A whole item in a list is how filter() keeps it; only its leaves are values.
			if t := r.read(el); t != nil && t.id >= 0 {
				r.fields = append(r.fields, t.id)
			}
		}
	case celast.ComprehensionKind:
		r.comprehension(e.AsComprehension())
	}
	return nil
}

func (r *celReader) selection(s celast.SelectExpr) *fieldTree {
	t := r.read(s.Operand())
	if t == nil || t.props == nil {
		return nil
	}
	kid := t.props[s.FieldName()]
	if kid == nil {
		r.hint(didYouMean(s.FieldName(), keysOf(t.props)), "CEL: the schema has no field %q below %q", s.FieldName(), t.name)
		return nil
	}
	if kid.id >= 0 {
		r.fields = append(r.fields, kid.id)
	}
	return kid
}

func (r *celReader) call(call celast.CallExpr) *fieldTree {
	if call.FunctionName() == "table" && len(call.Args()) == 3 {
		r.checkTable(call.Args())
	}
	var target *fieldTree
	if call.IsMemberFunction() {
		target = r.read(call.Target())
	}
	for i, a := range call.Args() {
		t := r.read(a)
		if i == 0 && call.FunctionName() == "_[_]" && t != nil && t.items != nil {
			target = t.items
		}
	}
	if call.FunctionName() == "_[_]" {
		if target != nil && target.id >= 0 {
			r.fields = append(r.fields, target.id)
		}
		return target
	}
	return nil
}

func (r *celReader) checkTable(args []celast.Expr) {
	name, ok := literal(args[0])
	column, ok2 := literal(args[2])
	if !ok || !ok2 {
		r.hint("", "CEL: table() needs the table and the column as literal texts")
		return
	}
	t := r.c.p.tables[name]
	if t == nil {
		r.hint(didYouMean(name, keysOf(r.c.p.tables)), "CEL: there is no table %q", name)
		return
	}
	if _, ok := t.columns[column]; !ok {
		r.hint(didYouMean(column, keysOf(t.columns)), "CEL: table %q has no column %q", name, column)
	}
}

func literal(e celast.Expr) (string, bool) {
	if e.Kind() != celast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().Value().(string)
	return s, ok
}

func (r *celReader) comprehension(e celast.ComprehensionExpr) {
	over := r.read(e.IterRange())
	inner := celReader{whereabouts: r.whereabouts, vars: map[string]*fieldTree{}}
	for k, v := range r.vars {
		inner.vars[k] = v
	}
	if over != nil && over.items != nil {
		inner.vars[e.IterVar()] = over.items
	} else {
		delete(inner.vars, e.IterVar())
	}
	for _, sub := range []celast.Expr{e.AccuInit(), e.LoopCondition(), e.LoopStep(), e.Result()} {
		t := inner.read(sub)
		if t != nil && t.id >= 0 {
			inner.fields = append(inner.fields, t.id)
		}
	}
	r.fields = append(r.fields, inner.fields...)
}
