// Package match compares what is known of a person with a Patient: the weights of HL7's Interoperable Digital Identity and
// Patient Matching guide (http://hl7.org/fhir/us/identity-matching), with one difference that recovery support needs. People
// here share shelters, houses and their telephones, so an address or number of an agency weighs nothing, and address and
// telephone alone never make a match.
//
// It finds no candidates and decides no access: whoever calls it hands in records it may see. It is pure.
package match

import (
	"slices"
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
)

// Weights, and the score from which a match may be proposed (the guide's levels 1 and 2).
const (
	weightPhotoID    = 5 // passport, driver's licence, state id
	maxPhotoIDs      = 10
	weightContact    = 4 // address, e-mail, telephone, other identifier
	maxContacts      = 5 // two or more of those
	weightName       = 3
	weightNamePartly = 2
	weightBirth      = 2
	weightBirthPart  = 1
	probableFrom     = 10
	possibleFrom     = 5
	mostPoints       = maxPhotoIDs + maxContacts + weightName + weightBirth
)

// Person is what is compared of a Patient.
type Person struct {
	Names       []Name
	BirthDate   string // as FHIR writes it, whole or in part
	Identifiers []Identifier
	Phones      []string // digits
	Emails      []string
	Addresses   []Address
}

// Name is one name, folded.
type Name struct{ Family, Given []string }

// Identifier is an identifier with a system. PhotoID says that it is of a kind one shows.
type Identifier struct {
	System, Value string
	PhotoID       bool
}

// Address is an address in a form that can be compared; Line is its first line as it is indexed. Shared says that many may live there.
type Address struct {
	Key, Line string
	Shared    bool
}

// Agencies is what is known to belong to an agency and so to no one person.
type Agencies struct{ Addresses, Phones map[string]bool }

// Grade is http://terminology.hl7.org/CodeSystem/match-grade.
type Grade string

// The grades that are given; what fits less is no match.
const (
	Certain  Grade = "certain"
	Probable Grade = "probable"
	Possible Grade = "possible"
	None     Grade = "certainly-not"
)

// Result is how well two persons fit.
type Result struct {
	Points int
	Grade  Grade
}

// Score is from 0 to 1, in the order of grades and within a grade of points.
func (r Result) Score() float64 {
	share := float64(r.Points) / mostPoints
	switch r.Grade {
	case Certain:
		return 0.9 + 0.1*share
	case Probable:
		return 0.6 + 0.3*share
	case Possible:
		return 0.6 * share
	}
	return 0
}

// Read takes from a Patient what is compared.
func Read(patient fhir.Node) Person {
	p := Person{BirthDate: patient.Get("birthDate").Text()}
	for _, n := range patient.Get("name").List() {
		name := Name{Family: words(n.Get("family").Text())}
		for _, g := range n.Get("given").List() {
			name.Given = append(name.Given, words(g.Text())...)
		}
		if len(name.Family)+len(name.Given) > 0 {
			p.Names = append(p.Names, name)
		}
	}
	for _, n := range patient.Get("identifier").List() {
		id := Identifier{System: n.Get("system").Text(), Value: squeezed(n.Get("value").Text())}
		for _, c := range n.Path("type", "coding").List() {
			switch c.Get("code").Text() {
			case "PPN", "DL", "STID":
				id.PhotoID = true
			}
		}
		if id.System != "" && id.Value != "" {
			p.Identifiers = append(p.Identifiers, id)
		}
	}
	for _, n := range patient.Get("telecom").List() {
		switch n.Get("system").Text() {
		case "phone", "sms":
			if phone := Phone(n.Get("value").Text()); phone != "" {
				p.Phones = append(p.Phones, phone)
			}
		case "email":
			p.Emails = append(p.Emails, strings.ToLower(strings.TrimSpace(n.Get("value").Text())))
		}
	}
	for _, n := range patient.Get("address").List() {
		if a, ok := ReadAddress(n); ok {
			p.Addresses = append(p.Addresses, a)
		}
	}
	return p
}

// Phone is a telephone number as its digits, without the United States' country code; "" for what is none.
func Phone(text string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
	if len(digits) == 11 && digits[0] == '1' {
		digits = digits[1:]
	}
	if len(digits) < 7 {
		return ""
	}
	return digits
}

// ReadAddress makes an Address comparable; ok is false when it names no street and place.
func ReadAddress(n fhir.Node) (a Address, ok bool) {
	lines := n.Get("line").List()
	if len(lines) == 0 {
		return a, false
	}
	place := n.Get("postalCode").Text()
	if place = squeezed(place); len(place) > 5 {
		place = place[:5]
	}
	if place == "" {
		place = squeezed(n.Get("city").Text())
	}
	a.Line = lines[0].Text()
	a.Shared = n.Get("use").Text() == "temp"
	for _, line := range lines {
		a.Shared = a.Shared || forMany(line.Text())
	}
	street := words(a.Line)
	for i, w := range street {
		street[i] = abbreviated(w)
	}
	a.Key = strings.Join(street, " ") + "|" + place
	return a, len(street) > 0 && place != ""
}

// forMany reports whether a line of an address says that it is not one person's.
func forMany(line string) bool {
	folded := search.Fold(line)
	return slices.ContainsFunc([]string{"shelter", "rescue mission", "homeless", "general delivery", "c/o", "no fixed", "transitional", "halfway", "sober living", "recovery house"},
		func(mark string) bool { return strings.Contains(folded, mark) })
}

// abbreviated is a word of a street as the United States Postal Service writes it.
func abbreviated(w string) string {
	for _, pair := range [][2]string{{"street", "st"}, {"avenue", "ave"}, {"road", "rd"}, {"boulevard", "blvd"}, {"drive", "dr"}, {"lane", "ln"}, {"court", "ct"}, {"apartment", "apt"}, {"north", "n"}, {"south", "s"}, {"east", "e"}, {"west", "w"}} {
		if w == pair[0] {
			return pair[1]
		}
	}
	return w
}

// words folds a text and cuts it at whatever is no letter or digit: a hyphen is a space.
func words(text string) []string {
	return strings.FieldsFunc(search.Fold(text), func(r rune) bool { return strings.ContainsRune(" -.,'’/#", r) })
}

// squeezed is a text without case, accents, spaces and hyphens.
func squeezed(text string) string { return strings.Join(words(text), "") }

// Enough reports whether a person is described well enough to look for: by an identifier, or by a whole name with a date of birth or
// a way to reach them. Address and telephone without a name are not.
func (p Person) Enough() bool {
	if len(p.Identifiers) > 0 {
		return true
	}
	named := slices.ContainsFunc(p.Names, func(n Name) bool { return len(n.Family) > 0 && len(n.Given) > 0 })
	return named && (len(p.BirthDate) >= 4 || len(p.Phones)+len(p.Emails)+len(p.Addresses) > 0)
}
