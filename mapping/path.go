package mapping

import (
	"encoding/json"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types/ref"
)

// A path names a native field from a mapping file: a loop variable or the record, and the properties below it. It has
// no functions and no indices; lists are walked with $each.
type path struct {
	slot int // loop variable, -1 for the record itself
	segs []string
	tree *fieldTree
	text string
}

// A binding is what a loop variable stands for during a run: the value and where it came from.
type binding struct {
	value any
	ptr   string // JSON pointer of the value in the record
	part  bool   // the value is a part that $split cut out; ptr is that of the whole

	group   string   // the value is a group by this field: {key, first, items}; ptr is that of its first item
	origins []string // pointers of the group's items

	memo *memo // what the run has found out about the item; nil for a part
}

// A memo keeps what a run has found out about the record, or about one item of a list: loops come to it again and again.
type memo struct {
	lists []walk    // lists that stand in it
	said  []ref.Val // what the named expressions that read it alone came to, by their number
}

// A walk is what a loop finds in a list.
type walk struct {
	list  int
	items []binding
}

// forget drops what was found out, about the items of the lists too: loops that walk them go on.
func (m *memo) forget() {
	for _, w := range m.lists {
		for _, b := range w.items {
			b.memo.forget()
		}
	}
	*m = memo{}
}

// forgetAll drops what was found out about the record as it was.
func (r *run) forgetAll() {
	clear(r.known)
	r.memo.forget()
	for _, b := range r.vars {
		if b.memo != nil {
			b.memo.forget()
		}
	}
}

// value returns the native value at p, nil when it is absent.
func (r *run) value(p *path) any {
	var v any = r.record
	if p.slot >= 0 {
		v = r.vars[p.slot].value
	}
	for _, s := range p.segs {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[s]
	}
	return v
}

// pointer returns the JSON pointer of p in the record.
func (r *run) pointer(p *path) string {
	if p.slot >= 0 && (len(p.segs) == 0 || r.vars[p.slot].part) {
		return r.vars[p.slot].ptr
	}
	return string(r.appendPointer(nil, p))
}

func (r *run) appendPointer(buf []byte, p *path) []byte {
	segs := p.segs
	if p.slot >= 0 {
		b := &r.vars[p.slot]
		buf = append(buf, b.ptr...)
		if b.part {
			return buf
		}
		if b.group != "" && len(segs) > 0 {
			switch segs[0] {
			case groupKey:
				return append(append(buf, '/'), escapePointer(b.group)...)
			case groupFirst:
				segs = segs[1:]
			}
		}
	}
	for _, s := range segs {
		buf = append(append(buf, '/'), escapePointer(s)...)
	}
	return buf
}

func escapePointer(s string) string {
	if !strings.ContainsAny(s, "~/") {
		return s
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}

func unescapePointer(s string) string { return strings.NewReplacer("~1", "/", "~0", "~").Replace(s) }

// scalar turns a native value into text, exactly as it stood in the record. Objects and lists have none.
func scalar(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		x = strings.TrimSpace(x)
		return x, x != ""
	case json.Number:
		return x.String(), true
	case bool:
		return strconv.FormatBool(x), true
	}
	return "", false
}

// scalarAt is the text of the value at p.
func (r *run) scalarAt(p *path) (string, bool) { return scalar(r.value(p)) }
