package mapping

import (
	"strings"
	"testing"
)

// Formats of others let further fields pass. A record with some is mapped, and the report says how many were not read and
// never what they are called: a name may be the sender's own.
func TestFieldsNobodyKnowsAreCounted(t *testing.T) {
	p := load(t, "meeting-guide")
	res, err := p.MapJSON(testEnv(false), []byte(`{"name": "A", "slug": "a", "Ada Testwoman": 1, "contact_1_name": "Bo"}`))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, pr := range res.Report.Problems {
		found = found || pr.Code == "unknown-field" && strings.HasPrefix(pr.Text, "has 2 ") && pr.Dropped
		if strings.Contains(pr.Text+pr.Pointer, "Ada") {
			t.Errorf("the report names a field of the sender: %+v", pr)
		}
	}
	if !found {
		t.Errorf("fields were left out without a word: %+v", res.Report.Problems)
	}
	for _, r := range res.Records[0].Resources {
		if strings.Contains(string(r.JSON), "Bo") || strings.Contains(string(r.JSON), "Ada") {
			t.Errorf("%s holds what the pack does not know", r.Slot)
		}
	}
}

// A list of one may be written as the one thing where the schema says so.
func TestOneValueIsAListOfOne(t *testing.T) {
	p := load(t, "meeting-guide")
	var got [2]string
	for i, day := range []string{"3", "[3]"} {
		res, err := p.MapJSON(testEnv(false), []byte(`{"name": "A", "slug": "a", "day": `+day+`, "time": "9:05"}`))
		if err != nil {
			t.Fatal(err)
		}
		got[i] = string(res.Records[0].Resources[0].JSON)
	}
	if got[0] != got[1] || !strings.Contains(got[0], `"daysOfWeek":["wed"]`) || !strings.Contains(got[0], `"availableStartTime":"09:05:00"`) {
		t.Errorf("one day\n%s\nand a list of it\n%s", got[0], got[1])
	}
}
