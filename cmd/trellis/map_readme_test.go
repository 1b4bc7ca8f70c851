package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trellis/mapping"
)

// TestMappingReadme runs every command of mapping/README.md in its example, in order, as a reader would; the page's gateway is one
// that serves the example's pack.
func TestMappingReadme(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "mapping", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "mapping", "example"))); err != nil {
		t.Fatal(err)
	}
	plan, err := fs.ReadFile(mapping.Packs(), "recovery-plan/cases/full-plan.case")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := bytes.Cut(plan, []byte("----------\n"))
	writeFile(t, filepath.Join(dir, "plan.json"), input)
	t.Chdir(dir)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	writeFile(t, filepath.Join(data, "serve.yaml"), fmt.Appendf(nil, `{public_url: "http://%s", listen: "%[1]s", data: %s, packs: %s,
  posture: {part2_program: false, covered_entity: false, business_associate_of: [rco], qsoa_with: [], intermediary: false},
  organizations: [{id: rco, name: Example Recovery, class: covered_entity}]}`, addr, data, dir))
	serving := serverProcess(t, "serve", "--config", filepath.Join(data, "serve.yaml"))
	here := strings.NewReplacer("https://gateway.example.org", "http://"+addr, "/var/lib/trellis", data, `"`, "")
	seen := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "trellis ") {
			continue
		}
		line, note, _ := strings.Cut(line, "#")
		want := 0
		if strings.Contains(note, "exit 1") {
			want = 1
		}
		command, out, redirected := strings.Cut(line, ">")
		args := strings.Fields(here.Replace(command))[1:]
		var stdout bytes.Buffer
		var to io.Writer = &stdout
		var told bytes.Buffer
		if got := run(args, to, &told); got != want {
			t.Errorf("%s: exit %d, want %d\n%s%s", line, got, want, stdout.String(), told.String())
		}
		if redirected {
			writeFile(t, filepath.Join(dir, strings.TrimSpace(out)), stdout.Bytes())
		}
		if len(args) > 1 {
			seen[args[1]] = true
		}
		if args[0] == "ingest" && !strings.Contains(stdout.String(), `"status":"created"`) {
			t.Errorf("%s stored nothing: %s", line, stdout.String())
		}
	}
	if err := serving.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := serving.Wait(); err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
	for _, c := range mapCommands() {
		if !seen[c.name] && c.name != "packs" {
			t.Errorf("the page does not show trellis map %s", c.name)
		}
	}
}
