package mapping

import (
	"sort"
	"strings"
)

// Rejected is the result of input that could not be mapped: nothing but a report of these problems. With no problems
// it is an empty result to Add others to.
func (p *Pack) Rejected(problems []Problem) *Result {
	res := &Result{}
	es := p.prepare(Env{})
	rejected := 0
	if len(problems) > 0 {
		rejected = 1
	}
	es.finish(res, problems, rejected)
	return res
}

// Add puts another result of the same pack behind this one. File and record (counted from 1, 0 when the file is one
// record) go into those problems that do not name a file yet.
func (r *Result) Add(other *Result, file string, record int) {
	r.Records = append(r.Records, other.Records...)
	if r.base == "" {
		r.base = other.base
	}
	for _, p := range other.Report.Problems {
		if p.File == "" {
			p.File, p.Record = file, record
		}
		r.Report.Problems = append(r.Report.Problems, p)
	}
	a, b := &r.Report, &other.Report
	a.Counts.Records += b.Counts.Records
	a.Counts.Rejected += b.Counts.Rejected
	a.Counts.Resources += b.Counts.Resources
	for t, n := range b.Counts.ByType {
		a.Counts.ByType[t] += n
	}
	for i := range a.Coverage {
		a.Coverage[i] = a.Coverage[i].plus(b.Coverage[i])
	}
	a.Losses = mergeLosses(a.Losses, b.Losses)
}

// plus adds up what two runs say of one field: carried once is carried.
func (f Field) plus(g Field) Field {
	out := f
	out.Present += g.Present
	rank := map[string]int{NotPresent: 0, NotCarried: 1, Ignored: 2, Restated: 3, Carried: 4}
	if rank[g.Status] > rank[f.Status] {
		out.Status, out.Reason = g.Status, g.Reason
	}
	out.Elements = append(append([]string(nil), f.Elements...), g.Elements...)
	sort.Strings(out.Elements)
	out.Elements = compact(out.Elements)
	return out
}

func mergeLosses(a, b []Loss) []Loss {
	for _, l := range b {
		found := false
		for i := range a {
			if a[i].Field == l.Field && a[i].Reason == l.Reason {
				a[i].Count += l.Count
				found = true
				break
			}
		}
		if !found {
			a = append(a, l)
		}
	}
	return a
}

// Check drops every record that holds a resource ok refuses, and reports it. It is how a caller adds a structural
// check of its own; the engine has none.
func (r *Result) Check(ok func(Resource) bool) {
	kept := r.Records[:0]
	for _, rec := range r.Records {
		bad := ""
		for _, res := range rec.Resources {
			if !ok(res) {
				slot, _, _ := strings.Cut(res.Slot, ":") // what follows are keys of the record
				bad = res.Type + " (" + slot + ")"
				break
			}
		}
		if bad == "" {
			kept = append(kept, rec)
			continue
		}
		r.Report.Problems = append(r.Report.Problems, Problem{
			Code: "invalid-fhir", Text: "a record gave a " + bad + " that is not valid FHIR R4; the record was left out", Dropped: true})
		r.Report.Counts.Rejected++
		r.Report.Counts.Records--
		for _, res := range rec.Resources {
			r.Report.Counts.Resources--
			r.Report.Counts.ByType[res.Type]--
		}
	}
	r.Records = kept
}
