package consent

import "trellis/fhir"

// shapeR4 is core R4 with our own profile: it holds everything the model does.
func shapeR4() shape {
	return shape{form: FormR4, profile: fhir.LocalBase + "/StructureDefinition/consent",
		category: []map[string]any{coding(fhir.SystemLOINC, "59284-0")},
		hold:     organizations, ours: true, content: true, policyRule: lawful}
}

// organizations writes who holds the records as R4 does.
func organizations(disclosers []map[string]any) map[string]any {
	return map[string]any{"organization": disclosers}
}

// lawful is the law an instrument of a kind is made under.
func lawful(k Kind) []map[string]any {
	switch k {
	case KindTPO, KindSpecific, KindCounselingNotes, KindProceedings:
		return []map[string]any{coding(fhir.SystemActCode, "42CFRPart2CD")}
	case KindHIPAA:
		return []map[string]any{coding(systemPolicy, "hipaa-auth")}
	}
	return nil
}
