package conformance

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imported is one import statement.
type imported struct {
	file string // relative to the module's root, with slashes
	dir  string
	path string
	test bool // in a _test.go file
}

// imports reads every import statement of the module's own code.
func imports(t *testing.T) []imported {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var out []imported
	err = fs.WalkDir(os.DirFS(root), ".", func(file string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || (strings.HasPrefix(e.Name(), ".") && e.Name() != ".")):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			out = append(out, imported{file: file, dir: path.Dir(file), path: p, test: strings.HasSuffix(file, "_test.go")})
		}
		return nil
	})
	if err != nil || len(out) < 100 {
		t.Fatalf("%d imports read: %v", len(out), err)
	}
	return out
}

// within reports whether a package path lies in one of the folders.
func within(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// TestDirections holds the module's own packages to one direction: fhir knows nothing of ours, what builds on
// it does not know the gateway, and only the command knows everything. Test files may look wherever they must.
func TestDirections(t *testing.T) {
	rules := []struct {
		dir, reason string
		may         []string // nil: anything; folders within the module
		nobody      bool     // no package may import dir
	}{
		{dir: "fhir", may: []string{"fhir"}, reason: "FHIR is the ground everything stands on"},
		{dir: "mapping", may: []string{"fhir", "mapping"}, reason: "mapping is pure: it runs without a gateway, on the command line and in a partner's build"},
		{dir: "auth/smart", may: []string{"auth/smart"}, reason: "scopes are words; they need no FHIR and no server"},
		{dir: "auth/oauth", may: []string{"auth/smart", "auth/oauth"}, reason: "tokens know neither consents nor records"},
		{dir: "auth/label", may: []string{"fhir"}, reason: "a label says what a record is, not who may see it"},
		{dir: "auth/consent", may: []string{"fhir"}, reason: "an instrument is read and asked; it never decides a request"},
		{dir: "auth/access", may: []string{"fhir", "auth/consent", "auth/label"}, reason: "the decision is a pure function of facts it is handed"},
		{dir: "auth", may: []string{"fhir", "auth"}, reason: "auth knows neither gateway nor mapping"},
		{dir: "conformance/capability", may: []string{"fhir"}, reason: "the gateway serves it, so it may not know the gateway"},
		{dir: "conformance/profile", may: []string{"fhir"}, reason: "the gateway validates with it, so it may not know the gateway"},
		{dir: "conformance/decisions", may: []string{}, reason: "the cases are data, written without a look at the code they judge"},
		{dir: "conformance/pgtest", may: []string{}, reason: "a database cluster knows nothing of what is stored in it"},
		{dir: "gateway/telemetry", may: []string{}, reason: "the logger must be buildable before anything else"},
		{dir: "gateway/audit/logfile", may: []string{}, reason: "the format stands alone, so that a verifier needs nothing else"},
		{dir: "gateway/audit/verify", may: []string{"gateway/audit/logfile"}, reason: "the verifier shares only the format with the writer"},
		{dir: "gateway/audit", may: []string{"gateway/audit"}, reason: "the log commits to events without knowing what they mean"},
		{dir: "gateway/store/sqlite", may: []string{"gateway/store"}, reason: "an engine runs the store's SQL and nothing else"},
		{dir: "gateway/store/postgres", may: []string{"gateway/store"}, reason: "an engine runs the store's SQL and nothing else"},
		{dir: "gateway/store", may: []string{"fhir", "auth", "gateway/audit", "gateway/store"}, reason: "the store makes no decision and no response"},
		{dir: "gateway/release", may: []string{"fhir", "auth", "gateway/audit", "gateway/store"}, reason: "the gate is asked by the edge and by deliveries; it knows neither"},
		{dir: "gateway", may: []string{"fhir", "auth", "mapping", "gateway", "conformance/capability", "conformance/profile"}, reason: "the gateway stands on fhir, mapping and auth"},
		{dir: "cmd", nobody: true, reason: "the command wires; nothing may depend on wiring"},
	}
	for _, i := range imports(t) {
		if i.test || !strings.HasPrefix(i.path, "trellis/") {
			continue
		}
		target := strings.TrimPrefix(i.path, "trellis/")
		for _, r := range rules {
			if r.nobody && within(target, r.dir) {
				t.Errorf("%s imports %s: %s", i.file, i.path, r.reason)
			}
			if r.may != nil && within(i.dir, r.dir) && !within(target, r.may...) {
				t.Errorf("%s imports %s: %s", i.file, i.path, r.reason)
			}
		}
	}
}

// TestPurePackages keeps the network and databases out of what must be decidable and testable without them.
func TestPurePackages(t *testing.T) {
	rules := []struct {
		dir, reason string
		never       []string
	}{
		{"auth/access", "a decision can be replayed from its facts alone", []string{"net", "os", "database", "log", "context"}},
		{"auth/consent", "an instrument is judged by its text alone", []string{"net", "os", "database", "log", "context"}},
		{"auth/people", "who may sign in is a fact about an account; it is kept and shown elsewhere", []string{"net", "os", "database", "log"}},
		{"auth/label", "a label follows from record, source and code tables alone", []string{"net", "os", "database", "log", "context"}},
		{"auth/smart", "a scope is read, nothing more", []string{"net", "os", "database", "log", "context"}},
		{"conformance/profile", "a resource is checked by the definitions it is handed, offline", []string{"net", "os", "database", "log"}},
		{"mapping", "mapping is pure", []string{"net/http", "os", "database", "log"}},
		{"gateway/release", "the gate makes bytes; statuses and headers are the edge's", []string{"net/http"}},
		{"gateway/intake", "intake knows no HTTP", []string{"net/http"}},
		{"gateway/store", "the store is asked, it does not call", []string{"net/http"}},
		{"gateway/audit/verify", "an auditor verifies offline", []string{"net", "database"}},
	}
	for _, i := range imports(t) {
		for _, r := range rules {
			if !i.test && within(i.dir, r.dir) && within(i.path, r.never...) && i.path != "net/url" {
				t.Errorf("%s imports %s: %s", i.file, i.path, r.reason)
			}
		}
	}
}

// doors lists every dependency with the folders that may import it. One that is not here has no door yet:
// give it one, and say what it is for.
var doors = []struct {
	module, reason string
	dirs           []string
	tests          []string // folders whose tests may, besides
}{
	{"github.com/google/fhir/go", "structural truth of R4; the codec wraps its messages, which hold values", []string{"fhir", "mapping"}, nil},
	{"google.golang.org/protobuf", "goes with the R4 protos", []string{"fhir", "mapping"}, nil},
	{"github.com/go-json-experiment/json", "reads JSON by position, which splicing stored bytes needs", []string{"fhir"}, nil},
	{"golang.org/x/text", "folds strings for search; chooses a page's language", []string{"fhir/search", "gateway/login"}, nil},
	{"golang.org/x/term", "reads a password without showing it", []string{"cmd"}, nil},
	{"golang.org/x/time/rate", "slows down who asks too often", []string{"gateway/brake"}, nil},
	{"golang.org/x/crypto/argon2", "passwords", []string{"auth/people"}, []string{"cmd"}},
	{"github.com/pquerna/otp", "second factors", []string{"auth/people"}, nil},
	{"github.com/coreos/go-oidc/v3", "signing in with an OpenID provider", []string{"gateway/login"}, nil},
	{"golang.org/x/oauth2", "goes with go-oidc", []string{"gateway/login"}, nil},
	{"github.com/chromedp/cdproto", "goes with chromedp", nil, []string{"."}},
	{"golang.org/x/net/html", "reads the pages people get", nil, []string{"gateway/login", "cmd"}},
	{"github.com/gin-gonic/gin", "HTTP; its defaults log query strings and trust proxies", []string{"gateway/rest", "gateway/login", "gateway/console"}, nil},
	{"github.com/ory/fosite", "OAuth core with traps the door fixes", []string{"auth/oauth"}, nil},
	{"github.com/go-jose/go-jose/v3", "signatures", []string{"auth/oauth"}, nil},
	{"github.com/jackc/pgx/v5", "PostgreSQL; its errors quote rows", []string{"gateway/store/postgres", "conformance/pgtest"}, nil},
	{"modernc.org/sqlite", "the embedded database", []string{"gateway/store/sqlite"}, nil},
	{"modernc.org/libc", "memory the embedded database keeps", []string{"gateway/store/sqlite"}, nil},
	{"github.com/klauspost/compress", "stored bodies", []string{"gateway/store"}, nil},
	{"github.com/santhosh-tekuri/jsonschema/v5", "native schemas and configuration; its messages quote values", []string{"mapping", "cmd"}, nil},
	{"github.com/gofhir/fhirpath", "FHIRPath", []string{"fhir/path"}, nil},
	{"cel.dev/cel-go", "predicates of mapping files", []string{"mapping"}, nil},
	{"github.com/goccy/go-yaml", "mapping files and configuration", []string{"mapping", "cmd"}, nil},
	{"golang.org/x/mod/sumdb", "Merkle log and signed notes", []string{"gateway/audit", "gateway/store", "cmd"}, nil},
	{"golang.org/x/sync", "waits for several and keeps the first error", []string{"cmd"}, nil},
	{"github.com/google/uuid", "ids", []string{"auth/oauth", "mapping", "gateway", "cmd"}, nil},
	{"github.com/google/pprof/profile", "trellis bench tells where the time of a read goes", []string{"cmd"}, nil},
	{"github.com/prometheus/client_golang", "metrics", []string{"gateway/telemetry"}, nil},
	{"github.com/sony/gobreaker", "breaker towards partners", []string{"gateway/exchange"}, nil},
	{"github.com/cenkalti/backoff", "backoff towards partners", []string{"gateway/exchange"}, nil},
	{"github.com/evanphx/json-patch", "JSON Patch", []string{"gateway/rest"}, nil},
	{"github.com/google/go-cmp", "differences in tests and in the suites both stores are held to", []string{"auth/oauth/storetest", "gateway/audit/storetest", "conformance"}, []string{"."}},
	{"pgregory.net/rapid", "property tests", nil, []string{"."}},
	{"github.com/chromedp/chromedp", "pages in a real browser", nil, []string{"."}},
}

// besideTheDoor lists the single files that import a dependency elsewhere, and why. One that no longer does is to be
// taken off.
var besideTheDoor = map[string]string{
	"cmd/trellis/bench_bare.go github.com/klauspost/compress/zstd": "the bare baseline packs bodies as the store does, without the store",
}

// TestOneDependencyOneDoor holds every dependency to the packages that may import it, tests included.
func TestOneDependencyOneDoor(t *testing.T) {
	used := map[string]bool{}
	for _, i := range imports(t) {
		host, _, _ := strings.Cut(i.path, "/")
		if !strings.Contains(host, ".") {
			continue // ours, or the standard library's
		}
		known := false
		for _, d := range doors {
			if !within(i.path, d.module) {
				continue
			}
			known = true
			if beside := i.file + " " + i.path; besideTheDoor[beside] != "" {
				used[beside] = true
				continue
			}
			if !within(i.dir, d.dirs...) && (!i.test || (!slices.Contains(d.tests, ".") && !within(i.dir, d.tests...))) {
				t.Errorf("%s imports %s, whose door is %s (%s)", i.file, i.path, strings.Join(d.dirs, ", "), d.reason)
			}
		}
		if !known {
			t.Errorf("%s imports %s, which has no door in this table", i.file, i.path)
		}
	}
	for beside := range besideTheDoor {
		if !used[beside] {
			t.Errorf("%s: it does not any more", beside)
		}
	}
}
