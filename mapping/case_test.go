package mapping

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func updating(t *testing.T) bool {
	t.Helper()
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the expected half of the golden cases anew")
	os.Exit(m.Run())
}

// testEnv is the deployment all golden cases are mapped in. A case whose name ends in -part2 has a Part 2 sender; in
// one that ends in -proposed the deployment asks for proposed concerns.
func testEnv(part2 bool) Env {
	return Env{
		Namespace: uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
		Organization: Organization{
			ID: "org-1", Name: "Example Recovery", System: "https://recovery.example/ids", Part2: part2,
		},
		Base: "https://trellis.example/fhir",
		Now:  time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
	}
}

func load(t testing.TB, name string) *Pack {
	t.Helper()
	p, err := Load(Packs(), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A case file holds the native input, a line of dashes and what is expected of it. The input of a CSV pack is its
// files, each under a line "== name".
const caseRule = "----------"

func TestCases(t *testing.T) {
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		files, err := fs.Glob(Packs(), name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			t.Errorf("pack %s has no golden cases", name)
		}
		p := load(t, name)
		for _, file := range files {
			t.Run(strings.TrimSuffix(file, ".case"), func(t *testing.T) { runCase(t, p, file) })
		}
	}
}

func runCase(t *testing.T, p *Pack, file string) {
	data, err := fs.ReadFile(Packs(), file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, _ := strings.Cut(string(data), caseRule+"\n")
	env := testEnv(strings.HasSuffix(file, "-part2.case"))
	env.ProposeConcerns = strings.HasSuffix(file, "-proposed.case")
	got := outcome(t, p, env, input)
	if updating(t) {
		out := strings.TrimRight(input, "\n") + "\n" + caseRule + "\n" + got
		if err := os.WriteFile(filepath.Join("packs", file), []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got, go test -update writes it anew)\n%s", diff)
	}
}

// caseOutput is the expected half of a case: the resources in order, and the report without its coverage of fields
// that were not there.
type caseOutput struct {
	Invalid   []Problem         `json:"invalid,omitempty"`
	Resources []json.RawMessage `json:"resources,omitempty"`
	Problems  []Problem         `json:"problems,omitempty"`
	Losses    []Loss            `json:"losses,omitempty"`
}

func outcome(t *testing.T, p *Pack, env Env, input string) string {
	t.Helper()
	res, err := mapInput(p, env, input)
	var out caseOutput
	if err != nil {
		inv, ok := err.(*InvalidError)
		if !ok {
			t.Fatal(err)
		}
		out.Invalid = inv.Problems
	} else {
		for _, rec := range res.Records {
			for _, r := range rec.Resources {
				out.Resources = append(out.Resources, r.Labelled())
			}
		}
		out.Problems, out.Losses = res.Report.Problems, res.Report.Losses
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func mapInput(p *Pack, env Env, input string) (*Result, error) {
	if p.Format == "json" {
		return p.MapJSON(env, []byte(input))
	}
	return p.MapFiles(env, splitFiles(input))
}

// splitFiles takes the files of a CSV case apart.
func splitFiles(input string) []File {
	var files []File
	for _, part := range strings.Split("\n"+input, "\n== ")[1:] {
		name, data, _ := strings.Cut(part, "\n")
		files = append(files, File{Name: name, Data: []byte(data)})
	}
	return files
}
