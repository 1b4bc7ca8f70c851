package release

import (
	"strconv"
	"time"

	"trellis/fhir"
)

// Part is one entry of a batch or transaction response. Body is what this gate released for it, or an
// OperationOutcome when IsOutcome; a write's has none unless the client asked for one.
type Part struct {
	Status    string
	Location  string
	Version   int64
	ETag      string // where Version is not known
	Updated   time.Time
	Body      []byte
	IsOutcome bool
}

// Responses puts parts together. It adds nothing about patients: each part was released or made by its
// own writer, and logged, before.
func Responses(bundleType string, parts []Part) *Released {
	out := []byte(`{"resourceType":"Bundle","type":"` + bundleType + `"`)
	for i, p := range parts {
		if i == 0 {
			out = append(out, `,"entry":[`...)
		} else {
			out = append(out, ',')
		}
		out = append(out, '{')
		if len(p.Body) > 0 && !p.IsOutcome {
			out = append(append(append(out, `"resource":`...), p.Body...), ',')
		}
		out = append(out, `"response":{"status":`...)
		out = append(out, fhir.Quote(p.Status)...)
		if p.Location != "" {
			out = append(append(out, `,"location":`...), fhir.Quote(p.Location)...)
		}
		if p.Version != 0 {
			p.ETag = `W/"` + strconv.FormatInt(p.Version, 10) + `"`
		}
		if p.ETag != "" {
			out = append(append(out, `,"etag":`...), fhir.Quote(p.ETag)...)
		}
		if !p.Updated.IsZero() {
			out = append(out, `,"lastModified":"`+p.Updated.UTC().Format(fhir.InstantLayout)+`"`...)
		}
		if p.IsOutcome && len(p.Body) > 0 {
			out = append(append(out, `,"outcome":`...), p.Body...)
		}
		out = append(out, "}}"...)
	}
	if len(parts) > 0 {
		out = append(out, ']')
	}
	return &Released{body: append(out, '}')}
}
