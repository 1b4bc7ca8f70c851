package search

import "sort"

// alias works out Reads and Target: a parameter whose rows other parameters of the type make anyway
// is not indexed itself. Custom parameters always are, because their rows come and go with them.
func (ps *parameters) alias() {
	for _, p := range ps.sorted {
		p.Reads, p.Target = []string{p.Code}, ""
	}
	for _, p := range ps.sorted {
		if p.Kind != KindComposite && p.Kind != KindSpecial && p.URL == "" {
			ps.sameRows(p)
		}
	}
	for _, p := range ps.sorted {
		if p.Kind != KindComposite && p.URL == "" && p.Indexed() && p.Target == "" {
			ps.unionOf(p)
		}
	}
	for _, p := range ps.sorted {
		p.Reads, p.Target = ps.resolved(p)
	}
	ps.aliasElements()
}

// resolved follows readers of readers to what is indexed.
func (ps *parameters) resolved(p *Parameter) (reads []string, target string) {
	if p.Kind == KindComposite || p.Indexed() {
		return p.Reads, p.Target
	}
	target = p.Target
	for _, code := range p.Reads {
		further, narrowed := ps.resolved(ps.byCode[code])
		if target == "" {
			target = narrowed
		}
		reads = append(reads, further...)
	}
	return reads, target
}

// keys is the set of a parameter's alternatives. With target the filter where(resolve() is T) that ends
// every alternative is taken off and named.
func (p *Parameter) keys() (keys map[string]bool, target string) {
	keys = make(map[string]bool, len(p.paths))
	for i, alt := range p.paths {
		stripped := path{deceased: alt.deceased, steps: append([]step(nil), alt.steps...)}
		t := ""
		if n := len(stripped.steps); n > 0 {
			t, stripped.steps[n-1].resolves = stripped.steps[n-1].resolves, ""
		}
		if i > 0 && t != target {
			return exactKeys(p), ""
		}
		target = t
		for _, k := range stripped.keys() {
			keys[k] = true
		}
	}
	return keys, target
}

func exactKeys(p *Parameter) map[string]bool {
	keys := make(map[string]bool, len(p.paths))
	for _, alt := range p.paths {
		for _, k := range alt.keys() {
			keys[k] = true
		}
	}
	return keys
}

// sameRows makes p read the first parameter of its kind with the same expression, or with the same
// expression but for the type references lead to.
func (ps *parameters) sameRows(p *Parameter) {
	keys, target := p.keys()
	for _, q := range ps.sorted {
		if q == p || q.Kind != p.Kind || q.URL != "" || !q.Indexed() {
			continue
		}
		other, narrowed := q.keys()
		if narrowed != "" && narrowed != target || !equalSets(keys, other) {
			continue
		}
		// Of two with equal rows the one first in the alphabet is indexed.
		if narrowed == target && q.Code > p.Code && !(p.Kind == KindReference && len(q.Targets) > len(p.Targets)) {
			continue
		}
		if narrowed == target && p.Kind == KindReference && len(q.Targets) < len(p.Targets) {
			continue
		}
		p.Reads = []string{q.Code}
		if narrowed != target {
			p.Target = target
		} else if len(p.Targets) == 1 && len(q.Targets) > 1 {
			p.Target = p.Targets[0]
		}
		return
	}
}

// unionOf makes p read other parameters when together they have exactly its alternatives.
func (ps *parameters) unionOf(p *Parameter) {
	want := exactKeys(p)
	if len(want) < 2 {
		return
	}
	var parts []*Parameter
	for _, q := range ps.sorted {
		if q == p || q.Kind != p.Kind || q.URL != "" || !q.Indexed() || len(q.Reads) > 1 {
			continue
		}
		if keys := exactKeys(q); len(keys) < len(want) && subset(keys, want) {
			parts = append(parts, q)
		}
	}
	sort.SliceStable(parts, func(i, j int) bool { return len(parts[i].paths) > len(parts[j].paths) })
	got := map[string]bool{}
	var reads []string
	for _, q := range parts {
		keys := exactKeys(q)
		if subset(keys, got) {
			continue
		}
		for k := range keys {
			got[k] = true
		}
		reads = append(reads, q.Code)
	}
	if len(got) == len(want) {
		sort.Strings(reads)
		p.Reads = reads
	}
}

func equalSets(a, b map[string]bool) bool { return len(a) == len(b) && subset(a, b) }

func subset(a, b map[string]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}
