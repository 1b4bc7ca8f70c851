package search

import (
	"errors"
	"math"
	"time"
)

// Range is a half-open span of ordered integers: Lo <= t < Hi. Dates are microseconds UTC, numbers what
// Ordered makes of them. Open ends are OpenLo and OpenHi.
type Range struct{ Lo, Hi int64 }

// The open ends of a Range.
const (
	OpenLo = math.MinInt64
	OpenHi = math.MaxInt64
)

var errDate = errors.New("search: not a FHIR date or dateTime")

// ParseDate reads a FHIR date, dateTime or instant of any precision as the span it stands for.
// A time without zone is refused; a date is taken in UTC.
func ParseDate(s string) (Range, error) {
	var t time.Time
	var err error
	switch {
	case len(s) == len("2006"):
		if t, err = time.Parse("2006", s); err == nil {
			return Range{t.UnixMicro(), t.AddDate(1, 0, 0).UnixMicro()}, nil
		}
	case len(s) == len("2006-01"):
		if t, err = time.Parse("2006-01", s); err == nil {
			return Range{t.UnixMicro(), t.AddDate(0, 1, 0).UnixMicro()}, nil
		}
	case len(s) == len("2006-01-02"):
		if t, err = time.Parse(time.DateOnly, s); err == nil {
			return Range{t.UnixMicro(), t.AddDate(0, 0, 1).UnixMicro()}, nil
		}
	case len(s) > len("2006-01-02T15:04") && s[len("2006-01-02T15:04")] != ':':
		if t, err = time.Parse("2006-01-02T15:04Z07:00", s); err == nil {
			return Range{t.UnixMicro(), t.Add(time.Minute).UnixMicro()}, nil
		}
	default:
		return parseInstant(s)
	}
	return Range{}, errDate
}

func parseInstant(s string) (Range, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Range{}, errDate
	}
	width := time.Second
	if t.Nanosecond() != 0 || len(s) > len("2006-01-02T15:04:05+00:00") {
		width = time.Millisecond
		if t.Nanosecond()%int(time.Millisecond) != 0 {
			width = time.Microsecond
		}
	}
	return Range{t.UnixMicro(), t.Add(width).UnixMicro()}, nil
}
