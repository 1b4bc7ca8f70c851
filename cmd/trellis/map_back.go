package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"trellis/mapping"
)

const mapBackHelp = `trellis map back: turn FHIR resources back into native records

Usage:
  trellis map back --pack PACK [flags] FILE...

FILE holds a Bundle, a resource, or resources one per line; - is standard input. Give the --org-system and --namespace
the records were mapped with. Native records go to standard output, one per line; those of a CSV pack go into files
below --out. What no rule knows, and what could not be read, is told on standard error.

Flags:
%s
Exit status: 0 everything was read, 1 something could not be read, 2 wrong use.

Examples:
  trellis map run --pack recovery-plan plan.json | trellis map back --pack recovery-plan -
  trellis map back --pack ny-1115-ahc-hrsn --out delivery bundle.json
`

func mapBack(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("back", mapBackHelp)
	out := fs.String("out", "", "`DIR` for the files of a CSV pack")
	if code, done := f.parse(fs, usage, args, 1, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map back:", err)
		return 2
	}
	bodies, err := readResources(fs.Args())
	if err != nil {
		fmt.Fprintln(stderr, "trellis map back:", err)
		return 2
	}
	natives, foreign, err := pack.Back(env, bodies)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map back:", err)
		return 1
	}
	if pack.Format == "csv" {
		err = writeRows(pack, natives, *out, stdout)
	} else {
		err = writeRecords(natives, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "trellis map back:", err)
		return 2
	}
	return tellBack(natives, foreign, len(bodies), stderr)
}

func writeRecords(natives []mapping.Native, stdout io.Writer) error {
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	for _, n := range natives {
		if err := enc.Encode(n.Record); err != nil {
			return err
		}
	}
	return nil
}

func writeRows(pack *mapping.Pack, natives []mapping.Native, dir string, stdout io.Writer) error {
	if dir == "" {
		return errors.New("the records of this pack are CSV files: give --out DIR")
	}
	files, err := pack.Rows(natives)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		path := filepath.Join(dir, file.Name)
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			return err
		}
		fmt.Fprintln(stdout, path)
	}
	return nil
}

// tellBack reports by element, never with a value.
func tellBack(natives []mapping.Native, foreign []string, given int, stderr io.Writer) int {
	fmt.Fprintf(stderr, "%d resource(s) read, %d native record(s)\n", given, len(natives))
	code := 0
	for _, ref := range foreign {
		fmt.Fprintf(stderr, "  %s was not made by this pack; it was left alone\n", ref)
	}
	for _, n := range natives {
		for _, u := range n.Unknown {
			fmt.Fprintf(stderr, "  %s/%s: %s is not known to the mapping; it is not in the record\n", u.Type, u.ID, u.Path)
		}
		for _, p := range n.Problems {
			fmt.Fprintf(stderr, "  %s: %s\n", p.Pointer, p.Text)
			code = 1
		}
	}
	if len(natives) == 0 {
		fmt.Fprintln(stderr, "  none of the resources bears an identifier of this pack; was it --org-system?")
		code = 1
	}
	return code
}

// readResources reads resources from files of Bundles, resources or lines of them.
func readResources(names []string) ([][]byte, error) {
	files, err := readMapFiles(names)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, file := range files {
		more, err := mapping.SplitResources(file.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		out = append(out, more...)
	}
	return out, nil
}
