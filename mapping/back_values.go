package mapping

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

func (n *copyNode) match(_ *back, v any) bool {
	text, ok := jsonText(v)
	if !ok {
		return false
	}
	_, ok = typed(text, n.from.tree)
	return ok
}

func (n *copyNode) back(b *back, v any) {
	if text, ok := jsonText(v); ok {
		b.put(n.from, text)
	}
}

func (n *dateNode) match(b *back, v any) bool {
	text, ok := v.(string)
	return ok && text != ""
}

func (n *dateNode) back(b *back, v any) {
	text, _ := v.(string)
	if n.time != nil {
		day, clock, ok := b.m.pack.dates.writeApart(text)
		if !ok {
			b.say("bad-date", "is not a date that the source can write; it was not taken over")
			return
		}
		b.put(n.from, day)
		if clock != "" {
			b.put(n.time, clock)
		}
		return
	}
	native, ok := b.m.pack.dates.write(text, n.from.tree.form)
	if !ok {
		b.say("bad-date", "is not a date that the source can write; it was not taken over")
		return
	}
	b.put(n.from, native)
}

// writeApart turns a FHIR date back into a day and a time of day for two fields: by a layout that is a declared one of a day, a
// blank and the time, so that it is not written as another field has its moments.
func (d *dateRules) writeApart(text string) (day, clock string, ok bool) {
	if !strings.ContainsAny(text, "Tt") {
		day, ok = d.write(text, "")
		return day, "", ok
	}
	for _, zoned := range []bool{false, true} {
		for _, days := range append(slices.Clone(d.layouts), newDateLayout("2006-01-02")) {
			for _, l := range d.layouts {
				if days.clock || !strings.HasPrefix(l.text, days.text+" ") || l.zoned != zoned {
					continue
				}
				one := dateRules{layouts: []dateLayout{l}, zone: d.zone, century: d.century}
				if native, ok := one.write(text, ""); ok {
					words, n := strings.Split(native, " "), 1+strings.Count(days.text, " ")
					return strings.Join(words[:n], " "), strings.Join(words[n:], " "), true
				}
			}
		}
	}
	native, ok := d.write(text, "")
	day, clock, _ = strings.Cut(native, " ")
	return day, clock, ok
}

// write turns a FHIR date back into the form of the source: its first layout of that precision. A pack without layouts
// writes dates as FHIR does; a field that its schema calls a date gets the day.
func (d *dateRules) write(text, format string) (string, bool) {
	hasTime := strings.ContainsAny(text, "Tt")
	if len(d.layouts) == 0 {
		if format == "date" && hasTime {
			text = text[:len("2006-01-02")]
		}
		return text, true
	}
	for _, layout := range d.layouts {
		if layout.clock != hasTime {
			continue
		}
		t, err := time.Parse(map[bool]string{true: time.RFC3339Nano, false: "2006-01-02"}[hasTime], text)
		if err != nil {
			return text, !hasTime // a month or a year: as FHIR writes it, which every pack reads
		}
		if d.zone != nil && hasTime && !layout.zoned {
			t = t.In(d.zone)
		}
		if out := t.Format(layout.text); d.means(t, layout) && (!hasTime || sameMoment(d, out, t)) {
			return out, true
		}
	}
	return text, !hasTime || d.zone == nil
}

// sameMoment tells whether a text in one of the layouts means just this moment: a layout without seconds loses some.
func sameMoment(d *dateRules, text string, t time.Time) bool {
	again, why := d.read(text, "dateTime")
	if why != "" {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, again)
	return err == nil && at.Equal(t)
}

// means tells whether a layout can hold the year: two digits stand for a hundred years only.
func (d *dateRules) means(t time.Time, layout dateLayout) bool {
	return !layout.short || t.Year() >= d.century && t.Year() < d.century+100
}

func (n *unitNode) match(_ *back, v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	_, ok = m["value"].(json.Number)
	return ok && m["system"] == ucum && m["code"] == n.code
}

func (n *unitNode) back(b *back, v any) {
	m, _ := v.(map[string]any)
	if text, ok := jsonText(m["value"]); ok {
		b.put(n.from, text)
	}
	for _, name := range sortedKeys(m) {
		switch name {
		case "value", "unit", "system", "code":
		default:
			b.leave(name, m[name])
		}
	}
}

func (n *joinNode) match(_ *back, v any) bool {
	_, ok := v.(string)
	return ok
}

// back cuts the text where it was joined; what is left over stays with the last field.
func (n *joinNode) back(b *back, v any) {
	text, _ := v.(string)
	for i, part := range strings.SplitN(text, n.by, len(n.from)) {
		b.put(n.from[i], part)
	}
}

