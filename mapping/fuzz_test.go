package mapping

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// FuzzMapJSON feeds bytes to every JSON pack: never a panic, always a Result of JSON or an *InvalidError.
func FuzzMapJSON(f *testing.F) {
	var packs []*Pack
	names, err := Names(Packs())
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		p := load(f, name)
		if p.Format != "json" {
			continue
		}
		packs = append(packs, p)
		files, err := fs.Glob(Packs(), name+"/cases/*.case")
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := fs.ReadFile(Packs(), file)
			if err != nil {
				f.Fatal(err)
			}
			input, _, _ := strings.Cut(string(data), caseRule)
			f.Add([]byte(input))
		}
	}
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range packs {
			res, err := p.MapJSON(testEnv(true), data)
			checkOutcome(t, res, err)
		}
	})
}

// FuzzMapFiles feeds bytes to every CSV pack, as one more file beside sound ones, and to the comparison of what comes back.
func FuzzMapFiles(f *testing.F) {
	packs, err := LoadAll(Packs())
	if err != nil {
		f.Fatal(err)
	}
	sound := map[*Pack][]File{}
	for _, p := range packs {
		if p.Format != "csv" {
			continue
		}
		cases, err := p.Cases()
		if err != nil {
			f.Fatal(err)
		}
		sound[p] = CaseFiles(cases[0].Input)
		for _, c := range cases {
			for _, file := range CaseFiles(c.Input) {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for p, beside := range sound {
			for _, files := range [][]File{{{Name: "fuzz.csv", Data: data}}, append(beside[:len(beside):len(beside)], File{Name: "fuzz.csv", Data: data})} {
				res, err := p.MapFiles(testEnv(false), files)
				checkOutcome(t, res, err)
				if err == nil {
					if _, err := p.GoRound(testEnv(false), files); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

func checkOutcome(t *testing.T, res *Result, err error) {
	t.Helper()
	if err != nil {
		var invalid *InvalidError
		if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
			t.Fatalf("error is not an InvalidError with problems: %v", err)
		}
		return
	}
	if _, err := res.Bundle(); err != nil {
		t.Fatal(err)
	}
	for _, rec := range res.Records {
		for _, r := range rec.Resources {
			if !json.Valid(r.Labelled()) {
				t.Fatalf("%s is not JSON", r.Slot)
			}
		}
	}
}

func caseFiles(t testing.TB, name string) []File {
	t.Helper()
	data, err := fs.ReadFile(Packs(), name)
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	return CaseFiles(input)
}
