package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const mapGoldenHelp = `trellis map golden: run the golden cases of a pack

Usage:
  trellis map golden --pack PACK [--packs DIR] [--update]

A case is a file below the pack's cases/: a native input, a line of ten dashes, and what is expected of it: the resources,
what the report says, and the record as it comes back from FHIR. Names of cases that end in -part2 have a Part 2 program
as sender. --update writes the expected half anew; read the difference before you keep it.

Flags:
%s
Exit status: 0 all cases are as expected, 1 some are not, 2 wrong use.

Examples:
  trellis map golden --packs . --pack house-stays
  trellis map golden --packs . --pack house-stays --update && git diff
`

func mapGolden(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("golden", mapGoldenHelp)
	update := fs.Bool("update", false, "write the expected half of the cases anew")
	if code, done := f.parse(fs, usage, args, 0, stdout, stderr); done {
		return code
	}
	pack, _, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map golden:", err)
		return 2
	}
	cases, err := pack.Cases()
	switch {
	case err != nil:
	case len(cases) == 0:
		err = errors.New("the pack has no cases")
	case *update && f.packs.dir == "":
		err = errors.New("--update writes into a folder of your own: give --packs DIR")
	}
	if err != nil {
		fmt.Fprintln(stderr, "trellis map golden:", err)
		return 2
	}
	failed := 0
	for _, c := range cases {
		got, err := pack.RunCase(c)
		if err != nil {
			fmt.Fprintln(stderr, "trellis map golden:", err)
			return 1
		}
		switch {
		case got == c.Want:
			fmt.Fprintf(stdout, "ok       %s\n", c.File)
		case *update:
			if err := os.WriteFile(filepath.Join(f.packs.dir, filepath.FromSlash(c.File)), c.Text(got), 0o600); err != nil {
				fmt.Fprintln(stderr, "trellis map golden: the case cannot be written:", c.File)
				return 1
			}
			fmt.Fprintf(stdout, "written  %s\n", c.File)
		default:
			failed++
			fmt.Fprintf(stdout, "DIFFERS  %s\n%s", c.File, firstDifference(c.Want, got))
		}
	}
	if failed > 0 {
		fmt.Fprintf(stderr, "%d of %d case(s) differ; --update writes what they give now\n", failed, len(cases))
		return 1
	}
	return 0
}

// firstDifference shows where two texts part, with some lines around.
func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	var out strings.Builder
	for _, line := range a[max(0, i-3):i] {
		fmt.Fprintf(&out, "    %s\n", line)
	}
	for _, line := range a[i:min(len(a), i+6)] {
		fmt.Fprintf(&out, "  - %s\n", line)
	}
	for _, line := range b[i:min(len(b), i+6)] {
		fmt.Fprintf(&out, "  + %s\n", line)
	}
	return out.String()
}
