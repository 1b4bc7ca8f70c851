package rest

import (
	"strings"

	"trellis/fhir"
	"trellis/gateway/release"
)

// subset reads _summary and _elements of a read (https://hl7.org/fhir/R4/http.html#parameters); nil is the whole resource.
func (k *call) subset() (*release.View, error) {
	if k.c.Request.URL.RawQuery == "" {
		return nil, nil
	}
	summary, elements := k.c.Query("_summary"), k.c.Query("_elements")
	if summary == "" && elements == "" {
		return nil, nil
	}
	mode, ok := fhir.SummaryFalse, true
	if summary != "" {
		mode, ok = fhir.ParseSummary(summary)
	}
	if !ok || mode == fhir.SummaryCount { // a count is of a set
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "_summary of a read must be true, text, data or false")
	}
	var names []string
	for _, name := range strings.Split(elements, ",") {
		name, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(name), k.c.Param("type")+"."), ".")
		if name == "" {
			continue
		}
		if !fhir.HasElement(k.c.Param("type"), name) {
			return nil, fhir.NewProblem(fhir.Invalid, "invalid", "_elements names an element the type does not have")
		}
		names = append(names, name)
	}
	switch {
	case mode != fhir.SummaryFalse && len(names) > 0:
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "_summary cannot be combined with _elements")
	case mode == fhir.SummaryFalse && len(names) == 0:
		return nil, nil
	case k.c.Param("type") == "Binary": // its bytes are the resource, and it has nothing to summarize
		return nil, fhir.NewProblem(fhir.Unsupported, "not-supported", "a Binary is read whole")
	}
	return &release.View{KeepsMeta: true, Of: func(released []byte) ([]byte, error) { return fhir.Summarize(released, mode, names) }}, nil
}
