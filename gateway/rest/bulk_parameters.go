package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
)

// exportInput is what a kick-off asks for (https://hl7.org/fhir/uv/bulkdata/STU2/export.html#query-parameters).
type exportInput struct {
	types, filters, patients []string // nil when not given
	elements                 map[string][]string
	since, until             string
}

// exportParameters reads the query string, or the Parameters of a POST. What is not offered is refused by name; under
// handling=lenient it is left out.
func (k *call) exportParameters() (exportInput, error) {
	var in exportInput
	values, err := url.ParseQuery(k.c.Request.URL.RawQuery)
	if err != nil {
		return in, fhir.NewProblem(fhir.Invalid, "invalid", "the query string is not well formed").Because(err)
	}
	posted := k.c.Request.Method == http.MethodPost && k.c.Request.ContentLength != 0
	if posted {
		if err := k.postedExport(values); err != nil {
			return in, err
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range values[name] {
			if err := in.read(name, value, posted, k.s.Base); err != nil {
				return in, err
			}
			if !slices.Contains(exportNames[:], name) && !k.lenient {
				return in, fhir.NewProblem(fhir.Unsupported, "not-supported", "an export does not take the parameter "+plainName(name))
			}
		}
	}
	return in, nil
}

// exportNames are the parameters an export takes.
var exportNames = [...]string{"_outputFormat", "_since", "_until", "_type", "_typeFilter", "_elements", "patient", "_format", "_pretty"}

// plainName is a parameter's name as far as it is fit to be repeated.
func plainName(name string) string {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-') || len(name) > 40 {
			return "(unreadable name)"
		}
	}
	return name
}

// postedExport adds the parameters of a Parameters body.
func (k *call) postedExport(values url.Values) error {
	res, err := k.parsedBody()
	if err != nil {
		return err
	}
	if res.Type != "Parameters" {
		return fhir.NewProblem(fhir.Invalid, "invalid", "the body must be a Parameters resource")
	}
	for _, p := range res.Root.Get("parameter").List() {
		value := ""
		for _, m := range p.Members {
			switch {
			case m.Name == "valueReference":
				value = m.Value.Get("reference").Text()
			case strings.HasPrefix(m.Name, "value"):
				value = m.Value.Text()
			}
		}
		if value == "" {
			return fhir.NewProblem(fhir.Invalid, "value", "a parameter has no simple value").At("Parameters.parameter")
		}
		values.Add(p.Get("name").Text(), value)
	}
	return nil
}

// read takes one parameter.
func (in *exportInput) read(name, value string, posted bool, base string) error {
	refuse := func(why string) error { return fhir.NewProblem(fhir.Invalid, "invalid", name+" "+why) }
	switch name {
	case "_outputFormat":
		// A plus sign in a query string arrives as a space when the client did not escape it.
		switch strings.ReplaceAll(value, " ", "+") {
		case "application/fhir+ndjson", "application/ndjson", "ndjson":
		default:
			return refuse("must be application/fhir+ndjson, application/ndjson or ndjson")
		}
	case "_since", "_until":
		value = strings.Replace(value, " ", "+", 1)
		if _, err := search.ParseDate(value); err != nil || !strings.Contains(value, "T") {
			return refuse("must be an instant")
		}
		into := &in.since
		if name == "_until" {
			into = &in.until
		}
		if *into != "" {
			return refuse("may be given once")
		}
		*into = value
	case "_type":
		in.types = append(in.types, fields(value)...)
	case "_typeFilter":
		in.filters = append(in.filters, typeFilters(value)...)
	case "_elements":
		return in.element(value, refuse)
	case "patient":
		if !posted {
			return refuse("is taken in a POST only")
		}
		ref, ok := fhir.ParseReference(value, base)
		if !ok || ref.Type != "Patient" {
			return refuse("must be a reference to a Patient")
		}
		if !slices.Contains(in.patients, ref.ID) {
			in.patients = append(in.patients, ref.ID)
		}
	}
	return nil
}

// element reads _elements: names of top-level elements, each of every type or of the type before it.
func (in *exportInput) element(value string, refuse func(string) error) error {
	for _, name := range fields(value) {
		typ, element, qualified := strings.Cut(name, ".")
		if !qualified {
			typ, element = "", name
		}
		if element == "" || strings.Contains(element, ".") || (qualified && !fhir.HasElement(typ, element)) {
			return refuse("names no top-level element")
		}
		if in.elements == nil {
			in.elements = map[string][]string{}
		}
		in.elements[typ] = append(in.elements[typ], element)
	}
	return nil
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// typeFilters splits a list of queries at the commas before a type and its question mark; other commas are the
// queries' own.
func typeFilters(list string) []string {
	var out []string
	for _, part := range strings.Split(list, ",") {
		typ, _, ok := strings.Cut(part, "?")
		if len(out) > 0 && !(ok && fhir.KnownType(typ)) {
			out[len(out)-1] += "," + part
			continue
		}
		out = append(out, part)
	}
	return out
}
