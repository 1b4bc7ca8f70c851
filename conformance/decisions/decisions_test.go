package decisions_test

import (
	"testing"

	"trellis/conformance/decisions"
)

func TestLoad(t *testing.T) {
	f, err := decisions.Load()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, c := range f.Cases {
		have[c.ID] = true
	}
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
		"22", "23", "24", "25", "26", "27", "28", "29", "36", "37", "78"} {
		if !have[id] {
			t.Errorf("no case %s", id)
		}
	}
	if len(f.Records) == 0 || len(f.Organizations) == 0 {
		t.Error("nothing on file")
	}
}
