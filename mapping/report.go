package mapping

import (
	"sort"
)

// Report tells what became of the input: for whoever sent it, and for whoever wrote the pack. It names fields, rows
// and rules, never values.
type Report struct {
	Pack     string    `json:"pack"`
	Version  string    `json:"version"`
	Counts   Counts    `json:"counts"`
	Coverage []Field   `json:"coverage"`
	Problems []Problem `json:"problems"`
	Losses   []Loss    `json:"losses"`
}

// Counts are the sizes of a run.
type Counts struct {
	Records   int            `json:"records"`
	Rejected  int            `json:"rejected"`
	Resources int            `json:"resources"`
	ByType    map[string]int `json:"byType"`
}

// What became of a native field.
const (
	Carried    = "carried"
	Ignored    = "ignored"
	NotPresent = "not-present"
	NotCarried = "not-carried"
	Restated   = "restated"
)

// Field is what became of one native field over all records of a run.
type Field struct {
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	Present  int      `json:"present"`
	Elements []string `json:"elements,omitempty"` // FHIR elements it went to
	Reason   string   `json:"reason,omitempty"`   // why it did not
}

// Loss is what the FHIR side does not hold, so that it could not be given back.
type Loss struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// tally counts during a run: per native field how often it was there and which rules carried it.
type tally struct {
	pack    *Pack
	present []int
	carried []*leaf // by number; nil for those that nothing came of
}

func newTally(p *Pack) *tally {
	return &tally{pack: p, present: make([]int, len(p.fields.names)), carried: make([]*leaf, p.leaves+1)}
}

func (t *tally) carry(l *leaf) { t.carried[l.no] = l }

// coverage sums the tally up, field by field in the order of their names.
func (t *tally) coverage() ([]Field, []Loss) {
	n := len(t.present)
	elements := make([][]string, n)
	twoWay := make([]bool, n)
	for _, l := range t.carried {
		if l == nil {
			continue
		}
		for _, f := range l.fields {
			elements[f] = append(elements[f], l.element)
			twoWay[f] = twoWay[f] || !l.oneWay
		}
	}
	fields := make([]Field, 0, n)
	losses := []Loss{}
	for _, i := range t.pack.order {
		f := Field{Name: t.pack.fields.names[i], Present: t.present[i]}
		switch {
		case f.Present == 0:
			f.Status = NotPresent
		case len(elements[i]) == 0 && t.pack.joined[i]:
			f.Status, f.Reason = Restated, "says which rows belong together"
		case len(elements[i]) > 0:
			f.Status = Carried
			sort.Strings(elements[i])
			f.Elements = compact(elements[i])
			if why := t.pack.ignored[i]; why != "" {
				f.Reason = "where no rule carries it: " + why
			}
		case t.pack.restated[i] != "":
			f.Status, f.Reason = Restated, "says again what "+t.pack.restated[i]+" says, and is written anew on the way back"
		case t.pack.ignored[i] != "":
			f.Status, f.Reason = Ignored, t.pack.ignored[i]
		default:
			f.Status, f.Reason = NotCarried, "no rule of the mapping applied to it in this input; see the problems"
			if rule := t.pack.consulted[i]; rule != "" {
				f.Reason = "read to decide (" + rule + "); nothing of it stands in the output"
			}
		}
		fields = append(fields, f)
		switch {
		case f.Status == Ignored || f.Status == NotCarried:
			losses = append(losses, Loss{Field: f.Name, Reason: f.Reason, Count: f.Present})
		case f.Status == Carried && !twoWay[i]:
			losses = append(losses, Loss{Field: f.Name, Reason: "only shaped or derived other elements; cannot be given back", Count: f.Present})
		}
	}
	return fields, losses
}

func compact(s []string) []string {
	out := s[:0]
	for i, v := range s {
		if i == 0 || v != s[i-1] {
			out = append(out, v)
		}
	}
	return out
}

// finish writes the report of a run.
func (e *envState) finish(res *Result, problems []Problem, rejected int) {
	rep := &res.Report
	rep.Pack, rep.Version = e.tally.pack.Name, e.tally.pack.Version
	rep.Problems = problems
	if rep.Problems == nil {
		rep.Problems = []Problem{}
	}
	rep.Counts = Counts{Records: len(res.Records), Rejected: rejected, ByType: map[string]int{}}
	for i := range res.Records {
		for j := range res.Records[i].Resources {
			rep.Counts.Resources++
			rep.Counts.ByType[res.Records[i].Resources[j].Type]++
		}
	}
	rep.Coverage, rep.Losses = e.tally.coverage()
}
