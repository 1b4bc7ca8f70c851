package rest

import (
	"cmp"
	"slices"

	"trellis/fhir"
	"trellis/fhir/terminology"
)

// lookupCode serves CodeSystem/$lookup (https://hl7.org/fhir/R4/codesystem-operation-lookup.html).
func (k *call) lookupCode() error {
	in, err := k.inputs("code", "system", "version", "coding", "property")
	if err != nil {
		return err
	}
	asked, err := in.codes("code", "system", "version", "coding", "")
	if err != nil {
		return err
	}
	a := asked[0]
	if a.system == "" {
		return fhir.NewProblem(fhir.Invalid, "required", "the system of the code is needed")
	}
	library, err := k.s.Terminology.Library(k.ctx)
	if err != nil {
		return err
	}
	cs, concept, err := library.Lookup(a.system, a.version, a.code)
	if err != nil {
		return err
	}
	return k.answer(described(cs, concept, in.list("property")))
}

// described is a concept with its designations and properties; wanted narrows them, unless it is empty.
func described(cs *terminology.CodeSystem, concept *terminology.Concept, wanted []string) []byte {
	wants := func(name string) bool { return len(wanted) == 0 || slices.Contains(wanted, name) }
	var out results
	out.text("name", "valueString", cmp.Or(cs.Name, cs.URL))
	out.text("version", "valueString", cs.Version)
	out.text("display", "valueString", cmp.Or(concept.Display, concept.Code)) // required by the operation
	if wants("designation") {
		for _, d := range concept.Designations {
			var parts results
			parts.text("language", "valueCode", d.Language)
			parts.text("value", "valueString", d.Value)
			out.part("designation", parts)
		}
	}
	property := func(code, member string, value []byte) {
		var parts results
		parts.text("code", "valueCode", code)
		parts.add("value", member, value)
		out.part("property", parts)
	}
	if concept.Definition != "" && wants("definition") {
		property("definition", "valueString", fhir.Quote(concept.Definition))
	}
	for _, p := range concept.Properties {
		if wants(p.Code) && p.Member != "" {
			property(p.Code, p.Member, p.Raw)
		}
	}
	for _, parent := range concept.Parents {
		if wants("parent") && !slices.ContainsFunc(concept.Properties, func(p terminology.Property) bool { return p.Code == "parent" && p.Text == parent }) {
			property("parent", "valueCode", fhir.Quote(parent))
		}
	}
	return out.body()
}
