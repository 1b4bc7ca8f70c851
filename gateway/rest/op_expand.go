package rest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/fhir/terminology"
)

// expand serves ValueSet/$expand (https://hl7.org/fhir/R4/valueset-operation-expand.html). The expansion is flat.
func (k *call) expand() error {
	in, err := k.inputs("url", "valueSet", "valueSetVersion", "filter", "offset", "count", "includeDesignations", "activeOnly", "excludeNested")
	if err != nil {
		return err
	}
	e, err := readExpand(in)
	if err != nil {
		return err
	}
	library, err := k.s.Terminology.Library(k.ctx)
	if err != nil {
		return err
	}
	vs, err := k.valueSet(library, in)
	if err != nil {
		return err
	}
	members, err := library.Expand(vs)
	if err != nil {
		return err
	}
	made, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return err
	}
	return k.answer(e.write(vs, e.narrow(members), made.UTC().Format(fhir.InstantLayout)))
}

// expandRequest is how an expansion is wanted.
type expandRequest struct {
	filter                   string // folded
	offset, count            int    // count -1 for all
	designations, activeOnly bool
}

func readExpand(in inputs) (expandRequest, error) {
	var e expandRequest
	filter, err := in.text("filter")
	if err != nil {
		return e, err
	}
	e.filter = search.Fold(filter)
	if e.offset, err = in.number("offset", 0, 0); err != nil {
		return e, err
	}
	if e.count, err = in.number("count", -1, 0); err != nil {
		return e, err
	}
	if e.designations, err = in.boolean("includeDesignations", false); err != nil {
		return e, err
	}
	if e.activeOnly, err = in.boolean("activeOnly", false); err != nil {
		return e, err
	}
	_, err = in.boolean("excludeNested", true) // it is flat either way
	return e, err
}

// narrow keeps the members that meet the filter: every word of it begins a word of the display, or it begins the code.
func (e expandRequest) narrow(members []terminology.Member) []terminology.Member {
	if e.filter == "" && !e.activeOnly {
		return members
	}
	return slices.DeleteFunc(slices.Clone(members), func(m terminology.Member) bool {
		return e.activeOnly && m.Inactive || !strings.HasPrefix(search.Fold(m.Code), e.filter) && !beginsWords(search.Fold(m.Display), e.filter)
	})
}

func beginsWords(text, words string) bool {
	have := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" -/,.()", r) })
	for _, word := range strings.Fields(words) {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, word) }) {
			return false
		}
	}
	return true
}

// write makes the ValueSet with one page of members.
func (e expandRequest) write(vs *terminology.ValueSet, members []terminology.Member, made string) []byte {
	out := []byte(`{"resourceType":"ValueSet"`)
	status := vs.Status
	if status == "" {
		status = "active"
	}
	for _, f := range []struct{ name, value string }{{"url", vs.URL}, {"version", vs.Version}, {"name", vs.Name}, {"title", vs.Title}, {"status", status}} {
		if f.value != "" {
			out = append(append(out, `,"`+f.name+`":`...), fhir.Quote(f.value)...)
		}
	}
	out = append(out, `,"expansion":{"identifier":"urn:uuid:`+uuid.NewString()+`","timestamp":"`+made+`","total":`...)
	out = strconv.AppendInt(out, int64(len(members)), 10)
	out = append(out, `,"offset":`...)
	out = strconv.AppendInt(out, int64(e.offset), 10)
	page := members[min(e.offset, len(members)):]
	if e.count >= 0 {
		page = page[:min(e.count, len(page))]
		out = append(out, `,"parameter":[{"name":"count","valueInteger":`+strconv.Itoa(e.count)+`}]`...)
	}
	for i, m := range page {
		if i == 0 {
			out = append(out, `,"contains":[`...)
		} else {
			out = append(out, ',')
		}
		out = e.member(out, m)
	}
	if len(page) > 0 {
		out = append(out, ']')
	}
	return append(out, "}}"...)
}

func (e expandRequest) member(out []byte, m terminology.Member) []byte {
	coding := codingJSON(m.System, m.Version, m.Code, m.Display)
	out = append(out, coding[:len(coding)-1]...)
	if m.Abstract {
		out = append(out, `,"abstract":true`...)
	}
	if m.Inactive {
		out = append(out, `,"inactive":true`...)
	}
	if e.designations && len(m.Designations) > 0 {
		out = append(out, `,"designation":[`...)
		for i, d := range m.Designations {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, `{"value":`...)
			out = append(out, fhir.Quote(d.Value)...)
			if d.Language != "" {
				out = append(append(out, `,"language":`...), fhir.Quote(d.Language)...)
			}
			out = append(out, '}')
		}
		out = append(out, ']')
	}
	return append(out, '}')
}
