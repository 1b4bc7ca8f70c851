package mapping

import (
	"bytes"
	"strconv"
	"strings"
)

// A run is the mapping of one record. It writes each resource straight into one buffer and takes back what turns out
// to be empty, so that a record costs few allocations.
type run struct {
	m      *recordMap
	env    *envState
	record map[string]any
	source source

	vars   []binding
	plan   []instance
	keys   []string            // loop keys of the resource being built
	moved  map[string][]string // lists that checks took items out of: the pointers of what is left
	reject bool
	digest string
	few    bool      // the record has few list items
	known  []outcome // of predicates
	memo   memo      // of the record

	buffers
	problems []Problem
}

// buffers are what a run writes into; what comes out of it is copied.
type buffers struct {
	buf   []byte
	elem  []byte // FHIR path being built, e.g. Encounter.type[0]
	names []byte // texts of the traces
	trace []trace
}

// A trace is lineage before it is put into words: spans of run.names hold the element and the native values.
type trace struct {
	leaf            *leaf
	element, source span
}

type span struct{ from, to int }

// A source translates JSON pointers of an assembled record back to the rows of the files it came from.
type source interface {
	place(ptr string) (file string, row int, column string)
}

type mark struct{ buf, trace int }

func (r *run) mark() mark { return mark{len(r.buf), len(r.trace)} }

func (r *run) reset(m mark) { r.buf, r.trace = r.buf[:m.buf], r.trace[:m.trace] }

func (r *run) pushName(name string) int {
	n := len(r.elem)
	r.elem = append(append(r.elem, '.'), name...)
	return n
}

func (r *run) pushIndex(i int) int {
	n := len(r.elem)
	r.elem = strconv.AppendInt(append(r.elem, '['), int64(i), 10)
	r.elem = append(r.elem, ']')
	return n
}

func (r *run) pop(n int) { r.elem = r.elem[:n] }

// made records that the leaf put a value into the element being built, from these native values.
func (r *run) made(l *leaf, from ...*path) {
	if !r.env.Lineage {
		r.trace = append(r.trace, trace{leaf: l})
		return
	}
	t := trace{leaf: l, element: r.named()}
	t.source.from = len(r.names)
	for i, p := range from {
		if i > 0 {
			r.names = append(r.names, ' ')
		}
		r.names = r.appendPointer(r.names, p)
	}
	t.source.to = len(r.names)
	r.trace = append(r.trace, t)
}

// named keeps the element being built for a trace.
func (r *run) named() span {
	from := len(r.names)
	r.names = append(r.names, r.elem...)
	return span{from, len(r.names)}
}

// read records that the leaf's fields shaped the element being built without standing in it.
func (r *run) read(l *leaf) {
	if len(l.fields) == 0 {
		return
	}
	t := trace{leaf: l}
	if r.env.Lineage {
		t.element = r.named()
	}
	r.trace = append(r.trace, t)
}

// problem reports the native value at p, once per place and code.
func (r *run) problem(p *path, l *leaf, code, text string) {
	r.report(r.pointer(p), l.rule, code, text, true)
}

func (r *run) report(ptr, rule, code, text string, dropped bool) {
	pr := Problem{Code: code, Pointer: ptr, Rule: rule, Text: text, Dropped: dropped}
	if r.source != nil {
		pr.File, pr.Row, pr.Column = r.source.place(ptr)
		if pr.File != "" {
			pr.Pointer = ""
		}
	}
	for i := range r.problems {
		q := &r.problems[i]
		if q.Code == pr.Code && q.Pointer == pr.Pointer && q.File == pr.File && q.Row == pr.Row && q.Column == pr.Column {
			return
		}
	}
	r.problems = append(r.problems, pr)
}

// key joins the key fields of a record.
func (r *run) key(parts []*path) (string, bool) {
	if len(parts) == 1 {
		return r.scalarAt(parts[0])
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		s, ok := r.scalarAt(p)
		if !ok {
			return "", false
		}
		texts[i] = s
	}
	return joinKey(texts), true
}

