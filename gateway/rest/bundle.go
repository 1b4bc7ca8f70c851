package rest

import (
	"fmt"
	"net/http"

	"trellis/fhir"
	"trellis/gateway/release"
)

// maxEntries bounds a Bundle.
const maxEntries = 5000

// bundle serves POST [base] with a batch or transaction (https://hl7.org/fhir/R4/http.html#transaction).
func (k *call) bundle() error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	res, err := k.parsedBody()
	if err != nil {
		return err
	}
	if res.Type != "Bundle" {
		return fhir.NewProblem(fhir.Invalid, "invalid", "the body must be a Bundle")
	}
	entries := res.Root.Get("entry").List()
	if len(entries) > maxEntries {
		return fhir.NewProblem(fhir.TooLarge, "too-costly", fmt.Sprintf("a Bundle may have at most %d entries", maxEntries))
	}
	switch res.Root.Get("type").Text() {
	case "transaction":
		return k.transaction(entries)
	case "batch":
		return k.batch(entries)
	}
	return fhir.NewProblem(fhir.Invalid, "invalid", "the Bundle must be of type batch or transaction").At("Bundle.type")
}

// batch runs each entry as a request of its own, with this request's token, through the whole pipeline.
func (k *call) batch(entries []fhir.Node) error {
	parts := make([]release.Part, 0, len(entries))
	for i, e := range entries {
		part, err := k.alone(i, e)
		if err != nil {
			return atEntry(i, err)
		}
		parts = append(parts, part)
	}
	k.respond(http.StatusOK, release.Responses("batch-response", parts))
	return nil
}

// atEntry says which entry a problem is about.
func atEntry(i int, err error) error {
	p := problem(err)
	out := &fhir.Problem{Category: p.Category}
	for _, issue := range p.Issues {
		where := fmt.Sprintf("Bundle.entry[%d]", i)
		if issue.Expression != "" {
			where += " " + issue.Expression
		}
		out.Issues = append(out.Issues, fhir.Issue{Code: issue.Code, Text: issue.Text, Expression: where})
	}
	return out.Because(err)
}
