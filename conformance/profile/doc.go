// Package profile checks resources against profiles: StructureDefinitions that constrain a type
// (https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/elementdefinition.html). R4's own structure is not its
// matter: fhir.Parser has checked it before.
//
//	NewLibrary(StructureDefinitions) -> Checker{Library, Terms, Paths}.Check(resource, profiles) -> findings
//
// It knows the definitions it is handed and no others. What cannot be checked, a code of a system that nobody holds or an
// invariant that cannot be evaluated, is said as information and counts neither for nor against the resource. No text of a
// finding repeats a value of the resource. It is pure, and its work is bounded by steps and findings,
// and by the time its caller gives it.
package profile
