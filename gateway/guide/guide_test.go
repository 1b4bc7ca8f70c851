package guide

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trellis/conformance/profile"
	"trellis/fhir"
	"trellis/fhir/path"
	"trellis/mapping"
)

func load(t *testing.T) []*mapping.Pack {
	t.Helper()
	packs, err := mapping.LoadAll(mapping.Packs())
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

func TestResourcesAreR4(t *testing.T) {
	packs := load(t)
	list, hash, err := Resources(packs)
	if err != nil {
		t.Fatal(err)
	}
	again, same, err := Resources(packs)
	if err != nil || same != hash || len(again) != len(list) {
		t.Errorf("made twice, the guide differs: %v", err)
	}
	p, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	count := map[string]int{}
	for _, r := range list {
		if _, err := p.Parse(r.JSON); err != nil {
			t.Errorf("%s/%s is not R4: %v", r.Type, r.ID, err)
		}
		if ref := r.Type + "/" + r.ID; seen[ref] || len(r.ID) > 64 {
			t.Errorf("%s stands twice or is too long", ref)
		}
		seen[r.Type+"/"+r.ID] = true
		count[r.Type]++
	}
	if list[len(list)-1].Type != "ImplementationGuide" || count["CodeSystem"] != count["ValueSet"] || count["CodeSystem"] < 5 || count["StructureDefinition"] < 20 {
		t.Errorf("the guide has %v", count)
	}
}

// Every extension that a pack of the program can write is described in the list, and not only named after the pack.
func TestExtensionsAreListed(t *testing.T) {
	rows, err := extensionRows()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range load(t) {
		for _, name := range p.LocalExtensions() {
			if !slices.ContainsFunc(rows, func(e extension) bool { return e.name == name }) {
				t.Errorf("pack %s writes the extension %s, which extensions.csv does not list", p.Name, name)
			}
		}
	}
}

// A deployment's own pack is published too, with an extension nobody described and names that are long.
func TestOwnPacks(t *testing.T) {
	const name = "weekly-log-of-the-houses-on-both-sides-of-the-river"
	own := fstest.MapFS{
		name + "/pack.yaml":     {Data: []byte("pack: " + name + "\nversion: 1.0.0\ntitle: T\nsource: s\nformat: json\nrecords:\n  - {map: m.map.yaml, schema: m.schema.json}\n")},
		name + "/m.schema.json": {Data: []byte(`{"type": "object", "additionalProperties": false, "required": ["id"], "properties": {"id": {"type": "string"}, "chores": {"type": "string"}}}`)},
		name + "/m.map.yaml": {Data: []byte("map: m\nversion: 1.0.0\nkey: id\nemit:\n  - resource: Basic\n    slot: log\n    main: true\n    set:\n      code: {text: log}\n" +
			"      extension: [{url: \"{base}/StructureDefinition/chores-done\", valueString: {$copy: chores}}]\n")},
	}
	packs, err := mapping.LoadAll(mapping.Beside(own))
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := Resources(packs)
	if err != nil {
		t.Fatal(err)
	}
	p, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, r := range list {
		if _, err := p.Parse(r.JSON); err != nil || len(r.ID) > maxID {
			t.Errorf("%s/%s: %v", r.Type, r.ID, err)
		}
		if r.ID == "trellis-chores-done" || strings.HasPrefix(r.ID, "trellis-weekly-log") {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d of the own pack's definitions", found)
	}
}

// What the packs write is what the guide publishes: every extension in their golden output is listed, stands where its
// context says, and has the value it is said to have; every local code is in its code system.
func TestGoldenOutputKeepsToTheGuide(t *testing.T) {
	rows, err := extensionRows()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]extension{}
	for _, e := range rows {
		known[fhir.LocalBase+"/StructureDefinition/"+e.name] = e
	}
	packs := load(t)
	codes := Codes(packs)
	used := map[string]bool{}
	for _, p := range packs {
		cases, err := p.Cases()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			var want struct{ Resources []json.RawMessage }
			if err := json.Unmarshal([]byte(c.Want), &want); err != nil {
				t.Fatal(err)
			}
			for _, data := range want.Resources {
				var body map[string]any
				if err := json.Unmarshal(data, &body); err != nil {
					t.Fatal(err)
				}
				typ, _ := body["resourceType"].(string)
				walk(body, typ, func(path string, m map[string]any) {
					checkCoding(t, c.File, path, m, codes)
					list, _ := m["extension"].([]any)
					for _, e := range list {
						_, coded := m["code"]
						checkExtension(t, c.File, path, coded, e.(map[string]any), known, used)
					}
				})
			}
		}
	}
	for _, p := range packs {
		for _, name := range p.LocalExtensions() {
			if !used[name] && name != "mapping-rule" && name != "source-path" {
				t.Errorf("no golden case shows the extension %s of pack %s", name, p.Name)
			}
		}
	}
}