// What is computed is computed anew and never read.
func (n *deriveNode) match(_ *back, v any) bool {
	_, ok := jsonText(v)
	return ok
}
func (n *deriveNode) back(*back, any) {}

func (n *textNode) match(_ *back, v any) bool {
	_, ok := v.(map[string]any)
	return ok
}
func (n *textNode) back(*back, any) {}

// candidates are the table rows that can stand behind an element.
func (n *codeNode) candidates(b *back, v any) []*tableRow {
	switch n.as {
	case "code", "display":
		text, ok := v.(string)
		if !ok {
			return nil
		}
		if rest, ok := strings.CutPrefix(text, b.env.Base+"/"); ok {
			text = localPrefix + rest
		}
		return n.likeliest(b, n.possible(b, n.given[text], nil), "", "")
	case "coding":
		m, _ := v.(map[string]any)
		return n.likeliest(b, n.possible(b, n.given[codeOf(m)], m), keptIn(b, m), "")
	}
	m, _ := v.(map[string]any)
	codings, _ := m["coding"].([]any)
	text, _ := m["text"].(string)
	for _, c := range codings {
		coding, _ := c.(map[string]any)
		if rows := n.possible(b, n.given[codeOf(coding)], coding); len(rows) > 0 {
			return n.likeliest(b, rows, keptIn(b, coding), text)
		}
	}
	return nil
}

// likeliest chooses among rows that share a code: the one whose native value stands beside it or is known already, the
// one with this text, else those that codes are given back by.
func (n *codeNode) likeliest(b *back, rows []*tableRow, kept, text string) []*tableRow {
	known := ""
	if len(n.from) == 1 {
		known, _ = b.text(n.from[0])
	}
	var said, worded, given []*tableRow
	for _, row := range rows {
		parts := n.parts(row)
		switch native := parts[len(parts)-1]; {
		case kept != "" && native == kept, kept == "" && known != "" && native == known:
			said = append(said, row)
		case text != "" && row.text == text:
			worded = append(worded, row)
		}
		if !row.in {
			given = append(given, row)
		}
	}
	switch {
	case len(said) > 0:
		return said
	case len(worded) > 0:
		return worded
	}
	return given
}

// keptIn is the native value that stands beside a code.
func keptIn(b *back, coding map[string]any) string {
	list, _ := coding["extension"].([]any)
	for _, e := range list {
		if ext, _ := e.(map[string]any); ext["url"] == b.env.Base+nativeValue {
			text, _ := ext["valueString"].(string)
			return text
		}
	}
	return ""
}

func codeOf(coding map[string]any) string {
	code, _ := coding["code"].(string)
	return code
}

// possible keeps the rows of the coding's system that agree with what is known of the record.
func (n *codeNode) possible(b *back, rows []*tableRow, coding map[string]any) []*tableRow {
	var out []*tableRow
	for _, row := range rows {
		if (coding == nil || coding["system"] == b.systemOf(row)) && n.agrees(b, row) {
			out = append(out, row)
		}
	}
	return out
}

func (b *back) systemOf(row *tableRow) string {
	if row.local {
		return b.env.Base + "/CodeSystem/" + strings.TrimPrefix(row.system, localPrefix)
	}
	return row.system
}

// agrees compares the parts of a composite native value with those that are known.
func (n *codeNode) agrees(b *back, row *tableRow) bool {
	parts := n.parts(row)
	if parts == nil {
		return false
	}
	if len(parts) == 1 {
		return true // one field: what the element says is what counts
	}
	for i, p := range n.from {
		if known, ok := b.text(p); ok && known != parts[i] {
			return false
		}
	}
	return true
}

func (n *codeNode) parts(row *tableRow) []string {
	if len(n.from) == 1 {
		return []string{row.native}
	}
	parts := strings.Split(row.native, "|")
	if len(parts) != len(n.from) {
		return nil
	}
	return parts
}

func (n *codeNode) match(b *back, v any) bool {
	if n.labelled(v) && len(n.candidates(b, v)) > 0 || (n.els != nil && n.els.match(b, v)) {
		return true
	}
	m, _ := v.(map[string]any)
	text, _ := m["text"].(string)
	return n.text != nil && n.as == "concept" && text != "" && m["coding"] == nil
}

// labelled: a label of the rule's own is a constant.
func (n *codeNode) labelled(v any) bool {
	m, _ := v.(map[string]any)
	return n.label == "" || m["text"] == n.label
}

