package mapping

import (
	"slices"
	"strings"
)

// didYouMean offers the candidate that is nearest to what was written, as the hint of a fault; "" when none is near
// enough to be what was meant.
func didYouMean(got string, among []string) string {
	if best := nearest(got, among); best != "" {
		return `did you mean "` + best + `"?`
	}
	return ""
}

// nearest is the candidate with the fewest typing mistakes between it and got, the first by name among equals.
func nearest(got string, among []string) string {
	sorted := slices.Clone(among)
	slices.Sort(sorted)
	limit, best := max(1, len(got)/3), ""
	for _, c := range sorted {
		if c == got || c == "" {
			continue
		}
		if d := distance(strings.ToLower(got), strings.ToLower(c)); d <= limit && (best == "" || d < limit) {
			limit, best = d, c
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// keysOf lists the keys of a map in order.
func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// oneOf offers a closed set of words as the hint of a fault: the nearest one, else all of them.
func oneOf(got string, words []string) string {
	if hint := didYouMean(got, words); hint != "" || len(words) == 0 {
		return hint
	}
	return "there are " + strings.Join(words, ", ")
}
