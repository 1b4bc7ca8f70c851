package search

import (
	"math"
	"strconv"
	"strings"

	"trellis/fhir"
)

// Token is an indexed code, identifier, boolean or contact value. An element that is there but has no
// code (a concept with text only) gives one with neither system nor code, so that :missing is right.
// Rows of "<code>:of-type" hold an identifier's type system, and its type code and value joined by a bar;
// rows of "<code>:identifier" the logical identifier of a reference, but not of one that release may cut
// because it leads to a resource hidden from the caller: its identifier would tell what the reference may not.
type Token struct{ Param, System, Code string }

// Ref is an indexed literal reference to a resource of this server.
type Ref struct{ Param, Type, ID string }

// URI is an indexed uri, canonical or foreign reference; a versioned canonical gives two.
type URI struct{ Param, URI string }

// Date is an indexed span of time.
type Date struct {
	Param string
	Range
}

// Number is an indexed number or quantity in the unit it was written in.
type Number struct {
	Param string
	Unit  Unit
	Range
}

// Text is an indexed string: Folded for matching, Exact for :exact.
type Text struct{ Param, Folded, Exact string }

// Half is one side of an element row. A token has System and Code, a reference its type and id there,
// a quantity its unit and its value in Lo and Hi, a date or number Lo and Hi, a string (folded) or uri Code.
type Half struct {
	System, Code string
	Lo, Hi       int64
}

// ElementRow is one pair of values that stand in the same element.
type ElementRow struct {
	Param string
	A, B  Half
}

// Values is everything a resource contributes to the index.
type Values struct {
	Tokens   []Token
	Refs     []Ref
	URIs     []URI
	Dates    []Date
	Numbers  []Number
	Strings  []Text
	Elements []ElementRow
	// Clinical is the span from the earliest to the latest clinically relevant time, open when none
	// is known: what a consent's data period is compared with.
	Clinical Range
}

// extraction holds what reading one resource needs.
type extraction struct {
	v    Values
	base string
	buf  []*fhir.Node
}

// Extract reads the index values of a resource. base is this server's FHIR base URL, so that absolute
// references to ourselves index like relative ones. Parameters that read the rows of others give none.
func (r *Registry) Extract(res *fhir.Resource, base string) Values {
	s := r.current.Load()
	x := extraction{base: base, buf: make([]*fhir.Node, 0, 16)}
	x.v.Tokens = make([]Token, 0, 12)
	x.all(s.common.indexed, res)
	if ps := s.byType[res.Type]; ps != nil {
		x.all(ps.indexed, res)
		x.v.Clinical = clinical(x.v.Dates, ps.clinical)
	}
	return x.v
}

func (x *extraction) all(params []*Parameter, res *fhir.Resource) {
	for _, p := range params {
		if p.composite != nil {
			x.elements(p, &res.Root)
			continue
		}
		x.buf = p.nodes(x.buf, &res.Root)
		for _, n := range x.buf {
			x.node(p, n)
		}
		if p.Kind == KindToken && p.paths[0].deceased {
			x.v.Tokens = append(x.v.Tokens, Token{p.Code, "", deceased(res)})
		}
	}
}

func (x *extraction) node(p *Parameter, n *fhir.Node) {
	switch p.Kind {
	case KindToken:
		x.token(p.Code, n)
	case KindReference:
		x.reference(p.Code, n)
	case KindDate:
		if rng, ok := dateSpan(n); ok {
			x.v.Dates = appendNew(x.v.Dates, Date{p.Code, rng})
		}
	case KindString:
		x.text(p.Code, n)
	case KindURI:
		x.uri(p.Code, n.Text())
	case KindSpecial:
		if a, b, ok := position(n); ok {
			x.v.Elements = appendNew(x.v.Elements, ElementRow{p.Code, a, b})
		}
	case KindNumber, KindQuantity:
		if unit, rng, ok := quantitySpan(n); ok {
			x.v.Numbers = appendNew(x.v.Numbers, Number{p.Code, unit, rng})
		}
	}
}

// appendNew leaves out a row that is there already; equal rows stand close together, and a resource
// with very many of them pays no more than a short look back.
func appendNew[T comparable](list []T, v T) []T {
	for i := len(list) - 1; i >= 0 && i >= len(list)-64; i-- {
		if list[i] == v {
			return list
		}
	}
	return append(list, v)
}

func deceased(res *fhir.Resource) string {
	if b := res.Root.Get("deceasedBoolean"); b.Kind == 't' || !res.Root.Get("deceasedDateTime").IsZero() {
		return "true"
	}
	return "false"
}

func (x *extraction) addToken(param, system, code string) {
	x.v.Tokens = appendNew(x.v.Tokens, Token{param, cut(system), cut(code)})
}

// token reads a code, boolean, string, Coding, CodeableConcept, Identifier or ContactPoint.
func (x *extraction) token(param string, n *fhir.Node) {
	coded := false
	tokenValues(n, func(system, code string) {
		coded = true
		x.addToken(param, system, code)
	})
	if n.Kind != '{' {
		return
	}
	if value := n.Get("value").Text(); value != "" {
		for _, c := range n.Path("type", "coding").List() {
			if code := c.Get("code").Text(); code != "" {
				coded = true
				x.addToken(param+":of-type", c.Get("system").Text(), code+"|"+value)
			}
		}
	}
	if !coded {
		x.addToken(param, "", "")
	}
}

