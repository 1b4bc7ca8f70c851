package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"trellis/mapping"
)

const mapDiffHelp = `trellis map diff: what a change of records, or of a pack, changes in FHIR

Usage:
  trellis map diff --pack PACK [flags] OLD NEW
  trellis map diff --pack PACK --old-packs DIR [--old-pack PACK] [flags] FILE...

The first form maps two versions of the same records and shows what differs, in the records and in the resources. The
second maps the same records with an older version of the pack and with the present one: what a migration would change.
Nothing is written. OLD and NEW are files; of a CSV pack give folders that hold the files of a delivery.

Flags:
%s
Exit status: 0 no difference, 1 there are some, 2 wrong use.

Examples:
  trellis map diff --pack recovery-plan plan-march.json plan-april.json
  trellis map diff --pack house-stays --packs . --old-packs ../packs-2025 stays.csv
`

type mapDifferences struct {
	Records   []mapping.Difference   `json:"records"`
	Resources []mapping.ResourceDiff `json:"resources"`
}

func mapDiff(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("diff", mapDiffHelp)
	var older packsFolder
	fs.StringVar(&older.dir, "old-packs", "", "`DIR` with the older version of the pack")
	oldPack := fs.String("old-pack", "", "`PACK`: its name there, when it had another")
	if code, done := f.parse(fs, usage, args, 1, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map diff:", err)
		return 2
	}
	before := pack
	groups := [][]string{fs.Args(), fs.Args()}
	switch {
	case older.dir != "":
		if *oldPack == "" {
			*oldPack = f.pack
		}
		if before, err = older.load(*oldPack); err != nil {
			fmt.Fprintln(stderr, "trellis map diff: the older pack:", err)
			return 2
		}
	case fs.NArg() != 2:
		fmt.Fprintln(stderr, "trellis map diff: give an old and a new file, or --old-packs; `trellis map diff --help` has examples")
		return 2
	default:
		groups = [][]string{{fs.Arg(0)}, {fs.Arg(1)}}
	}
	diff, err := compareRuns(before, pack, env, groups)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map diff:", err)
		return 2
	}
	if f.report == "json" {
		err = writeIndented(stdout, diff)
	} else {
		diff.write(stdout, before, pack)
	}
	if err != nil || len(diff.Records)+len(diff.Resources) > 0 {
		return 1
	}
	return 0
}

func compareRuns(before, after *mapping.Pack, env mapping.Env, groups [][]string) (*mapDifferences, error) {
	var results [2]*mapping.Result
	var records [2]map[string]any
	for i, pack := range []*mapping.Pack{before, after} {
		files, err := readDelivery(groups[i])
		if err != nil {
			return nil, err
		}
		if results[i], err = mapAll(pack, env, files); err != nil {
			return nil, err
		}
		records[i] = map[string]any{}
		if pack.Format != "json" {
			continue
		}
		for _, file := range files {
			list, _ := mapping.SplitRecords(file.Data)
			for _, data := range list {
				if rec, key, err := pack.Record(data); err == nil {
					records[i][key] = rec
				}
			}
		}
	}
	resources, err := mapping.DiffResults(results[0], results[1])
	if err != nil {
		return nil, err
	}
	out := &mapDifferences{Records: []mapping.Difference{}, Resources: resources}
	if d := mapping.Differences(records[0], records[1], ""); d != nil {
		out.Records = d
	}
	return out, nil
}

func (d *mapDifferences) write(w io.Writer, before, after *mapping.Pack) {
	if before != after {
		fmt.Fprintf(w, "%s %s -> %s %s\n", before.Name, before.Version, after.Name, after.Version)
	}
	if len(d.Records)+len(d.Resources) == 0 {
		fmt.Fprintln(w, "No difference.")
		return
	}
	if len(d.Records) > 0 {
		fmt.Fprintln(w, "Native records")
		writeDifferences(w, d.Records, "  ")
	}
	if len(d.Resources) > 0 {
		fmt.Fprintln(w, "FHIR resources")
		writeResourceDiffs(w, d.Resources)
	}
}

func writeResourceDiffs(w io.Writer, list []mapping.ResourceDiff) {
	for _, r := range list {
		fmt.Fprintf(w, "  %s %s (%s)", r.Status, r.Reference, r.Slot)
		if len(r.Labels) > 0 {
			fmt.Fprintf(w, " labels %s", strings.Join(r.Labels, " "))
		}
		fmt.Fprintln(w)
		writeDifferences(w, r.Elements, "    ")
	}
}

func writeDifferences(w io.Writer, list []mapping.Difference, indent string) {
	for _, d := range list {
		fmt.Fprintf(w, "%s%s: %s -> %s\n", indent, d.Path, oneLine(d.Old), oneLine(d.New))
	}
}

// oneLine is a value on one line; the files are the reader's own.
func oneLine(v any) string {
	if v == nil {
		return "(absent)"
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	const most = 120
	if text := []rune(string(data)); len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(data)
}
