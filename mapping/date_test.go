package mapping

import (
	"strings"
	"testing"
	"time"
)

func layoutsOf(texts ...string) (out []dateLayout) {
	for _, text := range texts {
		out = append(out, newDateLayout(text))
	}
	return out
}

func TestDates(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	rules := dateRules{layouts: layoutsOf("01/02/06 15:04", "01/02/06", "01/02/2006", "15:04 02.01.2006"), zone: zone, century: 1930}
	tests := []struct{ in, as, want, why string }{
		{"01/27/02 15:42", "dateTime", "2002-01-27T15:42:00-05:00", ""},
		{"03/05/94 13:08", "dateTime", "1994-03-05T13:08:00-05:00", ""},
		{"07/04/29 00:00", "dateTime", "2029-07-04T00:00:00-04:00", ""},
		{"07/04/30", "date", "1930-07-04", ""},
		{"02/29/32", "date", "1932-02-29", ""},
		{"02/29/31", "date", "", badDate},
		{"07/04/1776", "date", "1776-07-04", ""},
		{"01/27/02 15:42", "date", "2002-01-27", ""},
		{"01/27/02 15:42", "instant", "2002-01-27T20:42:00Z", ""},
		{"01/27/02", "instant", "", timeMissing},
		{"03/10/24 02:30", "dateTime", "2024-03-10", ambiguousTime},
		{"03/10/24 02:30", "instant", "", ambiguousTime},
		{"11/03/24 01:30", "dateTime", "2024-11-03", ambiguousTime},
		{"11/03/24 03:30", "dateTime", "2024-11-03T03:30:00-05:00", ""},
		{"11/03/24 01:30", "by", "2024-11-03T06:30:00Z", ""},
		{"03/10/24 02:30", "by", "2024-03-10T07:30:00Z", ""},
		{"07/04/24 02:30", "by", "2024-07-04T06:30:00Z", ""},
		{"2024", "date", "2024", ""},
		{"2024-05", "dateTime", "2024-05", ""},
		{"0000", "date", "", badDate},
		{"2023-02-29", "date", "", badDate},
		{"2024-05-01T10:00:00Z", "dateTime", "2024-05-01T10:00:00Z", ""},
		{"2024-05-01t10:00:00.120z", "dateTime", "2024-05-01T10:00:00.120Z", ""},
		{"2024-05-01T10:00:00", "dateTime", "", badDate},
		{"2024-05-01T25:00:00Z", "dateTime", "", badDate},
		{"2024-05-01T23:30:00-05:00", "date", "2024-05-01", ""},
		{"", "date", "", badDate},
		{"soon", "date", "", badDate},
	}
	for _, tt := range tests {
		got, why := rules.read(tt.in, tt.as)
		if got != tt.want || why != tt.why {
			t.Errorf("%q as %s: got %q %q, want %q %q", tt.in, tt.as, got, why, tt.want, tt.why)
		}
	}
}

// Clocks of twelve hours, and times that name their zone, whatever the pack's own is; and back.
func TestDatesOfOtherClocks(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ layout, in, as, want, why string }{
		{"1/2/2006 3:04 PM", "1/27/2002 3:42 PM", "dateTime", "2002-01-27T15:42:00-05:00", ""},
		{"1/2/2006 3:04 PM", "1/27/2002 12:05 AM", "instant", "2002-01-27T05:05:00Z", ""},
		{"2006-01-02 15:04:05-07", "2026-03-01 23:30:00-08", "dateTime", "2026-03-01T23:30:00-08:00", ""},
		{"2006-01-02 15:04:05-07", "2026-03-01 23:30:00-08", "date", "2026-03-01", ""},
		{"2006-01-02 15:04:05 -0700", "2026-03-01 23:30:00 -0800", "instant", "2026-03-02T07:30:00Z", ""},
		{"2006-01-02 15:04:05 -0700", "2026-03-08 02:30:00 -0500", "by", "2026-03-08T07:30:00Z", ""}, // no clock change can make it double
		{"2006-01-02 15:04:05.000", "2026-03-01 10:00:00.250", "instant", "2026-03-01T15:00:00.25Z", ""},
	}
	for _, tt := range tests {
		rules := dateRules{layouts: layoutsOf(tt.layout), zone: zone}
		got, why := rules.read(tt.in, tt.as)
		if got != tt.want || why != tt.why {
			t.Errorf("%q as %s: got %q %q, want %q %q", tt.in, tt.as, got, why, tt.want, tt.why)
		}
		if tt.as == "dateTime" {
			if back, ok := rules.write(got, ""); !ok || back != tt.in {
				t.Errorf("%s comes back as %q %t, was %q", got, back, ok, tt.in)
			}
		}
	}
	for layout, fault := range map[string]string{
		"01/02/2006 3:04": "PM", "01/02/2006 15:04 MST": "-0700", "02/01": "must have a year", "01/02/2006 3:04 PM": "", "20060102150405": "", "2006-01-02T15:04:05Z07:00": "",
	} {
		if got := newDateLayout(layout).fault(); (fault == "") != (got == "") || !strings.Contains(got, fault) {
			t.Errorf("%s: fault %q, want %q", layout, got, fault)
		}
	}
}

func TestDatesWithoutDeclarations(t *testing.T) {
	rules := dateRules{layouts: layoutsOf("01/02/06 15:04", "01/02/2006 15:04")}
	if got, why := rules.read("01/27/02 15:42", "date"); got != "" || why != badDate {
		t.Errorf("a two-digit year without a century rule became %q %q", got, why)
	}
	named := dateRules{layouts: layoutsOf("01/02/2006 15:04 -0700")}
	if got, why := named.read("01/27/2002 15:42 -0600", "dateTime"); got != "2002-01-27T15:42:00-06:00" || why != "" {
		t.Errorf("a time with its zone became %q %q", got, why)
	}
	if got, why := rules.read("01/27/2002 15:42", "dateTime"); got != "" || why != zoneMissing {
		t.Errorf("a time without a zone became %q %q", got, why)
	}
}
