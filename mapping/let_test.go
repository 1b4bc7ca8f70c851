package mapping

import (
	"slices"
	"strings"
	"testing"
)

// letPack is a pack with a let section and rules that use it; the emission begins on line 8 when let has two names.
func letPack(let, check, set string) (*Pack, error) {
	return compileOnly(tinyFiles("map: tiny\nversion: 1.0.0\nkey: id\nlet:\n"+indent(let, "  ")+"\ncheck:\n"+indent(check, "  ")+
		"\nemit:\n  - resource: Basic\n    slot: basic\n    main: true\n    set:\n"+indent(set, "      ")+"\nignore:\n"+unusedFields("")), "tiny")
}

const noCheck = `- {when: "now == ''", code: c, say: s}`

func TestLet(t *testing.T) {
	tests := []struct{ name, let, check, set, record, want string }{
		{"of the record", "big: record.number > 3", noCheck, `text: {$when: big, then: yes, else: no}`, `{"id":"1","number":4}`, `"text":"yes"`},
		{"of an item", "loud: x.key + '!'", noCheck, `list: [{$each: list, as: x, item: {$derive: loud}}]`, `{"id":"1","list":[{"key":"a"},{"key":"b"}]}`, `"list":["a!","b!"]`},
		{"by way of another", "one: x.key + record.word\ntwo: one + one", noCheck, `list: [{$each: list, as: x, item: {$derive: two}}]`,
			`{"id":"1","word":"w","list":[{"key":"a"},{"key":"b"}]}`, `"list":["awaw","bwbw"]`},
		{"of two loops", "both: x.key + y.key", noCheck, `list: [{$each: list, as: x, item: {here: [{$each: list, as: y, item: {$derive: both}}]}}]`,
			`{"id":"1","list":[{"key":"a"},{"key":"b"}]}`, `"list":[{"here":["aa","ab"]},{"here":["ba","bb"]}]`},
		{"of a group, which another loop makes anew", "many: string(x.items.size())", noCheck,
			"list: [{$each: list, as: x, group: key, item: {$derive: many}}]\nmore: [{$each: list, as: x, group: value, item: {$derive: many}}]",
			`{"id":"1","list":[{"key":"a","value":"v"},{"key":"b","value":"v"},{"key":"a","value":"v"}]}`, `"list":["2","1"],"more":["3"]`},
		{"as the record is after a check", "many: string(record.list.size())", `- {each: {from: list, as: x}, when: "x.key == 'a' && many == '2'", code: c, say: s, drop: true}`,
			`text: {$derive: many}`, `{"id":"1","list":[{"key":"a"},{"key":"b"}]}`, `"text":"1"`},
		{"that reads an absent field", "big: record.number > 3", noCheck, `text: {$when: big, then: yes, else: no}`, `{"id":"1"}`, `"text":"no"`},
		{"that fails beside what decides alone", "big: record.number > 3", noCheck, `text: {$when: "big || record.word == 'w'", then: yes, else: no}`, `{"id":"1","word":"w"}`, `"text":"yes"`},
		{"list", "keys: \"record.list.map(x, x.key)\"", noCheck, `list: [{$each: list, as: it, where: "it.key in repeated(keys)", item: {$copy: it.value}}]`,
			`{"id":"1","list":[{"key":"a","value":"1"},{"key":"b","value":"2"},{"key":"a","value":"3"}]}`, `"list":["1","3"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := letPack(tt.let, tt.check, tt.set)
			if err != nil {
				t.Fatal(err)
			}
			res, err := p.MapJSON(testEnv(false), []byte(tt.record))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(res.Records[0].Resources[0].JSON); !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestLetFaults(t *testing.T) {
	const text = "text: {$copy: word}"
	tests := []struct{ name, let, set, want string }{
		{"unused", "big: record.number > 3", text, `tiny/tiny.map.yaml:5: nothing uses "big"; take it out`},
		{"reserved", "record: record.number > 3", text, `tiny/tiny.map.yaml:5: "record" cannot be the name of an expression, or is in use already`},
		{"not a name", "so-big: record.number > 3", text, `tiny/tiny.map.yaml:5: "so-big" cannot be the name of an expression, or is in use already`},
		{"no expression", "big: [record.number]", text, `tiny/tiny.map.yaml:5: big must be an expression`},
		{"misspelt", "big: record.number > 3", "text: {$when: bigg, then: yes}\nmore: {$when: big, then: yes}", `tiny/tiny.map.yaml:13: CEL: undeclared reference to 'bigg' (column 1); did you mean "big"?`},
		{"out of scope", "loud: x.key + '!'", "text: {$derive: loud}\nmore: [{$each: list, as: x, item: {$derive: loud}}]",
			`tiny/tiny.map.yaml:13: CEL: undeclared reference to 'loud' (column 1); loud reads x: use it where a loop has that variable`},
		{"before it is said", "loud: soft + '!'\nsoft: record.word", "text: {$derive: soft}", `tiny/tiny.map.yaml:5: nothing uses "loud"; no loop has the variable "soft", and a name stands after those it uses`},
		{"field", "big: record.numbr > 3", "text: {$when: big, then: yes}", `tiny/tiny.map.yaml:5: CEL: the schema has no field "numbr" below ""; did you mean "number"?`},
		{"field of an item", "loud: x.ky + '!'", "list: [{$each: list, as: x, item: {$derive: loud}}]", `tiny/tiny.map.yaml:5: CEL: the schema has no field "ky" below "list[]"; did you mean "key"?`},
		{"table", "word: table('kinds', record.kind, 'code')", "text: {$derive: word}", `tiny/tiny.map.yaml:5: CEL: there is no table "kinds"; did you mean "kind"?`},
		{"hidden in a comprehension", "x: record.word", "text: {$derive: x}\nmore: {$when: \"record.list.exists(x, x.key == 'a')\", then: yes}",
			`tiny/tiny.map.yaml:14: CEL: x is the name of an expression; call the variable of the loop otherwise`},
		{"hidden by a loop", "x: record.word", "text: {$derive: x}\nlist: [{$each: list, as: x, item: {$copy: x.key}}]",
			`tiny/tiny.map.yaml:14: loop variable "x" cannot be named so, or is in use already`},
		{"never so", "kind: table('kind', record.kind, 'code')", "text: {$when: \"kind == 'C'\", then: yes}",
			`tiny/tiny.map.yaml:13: CEL: column "code" of table "kind" never holds "C"; did you mean "A"?`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := letPack(tt.let, noCheck, tt.set)
			if err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// What people are told of a rule says what the names in it stand for.
func TestLetExplained(t *testing.T) {
	p, err := letPack("one: record.number > 3\ntwo: one && record.word == 'w'", noCheck, `text: {$when: two, then: yes}`)
	if err != nil {
		t.Fatal(err)
	}
	got := p.Explain("Basic.text")
	if len(got) == 0 || got[0].Does != "is chosen by two, where two is one && record.word == 'w' and one is record.number > 3" {
		t.Errorf("got %+v", got)
	}
	if fields := p.Explain("number"); len(fields) == 0 {
		t.Error("the field that a name reads is not known to be used")
	}
}

// What names say of an item and the rest of the record is computed anew when a check within another item took something out.
func TestLetWithinChecks(t *testing.T) {
	files := tinyFiles(`map: tiny
version: 1.0.0
key: id
let:
  others: string(record.list.map(y, y.parts.size()).exists(n, n == 0)) + x.key
check:
  - {each: {from: list, as: x}, when: "others == ''", code: c, say: s}
  - {each: [{from: list, as: x}, {from: x.parts, as: p}], when: "others != 'trueb'", code: dropped, say: s, drop: true}
emit:
  - resource: Basic
    slot: basic
    main: true
    set:
      list: [{$each: list, as: x, item: {k: {$copy: x.key}, parts: [{$each: x.parts, as: p, item: {$copy: p.name}}]}}]
`)
	files["tiny/tiny.schema.json"].Data = []byte(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false, "required": ["id"],
"properties": {"id": {"type": "string"}, "list": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"key": {"type": "string"},
"parts": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"name": {"type": "string"}}}}}}}}}`)
	delete(files, "tiny/codes/kind.csv")
	p, err := compileOnly(files, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.MapJSON(testEnv(false), []byte(`{"id":"1","list":[{"key":"a","parts":[{"name":"1"}]},{"key":"b","parts":[{"name":"2"}]},{"key":"c","parts":[{"name":"3"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(res.Records[0].Resources[0].JSON), `"list":[{"k":"a"},{"k":"b","parts":["2"]},{"k":"c"}]`; !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
