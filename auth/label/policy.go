package label

import (
	"slices"

	"trellis/fhir"
)

// SystemPolicy holds the rule packs as policies a label rests on.
const SystemPolicy = fhir.LocalBase + "/CodeSystem/label-policy"

// laws are the ActCodes that name a law or regulation, the strictest first.
func laws() []string {
	return []string{"42CFRPart2", "Title38Section7332", "HIPAAPsyNotes", "HIPAASelfPay", "HIPAAROA", "HIPAANOPP", "HIPAAAuth", "CommonRule"}
}

// laws lists which of them the segment carries, the strictest first.
func (s Segment) laws() []fhir.Coding {
	var out []fhir.Coding
	for _, code := range laws() {
		if s.Has(code) {
			out = append(out, fhir.Coding{System: fhir.SystemActCode, Code: code})
		}
	}
	return out
}

// Policies counts what governs the segment: laws its labels name, HIPAA where the custodian is covered, and the rule pack
// where it gave labels of its own.
func (s Segment) Policies() int {
	n := len(s.laws())
	if s.Covered && !slices.ContainsFunc(s.laws(), func(l fhir.Coding) bool { return l.Code[:4] == "HIPA" }) {
		n++
	}
	if slices.ContainsFunc(s.Labels, func(l fhir.Coding) bool { return !slices.Contains(laws(), l.Code) }) {
		n++
	}
	return n
}

// Basis is the policy a label of the segment rests on; ok is false of labels that name a policy themselves.
func (s Segment) Basis(l fhir.Coding) (basis fhir.Coding, ok bool) {
	named := s.laws()
	pack := fhir.Coding{System: SystemPolicy, Code: RulesVersion}
	switch {
	case slices.Contains(named, l):
		return fhir.Coding{}, false
	case l.System == fhir.SystemConfidentiality && len(named) > 0:
		return named[0], true
	case s.Part2 && l.System == fhir.SystemActCode && slices.Contains([]string{"SUD", "ETHUD", "OPIOIDUD", "ETH", "SSP"}, l.Code):
		return part2Label(), true
	case l.System == fhir.SystemActCode && l.Code == "PSYTHPN" && s.Has("HIPAAPsyNotes"):
		return fhir.Coding{System: fhir.SystemActCode, Code: "HIPAAPsyNotes"}, true
	}
	return pack, true
}

// HighWater is the most confidential of several segments, and the laws any of them is under. The zero HighWater is of none.
type HighWater struct {
	confidentiality string
	laws            map[string]bool
}

// Raise takes a segment in. A public directory entry raises nothing.
func (h *HighWater) Raise(s Segment) {
	if s.Directory {
		return
	}
	if h.confidentiality == "" {
		h.confidentiality, h.laws = "U", map[string]bool{}
	}
	h.confidentiality = higher(h.confidentiality, s.Confidentiality)
	for _, l := range s.laws() {
		h.laws[l.Code] = true
	}
}

// Security is the mark as meta.security codings, none where nothing was taken in.
func (h *HighWater) Security() []fhir.Coding {
	if h.confidentiality == "" {
		return nil
	}
	out := []fhir.Coding{{System: fhir.SystemConfidentiality, Code: h.confidentiality}}
	for _, code := range laws() {
		if h.laws[code] {
			out = append(out, fhir.Coding{System: fhir.SystemActCode, Code: code})
		}
	}
	return out
}
