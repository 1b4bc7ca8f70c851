package mapping

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// testEnv is the deployment all golden cases are mapped in.
func testEnv(part2 bool) Env {
	env := CaseEnv()
	env.Organization.Part2 = part2
	return env
}

func load(t testing.TB, name string) *Pack {
	t.Helper()
	p, err := Load(Packs(), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCases(t *testing.T) {
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := load(t, name)
		cases, err := p.Cases()
		if err != nil {
			t.Fatal(err)
		}
		if len(cases) == 0 {
			t.Errorf("pack %s has no golden cases", name)
		}
		for _, c := range cases {
			t.Run(strings.TrimSuffix(c.File, ".case"), func(t *testing.T) { runCase(t, p, c) })
		}
	}
}

func runCase(t *testing.T, p *Pack, c Case) {
	got, err := p.RunCase(c)
	if err != nil {
		t.Fatal(err)
	}
	if updating(t) {
		if err := os.WriteFile(filepath.Join("packs", c.File), c.Text(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(c.Want, got); diff != "" {
		t.Errorf("(-want +got, go test -update writes it anew)\n%s", diff)
	}
}

func mapInput(p *Pack, env Env, input string) (*Result, error) {
	if p.Format == "json" {
		return p.MapJSON(env, []byte(input))
	}
	return p.MapFiles(env, CaseFiles(input))
}
