package profile

import (
	"strconv"
	"strings"

	"trellis/fhir"
)

// A Profile is a StructureDefinition ready to check by.
type Profile struct {
	URL, Version, Type string

	root *element
}

// Canonical is the profile's URL with its version.
func (p *Profile) Canonical() string {
	if p.Version == "" {
		return p.URL
	}
	return p.URL + "|" + p.Version
}

// unbounded is the maximum "*".
const unbounded = -1

// element is an ElementDefinition in its place: with the elements below it and its slices.
type element struct {
	id, path    string // path without slices
	name        string // its last part, a choice without [x]
	choice      bool
	sliceName   string
	min, max    int
	types       []typeRef
	fixed       fhir.Node
	pattern     fhir.Node
	minValue    fhir.Node
	maxValue    fhir.Node
	maxLength   int // 0: none
	bindings    []binding
	constraints []constraint
	slicing     *slicing
	slices      []*element
	children    []*element
	content     string // path of the element it repeats
}

type typeRef struct {
	code     string
	profiles []string
	targets  []string // profiles a reference may point to
}

type binding struct {
	required bool // otherwise extensible
	valueSet string
}

type constraint struct {
	key, text, expression string
	warning               bool
}

type slicing struct {
	rules          string // open, closed, openAtEnd
	ordered        bool
	discriminators []discriminator
}

type discriminator struct{ kind, path string }

// extMaxValueSet is the extension that adds a required value set to a weaker binding.
const extMaxValueSet = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"

// systemType begins the type codes of ids and urls of extensions, which are FHIRPath's and not FHIR's.
const systemType = "http://hl7.org/fhirpath/System."

// merge takes over what an ElementDefinition says; what it is silent about stays.
func (e *element) merge(n fhir.Node) {
	if v, err := strconv.Atoi(n.Get("min").Text()); err == nil {
		e.min = v
	}
	if text := n.Get("max").Text(); text == "*" {
		e.max = unbounded
	} else if v, err := strconv.Atoi(text); err == nil {
		e.max = v
	}
	if list := n.Get("type").List(); len(list) > 0 {
		e.types = nil
		for _, t := range list {
			ref := typeRef{code: t.Get("code").Text(), profiles: texts(t.Get("profile")), targets: texts(t.Get("targetProfile"))}
			if strings.HasPrefix(ref.code, systemType) {
				ref.code = "string"
			}
			e.types = append(e.types, ref)
		}
	}
	for _, m := range n.Members {
		switch {
		case strings.HasPrefix(m.Name, "fixed"):
			e.fixed = m.Value
		case strings.HasPrefix(m.Name, "pattern"):
			e.pattern = m.Value
		case strings.HasPrefix(m.Name, "minValue"):
			e.minValue = m.Value
		case strings.HasPrefix(m.Name, "maxValue"):
			e.maxValue = m.Value
		}
	}
	if v, err := strconv.Atoi(n.Get("maxLength").Text()); err == nil {
		e.maxLength = v
	}
	if ref := n.Get("contentReference").Text(); ref != "" {
		_, e.content, _ = strings.Cut(ref, "#")
	}
	e.mergeBinding(n.Get("binding"))
	e.mergeSlicing(n.Get("slicing"))
	for _, c := range n.Get("constraint").List() {
		add := constraint{c.Get("key").Text(), c.Get("human").Text(), c.Get("expression").Text(), c.Get("severity").Text() == "warning"}
		known := false
		for i := range e.constraints {
			if e.constraints[i].key == add.key {
				e.constraints[i], known = add, true
			}
		}
		if !known {
			e.constraints = append(e.constraints, add)
		}
	}
}

func (e *element) mergeBinding(n fhir.Node) {
	if n.IsZero() {
		return
	}
	e.bindings = nil
	switch n.Get("strength").Text() {
	case "required":
		e.bindings = append(e.bindings, binding{true, n.Get("valueSet").Text()})
	case "extensible":
		e.bindings = append(e.bindings, binding{false, n.Get("valueSet").Text()})
	}
	for _, ext := range n.Get("extension").List() {
		if ext.Get("url").Text() == extMaxValueSet {
			e.bindings = append(e.bindings, binding{true, ext.Get("valueCanonical").Text()})
		}
	}
}

func (e *element) mergeSlicing(n fhir.Node) {
	if n.IsZero() {
		return
	}
	e.slicing = &slicing{rules: n.Get("rules").Text(), ordered: n.Get("ordered").Kind == 't'}
	for _, d := range n.Get("discriminator").List() {
		e.slicing.discriminators = append(e.slicing.discriminators, discriminator{d.Get("type").Text(), d.Get("path").Text()})
	}
}

func texts(n fhir.Node) []string {
	var out []string
	for _, item := range n.List() {
		if t := item.Text(); t != "" {
			out = append(out, t)
		}
	}
	return out
}

// named sets an element's path and what follows from it.
func (e *element) named(path string) {
	e.path = path
	e.name, e.choice = strings.CutSuffix(path[strings.LastIndexByte(path, '.')+1:], "[x]")
}

// child finds the element below by its name, a choice with or without its type.
func (e *element) child(name string) *element {
	name = strings.TrimSuffix(name, "[x]")
	for _, c := range e.children {
		if c.name == name || c.choice && choiceType(c.name, name) != "" {
			return c
		}
	}
	return nil
}

func (e *element) slice(name string) *element {
	for _, s := range e.slices {
		if s.sliceName == name {
			return s
		}
	}
	return nil
}

// clone copies an element with all below it.
func (e *element) clone() *element {
	out := *e
	out.children, out.slices = nil, nil
	out.types = append([]typeRef(nil), e.types...)
	out.constraints = append([]constraint(nil), e.constraints...)
	for _, c := range e.children {
		out.children = append(out.children, c.clone())
	}
	for _, s := range e.slices {
		out.slices = append(out.slices, s.clone())
	}
	return &out
}

// choiceType is the type in a choice's JSON name: Quantity of valueQuantity, dateTime of valueDateTime. "" when it is none.
func choiceType(base, name string) string {
	suffix, ok := strings.CutPrefix(name, base)
	if !ok || suffix == "" {
		return ""
	}
	switch suffix {
	case "Base64Binary", "Boolean", "Canonical", "Code", "Date", "DateTime", "Decimal", "Id", "Instant", "Integer", "Markdown", "Oid",
		"PositiveInt", "String", "Time", "UnsignedInt", "Uri", "Url", "Uuid":
		return strings.ToLower(suffix[:1]) + suffix[1:]
	case "Address", "Age", "Annotation", "Attachment", "CodeableConcept", "Coding", "ContactPoint", "Count", "Distance", "Duration", "HumanName",
		"Identifier", "Money", "Period", "Quantity", "Range", "Ratio", "Reference", "SampledData", "Signature", "Timing", "ContactDetail",
		"Contributor", "DataRequirement", "Expression", "ParameterDefinition", "RelatedArtifact", "TriggerDefinition", "UsageContext", "Dosage", "Meta":
		return suffix
	}
	return ""
}
