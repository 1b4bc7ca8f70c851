// Package bulk does the work of Bulk Data exports (https://hl7.org/fhir/uv/bulkdata/) in the background: it walks what a
// job asks for, a page at a time, through the same filter and release gate as a search, and keeps the lines of each page
// together with its audit leaf and the job's new position in one transaction. While a page is kept the rows of the next
// one are read; they are decided about when it is their turn. Memory is bounded by two pages. A job
// whose worker died is taken up by another at the last page kept: no line is lost or kept twice.
//
// It serves no HTTP and reads no request: package rest does, and starts jobs. It is entered through Worker.
package bulk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/store"
)

// The levels of an export.
const (
	System  = "export-system"
	Patient = "export-patient"
	Group   = "export-group"
)

// Spec is what a job asks for and on whose behalf. It never changes.
type Spec struct {
	Level        string              `json:"level"`
	URL          string              `json:"url"` // the request's, for the manifest
	Query        []byte              `json:"query,omitempty"`
	Organization string              `json:"organization"`
	Purpose      string              `json:"purpose"`
	Token        string              `json:"token,omitempty"`
	Request      string              `json:"request"`
	Types        []string            `json:"types"`
	Filters      map[string][]string `json:"filters,omitempty"`  // by type: queries, of which one must match
	Elements     map[string][]string `json:"elements,omitempty"` // by type, "" for every type
	Since        string              `json:"since,omitempty"`    // instants
	Until        string              `json:"until,omitempty"`
	// Patients narrows the job to these Patients' compartments where Bounded.
	Bounded  bool     `json:"bounded,omitempty"`
	Patients []string `json:"patients,omitempty"`
}

// File is one file of a job as the manifest lists it.
type File struct {
	Kind   string `json:"kind"` // output, deleted or error
	Type   string `json:"type"`
	Rows   int    `json:"rows"`
	Bytes  int    `json:"bytes"`
	Chunks int    `json:"chunks"`
}

// The kinds of files.
const (
	output  = "output"
	deleted = "deleted"
	faults  = "error"
)

// Place is where in a job a page begins.
type Place struct {
	Step  int             `json:"step"`
	After *store.Position `json:"after,omitempty"`
}

// Progress is how far a job is.
type Progress struct {
	Place
	Rows  int    `json:"rows"`
	Files []File `json:"files,omitempty"`
	Fault string `json:"fault,omitempty"` // why it failed, for its client
}

// step is one query of a job. With patient it runs in that compartment; gone lists deletions of a type.
type step struct {
	types   []string
	patient string
	gone    bool
}

// steps is how many queries a job takes; step says which is the i-th. They are computed, not kept: a Group may be large.
func (s *Spec) steps() int {
	n := len(s.open())
	if s.Bounded {
		n += len(s.Patients) * len(s.groups())
	}
	if s.Since != "" {
		n += len(s.Types)
	}
	return n
}

func (s *Spec) step(i int) step {
	open := s.open()
	if i < len(open) {
		return step{types: []string{open[i]}}
	}
	i -= len(open)
	if groups := s.groups(); s.Bounded {
		if i < len(s.Patients)*len(groups) {
			return step{types: groups[i%len(groups)], patient: s.Patients[i/len(groups)]}
		}
		i -= len(s.Patients) * len(groups)
	}
	return step{types: []string{s.Types[i]}, gone: true}
}

// open are the types asked for across patients: all of them, or of a job about some patients the directory's.
func (s *Spec) open() []string {
	if !s.Bounded {
		return s.Types
	}
	var out []string
	for _, typ := range s.Types {
		if label.Directory(typ) {
			out = append(out, typ)
		}
	}
	return out
}

// groups are the types asked for in one query of a compartment: those without criteria together.
func (s *Spec) groups() [][]string {
	var plain []string
	var out [][]string
	for _, typ := range s.Types {
		switch {
		case label.Directory(typ):
		case len(s.Filters[typ]) > 0:
			out = append(out, []string{typ})
		default:
			plain = append(plain, typ)
		}
	}
	if len(plain) > 0 {
		out = append(out, plain)
	}
	return out
}

// query reads a step's query. Parameters are read anew for every page: what the registry cannot answer then is an error.
func (s *Spec) query(r *search.Registry, base string, st step) (*search.Query, error) {
	common := url.Values{}
	for prefix, at := range map[string]string{"ge": s.Since, "le": s.Until} {
		if at != "" {
			common.Add("_lastUpdated", prefix+at)
		}
	}
	options := search.Options{Base: base}
	typ := ""
	if len(st.types) == 1 {
		typ = st.types[0]
	} else {
		common.Set("_type", strings.Join(st.types, ","))
	}
	if st.patient != "" {
		options.Compartment = fhir.Reference{Type: "Patient", ID: st.patient}
	}
	q, err := r.ParseWith(context.Background(), typ, common, options) // no terminology is asked
	if err != nil || len(s.Filters[typ]) == 0 || typ == "" {
		return q, err
	}
	var any search.Or
	for _, text := range s.Filters[typ] {
		f, err := ParseFilter(r, base, typ, text)
		if err != nil {
			return nil, err
		}
		any = append(any, f.Where)
	}
	if len(any) == 1 {
		q.Where = append(q.Where, any[0])
	} else {
		q.Where = append(q.Where, any)
	}
	return q, nil
}

// results are search parameters that are about the result, not about which resources are in it.
var results = [...]string{"_count", "_sort", "_include", "_revinclude", "_summary", "_elements", "_total", "_cursor", "_contained", "_containedType", "_text", "_content"}

// ParseFilter reads one query of _typeFilter, without the type before it. Parameters about the result are refused, as
// are those that read bodies.
func ParseFilter(r *search.Registry, base, typ, text string) (*search.Query, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "_typeFilter: a query is not well formed").Because(err)
	}
	for _, name := range results {
		for given := range values {
			if code, _, _ := strings.Cut(given, ":"); code == name {
				return nil, fhir.NewProblem(fhir.Invalid, "not-supported", "_typeFilter: "+name+" cannot stand in a filter")
			}
		}
	}
	q, err := r.Parse(typ, values, base)
	if err != nil {
		return nil, err
	}
	for _, c := range q.Where {
		if _, ok := c.(search.Scan); ok {
			return nil, fhir.NewProblem(fhir.Unsupported, "not-supported", "_typeFilter: a parameter that reads whole records cannot stand in a filter")
		}
	}
	return q, nil
}

// settle is how far before its start a job says it looked: a write that began earlier may have been committed since.
const settle = time.Minute

// ReadSpec decodes what a job asks for.
func ReadSpec(j store.Job) (s Spec, err error) {
	if err = json.Unmarshal(j.Spec, &s); err != nil {
		err = fmt.Errorf("bulk: a job cannot be read: %w", err)
	}
	return s, err
}

// ReadProgress decodes how far a job is.
func ReadProgress(j store.Job) (p Progress, err error) {
	if len(j.Progress) == 0 {
		return p, nil
	}
	if err = json.Unmarshal(j.Progress, &p); err != nil {
		err = fmt.Errorf("bulk: a job's progress cannot be read: %w", err)
	}
	return p, err
}

// Percent is how much of the steps is done.
func (p Progress) Percent(s Spec) int {
	if n := s.steps(); n > 0 {
		return min(99, 100*p.Step/n)
	}
	return 99
}
