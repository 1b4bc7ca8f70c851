package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Result is what became of the input.
type Result struct {
	Records []Record
	Report  Report

	base string
}

// Record holds the resources of one native record, in an order in which each only refers to what stands before it or
// beside it; they belong into one transaction.
type Record struct {
	Key       string
	Resources []Resource
	// Digest is the record's SHA-256, whatever the order of its keys.
	Digest string
}

// Resource is one R4 resource. JSON carries no security labels: those are beside it, for whoever decides on labels.
type Resource struct {
	Type, ID string
	Slot     string // the place in the mapping it was made by, with the keys of its items behind a colon
	JSON     []byte
	// Shared tells that records of other kinds tell of the same thing, each as far as it knows it (a client, a worker):
	// whoever stores the resource should merge it, where a record's own resources are replaced.
	Shared  bool
	Labels  []Label
	Lineage []Lineage // when Env.Lineage asks for it

	metaEnd int // offset behind the last member of meta
}

// Lineage says where an element came from: the native values as JSON pointers, or as file:row:column of CSV files (several are separated by blanks, none
// for a value computed by an expression) and the mapping rule as file:line.
type Lineage struct {
	Element string `json:"element"`
	Source  string `json:"source,omitempty"`
	Rule    string `json:"rule"`
}

// Labelled returns the resource's JSON with its labels in meta.security.
func (res Resource) Labelled() []byte {
	if len(res.Labels) == 0 {
		return res.JSON
	}
	out := make([]byte, 0, len(res.JSON)+120*len(res.Labels))
	out = append(out, res.JSON[:res.metaEnd]...)
	out = append(out, `,"security":[`...)
	for i, l := range res.Labels {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(append(out, `{"system":`...), l.System), `,"code":`...)
		out = append(appendString(out, l.Code), '}')
	}
	out = append(out, ']')
	return append(out, res.JSON[res.metaEnd:]...)
}

// Bundle returns all records as one transaction Bundle of PUT entries, labels in place. A resource that several
// records share stands in it once, as the last of them has it, with the labels of all.
// https://hl7.org/fhir/R4/http.html#transaction
func (r *Result) Bundle() ([]byte, error) {
	var list []Resource
	at := map[string]int{}
	for i := range r.Records {
		for _, res := range r.Records[i].Resources {
			ref := res.Type + "/" + res.ID
			j, dup := at[ref]
			if !dup {
				at[ref] = len(list)
				list = append(list, res)
				continue
			}
			labels := list[j].Labels
			list[j] = res
			list[j].Labels = append([]Label(nil), res.Labels...)
			for _, l := range labels {
				list[j].addLabel(l)
			}
		}
	}
	out := []byte(`{"resourceType":"Bundle","type":"transaction"`)
	for i, res := range list {
		ref := res.Type + "/" + res.ID
		open := `,`
		if i == 0 {
			open = `,"entry":[`
		}
		out = appendString(append(append(out, open...), `{"fullUrl":`...), r.base+"/"+ref)
		out = append(append(out, `,"resource":`...), res.Labelled()...)
		out = appendString(append(out, `,"request":{"method":"PUT","url":`...), ref)
		out = append(out, `}}`...)
	}
	if len(list) > 0 {
		out = append(out, ']')
	}
	out = append(out, '}')
	if !json.Valid(out) {
		return nil, errNotJSON
	}
	return out, nil
}

// MapJSON maps one native JSON record of a JSON pack. Input that is not a record of the pack's schema gives an
// *InvalidError.
func (p *Pack) MapJSON(env Env, record []byte) (*Result, error) {
	if p.Format != "json" {
		return nil, &InvalidError{Problems: []Problem{{Code: "wrong-format", Text: "this pack reads CSV files, not JSON records"}}}
	}
	v, err := decodeJSON(record)
	if err != nil {
		return nil, err
	}
	m, es := p.maps[0], p.prepare(env)
	if body, ok := v.(map[string]any); ok && p.responses != nil && isResponse(body) {
		adapted, origin, err := p.adapt(es, body)
		if err != nil {
			return nil, err
		}
		res, err := p.mapRecord(m, es, adapted)
		var invalid *InvalidError
		if errors.As(err, &invalid) {
			invalid.Problems = inResponse(invalid.Problems, origin)
		}
		if res != nil {
			inResponse(res.Report.Problems, origin)
		}
		return res, err
	}
	return p.mapRecord(m, es, v)
}

// Native is a record of a JSON pack in the shape of its schema: the record itself, or what a QuestionnaireResponse says.
func (p *Pack) Native(env Env, record []byte) ([]byte, error) {
	v, err := decodeJSON(record)
	if err != nil {
		return nil, err
	}
	body, ok := v.(map[string]any)
	if !ok || p.responses == nil || !isResponse(body) {
		return record, nil
	}
	adapted, _, err := p.adapt(p.prepare(env), body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(adapted)
}

func isResponse(v map[string]any) bool {
	return v["resourceType"] == "QuestionnaireResponse" || v["resourceType"] == "Bundle"
}

// mapRecord checks a decoded record against the schema and maps it.
func (p *Pack) mapRecord(m *recordMap, es *envState, v any) (*Result, error) {
	if problems := m.schema.check(v); len(problems) > 0 {
		return nil, &InvalidError{Problems: problems}
	}
	rec, ok := v.(map[string]any)
	if !ok {
		return nil, &InvalidError{Problems: []Problem{{Code: "schema", Keyword: "type", Text: "the record must be a JSON object"}}}
	}
	m.tree.listed(rec)
	m.tree.present(rec, es.tally.present)
	r := m.start(es, rec, nil)
	if !m.tree.names(rec) {
		m.tree.strangers(rec, "", func(ptr string, count int) {
			r.report(ptr, "", "unknown-field", fmt.Sprintf("has %d field(s) that the pack does not know; they were not read", count), true)
		})
	}
	out, ok := r.execute()
	r.done()
	if !ok {
		return nil, &InvalidError{Problems: r.problems}
	}
	res := &Result{Records: []Record{out}, base: es.Base}
	es.finish(res, r.problems, 0)
	return res, nil
}

// start prepares the mapping of a record. Its buffers come from earlier ones: give them back with done.
func (m *recordMap) start(env *envState, rec map[string]any, src source) *run {
	r := &run{m: m, env: env, record: rec, source: src, vars: make([]binding, len(m.varSlot)), few: listItems(rec) <= fewItems}
	if used, ok := m.pack.buffers.Get().(*buffers); ok {
		r.buffers = *used
	} else {
		r.buf = make([]byte, 0, 4096)
	}
	return r
}

func (r *run) done() {
	used := r.buffers
	r.m.pack.buffers.Put(&used)
}

// decodeJSON keeps numbers as they are written, and refuses trailing text.
func decodeJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, &InvalidError{Problems: []Problem{{Code: "not-json", Text: "the record is not JSON"}}}
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, &InvalidError{Problems: []Problem{{Code: "not-json", Text: "there is text after the record"}}}
	}
	return v, nil
}
