package mapping

import (
	"io/fs"
	"strings"
	"testing"
)

// BenchmarkPeerEncounter measures the engine alone on a full session; the target is 5,000 records per second and core.
func BenchmarkPeerEncounter(b *testing.B) { benchPeerEncounter(b, testEnv(true)) }

// BenchmarkPeerEncounterLineage is the same with the origin of every element; it may cost 30 % more.
func BenchmarkPeerEncounterLineage(b *testing.B) {
	env := testEnv(true)
	env.Lineage = true
	benchPeerEncounter(b, env)
}

func benchPeerEncounter(b *testing.B, env Env) {
	p := load(b, "peer-encounter")
	data, err := fs.ReadFile(Packs(), "peer-encounter/cases/session-in-person.case")
	if err != nil {
		b.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	record := []byte(input)
	benchRecord(b, p, env, record)
}

func benchRecord(b *testing.B, p *Pack, env Env, record []byte) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.MapJSON(env, record); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkScreening measures the engine alone on an AHC-HRSN screening of twelve answers; the target is 1,500 per second and
// core.
func BenchmarkScreening(b *testing.B) {
	p := load(b, "sdoh-screening")
	var answers []string
	for _, pair := range []string{"living_situation|worried", "housing_problems|pests", "housing_problems|mold", "food_worry|often", "food_ran_out|never",
		"transport|yes", "utilities|no", "hurt|never", "insulted|never", "threatened|never", "screamed_at|never"} {
		question, answer, _ := strings.Cut(pair, "|")
		answers = append(answers, `{"question": "`+question+`", "answer": "`+answer+`"}`)
	}
	record := []byte(`{"screening_id": "B-1", "instrument": "ahc-hrsn-core", "status": "done", "screened_at": "2026-03-02T10:00:00-05:00",
		"last_updated": "2026-03-02T10:00:00-05:00", "client": {"id": "C-1", "sex": "female", "name": {"first": "Ada", "last": "Testwoman"}},
		"answers": [` + strings.Join(answers, ",") + `, {"question": "safety_score", "number": 4}]}`)
	benchRecord(b, p, testEnv(true), record)
}

// BenchmarkScreeningFiles measures a delivery of 200 people with two instruments each; a record is one visit.
func BenchmarkScreeningFiles(b *testing.B) {
	p := load(b, "ny-1115-ahc-hrsn")
	files := caseFiles(b, "ny-1115-ahc-hrsn/cases/clean.case")
	for i := range files {
		head, rows, _ := strings.Cut(string(files[i].Data), "\n")
		var all strings.Builder
		all.WriteString(head + "\n")
		for n := range 200 {
			all.WriteString(strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(rows)+"\n", "M1|", "M"+itoa(n)+"|"), "|E1|", "|E"+itoa(n)+"|"))
		}
		files[i].Data = []byte(all.String())
	}
	env := testEnv(false)
	b.ReportAllocs()
	visits := 0
	for b.Loop() {
		res, err := p.MapFiles(env, files)
		if err != nil {
			b.Fatal(err)
		}
		visits += res.Report.Counts.ByType["Encounter"]
	}
	b.ReportMetric(float64(visits)/b.Elapsed().Seconds(), "visits/s")
}