// back looks the code up. When several native values share it, the decision waits until more of the record is known.
func (n *codeNode) back(b *back, v any) {
	rows := n.candidates(b, v)
	n.words(b, v, rows)
	if len(rows) == 0 {
		if n.els != nil && n.els.match(b, v) {
			n.els.back(b, v)
		}
		return
	}
	if n.settled(b, rows) {
		return
	}
	at := slices.Clone(b.at)
	b.later = append(b.later, func() bool {
		now := b.at
		b.at = at
		defer func() { b.at = now }()
		return n.settled(b, n.candidates(b, v))
	})
}

func (n *codeNode) settled(b *back, rows []*tableRow) bool {
	if len(rows) != 1 {
		return false
	}
	for i, part := range n.parts(rows[0]) {
		b.put(n.from[i], part)
	}
	return true
}

// words takes over the text of a concept where it is the source's own and not our label.
func (n *codeNode) words(b *back, v any, rows []*tableRow) {
	m, _ := v.(map[string]any)
	if n.as != "concept" || m == nil {
		return
	}
	text, _ := m["text"].(string)
	label := n.label
	if label == "" && len(rows) > 0 {
		label = rows[0].text
	}
	if n.text != nil && text != "" && text != label {
		b.put(n.text, text)
	}
	codings, _ := m["coding"].([]any)
	for i, c := range codings {
		coding, _ := c.(map[string]any)
		if len(rows) > 0 && coding["code"] == rows[0].code && coding["system"] == b.systemOf(rows[0]) {
			continue
		}
		if len(rows) > 0 || n.els == nil || !n.els.match(b, v) {
			here := b.pushName("coding")
			at := b.pushIndex(i)
			b.leave("", c)
			b.pop(at)
			b.pop(here)
		}
	}
}

// target is what a Reference points at: type and id.
func (b *back) target(v any) (typ, id string) {
	m, _ := v.(map[string]any)
	ref, _ := m["reference"].(string)
	ref = strings.TrimPrefix(ref, b.env.Base+"/")
	typ, id, ok := strings.Cut(ref, "/")
	if !ok {
		return "", ""
	}
	id, _, _ = strings.Cut(id, "/_history/")
	return typ, id
}

// pointed finds the resource behind a reference as a resource of the slot.
func (n *refNode) pointed(b *back, v any) (*located, *finding) {
	typ, id := b.target(v)
	l := b.set[typ+"/"+id]
	if l == nil {
		return nil, nil
	}
	for i := range l.found {
		f := &l.found[i]
		if f.em.slot == n.slot && f.m == b.m && (!f.own || f.key == b.key()) && n.possible(b, f) {
			return l, f
		}
	}
	return nil, nil
}

// possible tells whether the keys of a resource can be those that the record names here.
func (n *refNode) possible(b *back, f *finding) bool {
	if len(n.key) > len(f.keys) {
		return false
	}
	if f.em.key != nil && len(f.em.loops) == 0 {
		for i, p := range f.em.key {
			if known, ok := b.text(p); ok && known != f.parts[i] {
				return false
			}
		}
	}
	return true
}

// key is the key of the record being read.
func (b *back) key() string {
	parts := make([]string, len(b.m.key))
	for i, p := range b.m.key {
		parts[i], _ = b.text(p)
	}
	return joinKey(parts)
}

func (n *refNode) match(b *back, v any) bool {
	if n.all {
		return matchList(b, n, v)
	}
	return n.matchItem(b, v)
}

func (n *refNode) matchItem(b *back, v any) bool {
	typ, id := b.target(v)
	switch {
	case typ == "":
		return false
	case n.organization:
		return typ == "Organization" && id == b.env.Organization.ID
	case n.resource != "":
		return typ == n.resource
	}
	if b.set[typ+"/"+id] == nil {
		return typ == b.m.resourceOf(n.slot) // not among what we read: its type is all we know of it
	}
	_, f := n.pointed(b, v)
	return f != nil
}

func (n *refNode) back(b *back, v any) {
	if n.all {
		backList(b, n, v)
		return
	}
	n.backItem(b, v)
}

// backItem reads the keys that pick the resource, and puts the resource itself next.
func (n *refNode) backItem(b *back, v any) {
	m, _ := v.(map[string]any)
	if n.organization {
		return
	}
	if n.resource != "" {
		for _, key := range identifierValues(m["identifier"], b.env.idSystem(n.record)) {
			for i, part := range cutKey(key, len(n.keys)) {
				b.put(n.keys[i], part)
			}
		}
		return
	}
	if d, ok := m["display"].(string); ok && n.display != nil {
		b.put(n.display, d)
	}
	l, f := n.pointed(b, v)
	if f == nil {
		return
	}
	for i, p := range n.key {
		b.put(p, f.keys[len(f.keys)-len(n.key)+i])
	}
	b.reach(l, *f)
}
