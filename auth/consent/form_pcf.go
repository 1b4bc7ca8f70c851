package consent

import "trellis/fhir"

// shapePCF is IHE ITI Privacy Consent on FHIR 1.1 (https://profiles.ihe.net/ITI/PCF/): who holds the records and the signed
// document are required, the rules it is under are a policy's URL, rules are nested once and have no actions, classes or codes,
// and verification is not used. Which of its three levels an instrument needs follows from what its rules say; the profile
// named is the first, that all build on. Canonical and level are to be confirmed against the published guide.
func shapePCF() shape {
	return shape{form: FormPCF, profile: "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentBasic",
		category: []map[string]any{coding(fhir.SystemLOINC, "59284-0")},
		hold:     organizations, depth: 2, needsHolder: true, needsSource: true,
		policyRule: func(Kind) []map[string]any { return nil }}
}
