package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"trellis/gateway/audit"
	"trellis/gateway/audit/logfile"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

const replayHelp = `trellis replay: make every decision of an audit export anew, and name those that differ

Usage:
  trellis replay FILE [--json] [--data DIR | --postgres DSN]

FILE comes from "trellis audit export". Each decision in it is made again from the consents, agreements, relationships, labels
and clinical times as they were recorded at the time of the decision, and compared: effect, basis, code, consents and
obligations. Decisions by rules of another version cannot be made anew and are counted apart, and so are erased events. Verify the
file first: "trellis audit verify" says whether it is the log.

Exit status: 0 all are the same, 1 some differ, 2 wrong use or an error.

Example:
  trellis audit export --out audit.ndjson && trellis replay audit.ndjson
`

func runReplay(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, replayHelp) }
	var where location
	where.flags(fs)
	asJSON := fs.Bool("json", false, "")
	if code, done := parseFlags(fs, args, stdout, replayHelp); done {
		return code
	}
	if fs.NArg() != 1 {
		fmt.Fprintln(stderr, "trellis replay: one FILE is required; see `trellis replay --help`")
		return 2
	}
	var report replayReport
	code := where.work("replay", stderr, func(ctx context.Context, s *store.Store) (err error) {
		file, err := os.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		report, err = replay(ctx, s, file, progressTo(stderr))
		return err
	})
	if code != 0 {
		return 2
	}
	if err := report.print(stdout, *asJSON); err != nil {
		return 2
	}
	return min(len(report.Differ), 1)
}

// replayReport is what a replay found.
type replayReport struct {
	Events  int            `json:"events"`
	Erased  int            `json:"erased"`
	Same    int            `json:"same"`
	Differ  []string       `json:"differ"`
	Skipped map[string]int `json:"skipped"`
}

// replay reads an export to its end. tell hears of every thousandth event.
func replay(ctx context.Context, s *store.Store, file io.Reader, tell func(events int)) (replayReport, error) {
	report := replayReport{Skipped: map[string]int{}, Differ: []string{}}
	lines := logfile.NewReader(file)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return report, nil
		}
		if err != nil {
			return report, fmt.Errorf("line %d: %w", lines.LineNumber(), err)
		}
		data := line.EventData()
		if line.Kind != logfile.KindLeaf && line.Kind != logfile.KindUnnumbered {
			continue
		}
		if data == nil {
			report.Erased++
			continue
		}
		events, err := audit.Events(data)
		if err != nil {
			return report, fmt.Errorf("line %d: %w", lines.LineNumber(), err)
		}
		for _, ev := range events {
			if report.Events++; report.Events%1000 == 0 {
				tell(report.Events)
			}
			r, err := release.Replay(ctx, s, ev)
			if err != nil {
				return report, fmt.Errorf("event %s: %w", ev.ID, err)
			}
			report.Same += r.Same
			report.Differ = append(report.Differ, r.Differ...)
			for why, n := range r.Skipped {
				report.Skipped[why] += n
			}
		}
	}
}

// progressTo tells of progress on a terminal.
func progressTo(w io.Writer) func(int) {
	return func(events int) { fmt.Fprintf(w, "trellis replay: %d events\n", events) }
}

func (r replayReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	for _, text := range r.Differ {
		if _, err := fmt.Fprintln(w, "DIFFERS:", text); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "%d events; %d decisions made anew are the same, %d differ\n", r.Events, r.Same, len(r.Differ)); err != nil {
		return err
	}
	if r.Erased > 0 {
		if _, err := fmt.Fprintf(w, "%d rows were erased\n", r.Erased); err != nil {
			return err
		}
	}
	for _, why := range slices.Sorted(maps.Keys(r.Skipped)) {
		if _, err := fmt.Fprintf(w, "%d not made anew: %s\n", r.Skipped[why], why); err != nil {
			return err
		}
	}
	return nil
}
