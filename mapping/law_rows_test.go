package mapping

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// get-put and put-get of the packs that read rows: drawn deliveries come back cell by cell, but for what the pack ignores and
// what the report says was left out, and map to the same resources again.
func TestRowsLaws(t *testing.T) {
	eachCSVPack(t, func(t *testing.T, p *Pack) {
		d := newDeliveries(t, p)
		rapid.Check(t, func(t *rapid.T) {
			files := d.draw(t)
			env := testEnv(false)
			trip, err := p.GoRound(env, files)
			if err != nil {
				t.Fatal(err)
			}
			res, err := p.MapFiles(env, files)
			if err != nil {
				t.Fatal(err)
			}
			if whole, bare := p.nativesOf(t, env, res, unchangedBody), p.nativesOf(t, env, res, p.burdened); whole != bare {
				t.Fatalf("stripped of what others may drop, something else comes back\n%s\n%s", whole, bare)
			}
			if !trip.Whole() || len(trip.Refused) > 0 {
				t.Fatalf("changed %+v\nagain %+v\nrefused %+v\n%s", trip.Changed, trip.Again, trip.Refused, d.text(files))
			}
		})
	})
}

func eachCSVPack(t *testing.T, f func(*testing.T, *Pack)) {
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if p := load(t, name); p.Format == "csv" {
			t.Run(name, func(t *testing.T) { f(t, p) })
		}
	}
}

// deliveries draws the files of a delivery. A cell is one that stands in a golden case, a word of a code table that the column
// is looked up in, or any text; what is looked up together is drawn together.
type deliveries struct {
	p      *Pack
	cells  map[*fileKind]map[string][]string
	joined map[*fileKind][]combined
}

// combined are columns that one table looks up together.
type combined struct {
	columns []string
	rows    [][]string
}

func newDeliveries(t *testing.T, p *Pack) *deliveries {
	d := &deliveries{p: p, cells: map[*fileKind]map[string][]string{}, joined: map[*fileKind][]combined{}}
	for _, k := range p.files {
		d.cells[k] = map[string][]string{}
	}
	cases, err := p.Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for k, rows := range p.rowsOf(CaseFiles(c.Input)) {
			for _, rw := range rows {
				for column, v := range rw.cells {
					d.know(k, column, v.(string))
				}
			}
		}
	}
	for _, m := range p.maps {
		for i := range m.emissions {
			each(m.emissions[i].set, d.lookup)
		}
	}
	return d
}

func (d *deliveries) know(k *fileKind, column, v string) {
	if !slices.Contains(d.cells[k][column], v) {
		d.cells[k][column] = append(d.cells[k][column], v)
	}
}

// lookup learns the words of the tables that columns are looked up in.
func (d *deliveries) lookup(n node) {
	x, ok := n.(*codeNode)
	if !ok {
		return
	}
	for _, k := range d.p.files {
		var columns []string
		for _, from := range x.from {
			for column, tree := range k.tree.props {
				if from.tree == tree {
					columns = append(columns, column)
				}
			}
		}
		if len(columns) != len(x.from) {
			continue
		}
		set := combined{columns: columns}
		for _, row := range x.via.list {
			if row.direction == "both" || row.direction == "in" {
				if parts := x.parts(row); parts != nil {
					set.rows = append(set.rows, parts)
				}
			}
		}
		if len(columns) > 1 {
			d.joined[k] = append(d.joined[k], set)
			continue
		}
		for _, row := range set.rows {
			d.know(k, columns[0], row[0])
		}
	}
}

// draw draws a delivery of which nothing is left out: where the report says that a cell or a row was, it is taken out.
func (d *deliveries) draw(t *rapid.T) []File {
	rows := map[*fileKind][]map[string]string{}
	for _, k := range d.p.files {
		for i := range rapid.IntRange(0, 4).Draw(t, k.name+"#") {
			rows[k] = append(rows[k], d.row(t, k, fmt.Sprintf("%s %d", k.name, i)))
		}
	}
	for range 60 {
		d.sensible(rows)
		files := d.files(rows)
		if len(files) == 0 {
			t.Skip("no rows")
		}
		res, err := d.p.MapFiles(testEnv(false), files)
		if err != nil {
			t.Fatal(err)
		}
		if !d.repair(rows, res.Report.Problems) {
			return files
		}
	}
	t.Skip("too much to repair")
	return nil
}

// sensible takes out what the report says does not come back: flags of visits that are not in the delivery, which shape the
// labels of the person alone; and the times and states of answers to one form that are not those of its first one.
func (d *deliveries) sensible(rows map[*fileKind][]map[string]string) {
	admin, screening := d.p.fileKind("admin"), d.p.fileKind("screening")
	if admin == nil || screening == nil {
		return
	}
	for _, answer := range rows[screening] {
		form := func(row map[string]string) bool {
			return row["PAT_MRN_ID"]+row["FACILITY_ID"]+row["ENCOUNTER_ID"]+row["SCREENING_CODE"] == answer["PAT_MRN_ID"]+answer["FACILITY_ID"]+answer["ENCOUNTER_ID"]+answer["SCREENING_CODE"]
		}
		first := rows[screening][slices.IndexFunc(rows[screening], form)]
		for _, column := range []string{"RECORDED_TIME", "SCREENING_STATUS_CODE"} {
			said := first[column]
			delete(answer, column)
			if said != "" {
				answer[column] = said
			}
		}
	}
	rows[admin] = slices.DeleteFunc(rows[admin], func(flags map[string]string) bool {
		return !slices.ContainsFunc(rows[screening], func(visit map[string]string) bool {
			return visit["PAT_MRN_ID"] == flags["PAT_MRN_ID"] && visit["FACILITY_ID"] == flags["FACILITY_ID"]
		})
	})
}

