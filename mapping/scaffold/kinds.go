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

// A known is a line of names.csv.
type known struct {
	kind  string
	enum  bool
	names [][]string // alternatives, as words
}

func knownNames() []known {
	r := csv.NewReader(strings.NewReader(namesCSV))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil // the file is part of the program; a test reads it
	}
	var out []known
	for _, row := range rows[1:] {
		k := known{kind: row[0], enum: row[1] == "yes"}
		for _, alternative := range strings.Split(row[2], "|") {
			k.names = append(k.names, strings.Fields(alternative))
		}
		out = append(out, k)
	}
	return out
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
			if f.kind == "" && slices.ContainsFunc(k.names, func(alternative []string) bool { return fits(alternative, ws) }) {
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
	if f.layout == "" && slices.Contains([]string{"birth-date", "start", "end", "recorded", "updated", "date"}, f.kind) {
		f.kind = ""
	}
	f.closed(listed, s.records)
}

// fits asks of an alternative that it ends the name, or that it is of several words: "name" is no part of "house name
// code", and "client id" is one of "client id number".
func fits(alternative, name []string) bool {
	if len(alternative) > 1 {
		return within(alternative, name)
	}
	if n := len(name) - 1; n > 0 && name[n] == "code" { // STATUS_CODE is the status
		name = name[:n]
	}
	return len(name) > 0 && name[len(name)-1] == alternative[0] && (len(name) == 1 || alternative[0] != "name" && alternative[0] != "first" && alternative[0] != "last")
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
