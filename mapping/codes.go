package mapping

import (
	"slices"
	"strings"
)

// codeNode translates a native value through a code table.
type codeNode struct {
	leaf
	from  []*path // several make a composite native value, joined by |
	via   *table
	as    string // concept (the default), coding, code or display
	text  *path  // concept.text, as the source words it
	label string // concept.text, our own short label; else the table's column "text"
	els   node   // what stands there when the value is absent or not in the table
	// column of the table that is written instead of the code, -1 for none
	column int
	// keep writes the native value into an extension where the code alone would be given back as another one
	keep  bool
	given map[string][]*tableRow // rows by what is written of them, for the way back
}

func (n *codeNode) dynamic() bool { return true }

func (n *codeNode) build(r *run) bool {
	key, ok := n.native(r)
	var row *tableRow
	if ok {
		row = n.via.rows[key]
		if row == nil {
			r.problem(n.from[len(n.from)-1], &n.leaf, "unmapped-value", "is not in the code table "+n.via.name+"; no code was made of it")
		}
	}
	if row == nil && n.els != nil {
		return n.els.build(r)
	}
	switch n.as {
	case "code", "display":
		if row == nil {
			return false
		}
		text := n.written(row)
		if text == "" {
			return false
		}
		if rest, ok := strings.CutPrefix(text, localPrefix); ok {
			text = r.env.Base + "/" + rest
		}
		r.buf = appendString(r.buf, text)
	case "coding":
		if row == nil {
			return false
		}
		r.coding(row, n.kept(row))
	default:
		if !n.concept(r, row) {
			return false
		}
	}
	r.made(&n.leaf, n.from...)
	return true
}

// written is what stands in FHIR of a row: the code, its display or a column of the table.
func (n *codeNode) written(row *tableRow) string {
	switch {
	case n.column >= 0:
		return row.cells[n.column]
	case n.as == "display":
		return row.display
	}
	return row.code
}

// index prepares the way back.
func (n *codeNode) index() {
	n.given = map[string][]*tableRow{}
	for _, row := range n.via.list {
		if row.direction == directionTodo {
			continue
		}
		text := n.written(row)
		n.given[text] = append(n.given[text], row)
	}
}

// native is the table key of the record's value.
func (n *codeNode) native(r *run) (string, bool) {
	if len(n.from) == 1 {
		return r.scalarAt(n.from[0])
	}
	parts := make([]string, len(n.from))
	for i, p := range n.from {
		s, ok := r.scalarAt(p)
		if !ok {
			return "", false
		}
		parts[i] = s
	}
	return strings.Join(parts, "|"), true
}

func (n *codeNode) concept(r *run, row *tableRow) bool {
	text, has := n.label, n.label != ""
	if !has && row != nil {
		text = row.text
		has = text != ""
	}
	if n.text != nil {
		if s, ok := r.scalarAt(n.text); ok && isFHIRText(s) {
			text, has = s, true
		}
	}
	if row == nil && !has {
		return false
	}
	r.buf = append(r.buf, '{')
	if row != nil {
		r.buf = append(r.buf, `"coding":[`...)
		r.coding(row, n.kept(row))
		r.buf = append(r.buf, ']')
	}
	if has {
		if row != nil {
			r.buf = append(r.buf, ',')
		}
		r.buf = append(r.buf, `"text":`...)
		r.buf = appendString(r.buf, text)
	}
	r.buf = append(r.buf, '}')
	return true
}

// nativeValue is the extension that holds a native value beside the code it shares with others, below the
// deployment's canonical base.
const nativeValue = "/StructureDefinition/native-value"

// kept is the native value to be written beside the code, "" for none.
func (n *codeNode) kept(row *tableRow) string {
	if n.keep && row.in {
		return n.parts(row)[len(n.from)-1]
	}
	return ""
}

// coding appends a table row as a Coding, with the native value in an extension when one is given.
func (r *run) coding(row *tableRow, native string) {
	r.buf = append(r.buf, '{')
	if native != "" {
		r.buf = append(r.buf, `"extension":[{"url":`...)
		r.buf = appendString(r.buf, r.env.Base+nativeValue)
		r.buf = append(r.buf, `,"valueString":`...)
		r.buf = appendString(r.buf, native)
		r.buf = append(r.buf, `}],`...)
	}
	r.buf = append(r.buf, `"system":`...)
	if row.local {
		r.buf = appendString(r.buf, r.env.Base+"/CodeSystem/"+strings.TrimPrefix(row.system, localPrefix))
	} else {
		r.buf = appendString(r.buf, row.system)
	}
	r.buf = append(r.buf, `,"code":`...)
	r.buf = appendString(r.buf, row.code)
	if row.display != "" {
		r.buf = append(r.buf, `,"display":`...)
		r.buf = appendString(r.buf, row.display)
	}
	r.buf = append(r.buf, '}')
}

