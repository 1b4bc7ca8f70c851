// Package path changes resources by FHIRPath Patch (https://hl7.org/fhir/R4/fhirpatch.html). It understands the part of
// FHIRPath that names elements: member access, an index, first(), last(), where(x='y'), extension('url') and
// ofType(T). It computes nothing and is entered through ReadPatch.
//
// It is also the door to the FHIRPath library, which evaluates the invariants of StructureDefinitions: see Evaluator. What the
// library does wrongly, does without end, or would write where patients' values may not go, is not given to it.
package path
