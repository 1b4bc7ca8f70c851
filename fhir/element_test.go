package fhir

import (
	"slices"
	"strings"
	"testing"
)

func TestElements(t *testing.T) {
	tests := []struct {
		path              string // resource, then element names
		typ, choice       string
		repeats, required bool
		targets, codes    string // some that must be among them
	}{
		{path: "Observation status", typ: "code", required: true, codes: "final entered-in-error"},
		{path: "Observation category", typ: "CodeableConcept", repeats: true},
		{path: "Observation category coding code", typ: "code"},
		{path: "Observation category coding system", typ: "uri"},
		{path: "Observation valueQuantity", typ: "Quantity", choice: "value[x]"},
		{path: "Observation valueString", typ: "string", choice: "value[x]"},
		{path: "Observation effectiveDateTime", typ: "dateTime", choice: "effective[x]"},
		{path: "Observation component code", typ: "CodeableConcept", required: true},
		{path: "Observation subject", typ: "Reference", targets: "Patient Group Device Location"},
		{path: "Observation subject reference", typ: "string"},
		{path: "Observation subject display", typ: "string"},
		{path: "Encounter class", typ: "Coding", required: true},
		{path: "Encounter length", typ: "Duration"},
		{path: "Encounter participant", typ: "BackboneElement", repeats: true},
		{path: "Patient birthDate", typ: "date"},
		{path: "Patient text div", typ: "xhtml", required: true},
		{path: "Patient contained", typ: "Resource", repeats: true},
		{path: "Patient extension url", typ: "uri", required: true},
		{path: "Patient extension valueCodeableConcept", typ: "CodeableConcept", choice: "value[x]"},
		{path: "MedicationRequest medicationReference", typ: "Reference", choice: "medication[x]", required: true, targets: "Medication"},
		{path: "QuestionnaireResponse item item item", typ: "BackboneElement", repeats: true},
		{path: "Provenance target", typ: "Reference", repeats: true, required: true},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			names := strings.Fields(tt.path)
			list := ElementsOf(names[0])
			var e Element
			for _, name := range names[1:] {
				i := slices.IndexFunc(list, func(e Element) bool { return e.Name == name })
				if i < 0 {
					t.Fatalf("no element %s", name)
				}
				e = list[i]
				list = e.Elements()
			}
			if e.Type != tt.typ || e.Choice != tt.choice || e.Repeats != tt.repeats || e.Required != tt.required {
				t.Errorf("got %s %q repeats %v required %v", e.Type, e.Choice, e.Repeats, e.Required)
			}
			for _, want := range strings.Fields(tt.targets) {
				if !slices.Contains(e.Targets, want) {
					t.Errorf("targets %v lack %s", e.Targets, want)
				}
			}
			for _, want := range strings.Fields(tt.codes) {
				if !slices.Contains(e.Codes, want) {
					t.Errorf("codes %v lack %s", e.Codes, want)
				}
			}
		})
	}
	if ElementsOf("Pateint") != nil {
		t.Error("a type that is none has elements")
	}
}

// Every element of every type has a type we can name, and its JSON names agree with what the list of top elements says.
func TestElementsOfAllTypes(t *testing.T) {
	for _, typ := range Types() {
		list := ElementsOf(typ)
		if len(list) == 0 {
			t.Errorf("%s has no elements", typ)
		}
		for _, e := range list {
			name := e.Name
			if e.Choice != "" {
				name = strings.TrimSuffix(e.Choice, "[x]")
			}
			if !HasElement(typ, name) && !HasElement(typ, e.Name) {
				t.Errorf("%s.%s is not an element of the type", typ, e.Name)
			}
			for _, kid := range e.Elements() {
				if kid.Type == "" || kid.Name == "" {
					t.Errorf("%s.%s has an element without name or type", typ, e.Name)
				}
			}
		}
	}
}
