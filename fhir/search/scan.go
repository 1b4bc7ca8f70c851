package search

import (
	"html"
	"strings"
	"unicode"

	"trellis/fhir"
)

// holdsWords reports whether the narrative, or with all any text of the resource, has every word of one
// of the alternatives.
func holdsWords(res *fhir.Resource, all bool, alternatives [][]string) bool {
	have := map[string]bool{}
	var words []string
	collectWords(&res.Root, all, func(s string) {
		words = wordsOf(words[:0], s)
		for _, w := range words {
			have[w] = true
		}
	})
	for _, wanted := range alternatives {
		found := true
		for _, w := range wanted {
			found = found && have[w]
		}
		if found {
			return true
		}
	}
	return false
}

// collectWords visits the texts of a resource; of a narrative what a reader sees, not its markup.
func collectWords(root *fhir.Node, all bool, add func(string)) {
	if !all {
		add(stripTags(root.Path("text", "div").Text()))
		return
	}
	root.Walk(func(n fhir.Node) {
		for i := range n.Members {
			m := &n.Members[i]
			switch {
			case m.Name == "div" && m.Value.Kind == '"':
				add(stripTags(m.Value.Text()))
			case m.Name == "resourceType" || m.Name == "data" && m.Value.Kind == '"': // attachments are not text
			case m.Value.Kind == '"':
				add(m.Value.Text())
			case m.Value.Kind == '[':
				for k := range m.Value.Items {
					if m.Value.Items[k].Kind == '"' {
						add(m.Value.Items[k].Text())
					}
				}
			}
		}
	})
}

// stripTags leaves the text of an XHTML fragment, with a space where a tag was.
func stripTags(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		b.WriteByte(' ')
		end := strings.IndexByte(s[i:], '>')
		if end < 0 {
			break
		}
		s = s[i+end+1:]
	}
	return html.UnescapeString(b.String())
}

// wordsOf appends the folded words of a text: runs of letters and digits.
func wordsOf(out []string, s string) []string {
	return append(out, strings.FieldsFunc(Fold(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })...)
}
