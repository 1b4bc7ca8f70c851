package scaffold

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A field is one place of the native record, with what its values in the sample have in common.
type field struct {
	name, path string // path as mappings write it
	title      string // its name as the source writes it, with blanks
	kind       string // of names.csv, "" when the name is not known
	list       bool   // it, or what it stands in, is a list
	props      []*field
	items      *field

	seen      int // records that have a value here
	values    map[string]int
	types     map[string]bool // JSON types: string, integer, number, boolean, object, array
	layout    string          // how its dates are written, "date" and "date-time" for those of FHIR
	ambiguous bool            // day and month could be the other way round
	clock     string          // how its times of day are written, when all values are such
	cells     []string        // of a CSV sample: its value in every record
	enum      []string
}

// A sample is what could be read of the source's records.
type sample struct {
	csv       bool
	separator string
	records   int
	root      *field
	notes     []string
}

// maxRecords bounds what is looked at of a long sample.
const maxRecords = 20000

// read takes a sample apart; its name only tells CSV from JSON.
func read(name string, data []byte) (*sample, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, errors.New("the sample is not UTF-8 text; save it as UTF-8 first")
	}
	s := &sample{root: &field{types: map[string]bool{"object": true}}}
	var err error
	switch trimmed := bytes.TrimSpace(data); {
	case len(trimmed) == 0:
		return nil, errors.New("the sample is empty")
	case strings.HasSuffix(strings.ToLower(name), ".csv"), trimmed[0] != '{' && trimmed[0] != '[':
		s.csv = true
		err = s.readCSV(data)
	default:
		err = s.readJSON(trimmed)
	}
	if err != nil {
		return nil, err
	}
	if s.records == 0 {
		return nil, errors.New("the sample has no records")
	}
	return s, nil
}

// usable are the names that a mapping can write in a path.
func usable(name string) bool { return regexp.MustCompile(`^[^\s.\[\]"']{1,80}$`).MatchString(name) }

func (s *sample) readCSV(data []byte) error {
	head, _, _ := bytes.Cut(data, []byte("\n"))
	comma := ','
	for _, c := range ",;|\t" {
		if bytes.Count(head, []byte(string(c))) > bytes.Count(head, []byte(string(comma))) {
			comma = c
		}
	}
	s.separator = string(comma)
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = comma, -1, true
	names, err := r.Read()
	if err != nil {
		return errors.New("the sample has no header row")
	}
	if slices.ContainsFunc(names, isValue) {
		// The names of columns go into the pack, so a first row of values must not be taken for them.
		return errors.New("the sample's first row looks like values and not like the names of columns; put a header row before it")
	}
	columns := make([]*field, len(names))
	have := map[string]bool{}
	for i, title := range names {
		n := strings.Join(strings.Fields(title), "")
		if n == "" {
			continue
		}
		if !usable(n) || have[n] {
			s.notes = append(s.notes, fmt.Sprintf("column %d (%s) was left out: its name stands twice, or has a dot, bracket or quote that mappings cannot write; it is not read until the source calls it otherwise", i+1, n))
			continue
		}
		have[n] = true
		columns[i] = &field{name: n, title: title, path: sheet + "." + n, values: map[string]int{}, types: map[string]bool{}}
		s.root.props = append(s.root.props, columns[i])
	}
	if len(s.root.props) == 0 {
		return errors.New("the sample's header row has no names")
	}
	for s.records < maxRecords {
		cells, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d of the sample cannot be read as CSV", s.records+1)
		}
		s.records++
		for i, c := range cells {
			if i < len(columns) && columns[i] != nil {
				columns[i].add(strings.TrimSpace(c), "string")
				columns[i].cells = append(columns[i].cells, strings.TrimSpace(c))
			}
		}
		for _, f := range s.root.props { // a short row
			if len(f.cells) < s.records {
				f.cells = append(f.cells, "")
			}
		}
	}
	return nil
}

// isValue tells whether a cell is a date, a number or an address, and so no name of a column.
func isValue(cell string) bool {
	cell = strings.TrimSpace(cell)
	if regexp.MustCompile(`^[-+]?[0-9][0-9.,]*$|@|^[0-9]{3}-[0-9]{2}-[0-9]{4}$`).MatchString(cell) {
		return true
	}
	return slices.ContainsFunc(layouts(), func(l string) bool {
		_, err := time.Parse(l, cell)
		return err == nil
	})
}

func (f *field) add(text, typ string) {
	if text == "" {
		return
	}
	f.seen++
	f.types[typ] = true
	if len(f.values) < maxRecords {
		f.values[text]++
	}
}

func (s *sample) readJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	for s.records < maxRecords {
		var v any
		err := dec.Decode(&v)
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.New("the sample is not JSON")
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, one := range list {
			record, ok := one.(map[string]any)
			if !ok {
				return errors.New("the sample must be one record, an array of records, or one record per line, each an object")
			}
			s.records++
			s.object(s.root, record, "", false)
		}
	}
	return nil
}

