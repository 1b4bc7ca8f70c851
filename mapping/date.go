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
	layouts []dateLayout
	zone    *time.Location
	century int
}

// A dateLayout is one way of writing dates, as package time writes layouts.
type dateLayout struct {
	text  string
	clock bool // it has a time of day
	zoned bool // its times say how far they are from UTC
	short bool // two digits of the year
}

func newDateLayout(text string) dateLayout {
	one, two := time.Date(2001, 11, 22, 1, 0, 0, 0, time.UTC), time.Date(2001, 11, 22, 14, 0, 0, 0, time.UTC)
	elsewhere := time.Date(2001, 11, 22, 1, 0, 0, 0, time.FixedZone("", -5*60*60))
	return dateLayout{
		text: text, clock: one.Format(text) != two.Format(text), zoned: one.Format(text) != elsewhere.Format(text),
		short: strings.Contains(text, "06") && !strings.Contains(text, "2006"),
	}
}

// fault tells what keeps dates from being read and written back, "" when nothing does.
func (l dateLayout) fault() string {
	afternoon := time.Date(2001, 11, 22, 13, 14, 15, 0, time.UTC)
	again, err := time.Parse(l.text, afternoon.Format(l.text))
	switch {
	case err != nil:
		return "cannot be read back (layouts are written with 2006-01-02 15:04:05)"
	case again.Format("2006-01-02") != "2001-11-22":
		return "must have a year, a month and a day (layouts are written with 2006-01-02 15:04:05)"
	case strings.Contains(l.text, "MST"):
		return "has the name of a zone, and names of zones are shared by several; only a distance, -0700, can be read"
	case l.clock && again.Hour() != afternoon.Hour():
		return "has hours up to twelve and does not tell morning from afternoon; write PM where the source has it, or 15 for hours up to 24"
	}
	return ""
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
		t, err := time.Parse(layout.text, text)
		if err != nil {
			continue
		}
		if layout.short {
			if d.century == 0 {
				return "", badDate
			}
			t = inCentury(t, d.century)
		}
		if t.Month() == 0 || t.Year() < 1 {
			return "", badDate
		}
		if layout.zoned && as != "date" {
			return stamped(t, as), ""
		}
		return d.local(t, layout.clock, as)
	}
	return "", badDate
}

// stamped writes a moment.
func stamped(t time.Time, as string) string {
	if as == "instant" || as == "by" {
		t = t.UTC()
	}
	return t.Format("2006-01-02T15:04:05.999999999Z07:00")
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
	at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), d.zone)
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
	return stamped(at, as), ""
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
	for _, text := range s.strs("layouts") {
		l := newDateLayout(text)
		if fault := l.fault(); fault != "" {
			f.add(file, n.line, "date layout %q %s", text, fault)
		}
		d.layouts = append(d.layouts, l)
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
