package access

import (
	"slices"

	"trellis/fhir/search"
)

// Limits are what a token leaves of a view, by resource type. A type that is not named is not seen, so that the zero
// Limits show nothing. They say nothing about what a principal may have: a Filter does, and they narrow it.
type Limits struct {
	Patient string // the launch patient, of clauses with Compartment
	Types   map[string][]Clause
	// Walled says that nothing outside the launch patient's compartment is reached: then references out of it are cut.
	Walled bool
}

// Clause is one way for a resource to be within a token: what its conditions ask holds. The zero Clause asks nothing.
type Clause struct {
	// Compartment asks that the resource be about the launch patient and nobody else, or about nobody and of a type
	// that is shared: a directory's, or one that describes a thing.
	Compartment bool
	Where       search.Condition // of a granular scope; nil asks nothing
}

// SharedTypes lists types whose resources stand outside the compartments' walls where they are about nobody: they
// describe a thing. The directory's types do so too.
func SharedTypes() []string { return []string{"Medication", "Device"} }

// SharedType reports whether a type is one of SharedTypes.
func SharedType(typ string) bool { return slices.Contains(SharedTypes(), typ) }

// Both lists the clauses of what lies within one of a and one of b.
func Both(a, b []Clause) []Clause {
	var out []Clause
	for _, x := range a {
		for _, y := range b {
			c := Clause{Compartment: x.Compartment || y.Compartment, Where: x.Where}
			if c.Where == nil {
				c.Where = y.Where
			} else if y.Where != nil {
				c.Where = search.And{x.Where, y.Where}
			}
			out = append(out, c)
		}
	}
	return out
}
