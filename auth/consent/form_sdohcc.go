package consent

import "trellis/fhir"

// shapeSDOHCC is SDOHCC-Consent of Gravity's SDOH Clinical Care (http://hl7.org/fhir/us/sdoh-clinicalcare/): a consent to
// disclose to who is not covered by HIPAA, in the category of information disclosures. Whether the guide wants the HIPAA
// authorisation's code on every instrument is to be confirmed: here one under Part 2 says both.
func shapeSDOHCC() shape {
	return shape{form: FormSDOHCC, profile: "http://hl7.org/fhir/us/sdoh-clinicalcare/StructureDefinition/SDOHCC-Consent",
		category: []map[string]any{coding(fhir.SystemActCode, "IDSCL")},
		hold:     organizations, content: true, needsSource: true,
		policyRule: func(k Kind) []map[string]any {
			law := lawful(k)
			if len(law) == 0 || k == KindHIPAA {
				return law
			}
			return append(law, coding(systemPolicy, "hipaa-auth"))
		}}
}
