package access

import (
	"math"
	"slices"
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
// A grant counts only where the row's clinical period lies within the grant's.
type Filter struct {
	Organization string
	Purpose      string
	Own          []int64
	Open         []int64
}

// Partition sorts the segments of a deployment for a principal: Own and directory segments are visible
// whatever patients agreed, Open ones unless a patient's consent denies, all others by grant only.
func Partition(p Principal, segments []NumberedSegment) Filter {
	f := Filter{Organization: p.Organization.ID, Purpose: p.Purpose}
	for _, s := range segments {
		d := Decide(Request{Principal: p, Segment: s.Segment, Period: openPeriod()})
		switch {
		case d.Effect != Permit:
		case d.Basis == "own-record" || d.Basis == "directory":
			f.Own = append(f.Own, s.No)
		default:
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
	From, To     int64          // microseconds, From <= t < To; the extremes are open ends
	Period       consent.Period // clinical times the grant reaches
}

// Actor is an organisation with the purposes its clients may ask for.
type Actor struct {
	Organization Organization
	Purposes     []string
}

// Materialize computes the grants of one patient by asking Decide at every instant its answer can
// change, for every actor, purpose and segment. A row exists only where the answer differs from
// Partition's, or, for a type an instrument names, from the answer for other types.
func Materialize(facts Facts, actors []Actor, segments []NumberedSegment) []Grant {
	if len(facts.Consents) == 0 && len(facts.Relationships) == 0 {
		return nil
	}
	m := materializer{facts: facts, spans: spans(facts)}
	m.types, m.periods = mentioned(facts.Consents)
	for _, a := range actors {
		for _, purpose := range a.Purposes {
			for _, s := range segments {
				m.pair(Principal{Organization: a.Organization, Purpose: purpose}, s)
			}
		}
	}
	return m.out
}

type materializer struct {
	facts   Facts
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

func spans(f Facts) []span {
	points := breakpoints(f)
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

func (m *materializer) pair(p Principal, s NumberedSegment) {
	base := Decide(Request{Principal: p, Segment: s.Segment, Period: openPeriod()})
	if base.Basis == "own-record" || base.Basis == "directory" {
		return
	}
	for _, sp := range m.spans {
		permitted := map[string]bool{} // types a wider period already permits
		for _, period := range m.periods {
			ask := func(typ string) Effect {
				return Decide(Request{Principal: p, Segment: s.Segment, ResourceType: typ, Period: period, Facts: m.facts, Now: sp.at}).Effect
			}
			grant := func(typ string, e Effect) {
				if permitted[typ] && e == Permit {
					return
				}
				permitted[typ] = e == Permit
				m.out = append(m.out, Grant{Organization: p.Organization.ID, Purpose: p.Purpose, Segment: s.No,
					ResourceType: typ, Effect: e, From: sp.from, To: sp.to, Period: period})
			}
			other := ask("")
			if other != base.Effect {
				grant("", other)
			}
			for _, typ := range m.types {
				if e := ask(typ); e != other {
					grant(typ, e)
				}
			}
		}
	}
}

// mentioned lists the resource types and data periods the instruments distinguish; the open period
// comes first and stands for all records.
func mentioned(consents []consent.Consent) (types []string, periods []consent.Period) {
	periods = []consent.Period{openPeriod()}
	var walk func(p consent.Provision)
	walk = func(p consent.Provision) {
		for _, t := range p.Types {
			if !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
		if p.Period != nil && p.Permit && !slices.Contains(periods, *p.Period) {
			periods = append(periods, *p.Period)
		}
		for _, child := range p.Nested {
			walk(child)
		}
	}
	for _, c := range consents {
		walk(c.Root)
	}
	return types, periods
}
