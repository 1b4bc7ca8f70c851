package terminology

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io/fs"
	"path"
	"regexp"
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

// localSystems are the systems the mapping packs publish: those of their code tables, rows whose system is local:name, and
// those of the codings that stand in the mapping files themselves.
func localSystems(packs fs.FS) (localConcepts, error) {
	out := localConcepts{}
	err := fs.WalkDir(packs, ".", func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(packs, file)
		switch {
		case err != nil:
			return err
		case path.Ext(file) == ".csv" && path.Base(path.Dir(file)) == "codes":
			return out.table(data)
		case path.Ext(file) == ".yaml":
			return out.mapping(file, data)
		}
		return nil
	})
	return out, err
}

// localConcepts are concepts by the URL of their system.
type localConcepts map[string][]terminology.Concept

func (out localConcepts) add(name, code, display string) {
	url := fhir.LocalBase + "/CodeSystem/" + name
	if !slices.ContainsFunc(out[url], func(c terminology.Concept) bool { return c.Code == code }) {
		out[url] = append(out[url], terminology.Concept{Code: code, Display: display})
	}
}

// mapping reads the codings of a mapping file. One that is written in another way is an error: the system would look whole
// without it.
func (out localConcepts) mapping(file string, data []byte) error {
	coding := regexp.MustCompile(`"\{base\}/CodeSystem/([a-z-]+)", code: ([A-Za-z0-9-]+), display: "?([^}"]+)`)
	found := coding.FindAllSubmatch(data, -1)
	if len(found) != bytes.Count(data, []byte("{base}/CodeSystem/")) {
		return fmt.Errorf("%s has a coding of a local system that cannot be read", file)
	}
	for _, m := range found {
		out.add(string(m[1]), string(m[2]), string(m[3]))
	}
	return nil
}

// table reads a code table.
func (out localConcepts) table(data []byte) error {
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
			out.add(name, row[code], row[display])
		}
	}
	return nil
}
