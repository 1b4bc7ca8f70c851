package rest

import (
	"net/http"
	"strings"

	"trellis/fhir"
)

// The values of Prefer: return (https://hl7.org/fhir/R4/http.html#ops).
const (
	returnMinimal        = "minimal"
	returnRepresentation = "representation"
	returnOutcome        = "OperationOutcome"
)

// preferences reads the Prefer headers. What is not known is passed over, as RFC 7240 says.
func (k *call) preferences() {
	for _, header := range k.c.Request.Header.Values("Prefer") {
		for _, p := range strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ';' }) {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "return":
				switch value {
				case returnMinimal, returnRepresentation, returnOutcome:
					k.prefer = value
				}
			case "handling":
				k.lenient = value == "lenient"
			}
		}
	}
}

// done is the outcome of a write that a client asked for in place of the resource.
func done(text string) []byte {
	return fhir.Outcome("information", []fhir.Issue{{Code: "informational", Text: text}})
}

// respondDone answers a write without the resource.
func (k *call) respondDone(status int, text string) {
	k.c.Writer.Header().Set("Preference-Applied", "return="+k.prefer)
	if k.prefer == returnOutcome {
		if status == http.StatusNoContent {
			status = http.StatusOK
		}
		k.s.send(k.c, status, fhir.ContentType+"; charset=utf-8", done(text))
		return
	}
	k.c.Status(status)
	k.c.Writer.WriteHeaderNow()
}
