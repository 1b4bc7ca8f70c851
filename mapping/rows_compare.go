package mapping

import (
	"io"
	"slices"
	"strings"
)

// changedCells compares the rows of a delivery with those that came back, but for columns that no rule gives back, which are
// losses, for what the pack ignores, and for what the report says was left out or read otherwise. A cell that came back in
// another spelling of the same thing is as it was.
func (p *Pack) changedCells(sent, back []File, problems []Problem) []Difference {
	said := newSaid(problems)
	for _, use := range p.Uses() {
		if use.Way == OneWay || use.Way == Decides {
			said.columns[use.Field] = true
		}
	}
	before, after := p.rowsOf(sent), p.rowsOf(back)
	out := []Difference{}
	for _, k := range p.files {
		group := p.groupOf(k)
		all, byKey := map[string][]row{}, map[string][]row{}
		for _, rw := range after[k] {
			key, _ := rw.key(group)
			all[key], byKey[key] = append(all[key], rw), append(byKey[key], rw)
		}
		told := map[string]bool{} // groups of which the report names a row that was left out
		for _, rw := range before[k] {
			if key, _ := rw.key(group); said.row(rw) {
				told[key] = true
			}
		}
		for _, rw := range before[k] {
			key, _ := rw.key(group)
			if said.row(rw) {
				continue
			}
			rest := byKey[key]
			i := p.nearestRow(k, rw, rest)
			got := row{}
			switch again := p.nearestRow(k, rw, all[key]); {
			case i >= 0:
				got = rest[i]
				byKey[key] = slices.Delete(rest, i, i+1)
			case told[key]:
				continue
			case again >= 0 && len(p.changedIn(k, rw, all[key][again], said)) == 0:
				continue // it stood there twice
			}
			out = append(out, p.changedIn(k, rw, got, said)...)
		}
	}
	return out
}

// rowsOf are the rows of files, by kind; what cannot be read is in the report of the run.
func (p *Pack) rowsOf(files []File) map[*fileKind][]row {
	out := map[*fileKind][]row{}
	var unsaid []Problem
	for _, file := range files {
		f := openCSV(p, Source{file.Name, strings.NewReader(string(file.Data)), int64(len(file.Data))})
		head, err := f.next()
		if err != nil {
			continue
		}
		columns := p.header(file.Name, head, &unsaid)
		k := p.recognise(columns)
		if k == nil {
			continue
		}
		for n := 2; ; n++ {
			cells, err := f.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				continue
			}
			if rw := k.row(file.Name, n, columns, cells, &unsaid); rw != nil {
				out[k] = append(out[k], *rw)
			}
		}
	}
	return out
}

// groupOf are the columns by which rows of a kind belong to one record, or are found by others.
func (p *Pack) groupOf(k *fileKind) []string {
	var joined []string
	for _, m := range p.maps {
		if m.assembly.from == k {
			return m.assembly.group
		}
		for _, j := range m.assembly.joins {
			if j.to == k && joined == nil {
				joined = j.on
			}
		}
	}
	return joined
}

// nearestRow is the place of the row that agrees with another one in the most cells, -1 when there are none.
func (p *Pack) nearestRow(k *fileKind, rw row, list []row) int {
	best, most := -1, -1
	for i, other := range list {
		count := 0
		for column, v := range rw.cells {
			if p.sameCell(v, other.cells[column]) {
				count++
			}
		}
		if count > most {
			best, most = i, count
		}
	}
	return best
}

func (p *Pack) changedIn(k *fileKind, rw, got row, said said) []Difference {
	var out []Difference
	for _, column := range keysOf(rw.cells) {
		id := k.tree.props[column].id
		if p.ignored[id] != "" && got.cells[column] == nil || said.columns[k.tree.props[column].name] || said.cell(rw, column) || p.sameCell(rw.cells[column], got.cells[column]) {
			continue
		}
		out = append(out, Difference{Path: rw.file + ":" + itoa(rw.number) + ":" + column, Old: rw.cells[column], New: got.cells[column]})
	}
	return out
}

// sameCell tells whether two cells say the same: in the same words but for capitals, as one date, as one number, or as two
// words that a code table has for one code.
func (p *Pack) sameCell(a, b any) bool {
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if !ok1 || !ok2 {
		return ok1 == ok2
	}
	if strings.EqualFold(x, y) || p.dates.alike(x, y) {
		return true
	}
	for _, t := range p.tables {
		if m, n := t.rows[x], t.rows[y]; m != nil && n != nil && (m.in || n.in) && m.system == n.system && m.code == n.code {
			return true
		}
	}
	return false
}

// alike tells whether two texts are the same day or moment.
func (d *dateRules) alike(x, y string) bool {
	for _, as := range []string{"instant", "date"} {
		a, why1 := d.read(x, as)
		b, why2 := d.read(y, as)
		if why1 == "" && why2 == "" {
			return a == b
		}
	}
	return false
}

// said is what a report says of rows, cells and whole columns.
type said struct{ rows, cells, columns map[string]bool }

func newSaid(problems []Problem) said {
	s := said{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, pr := range problems {
		at := pr.File + ":" + itoa(pr.Row)
		s.cells[at+":"+pr.Column] = true
		s.rows[at] = s.rows[at] || pr.Dropped
	}
	return s
}

func (s said) row(rw row) bool { return s.rows[rw.file+":"+itoa(rw.number)] }

func (s said) cell(rw row, column string) bool {
	return s.cells[rw.file+":"+itoa(rw.number)+":"+column]
}
