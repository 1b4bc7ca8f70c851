package mapping

import (
	"maps"
	"slices"
	"strings"
)

// joinedRows are the rows that a join can find, by the values of its columns. Nearly always there is one.
type joinedRows struct {
	first map[string]rowAt
	more  map[string][]rowAt // those that agree with the first in the columns
}

func newJoinedRows() joinedRows {
	return joinedRows{first: map[string]rowAt{}, more: map[string][]rowAt{}}
}

func (j joinedRows) add(key string, at rowAt) {
	if _, dup := j.first[key]; !dup {
		j.first[key] = at
		return
	}
	j.more[key] = append(j.more[key], at)
}

// differingUnknown, as what a join does about rows that agree in its columns and differ elsewhere, takes no side. Without it
// the first row is taken.
const differingUnknown = "unknown"

// find reads the row that a join finds for a key. What further rows say otherwise is not taken, and reported.
func (x *rowIndex) find(j *join, rows joinedRows, key string, rec *assembled) (row, bool, error) {
	at, ok := rows.first[key]
	if !ok {
		return row{}, false, nil
	}
	delete(x.waiting, at)
	first, err := x.read(at)
	if err != nil {
		return row{}, false, err
	}
	text := "an earlier row with the same " + strings.Join(j.on, ", ") + " says otherwise; that one was taken"
	if j.differing == differingUnknown {
		text = "an earlier row with the same " + strings.Join(j.on, ", ") + " says otherwise; neither was taken"
	}
	unsure := map[string]bool{}
	for _, at := range rows.more[key] {
		delete(x.waiting, at)
		other, err := x.read(at)
		if err != nil {
			return row{}, false, err
		}
		for _, column := range differing(first, other) {
			unsure[column] = true
			rec.problems = append(rec.problems, Problem{Code: "rows-differ", File: other.file, Row: other.number, Column: column, Text: text, Dropped: true})
		}
	}
	if j.differing == differingUnknown {
		for column := range unsure {
			delete(first.cells, column)
		}
	}
	return first, true, nil
}

// differing are the columns of which two rows say something else, in the order of their names.
func differing(a, b row) []string {
	out := map[string]bool{}
	for column, v := range a.cells {
		if !sameScalar(v, b.cells[column]) {
			out[column] = true
		}
	}
	for column := range b.cells {
		if _, there := a.cells[column]; !there {
			out[column] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// sameRecord reports what further rows of a record say otherwise than its first one, when its mapping walks no rows and so
// takes the first alone.
func (a *assembly) sameRecord(rec *assembled, first, other row) {
	for _, column := range differing(first, other) {
		if slices.Contains(a.carried, column) {
			rec.problems = append(rec.problems, Problem{Code: "rows-differ", File: other.file, Row: other.number, Column: column, Dropped: true,
				Text: "an earlier row with the same " + strings.Join(a.group, ", ") + " says otherwise; that one was taken"})
		}
	}
}

// findCarried tells which columns a mapping takes from the first row of a record; none when it walks all of them.
func (m *recordMap) findCarried() {
	rows := func(p *path) bool { return p != nil && p.slot < 0 && len(p.segs) > 0 && p.segs[0] == rowsField }
	walks := false
	for i := range m.emissions {
		for _, l := range m.emissions[i].loops {
			walks = walks || rows(l.from)
		}
		each(m.emissions[i].set, func(n node) {
			if x, ok := n.(*eachNode); ok {
				walks = walks || rows(x.loop.from)
			}
		})
	}
	if m.assembly.carried = nil; walks {
		return
	}
	used := map[int]bool{}
	m.eachLeaf(func(l *leaf) {
		for _, f := range l.fields {
			used[f] = used[f] || l.element != ""
		}
	})
	for _, column := range slices.Sorted(maps.Keys(m.assembly.from.tree.props)) {
		if used[m.assembly.from.tree.props[column].id] {
			m.assembly.carried = append(m.assembly.carried, column)
		}
	}
}

// await notes a row that holds something which only records of other rows carry: it has to be joined to one.
func (x *rowIndex) await(k *fileKind, rw *row, at rowAt) {
	for _, column := range k.onlyJoined {
		if rw.cells[column] != nil {
			x.waiting[at] = column
			return
		}
	}
}

// alone reports the rows that no record was joined with.
func (x *rowIndex) alone(problems *[]Problem) {
	for at, column := range x.waiting {
		f := x.files[at.file]
		*problems = append(*problems, Problem{Code: "row-alone", File: f.source.Name, Row: int(at.number), Column: column,
			Text: "no row of the files it is joined to goes with this one; what they would have carried of it was not read", Dropped: true})
	}
}

// findOnlyJoined tells, per kind of file, the columns that nothing carries unless the row is joined to another one.
func (p *Pack) findOnlyJoined() {
	for _, k := range p.files {
		own, elsewhere, target := map[int]bool{}, map[int]bool{}, false
		for _, m := range p.maps {
			target = target || slices.ContainsFunc(m.assembly.joins, func(j join) bool { return j.to == k })
			to := elsewhere
			if m.assembly.from == k {
				to = own
			}
			m.eachLeaf(func(l *leaf) {
				for _, f := range l.fields {
					to[f] = to[f] || l.element != ""
				}
			})
		}
		k.onlyJoined = nil
		for _, column := range slices.Sorted(maps.Keys(k.tree.props)) {
			id := k.tree.props[column].id
			if target && (elsewhere[id] || p.joined[id]) && !own[id] && p.restated[id] == "" && p.ignored[id] == "" {
				k.onlyJoined = append(k.onlyJoined, column)
			}
		}
	}
}