func tokenValues(n *fhir.Node, add func(system, code string)) {
	if n.Kind != '{' {
		if code := n.Text(); code != "" {
			add("", code)
		}
		return
	}
	if coding := n.Get("coding"); !coding.IsZero() {
		for _, c := range coding.List() {
			if code := c.Get("code").Text(); code != "" {
				add(c.Get("system").Text(), code)
			}
		}
		return
	}
	system, code := n.Get("system").Text(), n.Get("code").Text()
	if code == "" {
		if code = n.Get("value").Text(); contactSystem(system) {
			system = ""
		}
	}
	if code != "" {
		add(system, code)
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

// reference reads a Reference or a canonical.
func (x *extraction) reference(param string, n *fhir.Node) {
	s := n.Text()
	if n.Kind == '{' {
		s = n.Get("reference").Text()
		if id := n.Get("identifier"); id.Kind == '{' && id.Get("value").Text() != "" && x.neverCut(s) {
			x.addToken(param+":identifier", id.Get("system").Text(), id.Get("value").Text())
		} else if s == "" && n.Get("resourceType").IsZero() {
			x.addToken(param+":identifier", "", "") // present, though it leads nowhere
		}
	}
	if ref, ok := fhir.ParseReference(s, x.base); ok {
		x.v.Refs = appendNew(x.v.Refs, Ref{param, ref.Type, ref.ID})
	} else if !strings.HasPrefix(s, "#") {
		x.uri(param, s)
	}
}

// neverCut reports whether a reference is released whatever its target: one that leads to no resource
// of this server, to a Patient, or to a directory entry everybody may read.
func (x *extraction) neverCut(s string) bool {
	ref, ok := fhir.ParseReference(s, x.base)
	if !ok {
		return true
	}
	switch ref.Type {
	case "Patient", "Practitioner", "PractitionerRole", "Organization", "Location", "HealthcareService":
		return true
	}
	return false
}

// uri keeps a versioned canonical also without its version (R4 3.1.1.4.11).
func (x *extraction) uri(param, s string) {
	if s == "" {
		return
	}
	x.v.URIs = appendNew(x.v.URIs, URI{param, cut(s)})
	if url, version, found := strings.Cut(s, "|"); found && url != "" && version != "" {
		x.v.URIs = appendNew(x.v.URIs, URI{param, cut(url)})
	}
}

// text reads a string, HumanName or Address.
func (x *extraction) text(param string, n *fhir.Node) {
	if n.Kind != '{' {
		x.addText(param, n.Text())
		return
	}
	for i := range n.Members {
		switch n.Members[i].Name {
		case "text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "country", "postalCode":
			for _, item := range n.Members[i].Value.List() {
				x.addText(param, item.Text())
			}
		}
	}
}

func (x *extraction) addText(param, s string) {
	if s != "" {
		x.v.Strings = appendNew(x.v.Strings, Text{param, cut(Fold(s)), cut(s)})
	}
}

// dateSpan reads a date, a Period or the outer bounds of a Timing.
func dateSpan(n *fhir.Node) (Range, bool) {
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
	period := *n
	if bounds := n.Path("repeat", "boundsPeriod"); !bounds.IsZero() {
		period = bounds
	}
	start, end := period.Get("start").Text(), period.Get("end").Text()
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

// quantitySpan reads a number, Quantity (with comparator), Range or Money.
func quantitySpan(n *fhir.Node) (Unit, Range, bool) {
	if n.Kind == '0' {
		f, ok := number(*n)
		return Unit{}, point(f), ok
	}
	if n.Kind != '{' {
		return Unit{}, Range{}, false
	}
	if f, ok := number(n.Get("value")); ok {
		return unitOf(*n), compared(f, n.Get("comparator").Text()), true
	}
	low, high, owner := n.Get("low"), n.Get("high"), *n
	lo, hasLo := number(low.Get("value"))
	hi, hasHi := number(high.Get("value"))
	switch {
	case hasLo:
		owner = low
	case hasHi:
		owner = high
	default: // SampledData: its limits are those of the detector, and say nothing of the samples
		return Unit{}, Range{}, false
	}
	rng := Range{OpenLo, OpenHi}
	if hasLo {
		rng.Lo = Ordered(lo)
	}
	if hasHi {
		rng.Hi = Ordered(hi) + 1
	}
	return unitOf(owner), rng, rng.Lo < rng.Hi
}

func number(n fhir.Node) (float64, bool) {
	if n.Kind != '0' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(n.Raw()), 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// compared is the span a value with a comparator stands for.
func compared(f float64, comparator string) Range {
	rng := point(f)
	switch comparator {
	case "<":
		return Range{OpenLo, rng.Lo}
	case "<=":
		return Range{OpenLo, rng.Hi}
	case ">":
		return Range{rng.Hi, OpenHi}
	case ">=":
		return Range{rng.Lo, OpenHi}
	}
	return rng
}

// unitOf is a quantity's coded unit, else its printed one; Money has its currency.
func unitOf(n fhir.Node) Unit {
	if code := n.Get("code").Text(); code != "" {
		return Unit{cut(n.Get("system").Text()), cut(code)}
	}
	if currency := n.Get("currency").Text(); currency != "" {
		return Unit{"urn:iso:std:iso:4217", cut(currency)}
	}
	return Unit{"", cut(n.Get("unit").Text())}
}

// clinical is the span of the type's own clinical date parameters.
func clinical(dates []Date, counts map[string]bool) Range {
	lo, hi := int64(OpenHi), int64(OpenLo)
	for _, d := range dates {
		if counts[d.Param] {
			lo, hi = min(lo, d.Lo), max(hi, d.Hi)
		}
	}
	if lo < hi {
		return Range{lo, hi}
	}
	return Range{OpenLo, OpenHi}
}
