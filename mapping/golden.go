package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	slashpath "path"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A Case is one golden case of a pack: a file below cases/ with a native input, a line of dashes and what is expected of
// it. The input of a CSV pack is its files, each under a line "== name".
type Case struct {
	File  string // path in the packs folder
	Input string
	Want  string
	// Part2 and Proposed follow from the name: -part2 has a Part 2 program as sender, -proposed asks for proposed concerns.
	Part2, Proposed bool
}

const caseRule = "----------"

// Cases reads the golden cases of a pack, in the order of their names.
func (p *Pack) Cases() ([]Case, error) {
	files, err := fs.Glob(p.fsys, p.Name+"/cases/*.case")
	if err != nil {
		return nil, fmt.Errorf("mapping: cases of %s: %w", p.Name, err)
	}
	var out []Case
	for _, file := range files {
		data, err := fs.ReadFile(p.fsys, file)
		if err != nil {
			return nil, fmt.Errorf("mapping: cases of %s: %w", p.Name, err)
		}
		c := Case{File: file}
		name := strings.TrimSuffix(slashpath.Base(file), ".case")
		c.Part2, c.Proposed = strings.HasSuffix(name, "-part2"), strings.HasSuffix(name, "-proposed")
		c.Input, c.Want, _ = strings.Cut(string(data), caseRule+"\n")
		out = append(out, c)
	}
	return out, nil
}

// Text is the case as its file should be, with got as the expected half.
func (c Case) Text(got string) []byte {
	return []byte(strings.TrimRight(c.Input, "\n") + "\n" + caseRule + "\n" + got)
}

// caseOutput is the expected half of a case: the resources in order with their labels, what the report says, and the record
// as it comes back.
type caseOutput struct {
	Invalid   []Problem         `json:"invalid,omitempty"`
	Resources []json.RawMessage `json:"resources,omitempty"`
	Problems  []Problem         `json:"problems,omitempty"`
	Losses    []Loss            `json:"losses,omitempty"`
	Back      []json.RawMessage `json:"back,omitempty"`
}

// CaseEnv is the made-up deployment in which golden cases are mapped.
func CaseEnv() Env {
	return Env{
		Namespace:    uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
		Organization: Organization{ID: "org-1", Name: "Example Recovery", System: "https://recovery.example/ids"},
		Base:         "https://trellis.example/fhir",
		Now:          time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
	}
}

// RunCase maps a case's input and back, and gives what it should expect, as indented JSON.
func (p *Pack) RunCase(c Case) (string, error) {
	env := CaseEnv()
	env.Organization.Part2, env.ProposeConcerns = c.Part2, c.Proposed
	var res *Result
	var err error
	if p.Format == "csv" {
		res, err = p.MapFiles(env, CaseFiles(c.Input))
	} else {
		res, err = p.MapJSON(env, []byte(c.Input))
	}
	var out caseOutput
	var invalid *InvalidError
	switch {
	case errors.As(err, &invalid):
		out.Invalid = invalid.Problems
	case err != nil:
		return "", err
	default:
		var bodies [][]byte
		for _, rec := range res.Records {
			for _, r := range rec.Resources {
				out.Resources = append(out.Resources, r.Labelled())
				bodies = append(bodies, r.JSON)
			}
		}
		out.Problems, out.Losses = res.Report.Problems, res.Report.Losses
		if out.Back, err = p.caseBack(env, bodies); err != nil {
			return "", err
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return "", err
	}
	return b.String(), nil
}

// caseBack is the record, or records, as FHIR gives them back. What comes back is what was sent but for the losses, so it
// stands in a case only as one line each.
func (p *Pack) caseBack(env Env, bodies [][]byte) ([]json.RawMessage, error) {
	natives, _, err := p.Back(env, bodies)
	if err != nil {
		return nil, err
	}
	var out []json.RawMessage
	for _, n := range natives {
		data, err := json.Marshal(n.Record)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// CaseFiles takes the files of a CSV case apart.
func CaseFiles(input string) []File {
	var files []File
	for _, part := range strings.Split("\n"+input, "\n== ")[1:] {
		name, data, _ := strings.Cut(part, "\n")
		files = append(files, File{Name: name, Data: []byte(data)})
	}
	return files
}
