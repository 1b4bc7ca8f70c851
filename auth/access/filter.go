package access

import (
	"math"
	"slices"
	"strings"
	"time"

	"trellis/auth/consent"
	"trellis/auth/label"
)

// NumberedSegment is a segment with the number the store knows it by.
type NumberedSegment struct {
	No      int64
	Segment label.Segment
}

// Filter is what a query may see. A store compiles it into every statement; the zero Filter sees nothing.
// With grants taken for the row's patient and segment, this organisation, purpose and now:
//
//	visible(row) = row.seg in Own
//	            or a Permit grant for the row's type
//	            or (row.seg in Open or a Permit grant for any type)
//	               and no Deny grant for any type or the row's type
//
// A Permit grant counts where the row's clinical period lies within the grant's, a Deny grant where the
// two overlap. For a person about one record, and in an emergency, the view ends at that record. Organization is then the
// person whom consents name, who may have grants, or nobody:
//
//	visible(row) = row.seg in Own
//	            or row is about Patient and nobody else, and as above with Whole for Open
//	            or Things, and row is about nobody and of ThingType, and row.seg in Whole
//
// Limits, where there are any, narrow either further.
type Filter struct {
	Organization string
	Purpose      string
	Own          []int64
	Open         []int64
	Patient      string  // of a patient, who acts for one, and in an emergency: a Patient id
	Whole        []int64 // of that record, and of things
	Things       bool    // of a person: records of ThingType about nobody are seen too
	Parts        bool    // of a read by id: what may be told in part is seen
	Limits       *Limits // what a token leaves of all this; nil: all
}

// Walled reports whether a token confines the view to one patient's compartment. Then what an organisation's own records
// say of other patients is not told either.
func (f Filter) Walled() bool { return f.Limits != nil && f.Limits.Walled }

// Partition sorts the segments of a deployment for a principal at an instant: Own and directory segments are visible
// whatever patients agreed, Open ones unless a patient's consent denies, all others by grant only.
func Partition(p Principal, segments []NumberedSegment, terms Terms, now time.Time) Filter {
	f := Filter{Organization: p.Organization.ID, Purpose: p.Purpose}
	switch {
	case p.Personal():
		f = Filter{Organization: p.grantee(), Purpose: p.Purpose, Patient: p.Patient, Things: true, Whole: whole(p, p.Patient, segments, terms, now)}
	case slices.Contains(EmergencyPurposes(), p.Purpose):
		f.Patient, f.Whole = p.Emergency.Patient, whole(p, p.Emergency.Patient, segments, terms, now)
	}
	for _, s := range segments {
		d := Decide(Request{Principal: p, Segment: s.Segment, Period: openPeriod(), Terms: terms, Now: now})
		switch {
		case d.Effect != Permit:
		case d.Basis == "own-record" || d.Basis == "directory":
			f.Own = append(f.Own, s.No)
		case f.Patient == "":
			f.Open = append(f.Open, s.No)
		}
	}
	return f
}

func openPeriod() consent.Period { return consent.Period{Lo: math.MinInt64, Hi: math.MaxInt64} }

// Grant is what one patient's facts add to the rules, or take away, for one organisation and purpose.
type Grant struct {
	Organization string
	Purpose      string
	Segment      int64
	ResourceType string // "" for any
	Effect       Effect
	Part         bool           // a Permit that reaches a part of the record only: for reads by id
	From, To     int64          // microseconds, From <= t < To; the extremes are open ends
	Period       consent.Period // clinical times the grant reaches
}

// Actor is an organisation with the purposes its clients may ask for.
type Actor struct {
	Organization Organization
	Purposes     []string
}

// Materialize computes the grants of one patient by asking Decide at every instant its answer can
// change, for every actor, purpose and segment, and for every person an instrument names. A row exists only where the
// answer differs from Partition's, or, for a type an instrument names, from the answer for other types. What may be told
// in part only is not granted: a query would match the rest.
func Materialize(patient string, facts Facts, actors []Actor, segments []NumberedSegment, terms Terms) []Grant {
	if len(facts.Consents) == 0 && len(facts.Relationships) == 0 {
		return nil
	}
	m := materializer{patient: patient, facts: facts}
	m.types, m.periods = consent.MentionedTypes(facts.Consents), mentionedPeriods(facts.Consents)
	for _, a := range actors {
		m.terms = terms.With(a.Organization.ID)
		m.spans = spans(facts, m.terms)
		for _, purpose := range a.Purposes {
			for _, s := range segments {
				m.pair(Principal{Organization: a.Organization, Purpose: purpose}, s)
			}
		}
	}
	m.terms = terms.With("")
	m.spans = spans(facts, m.terms)
	for _, person := range append(persons(facts.Consents), OtherPerson, unknownPerson) {
		for _, purpose := range []string{"PATRQT", "FAMRQT"} {
			for _, s := range segments {
				m.pair(Principal{Purpose: purpose, Capacity: Proxy, Patient: patient, Person: strings.TrimSuffix(person, unknownPerson)}, s)
			}
		}
	}
	return m.out
}

// Grantees of grants that are no organisations. OtherPerson is any proxy no instrument names; unknownPerson is one of whom
// nothing but the account is known.
const (
	OtherPerson   = "RelatedPerson/another"
	unknownPerson = "unknown-person"
)

// grantee is whose grants a principal has; "" for who has none. Of a proxy see Grantee.
func (p Principal) grantee() string {
	switch {
	case p.Capacity == Proxy && p.Person == "":
		return unknownPerson
	case p.Capacity == Proxy:
		return p.Person
	case p.Personal():
		return ""
	}
	return p.Organization.ID
}

