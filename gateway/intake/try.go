package intake

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/mapping"
)

// A Trial is a pack with the environment of an organisation: what `trellis map` does on the command line, for the
// organisation's console. Nothing that goes through it is stored, and nothing that is stored comes out of it.
type Trial struct {
	pack   *mapping.Pack
	env    mapping.Env
	parser *fhir.Parser
}

// Packs lists the packs in the order of their names.
func (d *Desk) Packs() []*mapping.Pack {
	out := make([]*mapping.Pack, 0, len(d.packs))
	for _, p := range d.packs {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *mapping.Pack) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// Try prepares a trial; an unknown kind is a *fhir.Problem.
func (d *Desk) Try(ctx context.Context, kind string, org access.Organization) (*Trial, error) {
	pack, ok := d.packs[kind]
	if !ok {
		return nil, fhir.NewProblem(fhir.NotFound, "not-found", "no records of this kind are taken")
	}
	now, err := d.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	env := d.environment(org, now)
	env.Lineage = false // a trial says so itself
	return &Trial{pack, env, d.parser}, nil
}

// Makes lists the types of the resources that the pack makes.
func (t *Trial) Makes() []string {
	var out []string
	for _, m := range t.pack.Makes() {
		if !slices.Contains(out, m.Resource) {
			out = append(out, m.Resource)
		}
	}
	return append(out, "Provenance")
}

// Pack is the pack that is tried.
func (t *Trial) Pack() *mapping.Pack { return t.pack }

// Mapped is what a delivery would become.
type Mapped struct {
	Bundle  json.RawMessage   `json:"bundle"`
	Report  mapping.Report    `json:"report"`
	Lineage []mapping.Lineage `json:"lineage,omitempty"`
}

// Run maps a delivery; resources that are not R4 are left out and reported.
func (t *Trial) Run(files []mapping.File, lineage bool) (*Mapped, error) {
	env := t.env
	env.Lineage = lineage
	res, err := t.mapped(env, files)
	if err != nil {
		return nil, err
	}
	bundle, err := res.Bundle()
	if err != nil {
		return nil, err
	}
	out := &Mapped{Bundle: bundle, Report: res.Report}
	for i := range res.Records {
		for _, r := range res.Records[i].Resources {
			out.Lineage = append(out.Lineage, r.Lineage...)
		}
	}
	return out, nil
}

func (t *Trial) mapped(env mapping.Env, files []mapping.File) (*mapping.Result, error) {
	res, err := t.pack.MapDelivery(env, files)
	if err != nil {
		return nil, invalidRecord(err)
	}
	res.Check(func(r mapping.Resource) bool {
		_, err := t.parser.Parse(r.Labelled())
		return err == nil
	})
	return res, nil
}

// Given is what resources give back: records, or the files of a CSV pack by name.
type Given struct {
	Records  []map[string]any  `json:"records,omitempty"`
	Files    map[string]string `json:"files,omitempty"`
	Unknown  []mapping.Unknown `json:"unknown"`
	Problems []mapping.Problem `json:"problems"`
	Foreign  []string          `json:"foreign"` // resources that the pack did not make
}

// Back reads resources back.
func (t *Trial) Back(resources []byte) (*Given, error) {
	bodies, err := mapping.SplitResources(resources)
	if err != nil {
		return nil, invalidRecord(err)
	}
	natives, foreign, err := t.pack.Back(t.env, bodies)
	if err != nil {
		return nil, invalidRecord(err)
	}
	out := &Given{Unknown: []mapping.Unknown{}, Problems: []mapping.Problem{}, Foreign: append([]string{}, foreign...)}
	for _, n := range natives {
		out.Unknown = append(out.Unknown, n.Unknown...)
		out.Problems = append(out.Problems, n.Problems...)
		if t.pack.Format != "csv" {
			out.Records = append(out.Records, n.Record)
		}
	}
	if t.pack.Format != "csv" {
		return out, nil
	}
	files, err := t.pack.Rows(natives)
	if err != nil {
		return nil, err
	}
	out.Files = map[string]string{}
	for _, f := range files {
		out.Files[f.Name] = string(f.Data)
	}
	return out, nil
}

// Roundtrip maps a delivery to FHIR and back.
func (t *Trial) Roundtrip(files []mapping.File) (*mapping.Roundtrip, error) {
	out, err := t.pack.GoRound(t.env, files)
	if err != nil {
		return nil, invalidRecord(err)
	}
	return out, nil
}

// Diff is what an edit of a record changes in FHIR.
func (t *Trial) Diff(before, after []byte) ([]mapping.ResourceDiff, error) {
	var results [2]*mapping.Result
	for i, data := range [][]byte{before, after} {
		res, err := t.pack.MapJSON(t.env, data)
		if err != nil {
			return nil, invalidRecord(err)
		}
		results[i] = res
	}
	return mapping.DiffResults(results[0], results[1])
}

// Merge brings a partner's resources into a record, three ways.
func (t *Trial) Merge(from, current []byte, resources [][]byte, deleted []string) (*mapping.Merged, error) {
	if t.pack.Format != "json" {
		return nil, fhir.NewProblem(fhir.Unprocessable, "not-supported", "records of this kind are files; only JSON records are merged")
	}
	out, err := t.pack.Merge(t.env, from, current, resources, deleted)
	if err != nil {
		return nil, invalidRecord(err)
	}
	return out, nil
}

// CaseRun is one golden case of the pack and whether it still holds.
type CaseRun struct {
	File  string `json:"file"`
	Holds bool   `json:"holds"`
}

// Golden runs the pack's cases.
func (t *Trial) Golden() ([]CaseRun, error) {
	cases, err := t.pack.Cases()
	if err != nil {
		return nil, err
	}
	out := []CaseRun{}
	for _, c := range cases {
		got, err := t.pack.RunCase(c)
		if err != nil && !errors.As(err, new(*mapping.InvalidError)) {
			return nil, err
		}
		out = append(out, CaseRun{c.File, got == c.Want})
	}
	return out, nil
}
