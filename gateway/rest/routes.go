package rest

import (
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"trellis/auth/smart"
)

// route is one row of the table: what it is called in FHIR, which scope verb it needs on its type (G1),
// and what serves it. A route without a serve function is public and carries no patient data. Several rows may have one
// method and path, each on other types.
type route struct {
	method, path string
	interaction  string
	conditional  bool // takes a condition: If-None-Exist, or criteria in the URL
	verb         smart.Verb
	on           []string // of an operation: the types it is offered on; empty, not nil, for one on the system
	definition   string   // of an operation outside the table of operations: where it is defined
	anyFormat    bool     // what it answers with is no resource: Accept is not asked
	serve        func(*call) error
	public       func(*gin.Context)
}

// routes is the whole HTTP surface. The CapabilityStatement is generated from it, and a test asks every
// route that is not public without a token and with a token of no scope.
func (s *Server) routes() []route {
	table := []route{
		{method: "GET", path: "/healthz", interaction: "health", public: s.health},
		{method: "GET", path: "/fhir/metadata", interaction: "capabilities", public: s.metadata},

		{method: "GET", path: "/fhir/:type/:id", interaction: "read", conditional: true, verb: smart.Read, serve: (*call).read},
		{method: "HEAD", path: "/fhir/:type/:id", interaction: "read", conditional: true, verb: smart.Read, serve: (*call).read},
		{method: "GET", path: "/fhir/:type/:id/_history/:version", interaction: "vread", verb: smart.Read, serve: (*call).vread},
		{method: "HEAD", path: "/fhir/:type/:id/_history/:version", interaction: "vread", verb: smart.Read, serve: (*call).vread},
		{method: "GET", path: "/fhir/:type/:id/_history", interaction: "history-instance", verb: smart.Read, serve: (*call).history},
		{method: "GET", path: "/fhir/:type/_history", interaction: "history-type", verb: smart.Search, serve: (*call).history},
		{method: "GET", path: "/fhir/_history", interaction: "history-system", verb: smart.Search, serve: (*call).history},
		{method: "GET", path: "/fhir/:type", interaction: "search-type", verb: smart.Search, serve: (*call).search},
		{method: "HEAD", path: "/fhir/:type", interaction: "search-type", verb: smart.Search, serve: (*call).search},
		{method: "POST", path: "/fhir/:type/_search", interaction: "search-type", verb: smart.Search, serve: (*call).search},
		{method: "GET", path: "/fhir", interaction: "search-system", serve: (*call).searchSystem}, // scopes per type
		{method: "GET", path: "/fhir/", interaction: "search-system", serve: (*call).searchSystem},
		{method: "POST", path: "/fhir/_search", interaction: "search-system", serve: (*call).searchSystem},
		{method: "GET", path: "/fhir/:type/:id/:member", interaction: "search-type", serve: (*call).searchCompartment}, // scope of the member type
		{method: "POST", path: "/fhir/:type", interaction: "create", conditional: true, verb: smart.Create, serve: (*call).create},
		{method: "PUT", path: "/fhir/:type/:id", interaction: "update", verb: smart.Update, serve: (*call).update},
		{method: "PUT", path: "/fhir/:type", interaction: "update", conditional: true, verb: smart.Update, serve: (*call).updateWhere},
		{method: "PATCH", path: "/fhir/:type/:id", interaction: "patch", verb: smart.Update, serve: (*call).patchByID},
		{method: "PATCH", path: "/fhir/:type", interaction: "patch", conditional: true, verb: smart.Update, serve: (*call).patchWhere},
		{method: "DELETE", path: "/fhir/:type/:id", interaction: "delete", verb: smart.Delete, serve: (*call).delete},
		{method: "DELETE", path: "/fhir/:type", interaction: "delete", conditional: true, verb: smart.Delete, serve: (*call).deleteWhere},
		{method: "POST", path: "/fhir", interaction: "transaction", serve: (*call).bundle}, // scopes per entry
		{method: "POST", path: "/fhir/", interaction: "transaction", serve: (*call).bundle},

		{method: "POST", path: "/intake/:kind", interaction: "intake", serve: (*call).intake},                          // scopes per resource made
		{method: "GET", path: "/intake/:kind", interaction: "intake-list", anyFormat: true, serve: (*call).intakeList}, // scopes per type that can be made
		{method: "GET", path: "/intake/:kind/*key", interaction: "intake-record", anyFormat: true, serve: (*call).intakeRecord},
	}
	table = append(table, s.authorizationRoutes()...)
	table = append(table, operationRoutes()...)
	table = append(table, bulkRoutes()...)
	table = append(table, subscriptionRoutes()...)
	table = append(table, s.decideRoutes()...)
	table = append(table, mappingRoutes()...)
	return append(table, s.preflights(table)...)
}

// preflights are the OPTIONS routes: one for each path of FHIR and of what apps call of the authorization server.
func (s *Server) preflights(table []route) []route {
	var out []route
	for _, r := range table {
		same := func(have route) bool { return have.path == r.path }
		if (strings.HasPrefix(r.path, "/fhir") || crossOriginEndpoint(r.path)) && !slices.ContainsFunc(out, same) {
			out = append(out, route{method: "OPTIONS", path: r.path, interaction: "preflight", public: s.preflight})
		}
	}
	return out
}

// byPath puts rows of one method and path together, in the order of the table.
func byPath(table []route) [][]route {
	var out [][]route
	for _, r := range table {
		i := slices.IndexFunc(out, func(rows []route) bool { return rows[0].method == r.method && rows[0].path == r.path })
		if i < 0 {
			out = append(out, []route{r})
			continue
		}
		out[i] = append(out[i], r)
	}
	return out
}
