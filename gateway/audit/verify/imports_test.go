package verify_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The verifier may share nothing with the writer but the format, or a fault in one would hide in the other.
func TestVerifierSharesOnlyTheFormat(t *testing.T) {
	for _, dir := range []string{".", "../logfile"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(path, "trellis/") && path != "trellis/gateway/audit/logfile" {
					t.Errorf("%s imports %s", name, path)
				}
			}
		}
	}
}
