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

// FuzzMapFiles feeds bytes to the CSV pack, as the screening file beside two sound ones.
func FuzzMapFiles(f *testing.F) {
	p := load(f, "ny-1115-ahc-hrsn")
	sound := caseFiles(f, "ny-1115-ahc-hrsn/cases/clean.case")
	for _, name := range []string{"clean", "flags-yes", "flawed-rows"} {
		for _, file := range caseFiles(f, "ny-1115-ahc-hrsn/cases/"+name+".case") {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		res, err := p.MapFiles(testEnv(false), []File{sound[0], sound[1], {Name: "fuzz.csv", Data: data}})
		checkOutcome(t, res, err)
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
