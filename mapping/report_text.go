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
	rep.writeFields(b, Carried, "Carried", func(f Field) string {
		if f.Reason == "" {
			return strings.Join(f.Elements, ", ")
		}
		return strings.Join(f.Elements, ", ") + " (" + f.Reason + ")"
	})
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
	for _, g := range alike(rep.Problems) {
		more := ""
		if g.count > 1 {
			more = fmt.Sprintf(" (and %d more like it)", g.count-1)
		}
		fmt.Fprintf(b, "  %s: %s: %s%s\n", g.first.place(), g.first.Code, g.first.Text, more)
	}
}

// problemGroup are the problems that say the same of the same field, of which a large delivery has many.
type problemGroup struct {
	first Problem
	count int
}

// alike groups problems, in the order of the first of each; the JSON form of a report has every one.
func alike(list []Problem) []problemGroup {
	type kind struct{ code, text, file, column, pointer string }
	at := map[kind]int{}
	var out []problemGroup
	for _, p := range list {
		k := kind{p.Code, p.Text, p.File, p.Column, withoutIndices(p.Pointer)}
		i, seen := at[k]
		if !seen {
			i = len(out)
			at[k] = i
			out = append(out, problemGroup{first: p})
		}
		out[i].count++
	}
	return out
}

// withoutIndices takes the positions in lists out of a JSON pointer.
func withoutIndices(ptr string) string {
	segs := strings.Split(ptr, "/")
	for i, s := range segs {
		if digits(s) {
			segs[i] = ""
		}
	}
	return strings.Join(segs, "/")
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
