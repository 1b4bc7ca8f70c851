package search

import (
	"fmt"
	"strings"
	"unicode"

	"trellis/fhir"
)

// path is one compiled alternative of a search parameter expression.
type path struct {
	steps []step
	// deceased marks Patient.deceased.exists() and Patient.deceased != false, the one standard
	// expression that is a predicate rather than a path.
	deceased bool
}

// step goes from an object to the values of one element, then filters them.
type step struct {
	names    []string // JSON names to read: one, or one per type of a choice element
	where    string   // with equals: keep objects whose member where equals equals
	equals   string
	resolves string // keep references to this resource type
}

const deceasedExpression = "Patient.deceased.exists() and Patient.deceased != false"

// compile understands the closed set of forms that R4's standard parameters use:
// element paths, `as`, ofType(), extension('url'), where(x='y'), where(resolve() is T) and unions.
// kind leaves out types of a choice element that the parameter cannot index.
func compile(base string, kind Kind, expression string) ([]path, error) {
	if expression == deceasedExpression {
		return []path{{deceased: true}}, nil
	}
	var out []path
	for _, alt := range splitOutside(expression, '|') {
		segments, err := segmentsOf(strings.TrimSpace(alt))
		if err != nil {
			return nil, err
		}
		if segments[0] != base {
			return nil, fmt.Errorf("an alternative does not start at %s", base)
		}
		p, err := compileSteps(base, kind, segments[1:])
		if err != nil {
			return nil, err
		}
		if len(p.steps) == 0 {
			return nil, fmt.Errorf("an alternative names no element of %s", base)
		}
		out = append(out, p)
	}
	return out, nil
}

// segmentsOf splits an alternative at its dots; (X as T).y becomes X, as(T), y.
func segmentsOf(alt string) ([]string, error) {
	if !strings.HasPrefix(alt, "(") {
		return splitOutside(alt, '.'), nil
	}
	end := closing(alt)
	if end < 0 {
		return nil, fmt.Errorf("a parenthesis is not closed")
	}
	element, typ, found := strings.Cut(alt[1:end], " as ")
	out := splitOutside(strings.TrimSpace(element), '.')
	if found {
		out = append(out, "as("+strings.TrimSpace(typ)+")")
	}
	if rest := alt[end+1:]; strings.HasPrefix(rest, ".") {
		return append(out, splitOutside(rest[1:], '.')...), nil
	} else if rest != "" {
		return nil, fmt.Errorf("an operator after a parenthesis is not offered")
	}
	return out, nil
}

