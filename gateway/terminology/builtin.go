package terminology

import (
	"bytes"
	"encoding/csv"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/terminology"
	"trellis/mapping"
)

// builtinSystems are the code systems that come with the program: those of R4's required bindings, as codes alone, and
// those Trellis publishes itself.
func builtinSystems() ([]*terminology.CodeSystem, error) {
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
	local, err := localSystems(mapping.Packs())
	if err != nil {
		return nil, err
	}
	local[label.SystemLocalLabel] = []terminology.Concept{{Code: label.CodeCounselingNote, Display: "SUD counseling note"}, {Code: label.CodeUnclassified, Display: "Unclassified"}}
	local[consent.SystemKind] = []terminology.Concept{{Code: string(consent.KindTPO)}, {Code: string(consent.KindSpecific)}, {Code: string(consent.KindCounselingNotes)},
		{Code: string(consent.KindProceedings)}, {Code: string(consent.KindHIPAA)}, {Code: string(consent.KindRestriction)}}
	for url, concepts := range local {
		out = append(out, terminology.NewCodeSystem(url, "", concepts))
	}
	return out, nil
}

// localSystems are the systems of the mapping packs' own code tables: rows whose system is local:name.
func localSystems(packs fs.FS) (map[string][]terminology.Concept, error) {
	out := map[string][]terminology.Concept{}
	err := fs.WalkDir(packs, ".", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path.Ext(file) != ".csv" || path.Base(path.Dir(file)) != "codes" {
			return err
		}
		data, err := fs.ReadFile(packs, file)
		if err != nil {
			return err
		}
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil || len(rows) == 0 {
			return err
		}
		system, code, display := slices.Index(rows[0], "system"), slices.Index(rows[0], "code"), slices.Index(rows[0], "display")
		if system < 0 || code < 0 || display < 0 {
			return nil
		}
		for _, row := range rows[1:] {
			if name, ok := strings.CutPrefix(row[system], "local:"); ok {
				url := fhir.LocalBase + "/CodeSystem/" + name
				if !slices.ContainsFunc(out[url], func(c terminology.Concept) bool { return c.Code == row[code] }) {
					out[url] = append(out[url], terminology.Concept{Code: row[code], Display: row[display]})
				}
			}
		}
		return nil
	})
	return out, err
}
