package decisions_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trellis/conformance/decisions"
)

var update = flag.Bool("update", false, "write README.md anew")

// TestReadme: every test vector is proven somewhere, or a reason is given, and README.md says so.
func TestReadme(t *testing.T) {
	f, err := decisions.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Records) == 0 || len(f.Organizations) == 0 || len(f.More) == 0 {
		t.Error("nothing on file")
	}
	want, err := decisions.Readme(f)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Error("README.md is not what the cases say: go test ./conformance/decisions -update")
	}
}

// TestNamedTestsExist: what numbers.json names can be looked up.
func TestNamedTestsExist(t *testing.T) {
	f, err := decisions.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Numbers {
		for _, named := range n.Tests {
			pkg, test, _ := strings.Cut(named, " ")
			if !declared(t, pkg, test) {
				t.Errorf("%d: there is no %s", n.Number, named)
			}
		}
	}
}

func declared(t *testing.T, pkg, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "func "+test+"(") {
			return true
		}
	}
	return false
}

// TestEveryRecordIsUsed: a record or consent no case gives says nothing.
func TestEveryRecordIsUsed(t *testing.T) {
	f, err := decisions.Load()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, c := range f.Cases {
		for _, name := range c.Given {
			used[name] = true
		}
		for _, s := range c.Steps {
			used[s.Write] = true
		}
	}
	for _, r := range append(f.More, f.Consents...) {
		if !used[r.Name] {
			t.Errorf("no case uses %s", r.Name)
		}
	}
}
