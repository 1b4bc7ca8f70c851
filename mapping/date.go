package mapping

import (
	"fmt"
	"strings"
	"time"
)

// dateRules say how a source writes dates: layouts in order, the zone of times that name none, and the first year of
// the hundred-year window that two-digit years fall into. A pack that does not declare one of them has none, and a
// date that would need it is reported and left out.
type dateRules struct {
	layouts []string
	zone    *time.Location
	century int
}

// Reasons for which a date is not taken over as it stands.
const (
	badDate       = "bad-date"
	ambiguousTime = "ambiguous-local-time"
	zoneMissing   = "zone-missing"
	timeMissing   = "time-missing"
)

// read turns a native date into a FHIR date, dateTime or instant, or ("by") into the instant by which it had come: the
// later one when a clock change leaves two. The second result is a problem code; with
// ambiguousTime the first result is still good, cut to the day.
func (d *dateRules) read(text, as string) (string, string) {
	if out, why, ok := d.fhir(text, as); ok {
		return out, why
	}
	for _, layout := range d.layouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if strings.Contains(layout, "06") && !strings.Contains(layout, "2006") {
			if d.century == 0 {
				return "", badDate
			}
			t = inCentury(t, d.century)
		}
		if t.Month() == 0 || t.Year() < 1 {
			return "", badDate
		}
		return d.local(t, strings.Contains(layout, "15"), as)
	}
	return "", badDate
}

// inCentury moves a two-digit year into the window of a hundred years that begins with from.
func inCentury(t time.Time, from int) time.Time {
	year := t.Year() % 100
	year += from - from%100
	if year < from {
		year += 100
	}
	moved := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
	if moved.Day() != t.Day() {
		return time.Time{}
	}
	return moved
}

// local places a wall-clock time into the pack's zone. A time that the change of clocks makes impossible or double is
// not guessed at: the day stays.
func (d *dateRules) local(t time.Time, hasTime bool, as string) (string, string) {
	day := t.Format("2006-01-02")
	switch {
	case as == "date":
		return day, ""
	case !hasTime && (as == "instant" || as == "by"):
		return "", timeMissing
	case !hasTime:
		return day, ""
	case d.zone == nil:
		return "", zoneMissing
	}
	at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, d.zone)
	wall := at.Format("15:04:05")
	double := at.Add(time.Hour).Format("15:04:05") == wall || at.Add(-time.Hour).Format("15:04:05") == wall
	if wall != t.Format("15:04:05") || double {
		switch as {
		case "by":
			return later(t, at).Format("2006-01-02T15:04:05Z"), ""
		case "instant":
			return "", ambiguousTime
		}
		return day, ambiguousTime
	}
	if as == "instant" || as == "by" {
		return at.UTC().Format("2006-01-02T15:04:05Z"), ""
	}
	return at.Format("2006-01-02T15:04:05Z07:00"), ""
}

// later is the later of the moments that a wall-clock time means before and after a change of clocks near at.
func later(wall, at time.Time) time.Time {
	var best time.Time
	for _, near := range []time.Time{at.AddDate(0, 0, -1), at.AddDate(0, 0, 1)} {
		_, offset := near.Zone()
		moment := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, time.UTC).
			Add(-time.Duration(offset) * time.Second)
		if moment.After(best) {
			best = moment
		}
	}
	return best
}

// fhir accepts what already is a FHIR date or dateTime: YYYY, YYYY-MM, YYYY-MM-DD or RFC 3339 with a zone.
// https://hl7.org/fhir/R4/datatypes.html#dateTime
func (d *dateRules) fhir(text, as string) (out, why string, ok bool) {
	for _, layout := range []string{"2006-01-02", "2006-01", "2006"} {
		if len(text) != len(layout) || (len(text) > 4 && text[4] != '-') {
			continue
		}
		t, err := time.Parse(layout, text)
		if err != nil || t.Year() < 1 {
			return "", badDate, true
		}
		if as == "instant" || as == "by" {
			return "", timeMissing, true
		}
		return text, "", true
	}
	if len(text) < len("2006-01-02T15:04:05Z") || (text[10] != 'T' && text[10] != 't') {
		return "", "", false
	}
	upper := strings.ToUpper(text)
	t, err := time.Parse(time.RFC3339Nano, upper)
	if err != nil || t.Year() < 1 {
		return "", badDate, true
	}
	switch as {
	case "date":
		return upper[:10], "", true
	case "by":
		return t.UTC().Format("2006-01-02T15:04:05.999999999Z"), "", true
	}
	return upper, "", true
}

// newDateRules reads the `dates` section of pack.yaml.
func newDateRules(n *yamlNode, file string, f *faults) dateRules {
	s := newSection(n, file, f)
	var d dateRules
	d.layouts = s.strs("layouts")
	for _, l := range d.layouts {
		if _, err := time.Parse(l, time.Date(2001, 11, 22, 13, 14, 15, 0, time.UTC).Format(l)); err != nil {
			f.add(file, n.line, "date layout %q cannot be read back (layouts are written with 2006-01-02 15:04:05)", l)
		}
	}
	if zone := s.str("zone", false); zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			f.add(file, n.line, "zone %q is not known", zone)
		}
		d.zone = loc
	}
	if c := s.str("century", false); c != "" {
		if _, err := fmt.Sscanf(c, "%d", &d.century); err != nil || d.century < 1800 || d.century > 2100 {
			f.add(file, n.line, "century must be the first year that two-digit years can mean, e.g. 1930")
		}
	}
	s.done()
	return d
}
