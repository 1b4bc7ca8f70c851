package label

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"

	"trellis/fhir"
)

// phrases finds phrases of whole words in text, whatever their case; a plural s is passed over. Negations ("denies
// drug use") are not understood: what is said about a matter, even that it is not so, is about it.
type phrases struct{ byFirst map[string][]phrase }

type phrase struct {
	words []string
	rule  int
}

func (p *phrases) add(text string, rule int) {
	words := split(text)
	if len(words) == 0 {
		return
	}
	if p.byFirst == nil {
		p.byFirst = map[string][]phrase{}
	}
	p.byFirst[words[0]] = append(p.byFirst[words[0]], phrase{words, rule})
}

// in lists the rules whose phrases stand in a text.
func (p *phrases) in(text string) []int {
	if len(p.byFirst) == 0 || len(text) < 3 {
		return nil
	}
	var out []int
	words := split(text)
	for i, w := range words {
		out = p.at(w, words[i:], out)
		if one, plural := strings.CutSuffix(w, "s"); plural {
			out = p.at(one, words[i:], out)
		}
	}
	return out
}

// at adds the rules of the phrases that begin with a word and stand at the head of words.
func (p *phrases) at(first string, words []string, rules []int) []int {
	for _, ph := range p.byFirst[first] {
		if !slices.Contains(rules, ph.rule) && ph.heads(words) {
			rules = append(rules, ph.rule)
		}
	}
	return rules
}

func (p phrase) heads(words []string) bool {
	if len(words) < len(p.words) {
		return false
	}
	for i, w := range p.words {
		if words[i] != w && words[i] != w+"s" {
			return false
		}
	}
	return true
}

// split gives the words of a text in lower case. An apostrophe stands inside a word.
func split(text string) []string {
	text = strings.ToLower(text)
	if strings.ContainsAny(text, "'\u2019") {
		text = strings.NewReplacer("'", "", "\u2019", "").Replace(text)
	}
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// plain is the text of a narrative without its tags.
func plain(div string) string {
	if !strings.ContainsRune(div, '<') {
		return div
	}
	var b strings.Builder
	tag := false
	for _, r := range div {
		switch {
		case r == '<':
			tag = true
			b.WriteByte(' ')
		case r == '>':
			tag = false
		case !tag:
			b.WriteRune(r)
		}
	}
	if !strings.Contains(b.String(), "&") {
		return b.String()
	}
	return strings.NewReplacer("&nbsp;", " ", "&#160;", " ", "&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(b.String())
}

// digest names a set of texts.
func digest(texts []string) string {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	h := sha256.New()
	for _, t := range slices.Compact(texts) {
		h.Write([]byte(t))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxAttachment bounds how much of a text attachment is read: 4 MiB of base64.
const maxAttachment = 4 << 20

// read looks for words in what people wrote.
func (x *examination) read(r *fhir.Resource) words {
	var out words
	var hits []string
	look := func(text string, at *spot) {
		rules := x.c.words.in(text)
		for _, rule := range rules {
			r := x.c.rules[rule]
			out.findings = append(out.findings, finding(r, at, r.Labels))
			if !slices.Contains(out.rules, r.ID) {
				out.rules = append(out.rules, r.ID)
			}
		}
		if len(rules) > 0 {
			hits = append(hits, text)
		}
	}
	var visit func(n fhir.Node, at *spot)
	visit = func(n fhir.Node, at *spot) {
		switch n.Kind {
		case '[':
			for i := range n.Items {
				visit(n.Items[i], &spot{at.up, at.name, i + 1})
			}
		case '{':
			if kind := n.Get("contentType").Text(); strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "application/xhtml") {
				look(attached(n.Get("data").Text()), &spot{at, "data", 0})
			}
			cut := goesWith(n.Get("reference").Text())
			for i := range n.Members {
				if m := &n.Members[i]; (m.Name != "meta" || at.up != nil) && (m.Name != "display" || !cut) {
					visit(m.Value, &spot{at, m.Name, 0})
				}
			}
		case '"':
			if written(at.name) {
				text := n.Text()
				if at.name == "div" {
					text = plain(text)
				}
				look(text, at)
			}
		}
	}
	visit(r.Root, &spot{name: r.Type})
	if len(hits) > 0 {
		out.digest = digest(hits)
	}
	return out
}

// goesWith reports whether release cuts a reference with its display where the caller may not have its target: then the
// display says no more than the target does. References to public entries and to other servers stay as they are.
func goesWith(reference string) bool {
	ref, ok := fhir.ParseReference(reference, "")
	return ok && !Directory(ref.Type)
}

// written reports whether an element holds what a person wrote, or what is shown to people.
func written(name string) bool {
	switch name {
	case "div", "text", "display", "title", "description", "comment", "conclusion", "summary", "patientInstruction",
		"purpose", "details", "detail", "disposition", "topic", "reason":
		return true
	}
	return strings.HasSuffix(name, "String") || strings.HasSuffix(name, "Markdown")
}

func attached(data string) string {
	if len(data) > maxAttachment {
		data = data[:maxAttachment&^3]
	}
	text, err := base64.StdEncoding.DecodeString(data)
	if err != nil && len(text) == 0 {
		return ""
	}
	return plain(string(text))
}
