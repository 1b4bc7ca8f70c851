package mapping

import (
	"sort"
	"strconv"
	"strings"
)

// An assembly says how rows of CSV files become one native record:
//
//	{<from>: {columns of the first row}, rows: [{columns}, …], <join>: {columns of the joined row}, …}
//
// Rows of `from` with equal `group` columns are one record; each `join` adds the row of another file that agrees with
// the record in its columns.
type assembly struct {
	from  *fileKind
	group []string
	joins []join
}

type join struct {
	to *fileKind
	on []string
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
		j := join{to: p.fileKind(js.str("file", true)), on: js.strs("on")}
		js.done()
		if j.to == nil {
			f.hint(file, n.line, oneOf(js.str("file", false), p.fileNames()), "file must name one of the pack's files")
			return false
		}
		p.checkColumns(j.to, j.on, n.line, file, f)
		p.checkColumns(a.from, j.on, n.line, file, f)
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
	return at.file, at.number, strings.Join(rest, "/")
}

// assemble makes the records of a mapping, in the order in which their first rows stand.
func (a *assembly) assemble(sets map[string][]row) []*assembled {
	index := map[string]*assembled{}
	var out []*assembled
	others := a.lookups(sets)
	for _, rw := range sets[a.from.name] {
		key, ok := rw.key(a.group)
		if !ok {
			continue // the schema requires key columns; a row without them was reported when it was read
		}
		rec := index[key]
		if rec == nil {
			rec = &assembled{record: map[string]any{a.from.name: rw.cells, rowsField: []any{}}, rows: map[string]row{a.from.name: rw}}
			a.join(rec, rw, others)
			index[key] = rec
			out = append(out, rec)
		}
		list := rec.record[rowsField].([]any)
		rec.rows[rowsField+"/"+strconv.Itoa(len(list))] = rw
		rec.record[rowsField] = append(list, rw.cells)
	}
	return out
}

// lookups indexes the joined files by the columns they are joined on; the first row of a key counts.
func (a *assembly) lookups(sets map[string][]row) []map[string]row {
	out := make([]map[string]row, len(a.joins))
	for i, j := range a.joins {
		out[i] = map[string]row{}
		for _, rw := range sets[j.to.name] {
			key, ok := rw.key(j.on)
			if _, dup := out[i][key]; ok && !dup {
				out[i][key] = rw
			}
		}
	}
	return out
}

// join adds the row of each other file that agrees with the record.
func (a *assembly) join(rec *assembled, first row, others []map[string]row) {
	for i, j := range a.joins {
		want, ok := first.key(j.on)
		if !ok {
			continue
		}
		if rw, ok := others[i][want]; ok {
			rec.record[j.to.name] = rw.cells
			rec.rows[j.to.name] = rw
		}
	}
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

// MapFiles maps the files of a CSV pack together: rows are joined across files, so give all files of one delivery in
// one call. What cannot be used is reported by row and column and the rest is mapped; an *InvalidError comes back
// only when no file could be recognised.
func (p *Pack) MapFiles(env Env, files []File) (*Result, error) {
	if p.Format != "csv" {
		return nil, &InvalidError{Problems: []Problem{{Code: "wrong-format", Text: "this pack reads JSON records, not CSV files"}}}
	}
	var problems []Problem
	es := p.prepare(env)
	sets := map[string][]row{}
	known := 0
	for _, file := range files {
		set := p.readCSV(file, &problems)
		if set == nil {
			continue
		}
		known++
		for _, rw := range set.rows {
			set.kind.tree.present(map[string]any(rw.cells), es.tally.present)
		}
		sets[set.kind.name] = append(sets[set.kind.name], set.rows...)
	}
	if known == 0 {
		return nil, &InvalidError{Problems: problems}
	}
	res := &Result{base: env.Base}
	rejected := 0
	for _, m := range p.maps {
		for _, rec := range m.assembly.assemble(sets) {
			r := m.start(es, rec.record, rec)
			out, ok := r.execute()
			r.done()
			problems = append(problems, r.problems...)
			if !ok {
				rejected++
				continue
			}
			res.Records = append(res.Records, out)
		}
	}
	es.finish(res, tidy(problems), rejected)
	return res, nil
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
