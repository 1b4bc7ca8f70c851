package mapping

import (
	"slices"
	"sort"
	"strings"
)

// An assembly says how rows of CSV files become one native record:
//
//	{<from>: {columns of the first row}, rows: [{columns}, …], <join>: {columns of the joined row}, …}
//
// Rows of `from` with equal `group` columns are one record; each `join` adds the row of another file that agrees with
// the record in its columns, or with a row that was joined before it (`of`).
type assembly struct {
	from  *fileKind
	group []string
	joins []join
	// carried are the columns that are taken from the first row of a record.
	carried []string
}

type join struct {
	to *fileKind
	on []string
	of *fileKind // the file whose row has the columns: from, or one that was joined before

	differing string // differingUnknown, or "" for the first row
}

// rowsField is the property under which a record holds its rows.
const rowsField = "rows"

// readAssembly reads from, group and join of a record of a CSV pack; false when they make no sense.
func (p *Pack) readAssembly(s *section, m *recordMap, file string, f *faults) bool {
	a := &assembly{group: s.strs("group")}
	a.from = p.fileKind(s.str("from", true))
	if a.from == nil {
		f.hint(file, s.node.line, oneOf(s.str("from", false), p.fileNames()), "from must name one of the pack's files")
		return false
	}
	p.checkColumns(a.from, a.group, s.node.line, file, f)
	m.tree = &fieldTree{id: -1, props: map[string]*fieldTree{
		a.from.name: a.from.tree,
		rowsField:   {id: -1, name: rowsField, items: a.from.tree},
	}}
	for _, n := range s.list("join") {
		js := newSection(n, file, f)
		j := join{to: p.fileKind(js.str("file", true)), on: js.strs("on"), of: a.from}
		if of := js.str("of", false); of != "" {
			i := slices.IndexFunc(a.joins, func(before join) bool { return before.to.name == of })
			if i < 0 {
				f.add(file, n.line, "of must name a file that is joined before this one")
				return false
			}
			j.of = a.joins[i].to
		}
		if j.differing = js.str("differing", false); j.differing != "" && j.differing != differingUnknown {
			f.hint(file, n.line, "leave it out for the first row", "differing must be unknown")
		}
		js.done()
		if j.to == nil {
			f.hint(file, n.line, oneOf(js.str("file", false), p.fileNames()), "file must name one of the pack's files")
			return false
		}
		p.checkColumns(j.to, j.on, n.line, file, f)
		p.checkColumns(j.of, j.on, n.line, file, f)
		m.tree.props[j.to.name] = j.to.tree
		a.joins = append(a.joins, j)
	}
	m.assembly = a
	return true
}

func (p *Pack) checkColumns(k *fileKind, columns []string, line int, file string, f *faults) {
	if len(columns) == 0 {
		f.add(file, line, "names no columns")
	}
	for _, c := range columns {
		if t := k.tree.props[c]; t == nil {
			f.hint(file, line, didYouMean(c, keysOf(k.tree.props)), "file %q has no column %q", k.name, c)
		} else {
			p.uses[t.id] = true
			p.joined[t.id] = true
		}
	}
}

// assembled is one native record made of rows, with the rows behind its pointers.
type assembled struct {
	record map[string]any
	rows   map[string]row // by the leading segment(s) of a pointer: "demographic", "rows/3"

	problems []Problem // of putting it together
}

// place implements source.
func (a *assembled) place(ptr string) (string, int, string) {
	segs := strings.Split(strings.TrimPrefix(ptr, "/"), "/")
	key, rest := segs[0], segs[1:]
	if key == rowsField && len(rest) > 0 {
		key, rest = key+"/"+rest[0], rest[1:]
	}
	at, ok := a.rows[key]
	if !ok {
		return "", 0, ""
	}
	return at.file, at.number, strings.NewReplacer("~1", "/", "~0", "~").Replace(strings.Join(rest, "/"))
}

// key joins the cells of columns; false when one is empty.
func (rw row) key(columns []string) (string, bool) {
	parts := make([]string, len(columns))
	for i, c := range columns {
		s, ok := rw.cells[c].(string)
		if !ok {
			return "", false
		}
		parts[i] = s
	}
	return strings.Join(parts, "\x1f"), true
}

// tidy puts problems into the order in which a person walks through the files, each place and code once: a row that
// serves several records is reported by each.
func tidy(ps []Problem) []Problem {
	type place struct {
		code, file, column, pointer string
		row                         int
	}
	seen := map[place]bool{}
	out := ps[:0]
	for _, p := range ps {
		at := place{p.Code, p.File, p.Column, p.Pointer, p.Row}
		if !seen[at] {
			seen[at] = true
			out = append(out, p)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].File != out[j].File {
			return out[i].File < out[j].File
		}
		return out[i].Row < out[j].Row
	})
	return out
}
