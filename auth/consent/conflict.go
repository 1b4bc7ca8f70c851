package consent

import (
	"slices"
	"time"

	"trellis/fhir"
)

// Conflict is a disagreement of an instrument with another on file, for a person to settle: decisions go on by the rule that
// a refusal overrides a permit.
type Conflict struct {
	Code    string // stable: "permit-refused", "duplicate" or "supersedes-unknown"
	Consent string // id of the other instrument
	Text    string
}

// Conflicts lists what of the instruments on file an instrument disagrees with when it is recorded. Only what its own recorder
// or the operator recorded is looked at: of others' a recorder learns nothing.
func Conflicts(c Consent, onFile []Consent, at time.Time) []Conflict {
	var out []Conflict
	known := func(id string) bool {
		return slices.ContainsFunc(onFile, func(o Consent) bool { return o.ID == id && c.sees(o) })
	}
	for _, id := range c.Supersedes {
		if !known(id) {
			out = append(out, Conflict{"supersedes-unknown", id, "it takes the place of an instrument that is not on file here, or is another's"})
		}
	}
	if c.Status != "active" || c.Broken {
		return out
	}
	for _, o := range onFile {
		if o.ID == c.ID || !c.sees(o) || !o.stands(at) || slices.Contains(c.Supersedes, o.ID) || slices.Contains(o.Supersedes, c.ID) {
			continue
		}
		switch {
		case opposed(&c, &o):
			out = append(out, Conflict{"permit-refused", o.ID, "one permits what the other refuses, and neither takes the other's place: the refusal holds"})
		case c.Kind == o.Kind && c.Kind != "" && c.Root.Permit == o.Root.Permit && overlap(&c.Root, &o.Root):
			out = append(out, Conflict{"duplicate", o.ID, "an instrument of the same kind says something about the same already"})
		}
	}
	return out
}

func (c *Consent) sees(o Consent) bool { return o.Everywhere || o.Recorder == c.Recorder }

func (c *Consent) stands(at time.Time) bool {
	return c.Status == "active" && !c.Broken && (c.To.IsZero() || at.Before(c.To)) && c.Kind != KindOrder
}

// opposed reports whether a rule of one permits what a rule of the other refuses.
func opposed(a, b *Consent) bool {
	first, second := flat(a.Root, nil), flat(b.Root, nil)
	for i := range first {
		for j := range second {
			if first[i].Permit != second[j].Permit && overlap(&first[i], &second[j]) && contradicts(a, first[i]) && contradicts(b, second[j]) {
				return true
			}
		}
	}
	return false
}

// contradicts reports whether a rule counts in its instrument: what a restriction leaves open is no permit.
func contradicts(c *Consent, p Provision) bool {
	return !p.Permit || c.Kind != KindRestriction && c.Kind != KindSelfPay
}

// flat lists a rule and those in it, each with the conditions it has from the one around it.
func flat(p Provision, out []Provision) []Provision {
	out = append(out, p)
	for _, child := range p.Nested {
		if len(child.Actors)+len(child.Persons)+len(child.Classes)+len(child.Through) == 0 {
			child.Actors, child.Persons, child.Classes, child.Through = p.Actors, p.Persons, p.Classes, p.Through
		}
		if len(child.Purposes) == 0 {
			child.Purposes = p.Purposes
		}
		if len(child.Types) == 0 {
			child.Types = p.Types
		}
		if len(child.Labels) == 0 {
			child.Labels = p.Labels
		}
		if child.Period == nil {
			child.Period = p.Period
		}
		out = flat(child, out)
	}
	return out
}

// overlap reports whether two rules can be about the same recipient, purpose and content. Where it cannot be told, they are.
func overlap(a, b *Provision) bool {
	return meet(a.recipients(), b.recipients(), func(x, y string) bool { return x == y || class(x) != class(y) }) &&
		meet(a.Purposes, b.Purposes, func(x, y string) bool { return covers(x, y) || covers(y, x) }) &&
		meet(a.Types, b.Types, func(x, y string) bool { return x == y }) &&
		meet(a.Labels, b.Labels, func(x, y fhir.Coding) bool {
			return x.System != y.System || x.System == fhir.SystemConfidentiality || subsumes(x.Code, y.Code) || subsumes(y.Code, x.Code)
		}) &&
		meet(a.Codes, b.Codes, func(x, y fhir.Coding) bool { return x == y }) &&
		meet(a.Data, b.Data, func(x, y Data) bool { return x.Reference == y.Reference }) &&
		(a.Period == nil || b.Period == nil || a.Period.Lo < b.Period.Hi && b.Period.Lo < a.Period.Hi)
}

// meet reports whether two lists of conditions share anything; an empty one is any.
func meet[T any](a, b []T, same func(x, y T) bool) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x T) bool {
		return slices.ContainsFunc(b, func(y T) bool { return same(x, y) })
	})
}

// recipients lists whom a rule names; nobody when that is anybody or was not read whole.
func (p *Provision) recipients() []string {
	if p.Unread.Actors {
		return nil
	}
	out := slices.Concat(p.Actors, p.Persons)
	for _, c := range p.Classes {
		out = append(out, "class:"+string(c))
	}
	for _, by := range p.Through {
		out = append(out, "class:"+by.Organization)
	}
	return out
}

// class reports whether a recipient is one of those who are not named: a named one may be among them.
func class(recipient string) bool { return len(recipient) > 6 && recipient[:6] == "class:" }
