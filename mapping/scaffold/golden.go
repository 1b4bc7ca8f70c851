package scaffold

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"

	"trellis/mapping"
)

// caseFile is how a case of a CSV pack names its file.
const caseFile = "== sheet.csv\n"

// input makes records of made-up values that have every field of the sample.
func (d *drafter) input() ([]byte, error) {
	if !d.csv {
		out := appendMadeUp(nil, d.root, 0)
		if !json.Valid(out) {
			return nil, errors.New("the made-up record is not JSON")
		}
		return append(out, '\n'), nil
	}
	b := bytes.NewBufferString(caseFile)
	w := csv.NewWriter(b)
	w.Comma = rune(d.separator[0])
	rows := [][]string{{}}
	for _, f := range d.root.props {
		rows[0] = append(rows[0], f.name)
	}
	for n := range 2 {
		row := []string{}
		for _, f := range d.root.props {
			row = append(row, f.madeUp(n))
		}
		rows = append(rows, row)
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func appendMadeUp(b []byte, f *field, n int) []byte {
	switch {
	case len(f.props) > 0:
		b = append(b, '{')
		for i, p := range f.props {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = fmt.Appendf(b, "%q: ", p.name)
			b = appendMadeUp(b, p, n)
		}
		return append(b, '}')
	case f.items != nil:
		b = appendMadeUp(append(b, '['), f.items, n)
		if len(f.items.props) > 0 {
			b = appendMadeUp(append(b, ", "...), f.items, n+1)
		}
		return append(b, ']')
	case f.types["object"]:
		return append(b, "{}"...)
	case f.types["array"]:
		return append(b, "[]"...)
	case f.types["boolean"]:
		return append(b, "true"...)
	case f.types["integer"] || f.types["number"]:
		text := f.madeUp(n)
		if !json.Valid([]byte(text)) {
			text = "1"
		}
		return append(b, text...)
	}
	text, err := json.Marshal(f.madeUp(n))
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, text...)
}

// Folder is a folder of packs in memory that holds one, with its files by path.
func Folder(name string, files map[string][]byte) fs.FS {
	folder := fstest.MapFS{}
	for path, data := range files {
		folder[name+"/"+path] = &fstest.MapFile{Data: data}
	}
	return folder
}

// golden loads the draft and writes down what it makes of the made-up input. It is the proof that the draft loads and runs.
func (d *drafter) golden(files map[string][]byte, input []byte) ([]byte, error) {
	pack, err := mapping.Load(mapping.Beside(Folder(d.name, files)), d.name)
	if err != nil {
		return nil, fmt.Errorf("the draft does not load; that is a mistake of this program: %w", err)
	}
	c := mapping.Case{Input: string(input)}
	got, err := pack.RunCase(c)
	if err != nil {
		return nil, fmt.Errorf("the draft does not run; that is a mistake of this program: %w", err)
	}
	return c.Text(got), nil
}
