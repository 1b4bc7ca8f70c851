package mapping

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// tinySchema is the record of the language tests.
const tinySchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false, "required": ["id"],
  "properties": {
    "id": {"type": "string"}, "word": {"type": "string"}, "kind": {"enum": ["a", "b"]},
    "number": {"type": "number"}, "when": {"type": "string"}, "tags": {"type": "string"},
    "at": {"type": "string"},
    "list": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {
      "key": {"type": "string"}, "value": {"type": "string"}}}}
  }
}`

// tinyPack is a pack with one Basic resource, whose body the test gives.
func tinyPack(body string) fstest.MapFS {
	return tinyFiles(`map: tiny
version: 1.0.0
key: id
emit:
  - resource: Basic
    slot: basic
    main: true
    set:
` + indent(body, "      ") + `
ignore:
` + unusedFields(body))
}

func tinyFiles(mapping string) fstest.MapFS {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{
		"tiny/pack.yaml": text("pack: tiny\nversion: 1.0.0\ntitle: Tiny\nsource: s\nformat: json\n" +
			"dates: {layouts: [\"01/02/06 15:04\"], zone: America/New_York, century: 1930}\n" +
			"records:\n  - {map: tiny.map.yaml, schema: tiny.schema.json}\n"),
		"tiny/tiny.schema.json": text(tinySchema),
		"tiny/tiny.map.yaml":    text(mapping),
		"tiny/codes/kind.csv":   text("native,system,code,display,direction,extra\na,http://s,A,Ay,both,x y\nb,local:kinds,B,,both,\n"),
	}
}

// compileOnly loads a pack without holding it against R4, so that tests of the language can put anything anywhere.
func compileOnly(fsys fs.FS, name string) (*Pack, error) {
	f := &faults{}
	p, err := compilePack(fsys, name, f)
	if err != nil {
		return nil, err
	}
	p.forget()
	return p, f.err(name)
}

func indent(s, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+by)
}

// unusedFields ignores what the body does not name, so that tests may look at one thing.
func unusedFields(body string) string {
	var b strings.Builder
	for _, f := range []string{"word", "kind", "number", "when", "tags", "at", "list"} {
		b.WriteString("  - {field: " + f + ", reason: not in this test}\n")
	}
	return b.String()
}

func TestPrimitives(t *testing.T) {
	tests := []struct{ name, body, record, want string }{
		{"copy", `text: {$copy: word}`, `{"id":"1","word":" a \"b\" "}`, `"text":"a \"b\""`},
		{"copy number exactly", `value: {$copy: number}`, `{"id":"1","number":1.10}`, `"value":1.10`},
		{"copy as integer", `value: {$copy: number, as: integer}`, `{"id":"1","number":3e0}`, `"value":3`},
		{"copy as string", `value: {$copy: number, as: string}`, `{"id":"1","number":0.50}`, `"value":"0.50"`},
		{"const", `text: {$const: "{base}"}`, `{"id":"1"}`, `"text":"{base}"`},
		{"placeholder", `text: "{base}/x {org.system}"`, `{"id":"1"}`, `"text":"https://trellis.example/fhir/x https://recovery.example/ids"`},
		{"code concept", `code: {$code: kind, via: kind}`, `{"id":"1","kind":"a"}`, `"code":{"coding":[{"system":"http://s","code":"A","display":"Ay"}]}`},
		{"code local", `code: {$code: kind, via: kind, as: coding}`, `{"id":"1","kind":"b"}`, `"code":{"system":"https://trellis.example/fhir/CodeSystem/kinds","code":"B"}`},
		{"code plain", `code: {$code: kind, via: kind, as: code}`, `{"id":"1","kind":"a"}`, `"code":"A"`},
		{"code text", `code: {$code: kind, via: kind, text: word}`, `{"id":"1","kind":"b","word":"w"}`, `"code":"B"}],"text":"w"}`},
		{"code else", `code: {$code: word, via: kind, as: code, else: unknown}`, `{"id":"1","word":"zzz"}`, `"code":"unknown"`},
		{"date day", `d: {$date: when, as: date}`, `{"id":"1","when":"2024-02-29"}`, `"d":"2024-02-29"`},
		{"date in zone", `d: {$date: when}`, `{"id":"1","when":"07/04/24 10:00"}`, `"d":"2024-07-04T10:00:00-04:00"`},
		{"date instant", `d: {$date: when, as: instant}`, `{"id":"1","when":"2024-07-04T10:00:00.5-04:00"}`, `"d":"2024-07-04T10:00:00.5-04:00"`},
		{"unit", `q: {$unit: number, code: min, unit: minutes}`, `{"id":"1","number":45.0}`, `"q":{"value":45.0,"unit":"minutes","system":"http://unitsofmeasure.org","code":"min"}`},
		{"join", `text: {$join: [word, when], by: ", "}`, `{"id":"1","word":"a","when":"b"}`, `"text":"a, b"`},
		{"split", "t:\n  - $split: tags\n    by: \",\"\n    as: tag\n    item: {$copy: tag}", `{"id":"1","tags":"x, y,,z"}`, `"t":["x","y","z"]`},
		{"split into codes", "t:\n  $split: tags\n  by: \",\"\n  as: tag\n  item: {$code: tag, via: kind, as: code}", `{"id":"1","tags":"a,b"}`, `"t":["A","B"]`},
		{"each", "t:\n  - first\n  - $each: list\n    as: item\n    where: item.value != 'no'\n    item: {v: {$copy: item.value}}", `{"id":"1","list":[{"value":"1"},{"value":"no"},{"value":"2"}]}`, `"t":["first",{"v":"1"},{"v":"2"}]`},
		{"each grouped", "t:\n  - $each: list\n    as: g\n    group: key\n    item:\n      k: {$copy: g.key}\n      vs:\n        - $each: g.items\n          as: item\n          item: {$copy: item.value}",
			`{"id":"1","list":[{"key":"a","value":"1"},{"key":"b","value":"2"},{"key":"a","value":"3"}]}`, `"t":[{"k":"a","vs":["1","3"]},{"k":"b","vs":["2"]}]`},
		{"when then", "x: {$when: record.number > 3, then: big, else: small}", `{"id":"1","number":4}`, `"x":"big"`},
		{"when by name", "x: {$when: \"record['number'] > 3 && record.`kind` == 'a'\", then: big, else: small}", `{"id":"1","number":4,"kind":"a"}`, `"x":"big"`},
		{"has by name", "x: {$when: \"has(record['number'])\", then: there, else: absent}", `{"id":"1","number":4}`, `"x":"there"`},
		{"has by name, absent", "x: {$when: \"has(record['number'])\", then: there, else: absent}", `{"id":"1"}`, `"x":"absent"`},
		{"when by a name that is absent", "x: {$when: \"record['number'] > 3\", then: big, else: small}", `{"id":"1"}`, `"x":"small"`},
		{"when else", "x: {$when: record.number > 3, then: big, else: small}", `{"id":"1"}`, `"x":"small"`},
		{"derive", "x: {$derive: \"table('kind', record.kind, 'extra') + '!'\"}", `{"id":"1","kind":"a"}`, `"x":"x y!"`},
		{"derive number", "x: {$derive: \"int(record.number) * 2\"}", `{"id":"1","number":21}`, `"x":42`},
		{"ref", "x: {$ref: organization}", `{"id":"1"}`, `"x":{"reference":"Organization/org-1","display":"Example Recovery"}`},
		{"text", "text:\n  $text:\n    - {say: \"A & B\"}\n    - {say: Word, of: word}\n    - {say: Items, each: {from: list, as: item}, of: item.value}", `{"id":"1","word":"<b>\"","list":[{"value":"'"}]}`,
			`"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>A &amp; B</p><p>Word: &lt;b&gt;&quot;</p><p>Items</p><ul><li>&#39;</li></ul></div>"`},
		{"absent parts take their object along", "a: {use: home, value: {$copy: word}}\nb: [{x: {$copy: word}}]\nc: kept", `{"id":"1"}`, `"c":"kept"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := compileOnly(tinyPack(tt.body), "tiny")
			if err != nil {
				t.Fatal(err)
			}
			res, err := p.MapJSON(testEnv(false), []byte(tt.record))
			if err != nil {
				t.Fatal(err)
			}
			got := string(res.Records[0].Resources[0].JSON)
			if !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, `"use"`) {
				t.Errorf("an object without its value stayed: %s", got)
			}
		})
	}
}

