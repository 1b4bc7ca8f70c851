package mapping

import (
	"encoding/csv"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The two tables of packs/README.md are made from the packs and from concepts.csv; -update writes them anew.
func TestPacksReadme(t *testing.T) {
	const file = "packs/README.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for section, table := range map[string]string{"packs": packTable(t, names), "concepts": conceptTable(t, names)} {
		begin, end := "<!-- generated: "+section+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(text, begin)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no section %s", file, section)
		}
		if diff := cmp.Diff(old, table); diff != "" && !updating(t) {
			t.Errorf("%s is stale (-there +made, go test -update writes it anew)\n%s", file, diff)
		}
		text = before + begin + table + end + after
	}
	if updating(t) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func conceptTable(t *testing.T, names []string) string {
	t.Helper()
	f, err := Packs().Open("concepts.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 96 {
		t.Errorf("concepts.csv has %d concepts, not 95", len(rows)-1)
	}
	var b strings.Builder
	b.WriteString("| | concept | packs | note |\n|---|---|---|---|\n")
	for i, row := range rows[1:] {
		number, concept, packs, note := row[0], row[1], strings.Fields(row[2]), row[3]
		if number != fmt.Sprint(i+1) || concept == "" {
			t.Errorf("row %d of concepts.csv is not concept %d", i+2, i+1)
		}
		if len(packs) == 0 && note == "" {
			t.Errorf("concept %s is in no pack, and no note says why", number)
		}
		for _, p := range packs {
			if !slices.Contains(names, p) {
				t.Errorf("concept %s names the pack %s, which does not exist", number, p)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", number, concept, strings.Join(packs, ", "), note)
	}
	return b.String()
}

func packTable(t *testing.T, names []string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| pack | version | what it carries | fields | both ways | one way | ignored |\n|---|---|---|---|---|---|---|\n")
	for _, name := range names {
		p := load(t, name)
		both := p.bothWays()
		var carried, partly, oneWay, ignored []string
		reasons, partReasons := map[string]int{}, map[string]int{}
		for _, i := range p.order {
			field := p.fields.names[i]
			switch {
			case p.ignored[i] != "" && (both[i] || p.restated[i] != ""): // where no rule applies
				partly = append(partly, "`"+field+"` ("+p.ignored[i]+")")
				partReasons[p.ignored[i]]++
				if both[i] {
					carried = append(carried, field)
				} else {
					oneWay = append(oneWay, "`"+field+"`")
				}
			case p.ignored[i] != "":
				ignored = append(ignored, "`"+field+"` ("+p.ignored[i]+")")
				reasons[p.ignored[i]]++
			case both[i]:
				carried = append(carried, field)
			default:
				oneWay = append(oneWay, "`"+field+"`")
			}
		}
		fmt.Fprintf(&b, "| [%s](%s) | %s | %s | %d | %d | %s | %s |\n", name, name, p.Version, p.Title,
			len(p.order), len(carried), counted(oneWay), counted(ignored)+summed(ignored, reasons)+alsoPartly(partly, partReasons))
		if len(ignored)*20 >= len(p.order) {
			t.Errorf("pack %s ignores %d of %d fields", name, len(ignored), len(p.order))
		}
	}
	return b.String()
}

// alsoPartly names the fields that are ignored where no rule carries them.
func alsoPartly(fields []string, reasons map[string]int) string {
	if len(fields) == 0 {
		return ""
	}
	return "; in part " + counted(fields) + summed(fields, reasons)
}

// most is how many fields a cell names.
const most = 6

// summed are the reasons of more fields than a cell names.
func summed(fields []string, reasons map[string]int) string {
	if len(fields) <= most {
		return ""
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%d %s", reasons[why], why))
	}
	return ": " + strings.Join(parts, ", ")
}

// counted is a number of fields, and which, as long as that can be read.
func counted(fields []string) string {
	if len(fields) == 0 || len(fields) > most {
		return fmt.Sprint(len(fields))
	}
	return fmt.Sprintf("%d: %s", len(fields), strings.Join(fields, ", "))
}

// bothWays are the fields that some rule of the pack gives back from FHIR, by number.
func (p *Pack) bothWays() map[int]bool {
	out := map[int]bool{}
	add := func(l *leaf) {
		for _, f := range l.fields {
			out[f] = out[f] || !l.oneWay
		}
	}
	for _, m := range p.maps {
		for i := range m.emissions {
			em := &m.emissions[i]
			add(&em.said)
			add(&em.keyLeaf)
			eachLeaf(em.set, add)
			if em.more != nil {
				eachLeaf(em.more, add)
			}
		}
		if m.provenance != nil {
			eachLeaf(m.provenance.recorded, add)
			eachLeaf(m.provenance.author, add)
		}
	}
	return out
}

// eachLeaf calls f for the leaves of a mapping's tree.
func eachLeaf(n node, f func(*leaf)) {
	switch x := n.(type) {
	case *objectNode:
		for _, field := range x.fields {
			eachLeaf(field.node, f)
		}
	case *listNode:
		for _, item := range x.items {
			eachLeaf(item, f)
		}
	case *whenNode:
		f(&x.saidTrue)
		f(&x.saidFalse)
		eachLeaf(x.then, f)
		eachLeaf(x.els, f)
	case *eachNode:
		eachLeaf(x.item, f)
	case *splitNode:
		f(&x.leaf)
		eachLeaf(x.item, f)
	case *codeNode:
		f(&x.leaf)
		eachLeaf(x.els, f)
	case *copyNode:
		f(&x.leaf)
	case *dateNode:
		f(&x.leaf)
	case *unitNode:
		f(&x.leaf)
	case *joinNode:
		f(&x.leaf)
	case *refNode:
		f(&x.leaf)
	}
}

// Every field of every schema is described in plain words, and so is every pack.
func TestFieldsAreDescribed(t *testing.T) {
	files, err := fs.Glob(Packs(), "*/*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := fs.ReadFile(Packs(), file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := decodeJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		undescribed(t, file, "", v)
	}
}

func undescribed(t *testing.T, file, at string, v any) {
	sc, _ := v.(map[string]any)
	props, _ := sc["properties"].(map[string]any)
	for name, p := range props {
		field := below(at, name)
		if d, _ := p.(map[string]any); d["description"] == nil && d["$ref"] == nil {
			t.Errorf("%s: %s has no description", file, field)
		}
		undescribed(t, file, field, p)
	}
	if items := sc["items"]; items != nil {
		undescribed(t, file, at+"[]", items)
	}
}
