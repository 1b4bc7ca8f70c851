package mapping

// textNode is a generated narrative: short lines of our own words with native values escaped into them. It shows only
// what its lines name, and is one-way.
type textNode struct {
	lines []textLine
}

type textLine struct {
	leaf
	say   string // our own words before the value
	of    *path  // value shown after them; nil for a line of words alone
	loop  *loop  // list to walk, one entry per item
	where *predicate
}

func (n *textNode) dynamic() bool { return true }

func (n *textNode) build(r *run) bool {
	r.buf = append(r.buf, `{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">`...)
	for i := range n.lines {
		n.lines[i].build(r)
	}
	r.buf = append(r.buf, `</div>"}`...)
	return true
}

func (l *textLine) build(r *run) {
	if l.loop == nil {
		l.paragraph(r)
		return
	}
	saved := r.vars[l.loop.slot]
	open := false
	for _, b := range r.items(l.loop) {
		r.vars[l.loop.slot] = b
		text, ok := r.scalarAt(l.of)
		if !ok || !isFHIRText(text) || !r.test(l.where) {
			continue
		}
		if !open {
			r.buf = append(r.buf, "<p>"...)
			r.buf = appendHTML(r.buf, l.say)
			r.buf = append(r.buf, "</p><ul>"...)
			open = true
		}
		r.buf = append(r.buf, "<li>"...)
		r.buf = appendHTML(r.buf, text)
		r.buf = append(r.buf, "</li>"...)
		r.made(&l.leaf, l.of)
	}
	if open {
		r.buf = append(r.buf, "</ul>"...)
	}
	r.vars[l.loop.slot] = saved
}

func (l *textLine) paragraph(r *run) {
	text := ""
	if l.of != nil {
		s, ok := r.scalarAt(l.of)
		if !ok || !isFHIRText(s) || !r.test(l.where) {
			return
		}
		text = s
	}
	r.buf = append(r.buf, "<p>"...)
	r.buf = appendHTML(r.buf, l.say)
	if l.of != nil {
		r.buf = append(r.buf, ": "...)
		r.buf = appendHTML(r.buf, text)
		r.made(&l.leaf, l.of)
	}
	r.buf = append(r.buf, "</p>"...)
}

// appendHTML escapes text for XHTML inside a JSON string.
func appendHTML(buf []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		esc := ""
		switch s[i] {
		case '&':
			esc = "&amp;"
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '"':
			esc = "&quot;"
		case '\'':
			esc = "&#39;"
		default:
			continue
		}
		buf = appendEscaped(buf, s[start:i])
		buf = append(buf, esc...)
		start = i + 1
	}
	return appendEscaped(buf, s[start:])
}
