package verify_test

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"trellis/gateway/audit"
	"trellis/gateway/audit/verify"
)

// BenchmarkVerify measures rows a second, of an intact log and of one that has to be diagnosed.
func BenchmarkVerify(b *testing.B) {
	const rows = 20_000
	f := newFixture(b, rows/4, rows/4, rows/4, rows/4)
	for _, name := range []string{"intact", "changed"} {
		if name == "changed" {
			f.log.Tamper("row-7777", func(l audit.Leaf) audit.Leaf { l.Event = []byte(`{}`); return l })
		}
		data := strings.Join(f.export(b), "")
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r, err := verify.Verify(strings.NewReader(data), verify.Options{Keys: []note.Verifier{f.key}})
				if err != nil || r.OK() != (name == "intact") {
					b.Fatal(r, err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
