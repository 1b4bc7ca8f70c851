package mapping

import (
	"encoding/json"
	"slices"
	"strings"

	"trellis/fhir"
)

// kind checks that what a node makes is what the element takes.
func (s *shaper) kind(n node, e fhir.Element) {
	switch v := bare(n).(type) {
	case *constNode:
		s.constant(v, e)
	case *objectNode:
		switch {
		case e.Type == "Resource":
		case e.Primitive():
			s.fault(n, "", "%s is %s, and an object stands there", s.here(), article(e.Type))
		default:
			s.fields(v, e.Elements(), s.c.places[n], false)
		}
	case *copyNode:
		s.copied(v, e)
	case *deriveNode:
		if s.wants(n, "$derive", e, e.Primitive()) {
			s.scalarAs(n, "$derive", v.as, "", e)
		}
	case *joinNode:
		if s.wants(n, "$join", e, e.Primitive()) {
			s.scalarAs(n, "$join", "string", "", e)
		}
	case *dateNode:
		s.date(v, e)
	case *unitNode:
		s.wants(n, "$unit", e, isQuantity(e.Type))
	case *textNode:
		s.wants(n, "$text", e, e.Type == "Narrative")
	case *refNode:
		s.reference(v, e)
	case *codeNode:
		s.coded(v, e)
	}
}

// wants faults a primitive of the language that makes something else than the element takes.
func (s *shaper) wants(n node, op string, e fhir.Element, ok bool) bool {
	if !ok {
		s.fault(n, primitiveFor(e), "%s makes %s, and %s is %s", op, makes(op), s.here(), article(e.Type))
	}
	return ok
}

// makes says what a primitive of the language makes.
func makes(op string) string {
	switch op {
	case "$date":
		return "a date"
	case "$unit":
		return "a Quantity"
	case "$text":
		return "a Narrative"
	case "$ref":
		return "a Reference"
	}
	return "one value"
}

// primitiveFor offers what fills an element of a type.
func primitiveFor(e fhir.Element) string {
	switch {
	case e.Type == "CodeableConcept":
		return "use $code, or {text: …}"
	case e.Type == "Coding":
		return "use $code with as: coding"
	case e.Type == "Reference":
		return "use $ref"
	case isQuantity(e.Type):
		return "use $unit, or {value: …}"
	case e.Type == "Narrative":
		return "use $text"
	case isDate(e.Type):
		return "use $date with as: " + e.Type
	case e.Type == "code":
		return "use $code with as: code"
	case e.Primitive():
		return "use $copy"
	}
	var names []string
	for _, kid := range e.Elements() {
		if kid.Name != "id" && kid.Name != "extension" && kid.Name != "modifierExtension" && len(names) < 4 {
			names = append(names, kid.Name)
		}
	}
	return "write an object with " + strings.Join(names, ", ")
}

func isQuantity(typ string) bool {
	switch typ {
	case "Quantity", "SimpleQuantity", "MoneyQuantity", "Age", "Count", "Distance", "Duration":
		return true
	}
	return false
}

func isDate(typ string) bool { return typ == "date" || typ == "dateTime" || typ == "instant" }

// jsonOf is the JSON kind of a FHIR primitive.
func jsonOf(typ string) string {
	switch typ {
	case "boolean":
		return "boolean"
	case "integer", "positiveInt", "unsignedInt":
		return "integer"
	case "decimal":
		return "number"
	}
	return "string"
}

func (s *shaper) constant(n *constNode, e fhir.Element) {
	if !e.Primitive() {
		s.fault(n, primitiveFor(e), "%s is %s, and a plain value stands there", s.here(), article(e.Type))
		return
	}
	if len(n.parts) == 0 {
		return // it has a fault already
	}
	first := string(n.parts[0].json)
	got := "string"
	switch {
	case first == "true" || first == "false":
		got = "boolean"
	case first != "" && first[0] != '"':
		got = "number"
		if _, whole := integer(first); whole && !strings.ContainsAny(first, ".eE") {
			got = "integer"
		}
	}
	want := jsonOf(e.Type)
	if got != want && (got != "integer" || want != "number") {
		hint := ""
		switch want {
		case "string":
			hint = "write it in quotes"
		case "boolean":
			hint = "write true or false without quotes"
		default:
			hint = "write a number without quotes"
		}
		s.fault(n, hint, "%s is %s, and the constant is %s", s.here(), article(e.Type), article(got))
		return
	}
	if text, ok := n.literal(); ok {
		s.allowed(n, text, e)
	}
}

// literal is the text of a constant without placeholders.
func (n *constNode) literal() (string, bool) {
	var b strings.Builder
	for _, p := range n.parts {
		if p.name != "" {
			return "", false
		}
		b.Write(p.json)
	}
	text := b.String()
	if len(text) < 2 || text[0] != '"' {
		return "", false
	}
	var out string
	err := json.Unmarshal([]byte(text), &out)
	return out, err == nil
}

// allowed checks a constant code against a required binding.
func (s *shaper) allowed(n node, code string, e fhir.Element) {
	if len(e.Codes) > 0 && !slices.Contains(e.Codes, code) {
		s.fault(n, oneOf(code, e.Codes), "R4 does not allow the code %q in %s", code, s.here())
	}
}

