package scaffold

import (
	_ "embed" // for namesCSV
	"encoding/csv"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

//go:embed names.csv
var namesCSV string

//go:embed values.csv
var valuesCSV string

// A known is a line of names.csv.
type known struct {
	kind  string
	enum  bool
	names []called
}

// called is one way of naming a field.
type called struct {
	words []string
	alone bool
}

// rows reads a file of this package without its header. A test reads both files.
func rows(text string) [][]string {
	r := csv.NewReader(strings.NewReader(text))
	r.Comment = '#'
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		return nil
	}
	return all[1:]
}

func knownNames() []known {
	var out []known
	for _, row := range rows(namesCSV) {
		k := known{kind: row[0], enum: row[1] == "yes"}
		for _, alternative := range strings.Split(row[2], "|") {
			text, alone := strings.CutPrefix(alternative, "=")
			k.names = append(k.names, called{strings.Fields(text), alone})
		}
		out = append(out, k)
	}
	return out
}

// A proposal is the code that a word of a closed list very probably means.
type proposal struct{ system, code, display string }

// propose finds the code for a value of a field of some kind.
func propose(kind, value string) (proposal, bool) {
	for _, row := range rows(valuesCSV) {
		if row[0] == kind && slices.Contains(strings.Split(row[4], "|"), strings.ToLower(value)) {
			return proposal{row[1], row[2], row[3]}, true
		}
	}
	return proposal{}, false
}

// words takes a name apart at capitals, digits and signs.
func words(name string) []string {
	var out []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			out = append(out, strings.ToLower(string(word)))
			word = nil
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			flush()
		case unicode.IsDigit(r) && i > 0 && unicode.IsLetter(runes[i-1]) && i+1 < len(runes) && unicode.IsLetter(runes[i+1]):
			flush()
		}
		word = append(word, r)
	}
	flush()
	return out
}

// within tells whether words stand in a name one after the other.
func within(want, name []string) bool {
	for i := 0; i+len(want) <= len(name); i++ {
		if slices.Equal(name[i:i+len(want)], want) {
			return true
		}
	}
	return false
}

// name gives a field its kind and, where its values may be taken over, its closed list.
func (s *sample) name(f *field, table []known) {
	path := strings.TrimPrefix(strings.ReplaceAll(f.path, "[]", ""), sheet+".")
	segs := strings.Split(path, ".")
	if f.title != "" {
		segs[len(segs)-1] = f.title
	}
	listed := false
	// The last part of a path says what it is; the parts before it help when it alone says little: client.id.
	for _, name := range []string{strings.Join(segs[max(0, len(segs)-2):], " "), segs[len(segs)-1]} {
		ws := words(name)
		for _, k := range table {
			if f.kind == "" && slices.ContainsFunc(k.names, func(c called) bool { return c.fits(ws) }) {
				f.kind, listed = k.kind, k.enum
			}
		}
	}
	// A status or type said again in words, or the system of a code, is not the thing itself.
	if last := words(segs[len(segs)-1]); f.kind != "note" && len(last) > 1 && slices.ContainsFunc(last, func(w string) bool {
		return w == "description" || w == "system" || w == "display"
	}) {
		f.kind, listed = "", false
	}
	// "Resident" may be a number or a name: a person is known by what has digits in it.
	if f.kind == "client-id" && len(words(segs[len(segs)-1])) == 1 && slices.ContainsFunc(keys(f.values), func(v string) bool { return !strings.ContainsAny(v, "0123456789") }) {
		f.kind = ""
	}
	f.dates()
	if f.clock != "" { // the time of day of a date in another column
		if f.kind = "start-time"; slices.Contains(words(segs[len(segs)-1]), "end") {
			f.kind = "end-time"
		}
		return
	}
	if f.layout == "" && slices.Contains([]string{"birth-date", "start", "end", "recorded", "updated", "date"}, f.kind) {
		f.kind = ""
	}
	f.closed(listed, s.records)
}

// fits asks of a way of naming that it ends the name, or that it is of several words: "client id" is one of "client id number".
func (c called) fits(name []string) bool {
	if len(c.words) > 1 {
		return within(c.words, name)
	}
	if n := len(name) - 1; n > 0 && name[n] == "code" { // STATUS_CODE is the status
		name = name[:n]
	}
	return len(name) > 0 && name[len(name)-1] == c.words[0] && (len(name) == 1 || !c.alone)
}

// Limits of a closed list: more or longer values are not a list of choices, and could be anything.
const (
	maxChoices    = 12
	maxChoiceSize = 24
	minSeen       = 5  // how often a lone value must stand there
	maxItems      = 40 // of questions and answers that are short names or codes: instruments have more of them
)

// itemName is a question's or answer's short name or code, and neither a sentence nor a number.
func itemName(v string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9]*[A-Za-z_\-][A-Za-z0-9_\-]*$`).MatchString(v)
}

// closed takes a field's values for a closed list when they are few and short, come again and again, and look like
// choices. Names of people do too, so a column that is not known to hold choices must have code-like values.
func (f *field) closed(listed bool, records int) {
	limit := maxChoices
	if f.kind == "question" || f.kind == "answer" {
		limit = maxItems
		for v := range f.values {
			if !itemName(v) {
				limit = maxChoices
			}
		}
	}
	if f.layout != "" || len(f.values) == 0 || len(f.values) > limit || !f.types["string"] || len(f.types) != 1 {
		return
	}
	if f.kind != "" && !listed {
		return
	}
	if f.seen < 2*len(f.values) && (!listed || records > 2*maxChoices) && limit == maxChoices {
		return
	}
	choice := regexp.MustCompile(`^[a-z]+([-_][a-z]+)*$`)
	plain := []string{"yes", "no", "y", "n", "unknown", "none", "other", "n/a", "na", "true", "false"}
	coded := false
	for v := range f.values {
		if _, known := propose(f.kind, v); listed && known {
			continue // whatever its length, it tells of nobody
		}
		if len(v) > maxChoiceSize || strings.ContainsAny(v, "@|\"\n\r") || regexp.MustCompile(`[0-9]{6}`).MatchString(v) {
			return
		}
		coded = coded || strings.ContainsAny(v, "-_")
		if !listed && !slices.Contains(plain, strings.ToLower(v)) && !choice.MatchString(v) {
			return
		}
	}
	if !listed && !coded && slices.ContainsFunc(keys(f.values), func(v string) bool { return !slices.Contains(plain, strings.ToLower(v)) }) {
		return // single words in lower case could be anybody's name
	}
	// One value alone is no list, and in a sample of one person it is that person's.
	if len(f.values) < 2 && (!listed || f.seen < minSeen) {
		return
	}
	f.enum = keys(f.values)
}

func keys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
