package fhir

// Code system and extension URIs that more than one package writes or reads.
// Spelled as HL7 terminology (THO) publishes them.
const (
	SystemActCode         = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
	SystemActReason       = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	SystemConfidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
	SystemObservation     = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
	SystemLOINC           = "http://loinc.org"
	SystemSNOMED          = "http://snomed.info/sct"
	SystemICD10CM         = "http://hl7.org/fhir/sid/icd-10-cm"
	SystemRxNorm          = "http://www.nlm.nih.gov/research/umls/rxnorm"
	SystemCPT             = "http://www.ama-assn.org/go/cpt"
	SystemNUCC            = "http://nucc.org/provider-taxonomy"
	SystemCVX             = "http://hl7.org/fhir/sid/cvx"
	SystemHCPCS           = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
	SystemHCPCSTLS        = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets" // the form US Core 6.1 to 8.0 binds
	SystemResourceTypes   = "http://hl7.org/fhir/resource-types"

	// LocalBase is the canonical base of the code systems and extensions Trellis publishes itself.
	LocalBase = "https://trellis.example/fhir"
)

// ContentType is the only representation of resources this server reads and writes.
const ContentType = "application/fhir+json"

// Coding is a code with its system, the smallest unit labels and decisions work on.
type Coding struct {
	System string `json:"system,omitempty"`
	Code   string `json:"code"`
}
