package mutation_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"trellis/conformance/mutation"
)

var (
	root = filepath.Join("..", "..")
	mode = flag.String("trellis.mutate", "", "run the mutations whose names match this pattern; each builds and tests the product once")
	skip = flag.String("trellis.mutate.but", "", "and do not match this one")
)

// TestMutationsApply: each edit finds its place, and each mutation's tests exist. It is cheap, and keeps the list true.
func TestMutationsApply(t *testing.T) {
	list, err := mutation.Load()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range list {
		if m.Name == "" || m.Removes == "" || m.Run == "" || len(m.Edits) == 0 || seen[m.Name] {
			t.Errorf("%q lacks something or is there twice", m.Name)
		}
		seen[m.Name] = true
		if _, err := mutated(m); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(m.Run, -1) {
			if !declared(t, m.Package, name) {
				t.Errorf("%s: no test %s in %s", m.Name, name, m.Package)
			}
		}
	}
	if len(list) < 30 {
		t.Errorf("%d mutations", len(list))
	}
}

// declared reports whether a package declares a test.
func declared(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "func "+name) {
			return true
		}
	}
	return false
}

// mutated is the files of a mutation as they become, by path from the root.
func mutated(m mutation.Mutation) (map[string]string, error) {
	out := map[string]string{}
	for _, e := range m.Edits {
		source, ok := out[e.File]
		if !ok {
			data, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				return nil, err
			}
			source = string(data)
		}
		if n := strings.Count(source, e.Find); n != 1 {
			return nil, fmt.Errorf("%s: the text to replace occurs %d times", e.File, n)
		}
		out[e.File] = strings.Replace(source, e.Find, e.Replace, 1)
	}
	return out, nil
}

// TestMutations takes each enforcement point away in turn: the tests must fail, and the product must still build.
func TestMutations(t *testing.T) {
	if *mode == "" {
		t.Log("not run: `make mutation` does, and takes most of an hour")
		return
	}
	pattern, err := regexp.Compile("^(" + *mode + ")$")
	if err != nil {
		t.Fatal(err)
	}
	list, err := mutation.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if pattern.MatchString(m.Name) && (*skip == "" || !regexp.MustCompile("^("+*skip+")$").MatchString(m.Name)) {
			t.Run(m.Name, func(t *testing.T) { run(t, m) })
		}
	}
}

func run(t *testing.T, m mutation.Mutation) {
	files, err := mutated(m)
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	dir := t.TempDir()
	for file, source := range files {
		from, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[from] = to
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "suite.test")
	if out, err := command(t, root, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", path, "-o", binary, m.Package); err != nil {
		t.Fatalf("without %s the product does not build: %v\n%s", m.Removes, err, out)
	}
	out, err := command(t, filepath.Join(root, m.Package), binary, "-test.run", m.Run, "-test.timeout", "10m")
	switch {
	case err == nil:
		t.Errorf("SURVIVED: without %s, %s passes", m.Removes, m.Run)
	case !strings.Contains(out, "--- FAIL"):
		t.Errorf("without %s, %s ends without a failing test: %v\n%s", m.Removes, m.Run, err, out)
	default:
		t.Logf("killed by %s", strings.TrimSpace(regexp.MustCompile(`--- FAIL: \S+`).FindString(out)))
	}
}

func command(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
