// Package terminology answers what CodeSystem, ValueSet and ConceptMap resources say: which codes there are, what a value
// set holds, what subsumes what and what maps to what (https://hl7.org/fhir/R4/terminology-service.html).
//
// It knows the resources it is handed and no others: no SNOMED CT or LOINC comes with it, and a question about a system
// it does not hold, or holds in part, is refused rather than answered in part. It is pure: no store, no network. It is
// entered through NewLibrary.
package terminology