func TestPrimitiveProblems(t *testing.T) {
	tests := []struct{ name, body, record, code string }{
		{"not in table", `code: {$code: word, via: kind}`, `{"id":"1","word":"canary-7"}`, "unmapped-value"},
		{"not an integer", `value: {$copy: number, as: integer}`, `{"id":"1","number":3.5}`, "bad-value"},
		{"huge exponent", `value: {$copy: number, as: integer}`, `{"id":"1","number":1e999999}`, "bad-value"},
		{"control character", `text: {$copy: word}`, `{"id":"1","word":"canary-7\u0001"}`, "bad-value"},
		{"not a date", `d: {$date: when}`, `{"id":"1","when":"canary-7"}`, "bad-date"},
		{"clock change, twice", `d: {$date: when}`, `{"id":"1","when":"11/03/24 01:30"}`, ambiguousTime},
		{"clock change, never", `d: {$date: when}`, `{"id":"1","when":"03/10/24 02:30"}`, ambiguousTime},
		{"no time", `d: {$date: when, as: instant}`, `{"id":"1","when":"2024-01-01"}`, timeMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := compileOnly(tinyPack(tt.body), "tiny")
			if err != nil {
				t.Fatal(err)
			}
			res, err := p.MapJSON(testEnv(false), []byte(tt.record))
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Report.Problems) != 1 || res.Report.Problems[0].Code != tt.code {
				t.Fatalf("problems %+v, want one %s", res.Report.Problems, tt.code)
			}
			if strings.Contains(res.Report.Problems[0].Text, "canary-7") {
				t.Error("the problem betrays the value")
			}
		})
	}
}