func (s *shaper) copied(n *copyNode, e fhir.Element) {
	if n.as == "markup" || n.from == nil || n.from.tree == nil {
		return
	}
	if t := n.from.tree; t.props != nil || t.items != nil {
		hint := "name one of its fields"
		if t.items != nil {
			hint = "walk it with $each"
		}
		s.fault(n, hint, "$copy takes one value, and %s holds several", n.from.text)
		return
	}
	if s.wants(n, "$copy", e, e.Primitive()) {
		s.scalarAs(n, "$copy", n.as, n.from.tree.kind(), e)
		if form := n.from.tree.form; isDate(e.Type) && form != "date" && form != "date-time" {
			at := s.c.places[n]
			s.c.p.doubts = append(s.c.p.doubts, Fault{File: at.file, Line: at.line, Hint: "use $date with as: " + e.Type,
				Text: "$copy takes the text as it is, and " + s.here() + " is " + article(e.Type)})
		}
	}
}

// kind is the one JSON kind of a leaf, "" when it is not known or there are several.
func (t *fieldTree) kind() string {
	if len(t.enum) > 0 {
		return "string"
	}
	if len(t.kinds) != 1 {
		return ""
	}
	return t.kinds[0]
}

// scalarAs checks that a value written as a FHIR primitive is one that the element takes. Without as, a native text is
// written as a text and a number as a number.
func (s *shaper) scalarAs(n node, op, as, native string, e fhir.Element) {
	got := native
	switch as {
	case "string", "code":
		got = "string"
	case "integer", "boolean":
		got = as
	case "decimal":
		got = "number"
	}
	want := jsonOf(e.Type)
	if got == "" || got == want || (got == "integer" && want == "number") || want == "integer" && got == "number" && as == "" {
		return
	}
	hint := "write as: " + want
	if want == "number" {
		hint = "write as: decimal"
	}
	s.fault(n, hint, "%s is %s, and %s writes %s", s.here(), article(e.Type), op, article(got))
}

// date allows a day where a dateTime stands, and nothing finer than what the element takes.
func (s *shaper) date(n *dateNode, e fhir.Element) {
	if !s.wants(n, "$date", e, isDate(e.Type)) {
		return
	}
	ok := n.as == e.Type || e.Type == "dateTime"
	if !ok {
		s.fault(n, "write as: "+e.Type, "%s is %s, and $date writes %s", s.here(), article(e.Type), article(n.as))
	}
}

func (s *shaper) reference(n *refNode, e fhir.Element) {
	if !s.wants(n, "$ref", e, e.Type == "Reference") {
		return
	}
	target := n.resource
	switch {
	case n.organization:
		target = "Organization"
	case target == "":
		target = s.slots[n.slot]
	}
	if target == "" {
		return // no such slot: a fault of its own
	}
	if n.resource != "" && !fhir.KnownType(target) {
		s.fault(n, didYouMean(target, fhir.Types()), "R4 has no resource type %q", target)
		return
	}
	if len(e.Targets) > 0 && !slices.Contains(e.Targets, target) {
		s.fault(n, "it may point to "+strings.Join(e.Targets, ", "), "%s may not point to %s", s.here(), article(target))
	}
}

func (s *shaper) coded(n *codeNode, e fhir.Element) {
	switch n.as {
	case "concept":
		if e.Type != "CodeableConcept" {
			s.fault(n, codeAs(e), "$code makes a CodeableConcept, and %s is %s", s.here(), article(e.Type))
		}
	case "coding":
		if e.Type != "Coding" {
			s.fault(n, codeAs(e), "$code with as: coding makes a Coding, and %s is %s", s.here(), article(e.Type))
		}
	case "code":
		if !e.Primitive() || jsonOf(e.Type) != "string" {
			s.fault(n, codeAs(e), "$code with as: code makes a code, and %s is %s", s.here(), article(e.Type))
			return
		}
		if len(e.Codes) > 0 {
			s.rows(n, e)
		}
	case "display":
		if !e.Primitive() || jsonOf(e.Type) != "string" {
			s.fault(n, codeAs(e), "$code with as: display makes a text, and %s is %s", s.here(), article(e.Type))
		}
	}
}

// codeAs offers the form of $code that an element takes.
func codeAs(e fhir.Element) string {
	switch {
	case e.Type == "CodeableConcept":
		return "leave out as"
	case e.Type == "Coding":
		return "write as: coding"
	case e.Primitive() && jsonOf(e.Type) == "string":
		return "write as: code"
	}
	return primitiveFor(e)
}

// rows checks the codes of a table that fills an element with a required binding.
func (s *shaper) rows(n *codeNode, e fhir.Element) {
	for _, row := range n.via.list {
		code := n.written(row)
		if code != "" && row.direction != directionTodo && !slices.Contains(e.Codes, code) {
			s.c.f.hint(n.via.file, row.line, oneOf(code, e.Codes), "R4 does not allow the code %q in %s", code, s.here())
		}
	}
}
