package rest

import (
	"net/http"
	"strconv"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/bulk"
)

// bulkRoutes are Bulk Data's rows of the route table (https://hl7.org/fhir/uv/bulkdata/STU2/). A job is asked about
// outside of the FHIR base; which types a token must be allowed is each handler's to ask.
func bulkRoutes() []route {
	const defined = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"
	patient, group := []string{"Patient"}, []string{"Group"}
	var out []route
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		out = append(out,
			route{method: method, path: "/fhir/$export", interaction: bulk.System, on: []string{}, definition: defined + "export", serve: (*call).exportSystem}, // scopes per type
			route{method: method, path: "/fhir/:type/$export", interaction: bulk.Patient, verb: smart.Read | smart.Search, on: patient, definition: defined + "patient-export", serve: (*call).exportPatients},
			route{method: method, path: "/fhir/:type/:id/$export", interaction: bulk.Group, verb: smart.Read, on: group, definition: defined + "group-export", serve: (*call).exportGroup})
	}
	return append(out,
		route{method: http.MethodGet, path: "/fhir/:type/:id/$status", interaction: "$status", verb: smart.Read, on: []string{"SearchParameter"}, definition: fhir.LocalBase + "/OperationDefinition/SearchParameter-status", serve: (*call).parameterStatus},
		route{method: http.MethodGet, path: "/bulk/:job", interaction: "bulk-status", on: []string{}, serve: (*call).bulkStatus},
		route{method: http.MethodDelete, path: "/bulk/:job", interaction: "bulk-cancel", on: []string{}, serve: (*call).bulkCancel},
		route{method: http.MethodGet, path: "/bulk/:job/:file", interaction: "bulk-file", anyFormat: true, on: []string{}, serve: (*call).bulkFile})
}

// tooMany answers 429: the client may go on after some seconds.
func (k *call) tooMany(seconds int, text string) error {
	k.c.Writer.Header().Set("Retry-After", strconv.Itoa(seconds))
	k.s.send(k.c, http.StatusTooManyRequests, fhir.ContentType+"; charset=utf-8", fhir.Outcome("error", []fhir.Issue{{Code: "throttled", Text: text}}))
	return nil
}
