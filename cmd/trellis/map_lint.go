package main

import (
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"trellis/mapping"
)

const mapLintHelp = `trellis map lint: check a pack and tell everything about it at once

Usage:
  trellis map lint [--report text|json] PACKDIR
  trellis map lint [--report text|json] [--packs DIR] --pack NAME

  faults    keep the pack from loading: names, kinds, lists and required elements that R4, the claimed profiles, the
            native schema or the code tables do not bear out, and rules that can never apply
  todos     wait for a decision: fields whose reason is TODO, native values without a code
  warnings  are legal and often not meant: values without a row, list items that nothing tells apart, much that is ignored

Each comes with file, line and, where it can be guessed, what would mend it.

Exit status: 0 no faults and nothing to decide (there may be warnings), 1 otherwise, 2 wrong use.

Examples:
  trellis map lint ./packs/house-stays
  trellis map lint --pack recovery-plan
  trellis map lint --report json ./packs/house-stays | jq '.faults[].text'
`

func mapLint(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("map lint", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, mapLintHelp) }
	var packs packsFolder
	packs.flag(fs)
	name := fs.String("pack", "", "")
	report := fs.String("report", "text", "")
	if code, done := parseFlags(fs, args, stdout, mapLintHelp); done {
		return code
	}
	switch {
	case *report != "json" && *report != "text":
		fmt.Fprintln(stderr, "trellis map: --report must be json or text")
		return 2
	case fs.NArg() == 1 && *name == "" && packs.dir == "":
		dir, err := filepath.Abs(fs.Arg(0))
		if err != nil {
			fmt.Fprintln(stderr, "trellis map:", err)
			return 2
		}
		packs.dir, *name = filepath.Dir(filepath.Clean(fs.Arg(0))), filepath.Base(dir)
		if filepath.Base(filepath.Clean(fs.Arg(0))) != *name { // "." and the like
			packs.dir = filepath.Dir(dir)
		}
	case fs.NArg() != 0 || *name == "":
		fmt.Fprintln(stderr, "trellis map: give either the folder of a pack or --pack; `trellis map lint --help` has examples")
		return 2
	}
	folder, err := packs.open()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	found, err := mapping.Lint(folder, *name)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	for _, list := range [][]mapping.Fault{found.Faults, found.Todos, found.Warnings} {
		for i := range list {
			list[i].File = packs.at(list[i].File)
		}
	}
	if *report == "json" {
		err = writeIndented(stdout, found)
	} else {
		err = writeFindings(stdout, found)
	}
	if err != nil || !found.Clean() {
		return 1
	}
	return 0
}

// writeFindings is the report for people: what keeps the pack from loading first.
func writeFindings(w io.Writer, f *mapping.Findings) error {
	for _, part := range []struct {
		title string
		list  []mapping.Fault
	}{{"fault(s)", f.Faults}, {"to decide", f.Todos}, {"warning(s)", f.Warnings}} {
		if len(part.list) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%d %s\n", len(part.list), part.title); err != nil {
			return err
		}
		for _, found := range part.list {
			if _, err := fmt.Fprintf(w, "  %s\n", found); err != nil {
				return err
			}
		}
	}
	verdict := "is sound"
	switch {
	case len(f.Faults) > 0:
		verdict = "does not load"
	case len(f.Todos) > 0:
		verdict = "loads, and is not finished"
	}
	_, err := fmt.Fprintf(w, "pack %s %s\n", f.Pack, verdict)
	return err
}
