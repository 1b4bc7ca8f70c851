package mapping

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rows turns native records of a CSV pack, as Back reads them, into the files of a delivery again: one per kind of file
// that has rows, named after it. Columns stand as the schema has them, under the titles it gives them.
func (p *Pack) Rows(records []Native) ([]File, error) {
	if p.Format != "csv" {
		return nil, fmt.Errorf("mapping: pack %s keeps JSON records, not rows", p.Name)
	}
	parts := map[*fileKind][]partialRow{}
	for _, rec := range records {
		m := p.mapNamed(rec.Map)
		if m == nil {
			return nil, fmt.Errorf("mapping: pack %s has no records of kind %s", p.Name, rec.Map)
		}
		m.assembly.take(rec.Record, parts)
	}
	var out []File
	for _, k := range p.files {
		rows := unite(parts[k])
		if len(rows) == 0 {
			continue
		}
		for _, r := range rows {
			k.restated(r)
		}
		data, err := k.write(p.comma, rows)
		if err != nil {
			return nil, err
		}
		out = append(out, File{Name: k.name + ".csv", Data: data})
	}
	return out, nil
}

func (p *Pack) mapNamed(name string) *recordMap {
	for _, m := range p.maps {
		if m.name == name {
			return m
		}
	}
	return nil
}

// A partialRow is what one record tells of a row: cells, and the columns that say which row it is.
type partialRow struct {
	cells map[string]string
	key   []string
}

// take takes a record apart into the rows it was assembled from. What the record says of its first row holds for those of
// its rows that say nothing else.
func (a *assembly) take(record map[string]any, parts map[*fileKind][]partialRow) {
	first := cellsOf(record[a.from.name])
	list, _ := record[rowsField].([]any)
	if len(list) == 0 {
		list = []any{map[string]any{}}
	}
	for _, item := range list {
		cells := cellsOf(item)
		for column, v := range first {
			if _, said := cells[column]; !said {
				cells[column] = v
			}
		}
		key := a.group
		if _, ok := record[rowsField]; ok {
			key = nil // one of several rows of the group: a row of its own
		}
		parts[a.from] = append(parts[a.from], partialRow{cells, key})
	}
	for _, j := range a.joins {
		cells := cellsOf(record[j.to.name])
		if len(cells) == 0 {
			continue
		}
		by := first
		if j.of != a.from {
			by = cellsOf(record[j.of.name])
		}
		for _, column := range j.on {
			if v, ok := by[column]; ok {
				cells[column] = v
			}
		}
		parts[j.to] = append(parts[j.to], partialRow{cells, j.on})
	}
}

func cellsOf(v any) map[string]string {
	out := map[string]string{}
	m, _ := v.(map[string]any)
	for k, cell := range m {
		if text, ok := scalar(cell); ok {
			out[k] = text
		}
	}
	return out
}

// unite lays rows together that tell of the same one: what a row known by few columns says goes to every row that agrees
// with it in those.
func unite(parts []partialRow) []map[string]string {
	// The most telling keys first; a row without a key is a row of its own.
	slices.SortStableFunc(parts, func(a, b partialRow) int { return rank(b) - rank(a) })
	var rows []map[string]string
	for _, part := range parts {
		taken := false
		if part.key != nil {
			for _, have := range rows {
				if agrees(have, part) {
					taken = true
					for column, v := range part.cells {
						if _, said := have[column]; !said {
							have[column] = v
						}
					}
				}
			}
		}
		if !taken {
			rows = append(rows, maps.Clone(part.cells))
		}
	}
	return rows
}

func rank(p partialRow) int {
	if p.key == nil {
		return 1 << 10
	}
	return len(p.key)
}

func agrees(row map[string]string, part partialRow) bool {
	for _, column := range part.key {
		if v, ok := row[column]; !ok || v != part.cells[column] {
			return false
		}
	}
	return true
}

// write puts rows into a file that the pack recognises.
func (k *fileKind) write(comma rune, rows []map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.Comma = comma
	head := slices.Clone(k.columns)
	for i, c := range head {
		if title := k.titles[c]; title != "" {
			head[i] = title
		}
	}
	if err := w.Write(head); err != nil {
		return nil, err
	}
	for _, row := range rows {
		cells := make([]string, len(k.columns))
		for i, c := range k.columns {
			cells[i] = row[c]
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// A restatement is a column that says again what another one says: the code system of a code, or its words. It is not
// carried; the way back writes it anew.
type restatement struct {
	field  int
	column string
	beside string // the column it restates
	is     string // its only value, when it does not come from a table
	via    *table
	show   string // the table's column that holds it
}

// readRestatements reads the restate entries of a file.
func (p *Pack) readRestatements(s *section, k *fileKind, file string, f *faults) {
	for _, n := range s.list("restate") {
		rs := newSection(n, file, f)
		r := restatement{column: rs.str("column", true), beside: rs.str("beside", true), is: rs.str("is", false), show: rs.str("show", false)}
		via := rs.str("via", r.is == "")
		rs.done()
		if via != "" {
			if r.via = p.tables[via]; r.via == nil {
				f.add(file, n.line, "there is no table %q", via)
				continue
			}
			if _, ok := r.via.columns[r.show]; !ok {
				f.add(file, n.line, "table %q has no column %q to show", via, r.show)
			}
		}
		t := k.tree.props[r.column]
		if t == nil || k.tree.props[r.beside] == nil {
			f.add(file, n.line, "the file has no column %q or %q", r.column, r.beside)
			continue
		}
		r.field = t.id
		p.uses[t.id] = true
		if p.restated == nil {
			p.restated = map[int]string{}
		}
		p.restated[t.id] = k.name + "." + r.beside
		k.restates = append(k.restates, r)
	}
}

// says is what the column must say beside a value; false when the pack does not know.
func (r *restatement) says(beside string) (string, bool) {
	if r.via == nil {
		return r.is, true
	}
	if r.via.rows[beside] == nil {
		return "", false
	}
	text := r.via.cell(beside, r.show)
	return text, text != ""
}

// restated writes the restating columns of a row.
func (k *fileKind) restated(row map[string]string) {
	for i := range k.restates {
		r := &k.restates[i]
		if beside, ok := row[r.beside]; ok && row[r.column] == "" {
			if text, ok := r.says(beside); ok {
				row[r.column] = text
			}
		}
	}
}

// checkRestated reports restating columns that say something else: that cannot be given back.
func (k *fileKind) checkRestated(rw *row, problems *[]Problem) {
	for i := range k.restates {
		r := &k.restates[i]
		have, ok := scalar(rw.cells[r.column])
		if !ok {
			continue
		}
		beside, _ := scalar(rw.cells[r.beside])
		if want, known := r.says(beside); !known || !strings.EqualFold(want, have) {
			*problems = append(*problems, Problem{Code: "restates-otherwise", File: rw.file, Row: rw.number, Column: r.column,
				Text: "does not say what " + r.beside + " says; that column was taken"})
		}
	}
}
