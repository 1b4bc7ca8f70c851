package consent

import "trellis/fhir"

// shapeFAST is HL7 FAST Scalable Consent Management 1.0.0-ballot (http://hl7.org/fhir/us/consent-management/): who holds the
// records is named by extensions of R5, Consent.organization is not used, the signed document is a resource, rules are nested
// once, and an instrument is active or inactive. It is never deleted. The guide is a ballot: to be confirmed when published.
func shapeFAST() shape {
	return shape{form: FormFAST, profile: "http://hl7.org/fhir/us/consent-management/StructureDefinition/FASTConsent",
		category: []map[string]any{coding(fhir.SystemLOINC, "57016-8")},
		hold:     controllers, content: true, depth: 2, needsHolder: true, needsSource: true, byReference: true,
		statuses: []string{"active", "inactive"}, policyRule: lawful}
}

// controllers writes who holds the records as R5 does: as who enforces the instrument.
func controllers(disclosers []map[string]any) map[string]any {
	var out []any
	for _, d := range disclosers {
		out = append(out, map[string]any{"url": ExtController, "valueReference": d})
	}
	return map[string]any{"extension": out}
}
