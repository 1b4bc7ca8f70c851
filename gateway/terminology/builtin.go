package terminology

import (
	"strings"

	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/terminology"
	"trellis/gateway/guide"
	"trellis/mapping"
)

// Builtin are the code systems that come with the program: those of R4's required bindings, as codes alone, and
// those Trellis publishes itself.
func Builtin(packs []*mapping.Pack) []*terminology.CodeSystem {
	var out []*terminology.CodeSystem
	for _, list := range fhir.RequiredCodes() {
		concepts := make([]terminology.Concept, 0, len(list.Codes))
		for _, code := range list.Codes {
			concepts = append(concepts, terminology.Concept{Code: code})
		}
		cs := terminology.NewCodeSystem(list.System, "", concepts)
		cs.Version = "4.0.1"
		if name, ok := strings.CutPrefix(list.System, "http://hl7.org/fhir/"); ok && !strings.Contains(name, "/") {
			cs.ValueSet = "http://hl7.org/fhir/ValueSet/" + name // as R4 names the value set of all codes
		}
		out = append(out, cs)
	}
	local := map[string][]terminology.Concept{}
	for name, codes := range guide.Codes(packs) {
		url := fhir.LocalBase + "/CodeSystem/" + name
		for _, c := range codes {
			local[url] = append(local[url], terminology.Concept{Code: c.Code, Display: c.Display})
		}
	}
	local[label.SystemLocalLabel] = []terminology.Concept{{Code: label.CodeCounselingNote, Display: "SUD counseling note"}, {Code: label.CodeUnclassified, Display: "Unclassified"}}
	local[consent.SystemKind] = []terminology.Concept{{Code: string(consent.KindTPO)}, {Code: string(consent.KindSpecific)}, {Code: string(consent.KindCounselingNotes)},
		{Code: string(consent.KindProceedings)}, {Code: string(consent.KindHIPAA)}, {Code: string(consent.KindRestriction)}}
	for url, concepts := range local {
		out = append(out, terminology.NewCodeSystem(url, "", concepts))
	}
	return out
}
