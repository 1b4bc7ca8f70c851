package mapping

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

var (
	errNotJSON     = errors.New("mapping: a resource is not JSON")
	errFileChanged = errors.New("mapping: a file changed while it was read")
)

// File is one CSV file of the input. Its name serves the report only: files are recognised by their columns.
type File struct {
	Name string
	Data []byte
}

// A fileKind is one kind of CSV file that a pack reads, described by the JSON Schema of its rows: properties are the
// columns, required ones are what the file is recognised by.
type fileKind struct {
	name     string
	schema   nativeSchema
	tree     *fieldTree
	required []string
	columns  []string          // all of them, in the order of the schema's text
	titles   map[string]string // what the source writes for a column's name with blanks
	restates []restatement
	// onlyJoined are the columns that nothing carries unless the row is joined to a row of another file.
	onlyJoined []string
}

// readFileKinds reads the `files` section of a CSV pack.
func (p *Pack) readFileKinds(s *section, file string, f *faults) {
	p.comma = ','
	if sep := s.str("separator", false); sep != "" {
		p.comma, _ = utf8.DecodeRuneInString(sep)
	}
	for _, n := range s.list("files") {
		fsec := newSection(n, file, f)
		name := fsec.str("name", true)
		path := p.Name + "/" + fsec.str("schema", true)
		schema := readSchema(p.fsys, path, f)
		if schema == nil {
			continue
		}
		k := &fileKind{
			name: name, schema: newNativeSchema(schema), required: schema.Required, tree: p.fields.tree(schema, name, 0),
		}
		k.readColumns(p.fsys, path, schema)
		p.readRestatements(fsec, k, file, f)
		fsec.done()
		p.files = append(p.files, k)
	}
}

// readColumns takes the order of the columns, and how the source writes their names, from the schema.
func (k *fileKind) readColumns(fsys fs.FS, path string, schema *jsonschema.Schema) {
	k.columns = memberNames(fsys, path, "properties")
	k.columns = slices.DeleteFunc(k.columns, func(name string) bool { return k.tree.props[name] == nil })
	for _, name := range slices.Sorted(maps.Keys(k.tree.props)) { // of a schema that is put together from others
		if !slices.Contains(k.columns, name) {
			k.columns = append(k.columns, name)
		}
	}
	k.titles = map[string]string{}
	for name, sc := range schema.Properties {
		if sc.Title != name && unblanked(sc.Title) == name {
			k.titles[name] = sc.Title
		}
	}
}

// unblanked is how mappings write the name of a column.
func unblanked(name string) string { return strings.Join(strings.Fields(name), "") }

func (p *Pack) fileNames() []string {
	var out []string
	for _, k := range p.files {
		out = append(out, k.name)
	}
	return out
}

func (p *Pack) fileKind(name string) *fileKind {
	for _, k := range p.files {
		if k.name == name {
			return k
		}
	}
	return nil
}

// A row is one line of a CSV file: cells by column, and where it stood.
type row struct {
	cells  map[string]any // string values; empty cells are absent
	file   string
	number int // line number of the record, the header being row 1
}

// header cleans the column names; a name with blanks inside is taken without them, and reported unless the schema has it as title.
func (p *Pack) header(file string, head []string, problems *[]Problem) []string {
	out := make([]string, len(head))
	seen := map[string]bool{}
	for i, h := range head {
		clean := unblanked(h)
		if clean != h && clean != "" && p.knownColumn(clean) && !p.titled(clean, h) {
			*problems = append(*problems, Problem{
				Code: "header-blanks", File: file, Row: 1, Column: clean, Text: "the column name has blanks in it; it was read without them"})
		}
		if seen[clean] {
			*problems = append(*problems, Problem{
				Code: "duplicate-column", File: file, Row: 1, Column: "#" + strconv.Itoa(i+1), Text: "the column stands twice; the first was taken", Dropped: true})
			clean = ""
		}
		seen[clean] = clean != ""
		out[i] = clean
	}
	return out
}

// titled tells whether a schema says that the column's name is written so.
func (p *Pack) titled(column, title string) bool {
	return slices.ContainsFunc(p.files, func(k *fileKind) bool { return k.titles[column] == strings.TrimSpace(title) })
}

func (p *Pack) knownColumn(name string) bool {
	for _, k := range p.files {
		if k.tree.props[name] != nil {
			return true
		}
	}
	return false
}

// recognise finds the kind of file that has the most required columns, all of them present.
func (p *Pack) recognise(columns []string) *fileKind {
	have := map[string]bool{}
	for _, c := range columns {
		have[c] = true
	}
	var best *fileKind
	for _, k := range p.files {
		all := true
		for _, want := range k.required {
			all = all && have[want]
		}
		if all && (best == nil || len(k.required) > len(best.required)) {
			best = k
		}
	}
	return best
}

// unknown reports columns that the pack does not know. Only their position is told: a file without a proper header
// would show a patient's values here.
func (k *fileKind) unknown(file string, columns []string, problems *[]Problem) {
	for i, c := range columns {
		if c != "" && k.tree.props[c] == nil {
			*problems = append(*problems, Problem{
				Code: "unknown-column", File: file, Row: 1, Column: "#" + strconv.Itoa(i+1), Text: "the pack does not know this column; it was not read", Dropped: true})
		}
	}
}

// cells reads one line; nil when it cannot be read.
func (k *fileKind) cells(file string, n int, columns, cells []string, problems *[]Problem) *row {
	bad := func(code, column, text string) *row {
		*problems = append(*problems, Problem{Code: code, File: file, Row: n, Column: column, Text: text, Dropped: true})
		return nil
	}
	if len(cells) > len(columns) {
		return bad("bad-row", "", "has more cells than there are columns; the row was not read")
	}
	out := &row{cells: make(map[string]any, len(cells)), file: file, number: n}
	for i, c := range cells {
		if columns[i] == "" || k.tree.props[columns[i]] == nil {
			continue
		}
		if !utf8.ValidString(c) {
			return bad("not-utf8", columns[i], "is not UTF-8 text; the row was not read")
		}
		if c = strings.TrimSpace(c); c != "" {
			out.cells[columns[i]] = c
		}
	}
	return out
}

// row reads one line and checks it; nil when it cannot be used.
func (k *fileKind) row(file string, n int, columns, cells []string, problems *[]Problem) *row {
	out := k.cells(file, n, columns, cells, problems)
	if out == nil {
		return nil
	}
	for _, pr := range k.schema.check(map[string]any(out.cells)) {
		column, text := strings.TrimPrefix(pr.Pointer, "/"), pr.Text
		if pr.Keyword == "required" {
			for _, want := range k.required {
				if out.cells[want] == nil {
					column = want
					break
				}
			}
			text = "is empty; the row was not read"
		}
		*problems = append(*problems, Problem{Code: "bad-row", File: file, Row: n, Column: column, Text: text, Dropped: true})
		return nil
	}
	return out
}
