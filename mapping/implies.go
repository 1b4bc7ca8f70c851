package mapping

import (
	"encoding/json"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// An implication is what a predicate says of one field when it came out true (or false): its value.
type implication struct {
	path  *path
	value any
}

// implications reads them off an expression: comparisons of a field with a literal that must hold for the whole to come
// out as wanted. What depends on anything else says nothing.
func (c *compiler) implications(e ast.Expr, holds bool) []implication {
	switch e.Kind() {
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			return nil
		}
		if p := c.celPath(e); p != nil && p.tree.typ == "boolean" {
			return []implication{{p, holds}}
		}
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case operators.LogicalNot:
			return c.implications(args[0], !holds)
		case operators.LogicalAnd, operators.LogicalOr:
			// Both sides of an "and" that holds hold; both sides of an "or" that does not hold do not.
			if holds == (call.FunctionName() == operators.LogicalAnd) {
				return append(c.implications(args[0], holds), c.implications(args[1], holds)...)
			}
		case operators.Equals, operators.NotEquals:
			if holds == (call.FunctionName() == operators.Equals) {
				return append(c.compared(args[0], args[1]), c.compared(args[1], args[0])...)
			}
		}
	}
	return nil
}

// compared is a field that equals a literal.
func (c *compiler) compared(field, value ast.Expr) []implication {
	if value.Kind() != ast.LiteralKind {
		return nil
	}
	p := c.celPath(field)
	if p == nil || p.tree.id < 0 {
		return nil
	}
	switch v := value.AsLiteral().Value().(type) {
	case string:
		return []implication{{p, v}}
	case bool:
		return []implication{{p, v}}
	case int64:
		return []implication{{p, json.Number(strconv.FormatInt(v, 10))}}
	}
	return nil
}

// celPath is the native path that an expression names, nil when it names none.
func (c *compiler) celPath(e ast.Expr) *path {
	var segs []string
	for e.Kind() == ast.SelectKind {
		s := e.AsSelect()
		if s.IsTestOnly() {
			return nil
		}
		segs = append([]string{s.FieldName()}, segs...)
		e = s.Operand()
	}
	if e.Kind() != ast.IdentKind {
		return nil
	}
	p := &path{slot: -1, segs: segs, tree: c.m.tree}
	if name := e.AsIdent(); name != "record" {
		v := c.lookup(name)
		if v == nil {
			return nil
		}
		p.slot, p.tree = v.slot, v.tree
	}
	if p.tree = p.tree.find(segs); p.tree == nil {
		return nil
	}
	return p
}

// fieldsOf are the native leaves that implications settle.
func fieldsOf(said []implication) []int {
	var out []int
	for _, s := range said {
		out = append(out, s.path.tree.id)
	}
	return out
}
