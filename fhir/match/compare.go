package match

import (
	"slices"
	"strings"
)

// agreement is how one trait of two persons compares.
type agreement int

const (
	unsaid agreement = iota // one does not say
	differ
	partly
	agree
)

// Compare weighs what two persons share. Both names and both dates of birth that contradict each other never make more
// than a possible match, whatever else fits: twins share nearly all of it.
func Compare(asked, have Person, agencies Agencies) Result {
	name, birth := compareNames(asked.Names, have.Names), compareBirths(asked.BirthDate, have.BirthDate)
	photo, other := identifiers(asked, have)
	contacts := contacts(asked, have, agencies)
	points := min(photo*weightPhotoID, maxPhotoIDs)
	switch n := contacts + other; {
	case n > 1:
		points += maxContacts
	case n == 1:
		points += weightContact
	}
	points += [...]int{agree: weightName, partly: weightNamePartly}[name]
	points += [...]int{agree: weightBirth, partly: weightBirthPart}[birth]
	r := Result{Points: points, Grade: None}
	conflict := name == differ || birth == differ
	known := photo+other > 0
	switch {
	case known && !conflict && (name >= partly || birth >= partly || len(asked.Names) == 0 && asked.BirthDate == ""):
		r.Grade = Certain // an identifier of one system belongs to one person
	case points >= probableFrom && !conflict && name >= partly && birth >= partly:
		r.Grade = Probable
	case points >= possibleFrom && (name >= partly || birth == agree || known):
		r.Grade = Possible
	}
	return r
}

// identifiers counts shared identifiers: those one shows, if one of the two says so, and others.
func identifiers(a, b Person) (photo, other int) {
	shown := map[Identifier]bool{}
	for _, x := range a.Identifiers {
		for _, y := range b.Identifiers {
			if x.System == y.System && x.Value == y.Value {
				pair := Identifier{System: x.System, Value: x.Value}
				shown[pair] = shown[pair] || x.PhotoID || y.PhotoID
			}
		}
	}
	for _, s := range shown {
		if s {
			photo++
		} else {
			other++
		}
	}
	return photo, other
}

// contacts counts the ways to reach both: address, e-mail and telephone, each once. What is an agency's is nobody's.
func contacts(a, b Person, agencies Agencies) int {
	n := 0
	if slices.ContainsFunc(a.Phones, func(p string) bool { return !agencies.Phones[p] && slices.Contains(b.Phones, p) }) {
		n++
	}
	if slices.ContainsFunc(a.Emails, func(e string) bool { return slices.Contains(b.Emails, e) }) {
		n++
	}
	if slices.ContainsFunc(a.Addresses, func(x Address) bool {
		return !x.Shared && !agencies.Addresses[x.Key] && slices.ContainsFunc(b.Addresses, func(y Address) bool { return x.Key == y.Key && !y.Shared })
	}) {
		n++
	}
	return n
}

// compareNames takes the two names that fit best. Another family name is no contradiction: people marry.
func compareNames(a, b []Name) agreement {
	best, contradicted := unsaid, false
	for _, x := range a {
		for _, y := range b {
			got := x.compare(y)
			contradicted = contradicted || got == differ
			if got > differ {
				best = max(best, got)
			}
		}
	}
	if best == unsaid && contradicted {
		return differ
	}
	return best
}

func (n Name) compare(o Name) agreement {
	if same(n.Family, o.Given) && same(n.Given, o.Family) {
		return partly // written in each other's place
	}
	given := compareGiven(n.Given, o.Given)
	family := compareFamily(n.Family, o.Family)
	switch {
	case given == differ:
		return differ
	case given == unsaid || family == unsaid || family == differ:
		return unsaid
	}
	return min(given, family)
}

func same(a, b []string) bool { return len(a) > 0 && strings.Join(a, "") == strings.Join(b, "") }

// compareFamily takes one name of a double name for part of it.
func compareFamily(a, b []string) agreement {
	switch {
	case len(a) == 0 || len(b) == 0:
		return unsaid
	case same(a, b):
		return agree
	case within(a, b) || within(b, a):
		return partly
	}
	return differ
}

// within reports whether all words of a, which is more than a particle, are in b.
func within(a, b []string) bool {
	long := false
	for _, w := range a {
		if !slices.Contains(b, w) {
			return false
		}
		long = long || len(w) > 2
	}
	return long
}

// compareGiven compares first given names; an initial is part of a name, and one of several given names may be the one in use.
func compareGiven(a, b []string) agreement {
	switch {
	case len(a) == 0 || len(b) == 0:
		return unsaid
	case a[0] == b[0] || same(a, b):
		return agree
	case initial(a[0], b[0]) || initial(b[0], a[0]) || slices.Contains(a, b[0]) || slices.Contains(b, a[0]):
		return partly
	}
	return differ
}

func initial(short, long string) bool { return len(short) == 1 && strings.HasPrefix(long, short) }

// compareBirths takes a date that is known in part, or has day and month in each other's place, for part of it.
func compareBirths(a, b string) agreement {
	switch {
	case len(a) < 4 || len(b) < 4:
		return unsaid
	case a == b && len(a) == len("2006-01-02"):
		return agree
	case strings.HasPrefix(a, b) || strings.HasPrefix(b, a) || a == Transposed(b):
		return partly
	}
	return differ
}

// Transposed is a date with day and month in each other's place; "" when that is no other date.
func Transposed(date string) string {
	if len(date) != len("2006-01-02") || date[5:7] == date[8:10] || date[8:10] > "12" {
		return ""
	}
	return date[:5] + date[8:10] + "-" + date[5:7]
}