func (s *sample) object(f *field, record map[string]any, path string, list bool) {
	names := make([]string, 0, len(record))
	for n := range record {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		if record[n] == nil || !usable(n) {
			continue
		}
		full := n
		if path != "" {
			full = path + "." + n
		}
		s.value(f.prop(n, full, list), record[n], full, list)
	}
}

func (f *field) prop(name, path string, list bool) *field {
	for _, p := range f.props {
		if p.name == name {
			return p
		}
	}
	p := &field{name: name, path: path, list: list, values: map[string]int{}, types: map[string]bool{}}
	f.props = append(f.props, p)
	return p
}

func (s *sample) value(f *field, v any, path string, list bool) {
	switch x := v.(type) {
	case map[string]any:
		f.seen++
		f.types["object"] = true
		s.object(f, x, path, list)
	case []any:
		f.seen++
		f.types["array"] = true
		if f.items == nil {
			f.items = &field{name: f.name, path: path + "[]", list: true, values: map[string]int{}, types: map[string]bool{}}
		}
		for _, item := range x {
			if item != nil {
				s.value(f.items, item, path+"[]", true)
			}
		}
	case string:
		f.add(strings.TrimSpace(x), "string")
	case bool:
		f.add(strconv.FormatBool(x), "boolean")
	case json.Number:
		typ := "number"
		if _, err := x.Int64(); err == nil {
			typ = "integer"
		}
		f.add(x.String(), typ)
	}
}

// leaves lists the fields that hold values, in order.
func (f *field) leaves() []*field {
	var out []*field
	for _, p := range f.props {
		out = append(out, p.leaves()...)
	}
	if f.items != nil {
		out = append(out, f.items.leaves()...)
	}
	if len(f.props) == 0 && f.items == nil && f.path != "" {
		out = append(out, f)
	}
	return out
}

// layouts are the ways of writing dates that are tried, those of FHIR first. The month goes first where a date does
// not tell: the sources are American.
func layouts() []string {
	return []string{
		"2006-01-02", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "01/02/2006 15:04:05",
		"01/02/2006 15:04", "01/02/2006", "1/2/2006 15:04", "1/2/2006", "01/02/06 15:04", "01/02/06", "1/2/06 15:04", "1/2/06",
		"1/2/2006 3:04 PM", "1/2/2006 3:04:05 PM", "1/2/06 3:04 PM", "2006-01-02 3:04 PM", "2006-01-02 15:04:05-07", "2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05 -0700",
		"02/01/2006", "2/1/2006", "02.01.2006", "2.1.2006", "01-02-2006", "02-Jan-2006", "2-Jan-2006", "Jan 2, 2006", "January 2, 2006", "2006/01/02", "20060102",
	}
}

// dates finds the one layout that all values of a field are written in, of dates or of times of day.
func (f *field) dates() {
	if len(f.values) == 0 || len(f.types) != 1 || !f.types["string"] {
		return
	}
	for _, l := range layouts() {
		if !f.written(l, 1900, 2100) {
			continue
		}
		switch l {
		case "2006-01-02":
			f.layout = "date"
		case time.RFC3339:
			f.layout = "date-time"
		default:
			f.layout = l
			swapped := strings.NewReplacer("01/02", "02/01", "1/2", "2/1", "01-02", "02-01").Replace(l)
			f.ambiguous = swapped != l && f.written(swapped, 1900, 2100)
		}
		return
	}
	for _, l := range []string{"15:04", "15:04:05", "3:04 PM", "3:04PM", "3:04 pm", "3:04pm"} {
		if f.written(l, 0, 0) {
			f.clock = l
			return
		}
	}
}

// written tells whether all values are dates or times in a layout, of some years.
func (f *field) written(layout string, from, to int) bool {
	for v := range f.values {
		t, err := time.Parse(layout, v)
		if err != nil || t.Year() < from || t.Year() > to {
			return false
		}
	}
	return true
}

// dateLayout is how the field's dates are written when they have no time of day, "" otherwise.
func (f *field) dateLayout() string {
	switch {
	case f.layout == "date":
		return "2006-01-02"
	case f.layout == "date-time" || timed(f.layout):
		return ""
	}
	return f.layout
}

// timed tells whether a layout has a time of day.
func timed(layout string) bool { return strings.Contains(layout, "04") }

// numeric tells whether all values are numbers, in CSV too.
func (f *field) numeric() bool {
	for v := range f.values {
		if !regexp.MustCompile(`^-?(0|[1-9][0-9]{0,8})(\.[0-9]+)?$`).MatchString(v) {
			return false
		}
	}
	return len(f.values) > 0
}
