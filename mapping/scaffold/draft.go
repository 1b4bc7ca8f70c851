package scaffold

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// sheet is the name under which the mapping of a CSV pack knows the rows. It is not taken from the sample's file name,
// which may say whose records they are.
const sheet = "sheet"

// A Draft is a pack to go on with.
type Draft struct {
	// Files by path below the pack's folder.
	Files map[string][]byte
	// Notes say what was found, taken over, assumed and left to decide, for people.
	Notes []string
}

// drafter holds what is known while the files are written.
type drafter struct {
	*sample
	name   string
	fields []*field
	key    []*field
	used   map[*field]bool
	tables map[string]*field // by table name
	keyed  bool              // a resource is made under the record's key
	layout []string          // date layouts to declare
	zone   bool              // some dates have a time and no zone
	body   strings.Builder   // emissions
	notes  []string
}

// New drafts a pack of a name from a sample; sampleName is its file name, or any that ends in .csv or .json.
func New(name, sampleName string, data []byte) (*Draft, error) {
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{1,60}$`).MatchString(name) || name == "shared" {
		return nil, errors.New("the name of a pack is made of small letters, digits and hyphens")
	}
	s, err := read(sampleName, data)
	if err != nil {
		return nil, err
	}
	d := &drafter{sample: s, name: name, used: map[*field]bool{}, tables: map[string]*field{}}
	d.fields = s.root.leaves()
	if len(d.fields) == 0 {
		return nil, errors.New("the sample's records have no fields")
	}
	table := knownNames()
	for _, f := range d.fields {
		s.name(f, table)
		d.date(f)
	}
	d.note("read %d record(s) with %d field(s)", s.records, len(d.fields))
	d.notes = append(d.notes, s.notes...)
	d.findKey()
	d.resources()
	return d.draft()
}

func (d *drafter) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// date gathers what the pack has to say about dates.
func (d *drafter) date(f *field) {
	if f.layout == "" || f.layout == "date" || f.layout == "date-time" {
		return
	}
	if !slices.Contains(d.layout, f.layout) {
		d.layout = append(d.layout, f.layout)
	}
	if timed(f.layout) && !strings.Contains(f.layout, "-07") {
		d.zone = true
	}
	if f.ambiguous {
		d.note("%s: the dates do not tell day and month apart; the month was taken first (dates in pack.yaml)", f.label())
	}
}

// label names a field for people.
func (f *field) label() string { return strings.TrimPrefix(f.path, sheet+".") }

// findKey chooses what tells records apart: in CSV several rows may be one record.
func (d *drafter) findKey() {
	unique := func(f *field) bool {
		return f != nil && !f.list && f.seen == d.records && len(f.values) == d.records
	}
	whole := func(f *field) bool { return f != nil && !f.list && f.seen == d.records }
	rows := d.csv && d.the("question") != nil
	for _, kind := range []string{"record-id", "id"} {
		if f := d.the(kind); unique(f) || rows && whole(f) {
			d.key = []*field{f}
			d.note("key: %s, which tells records apart", f.label())
			return
		}
	}
	for _, f := range d.fields {
		if f.kind == "client-id" && unique(f) {
			d.key = []*field{f}
			d.note("key: %s. It is the person's number: check that a person never has two records", f.label())
			return
		}
	}
	person := d.the("client-id")
	for _, kind := range []string{"start", "recorded", "date"} {
		if f := d.the(kind); whole(person) && whole(f) {
			d.key = []*field{person, f}
			d.note("key: %s and %s together, because no field is unique. Check that this tells records apart", person.label(), f.label())
			d.further()
			return
		}
	}
	for _, f := range d.fields {
		if unique(f) && f.layout == "" {
			d.key = []*field{f}
			d.note("key: %s, the first field that is unique in the sample. Check that it always is", f.label())
			return
		}
	}
	for _, f := range d.fields {
		if !f.list {
			d.key = []*field{f}
			d.note("key: no field tells the records apart; %s stands there for you to change (map: key, pack.yaml: group)", f.label())
			return
		}
	}
}

// further makes the key of rows longer by the time of day, when it does not tell them apart without, and says when it still
// does not.
func (d *drafter) further() {
	alike := d.alike(d.key)
	if at := d.the("start-time"); alike > 0 && at != nil && at.seen == d.records && d.alike(append(slices.Clone(d.key), at)) < alike {
		d.key = append(d.key, at)
		alike = d.alike(d.key)
		d.note("key: %s was added, because some rows differ in it alone", at.label())
	}
	if alike > 0 {
		d.note("key: %d row(s) have the same key as an earlier one and become one record with it. Where they are records of their own, add the column that tells them apart (map: key, pack.yaml: group)", alike)
	}
}

// alike counts the rows of a CSV sample that have what an earlier one has in some columns.
func (d *drafter) alike(key []*field) int {
	if !d.csv || d.the("question") != nil { // rows of one screening share its key
		return 0
	}
	have := map[string]bool{}
	for i := range d.records {
		var text []string
		for _, f := range key {
			text = append(text, f.cells[i])
		}
		have[strings.Join(text, "\x00")] = true
	}
	return d.records - len(have)
}

// when writes a date as a rule reads it, with the time of day from another column where there is one.
func (d *drafter) when(date *field, clock string) string {
	at, layout := d.the(clock), date.dateLayout()
	if at == nil || layout == "" {
		return d.use(date)
	}
	if both := layout + " " + at.clock; !slices.Contains(d.layout, both) {
		d.layout = append(d.layout, both)
	}
	d.zone = true
	return "[" + d.use(date) + ", " + d.use(at) + "]"
}

// the finds the field of a kind outside lists.
func (d *drafter) the(kind string) *field {
	for _, f := range d.fields {
		if f.kind == kind && !f.list {
			return f
		}
	}
	return nil
}

// shortYear tells whether a layout writes years with two digits, which say nothing of their century.
func shortYear(layouts []string) bool {
	return slices.ContainsFunc(layouts, func(l string) bool { return strings.Contains(l, "06") && !strings.Contains(l, "2006") })
}

// madeUp is a value for the golden case that looks like the field's and is nobody's: n tells records apart.
func (f *field) madeUp(n int) string {
	at := time.Date(2026, 3, 2+n, 10, 30, 0, 0, time.UTC)
	if f.kind == "birth-date" {
		at = time.Date(1980, 5, 1+n, 0, 0, 0, 0, time.UTC)
	}
	if f.kind == "end" || f.kind == "end-time" {
		at = at.Add(time.Hour)
	}
	switch {
	case len(f.enum) > 0:
		return f.enum[n%len(f.enum)]
	case f.layout == "date":
		return at.Format("2006-01-02")
	case f.layout == "date-time":
		return at.Format(time.RFC3339)
	case f.layout != "":
		return at.Format(f.layout)
	case f.clock != "":
		return at.Format(f.clock)
	case f.numeric() && !slices.Contains([]string{"client-id", "record-id", "id", "worker-id", "zip", "phone"}, f.kind):
		return fmt.Sprint(30 + n)
	}
	switch f.kind {
	case "first-name":
		return "Testa"
	case "last-name":
		return "Sample"
	case "full-name":
		return "Testa Sample"
	case "worker-name":
		return "Workera Sample"
	case "email":
		return "testa@example.org"
	case "phone":
		return "555-0100"
	case "zip":
		return "00000"
	case "state":
		return "ZZ"
	case "client-id", "record-id", "id", "worker-id":
		if f.types["integer"] {
			return fmt.Sprint(9001 + n)
		}
		return fmt.Sprintf("made-up-%d", n+1)
	}
	return fmt.Sprintf("made up %d", n+1)
}
