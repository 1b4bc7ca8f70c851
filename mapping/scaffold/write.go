package scaffold

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// quote writes a text as a YAML scalar.
func quote(s string) string {
	if regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.\-]*$`).MatchString(s) &&
		!slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, strings.ToLower(s)) {
		return s
	}
	out, err := json.Marshal(s) // JSON's strings are YAML's
	if err != nil {
		return `""`
	}
	return string(out)
}

// draft writes the files.
func (d *drafter) draft() (*Draft, error) {
	out := &Draft{Files: map[string][]byte{}}
	out.Files["pack.yaml"] = d.pack()
	out.Files[d.name+".schema.json"] = d.schema()
	out.Files[d.name+".map.yaml"] = d.mapping()
	for name, f := range d.tables {
		out.Files["codes/"+name+".csv"] = table(f)
	}
	input, err := d.input()
	if err != nil {
		return nil, err
	}
	if out.Files["cases/made-up.case"], err = d.golden(out.Files, input); err != nil {
		return nil, err
	}
	var taken []string
	for _, f := range d.fields {
		if len(f.enum) > 0 {
			taken = append(taken, fmt.Sprintf("%s (%d)", f.label(), len(f.enum)))
		}
	}
	if len(taken) > 0 {
		d.note("taken over from the sample, because they are few and short: the values of %s. Look whether one of them tells of a person", strings.Join(taken, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(d.tables)) {
		f, proposed := d.tables[name], 0
		for _, v := range f.enum {
			if _, ok := propose(f.kind, v); ok {
				proposed++
			}
		}
		if proposed > 0 {
			d.note("codes/%s.csv: codes are proposed for %d of %d value(s); check them", name, proposed, len(f.enum))
		}
	}
	d.note("no other value of the sample is in the pack")
	out.Notes = d.notes
	return out, nil
}

func (d *drafter) pack() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "pack: %s\nversion: 0.1.0\ntitle: %s\nsource: %s\n", d.name, quote("Draft made from a sample: "+d.name), d.name)
	if d.csv {
		fmt.Fprintf(&b, "format: csv\nseparator: %q\n", d.separator)
	} else {
		b.WriteString("format: json\n")
	}
	if len(d.layout) > 0 {
		b.WriteString("# How the source writes dates. Nothing is assumed that is not declared here.\ndates:\n  layouts:\n")
		for _, l := range d.layout {
			fmt.Fprintf(&b, "    - %q\n", l)
		}
		if d.zone {
			b.WriteString("  # The times name no zone. Until you say which one they are in, dates with a time are left out.\n  # zone: America/New_York\n")
			d.note("dates have a time and no zone: name the source's zone in pack.yaml, or they are left out")
		}
		if shortYear(d.layout) {
			b.WriteString("  # The first year that two digits can mean: check it against the oldest birth dates.\n  century: 1930\n")
			d.note("years are written with two digits: check century in pack.yaml")
		}
	}
	if d.csv {
		fmt.Fprintf(&b, "files:\n  - {name: %s, schema: %s.schema.json}\n", sheet, d.name)
	}
	fmt.Fprintf(&b, "records:\n  - map: %s.map.yaml\n", d.name)
	if !d.csv {
		fmt.Fprintf(&b, "    schema: %s.schema.json\n", d.name)
		return []byte(b.String())
	}
	fmt.Fprintf(&b, "    from: %s\n    group: [%s]\n", sheet, join(d.key, func(f *field) string { return quote(f.name) }))
	return []byte(b.String())
}

func join(list []*field, text func(*field) string) string {
	var out []string
	for _, f := range list {
		out = append(out, text(f))
	}
	return strings.Join(out, ", ")
}

func (d *drafter) mapping() []byte {
	var b strings.Builder
	b.WriteString("# A draft: what is written here was guessed from the names of the source's fields. Read every rule, fill the code\n# tables, and decide on what is ignored; `trellis map lint` lists what is left.\n")
	fmt.Fprintf(&b, "map: %s\nversion: 0.1.0\nkey: [%s]\n\nemit:\n%s", d.name, join(d.key, func(f *field) string { return quote(f.path) }), d.body.String())
	reasons := map[*field]string{}
	for _, f := range d.key {
		if d.keyed {
			d.used[f] = true
		}
		reasons[f] = "tells records apart"
	}
	var ignored []string
	todo := 0
	for _, f := range d.fields {
		if d.used[f] {
			continue
		}
		reason := reasons[f]
		switch {
		case reason != "":
		case f.kind == "note":
			reason = "narrative-private"
		default:
			reason = quote("TODO: decide")
			todo++
		}
		ignored = append(ignored, fmt.Sprintf("  - {field: %s, reason: %s}\n", quote(f.path), reason))
	}
	// Records of a program are its records, whatever they say.
	b.WriteString("\nlabel:\n  - {rule: part2-program, when: org.part2, add: [42CFRPart2, SUD]}\n")
	if len(ignored) > 0 {
		b.WriteString("\nignore:\n" + strings.Join(ignored, ""))
	}
	d.note("%d of %d field(s) are in rules; %d wait for your decision under ignore", len(d.fields)-len(ignored), len(d.fields), todo)
	return []byte(b.String())
}

// table is the code table of a field: its values, with the codes of words that are known, for the author to fill and check.
func table(f *field) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"native", "system", "code", "display", "direction"}}
	given := map[string]bool{}
	for _, v := range f.enum {
		row := []string{v, "", "", "", "todo"}
		if p, ok := propose(f.kind, v); ok {
			row = []string{v, p.system, p.code, p.display, "both"}
			if given[p.code] { // one word comes back for a code
				row[4] = "in"
			}
			given[p.code] = true
		}
		rows = append(rows, row)
	}
	if err := w.WriteAll(rows); err != nil {
		return nil // a buffer takes everything
	}
	return b.Bytes()
}

// schema is the JSON Schema of the record, or of a row.
func (d *drafter) schema() []byte {
	root := d.object(d.root, d.records)
	out := append([]pair{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", d.name},
		{"description", "Drafted from a sample. Describe the fields, and check what is required."}}, root...)
	var b bytes.Buffer
	if err := json.Indent(&b, appendPairs(nil, out), "", "  "); err != nil {
		return nil // what appendPairs writes is JSON
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// A pair keeps the order of a schema's keywords.
type pair struct {
	name  string
	value any
}

func appendPairs(b []byte, list []pair) []byte {
	b = append(b, '{')
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		name, _ := json.Marshal(p.name) // a string always marshals
		b = append(append(b, name...), ':')
		if kids, ok := p.value.([]pair); ok {
			b = appendPairs(b, kids)
			continue
		}
		value, err := json.Marshal(p.value)
		if err != nil {
			value = []byte("null")
		}
		b = append(b, value...)
	}
	return append(b, '}')
}

// certain is how many records a sample needs before "always there" is taken for "required".
const certain = 20

func (d *drafter) object(f *field, of int) []pair {
	required := []string{}
	props := []pair{}
	for _, p := range f.props {
		if slices.Contains(d.key, p) || !d.csv && d.holdsKey(p) || of >= certain && p.seen == of && d.carries(p) {
			required = append(required, p.name)
		}
		props = append(props, pair{p.name, d.describe(p)})
	}
	return []pair{{"type", "object"}, {"additionalProperties", false}, {"required", required}, {"properties", props}}
}

// carries tells whether a rule of the draft uses a field, or one below it: what is not carried cannot be required of a record
// that comes back from FHIR.
func (d *drafter) carries(f *field) bool {
	if f == nil {
		return false
	}
	return d.used[f] || d.carries(f.items) || slices.ContainsFunc(f.props, d.carries)
}

func (d *drafter) holdsKey(f *field) bool {
	return slices.ContainsFunc(d.key, func(k *field) bool { return strings.HasPrefix(k.path, f.path+".") })
}

func (d *drafter) describe(f *field) []pair {
	if f.title != "" && f.title != f.name { // with its blanks, as the source writes it
		return append([]pair{{"title", strings.TrimSpace(f.title)}}, d.values(f)...)
	}
	return d.values(f)
}

// values describes what may stand in a field.
func (d *drafter) values(f *field) []pair {
	switch {
	case len(f.props) > 0:
		return d.object(f, f.seen)
	case f.items != nil:
		return []pair{{"type", "array"}, {"items", d.describe(f.items)}}
	case len(f.enum) > 0 && !d.csv:
		return []pair{{"enum", f.enum}, {"description", ""}}
	case len(f.enum) > 0:
		return []pair{{"type", "string"}, {"enum", f.enum}, {"description", ""}}
	}
	out := []pair{}
	types := slices.Sorted(func(yield func(string) bool) {
		for t := range f.types {
			if !yield(t) {
				return
			}
		}
	})
	if i := slices.Index(types, "integer"); i >= 0 && slices.Contains(types, "number") {
		types = slices.Delete(types, i, i+1)
	}
	switch {
	case len(types) == 1 && types[0] != "object" && types[0] != "array":
		out = append(out, pair{"type", types[0]})
	case len(types) == 0:
		out = append(out, pair{"type", "string"})
	}
	if f.layout == "date" || f.layout == "date-time" {
		out = append(out, pair{"format", f.layout})
	}
	return append(out, pair{"description", ""})
}
