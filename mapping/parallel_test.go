package mapping

import (
	"bytes"
	"io/fs"
	"strings"
	"sync"
	"testing"
)

// A Pack is shared by all requests of a gateway.
func TestPackServesManyAtOnce(t *testing.T) {
	p := load(t, "recovery-plan")
	data, err := fs.ReadFile(Packs(), "recovery-plan/cases/full-plan.case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	first, err := p.MapJSON(testEnv(false), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	want, err := first.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				res, err := p.MapJSON(testEnv(false), []byte(input))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := res.Bundle(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("another result: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