// refNode is a Reference to a resource of this record (by slot), to one of another record (by its key, whether or not
// that record has been seen), or to the sending organisation.
type refNode struct {
	leaf
	organization bool
	slot         string
	key          []*path // picks among the resources of a slot by the last of their loop keys
	all          bool    // every resource of the slot, as list items

	resource, record, otherSlot string // another record's resource
	keys                        []*path
	identify                    bool // name it by its identifier too, so that the key can be read back

	display *path
}

// dynamic: the sender stands in every record, so a reference to it does not show that the record says anything.
func (n *refNode) dynamic() bool { return !n.organization }

func (n *refNode) build(r *run) bool {
	if n.all {
		return buildList(r, n)
	}
	switch {
	case n.organization:
		r.reference("Organization", r.env.Organization.ID, r.env.Organization.Name)
	case n.resource != "":
		key, ok := r.key(n.keys)
		if !ok {
			return false
		}
		r.reference(n.resource, r.env.id(n.resource, n.record, key, n.otherSlot), "")
		if n.identify {
			r.identified(n.record, key)
		}
		r.made(&n.leaf, n.keys...)
	default:
		inst := n.pick(r)
		if inst == nil {
			return false
		}
		r.reference(inst.em.resource, inst.id, r.displayOf(n.display))
		if len(n.key) > 0 {
			r.made(&n.leaf, n.key...)
		}
	}
	return true
}

func (r *run) displayOf(p *path) string {
	if p == nil {
		return ""
	}
	s, ok := r.scalarAt(p)
	if !ok || !isFHIRText(s) {
		return ""
	}
	return s
}

// pick finds the resource a slot reference means: the one with the key, else the one that belongs to the same items.
func (n *refNode) pick(r *run) *instance {
	var buf [4]string
	want := buf[:0]
	for _, k := range n.key {
		s, ok := r.scalarAt(k)
		if !ok {
			return nil
		}
		want = append(want, s)
	}
	for i := range r.plan {
		inst := &r.plan[i]
		if inst.em.slot != n.slot {
			continue
		}
		if len(want) > 0 {
			if len(inst.keys) >= len(want) && slices.Equal(inst.keys[len(inst.keys)-len(want):], want) {
				return inst
			}
			continue
		}
		if related(inst.keys, r.keys) {
			return inst
		}
	}
	if len(want) > 0 {
		r.problem(n.key[len(n.key)-1], &n.leaf, "no-such-item", "names an item that this record does not hold; the link was left out")
	}
	return nil
}

// related tells whether two loop positions lie on one branch: [core] and [core 71802-3] do, [core …] and [extra …] do not.
func related(a, b []string) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (n *refNode) buildItems(r *run, count int) int {
	if !n.all {
		m := r.mark()
		if count > 0 {
			r.buf = append(r.buf, ',')
		}
		here := r.pushIndex(count)
		ok := n.build(r)
		r.pop(here)
		if !ok {
			r.reset(m)
			return count
		}
		return count + 1
	}
	for i := range r.plan {
		inst := &r.plan[i]
		if inst.em.slot != n.slot || !related(inst.keys, r.keys) {
			continue
		}
		if count > 0 {
			r.buf = append(r.buf, ',')
		}
		r.reference(inst.em.resource, inst.id, "")
		count++
	}
	return count
}

// identified puts the identifier of a record into the reference just written.
func (r *run) identified(record, key string) {
	r.buf = append(r.buf[:len(r.buf)-1], `,"identifier":{"system":`...)
	r.buf = appendString(r.buf, r.env.idSystem(record))
	r.buf = append(r.buf, `,"value":`...)
	r.buf = append(appendString(r.buf, key), `}}`...)
}

// reference appends a literal reference.
func (r *run) reference(resource, id, display string) {
	r.buf = append(r.buf, `{"reference":"`...)
	r.buf = append(r.buf, resource...)
	r.buf = append(r.buf, '/')
	r.buf = appendEscaped(r.buf, id)
	r.buf = append(r.buf, '"')
	if display != "" {
		r.buf = append(r.buf, `,"display":`...)
		r.buf = appendString(r.buf, display)
	}
	r.buf = append(r.buf, '}')
}
