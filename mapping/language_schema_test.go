package mapping

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

func languageSchema(t *testing.T, of string) *jsonschema.Schema {
	t.Helper()
	data, err := Schema(of)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	if err := c.AddResource(of, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(of)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON is what a YAML file says, as an editor's schema check sees it.
func (n *yamlNode) asJSON() any {
	switch n.kind {
	case yamlString:
		return n.text
	case yamlNumber:
		return json.Number(n.text)
	case yamlBool:
		return n.text == "true"
	case yamlList:
		out := []any{}
		for _, kid := range n.kids {
			out = append(out, kid.asJSON())
		}
		return out
	case yamlMap:
		out := map[string]any{}
		for i, k := range n.keys {
			out[k.name] = n.kids[i].asJSON()
		}
		return out
	}
	return nil
}

func TestPacksFollowTheLanguageSchemas(t *testing.T) {
	packs, maps := languageSchema(t, "pack"), languageSchema(t, "map")
	files, err := fs.Glob(Packs(), "*/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		schema := maps
		if strings.HasSuffix(file, "/"+packFile) {
			schema = packs
		}
		f := &faults{}
		n := readYAML(Packs(), file, f)
		if err := f.err("x"); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(n.asJSON()); err != nil {
			t.Errorf("%s: %#v", file, err)
		}
	}
	if _, err := Schema("nope"); err == nil {
		t.Error("there is a schema of something else")
	}
}

// What is wrong is refused by the schema in the editor, and by Load.
func TestLanguageSchemasRefuse(t *testing.T) {
	set := "status: final\ncode: {text: {$copy: word}}\n"
	good := string(strictPack("Observation", "", set)["tiny/tiny.map.yaml"].Data)
	pack := string(strictPack("Observation", "", set)["tiny/pack.yaml"].Data)
	tests := []struct{ name, of, old, new string }{
		{"no key", "map", "key: id\n", ""},
		{"no version", "map", "version: 1.0.0\n", ""},
		{"unknown key", "map", "key: id", "key: id\nkeys: id"},
		{"emission without slot", "map", "    slot: it\n", ""},
		{"emission without set", "map", "    set:", "    sett:"},
		{"main is a text", "map", "main: true", "main: often"},
		{"unknown primitive", "map", "$copy", "$copi"},
		{"option of another primitive", "map", "{$copy: word}", "{$copy: word, via: kind}"},
		{"as that is none", "map", "{$copy: word}", "{$copy: word, as: blob}"},
		{"date as week", "map", "{$copy: word}", "{$date: word, as: week}"},
		{"code without table", "map", "{$copy: word}", "{$code: word}"},
		{"unit without code", "map", "{$copy: word}", "{$unit: number}"},
		{"join without by", "map", "{$copy: word}", "{$join: [word, at]}"},
		{"when without then", "map", "{$copy: word}", "{$when: 'true', else: x}"},
		{"each without name", "map", "{$copy: word}", "{$each: list, item: x}"},
		{"each without item", "map", "{$copy: word}", "{$each: list, as: x}"},
		{"split without by", "map", "{$copy: word}", "{$split: tags, as: x, item: x}"},
		{"ref into a record without slot", "map", "{$copy: word}", "{$ref: Goal, record: goal, key: id}"},
		{"text without lines", "map", "{$copy: word}", "{$text: []}"},
		{"id is set", "map", "      status:", "      id: x\n      status:"},
		{"element name", "map", "      status:", "      \"sta-tus\": x\n      status:"},
		{"empty element", "map", "{$copy: word}", "null"},
		{"ignore without reason", "map", "{field: word, reason: not in this test}", "{field: word}"},
		{"label that is none", "map", "    set:", "    label: [{rule: r, add: [NOPE]}]\n    set:"},
		{"label without effect", "map", "    set:", "    label: [{rule: r}]\n    set:"},
		{"check without say", "map", "emit:", "check: [{code: x, when: 'record.id == record.word'}]\nemit:"},
		{"no title", "pack", "title: Tiny\n", ""},
		{"unknown format", "pack", "format: json", "format: xml"},
		{"record without schema", "pack", ", schema: tiny.schema.json", ""},
		{"rows in a JSON pack", "pack", ", schema: tiny.schema.json", ", from: x, group: y"},
		{"unknown key of dates", "pack", "century: 1930", "centuries: 1930"},
		{"no records", "pack", "records:\n  - {map: tiny.map.yaml, schema: tiny.schema.json}", "records: []"},
	}
	schemas := map[string]*jsonschema.Schema{"map": languageSchema(t, "map"), "pack": languageSchema(t, "pack")}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file, text := "tiny/tiny.map.yaml", good
			if tt.of == "pack" {
				file, text = "tiny/pack.yaml", pack
			}
			if !strings.Contains(text, tt.old) {
				t.Fatalf("no %q in the file", tt.old)
			}
			files := strictPack("Observation", "", set)
			files[file] = &fstest.MapFile{Data: []byte(strings.Replace(text, tt.old, tt.new, 1))}
			f := &faults{}
			if n := readYAML(files, file, f); n == nil || schemas[tt.of].Validate(n.asJSON()) == nil {
				t.Error("the schema takes it")
			}
			if _, err := Load(files, "tiny"); err == nil {
				t.Error("Load takes it")
			}
		})
	}
	for of, text := range map[string]string{"map": good, "pack": pack} {
		files := fstest.MapFS{"x": &fstest.MapFile{Data: []byte(text)}}
		if err := schemas[of].Validate(readYAML(files, "x", &faults{}).asJSON()); err != nil {
			t.Errorf("the schema of %s refuses what the others are made from: %#v", of, err)
		}
	}
}

// The closed sets that stand in the schema and in the code are the same.
func TestLanguageSchemaSets(t *testing.T) {
	data, err := Schema("map")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Enum  []string
			AnyOf []struct {
				Ref string `json:"$ref"`
			}
			Properties map[string]any
		} `json:"$defs"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(schema.Defs["labelCode"].Enum, " "), strings.Join(knownLabels(), " "); got != want {
		t.Errorf("labels %s, want %s", got, want)
	}
	named := map[string]bool{}
	for _, alternative := range schema.Defs["element"].AnyOf {
		for key := range schema.Defs[strings.TrimPrefix(alternative.Ref, "#/$defs/")].Properties {
			if strings.HasPrefix(key, "$") {
				named[key] = true
			}
		}
	}
	for _, p := range primitives() {
		if !named[p] {
			t.Errorf("the schema lacks %s", p)
		}
	}
	if len(named) != len(primitives()) {
		t.Errorf("the schema has %v", keysOf(named))
	}
}
