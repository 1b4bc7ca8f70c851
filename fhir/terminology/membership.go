package terminology

import "trellis/fhir"

// Answer is whether a value set has a code, as far as what is held tells.
type Answer int

// maxAsked bounds the clauses that are looked at for one code.
const maxAsked = 5000

// The answers. The zero value is that it cannot be told: the value set, or the system the code is of, is not held, or not
// in full.
const (
	Untold Answer = iota
	In
	Out
)

// Holds says whether a value set, by its canonical URL, has a code. Unlike Expand it needs of the definition only what the
// code's own system asks for: a value set over systems that are not held still tells about codes of others. A code without
// a system is looked for in all of them.
func (l *Library) Holds(valueSet string, code fhir.Coding) Answer {
	vs, err := l.Set(valueSet, "")
	if err != nil {
		return Untold
	}
	return l.holds(vs, code, 0, new(int))
}

// holds counts the clauses it looked at: value sets that include each other many times over come to no end otherwise.
func (l *Library) holds(vs *ValueSet, code fhir.Coding, depth int, asked *int) Answer {
	if vs.broken != "" || depth > maxImports {
		return Untold
	}
	if vs.isListed {
		return listed(vs.listed, code)
	}
	out := Out
	for _, c := range vs.include {
		if out != In {
			out = either(out, l.clauseHolds(vs, c, code, depth, asked))
		}
	}
	for _, c := range vs.exclude {
		if out == Out {
			break
		}
		switch l.clauseHolds(vs, c, code, depth, asked) {
		case In:
			out = Out
		case Untold:
			out = Untold
		}
	}
	return out
}

// either is In when one is, and Out when both are.
func either(a, b Answer) Answer {
	switch {
	case a == In || b == In:
		return In
	case a == Untold || b == Untold:
		return Untold
	}
	return Out
}

func listed(list []Member, code fhir.Coding) Answer {
	for _, m := range list {
		if m.Code == code.Code && (code.System == "" || m.System == code.System) {
			return In
		}
	}
	return Out
}

// clauseHolds answers for one include or exclude: all its parts must have the code.
func (l *Library) clauseHolds(vs *ValueSet, c clause, code fhir.Coding, depth int, asked *int) Answer {
	if *asked += 1 + len(c.concepts)/1000; *asked > maxAsked {
		return Untold
	}
	out := In
	if c.system != "" {
		out = l.systemHolds(vs, c, code)
	}
	for _, url := range c.sets {
		if out == Out {
			return Out
		}
		if *asked++; *asked > maxAsked {
			return Untold
		}
		part, err := l.Set(url, "")
		if err != nil {
			out = Untold
			continue
		}
		switch l.holds(part, code, depth+1, asked) {
		case Out:
			return Out
		case Untold:
			out = Untold
		}
	}
	return out
}

func (l *Library) systemHolds(vs *ValueSet, c clause, code fhir.Coding) Answer {
	if code.System != "" && code.System != c.system {
		return Out
	}
	if len(c.concepts) > 0 {
		return listed(c.concepts, code)
	}
	cs, err := l.System(c.system, c.version)
	if err != nil {
		return Untold
	}
	concept, ok := cs.Concept(code.Code)
	switch {
	case !ok && cs.complete:
		return Out
	case !ok || !cs.complete && len(c.filters) > 0:
		return Untold
	case concept.Inactive && !vs.inactive:
		return Out
	}
	for _, f := range c.filters {
		kept, err := cs.filter([]*Concept{concept}, f)
		if err != nil {
			return Untold
		}
		if len(kept) == 0 {
			return Out
		}
	}
	return In
}
