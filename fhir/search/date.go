package search

import (
	"errors"
	"math"
	"time"
)

// Range is a half-open span of time in microseconds UTC: Lo <= t < Hi. Open ends are OpenLo and OpenHi.
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
	layouts := []struct {
		layout string
		next   func(time.Time) time.Time
	}{
		{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02T15:04Z07:00", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	}
	for _, l := range layouts {
		if t, err := time.Parse(l.layout, s); err == nil {
			return Range{t.UnixMicro(), l.next(t).UnixMicro()}, nil
		}
	}
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
