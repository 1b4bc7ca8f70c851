// Package label decides the security labels of a resource and the segment it belongs to.
//
// Two axes are kept apart (42 CFR 2.11, 2.12): where a record comes from (a Part 2 program or not)
// and what it is about (sensitivity). The source rule comes first, labels that arrive with a record
// are never dropped, code tables add sensitivity, and what no table can classify is `unclassified`
// and hidden from other organisations.
//
// It does not decide who may see a segment: that is auth/access. It is entered through Classifier.Classify.
package label

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"trellis/fhir"
)

// RulesVersion names the label rules in decisions and audit events.
const RulesVersion = "labels-2026.1"

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

// Classifier labels resources by the code tables. Make one with New.
type Classifier struct {
	exact    map[fhir.Coding]string
	prefixes []prefixRule
}

type prefixRule struct{ system, prefix, label string }

// Classify gives the segment of a resource. mapped are labels the mapping's rules gave out.
// Labels in the resource's own meta.security are kept.
func (c *Classifier) Classify(r *fhir.Resource, src Source, mapped []fhir.Coding) Segment {
	if Directory(r.Type) {
		return Segment{Custodian: src.Organization, Confidentiality: "U", Directory: true}
	}
	set := map[fhir.Coding]bool{}
	conf := "N"
	for _, l := range append(inbound(r), mapped...) {
		if l.System == fhir.SystemConfidentiality {
			conf = higher(conf, l.Code)
			continue
		}
		set[l] = true
	}
	part2 := fhir.Coding{System: fhir.SystemActCode, Code: "42CFRPart2"}
	if src.Part2 {
		set[part2] = true
	}
	classified := c.codes(r, set)
	seg := Segment{Custodian: src.Organization, Covered: src.Covered, Evaluator: src.Evaluator, Confidentiality: conf}
	seg.Part2 = set[part2]
	seg.CounselingNote = set[fhir.Coding{System: SystemLocalLabel, Code: CodeCounselingNote}]
	seg.Unclassified = !classified || set[fhir.Coding{System: SystemLocalLabel, Code: CodeUnclassified}]
	if seg.Unclassified {
		set[fhir.Coding{System: SystemLocalLabel, Code: CodeUnclassified}] = true
	}
	for l := range set {
		seg.Labels = append(seg.Labels, l)
		if l.System == fhir.SystemActCode && restricted(l.Code) {
			seg.Confidentiality = higher(seg.Confidentiality, "R")
		}
	}
	if seg.CounselingNote {
		seg.Confidentiality = higher(seg.Confidentiality, "V")
	}
	sort.Slice(seg.Labels, func(i, j int) bool {
		return seg.Labels[i].System+seg.Labels[i].Code < seg.Labels[j].System+seg.Labels[j].Code
	})
	return seg
}

// Describe is the segment of a record that is known by its labels alone. Without a confidentiality it is what the labels need.
func Describe(src Source, labels []fhir.Coding, confidentiality string) Segment {
	part2 := fhir.Coding{System: fhir.SystemActCode, Code: "42CFRPart2"}
	seg := Segment{Custodian: src.Organization, Part2: src.Part2, Covered: src.Covered, Evaluator: src.Evaluator, Confidentiality: confidentiality}
	if confidentiality == "" {
		seg.Confidentiality = "N"
	}
	if src.Part2 {
		labels = append(slices.Clone(labels), part2)
	}
	for _, l := range labels {
		if l.System == fhir.SystemConfidentiality {
			seg.Confidentiality = higher(seg.Confidentiality, l.Code)
			continue
		}
		if slices.Contains(seg.Labels, l) {
			continue
		}
		seg.Labels = append(seg.Labels, l)
		seg.Part2 = seg.Part2 || l == part2
		seg.CounselingNote = seg.CounselingNote || l == fhir.Coding{System: SystemLocalLabel, Code: CodeCounselingNote}
		seg.Unclassified = seg.Unclassified || l == fhir.Coding{System: SystemLocalLabel, Code: CodeUnclassified}
		if l.System == fhir.SystemActCode && restricted(l.Code) {
			seg.Confidentiality = higher(seg.Confidentiality, "R")
		}
	}
	sort.Slice(seg.Labels, func(i, j int) bool {
		return seg.Labels[i].System+seg.Labels[i].Code < seg.Labels[j].System+seg.Labels[j].Code
	})
	return seg
}

// inbound reads meta.security. Alteration tags and refrain codes stay with the record like any label.
func inbound(r *fhir.Resource) []fhir.Coding {
	var out []fhir.Coding
	for _, n := range r.Root.Get("meta").Get("security").List() {
		if code := n.Get("code").Text(); code != "" {
			out = append(out, fhir.Coding{System: n.Get("system").Text(), Code: code})
		}
	}
	return out
}

// codes adds the labels of every coding in the resource, contained resources included, and reports
// whether the record could be classified: a clinical record whose main code is in no system our
// tables cover could be about anything.
func (c *Classifier) codes(r *fhir.Resource, set map[fhir.Coding]bool) bool {
	r.Root.Walk(func(n fhir.Node) {
		system := n.Get("system").Text()
		if label, ok := c.lookup(system, n.Get("code").Text()); ok {
			set[fhir.Coding{System: fhir.SystemActCode, Code: label}] = true
		}
	})
	name := mainCode(r.Type)
	if name == "" {
		return true
	}
	for _, coding := range r.Root.Path(name, "coding").List() {
		if covered(coding.Get("system").Text()) && coding.Get("code").Text() != "" {
			return true
		}
	}
	// A category of ours says what a record in a person's own words is about.
	for _, category := range r.Root.Get("category").List() {
		for _, coding := range category.Get("coding").List() {
			if local(coding.Get("system").Text()) {
				return true
			}
		}
	}
	// A medication given by reference is classified where it is defined.
	return name == "medicationCodeableConcept" && !r.Root.Get("medicationReference").IsZero()
}

func (c *Classifier) lookup(system, code string) (string, bool) {
	if system == "" || code == "" {
		return "", false
	}
	if label, ok := c.exact[fhir.Coding{System: system, Code: code}]; ok {
		return label, true
	}
	for _, p := range c.prefixes {
		if p.system == system && len(code) >= len(p.prefix) && code[:len(p.prefix)] == p.prefix {
			return p.label, true
		}
	}
	return "", false
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

func covered(system string) bool {
	switch system {
	case fhir.SystemLOINC, fhir.SystemSNOMED, fhir.SystemICD10CM, fhir.SystemRxNorm, fhir.SystemCPT,
		fhir.SystemHCPCS, fhir.SystemHCPCSTLS, fhir.SystemCVX:
		return true
	}
	return local(system)
}

// local reports whether a code system is one Trellis publishes.
func local(system string) bool { return strings.HasPrefix(system, fhir.LocalBase+"/CodeSystem/") }

// DirectoryTypes lists the types that describe organisations, places and terminology, never a patient;
// they are readable by every client.
func DirectoryTypes() []string {
	return []string{"Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole",
		"CodeSystem", "ValueSet", "ConceptMap", "StructureDefinition", "NamingSystem", "SearchParameter", "Questionnaire"}
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