// closing finds the parenthesis that closes the one s starts with, or -1.
func closing(s string) int {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func compileSteps(elementPath string, kind Kind, segments []string) (path, error) {
	var p path
	for _, seg := range segments {
		name, argument, call := strings.Cut(seg, "(")
		argument = strings.TrimSuffix(argument, ")")
		if call && name != "extension" && len(p.steps) == 0 {
			return path{}, fmt.Errorf("%s() at the start is not offered", clean(name))
		}
		switch {
		case !call && isName(seg):
			elementPath += "." + seg
			p.steps = append(p.steps, step{names: choiceNames(elementPath, seg, kind)})
			elementPath = datatypePath(elementPath, seg)
		case !call:
			return path{}, fmt.Errorf("the operator or index in a path is not offered")
		case name == "as" || name == "ofType":
			last := &p.steps[len(p.steps)-1]
			last.names = typedNames(elementPath, strings.TrimSpace(argument), last.names)
		case name == "extension":
			url, ok := literal(argument)
			if !ok {
				return path{}, fmt.Errorf("extension() takes one URL in quotes")
			}
			p.steps = append(p.steps, step{names: []string{"extension"}, where: "url", equals: url})
			elementPath = "Extension"
		case name == "where":
			if err := p.steps[len(p.steps)-1].filter(argument); err != nil {
				return path{}, err
			}
		default:
			return path{}, fmt.Errorf("the function %s() is not offered", clean(name))
		}
	}
	return p, nil
}

// filter compiles the argument of where().
func (s *step) filter(argument string) error {
	if typ, ok := strings.CutPrefix(argument, "resolve() is "); ok {
		if !fhir.KnownType(strings.TrimSpace(typ)) || s.resolves != "" {
			return fmt.Errorf("where(resolve() is ...) takes one resource type")
		}
		s.resolves = strings.TrimSpace(typ)
		return nil
	}
	name, value, found := strings.Cut(argument, "=")
	value, quoted := literal(strings.TrimSpace(value))
	name = strings.TrimSpace(name)
	if !found || !quoted || !isName(name) || s.where != "" {
		return fmt.Errorf("where() is offered as where(element='text') once per element")
	}
	s.where, s.equals = name, value
	return nil
}

func literal(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' || strings.ContainsAny(s[1:len(s)-1], `'\`) {
		return "", false
	}
	return s[1 : len(s)-1], true
}

func isName(s string) bool {
	for i, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// splitOutside splits at sep where it stands outside parentheses and quotes.
func splitOutside(s string, sep byte) []string {
	var out []string
	depth, start, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == sep && depth == 0:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// datatypePath is where R4 defines what is inside an element of a shared datatype.
func datatypePath(elementPath, name string) string {
	switch name {
	case "extension", "modifierExtension":
		return "Extension"
	case "useContext":
		return "UsageContext"
	case "dosage", "dosageInstruction":
		return "Dosage"
	}
	return elementPath
}

// choiceNames gives the JSON names of an element: valueQuantity, valueString, ... for a choice.
func choiceNames(elementPath, name string, kind Kind) []string {
	types := choiceTypes(elementPath)
	if types == nil {
		return []string{name}
	}
	var out []string
	for _, t := range types {
		if suits(kind, t) {
			out = append(out, name+upperFirst(t))
		}
	}
	return out
}

// suits leaves out what a kind could only misread: the unit of a Quantity is no token of its own.
func suits(kind Kind, typ string) bool {
	if kind != KindToken {
		return true
	}
	switch typ {
	case "Quantity", "Range", "Ratio", "Period", "Reference", "SampledData", "Age", "Duration", "Money", "Timing", "dateTime", "date":
		return false
	}
	return true
}

// typedNames is the name of a choice element narrowed to one type. An element that is no choice
// keeps its name: R4 writes (Goal.start as date) and (X.code as CodeableConcept) for both.
func typedNames(elementPath, typ string, names []string) []string {
	if choiceTypes(elementPath) == nil {
		return names
	}
	name := elementPath[strings.LastIndexByte(elementPath, '.')+1:]
	return []string{name + upperFirst(typ)}
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	r := []rune(s)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

// keys tells which values a path reads: one key per JSON path, equal for two that read the same.
func (p path) keys() []string {
	if p.deceased {
		return []string{"deceased"}
	}
	out := []string{""}
	for _, s := range p.steps {
		filter := ""
		if s.where != "" {
			filter = "[" + s.where + "=" + s.equals + "]"
		}
		if s.resolves != "" {
			filter += "[is " + s.resolves + "]"
		}
		next := make([]string, 0, len(out)*len(s.names))
		for _, prefix := range out {
			for _, name := range s.names {
				next = append(next, prefix+"."+name+filter)
			}
		}
		out = next
	}
	return out
}

// collect appends the values p leads to from n, from step i on; arrays are flattened.
func (p *path) collect(out []*fhir.Node, n *fhir.Node, i int) []*fhir.Node {
	if i == len(p.steps) {
		if p.deceased {
			return out // a predicate: the token extractor makes its value
		}
		return append(out, n)
	}
	s := &p.steps[i]
	for _, name := range s.names {
		for m := range n.Members {
			if n.Members[m].Name != name {
				continue
			}
			v := &n.Members[m].Value
			if v.Kind != '[' {
				if s.keeps(v) {
					out = p.collect(out, v, i+1)
				}
				continue
			}
			for k := range v.Items {
				if item := &v.Items[k]; s.keeps(item) {
					out = p.collect(out, item, i+1)
				}
			}
		}
	}
	return out
}

func (s *step) keeps(n *fhir.Node) bool {
	if s.where != "" && n.Get(s.where).Text() != s.equals {
		return false
	}
	if s.resolves == "" {
		return true
	}
	text := n.Get("reference").Text()
	if text == "" {
		return n.Get("type").Text() == s.resolves
	}
	if ref, ok := fhir.ParseReference(text, ""); ok {
		return ref.Type == s.resolves
	}
	return strings.HasPrefix(text, "http") && strings.Contains(text, "/"+s.resolves+"/")
}

// nodes evaluates the parameter on a resource, into buf.
func (p *Parameter) nodes(buf []*fhir.Node, root *fhir.Node) []*fhir.Node {
	buf = buf[:0]
	for i := range p.paths {
		buf = p.paths[i].collect(buf, root, 0)
	}
	return buf
}