// Grantee is whose grants of one patient a principal has: a proxy no instrument of the patient names has those of OtherPerson.
func (p Principal) Grantee(facts Facts) string { return Grantee(p.grantee(), facts) }

// Grantee is Principal.Grantee for the Organization of a Filter.
func Grantee(organization string, facts Facts) string {
	if strings.HasPrefix(organization, "RelatedPerson/") && !slices.Contains(persons(facts.Consents), organization) {
		return OtherPerson
	}
	return organization
}

// persons lists who is named in the instruments.
func persons(consents []consent.Consent) []string {
	var out []string
	for p := range consent.Provisions(consents) {
		out = append(out, p.Persons...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

type materializer struct {
	patient string
	facts   Facts
	terms   Terms
	types   []string
	periods []consent.Period
	spans   []span
	out     []Grant
}

// span is a stretch of time in which no fact changes; at is an instant inside it.
type span struct {
	from, to int64
	at       time.Time
}

func spans(f Facts, t Terms) []span {
	points := breakpoints(f, t)
	if len(points) == 0 {
		return []span{{math.MinInt64, math.MaxInt64, time.Time{}}}
	}
	out := []span{{math.MinInt64, points[0].UnixMicro(), points[0].Add(-time.Microsecond)}}
	for i, p := range points {
		to := int64(math.MaxInt64)
		if i+1 < len(points) {
			to = points[i+1].UnixMicro()
		}
		out = append(out, span{p.UnixMicro(), to, p})
	}
	return out
}

// parts grants what an order opens a part of.
func (m *materializer) parts(r Request, to string, sp span, segment int64) {
	limits := func(c consent.Consent) bool { return len(c.Root.Elements) > 0 }
	if !slices.ContainsFunc(m.facts.Consents, limits) {
		return
	}
	r.Facts = m.facts
	for _, typ := range append([]string{""}, m.types...) {
		for _, c := range m.periods {
			if r.ResourceType, r.Period = typ, c; Decide(r).Has(ObligeElements) {
				m.out = append(m.out, Grant{Organization: to, Purpose: r.Principal.Purpose, Segment: segment, ResourceType: typ, Effect: Permit, Part: true, From: sp.from, To: sp.to, Period: c})
			}
		}
	}
}

func (m *materializer) pair(p Principal, s NumberedSegment) {
	request := Request{Principal: p, Segment: s.Segment, Patient: m.patient, Period: openPeriod(), Terms: m.terms}
	holder := p.grantee()
	for _, sp := range m.spans {
		request.Now = sp.at
		base := Decide(request)
		if base.Basis == "own-record" || base.Basis == "directory" {
			return
		}
		ask := func(typ string, period consent.Period) Effect {
			r := request
			r.ResourceType, r.Period, r.Facts = typ, period, m.facts
			return queried(Decide(r))
		}
		grant := func(typ string, e Effect, period consent.Period) {
			m.out = append(m.out, Grant{Organization: holder, Purpose: p.Purpose, Segment: s.No,
				ResourceType: typ, Effect: e, From: sp.from, To: sp.to, Period: period})
		}
		m.parts(request, holder, sp, s.No)
		m.differing(func(c consent.Period) (Effect, Effect) { return ask("", c), queried(base) }, func(e Effect, c consent.Period) { grant("", e, c) })
		for _, typ := range m.types {
			m.differing(func(c consent.Period) (Effect, Effect) { return ask(typ, c), ask("", c) }, func(e Effect, c consent.Period) { grant(typ, e, c) })
		}
	}
}

// queried is a decision's effect on queries: what may be told in part only is not found by them.
func queried(d Decision) Effect {
	if d.Has(ObligeElements) {
		return Deny
	}
	return d.Effect
}

// differing grants the periods in which an answer differs from the one it would be without: permits as
// the widest periods, since all within them is permitted; denials as the narrowest, since all that
// touches them is denied.
func (m *materializer) differing(ask func(consent.Period) (answer, without Effect), grant func(Effect, consent.Period)) {
	var permitted, denied []consent.Period
	for _, c := range m.periods { // widest first
		if answer, without := ask(c); answer == Permit && without == Deny && !slices.ContainsFunc(permitted, func(p consent.Period) bool { return p.Lo <= c.Lo && c.Hi <= p.Hi }) {
			permitted = append(permitted, c)
			grant(Permit, c)
		}
	}
	for _, c := range slices.Backward(m.periods) {
		if answer, without := ask(c); answer == Deny && without == Permit && !slices.ContainsFunc(denied, func(p consent.Period) bool { return p.Lo < c.Hi && c.Lo < p.Hi }) {
			denied = append(denied, c)
			grant(Deny, c)
		}
	}
}

// mentionedPeriods lists every period between two of the instants at which data periods of the instruments begin or end, widest
// first. Whatever a record's own period is, the narrowest of these around it lies in, and touches, the same data periods.
func mentionedPeriods(consents []consent.Consent) (periods []consent.Period) {
	bounds := []int64{math.MinInt64, math.MaxInt64}
	for p := range consent.Provisions(consents) {
		if p.Period != nil {
			bounds = append(bounds, p.Period.Lo, p.Period.Hi)
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	for width := len(bounds) - 1; width > 0; width-- {
		for i := 0; i+width < len(bounds); i++ {
			periods = append(periods, consent.Period{Lo: bounds[i], Hi: bounds[i+width]})
		}
	}
	return periods
}
