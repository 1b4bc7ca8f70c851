package mutation_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"trellis/conformance/mutation"
)

var (
	root = filepath.Join("..", "..")
	only = flag.String("trellis.mutate", "", "take away the enforcement points whose names match this pattern")
	by   = flag.String("trellis.by", "", "count which points these tests of cmd/trellis notice, in place of the tests that name them")
)

// gone names the point that is taken away, to the program under test.
const gone = "TRELLIS_TEST_GONE"

// TestMutationsApply: each edit finds its place, and each mutation's tests exist. It is cheap, and keeps the list true.
func TestMutationsApply(t *testing.T) {
	list := load(t)
	seen := map[string]bool{}
	for _, m := range list {
		if m.Name == "" || m.Removes == "" || m.Run == "" || len(m.Edits) == 0 || seen[m.Name] {
			t.Errorf("%q lacks something or is there twice", m.Name)
		}
		seen[m.Name] = true
		for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(m.Run, -1) {
			if !declared(t, m.Package, name) {
				t.Errorf("%s: no test %s in %s", m.Name, name, m.Package)
			}
		}
	}
	if _, err := mutated(list); err != nil {
		t.Error(err)
	}
	if len(list) < 30 {
		t.Errorf("%d mutations", len(list))
	}
}

func load(t *testing.T) []mutation.Mutation {
	t.Helper()
	list, err := mutation.Load()
	if err != nil {
		t.Fatal(err)
	}
	return list
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

// mutated is the files of all mutations as they become, by path from the root: each edit asks whether one of its points
// is gone.
func mutated(list []mutation.Mutation) (map[string]string, error) {
	names := map[mutation.Edit][]string{}
	var edits []mutation.Edit
	for _, m := range list {
		for _, e := range m.Edits {
			if names[e] == nil {
				edits = append(edits, e)
			}
			names[e] = append(names[e], fmt.Sprintf("%q", m.Name))
		}
	}
	out := map[string]string{}
	for _, e := range edits {
		source, ok := out[e.File]
		if !ok {
			data, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				return nil, err
			}
			source = string(data)
		}
		if n := strings.Count(source, e.Find); n != 1 {
			return nil, fmt.Errorf("%s: %s: the text to replace occurs %d times", names[e], e.File, n)
		}
		if !strings.Contains(e.Replace, "$GONE") {
			return nil, fmt.Errorf("%s: %s: the edit does not ask whether the point is gone", names[e], e.File)
		}
		call := "enforcementGone(" + strings.Join(names[e], ", ") + ")"
		out[e.File] = strings.Replace(source, e.Find, strings.ReplaceAll(e.Replace, "$GONE", call), 1)
	}
	return out, nil
}

// TestMutations takes each enforcement point away in turn: the tests that pass with all of them must fail.
func TestMutations(t *testing.T) {
	if *only == "" {
		t.Log("`make mutation` takes the points away; here the list is only held to the source")
		return
	}
	pattern, err := regexp.Compile("^(" + *only + ")$")
	if err != nil {
		t.Fatal(err)
	}
	list := load(t)
	programs := build(t, list)
	if *by != "" {
		count(t, programs["./cmd/trellis"], list, pattern)
		return
	}
	for _, m := range list {
		if pattern.MatchString(m.Name) {
			t.Run(m.Name, func(t *testing.T) { run(t, programs[m.Package], m) })
		}
	}
}

// build makes the test program of each package, under the overlay.
func build(t *testing.T, list []mutation.Mutation) map[string]string {
	t.Helper()
	files, err := mutated(list)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(file, source string) {
		from, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		replace[from] = filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replace[from], []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, source := range files {
		put(file, source)
		pkg := regexp.MustCompile(`(?m)^package \w+`).FindString(source)
		put(path.Join(path.Dir(file), "enforcement_gone.go"), pkg+"\n\nimport (\n\t\"os\"\n\t\"slices\"\n)\n\nvar goneNow = os.Getenv("+fmt.Sprintf("%q", gone)+
			")\n\nfunc enforcementGone(names ...string) bool { return slices.Contains(names, goneNow) }\n")
	}
	overlay, err := json.Marshal(struct{ Replace map[string]string }{replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range list {
		if out[m.Package] != "" {
			continue
		}
		out[m.Package] = filepath.Join(dir, strings.ReplaceAll(path.Clean(m.Package), "/", "_")+".test")
		if text, err := command(t, root, "", "go", "test", "-c", "-vet=off", "-overlay", name, "-o", out[m.Package], m.Package); err != nil {
			t.Fatalf("building %s: %v\n%s", m.Package, err, text)
		}
	}
	return out
}

func run(t *testing.T, program string, m mutation.Mutation) {
	dir := filepath.Join(root, m.Package)
	if out, err := command(t, dir, "", program, "-test.run", m.Run, "-test.timeout", "20m"); err != nil {
		t.Fatalf("with every point in its place %s fails: %v\n%s", m.Run, err, out)
	}
	out, err := command(t, dir, m.Name, program, "-test.run", m.Run, "-test.timeout", "20m")
	switch {
	case err == nil:
		t.Errorf("SURVIVED: without %s, %s passes", m.Removes, m.Run)
	case !strings.Contains(out, "--- FAIL"):
		t.Errorf("without %s, %s ends without a failing test: %v\n%s", m.Removes, m.Run, err, out)
	default:
		t.Logf("without %s: %s", m.Removes, strings.TrimSpace(regexp.MustCompile(`--- FAIL: \S+`).FindString(out)))
	}
}

// count tells which points some tests notice that name none: those that make up records, consents and requests themselves.
func count(t *testing.T, program string, list []mutation.Mutation, pattern *regexp.Regexp) {
	dir := filepath.Join(root, "cmd/trellis")
	args := []string{"-test.run", *by, "-test.timeout", "20m", "-rapid.seed", "42", "-rapid.nofailfile", "-rapid.shrinktime", "1ms"}
	if out, err := command(t, dir, "", program, args...); err != nil {
		t.Fatalf("with every point in its place %s fails: %v\n%s", *by, err, out)
	}
	noticed, asked := 0, 0
	for _, m := range list {
		if !pattern.MatchString(m.Name) || m.Package != "./cmd/trellis" {
			continue
		}
		asked++
		out, err := command(t, dir, m.Name, program, args...)
		if err != nil && strings.Contains(out, "--- FAIL") {
			noticed++
			t.Logf("%s: %s", m.Name, strings.TrimSpace(regexp.MustCompile(`--- FAIL: \S+`).FindString(out)))
		} else {
			t.Logf("%s: not noticed (%s)", m.Name, m.Removes)
		}
	}
	t.Logf("%d of %d noticed", noticed, asked)
}

// command runs a program with a point taken away, "" for none.
func command(t *testing.T, dir, without, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), gone+"="+without)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
