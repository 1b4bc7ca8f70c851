package mapping

import (
	"io/fs"
	"strings"
	"testing"
)

// BenchmarkPeerEncounter measures the engine alone on a full session; the target is 5,000 records per second and core.
func BenchmarkPeerEncounter(b *testing.B) {
	p := load(b, "peer-encounter")
	data, err := fs.ReadFile(Packs(), "peer-encounter/cases/session-in-person.case")
	if err != nil {
		b.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	record, env := []byte(input), testEnv(true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.MapJSON(env, record); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
