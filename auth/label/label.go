// Package label decides the security labels of a resource and the segment it belongs to.
//
// Two axes are kept apart (42 CFR 2.11, 2.12): where a record comes from (a Part 2 program or not)
// and what it is about (sensitivity). The source rule comes first, labels that arrive with a record
// are never dropped, the rules of a versioned pack add sensitivity, and what nothing can classify is `unclassified`
// and hidden from other organisations.
//
//	source     the custodian is a Part 2 program       42CFRPart2
//	inbound    meta.security, labels of a mapping       kept as they are
//	code       tables per code system                   SUD, OPIOIDUD, ...
//	medicine   names where no code says so
//	structure  a reference to a Part 2 program          SSP
//	combination codes that tell together what none tells alone
//	text       words, where nothing above said so       unclassified, until a person has looked
//
// The pack is data (folder pack); its rules have ids, and a deployment switches what is policy. It does not decide who may
// see a segment: that is auth/access. It is entered through Classifier.Examine, or Classify for the segment alone.
package label

import (
	"encoding/json"
	"slices"
	"strings"

	"trellis/fhir"
)

// RulesVersion names the label rules in decisions and audit events.
const RulesVersion = "labels-2026.2"

// SystemLocalLabel holds the labels no standard code exists for.
const SystemLocalLabel = fhir.LocalBase + "/CodeSystem/security-label"

// Local label codes.
const (
	CodeCounselingNote = "sud-counseling-note"
	CodeUnclassified   = "unclassified"
)

// Segment is the tuple that decides who may see a record. Records with equal segments are
// decided alike, apart from consent provisions about type, code or period.
type Segment struct {
	Custodian       string        `json:"custodian"`            // Organization id
	Part2           bool          `json:"part2,omitempty"`      // record of a Part 2 program (2.11)
	Covered         bool          `json:"covered,omitempty"`    // the custodian discloses under HIPAA
	Labels          []fhir.Coding `json:"labels,omitempty"`     // all labels but confidentiality, sorted
	Confidentiality string        `json:"confidentiality"`      // v3-Confidentiality code: U L M N R V
	CounselingNote  bool          `json:"counseling,omitempty"` // SUD counseling note (2.11)
	Unclassified    bool          `json:"unclassified,omitempty"`
	Directory       bool          `json:"directory,omitempty"` // public directory entry, about no patient
	// Evaluator says that the custodian holds it as auditor or researcher: not even an order reaches it (2.62).
	Evaluator bool `json:"evaluator,omitempty"`
	// Marks is what consents of the patient single the record out by (consent.Marks), sorted. They are no labels and are told
	// to nobody.
	Marks []string `json:"marks,omitempty"`
}

// Marked is the segment with other marks.
func (s Segment) Marked(marks []string) Segment {
	s.Marks = marks
	return s
}

// Key is the canonical form segments are interned by.
func (s Segment) Key() string {
	key, err := json.Marshal(s)
	if err != nil { // strings and booleans only: cannot fail; a key nobody is granted fails closed
		return "unmarshalable"
	}
	return string(key)
}

// Security is the segment as meta.security codings: confidentiality first, then the labels.
func (s Segment) Security() []fhir.Coding {
	if s.Directory {
		return nil
	}
	return append([]fhir.Coding{{System: fhir.SystemConfidentiality, Code: s.Confidentiality}}, s.Labels...)
}

// Has reports whether the segment carries the ActCode label.
func (s Segment) Has(code string) bool {
	return slices.Contains(s.Labels, fhir.Coding{System: fhir.SystemActCode, Code: code})
}

// Source is the organisation a record enters under.
type Source struct {
	Organization string // FHIR Organization id of the custodian
	Part2        bool   // it is a Part 2 program
	Covered      bool   // it discloses under HIPAA: a covered entity or one acting for it
	Evaluator    bool   // it holds records as auditor or researcher
}

// Describe is the segment of a record that is known by its labels alone. Without a confidentiality it is what the labels need.
func Describe(src Source, labels []fhir.Coding, confidentiality string) Segment {
	if confidentiality == "" {
		confidentiality = "N"
	}
	seg := Segment{Custodian: src.Organization, Covered: src.Covered, Evaluator: src.Evaluator, Confidentiality: confidentiality}
	if src.Part2 {
		labels = append(slices.Clone(labels), part2Label())
	}
	return seg.With(labels)
}

// mainCode is the element whose coding says what a clinical record is about.
func mainCode(typ string) string {
	switch typ {
	case "Condition", "Observation", "Procedure", "AllergyIntolerance", "DiagnosticReport", "ServiceRequest":
		return "code"
	case "MedicationRequest", "MedicationStatement", "MedicationAdministration", "MedicationDispense":
		return "medicationCodeableConcept"
	}
	return ""
}

// local reports whether a code system is one Trellis publishes.
func local(system string) bool { return strings.HasPrefix(system, fhir.LocalBase+"/CodeSystem/") }

// DirectoryTypes lists the types that describe organisations, places and terminology, never a patient;
// they are readable by every client.
func DirectoryTypes() []string {
	return []string{"Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole",
		"CodeSystem", "ValueSet", "ConceptMap", "StructureDefinition", "ImplementationGuide", "NamingSystem", "SearchParameter", "Questionnaire"}
}

// Directory reports whether a type is one of DirectoryTypes.
func Directory(typ string) bool { return slices.Contains(DirectoryTypes(), typ) }

// restricted lists the ActCode labels that make a record at least R (restricted).
func restricted(code string) bool {
	switch code {
	case "42CFRPart2", "ETH", "SUD", "ETHUD", "OPIOIDUD", "PSY", "PSYTHPN", "MH", "BH", "HIV", "STD", "SDV", "VIO", "SEX", "SPI", "SSP":
		return true
	}
	return false
}

// higher is the more confidential of two v3-Confidentiality codes; an unknown code counts as highest.
func higher(a, b string) string {
	const order = "ULMNRV"
	rank := func(s string) int {
		for i := range order {
			if s == order[i:i+1] {
				return i
			}
		}
		return len(order)
	}
	if rank(b) >= len(order) {
		return "V"
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
