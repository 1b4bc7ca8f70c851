package login

// kind is a resource type that has words of its own on the consent screen: message "kind.<Type>".
type kind struct {
	typ string
	// tells: what it can give away, message "tells.<Type>": substance use treatment, mental health, HIV and the like.
	tells bool
	// parts are what can be given instead of all of it.
	parts []part
}

// part is a share of a resource type that a granular scope names: message "part.<key>".
type part struct{ key, query string }

// kinds lists the types in the order the screen has them: who somebody is, what ails them, what is done, who pays.
func kinds() []kind {
	return []kind{
		{typ: "Patient"},
		{typ: "Condition", tells: true, parts: []part{
			{"problem-list-item", category("http://terminology.hl7.org/CodeSystem/condition-category", "problem-list-item")},
			{"encounter-diagnosis", category("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis")},
			{"health-concern", category("http://hl7.org/fhir/us/core/CodeSystem/condition-category", "health-concern")},
		}},
		{typ: "Observation", tells: true, parts: []part{
			{"laboratory", category(observationCategory, "laboratory")},
			{"vital-signs", category(observationCategory, "vital-signs")},
			{"social-history", category(observationCategory, "social-history")},
			{"survey", category(observationCategory, "survey")},
			{"sdoh", category("http://hl7.org/fhir/us/core/CodeSystem/us-core-category", "sdoh")},
		}},
		{typ: "MedicationRequest", tells: true},
		{typ: "MedicationStatement", tells: true},
		{typ: "MedicationDispense", tells: true},
		{typ: "MedicationAdministration", tells: true},
		{typ: "Medication"},
		{typ: "AllergyIntolerance"},
		{typ: "Immunization"},
		{typ: "Procedure", tells: true},
		{typ: "DiagnosticReport", tells: true},
		{typ: "DocumentReference", tells: true},
		{typ: "Encounter", tells: true},
		{typ: "EpisodeOfCare", tells: true},
		{typ: "Appointment", tells: true},
		{typ: "CarePlan", tells: true},
		{typ: "CareTeam", tells: true},
		{typ: "Goal", tells: true},
		{typ: "QuestionnaireResponse", tells: true},
		{typ: "RiskAssessment", tells: true},
		{typ: "ClinicalImpression", tells: true},
		{typ: "FamilyMemberHistory", tells: true},
		{typ: "ServiceRequest", tells: true},
		{typ: "Task", tells: true},
		{typ: "Communication", tells: true},
		{typ: "Specimen"},
		{typ: "Device"},
		{typ: "Media"},
		{typ: "Coverage"},
		{typ: "Claim", tells: true},
		{typ: "ExplanationOfBenefit", tells: true},
		{typ: "Consent", tells: true},
		{typ: "RelatedPerson"},
		{typ: "Provenance"},
		{typ: "Practitioner"},
		{typ: "PractitionerRole"},
		{typ: "Organization"},
		{typ: "Location"},
		{typ: "HealthcareService"},
	}
}

const observationCategory = "http://terminology.hl7.org/CodeSystem/observation-category"

// category is the constraint of a granular scope as US Core writes it.
func category(system, code string) string { return "category=" + system + "|" + code }

// known finds a type's row; a type without one is offered under its own name.
func known(typ string) (kind, bool) {
	for _, k := range kinds() {
		if k.typ == typ {
			return k, true
		}
	}
	return kind{typ: typ, tells: true}, false
}