// execute maps the record: checks, plan, build, labels. It returns false when the record is rejected; the problems
// say why.
func (r *run) execute() (Record, bool) {
	key, ok := r.key(r.m.key)
	if !ok || !isFHIRText(key) {
		r.report(r.pointer(r.m.key[0]), r.m.file, "no-key", "the record has no key; it cannot be mapped", true)
		return Record{}, false
	}
	r.digest = r.env.Digest // of the record as it came, before checks take items out
	if r.digest == "" {
		r.digest = r.hash()
	}
	rec := Record{Key: key, Digest: r.digest}
	r.known = make([]outcome, r.m.predicates)
	r.runChecks()
	if r.reject {
		return Record{}, false
	}
	r.planAll(key)
	rec.Resources = make([]Resource, 0, len(r.plan)+1)
	for i := range r.plan {
		rec.Resources = append(rec.Resources, r.build(&r.plan[i]))
	}
	r.labels(rec.Resources)
	if r.reject {
		return Record{}, false
	}
	if r.m.provenance != nil {
		prov, ok := r.provenance(key, rec.Resources)
		if !ok {
			at := ""
			if r.source != nil { // among rows, the record is known by its key
				at = r.pointer(r.m.key[0])
			}
			r.report(at, r.m.provenance.rule, "no-recorded-time",
				"the record does not say when it was recorded; it cannot be mapped", true)
			return Record{}, false
		}
		rec.Resources = append(rec.Resources, prov)
	}
	return rec, true
}

// build writes one planned resource.
func (r *run) build(inst *instance) Resource {
	em := inst.em
	r.stand(inst)
	r.keys = inst.keys
	r.buf, r.trace, r.names = r.buf[:0], r.trace[:0], r.names[:0]
	r.elem = append(r.elem[:0], em.resource...)
	if em.test != nil || len(em.loops) > 0 {
		r.read(&em.leaf)
		r.read(&em.said)
	}
	r.buf = append(r.buf, em.head...)
	r.buf = append(r.buf, inst.id...)
	r.buf = append(r.buf, `","meta":{`...)
	r.profiles(em)
	r.buf = append(r.buf, `"source":`...)
	r.buf = appendString(r.buf, r.env.sourceURI(inst.key))
	metaEnd := len(r.buf)
	r.buf = append(r.buf, '}')
	r.identifier(inst)
	em.set.buildFields(r, 1)
	r.buf = append(r.buf, '}')
	return Resource{
		Type: em.resource, ID: inst.id, Slot: inst.slot, JSON: bytes.Clone(r.buf), metaEnd: metaEnd, Shared: em.shared,
		Lineage: r.lineage(),
	}
}

// stand puts the loop variables where they were when the resource was planned.
func (r *run) stand(inst *instance) {
	clear(r.vars)
	for i, b := range inst.at {
		r.vars[inst.em.loops[i].slot] = b
	}
}

// profiles claims what the resource conforms to.
func (r *run) profiles(em *emission) {
	open := false
	for i := range em.profiles {
		if !r.test(em.profiles[i].test) {
			continue
		}
		if open {
			r.buf = append(r.buf, ',')
		} else {
			r.buf = append(r.buf, `"profile":[`...)
		}
		open = true
		r.buf = append(r.buf, em.profiles[i].url...)
	}
	if open {
		r.buf = append(r.buf, "],"...)
	}
}

// identifier writes the record's key as the resource's own identifier, before any the mapping adds.
func (r *run) identifier(inst *instance) {
	em := inst.em
	if em.identifiers == identifierNone {
		return
	}
	at := r.pushName("identifier")
	r.made(&em.keyLeaf, em.keyPaths...)
	r.pop(at)
	r.buf = append(r.buf, `,"identifier":`...)
	if em.identifiers == identifierList {
		r.buf = append(r.buf, '[')
	}
	r.buf = append(r.buf, `{"system":`...)
	r.buf = appendString(r.buf, r.env.idSystem(em.record))
	r.buf = append(r.buf, `,"value":`...)
	value := inst.key
	if !em.main {
		value += "#" + inst.slot
	}
	r.buf = appendString(r.buf, value)
	r.buf = append(r.buf, '}')
	if em.identifiers != identifierList {
		return
	}
	if em.more != nil {
		here := r.pushName("identifier")
		em.more.buildItems(r, 1)
		r.pop(here)
	}
	r.buf = append(r.buf, ']')
}

// located puts pointers into an assembled record as the places of the files it came from.
func (r *run) located(pointers string) string {
	if r.source == nil || pointers == "" {
		return pointers
	}
	var out []string
	for _, ptr := range strings.Fields(pointers) {
		if file, row, column := r.source.place(ptr); file != "" {
			ptr = file + ":" + itoa(row) + ":" + column
		}
		out = append(out, ptr)
	}
	return strings.Join(out, " ")
}

// lineage counts the traces of the resource just built for coverage and, where it is asked for, puts them into words.
func (r *run) lineage() []Lineage {
	for _, t := range r.trace {
		r.env.tally.carry(t.leaf)
	}
	if !r.env.Lineage {
		return nil
	}
	out := make([]Lineage, 0, len(r.trace))
	names := string(r.names)
	for _, t := range r.trace {
		if t.leaf.how == "" {
			continue // only counts for coverage
		}
		out = append(out, Lineage{Element: names[t.element.from:t.element.to], Source: r.located(names[t.source.from:t.source.to]), Rule: t.leaf.rule})
	}
	return out
}
