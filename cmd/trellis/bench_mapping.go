package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/google/uuid"

	"trellis/fhir"
	"trellis/mapping"
)

// mappingRows measure the mapping engine alone, on one core: no store, no R4 validation but where it says so.
func mappingRows(d time.Duration) ([]measurement, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	packs := map[string]*mapping.Pack{}
	for _, name := range []string{"peer-encounter", "sdoh-screening", "ny-1115-ahc-hrsn"} {
		pack, err := mapping.Load(mapping.Packs(), name)
		if err != nil {
			return nil, err
		}
		packs[name] = pack
	}
	now := time.Now().UTC()
	env := mapping.Env{Namespace: uuid.New(), Base: fhir.LocalBase, Now: now, Organization: mapping.Organization{ID: benchOTP, Name: "Benchmark", System: fhir.LocalBase + "/ids/bench", Part2: true}}
	session, err := json.Marshal((&loader{now: now}).session(community()[0]))
	if err != nil {
		return nil, err
	}
	screening, err := json.Marshal(benchScreening(now))
	if err != nil {
		return nil, err
	}
	lineage := env
	lineage.Lineage = true
	parse, err := parsing(packs["peer-encounter"], env, session)
	if err != nil {
		return nil, err
	}
	row := func(name, target, value string) measurement {
		return measurement{Store: "none", Name: name, Target: target, Value: value}
	}
	plain, traced, err := inTurns(d, mapped(packs["peer-encounter"], env, session), mapped(packs["peer-encounter"], lineage, session))
	if err != nil {
		return nil, err
	}
	screenings, _, err := inTurns(d, mapped(packs["sdoh-screening"], env, screening), nil)
	if err != nil {
		return nil, err
	}
	validations, _, err := inTurns(d, parse, nil)
	if err != nil {
		return nil, err
	}
	small, err := heapWhileMapping(packs["ny-1115-ahc-hrsn"], env, 1_000/6)
	if err != nil {
		return nil, err
	}
	large, err := heapWhileMapping(packs["ny-1115-ahc-hrsn"], env, 10_000/6)
	if err != nil {
		return nil, err
	}
	return []measurement{
		row("mapping engine alone, peer encounters on one core", ">= 5000 /s", count(plain)+" /s"),
		row("mapping engine alone, AHC-HRSN screenings on one core", ">= 1500 /s", count(screenings)+" /s"),
		row("mapping with lineage, part of the speed without", ">= 0.70", fmt.Sprintf("%.2f", traced/plain)),
		row("R4 validation of a peer encounter's resources, one core", "", count(validations)+" /s"),
		row("memory while 10,000 CSV rows are mapped, with 1,000 rows", "flat", fmt.Sprintf("%.1f MB, %.1f MB", float64(large)/1e6, float64(small)/1e6)),
	}, nil
}

// inTurns does two things in turns, so that both meet the same machine, and gives how often a second each was done.
func inTurns(d time.Duration, a, b func() error) (perSecondA, perSecondB float64, err error) {
	things := []func() error{a, b}
	var spent [2]time.Duration
	var done [2]int
	for spent[0]+spent[1] < d {
		for i, thing := range things {
			if thing == nil {
				continue
			}
			begin := time.Now()
			for range 50 {
				if err := thing(); err != nil {
					return 0, 0, err
				}
			}
			spent[i] += time.Since(begin)
			done[i] += 50
		}
	}
	rate := func(i int) float64 {
		if spent[i] == 0 {
			return 0
		}
		return float64(done[i]) / spent[i].Seconds()
	}
	return rate(0), rate(1), nil
}

func mapped(pack *mapping.Pack, env mapping.Env, record []byte) func() error {
	return func() error {
		_, err := pack.MapJSON(env, record)
		return err
	}
}

func parsing(pack *mapping.Pack, env mapping.Env, record []byte) (func() error, error) {
	parser, err := fhir.NewParser()
	if err != nil {
		return nil, err
	}
	res, err := pack.MapJSON(env, record)
	if err != nil {
		return nil, err
	}
	return func() error {
		for _, r := range res.Records[0].Resources {
			if _, err := parser.Parse(r.JSON); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// benchScreening answers every coded question of the core instrument.
func benchScreening(now time.Time) map[string]any {
	var answers []any
	for _, pair := range []string{"living_situation|worried", "housing_problems|pests", "housing_problems|mold", "food_worry|often", "food_ran_out|never", "transport|yes",
		"utilities|no", "hurt|never", "insulted|never", "threatened|never", "screamed_at|never"} {
		question, answer, _ := strings.Cut(pair, "|")
		answers = append(answers, map[string]any{"question": question, "answer": answer})
	}
	answers = append(answers, map[string]any{"question": "safety_score", "number": 4})
	at := now.Format(time.RFC3339)
	return map[string]any{"screening_id": "B-1", "instrument": "ahc-hrsn-core", "status": "done", "screened_at": at, "last_updated": at,
		"client": map[string]any{"id": "C-1", "sex": "female", "name": map[string]any{"first": "Ada", "last": "Testwoman"}}, "answers": answers}
}

// heapWhileMapping is what is alive in the middle of mapping a delivery of so many people, with six screening rows each.
func heapWhileMapping(pack *mapping.Pack, env mapping.Env, people int) (uint64, error) {
	cases, err := pack.Cases()
	if err != nil {
		return 0, err
	}
	var sources []mapping.Source
	for _, c := range cases {
		if !strings.HasSuffix(c.File, "/clean.case") {
			continue
		}
		for _, f := range mapping.CaseFiles(c.Input) {
			head, rows, _ := strings.Cut(strings.TrimSpace(string(f.Data)), "\n")
			var b strings.Builder
			b.WriteString(head + "\n")
			for n := range people {
				b.WriteString(strings.NewReplacer("M1|", fmt.Sprintf("M%d|", n), "|E1|", fmt.Sprintf("|E%d|", n)).Replace(rows) + "\n")
			}
			text := b.String()
			sources = append(sources, mapping.Source{Name: f.Name, Data: strings.NewReader(text), Size: int64(len(text))})
		}
	}
	var before, middle runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before) // the text itself stands for the file
	records := 0
	_, err = pack.MapStream(env, sources, func(mapping.Record) error {
		if records++; records == people {
			runtime.GC()
			runtime.ReadMemStats(&middle)
		}
		return nil
	})
	return middle.HeapAlloc - before.HeapAlloc, err
}
