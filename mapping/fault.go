package mapping

import (
	"fmt"
	"sort"
	"strings"
)

// A Fault is one mistake in a pack, at the place where its author can mend it. Line is 0 when the fault is the
// file's as a whole.
type Fault struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
	// Hint is how to mend it, where that can be guessed: the name that was probably meant, or what to write instead.
	Hint string `json:"hint,omitempty"`
}

func (f Fault) String() string {
	text := f.Text
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, text)
	}
	return f.File + ": " + text
}

// LoadError lists every fault found in a pack. Packs hold no patient data, so its text may quote them.
type LoadError struct {
	Pack   string
	Faults []Fault
}

func (e *LoadError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mapping: pack %s has %d fault(s)", e.Pack, len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n" + f.String())
	}
	return b.String()
}

// faults collects while loading goes on, so that an author sees everything in one run.
type faults struct{ list []Fault }

func (f *faults) add(file string, line int, format string, args ...any) {
	f.hint(file, line, "", format, args...)
}

// hint adds a fault with what would mend it.
func (f *faults) hint(file string, line int, hint, format string, args ...any) {
	f.list = append(f.list, Fault{File: file, Line: line, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// err returns nil or a *LoadError with the faults in the order of files and lines.
func (f *faults) err(pack string) error {
	if len(f.list) == 0 {
		return nil
	}
	return &LoadError{Pack: pack, Faults: inOrder(f.list)}
}

// inOrder sorts faults by file and line and takes out those found twice, as in a file that two mappings include.
func inOrder(list []Fault) []Fault {
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].File != list[j].File {
			return list[i].File < list[j].File
		}
		return list[i].Line < list[j].Line
	})
	seen := map[Fault]bool{}
	out := list[:0]
	for _, f := range list {
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// A Problem names something in the input that could not be taken over, where it stands and why. It never holds the
// value itself: problems are printed, logged and sent back.
type Problem struct {
	// Code is one of a closed set per pack and engine, e.g. "schema", "unmapped-value", "bad-date".
	Code string `json:"code"`
	// Pointer is the RFC 6901 JSON pointer of the value in a JSON record.
	Pointer string `json:"pointer,omitempty"`
	// File, Row and Column stand for a value of a CSV file; the header is row 1.
	File   string `json:"file,omitempty"`
	Row    int    `json:"row,omitempty"`
	Column string `json:"column,omitempty"`
	// Record counts the records of a JSON file that holds several, from 1.
	Record int `json:"record,omitempty"`
	// Keyword is the JSON Schema keyword that failed.
	Keyword string `json:"keyword,omitempty"`
	// Rule is the file and line of the mapping rule that spoke up.
	Rule string `json:"rule,omitempty"`
	// Text says in plain words what is wrong and what was done.
	Text string `json:"text"`
	// Dropped tells that the thing at this place was not carried because of the problem.
	Dropped bool `json:"dropped,omitempty"`
}

// place is where the problem stands, for people.
func (p Problem) place() string {
	switch {
	case p.Record > 0:
		return strings.TrimSpace(fmt.Sprintf("%s record %d %s", p.File, p.Record, p.Pointer))
	case p.File != "" && p.Pointer != "":
		return p.File + " " + p.Pointer
	case p.Row > 0 && p.Column != "":
		return fmt.Sprintf("%s row %d column %s", p.File, p.Row, p.Column)
	case p.Row > 0:
		return fmt.Sprintf("%s row %d", p.File, p.Row)
	case p.File != "" && p.Column != "":
		return fmt.Sprintf("%s column %s", p.File, p.Column)
	case p.File != "":
		return p.File
	case p.Pointer != "":
		return p.Pointer
	}
	return "record"
}

// InvalidError says that a record or set of files cannot be mapped at all.
type InvalidError struct{ Problems []Problem }

func (e *InvalidError) Error() string {
	if len(e.Problems) == 0 {
		return "mapping: input cannot be mapped"
	}
	p := e.Problems[0]
	s := fmt.Sprintf("mapping: input cannot be mapped: %s: %s", p.place(), p.Text)
	if n := len(e.Problems) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}
