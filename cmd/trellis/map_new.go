package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"trellis/mapping/scaffold"
)

const mapNewHelp = `trellis map new: begin a pack from a sample of the source's records

Usage:
  trellis map new --name NAME [--out DIR] [--report text|json] SAMPLE.csv|SAMPLE.json

Reads the sample and writes a pack DIR/NAME (DIR is the current folder when left out) that loads and runs:

  pack.yaml             name, format, how dates are written
  NAME.schema.json      JSON Schema: types, dates, closed lists, required fields
  NAME.map.yaml         rules for the fields whose names are known: person, visit, questions and answers, status, dates;
                        everything else stands under ignore with the reason "TODO: decide"
  codes/*.csv           the values of closed lists, for you to give codes to
  cases/made-up.case    a golden case of made-up values

No value of the sample gets into the pack but those of closed lists: few, short, in columns that hold such lists. The
command names those columns. A sample of some twenty records or more gives a better draft than one record.

Exit status: 0 the pack was written, 1 the sample cannot be used, 2 wrong use.

Examples:
  trellis map new --name house-stays stays.csv
  trellis map new --name intake --out ./packs intake.json
  trellis map new --name intake --out ./packs --report json intake.json | jq '.notes'
`

func mapNew(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("map new", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, mapNewHelp) }
	name := fs.String("name", "", "")
	out := fs.String("out", ".", "")
	report := fs.String("report", "text", "")
	if code, done := parseFlags(fs, args, stdout, mapNewHelp); done {
		return code
	}
	switch {
	case *name == "" || fs.NArg() != 1:
		fmt.Fprintln(stderr, "trellis map: give --name and one sample; `trellis map new --help` has examples")
		return 2
	case *report != "json" && *report != "text":
		fmt.Fprintln(stderr, "trellis map: --report must be json or text")
		return 2
	}
	files, err := readMapFiles(fs.Args())
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	draft, err := scaffold.New(*name, files[0].Name, files[0].Data)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 1
	}
	dir := filepath.Join(*out, *name)
	written, err := writeDraft(dir, draft.Files)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 1
	}
	next := []string{
		"trellis map lint " + dir + "        lists what waits for your decision",
		"read every rule in " + filepath.Join(dir, *name+".map.yaml") + "; they were guessed from names",
		"fill system and code in " + filepath.Join(dir, "codes") + ", and write both, in or out instead of todo",
		fmt.Sprintf("trellis map run --packs %s --pack %s %s > bundle.json        tries it", *out, *name, fs.Arg(0)),
	}
	if *report == "json" {
		if err := writeIndented(stdout, map[string]any{"pack": *name, "dir": dir, "files": written, "notes": draft.Notes, "next": next}); err != nil {
			return 1
		}
		return 0
	}
	for _, part := range []struct {
		title string
		lines []string
	}{{"Wrote", written}, {"About the draft", draft.Notes}, {"Next", next}} {
		fmt.Fprintln(stdout, part.title)
		for _, line := range part.lines {
			fmt.Fprintln(stdout, "  "+line)
		}
	}
	return 0
}

// writeDraft writes a pack's files into a folder that is not there yet.
func writeDraft(dir string, files map[string][]byte) ([]string, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make %s", filepath.Dir(dir))
	}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s is there already; nothing was written", dir)
	} else if err != nil {
		return nil, fmt.Errorf("cannot make %s", dir)
	}
	var written []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("cannot make %s", filepath.Dir(path))
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return nil, fmt.Errorf("cannot write %s", path)
		}
		written = append(written, path)
	}
	return written, nil
}
