package mapping

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"
)

// WriteText writes the report for people.
func (rep *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s %s: %d record(s) mapped, %d rejected, %d resource(s)\n",
		rep.Pack, rep.Version, rep.Counts.Records, rep.Counts.Rejected, rep.Counts.Resources)
	types := make([]string, 0, len(rep.Counts.ByType))
	for t := range rep.Counts.ByType {
		types = append(types, t)
	}
	sort.Strings(types)
	for _, t := range types {
		fmt.Fprintf(b, "  %5d  %s\n", rep.Counts.ByType[t], t)
	}
	rep.writeProblems(b)
	rep.writeFields(b, Carried, "Carried", func(f Field) string { return strings.Join(f.Elements, ", ") })
	rep.writeFields(b, Restated, "Restating others", func(f Field) string { return f.Reason })
	rep.writeFields(b, Ignored, "Ignored on purpose", func(f Field) string { return f.Reason })
	rep.writeFields(b, NotCarried, "Not carried", func(f Field) string { return f.Reason })
	absent := 0
	for _, f := range rep.Coverage {
		if f.Status == NotPresent {
			absent++
		}
	}
	if absent > 0 {
		fmt.Fprintf(b, "\n%d further field(s) of the pack had no value in this input.\n", absent)
	}
	return b.Flush()
}

func (rep *Report) writeProblems(b *bufio.Writer) {
	if len(rep.Problems) == 0 {
		fmt.Fprint(b, "\nNo problems.\n")
		return
	}
	fmt.Fprintf(b, "\nProblems (%d)\n", len(rep.Problems))
	for _, p := range rep.Problems {
		fmt.Fprintf(b, "  %s: %s: %s\n", p.place(), p.Code, p.Text)
	}
}

func (rep *Report) writeFields(b *bufio.Writer, status, title string, say func(Field) string) {
	open := false
	for _, f := range rep.Coverage {
		if f.Status != status {
			continue
		}
		if !open {
			fmt.Fprintf(b, "\n%s\n", title)
			open = true
		}
		fmt.Fprintf(b, "  %s (%d): %s\n", f.Name, f.Present, say(f))
	}
}
