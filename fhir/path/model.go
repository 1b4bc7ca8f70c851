package path

import (
	"strings"
	"sync"

	"github.com/gofhir/fhirpath/types"

	"trellis/fhir"
)

// model tells the library the types of R4, as its interface Model asks. The type of a part of a resource is called by its
// path, "Observation.component", so that what stands below it is found too.
type model struct {
	mu    sync.Mutex
	known map[string]map[string]modelElement // by type, then by name
}

type modelElement struct {
	typ     string
	choices []string // types, of a choice
	targets []string
}

// elements are those of a type, by name; a choice stands under its name without a type.
func (m *model) elements(typ string) map[string]modelElement {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.known[typ]; ok {
		return found
	}
	out := map[string]modelElement{}
	for _, e := range elementsAt(typ) {
		if base, ok := strings.CutSuffix(e.Choice, "[x]"); ok {
			known := out[base]
			known.choices = append(known.choices, strings.TrimPrefix(e.Name, base))
			out[base] = known
			out[e.Name] = modelElement{typ: typeName(typ, e), targets: e.Targets}
			continue
		}
		out[e.Name] = modelElement{typ: typeName(typ, e), targets: e.Targets}
	}
	if len(out) > 0 { // what is no type of R4 is not remembered
		m.known[typ] = out
	}
	return out
}

func typeName(owner string, e fhir.Element) string {
	switch e.Type {
	case "BackboneElement":
		return owner + "." + e.Name
	case "Resource":
		return "" // its own resourceType says it
	case "SimpleQuantity", "MoneyQuantity":
		return "Quantity"
	}
	return e.Type
}

// elementsAt are the elements of a resource type, a data type or a part of a resource.
func elementsAt(typ string) []fhir.Element {
	names := strings.Split(typ, ".")
	list := fhir.TypeElements(names[0])
	for _, name := range names[1:] {
		var next []fhir.Element
		for _, e := range list {
			if e.Name == name {
				next = e.Elements()
			}
		}
		list = next
	}
	return list
}

func (m *model) element(path string) modelElement {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return modelElement{}
	}
	return m.elements(path[:i])[path[i+1:]]
}

// ChoiceTypes implements the library's Model.
func (m *model) ChoiceTypes(path string) []string { return m.element(path).choices }

// TypeOf implements the library's Model.
func (m *model) TypeOf(path string) string { return m.element(path).typ }

// ReferenceTargets implements the library's Model.
func (m *model) ReferenceTargets(path string) []string { return m.element(path).targets }

// ParentType implements the library's Model.
func (m *model) ParentType(typ string) string { return parent(typ) }

// IsSubtype implements the library's Model.
func (m *model) IsSubtype(child, ancestor string) bool {
	ancestor = strings.TrimPrefix(ancestor, "FHIR.")
	for ; child != ""; child = parent(child) {
		if child == ancestor {
			return true
		}
	}
	return false
}

// parent is the type a type specialises (https://hl7.org/fhir/R4/types.html).
func parent(typ string) string {
	switch typ {
	case "", "Resource", "Element":
		return ""
	case "DomainResource", "Bundle", "Binary", "Parameters":
		return "Resource"
	case "code", "id", "markdown":
		return "string"
	case "url", "canonical", "uuid", "oid":
		return "uri"
	case "positiveInt", "unsignedInt":
		return "integer"
	case "Age", "Count", "Distance", "Duration", "MoneyQuantity", "SimpleQuantity":
		return "Quantity"
	case "BackboneElement":
		return "Element"
	case "Timing", "Dosage":
		return "BackboneElement"
	}
	switch {
	case strings.Contains(typ, "."):
		return "BackboneElement"
	case fhir.KnownType(typ):
		return "DomainResource"
	}
	return "Element"
}

// ResolvePath implements the library's Model: parts that repeat the definition of others have their elements here.
func (m *model) ResolvePath(path string) string { return path }

// IsResource implements the library's Model.
func (m *model) IsResource(typ string) bool { return fhir.KnownType(typ) }

// value is a node as the library takes it. typ is its type, "" for a resource.
func value(n fhir.Node, typ string) types.Value {
	switch n.Kind {
	case '{':
		doc := visible(n)
		if typ == "" || fhir.KnownType(typ) {
			return types.NewObjectValue(doc)
		}
		return types.NewObjectValueWithType(doc, typ)
	case 't', 'f':
		return types.NewBoolean(n.Kind == 't')
	case '0':
		list, err := types.JSONToCollection(n.Raw())
		if err == nil && len(list) == 1 {
			return list[0]
		}
	}
	text := n.Text()
	switch typ {
	case "date":
		if d, err := types.NewDate(text); err == nil {
			return d
		}
	case "dateTime", "instant":
		if d, err := types.NewDateTime(text); err == nil {
			return d
		}
	case "time":
		if d, err := types.NewTime(text); err == nil {
			return d
		}
	case "", "string":
	default:
		return types.NewStringWithFHIRType(text, typ)
	}
	return types.NewString(text)
}

// visible is the JSON of an object in which primitive elements that have only extensions stand under their own names,
// where the library looks: an extended value exists, whatever its value.
func visible(n fhir.Node) []byte {
	if !absentValues(n) {
		return n.Raw()
	}
	root := grow(n)
	root.show()
	return root.write(nil)
}

func absentValues(n fhir.Node) bool {
	found := false
	n.Walk(func(object fhir.Node) {
		for _, m := range object.Members {
			if plain, ok := strings.CutPrefix(m.Name, "_"); ok && object.Get(plain).IsZero() {
				found = true
			}
		}
	})
	return found
}

func (n *node) show() {
	for _, item := range n.items {
		item.show()
	}
	for i := range n.members {
		m := &n.members[i]
		m.value.show()
		if plain, ok := strings.CutPrefix(m.name, "_"); ok && n.get(plain) == nil {
			m.name = plain
		}
	}
}
