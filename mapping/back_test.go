package mapping

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A record with several resources of one type, one of which bears the bare key, is one record: with ids of ours, which
// prove each reading, and with ids that a partner gave.
func TestSlotsOfOneTypeAreOneRecord(t *testing.T) {
	const file = "mutual-aid/cases/all-shared.case"
	data, err := fs.ReadFile(Packs(), file)
	if err != nil {
		t.Fatal(err)
	}
	p, env := load(t, "mutual-aid"), testEnv(false)
	res := mapCase(t, file, false)
	want := backOf(t, p, env, res)
	if want.Key != "A-2" || !strings.Contains(string(data), `"A-2"`) {
		t.Fatalf("the record that came back is %q", want.Key)
	}
	var bodies [][]byte
	for _, r := range res.Records[0].Resources {
		body := string(r.JSON)
		if r.Type == "Observation" {
			body = strings.Replace(body, r.ID, "theirs-"+r.Slot, 1)
		}
		bodies = append(bodies, []byte(body))
	}
	got, foreign, err := p.Back(env, bodies)
	if err != nil || len(got) != 1 || len(foreign) > 0 {
		t.Fatalf("%d records came back, %v are not known: %v", len(got), foreign, err)
	}
	if diff := cmp.Diff(want.Record, got[0].Record); diff != "" {
		t.Errorf("with ids of the partner (-ours +theirs)\n%s", diff)
	}
}
