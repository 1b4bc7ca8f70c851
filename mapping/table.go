package mapping

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// A table is a code table: rows of (native value, system, code, display, direction), kept as CSV because that is what
// staff maintain. A column "text" gives our own
// short label for CodeableConcept.text. Further columns are free and reached from CEL with table(name, native, column).
//
// Direction "both" is a pair that runs either way and must be unique on both sides; "in" is a further native spelling
// of a code; "out" is a code that is only ever turned back into the native value. "todo" is a native value for which
// nobody has chosen a code yet: it counts as unmapped, and lint reports it.
type table struct {
	name    string
	file    string
	columns map[string]int
	rows    map[string]*tableRow // by native value, directions both and in
	list    []*tableRow          // every row as it stands in the file
}

type tableRow struct {
	native, direction     string
	line                  int
	system, code, display string
	text                  string // optional column: our own short label for CodeableConcept.text
	in                    bool   // a further spelling: the code stands for another native value unless something tells
	local                 bool   // system is a code system of ours, named below the deployment's canonical base
	cells                 []string
}

// directionTodo marks a row that waits for its code.
const directionTodo = "todo"

// todo tells whether the table knows the native value and has no code for it yet.
func (t *table) todo(native string) bool {
	for _, row := range t.list {
		if row.native == native && row.direction == directionTodo {
			return true
		}
	}
	return false
}

// localPrefix marks a code system that this project publishes, e.g. "local:peer-activity".
const localPrefix = "local:"

// readTable parses a table and records every fault in it.
func readTable(fsys fs.FS, file, name string, f *faults) *table {
	t := &table{name: name, file: file, columns: map[string]int{}, rows: map[string]*tableRow{}}
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		f.add(file, 0, "cannot be read")
		return t
	}
	r := csv.NewReader(bytes.NewReader(data))
	head, err := r.Read()
	if err != nil {
		f.add(file, 1, "has no header row")
		return t
	}
	for i, h := range head {
		t.columns[h] = i
	}
	for _, want := range []string{"native", "system", "code", "display", "direction"} {
		if _, ok := t.columns[want]; !ok {
			f.hint(file, 1, didYouMean(want, head), "column %q is missing", want)
		}
	}
	if len(t.columns) < 5 {
		return t
	}
	back := map[string]int{}
	for {
		rec, err := r.Read()
		if err == io.EOF {
			return t
		}
		if err != nil {
			at := 0
			var broken *csv.ParseError
			if errors.As(err, &broken) {
				at, err = broken.Line, broken.Err
			}
			f.add(file, at, "is not CSV: %v", err)
			return t
		}
		line, _ := r.FieldPos(0)
		t.addRow(rec, file, line, back, f)
	}
}

func (t *table) addRow(rec []string, file string, line int, back map[string]int, f *faults) {
	row := &tableRow{
		system: rec[t.columns["system"]], code: rec[t.columns["code"]], display: rec[t.columns["display"]], cells: rec,
	}
	if i, ok := t.columns["text"]; ok {
		row.text = rec[i]
	}
	row.local = strings.HasPrefix(row.system, localPrefix)
	native, direction := rec[t.columns["native"]], rec[t.columns["direction"]]
	row.native, row.direction, row.line, row.in = native, direction, line, direction == "in"
	t.list = append(t.list, row)
	switch direction {
	case "both", "in", "out":
	case directionTodo:
		return
	default:
		f.hint(file, line, didYouMean(direction, []string{"both", "in", "out"}), "direction must be both, in or out")
	}
	if row.code == "" {
		f.hint(file, line, `write todo as the direction until there is one`, "code is empty")
	}
	if direction != "out" {
		if dup := t.rows[native]; dup != nil {
			f.hint(file, line, fmt.Sprintf("line %d has it already", dup.line), "native value %q stands twice", native)
		}
		t.rows[native] = row
	}
	if direction != "in" {
		// An answer code is unique for its question only, so the leading parts of a composite value count too.
		key := native[:strings.LastIndexByte(native, '|')+1] + row.system + "|" + row.code
		if first, dup := back[key]; dup {
			f.hint(file, line, "use direction in for one of the two", "code %s is already given back as another native value in line %d", row.code, first)
		}
		back[key] = line
	}
}

// cell returns one column of the row of a native value, "" when there is none.
func (t *table) cell(native, column string) string {
	row, ok := t.rows[native]
	if !ok {
		return ""
	}
	i, ok := t.columns[column]
	if !ok {
		return ""
	}
	return row.cells[i]
}
