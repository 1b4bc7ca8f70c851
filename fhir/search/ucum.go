package search

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// conversion takes a value of one unit into another: value*scale + shift.
type conversion struct{ scale, shift float64 }

func (c conversion) apply(v float64) float64 { return v*c.scale + c.shift }

// convertible works out the conversion between two UCUM units of the same dimension.
func convertible(from, to string) (conversion, bool) {
	a, err := parseUnit(from)
	if err != nil {
		return conversion{}, false
	}
	b, err := parseUnit(to)
	if err != nil || !a.sameDimension(b) {
		return conversion{}, false
	}
	scale := a.factor / b.factor
	return conversion{tidy(scale), (a.offset - b.offset) / b.factor}, true
}

// measure is a unit in terms of base units: base = value*factor + offset.
type measure struct {
	factor, offset float64
	dim            map[string]int // base or arbitrary unit -> exponent, zero ones absent
}

func (m measure) sameDimension(o measure) bool {
	if len(m.dim) != len(o.dim) {
		return false
	}
	for k, e := range m.dim {
		if o.dim[k] != e {
			return false
		}
	}
	return true
}

// times multiplies by o to the power e. A unit with an offset loses it in a product: a rate per degree
// is about differences.
func (m measure) times(o measure, e int) measure {
	out := measure{factor: m.factor * math.Pow(o.factor, float64(e)), dim: map[string]int{}}
	for k, n := range m.dim {
		out.dim[k] = n
	}
	for k, n := range o.dim {
		if out.dim[k] += n * e; out.dim[k] == 0 {
			delete(out.dim, k)
		}
	}
	if len(m.dim) == 0 && m.factor == 1 && e == 1 {
		out.offset = o.offset // the unit stands alone
	}
	return out
}

var errUnit = errors.New("search: not a UCUM unit")

const maxUnit = 80 // characters, and with them the depth of parentheses

// parseUnit reads a case-sensitive UCUM unit (UCUM 1.9, section 2 and 3).
func parseUnit(s string) (measure, error) {
	if s == "" || len(s) > maxUnit {
		return measure{}, errUnit
	}
	p := unitParser{rest: s}
	m, err := p.term()
	if err != nil || p.rest != "" {
		return measure{}, errUnit
	}
	if m.factor == 0 || math.IsInf(m.factor, 0) || math.IsNaN(m.factor) {
		return measure{}, errUnit
	}
	return m, nil
}

type unitParser struct{ rest string }

func (p *unitParser) next(c byte) bool {
	if p.rest != "" && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

// term reads components joined by '.' and '/', from left to right; '/' may lead.
func (p *unitParser) term() (measure, error) {
	out := measure{factor: 1, dim: map[string]int{}}
	sign := 1
	if p.next('/') {
		sign = -1
	}
	for {
		c, err := p.component()
		if err != nil {
			return measure{}, err
		}
		out = out.times(c, sign)
		switch {
		case p.next('.'):
			sign = 1
		case p.next('/'):
			sign = -1
		default:
			return out, nil
		}
	}
}

func (p *unitParser) component() (measure, error) {
	one := measure{factor: 1, dim: map[string]int{}}
	if p.next('(') {
		m, err := p.term()
		if err != nil || !p.next(')') {
			return measure{}, errUnit
		}
		return m, p.annotation()
	}
	if strings.HasPrefix(p.rest, "{") {
		return one, p.annotation()
	}
	atom := p.atom()
	if atom == "" { // a whole number
		n := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
		v, err := strconv.ParseFloat(p.rest[:n], 64)
		if err != nil {
			return measure{}, errUnit
		}
		p.rest = p.rest[n:]
		one.factor = v
		return one, p.annotation()
	}
	m, ok := atomOf(atom)
	if !ok {
		return measure{}, errUnit
	}
	e, err := p.exponent()
	if err != nil {
		return measure{}, err
	}
	return one.times(m, e), p.annotation()
}

// atom takes a unit symbol with its prefix off the text; digits end it outside brackets.
func (p *unitParser) atom() string {
	if strings.HasPrefix(p.rest, "10*") || strings.HasPrefix(p.rest, "10^") {
		p.rest = p.rest[3:]
		return "10*"
	}
	depth, i := 0, 0
	for ; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == '[' {
			depth++
		} else if c == ']' {
			depth--
		} else if depth == 0 && (c >= '0' && c <= '9' || strings.IndexByte("./(){}+-", c) >= 0) {
			break
		}
	}
	out := p.rest[:i]
	p.rest = p.rest[i:]
	return out
}

func (p *unitParser) exponent() (int, error) {
	n := 0
	if n < len(p.rest) && (p.rest[n] == '+' || p.rest[n] == '-') {
		n++
	}
	digits := n
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	if n == 0 {
		return 1, nil
	}
	e, err := strconv.Atoi(p.rest[:n])
	if err != nil || n == digits || e > 40 || e < -40 {
		return 0, errUnit
	}
	p.rest = p.rest[n:]
	return e, nil
}

func (p *unitParser) annotation() error {
	if !p.next('{') {
		return nil
	}
	i := strings.IndexByte(p.rest, '}')
	if i < 0 || strings.IndexByte(p.rest[:i], '{') >= 0 {
		return errUnit
	}
	p.rest = p.rest[i+1:]
	return nil
}

// atomOf finds a symbol, with a metric prefix where the unit takes one.
func atomOf(symbol string) (measure, bool) {
	if m, _, ok := unitAtom(symbol); ok {
		return m, true
	}
	for n := 1; n <= 2 && n < len(symbol); n++ {
		factor := prefixFactor(symbol[:n])
		if factor == 0 {
			continue
		}
		if m, metric, ok := unitAtom(symbol[n:]); ok && metric {
			m.factor *= factor
			return m, true
		}
	}
	return measure{}, false
}

func prefixFactor(s string) float64 {
	switch s {
	case "Y":
		return 1e24
	case "Z":
		return 1e21
	case "E":
		return 1e18
	case "P":
		return 1e15
	case "T":
		return 1e12
	case "G":
		return 1e9
	case "M":
		return 1e6
	case "k":
		return 1e3
	case "h":
		return 1e2
	case "da":
		return 1e1
	case "d":
		return 1e-1
	case "c":
		return 1e-2
	case "m":
		return 1e-3
	case "u":
		return 1e-6
	case "n":
		return 1e-9
	case "p":
		return 1e-12
	case "f":
		return 1e-15
	case "a":
		return 1e-18
	}
	return 0
}
