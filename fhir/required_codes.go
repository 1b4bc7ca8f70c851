package fhir

import (
	"strings"

	annotations "github.com/google/fhir/go/proto/google/fhir/proto/annotations_go_proto"
	codes "github.com/google/fhir/go/proto/google/fhir/proto/r4/core/codes_go_proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CodeList is a code system as a list of its codes.
type CodeList struct {
	System string
	Codes  []string
}

// RequiredCodes lists the code systems of R4's required bindings, as the protos carry them: codes without displays or
// hierarchy, and only those codes a resource may hold.
func RequiredCodes() []CodeList {
	var out []CodeList
	messages := codes.File_proto_google_fhir_proto_r4_core_codes_proto.Messages()
	for i := range messages.Len() {
		for j := range messages.Get(i).Enums().Len() {
			enum := messages.Get(i).Enums().Get(j)
			list := CodeList{System: extension(enum.Options(), annotations.E_FhirCodeSystemUrl)}
			for n := range enum.Values().Len() {
				if v := enum.Values().Get(n); v.Number() != 0 { // 0 stands for no code
					list.Codes = append(list.Codes, originalCode(v))
				}
			}
			if list.System != "" {
				out = append(out, list)
			}
		}
	}
	return out
}

// originalCode is the code a proto constant stands for.
func originalCode(v protoreflect.EnumValueDescriptor) string {
	if code := extension(v.Options(), annotations.E_FhirOriginalCode); code != "" {
		return code
	}
	return strings.ToLower(strings.ReplaceAll(string(v.Name()), "_", "-"))
}

func extension(options proto.Message, of protoreflect.ExtensionType) string {
	s, _ := proto.GetExtension(options, of).(string)
	return s
}
