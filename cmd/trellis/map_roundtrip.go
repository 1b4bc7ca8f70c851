package main

import (
	"encoding/json"
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

// roundtrip is what the command tells, as text or JSON.
type roundtrip struct {
	Records   int                    `json:"records"`
	Resources int                    `json:"resources"`
	Changed   []mapping.Difference   `json:"changed"`
	Again     []mapping.ResourceDiff `json:"again"`
	Losses    []mapping.Loss         `json:"losses"`
	// Refused is why records that came back could not be mapped again.
	Refused []mapping.Problem `json:"refused,omitempty"`
}

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
	trip, err := goRound(pack, env, files)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map roundtrip:", err)
		return 1
	}
	if f.report == "json" {
		err = writeIndented(stdout, trip)
	} else {
		trip.write(stdout)
	}
	if err != nil || len(trip.Changed)+len(trip.Again) > 0 {
		return 1
	}
	return 0
}

// goRound maps, reads back and maps again.
func goRound(pack *mapping.Pack, env mapping.Env, files []mapping.File) (*roundtrip, error) {
	first, err := mapAll(pack, env, files)
	if err != nil {
		return nil, err
	}
	var bodies [][]byte
	for i := range first.Records {
		for _, r := range first.Records[i].Resources {
			bodies = append(bodies, r.JSON)
		}
	}
	natives, _, err := pack.Back(env, bodies)
	if err != nil {
		return nil, err
	}
	trip := &roundtrip{Records: len(natives), Resources: len(bodies), Changed: []mapping.Difference{}, Losses: first.Report.Losses}
	var again []mapping.File
	if pack.Format == "csv" {
		if again, err = pack.Rows(natives); err != nil {
			return nil, err
		}
	} else {
		for _, n := range natives {
			data, err := json.Marshal(n.Record)
			if err != nil {
				return nil, err
			}
			again = append(again, mapping.File{Name: "back", Data: data})
		}
		trip.Changed = changedFields(pack, files, natives, first.Report.Losses)
	}
	second, err := mapAll(pack, env, again)
	if err != nil {
		return nil, err
	}
	for _, p := range second.Report.Problems {
		if p.Dropped && len(trip.Refused) < 20 {
			trip.Refused = append(trip.Refused, p)
		}
	}
	trip.Again, err = mapping.DiffResults(first, second)
	return trip, err
}

// changedFields compares the records that were mapped with those that came back, but for what is lost.
func changedFields(pack *mapping.Pack, files []mapping.File, natives []mapping.Native, losses []mapping.Loss) []mapping.Difference {
	out := []mapping.Difference{}
	back := map[string]any{}
	for _, n := range natives {
		back[n.Key] = pack.Comparable(n.Record, losses)
	}
	for _, file := range files {
		records, _ := splitRecords(file.Data)
		for _, data := range records {
			rec, key, err := pack.Record(data)
			if err != nil {
				continue // the report of the first run says so
			}
			if got, ok := back[key]; ok {
				out = append(out, mapping.Differences(pack.Comparable(rec, losses), got, "")...)
			}
		}
	}
	return out
}

func (t *roundtrip) write(w io.Writer) {
	fmt.Fprintf(w, "%d record(s) went to FHIR (%d resources) and came back\n", t.Records, t.Resources)
	if len(t.Losses) > 0 {
		fmt.Fprintln(w, "\nNot in FHIR, as the pack says")
		sort.Slice(t.Losses, func(i, j int) bool { return t.Losses[i].Field < t.Losses[j].Field })
		for _, l := range t.Losses {
			fmt.Fprintf(w, "  %s (%d): %s\n", l.Field, l.Count, l.Reason)
		}
	}
	if len(t.Changed)+len(t.Again) == 0 {
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
		fmt.Fprintf(w, "  row %d column %s %s: %s\n", p.Row, p.Column, p.Pointer, p.Text)
	}
	if len(t.Again) > 0 {
		fmt.Fprintln(w, "\nMapped again, these resources differ")
		writeResourceDiffs(w, t.Again)
	}
}