func checkCoding(t *testing.T, file, path string, m map[string]any, codes map[string][]mapping.LocalCode) {
	t.Helper()
	system, _ := m["system"].(string)
	name, local := strings.CutPrefix(system, fhir.LocalBase+"/CodeSystem/")
	code, _ := m["code"].(string)
	if local && !slices.ContainsFunc(codes[name], func(c mapping.LocalCode) bool { return c.Code == code }) {
		t.Errorf("%s: %s has the code %s, which the code system %s does not publish", file, path, code, name)
	}
}

func checkExtension(t *testing.T, file, path string, coded bool, e map[string]any, known map[string]extension, used map[string]bool) {
	t.Helper()
	url, _ := e["url"].(string)
	if !strings.HasPrefix(url, fhir.LocalBase+"/") {
		return
	}
	is, ok := known[url]
	if !ok {
		t.Errorf("%s: %s has the extension %s, which the guide does not publish", file, path, url)
		return
	}
	used[is.name] = true
	member := "value" + strings.ToUpper(is.value[:1]) + is.value[1:]
	if _, ok := e[member]; !ok && !strings.Contains(is.value, ":") {
		t.Errorf("%s: %s: extension %s has no %s", file, path, is.name, member)
	}
	fits := false
	for _, c := range strings.Fields(is.contexts) {
		fits = fits || c == path || (c == "Coding" || c == "CodeableConcept") && coded
	}
	if !fits {
		t.Errorf("%s: extension %s stands at %s, and may stand in %s", file, is.name, path, is.contexts)
	}
}

// walk visits every object with its path without indices.
func walk(v any, path string, f func(string, map[string]any)) {
	switch x := v.(type) {
	case map[string]any:
		f(path, x)
		for k, kid := range x {
			walk(kid, path+"."+k, f)
		}
	case []any:
		for _, kid := range x {
			walk(kid, path, f)
		}
	}
}

// Every extension URL of ours that the product's source names is published.
func TestSourceNamesPublishedExtensions(t *testing.T) {
	rows, err := extensionRows()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, e := range rows {
		listed[e.name] = true
	}
	url := regexp.MustCompile(`"/StructureDefinition/([a-z0-9-]+)"`)
	root := filepath.Join("..", "..")
	for _, dir := range []string{"auth", "gateway", "mapping", "fhir"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if _, err := parser.ParseFile(token.NewFileSet(), file, data, parser.ImportsOnly); err != nil {
				return err
			}
			for _, m := range url.FindAllSubmatch(data, -1) {
				if name := string(m[1]); !listed[name] && !profileOfOurs(name) {
					t.Errorf("%s names the extension %s, which the guide does not publish", file, name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// profileOfOurs tells the names of our own that are no extensions.
func profileOfOurs(name string) bool { return name == "consent" || strings.HasSuffix(name, "-") }

// TestPacksKeepToTheGuide checks what the golden cases make against the definitions of our extensions, and against the profiles
// of the packs whose base is R4's own.
func TestPacksKeepToTheGuide(t *testing.T) {
	packs := load(t)
	list, _, err := Resources(packs)
	if err != nil {
		t.Fatal(err)
	}
	var definitions []*profile.Definition
	add := func(doc []byte) {
		r, err := fhir.ReadTrusted(doc)
		if err != nil {
			t.Fatal(err)
		}
		definitions = append(definitions, profile.ReadDefinition(r))
	}
	for _, r := range list {
		if r.Type == "StructureDefinition" {
			add(r.JSON)
		}
	}
	for _, typ := range fhir.Types() { // a profile that asks for nothing: extensions are looked at where one is checked by
		add([]byte(`{"resourceType":"StructureDefinition","url":"urn:any:` + typ + `","type":"` + typ + `","baseDefinition":"http://hl7.org/fhir/StructureDefinition/` + typ + `","differential":{"element":[{"id":"` + typ + `","path":"` + typ + `"}]}}`))
	}
	c := &profile.Checker{Library: profile.NewLibrary(definitions), Paths: path.NewEvaluator()}
	extensions := 0
	for _, p := range packs {
		cases, err := p.Cases()
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range cases {
			var want struct{ Resources []json.RawMessage }
			if err := json.Unmarshal([]byte(one.Want), &want); err != nil {
				t.Fatal(err)
			}
			for _, doc := range want.Resources {
				r, err := fhir.ReadTrusted(doc)
				if err != nil {
					t.Fatalf("%s: %v", one.File, err)
				}
				extensions += strings.Count(string(r.JSON), `"url":"`+fhir.LocalBase+`/StructureDefinition/`)
				for _, f := range c.Check(t.Context(), r.Root, []string{"urn:any:" + r.Type}) {
					if f.Severity == "error" {
						t.Errorf("%s: %s: %s", one.File, f.Expression, f.Sentence())
					}
				}
			}
		}
	}
	if extensions < 20 {
		t.Errorf("only %d extensions of ours were looked at", extensions)
	}
}
