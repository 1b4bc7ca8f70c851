package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"trellis/mapping"
)

const mapMergeHelp = `trellis map merge: bring a partner's changes back into a native record

Usage:
  trellis map merge --pack PACK --from FILE --current FILE [flags] RESOURCES...

Three ways: --from is the native record as it was when the partner read its resources, --current as it is now, RESOURCES
the partner's version of the resources (a Bundle, resources, or lines of them; those that did not change may be left
out). The merged record goes to standard output; what was taken, what conflicts and what no rule can carry back is told on
standard error. Nothing else is written.

Flags:
%s
Exit status: 0 merged, 1 there are conflicts (the record keeps yours), 2 wrong use.

Examples:
  trellis map merge --pack recovery-plan --from plan-v1.json --current plan-v2.json from-ehr.json > plan-v3.json
`

func mapMerge(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("merge", mapMergeHelp)
	base := fs.String("from", "", "`FILE`: the record as it was when the partner read it")
	current := fs.String("current", "", "`FILE`: the record as it is now")
	deleted := fs.String("deleted", "", "`REFERENCES`, joined by commas, of resources that the partner removed")
	if code, done := f.parse(fs, usage, args, 1, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map merge:", err)
		return 2
	}
	var records [2][]byte
	for i, name := range []string{*base, *current} {
		if records[i], err = os.ReadFile(name); err != nil {
			fmt.Fprintln(stderr, "trellis map merge: --from and --current must name files that can be read")
			return 2
		}
	}
	bodies, err := readResources(fs.Args())
	if err != nil {
		fmt.Fprintln(stderr, "trellis map merge:", err)
		return 2
	}
	var gone []string
	if *deleted != "" {
		gone = strings.Split(*deleted, ",")
	}
	merged, err := pack.Merge(env, records[0], records[1], bodies, gone)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map merge:", err)
		return 2
	}
	if err := writeIndented(stdout, merged.Record); err != nil {
		return 2
	}
	if f.report == "json" {
		err = writeIndented(stderr, merged)
	} else {
		tellMerge(stderr, merged)
	}
	if err != nil || len(merged.Conflicts) > 0 {
		return 1
	}
	return 0
}

func tellMerge(w io.Writer, m *mapping.Merged) {
	changes := func(title string, list []mapping.Change) {
		if len(list) > 0 {
			fmt.Fprintln(w, title)
		}
		for _, c := range list {
			fmt.Fprintf(w, "  %s: was %s, yours %s, theirs %s", c.Pointer, oneLine(c.Base), oneLine(c.Ours), oneLine(c.Theirs))
			if c.Reason != "" {
				fmt.Fprintf(w, " (%s)", c.Reason)
			}
			fmt.Fprintln(w)
		}
	}
	changes("Taken over", m.Taken)
	changes("Conflicts, for a person to decide; the record keeps yours", m.Conflicts)
	if len(m.NotTaken) > 0 {
		fmt.Fprintln(w, "Changed by the partner, and no rule can carry it back")
	}
	for _, e := range m.NotTaken {
		fmt.Fprintf(w, "  %s/%s %s\n", e.Type, e.ID, e.Path)
	}
	if len(m.Unknown) > 0 {
		fmt.Fprintln(w, "Not known to the mapping; kept and sent on by the gateway")
	}
	for _, u := range m.Unknown {
		fmt.Fprintf(w, "  %s/%s %s\n", u.Type, u.ID, u.Path)
	}
	if len(m.Taken)+len(m.Conflicts)+len(m.NotTaken)+len(m.Unknown) == 0 {
		fmt.Fprintln(w, "The partner changed nothing.")
	}
}
