package search

import (
	"fmt"
	"regexp"
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

// compile understands the closed set of forms that R4's standard parameters use:
// element paths, `as`, where(x='y'), where(resolve() is T) and unions.
func compile(expression string) ([]path, error) {
	asForm := regexp.MustCompile(`\(([A-Za-z.]+) as ([A-Za-z]+)\)`)
	var out []path
	for _, alt := range strings.Split(expression, " | ") {
		if alt == "Patient.deceased.exists() and Patient.deceased != false" {
			out = append(out, path{deceased: true})
			continue
		}
		p, err := compileOne(asForm.ReplaceAllString(alt, "$1.as($2)"))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func compileOne(expr string) (path, error) {
	segments := splitDots(expr)
	elementPath := segments[0]
	var p path
	for _, seg := range segments[1:] {
		if len(p.steps) == 0 && strings.Contains(seg, "(") {
			return path{}, fmt.Errorf("expression %q starts with a function", expr)
		}
		switch {
		case strings.HasPrefix(seg, "as(") && strings.HasSuffix(seg, ")"):
			last := &p.steps[len(p.steps)-1]
			typ := seg[3 : len(seg)-1]
			last.names = typedNames(elementPath, typ)
		case strings.HasPrefix(seg, "where(resolve() is "):
			p.steps[len(p.steps)-1].resolves = strings.TrimSuffix(strings.TrimPrefix(seg, "where(resolve() is "), ")")
		case strings.HasPrefix(seg, "where("):
			name, value, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(seg, "where("), ")"), "=")
			if !ok {
				return path{}, fmt.Errorf("expression %q has an unknown where", expr)
			}
			p.steps[len(p.steps)-1].where, p.steps[len(p.steps)-1].equals = name, strings.Trim(value, "'")
		case strings.Contains(seg, "("):
			return path{}, fmt.Errorf("expression %q uses an unknown function", expr)
		default:
			elementPath += "." + seg
			p.steps = append(p.steps, step{names: choiceNames(elementPath, seg)})
		}
	}
	return p, nil
}

func splitDots(s string) []string {
	var out []string
	depth, start := 0, 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case '.':
			if depth == 0 {
				out = append(out, s[start:i])
				start = i + 1
			}
		}
	}
	return append(out, s[start:])
}

// choiceNames gives the JSON names of an element: valueQuantity, valueString, ... for a choice.
func choiceNames(elementPath, name string) []string {
	types := choiceTypes(elementPath)
	if types == nil {
		return []string{name}
	}
	var out []string
	for _, t := range types {
		out = append(out, name+upperFirst(t))
	}
	return out
}

// typedNames is the name of a choice element narrowed to one type. An element that is no choice
// keeps its name: R4 writes (Goal.start as date) and (X.code as CodeableConcept) for both.
func typedNames(elementPath, typ string) []string {
	name := elementPath[strings.LastIndexByte(elementPath, '.')+1:]
	return []string{name + upperFirst(typ)}
}

func upperFirst(s string) string {
	r := []rune(s)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

// nodes evaluates the parameter on a resource; arrays are flattened.
func (p *Parameter) nodes(res *fhir.Resource) []fhir.Node {
	var out []fhir.Node
	for _, alt := range p.paths {
		out = append(out, alt.eval(res.Root)...)
	}
	return out
}

func (p path) eval(root fhir.Node) []fhir.Node {
	if p.deceased {
		return nil // handled by the token extractor, which needs a value where there is no node
	}
	current := []fhir.Node{root}
	for _, s := range p.steps {
		var next []fhir.Node
		for _, n := range current {
			for _, name := range s.names {
				for _, v := range n.Get(name).List() {
					if s.keeps(v) {
						next = append(next, v)
					}
				}
			}
		}
		current = next
	}
	return current
}

func (s step) keeps(n fhir.Node) bool {
	if s.where != "" && n.Get(s.where).Text() != s.equals {
		return false
	}
	if s.resolves != "" {
		ref, ok := fhir.ParseReference(n.Get("reference").Text(), "")
		if !ok {
			return strings.HasPrefix(n.Get("reference").Text(), "http") && strings.Contains(n.Get("reference").Text(), "/"+s.resolves+"/")
		}
		return ref.Type == s.resolves
	}
	return true
}
