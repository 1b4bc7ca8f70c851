package search

import "slices"

// Reaches lists the resource types a condition looks at besides its own: targets of chains, and types that refer here.
// Whoever asks must be allowed to search them.
func Reaches(c Condition) []string {
	var out []string
	add := func(types ...string) {
		for _, t := range types {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	switch c := c.(type) {
	case And:
		for _, x := range c {
			add(Reaches(x)...)
		}
	case Or:
		for _, x := range c {
			add(Reaches(x)...)
		}
	case Not:
		add(Reaches(c.Condition)...)
	case Chain:
		add(c.Target)
		add(Reaches(c.Where)...)
	case Typed:
		add(Reaches(c.Where)...)
	case Has:
		add(c.Type)
		add(Reaches(c.Where)...)
	}
	slices.Sort(out)
	return out
}
