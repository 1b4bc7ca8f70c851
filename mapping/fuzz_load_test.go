package mapping

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

// FuzzLoad feeds bytes to every file of a pack: never a panic, always a pack or a *LoadError with faults.
func FuzzLoad(f *testing.F) {
	seed := strictPack("Observation", "", "status: {$code: kind, via: kind, as: code}\ncode: {text: {$copy: word}}")
	read := func(fsys fs.FS, name string) []byte {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	tiny := func(name string) []byte { return read(seed, "tiny/"+name) }
	f.Add(tiny("pack.yaml"), tiny("tiny.map.yaml"), tiny("tiny.schema.json"), tiny("codes/kind.csv"))
	for _, body := range []string{"text: {$copy: word}", "x: {$when: record.number > 3, then: big, else: small}",
		"t: [{$each: list, as: g, group: key, item: {k: {$copy: g.key}}}]", "t:\n  - $split: tags\n    by: \",\"\n    as: tag\n    item: {$copy: tag}",
		"text: {$text: [{say: a, each: {from: list, as: i}, of: i.value}]}", "x: {$ref: basic, key: id, display: word}"} {
		f.Add(tiny("pack.yaml"), read(tinyPack(body), "tiny/tiny.map.yaml"), tiny("tiny.schema.json"), tiny("codes/kind.csv"))
	}
	for _, name := range []string{"peer-encounter", "recovery-plan", "sdoh-screening"} {
		f.Add(tiny("pack.yaml"), read(Packs(), name+"/"+name+".map.yaml"), read(Packs(), name+"/"+name+".schema.json"), tiny("codes/kind.csv"))
	}
	f.Add(read(Packs(), "ny-1115-ahc-hrsn/pack.yaml"), tiny("tiny.map.yaml"), read(Packs(), "ny-1115-ahc-hrsn/admin.schema.json"), tiny("codes/kind.csv"))
	f.Fuzz(func(t *testing.T, pack, mapping, schema, table []byte) {
		files := fstest.MapFS{
			"tiny/pack.yaml": {Data: pack}, "tiny/tiny.map.yaml": {Data: mapping},
			"tiny/tiny.schema.json": {Data: schema}, "tiny/codes/kind.csv": {Data: table},
		}
		p, err := Load(files, "tiny")
		var le *LoadError
		switch {
		case err == nil && p == nil:
			t.Fatal("neither a pack nor an error")
		case err == nil:
		case !errors.As(err, &le) || len(le.Faults) == 0:
			t.Fatalf("not a LoadError with faults: %v", err)
		}
	})
}