func (d *deliveries) row(t *rapid.T, k *fileKind, label string) map[string]string {
	out := map[string]string{}
	columns := keysOf(k.tree.props)
	for _, column := range columns {
		if k.name == "exit" && column == "DateDeleted" {
			continue // the report says that such an exit was not taken, and of none of its cells
		}
		if !slices.Contains(k.required, column) && !rapid.Bool().Draw(t, label+column+"?") {
			continue
		}
		if d.p.joined[k.tree.props[column].id] {
			out[column] = rapid.SampledFrom([]string{"K1", "K2", "K|3"}).Draw(t, label+column)
			continue
		}
		out[column] = d.cell(t, k, column, label)
	}
	for i, set := range d.joined[k] {
		if len(set.rows) > 0 && rapid.Bool().Draw(t, fmt.Sprintf("%s set %d?", label, i)) {
			row := rapid.SampledFrom(set.rows).Draw(t, fmt.Sprintf("%s set %d", label, i))
			for j, column := range set.columns {
				out[column] = row[j]
			}
		}
	}
	return out
}

func (d *deliveries) cell(t *rapid.T, k *fileKind, column, label string) string {
	known := d.cells[k][column]
	if enum := k.tree.props[column].enum; len(enum) > 0 {
		known = enum
	}
	text := rapid.SampledFrom([]string{"a", "b c", `<ü> & "x"`, "1", "2026-03-02"})
	if len(known) == 0 {
		return text.Draw(t, label+column)
	}
	if rapid.IntRange(0, 9).Draw(t, label+column+"!") == 0 {
		return text.Draw(t, label+column)
	}
	return rapid.SampledFrom(known).Draw(t, label+column)
}

// repair takes out what was left out; false when there is nothing to do.
func (d *deliveries) repair(rows map[*fileKind][]map[string]string, problems []Problem) bool {
	for _, pr := range problems {
		if !pr.Dropped {
			continue
		}
		for _, k := range d.p.files {
			if pr.File != k.name {
				continue
			}
			i := pr.Row - 2
			if _, there := rows[k][i][pr.Column]; there && !slices.Contains(k.required, pr.Column) {
				delete(rows[k][i], pr.Column)
			} else {
				rows[k] = slices.Delete(rows[k], i, i+1)
			}
			return true
		}
	}
	return false
}

func (d *deliveries) files(rows map[*fileKind][]map[string]string) []File {
	var out []File
	for _, k := range d.p.files {
		if len(rows[k]) == 0 {
			continue
		}
		data, err := k.write(d.p.comma, rows[k])
		if err != nil {
			panic(err) // into memory
		}
		out = append(out, File{Name: k.name, Data: data})
	}
	return out
}

// text is the delivery without its empty columns, for people.
func (d *deliveries) text(files []File) string {
	var b strings.Builder
	for k, list := range d.p.rowsOf(files) {
		for _, rw := range list {
			fmt.Fprintf(&b, "%s:%d %v\n", k.name, rw.number, rw.cells)
		}
	}
	return b.String()
}

// What changed on the way is seen: a cell that no rule gives back, a row that does not come back, and a cell that comes back
// otherwise. Another spelling of the same is none of these.
func TestChangedCells(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	sent := caseFiles(t, "ny-1115-ahc-hrsn/cases/clean.case")
	edit := func(column, to string, only int) []File {
		out := slices.Clone(sent)
		for i, f := range out {
			r := csv.NewReader(bytes.NewReader(f.Data))
			r.Comma = p.comma
			rows, err := r.ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			at := slices.Index(rows[0], column)
			if at < 0 || len(rows) <= only {
				continue
			}
			rows[only][at] = to
			var b bytes.Buffer
			w := csv.NewWriter(&b)
			w.Comma = p.comma
			if err := w.WriteAll(rows); err != nil {
				t.Fatal(err)
			}
			out[i].Data = b.Bytes()
		}
		return out
	}
	if got := p.changedCells(sent, sent, nil); len(got) > 0 {
		t.Errorf("against itself: %+v", got)
	}
	for _, tt := range []struct {
		name string
		back []File
		want []string
	}{
		{"a lost cell", edit("CITY", "", 1), []string{"CITY"}},
		{"another one", edit("CITY", "Elsewhere", 1), []string{"CITY"}},
		{"in capitals", edit("CITY", "ALBANY", 1), nil},
		{"an ignored one", edit("CONSENT", "", 1), nil},
	} {
		var got []string
		for _, c := range p.changedCells(sent, tt.back, nil) {
			got = append(got, c.Path[strings.LastIndex(c.Path, ":")+1:])
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	short := slices.Clone(sent)
	cut := bytes.TrimRight(short[2].Data, "\n")
	short[2].Data = cut[:bytes.LastIndexByte(cut, '\n')+1]
	if got := p.changedCells(sent, short, nil); len(got) < 5 {
		t.Errorf("a row that did not come back: %+v", got)
	}
}
