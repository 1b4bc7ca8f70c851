package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"

	"trellis/mapping"
)

const mapPacksHelp = `trellis map packs: list the packs there are

Usage:
  trellis map packs [--packs DIR] [--json]

A pack that does not load is listed with what is wrong with it on standard error, and the status is 1.

Examples:
  trellis map packs
  trellis map packs --packs ./our-packs --json | jq -r '.[].name'
`

func mapPacks(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("map packs", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, mapPacksHelp) }
	var packs packsFolder
	packs.flag(fs)
	asJSON := fs.Bool("json", false, "")
	if code, done := parseFlags(fs, args, stdout, mapPacksHelp); done {
		return code
	}
	folder, err := packs.open()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	names, err := mapping.Names(folder)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 1
	}
	type line struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Format  string `json:"format"`
		Title   string `json:"title"`
	}
	list, status := []line{}, 0
	for _, name := range names {
		p, err := packs.load(name)
		if err != nil {
			fmt.Fprintln(stderr, "trellis map:", err)
			status = 1
			continue
		}
		list = append(list, line{p.Name, p.Version, p.Format, p.Title})
	}
	if *asJSON {
		if err := writeIndented(stdout, list); err != nil {
			return 1
		}
		return status
	}
	tw := tabwriter.NewWriter(stdout, 0, 4, 2, ' ', 0)
	for _, l := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", l.Name, l.Version, l.Format, l.Title)
	}
	if err := tw.Flush(); err != nil {
		fmt.Fprintln(stderr, "trellis map: the list could not be written")
		return 1
	}
	return status
}

// writeIndented writes JSON for people and programs alike.
func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
