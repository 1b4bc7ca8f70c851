package mapping

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
)

// Source is a CSV file that is read in place, twice, so that a delivery of any size takes little memory.
type Source struct {
	Name string
	Data io.ReaderAt
	Size int64
}

// MapFiles maps the files of a CSV pack together: rows are joined across files, so give all files of one delivery in
// one call. What cannot be used is reported by row and column and the rest is mapped; an *InvalidError comes back
// only when no file could be recognised.
func (p *Pack) MapFiles(env Env, files []File) (*Result, error) {
	sources := make([]Source, len(files))
	for i, f := range files {
		sources[i] = Source{f.Name, bytes.NewReader(f.Data), int64(len(f.Data))}
	}
	res := &Result{base: env.Base}
	report, err := p.MapStream(env, sources, func(rec Record) error {
		res.Records = append(res.Records, rec)
		return nil
	})
	if err != nil {
		return nil, err
	}
	res.Report = *report
	return res, nil
}

// MapStream is MapFiles for files that are not in memory. Each record is handed over as it is made and not kept; what is
// kept is where each row stands, and the problems. An error of each ends the run and comes back.
func (p *Pack) MapStream(env Env, sources []Source, each func(Record) error) (*Report, error) {
	if p.Format != "csv" {
		return nil, &InvalidError{Problems: []Problem{{Code: "wrong-format", Text: "this pack reads JSON records, not CSV files"}}}
	}
	var problems []Problem
	es := p.prepare(env)
	rows := newRowIndex(p)
	known := 0
	for _, s := range sources {
		if rows.scan(es, s, &problems) {
			known++
		}
	}
	if known == 0 {
		return nil, &InvalidError{Problems: problems}
	}
	res, rejected := &Result{}, 0
	counts := Counts{ByType: map[string]int{}}
	for _, m := range p.maps {
		for _, group := range rows.groups[m].order {
			rec, err := rows.assemble(m, group)
			if err != nil {
				return nil, err
			}
			r := m.start(es, rec.record, rec)
			out, ok := r.execute()
			r.done()
			problems = append(append(problems, rec.problems...), r.problems...)
			if !ok {
				rejected++
				continue
			}
			counts.Records++
			for i := range out.Resources {
				counts.Resources++
				counts.ByType[out.Resources[i].Type]++
			}
			if err := each(out); err != nil {
				return nil, err
			}
		}
	}
	rows.alone(&problems)
	es.finish(res, tidy(problems), rejected)
	counts.Rejected = rejected
	res.Report.Counts = counts
	return &res.Report, nil
}

// A rowIndex knows where the rows of a delivery stand, and which belong together.
type rowIndex struct {
	pack    *Pack
	files   []*csvFile
	groups  map[*recordMap]*grouping
	lookups map[*recordMap][]joinedRows // per join
	waiting map[rowAt]string            // rows that have to be joined and were not yet, with a column that waits for it
}

// rowAt is where a row stands: a file, the offset of its first byte, and its line for the report.
type rowAt struct {
	file   int32
	number int32
	offset int64
}

// grouping are the rows of each record of a mapping, in the order of their first rows.
type grouping struct {
	at    map[string]int
	order [][]rowAt
}

func newRowIndex(p *Pack) *rowIndex {
	x := &rowIndex{pack: p, groups: map[*recordMap]*grouping{}, lookups: map[*recordMap][]joinedRows{}, waiting: map[rowAt]string{}}
	for _, m := range p.maps {
		x.groups[m] = &grouping{at: map[string]int{}}
		for range m.assembly.joins {
			x.lookups[m] = append(x.lookups[m], newJoinedRows())
		}
	}
	return x
}

