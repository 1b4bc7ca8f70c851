package intake

import (
	"errors"

	"trellis/fhir"
	"trellis/mapping"
	"trellis/mapping/scaffold"
)

// A Draft is a pack of somebody's own: its files by path below its folder. It is sent along with every question about it and
// kept nowhere.
type Draft struct {
	Name  string            `json:"name"`
	Files map[string]string `json:"files"`
	// Notes say what was found, taken over, assumed and left to decide.
	Notes []string `json:"notes,omitempty"`
}

// NewDraft begins a pack from a sample of the source's records.
func NewDraft(name string, sample []byte, csv bool) (*Draft, error) {
	file := "sample.json"
	if csv {
		file = "sample.csv"
	}
	made, err := scaffold.New(name, file, sample)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Unprocessable, "invalid", "no pack can be begun from this: "+err.Error()).Because(err)
	}
	out := &Draft{Name: name, Files: map[string]string{}, Notes: made.Notes}
	for path, data := range made.Files {
		out.Files[path] = string(data)
	}
	return out, nil
}

// Lint tells everything about a draft at once. It may include the shared files of the program.
func (d *Draft) Lint() (*mapping.Findings, error) {
	files := map[string][]byte{}
	for path, text := range d.Files {
		files[path] = []byte(text)
	}
	found, err := mapping.Lint(mapping.Beside(scaffold.Folder(d.Name, files)), d.Name)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Unprocessable, "invalid", "the files are no pack").Because(err)
	}
	return found, nil
}

// Lint tells everything about the pack that is tried.
func (t *Trial) Lint() (*mapping.Findings, error) { return t.pack.Lint() }

// Export gives the pack as FHIR definitions: "conceptmap", "structuremap" or "sdc". A pack that has none of a kind is a
// *fhir.Problem.
func (t *Trial) Export(kind string) ([]*fhir.Resource, error) {
	definitions, known := map[string]func(string) ([]mapping.Exported, error){
		"conceptmap": t.pack.ConceptMaps, "structuremap": t.pack.StructureMaps, "sdc": t.pack.Questionnaires,
	}[kind]
	if !known {
		return nil, fhir.NewProblem(fhir.Invalid, "value", "as must be conceptmap, structuremap or sdc")
	}
	list, err := definitions(fhir.LocalBase)
	if err != nil && !errors.Is(err, mapping.ErrNoForm) {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fhir.NewProblem(fhir.NotFound, "not-found", "the pack has nothing of this kind")
	}
	var out []*fhir.Resource
	for _, e := range list {
		res, err := t.parser.Parse(e.JSON)
		if err != nil {
			return nil, errors.New("intake: a definition of a pack is not R4: " + e.ID)
		}
		out = append(out, res)
	}
	return out, nil
}
