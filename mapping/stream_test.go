package mapping

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// delivery writes the clean case of the New York pack with so many people into a folder.
func delivery(t testing.TB, people int) []Source {
	t.Helper()
	dir := t.TempDir()
	var out []Source
	for _, file := range caseFiles(t, "ny-1115-ahc-hrsn/cases/clean.case") {
		head, rows, _ := strings.Cut(strings.TrimSpace(string(file.Data)), "\n")
		f, err := os.Create(filepath.Join(dir, file.Name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		var b strings.Builder
		b.WriteString(head + "\n")
		for n := range people {
			b.WriteString(strings.NewReplacer("M1|", fmt.Sprintf("M%d|", n), "|E1|", fmt.Sprintf("|E%d|", n)).Replace(rows) + "\n")
		}
		if _, err := f.WriteString(b.String()); err != nil {
			t.Fatal(err)
		}
		out = append(out, Source{Name: file.Name, Data: f, Size: int64(b.Len())})
	}
	return out
}

// TestStreamMemory: a delivery ten times as large takes ten times the index of its rows and nothing else.
func TestStreamMemory(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	live := func(people int) (bytes int64, records int) {
		var before, now runtime.MemStats
		sources := delivery(t, people)
		runtime.GC()
		runtime.ReadMemStats(&before)
		report, err := p.MapStream(testEnv(false), sources, func(Record) error {
			if records++; records == people { // in the middle of the run
				runtime.GC()
				runtime.ReadMemStats(&now)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if report.Counts.Rejected > 0 || report.Counts.Records != records {
			t.Fatalf("%d records, %+v", records, report.Counts)
		}
		return int64(now.HeapAlloc) - int64(before.HeapAlloc), records
	}
	const few, many = 200, 1700 // 6 screening rows each: 1,200 and 10,200
	small, _ := live(few)
	large, records := live(many)
	perPerson := (large - small) / (many - few)
	t.Logf("%d records; %d KB with %d people, %d KB with %d: %d bytes of index for each", records, small>>10, few, large>>10, many, perPerson)
	if perPerson > 4096 {
		t.Errorf("each person more takes %d bytes: more than where their 8 rows stand", perPerson)
	}
}

// What is read from files is what is read from memory.
func TestStreamIsMapFiles(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	for _, name := range []string{"clean", "flags-yes", "flawed-rows"} {
		files := caseFiles(t, "ny-1115-ahc-hrsn/cases/"+name+".case")
		files[0].Data = append([]byte("\xef\xbb\xbf"), files[0].Data...)
		want, err := p.MapFiles(testEnv(false), caseFiles(t, "ny-1115-ahc-hrsn/cases/"+name+".case"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.MapFiles(testEnv(false), files)
		if err != nil {
			t.Fatal(err)
		}
		a, err := want.Bundle()
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.Bundle()
		if err != nil {
			t.Fatal(err)
		}
		if string(a) != string(b) || len(want.Report.Problems) != len(got.Report.Problems) {
			t.Errorf("%s: a byte order mark changes the result", name)
		}
	}
}

// FuzzQuickCheck: what is accepted quickly, the library accepts too.
func FuzzQuickCheck(f *testing.F) {
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
			f.Add([]byte(c.Input))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeJSON(data)
		if err != nil {
			return
		}
		for _, p := range packs {
			for _, m := range p.maps {
				if q := m.schema.quick; q != nil && q.accepts(v) {
					if err := m.schema.schema.Validate(v); err != nil {
						t.Fatalf("%s is accepted quickly and refused by the library: %v", p.Name, err)
					}
				}
			}
		}
	})
}

func TestQuickCheckKnowsThePacks(t *testing.T) {
	packs, err := LoadAll(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		for _, m := range p.maps {
			if p.Format == "json" && m.schema.quick == nil {
				t.Errorf("the schema of %s goes to the library every time", p.Name)
			}
		}
		for _, k := range p.files {
			if k.schema.quick == nil {
				t.Errorf("the schema of %s of %s goes to the library every time", k.name, p.Name)
			}
		}
	}
}
