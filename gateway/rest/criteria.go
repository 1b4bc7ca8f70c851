package rest

import (
	"net/url"
	"strings"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
)

// criteria reads the condition of a conditional interaction (https://hl7.org/fhir/R4/http.html#cond-update): search
// parameters, with or without "Type?" before them. To put a condition is to search, so it needs that scope as well.
func (k *call) criteria(typ, text string) (*search.Query, error) {
	if before, after, ok := strings.Cut(text, "?"); ok {
		if before != "" && before != typ {
			return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the condition is about another type of resource")
		}
		text = after
	}
	if err := k.allow(typ, smart.Search); err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the condition is not a well-formed query string").Because(err)
	}
	for _, name := range []string{"_format", "_pretty"} {
		values.Del(name)
	}
	for name := range values {
		switch name {
		case "_sort", "_include", "_revinclude", "_count", "_total", "_summary", "_elements", "_contained", "_containedType", "_cursor":
			return nil, fhir.NewProblem(fhir.Unsupported, "not-supported", "a condition takes no "+name)
		}
	}
	q, err := k.s.Registry.Parse(typ, values, k.s.Base)
	if err != nil {
		return nil, err
	}
	if len(q.Where) == 0 {
		return nil, fhir.NewProblem(fhir.Precondition, "required", "the condition needs a search parameter with a value")
	}
	return q, nil
}

// several is the answer to a condition that more than one own record meets. How many is not said.
func several() error {
	return fhir.NewProblem(fhir.Precondition, "multiple-matches", "several resources match the condition")
}