// scan recognises a file, checks its rows and remembers where the sound ones stand. Problems name rows and columns.
func (x *rowIndex) scan(es *envState, s Source, problems *[]Problem) bool {
	f := openCSV(x.pack, s)
	head, err := f.next()
	if err != nil {
		*problems = append(*problems, Problem{Code: "unknown-file", File: s.Name, Text: "has no header row", Dropped: true})
		return false
	}
	f.columns = x.pack.header(s.Name, head, problems)
	f.kind = x.pack.recognise(f.columns)
	if f.kind == nil {
		*problems = append(*problems, Problem{
			Code: "unknown-file", File: s.Name, Text: "has the columns of none of the files this pack reads", Dropped: true})
		return false
	}
	f.kind.unknown(s.Name, f.columns, problems)
	x.files = append(x.files, f)
	for n := 2; ; n++ {
		at := rowAt{file: int32(len(x.files) - 1), number: int32(n), offset: f.offset()}
		cells, err := f.next()
		if err == io.EOF {
			return true
		}
		if err != nil {
			*problems = append(*problems, Problem{Code: "bad-row", File: s.Name, Row: n, Text: "cannot be read as CSV", Dropped: true})
			if !errors.As(err, new(*csv.ParseError)) {
				return true
			}
			continue
		}
		if got := f.kind.row(s.Name, n, f.columns, cells, problems); got != nil {
			f.kind.checkRestated(got, problems)
			f.kind.tree.present(map[string]any(got.cells), es.tally.present)
			x.add(f.kind, got, at)
		}
	}
}

// add files a row under the records and joins that it belongs to.
func (x *rowIndex) add(k *fileKind, rw *row, at rowAt) {
	for _, m := range x.pack.maps {
		a := m.assembly
		if a.from == k {
			// The schema requires key columns; a row without them was reported when it was read.
			if key, ok := rw.key(a.group); ok {
				g := x.groups[m]
				i, seen := g.at[key]
				if !seen {
					i = len(g.order)
					g.at[key] = i
					g.order = append(g.order, nil)
				}
				g.order[i] = append(g.order[i], at)
			}
		}
		for i, j := range a.joins {
			if key, ok := rw.key(j.on); ok && j.to == k {
				x.lookups[m][i].add(key, at)
			}
		}
	}
	x.await(k, rw, at)
}

// assemble reads the rows of a record again and puts them together.
func (x *rowIndex) assemble(m *recordMap, group []rowAt) (*assembled, error) {
	a := m.assembly
	list := make([]any, 0, len(group))
	rec := &assembled{rows: map[string]row{}}
	for i, at := range group {
		rw, err := x.read(at)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			rec.record = map[string]any{a.from.name: rw.cells}
			rec.rows[a.from.name] = rw
		} else {
			a.sameRecord(rec, rec.rows[a.from.name], rw)
		}
		rec.rows[rowsField+"/"+strconv.Itoa(i)] = rw
		list = append(list, rw.cells)
	}
	rec.record[rowsField] = list
	for i, j := range a.joins {
		key, ok := rec.rows[j.of.name].key(j.on) // a row that is not there has no key
		if !ok {
			continue
		}
		rw, ok, err := x.find(&a.joins[i], x.lookups[m][i], key, rec)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		rec.record[j.to.name] = rw.cells
		rec.rows[j.to.name] = rw
	}
	return rec, nil
}

func (x *rowIndex) read(at rowAt) (row, error) {
	f := x.files[at.file]
	f.seek(at.offset)
	cells, err := f.next()
	if err != nil {
		return row{}, errFileChanged
	}
	var problems []Problem
	got := f.kind.cells(f.source.Name, int(at.number), f.columns, cells, &problems)
	if got == nil {
		return row{}, errFileChanged
	}
	return *got, nil
}

// csvFile reads a source from any of its rows on.
type csvFile struct {
	source  Source
	comma   rune
	kind    *fileKind
	columns []string
	reader  *csv.Reader
	from    int64 // where reader began
}

// openCSV stands behind the byte order mark, if there is one.
func openCSV(p *Pack, s Source) *csvFile {
	f := &csvFile{source: s, comma: p.comma}
	var mark [3]byte
	start := int64(0)
	if n, _ := s.Data.ReadAt(mark[:], 0); n == 3 && string(mark[:]) == "\xef\xbb\xbf" {
		start = 3
	}
	f.begin(start)
	return f
}

func (f *csvFile) begin(at int64) {
	f.from = at
	f.reader = csv.NewReader(io.NewSectionReader(f.source.Data, at, f.source.Size-at))
	f.reader.Comma, f.reader.FieldsPerRecord, f.reader.LazyQuotes = f.comma, -1, true
}

// seek goes to a row; rows that follow each other are read on.
func (f *csvFile) seek(at int64) {
	if at != f.offset() {
		f.begin(at)
	}
}

func (f *csvFile) offset() int64           { return f.from + f.reader.InputOffset() }
func (f *csvFile) next() ([]string, error) { return f.reader.Read() }
