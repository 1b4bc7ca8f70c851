package mapping

import (
	"testing"
	"time"
)

func TestDates(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	rules := dateRules{layouts: []string{"01/02/06 15:04", "01/02/06", "01/02/2006", "15:04 02.01.2006"}, zone: zone, century: 1930}
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

func TestDatesWithoutDeclarations(t *testing.T) {
	rules := dateRules{layouts: []string{"01/02/06 15:04", "01/02/2006 15:04"}}
	if got, why := rules.read("01/27/02 15:42", "date"); got != "" || why != badDate {
		t.Errorf("a two-digit year without a century rule became %q %q", got, why)
	}
	if got, why := rules.read("01/27/2002 15:42", "dateTime"); got != "" || why != zoneMissing {
		t.Errorf("a time without a zone became %q %q", got, why)
	}
}
