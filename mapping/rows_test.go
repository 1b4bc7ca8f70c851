package mapping

import (
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A delivery comes back as files that map to the same resources.
func TestRowsComeBack(t *testing.T) {
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := load(t, name)
		if p.Format != "csv" {
			continue
		}
		files, err := fs.Glob(Packs(), name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			t.Run(file, func(t *testing.T) {
				env := testEnv(false)
				res, err := p.MapFiles(env, caseFiles(t, file))
				if err != nil {
					t.Fatal(err)
				}
				for _, pr := range res.Report.Problems {
					if pr.Code == ambiguousTime {
						return // the hour was lost, and a row without one is not taken
					}
				}
				var bodies [][]byte
				for _, rec := range res.Records {
					for _, r := range rec.Resources {
						bodies = append(bodies, r.JSON)
					}
				}
				back, foreign, err := p.Back(env, bodies)
				if err != nil || len(foreign) > 0 {
					t.Fatal(err, foreign)
				}
				for _, n := range back {
					if len(n.Unknown)+len(n.Problems) > 0 {
						t.Errorf("what the pack made itself is not known to it: %+v %+v", n.Unknown, n.Problems)
					}
				}
				rows, err := p.Rows(back)
				if err != nil {
					t.Fatal(err)
				}
				again, err := p.MapFiles(env, rows)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(allResources(t, res), allResources(t, again)); diff != "" {
					for _, f := range rows {
						t.Logf("%s\n%s", f.Name, f.Data)
					}
					t.Errorf("(-first +again)\n%s", diff)
				}
			})
		}
	}
}

func allResources(t *testing.T, res *Result) map[string]any {
	out := map[string]any{}
	for i := range res.Records {
		one := &Result{Records: res.Records[i : i+1]}
		for ref, v := range resourceSet(t, one) {
			out[ref] = v
		}
	}
	return out
}
