package mapping

import (
	"encoding/json"
	"errors"
	"testing"
)

// FuzzBack feeds bytes as resources to every pack: never a panic, always records that are JSON or an *InvalidError. What
// the packs made themselves is among the seeds.
func FuzzBack(f *testing.F) {
	packs, err := LoadAll(Packs())
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range packs {
		cases, err := p.Cases()
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range cases {
			var want struct{ Resources []json.RawMessage }
			if err := json.Unmarshal([]byte(c.Want), &want); err != nil {
				f.Fatal(err)
			}
			data, err := json.Marshal(want.Resources)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bodies, err := SplitResources(data)
		if err != nil {
			return
		}
		for _, p := range packs {
			natives, _, err := p.Back(testEnv(false), bodies)
			if err != nil {
				if !errors.As(err, new(*InvalidError)) {
					t.Fatal(err)
				}
				continue
			}
			for _, n := range natives {
				if _, err := json.Marshal(n.Record); err != nil {
					t.Fatal(err)
				}
			}
			if p.Format == "csv" {
				if _, err := p.Rows(natives); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
