package search

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"

	"trellis/fhir"
)

// Limits of one query. A query over them is answered with 413 or 400, never cut.
const (
	maxValues   = 2000    // alternatives of one parameter
	maxTotal    = 8000    // alternatives of one query
	maxExpanded = 5000    // codes a value set or hierarchy may stand for
	maxNodes    = 500     // conditions of one query
	maxSteps    = 4000    // criteria tried, where untyped chains fan out
	maxDepth    = 4       // chained and reverse-chained hops
	maxLength   = 1 << 18 // characters of all names and values
	maxTypes    = 24      // types an untyped chain may lead to
)

// Terminology answers what token modifiers ask of code systems and value sets (R4 3.1.1.4.10). An error
// stands for a value set, code system or code it does not know.
type Terminology interface {
	// Expand lists the codes of a value set.
	Expand(ctx context.Context, valueSet string) ([]fhir.Coding, error)
	// Below lists the codes subsumed by code, itself included.
	Below(ctx context.Context, system, code string) ([]string, error)
	// Above lists the codes that subsume code, itself included.
	Above(ctx context.Context, system, code string) ([]string, error)
}

// Options is what a query is read with besides its parameters.
type Options struct {
	Base        string         // this server's FHIR base URL
	Lenient     bool           // Prefer: handling=lenient: leave out what is not offered
	Compartment fhir.Reference // of a compartment search; zero when none
	Terminology Terminology    // nil: modifiers that need one are refused
	Now         func() time.Time
}

// parser holds one query while it is read.
type parser struct {
	ctx context.Context
	s   *snapshot
	o   Options
	q   *Query
	now time.Time

	values, steps int // alternatives read and criteria tried so far
}

// Parse checks a query string against the registry, strictly and without terminology. base is the
// server's FHIR base URL. The error is a *fhir.Problem that names the parameter and never repeats its value.
func (r *Registry) Parse(typ string, params url.Values, base string) (*Query, error) {
	return r.ParseWith(context.Background(), typ, params, Options{Base: base})
}

// ParseWith is Parse with options. typ "" searches across types (R4 3.1.1.1).
func (r *Registry) ParseWith(ctx context.Context, typ string, params url.Values, o Options) (*Query, error) {
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	p := parser{ctx: ctx, s: r.current.Load(), o: o, now: now().UTC(), q: &Query{Type: typ, Count: DefaultCount, Used: url.Values{}}}
	if err := p.scope(params); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := p.named(name, params[name]); err != nil {
			return nil, err
		}
	}
	return p.q, p.check()
}

// named reads all values of one parameter; they are joined by AND.
func (p *parser) named(name string, values []string) error {
	for _, value := range values {
		if value == "" {
			continue // R4 3.1.1: a parameter without value is as if it were not there
		}
		err := p.parameter(name, value)
		var problem *fhir.Problem
		if p.o.Lenient && errors.As(err, &problem) && problem.Category == fhir.Unsupported {
			p.q.Ignored = append(p.q.Ignored, clean(name))
			continue
		}
		if err != nil {
			return err
		}
		if name != "_cursor" && name != "_format" && name != "_pretty" {
			p.q.Used.Add(name, value)
		}
	}
	return nil
}

// scope settles what is searched before any criterion is read: types and compartment.
func (p *parser) scope(params url.Values) error {
	length := 0
	for name, values := range params {
		length += len(name)
		for _, v := range values {
			length += len(v)
		}
	}
	if length > maxLength {
		return fhir.NewProblem(fhir.TooLarge, "too-costly", "the search is longer than this server accepts")
	}
	if p.q.Type != "" && p.s.byType[p.q.Type] == nil {
		return fhir.NewProblem(fhir.NotFound, "not-supported", "this server does not know the resource type")
	}
	if p.q.Type == "" {
		if err := p.types(params["_type"]); err != nil {
			return err
		}
	}
	return p.compartment()
}

func (p *parser) types(asked []string) error {
	seen := map[string]bool{}
	for _, list := range asked {
		for _, typ := range strings.Split(list, ",") {
			if typ == "" {
				continue
			}
			if !fhir.KnownType(typ) {
				return invalid("_type", "names an unknown resource type")
			}
			seen[typ] = true
		}
	}
	for _, typ := range fhir.Types() {
		if len(seen) == 0 || seen[typ] {
			p.q.Types = append(p.q.Types, typ)
		}
	}
	return nil
}

// check holds the whole query to rules that no single parameter breaks.
func (p *parser) check() error {
	if n := size(p.q.Where); n > maxNodes {
		return fhir.NewProblem(fhir.TooLarge, "too-costly", "the search has more conditions than this server accepts")
	}
	if p.q.Summary == SummaryText && len(p.q.Include)+len(p.q.RevInclude) > 0 {
		return invalid("_summary", "text cannot be combined with _include or _revinclude") // R4 3.1.1.5.8
	}
	if p.q.Summary != SummaryFalse && p.q.Summary != SummaryCount && len(p.q.Elements) > 0 {
		return invalid("_summary", "cannot be combined with _elements")
	}
	return nil
}

// size counts the nodes of a condition.
func size(c Condition) int {
	switch c := c.(type) {
	case And:
		return sizes(c)
	case Or:
		return sizes(c)
	case Not:
		return 1 + size(c.Condition)
	case Chain:
		return 1 + size(c.Where)
	case Has:
		return 1 + size(c.Where)
	}
	return 1
}

func sizes(list []Condition) int {
	n := 1
	for _, c := range list {
		n += size(c)
	}
	return n
}

func bad(name, why string) *fhir.Problem {
	return fhir.NewProblem(fhir.Unsupported, "not-supported", fmt.Sprintf("search parameter %s: %s", clean(name), why))
}

func invalid(name, why string) *fhir.Problem {
	return fhir.NewProblem(fhir.Invalid, "invalid", fmt.Sprintf("search parameter %s: %s", clean(name), why))
}

func tooMany(name, what string) *fhir.Problem {
	return fhir.NewProblem(fhir.TooLarge, "too-costly", fmt.Sprintf("search parameter %s: %s", clean(name), what))
}

// clean keeps an unknown parameter's name fit to be repeated to its sender.
func clean(name string) string {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_:.", c)) {
			return "(unreadable name)"
		}
	}
	if len(name) > 64 {
		return name[:64]
	}
	return name
}

// splitEscaped splits at unescaped separators (R4 3.1.1.4.15: \, \| \$ \\).
func splitEscaped(s string, sep byte) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
