package search

import (
	"strings"
	"unicode"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"trellis/fhir"
)

// maxIndexed bounds a single indexed text; longer ones are cut, as a search value is.
const maxIndexed = 256

// Token is an indexed code, identifier, boolean or contact value.
type Token struct{ Param, System, Code string }

// Ref is an indexed reference. A canonical or foreign reference has an empty Type and its URL as ID.
type Ref struct{ Param, Type, ID string }

// Date is an indexed span of time.
type Date struct {
	Param string
	Range
}

// Text is an indexed string: Folded for matching, Exact for :exact.
type Text struct{ Param, Folded, Exact string }

// Values is everything a resource contributes to the index.
type Values struct {
	Tokens  []Token
	Refs    []Ref
	Dates   []Date
	Strings []Text
	// Clinical is the span from the earliest to the latest clinically relevant time, open when none
	// is known: what a consent's data period is compared with.
	Clinical Range
}

// Extract reads the index values of a resource. base is this server's FHIR base URL, so that absolute
// references to ourselves index like relative ones.
func (r *Registry) Extract(res *fhir.Resource, base string) Values {
	v := Values{Clinical: Range{OpenLo, OpenHi}}
	for _, p := range r.Parameters(res.Type) {
		nodes := p.nodes(res)
		switch p.Kind {
		case KindToken:
			v.tokens(p, nodes)
			if p.paths[0].deceased {
				v.Tokens = append(v.Tokens, Token{p.Code, "", deceased(res)})
			}
		case KindReference:
			v.refs(p, nodes, base)
		case KindDate:
			v.dates(p, nodes)
		case KindString:
			v.strings(p, nodes)
		}
	}
	v.dedupe()
	v.clinical(res)
	return v
}

func deceased(res *fhir.Resource) string {
	if b := res.Root.Get("deceasedBoolean"); b.Kind == 't' || !res.Root.Get("deceasedDateTime").IsZero() {
		return "true"
	}
	return "false"
}

func (v *Values) tokens(p *Parameter, nodes []fhir.Node) {
	add := func(system, code string) {
		if code != "" {
			v.Tokens = append(v.Tokens, Token{p.Code, cut(system), cut(code)})
		}
	}
	for _, n := range nodes {
		switch {
		case n.Kind != '{':
			add("", n.Text())
		case !n.Get("coding").IsZero():
			for _, c := range n.Get("coding").List() {
				add(c.Get("system").Text(), c.Get("code").Text())
			}
		case !n.Get("code").IsZero():
			add(n.Get("system").Text(), n.Get("code").Text())
		case contactSystem(n.Get("system").Text()):
			add("", n.Get("value").Text())
		default:
			add(n.Get("system").Text(), n.Get("value").Text())
		}
	}
}

// contactSystem tells a ContactPoint from an Identifier: its system is a code, not a URI.
func contactSystem(s string) bool {
	switch s {
	case "phone", "fax", "email", "pager", "url", "sms", "other":
		return true
	}
	return false
}

func (v *Values) refs(p *Parameter, nodes []fhir.Node, base string) {
	for _, n := range nodes {
		s := n.Text()
		if n.Kind == '{' {
			s = n.Get("reference").Text()
		}
		if ref, ok := fhir.ParseReference(s, base); ok {
			v.Refs = append(v.Refs, Ref{p.Code, ref.Type, ref.ID})
		} else if s != "" && !strings.HasPrefix(s, "#") {
			v.Refs = append(v.Refs, Ref{p.Code, "", cut(s)})
		}
	}
}

func (v *Values) dates(p *Parameter, nodes []fhir.Node) {
	for _, n := range nodes {
		if rng, ok := dateSpan(n); ok {
			v.Dates = append(v.Dates, Date{p.Code, rng})
		}
	}
}

// dateSpan reads a date, a Period or the outer bounds of a Timing.
func dateSpan(n fhir.Node) (Range, bool) {
	if n.Kind == '"' {
		rng, err := ParseDate(n.Text())
		return rng, err == nil
	}
	if events := n.Get("event").List(); len(events) > 0 {
		out := Range{OpenHi, OpenLo}
		for _, e := range events {
			if rng, err := ParseDate(e.Text()); err == nil {
				out = Range{min(out.Lo, rng.Lo), max(out.Hi, rng.Hi)}
			}
		}
		return out, out.Lo < out.Hi
	}
	if bounds := n.Path("repeat", "boundsPeriod"); !bounds.IsZero() {
		n = bounds
	}
	start, end := n.Get("start").Text(), n.Get("end").Text()
	if start == "" && end == "" {
		return Range{}, false
	}
	out := Range{OpenLo, OpenHi}
	if start != "" {
		rng, err := ParseDate(start)
		if err != nil {
			return Range{}, false
		}
		out.Lo = rng.Lo
	}
	if end != "" {
		rng, err := ParseDate(end)
		if err != nil {
			return Range{}, false
		}
		out.Hi = rng.Hi
	}
	return out, out.Lo < out.Hi
}

func (v *Values) strings(p *Parameter, nodes []fhir.Node) {
	add := func(s string) {
		if s != "" {
			v.Strings = append(v.Strings, Text{p.Code, cut(Fold(s)), cut(s)})
		}
	}
	for _, n := range nodes {
		if n.Kind != '{' {
			add(n.Text())
			continue
		}
		for _, name := range []string{"text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "country", "postalCode"} {
			for _, item := range n.Get(name).List() {
				add(item.Text())
			}
		}
	}
}

func (v *Values) dedupe() {
	v.Tokens, v.Refs, v.Dates, v.Strings = unique(v.Tokens), unique(v.Refs), unique(v.Dates), unique(v.Strings)
}

func unique[T comparable](in []T) []T {
	seen := make(map[T]bool, len(in))
	out := in[:0]
	for _, x := range in {
		if !seen[x] {
			seen[x] = true
			out = append(out, x)
		}
	}
	return out
}

// clinical takes the span of the type's own clinical date parameters; birthdate and the like say
// nothing about when care happened.
func (v *Values) clinical(res *fhir.Resource) {
	if res.Type == "Patient" {
		return
	}
	lo, hi := int64(OpenHi), int64(OpenLo)
	for _, d := range v.Dates {
		switch d.Param {
		case "date", "onset-date", "authored", "authoredon", "recorded-date", "period", "start-date", "effective":
			lo, hi = min(lo, d.Lo), max(hi, d.Hi)
		}
	}
	if lo < hi {
		v.Clinical = Range{lo, hi}
	}
}

// Fold is the form strings are matched in: no case, no accents, single spaces (R4 3.1.1.4.8).
func Fold(s string) string {
	t := transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC)
	folded, _, err := transform.String(t, s)
	if err != nil {
		folded = s
	}
	return strings.Join(strings.Fields(strings.ToLower(folded)), " ")
}

func cut(s string) string {
	if len(s) <= maxIndexed {
		return s
	}
	return strings.ToValidUTF8(s[:maxIndexed], "")
}
