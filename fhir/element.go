package fhir

import (
	"slices"
	"strings"

	annotations "github.com/google/fhir/go/proto/google/fhir/proto/annotations_go_proto"
	datatypes "github.com/google/fhir/go/proto/google/fhir/proto/r4/core/datatypes_go_proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// An Element is what R4 says of one element of a resource type or data type, read from google/fhir's protos. It is
// for checking things written about resources, mappings for instance, before there is any resource.
type Element struct {
	Name     string   // as in JSON; a choice has one Element for each of its types: valueQuantity, valueString
	Type     string   // "code", "CodeableConcept", "Reference"; "BackboneElement" for parts of a resource; "Resource" for any
	Choice   string   // of a choice: the name it is defined under, "value[x]"
	Repeats  bool     // its JSON is an array
	Required bool     // R4's minimum is 1; of a choice, that of the choice as a whole
	Targets  []string // resource types a Reference may point to; none means any
	Codes    []string // codes of a required binding that R4 spells out; none means not known here
	message  protoreflect.MessageDescriptor
}

// ElementsOf lists the elements of a resource type in R4's order; nil for what is no resource type.
func ElementsOf(resource string) []Element { return elements(resourceMessage(resource)) }

// DataTypeElements lists the elements of a data type, "Identifier" say; nil for a primitive and for what is no data type.
func DataTypeElements(name string) []Element {
	m := datatypes.File_proto_google_fhir_proto_r4_core_datatypes_proto.Messages().ByName(protoreflect.Name(name))
	if m == nil {
		return nil
	}
	kind, _ := proto.GetExtension(m.Options(), annotations.E_StructureDefinitionKind).(annotations.StructureDefinitionKindValue)
	if kind != annotations.StructureDefinitionKindValue_KIND_COMPLEX_TYPE {
		return nil
	}
	return elements(m)
}

// TypeElements lists the elements of a resource type or a data type; nil for what is neither.
func TypeElements(typ string) []Element {
	if list := ElementsOf(typ); list != nil {
		return list
	}
	return DataTypeElements(typ)
}

// Elements lists what stands below an element; nil for a primitive and for a contained resource.
func (e Element) Elements() []Element {
	if e.Primitive() || e.Type == "Resource" {
		return nil
	}
	return elements(e.message)
}

// Primitive tells whether the element's JSON is a text, number or boolean.
func (e Element) Primitive() bool { return e.Type != "" && e.Type[0] >= 'a' && e.Type[0] <= 'z' }

func elements(m protoreflect.MessageDescriptor) []Element {
	if m == nil {
		return nil
	}
	if m.Name() == "Reference" {
		return referenceElements(m)
	}
	var out []Element
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Message() == nil {
			continue
		}
		required := requirement(f)
		choice := f.Message().Oneofs()
		if choice.Len() == 0 || choice.Get(0).Name() != "choice" {
			e := element(f, f.JSONName())
			e.Repeats, e.Required = f.IsList(), required
			out = append(out, e)
			continue
		}
		types := f.Message().Fields()
		for j := range types.Len() {
			e := element(types.Get(j), f.JSONName()+upperFirst(types.Get(j).JSONName()))
			e.Choice, e.Required = f.JSONName()+"[x]", required
			out = append(out, e)
		}
	}
	return out
}

// referenceElements are Reference's: the protos keep its literal text taken apart by resource type.
func referenceElements(m protoreflect.MessageDescriptor) []Element {
	var out []Element
	for i := range m.Fields().Len() {
		switch f := m.Fields().Get(i); f.JSONName() {
		case "reference":
			e := element(f, "reference")
			e.Type = "string"
			out = append(out, e)
		case "id", "extension", "type", "identifier", "display":
			e := element(f, f.JSONName())
			e.Repeats = f.IsList()
			out = append(out, e)
		}
	}
	return out
}

func element(f protoreflect.FieldDescriptor, name string) Element {
	m := f.Message()
	e := Element{Name: name, Type: string(m.Name()), message: m}
	kind, _ := proto.GetExtension(m.Options(), annotations.E_StructureDefinitionKind).(annotations.StructureDefinitionKindValue)
	switch {
	case m.Name() == "Any" || m.Name() == "ContainedResource":
		e.Type = "Resource"
	case kind == annotations.StructureDefinitionKindValue_KIND_PRIMITIVE_TYPE:
		if value := m.Fields().ByName("value"); value != nil && value.Enum() != nil {
			e.Type, e.Codes = "code", enumCodes(value.Enum())
		} else if _, ofElement := m.Parent().(protoreflect.MessageDescriptor); ofElement {
			e.Type = "code" // a code whose value set the protos name and do not spell out
		} else {
			e.Type = strings.ToLower(e.Type[:1]) + e.Type[1:]
		}
	case m.Name() == "Reference":
		e.Targets = targets(f)
	default:
		if _, part := m.Parent().(protoreflect.MessageDescriptor); part {
			e.Type = "BackboneElement"
		}
	}
	return e
}

func enumCodes(enum protoreflect.EnumDescriptor) []string {
	var out []string
	for i := range enum.Values().Len() {
		if v := enum.Values().Get(i); v.Number() != 0 {
			out = append(out, originalCode(v))
		}
	}
	return out
}

func requirement(f protoreflect.FieldDescriptor) bool {
	r, _ := proto.GetExtension(f.Options(), annotations.E_ValidationRequirement).(annotations.Requirement)
	return r == annotations.Requirement_REQUIRED_BY_FHIR
}

// targets are the resource types a Reference may point to, nil when it may point anywhere.
func targets(f protoreflect.FieldDescriptor) []string {
	list, _ := proto.GetExtension(f.Options(), annotations.E_ValidReferenceType).([]string)
	if slices.Contains(list, "Resource") {
		return nil
	}
	return list
}
