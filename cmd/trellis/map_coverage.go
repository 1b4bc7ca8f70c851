package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"trellis/mapping"
)

const mapCoverageHelp = `trellis map coverage: what a pack does with every native field

Usage:
  trellis map coverage --pack PACK [flags] [FILE...]

Without files: each field of the schema, and whether it comes back from FHIR, goes there one way, only decides
something, restates another column, or is ignored and why. With files: also how often a field had a value there, and
what became of it.

Flags:
%s
Exit status: 0 done, 1 a record could not be mapped, 2 wrong use.

Examples:
  trellis map coverage --pack recovery-plan
  trellis map coverage --pack peer-encounter --report json sessions.ndjson
`

// coverage is what the command tells.
type coverage struct {
	Pack    string          `json:"pack"`
	Version string          `json:"version"`
	Fields  []mapping.Use   `json:"fields"`
	Counts  map[string]int  `json:"counts"` // fields by way
	Input   []mapping.Field `json:"input,omitempty"`
	Report  *mapping.Counts `json:"records,omitempty"`
	Losses  []mapping.Loss  `json:"losses,omitempty"`
}

func mapCoverage(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("coverage", mapCoverageHelp)
	if code, done := f.parse(fs, usage, args, 0, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map coverage:", err)
		return 2
	}
	c := &coverage{Pack: pack.Name, Version: pack.Version, Fields: pack.Uses(), Counts: map[string]int{}}
	for _, u := range c.Fields {
		c.Counts[u.Way]++
	}
	if fs.NArg() > 0 {
		files, err := readDelivery(fs.Args())
		if err != nil {
			fmt.Fprintln(stderr, "trellis map coverage:", err)
			return 2
		}
		res, err := mapAll(pack, env, files)
		if err != nil {
			fmt.Fprintln(stderr, "trellis map coverage:", err)
			return 1
		}
		c.Input, c.Report, c.Losses = res.Report.Coverage, &res.Report.Counts, res.Report.Losses
	}
	if f.report == "json" {
		err = writeIndented(stdout, c)
	} else {
		err = c.write(stdout)
	}
	if err != nil || c.Report != nil && c.Report.Rejected > 0 {
		return 1
	}
	return 0
}

func (c *coverage) write(w io.Writer) error {
	total := len(c.Fields)
	fmt.Fprintf(w, "%s %s: %d native fields\n", c.Pack, c.Version, total)
	for _, way := range []string{mapping.BothWays, mapping.OneWay, mapping.Decides, mapping.Restated, mapping.Ignored} {
		if n := c.Counts[way]; n > 0 {
			fmt.Fprintf(w, "  %4d  %3d %%  %s\n", n, (n*100+total/2)/total, way)
		}
	}
	if c.Report != nil {
		fmt.Fprintf(w, "In this input: %d record(s) mapped, %d rejected\n", c.Report.Records, c.Report.Rejected)
	}
	seen := map[string]mapping.Field{}
	for _, f := range c.Input {
		seen[f.Name] = f
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, u := range c.Fields {
		says := u.Reason
		if says == "" {
			says = strings.Join(u.Elements, ", ")
		}
		if c.Report != nil {
			fmt.Fprintf(tw, "%s\t%s\t%d× %s\t%s\n", u.Field, u.Way, seen[u.Field].Present, seen[u.Field].Status, says)
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", u.Field, u.Way, says)
	}
	return tw.Flush()
}
