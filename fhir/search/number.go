package search

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// UCUM is the code system whose units this server converts.
const UCUM = "http://unitsofmeasure.org"

var errNumber = errors.New("is not a decimal number")

// Ordered maps a number to an integer with the same order, so that dates and numbers share one
// comparison. NaN has no place in an order and must not be passed.
func Ordered(f float64) int64 {
	if f == 0 {
		return 0 // -0 equals 0
	}
	bits := int64(math.Float64bits(f))
	if bits < 0 {
		bits ^= math.MaxInt64
	}
	return bits
}

// point is the half-open span of one exact number.
func point(f float64) Range { o := Ordered(f); return Range{o, o + 1} }

// parseDecimal reads a FHIR decimal and half the unit of its last digit, which is its implicit
// precision (R4 3.1.1.4.6): 100 is 0.5, 5.40 is 0.005. R4's own example takes 1e2 as [95, 105), so
// a mantissa without a fraction counts as having one digit after the point when an exponent follows.
func parseDecimal(s string) (value, half float64, err error) {
	digits, exponent, scientific := s, 0, false
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		scientific = true
		if exponent, err = strconv.Atoi(s[i+1:]); err != nil || exponent > 300 || exponent < -300 {
			return 0, 0, errNumber
		}
		digits = s[:i]
	}
	whole, fraction, point := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(digits, "-"), "+"), ".")
	if whole == "" || point && fraction == "" || !allDigits(whole) || !allDigits(fraction) || len(s) > 64 {
		return 0, 0, errNumber
	}
	value, err = strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(value, 0) {
		return 0, 0, errNumber
	}
	places := len(fraction)
	if scientific && places == 0 {
		places = 1
	}
	return value, 0.5 * math.Pow10(exponent-places), nil
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// numberSpan is the span a number stands for under a prefix; see Value.
func numberSpan(prefix, s string) (low, high float64, err error) {
	v, half, err := parseDecimal(s)
	if err != nil {
		return 0, 0, err
	}
	switch prefix {
	case "eq", "ne":
		// The decimal form is exact where binary fractions are not: 5.40 is [5.395, 5.405).
		low, high = min(tidy(v-half), v), tidy(v+half)
		if high <= v { // more digits than a float holds
			high = math.Nextafter(v, math.Inf(1))
		}
		return low, high, nil
	case "ap":
		return tidy(v - math.Abs(v)/10), tidy(v + math.Abs(v)/10), nil
	}
	return v, v, nil
}

// tidy takes the last binary digits off a computed number, so that 54.00000000000001 is 54 again.
func tidy(f float64) float64 {
	out, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 14, 64), 64)
	if err != nil {
		return f
	}
	return out
}

// In converts a number or quantity search value into unit u as an ordered half-open Range: the same unit,
// or a UCUM unit of the same dimension; a search value without unit matches any. ok is false when u
// does not match, which a store takes as "no row in this unit matches".
func (v Value) In(u Unit) (rng Range, ok bool) {
	low, high := v.Low, v.High
	switch {
	case v.Unit == (Unit{}) || v.Unit == u:
	case v.Unit.System == "":
		if v.Unit.Code != u.Code {
			return Range{}, false
		}
	case v.Unit.System == UCUM && u.System == UCUM:
		c, ok := convertible(v.Unit.Code, u.Code)
		if !ok {
			return Range{}, false
		}
		low, high = tidy(c.apply(low)), tidy(c.apply(high))
	default:
		return Range{}, false
	}
	if v.Prefix == "eq" || v.Prefix == "ne" {
		return Range{Ordered(low), Ordered(high)}, true
	}
	return Range{Ordered(low), Ordered(high) + 1}, true
}
