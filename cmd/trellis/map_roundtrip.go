package main

import (
	"fmt"
	"io"
	"sort"

	"trellis/mapping"
)

const mapRoundtripHelp = `trellis map roundtrip: show that records come back from FHIR as they were

Usage:
  trellis map roundtrip --pack PACK [flags] FILE...

Maps native records to FHIR, reads the FHIR back, and maps what came back again. Names every field that is lost on the
way, with the reason the pack gives, and every one that comes back otherwise. Nothing is written.

Flags:
%s
Exit status: 0 what comes back maps to the same resources and no field changed, 1 something differs, 2 wrong use.

Examples:
  trellis map roundtrip --pack peer-encounter sessions.ndjson
  trellis map roundtrip --pack ny-1115-ahc-hrsn SCREENING.csv DEMOGRAPHIC.csv QE_ADMIN.csv
`

func mapRoundtrip(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("roundtrip", mapRoundtripHelp)
	if code, done := f.parse(fs, usage, args, 1, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map roundtrip:", err)
		return 2
	}
	files, err := readDelivery(fs.Args())
	if err != nil {
		fmt.Fprintln(stderr, "trellis map roundtrip:", err)
		return 2
	}
	trip, err := pack.GoRound(env, files)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map roundtrip:", err)
		return 1
	}
	if f.report == "json" {
		err = writeIndented(stdout, trip)
	} else {
		writeRoundtrip(stdout, trip)
	}
	if err != nil || !trip.Whole() {
		return 1
	}
	return 0
}

// cell is the place of a problem in a CSV file, "" in a JSON record.
func cell(p mapping.Problem) string {
	if p.Row == 0 {
		return ""
	}
	return fmt.Sprintf("row %d column %s", p.Row, p.Column)
}

func writeRoundtrip(w io.Writer, t *mapping.Roundtrip) {
	fmt.Fprintf(w, "%d record(s) went to FHIR (%d resources) and came back\n", t.Records, t.Resources)
	if len(t.Losses) > 0 {
		fmt.Fprintln(w, "\nNot in FHIR, as the pack says")
		sort.Slice(t.Losses, func(i, j int) bool { return t.Losses[i].Field < t.Losses[j].Field })
		for _, l := range t.Losses {
			fmt.Fprintf(w, "  %s (%d): %s\n", l.Field, l.Count, l.Reason)
		}
	}
	if len(t.LeftOut) > 0 {
		fmt.Fprintln(w, "\nLeft out on the way there")
	}
	for _, p := range t.LeftOut {
		fmt.Fprintf(w, "  %s%s: %s\n", p.Pointer, cell(p), p.Text)
	}
	if t.Whole() {
		fmt.Fprintln(w, "\nEverything else came back as it was, and maps to the same resources again.")
		return
	}
	if len(t.Changed) > 0 {
		fmt.Fprintln(w, "\nCame back otherwise")
		writeDifferences(w, t.Changed, "  ")
	}
	if len(t.Refused) > 0 {
		fmt.Fprintln(w, "\nCame back and could not be mapped again")
	}
	for _, p := range t.Refused {
		fmt.Fprintf(w, "  %s%s: %s\n", p.Pointer, cell(p), p.Text)
	}
	if len(t.Again) > 0 {
		fmt.Fprintln(w, "\nMapped again, these resources differ")
		writeResourceDiffs(w, t.Again)
	}
}