func TestLoadReportsAllFaults(t *testing.T) {
	files := tinyFiles(`map: tiny
version: 1.0.0
key: nokey
surprise: 1
check:
  - {when: "record.nofield == 'x'", code: c, say: s}
  - {when: "'text'", code: c, say: s}
emit:
  - resource: Basic
    slot: basic
    set:
      id: mine
      a: {$copy: nothere}
      b: {$code: kind, via: nosuch}
      c: {$ref: nobody}
      d: {$frobnicate: word}
      e: {$derive: "table('kind', record.kind, 'nocolumn')"}
      f: {$copy: word, as: blob, extra: 1}
      g: {$each: word, as: item, item: x}
      "h-h": x
      i: "{nope}"
      j: {$date: when, as: week}
    label:
      - {rule: r, add: [NOPE]}
`)
	files["tiny/codes/kind.csv"].Data = append(files["tiny/codes/kind.csv"].Data, "a,http://s,A,,sideways,\n"...)
	_, err := Load(files, "tiny")
	var le *LoadError
	if !errors.As(err, &le) {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	for _, want := range []string{
		`tiny.map.yaml:3: the schema has no field "nokey"`, `tiny.map.yaml:4: unknown key "surprise"`,
		`no field "nofield"`, "must be true or false", "id is written by the engine", `tiny.map.yaml:13: the schema has no field "nothere"`,
		`there is no table "nosuch"`, `no resource has the slot "nobody"`, `no primitive "$frobnicate"`, `no column "nocolumn"`,
		"as must be string", `unknown key "extra"`, `"word" is not a list`, `"h-h" is not the name`, "placeholder {nope}",
		"as must be date", `label "NOPE"`, `kind.csv:4: direction must be`, `kind.csv:4: native value "a" stands twice`,
		`native field "number" is neither mapped nor ignored`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("faults lack %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestLoadRefuses(t *testing.T) {
	base := func() fstest.MapFS { return tinyPack("text: {$copy: word}") }
	tests := []struct {
		name   string
		change func(fstest.MapFS)
		want   string
	}{
		{"anchors", func(f fstest.MapFS) { f["tiny/pack.yaml"].Data = []byte("pack: &a tiny\nversion: *a\n") }, "not allowed"},
		{"broken yaml", func(f fstest.MapFS) { f["tiny/tiny.map.yaml"].Data = []byte("a: [\n") }, "is not YAML"},
		{"broken schema", func(f fstest.MapFS) { f["tiny/tiny.schema.json"].Data = []byte(`{"type": 3}`) }, "JSON Schema"},
		{"schema from elsewhere", func(f fstest.MapFS) {
			f["tiny/tiny.schema.json"].Data = []byte(`{"$ref": "https://example.com/x.json"}`)
		}, "JSON Schema"},
		{"no mapping", func(f fstest.MapFS) { delete(f, "tiny/tiny.map.yaml") }, "cannot be read"},
		{"unknown zone", func(f fstest.MapFS) {
			f["tiny/pack.yaml"].Data = []byte(strings.Replace(string(f["tiny/pack.yaml"].Data), "America/New_York", "Moon/Base", 1))
		}, "zone"},
		{"enum not in table", func(f fstest.MapFS) {
			f["tiny/codes/kind.csv"].Data = []byte("native,system,code,display,direction\na,s,A,,both\n")
			f["tiny/tiny.map.yaml"].Data = []byte(strings.Replace(string(f["tiny/tiny.map.yaml"].Data), "{$copy: word}", "{$code: kind, via: kind}", 1))
		}, `may be "b"`},
		{"two natives for one code", func(f fstest.MapFS) {
			f["tiny/codes/kind.csv"].Data = []byte("native,system,code,display,direction\na,s,A,,both\nb,s,A,,both\n")
		}, "use direction in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := base()
			tt.change(files)
			_, err := Load(files, "tiny")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, name := range []string{"", ".", "..", "../x", "tiny/codes", "none"} {
		if _, err := Load(base(), name); err == nil {
			t.Errorf("Load(%q) took it", name)
		}
	}
}

func TestTooManyEntriesAreRejected(t *testing.T) {
	files := tinyFiles(`map: tiny
version: 1.0.0
key: id
check:
  - {each: {from: list, as: item}, when: "record.list.filter(x, x.key == item.key).size() > 5", code: c, say: s, drop: true}
  - {when: "record.list.all(x, record.list.all(y, record.list.all(z, x.key == z.key)))", code: c, say: s}
emit:
  - {resource: Basic, slot: basic, main: true, set: {text: {$copy: word}}}
ignore:
` + unusedFields(""))
	p, err := compileOnly(files, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	record := `{"id":"1","list":[` + strings.Repeat(`{"key":"a"},`, 4) + `{"key":"a"}]}`
	if _, err := p.MapJSON(testEnv(false), []byte(record)); err != nil {
		t.Errorf("a small record: %v", err)
	}
	var b strings.Builder
	for i := range 400 {
		b.WriteString(`{"key":"` + itoa(i) + `"},`)
	}
	files["tiny/tiny.map.yaml"].Data = []byte(strings.Replace(string(files["tiny/tiny.map.yaml"].Data), "x.key == z.key", "x.key == z.key || true", 1))
	if p, err = compileOnly(files, "tiny"); err != nil {
		t.Fatal(err)
	}
	_, err = p.MapJSON(testEnv(false), []byte(`{"id":"1","list":[`+strings.TrimSuffix(b.String(), ",")+`]}`))
	var invalid *InvalidError
	if !errors.As(err, &invalid) || invalid.Problems[len(invalid.Problems)-1].Code != "too-large" {
		t.Errorf("got %v, want too-large", err)
	}
}

func TestNames(t *testing.T) {
	got, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	want := "app-checkin case-management employment-education family-support helpline-contact hmis-csv hsds justice-status mat-linkage meeting-guide mutual-aid ny-1115-ahc-hrsn peer-encounter recovery-capital recovery-housing recovery-plan referral sdoh-screening"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	if _, err := Names(fstest.MapFS{"file": &fstest.MapFile{}}); err != nil {
		t.Error(err)
	}
	if _, err := Load(fs.FS(fstest.MapFS{}), "x"); err == nil {
		t.Error("an empty folder has no pack")
	}
}
