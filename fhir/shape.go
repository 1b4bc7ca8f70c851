package fhir

import (
	"strings"

	bundle "github.com/google/fhir/go/proto/google/fhir/proto/r4/core/resources/bundle_and_contained_resource_go_proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Shape is what R4 says of an element of a resource.
type Shape struct {
	Known   bool
	Repeats bool     // its JSON is an array
	Choices []string // of a choice element, named without a type: the JSON names it can have
}

// ShapeOf finds an element by its JSON names from the resource down, as in "contact", "telecom".
func ShapeOf(typ string, names ...string) Shape {
	message := resourceMessage(typ)
	var out Shape
	for _, name := range names {
		if message == nil {
			return Shape{}
		}
		var field protoreflect.FieldDescriptor
		field, out = find(message, name)
		if !out.Known {
			return Shape{}
		}
		message = field.Message()
	}
	return out
}

func resourceMessage(typ string) protoreflect.MessageDescriptor {
	fields := (&bundle.ContainedResource{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if m := fields.Get(i).Message(); m != nil && string(m.Name()) == typ {
			return m
		}
	}
	return nil
}

// find looks a JSON name up in a message. The protos keep a choice, deceased[x], as a message of its own with a field
// for each type.
func find(m protoreflect.MessageDescriptor, name string) (protoreflect.FieldDescriptor, Shape) {
	fields := m.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		choice := f.Message() != nil && f.Message().Oneofs().Len() > 0 && f.Message().Oneofs().Get(0).Name() == "choice"
		json := f.JSONName()
		switch {
		case json == name && choice:
			s := Shape{Known: true}
			types := f.Message().Fields()
			for j := range types.Len() {
				s.Choices = append(s.Choices, json+upperFirst(types.Get(j).JSONName()))
			}
			return f, s
		case json == name:
			return f, Shape{Known: true, Repeats: f.IsList()}
		case choice && strings.HasPrefix(name, json):
			types := f.Message().Fields()
			for j := range types.Len() {
				if json+upperFirst(types.Get(j).JSONName()) == name {
					return types.Get(j), Shape{Known: true}
				}
			}
		}
	}
	return nil, Shape{}
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
