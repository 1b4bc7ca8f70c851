package rest

import (
	"slices"
	"strings"

	"trellis/auth/smart"
	"trellis/fhir"
)

// offered is one operation (https://hl7.org/fhir/R4/operations.html): where it can be called and what serves it.
type offered struct {
	name     string // with its $
	on       []string
	levels   string // of t(ype) and i(nstance)
	methods  string // GET, POST or both
	verb     smart.Verb
	serve    func(*call) error
	resource bool // defined once for all types: http://hl7.org/fhir/OperationDefinition/Resource-...
	ours     bool // defined by this server
}

// operations is the table of operations. One without a verb asks for its scopes itself.
func operations() []offered {
	coded := []string{"CodeSystem", "ValueSet"}
	everything := []string{"Patient", "Encounter", "EpisodeOfCare"}
	return []offered{
		{name: "$everything", on: everything, levels: "i", methods: "GET POST", verb: smart.Read | smart.Search, serve: (*call).everything},
		{name: "$match", on: []string{"Patient"}, levels: "t", methods: "POST", verb: smart.Read | smart.Search, serve: (*call).match},
		{name: "$lastn", on: []string{"Observation"}, levels: "t", methods: "GET POST", verb: smart.Search, serve: (*call).lastn},
		{name: "$document", on: []string{"Composition"}, levels: "i", methods: "GET POST", verb: smart.Read, serve: (*call).document},
		{name: "$meta", resource: true, levels: "i", methods: "GET", verb: smart.Read, serve: (*call).meta},
		{name: "$meta-add", resource: true, levels: "i", methods: "POST", verb: smart.Update, serve: (*call).metaAdd},
		{name: "$meta-delete", resource: true, levels: "i", methods: "POST", verb: smart.Update, serve: (*call).metaDelete},
		{name: "$validate", resource: true, levels: "t", methods: "POST", serve: (*call).validate},
		{name: "$validate", resource: true, levels: "i", methods: "GET POST", serve: (*call).validate},
		{name: "$lookup", on: []string{"CodeSystem"}, levels: "t", methods: "GET POST", verb: smart.Read, serve: (*call).lookupCode},
		{name: "$validate-code", on: coded, levels: "ti", methods: "GET POST", verb: smart.Read, serve: (*call).validateCode},
		{name: "$subsumes", on: []string{"CodeSystem"}, levels: "ti", methods: "GET POST", verb: smart.Read, serve: (*call).subsumes},
		{name: "$expand", on: []string{"ValueSet"}, levels: "ti", methods: "GET POST", verb: smart.Read, serve: (*call).expand},
		{name: "$explain", resource: true, levels: "i", methods: "GET", verb: smart.Read, serve: (*call).explain, ours: true},
		{name: opBreakGlass, on: []string{"Patient"}, levels: "i", methods: "POST", verb: smart.Read, serve: (*call).breakGlass, ours: true},
		{name: "$project", on: []string{"Consent"}, levels: "i", methods: "GET", verb: smart.Read, serve: (*call).project, ours: true},
		{name: "$fileConsent", on: []string{"Consent"}, levels: "t", methods: "POST", verb: smart.Create, serve: (*call).fileConsent, ours: true},
		{name: "$revokeConsent", on: []string{"Consent"}, levels: "ti", methods: "POST", verb: smart.Update, serve: (*call).revokeConsent, ours: true},

		{name: "$preview", on: []string{"Consent"}, levels: "t", methods: "POST", verb: smart.Read, serve: (*call).preview, ours: true},
		{name: "$translate", on: []string{"ConceptMap"}, levels: "ti", methods: "GET POST", verb: smart.Read, serve: (*call).translate},
	}
}

// definition is the canonical URL of an operation's definition on a type.
func (o offered) definition(typ string) string {
	if o.resource {
		typ = "Resource"
	}
	if o.ours {
		return fhir.LocalBase + "/OperationDefinition/" + typ + "-" + strings.TrimPrefix(o.name, "$")
	}
	return "http://hl7.org/fhir/OperationDefinition/" + typ + "-" + strings.TrimPrefix(o.name, "$")
}

// types lists the types an operation is offered on.
func (o offered) types() []string {
	if o.resource {
		return fhir.Types()
	}
	return o.on
}

// operationRoutes are the operations as rows of the route table.
func operationRoutes() []route {
	var out []route
	for _, o := range operations() {
		for _, level := range o.levels {
			path := "/fhir/:type/" + o.name
			if level == 'i' {
				path = "/fhir/:type/:id/" + o.name
			}
			for _, method := range strings.Fields(o.methods) {
				out = append(out, route{method: method, path: path, interaction: o.name, verb: o.verb, on: o.types(), serve: o.serve})
			}
		}
	}
	return out
}

// offers refuses a route on a type it is not for. A route that is on no type is not about one.
func (r route) offers(typ string) error {
	if len(r.on) == 0 || slices.Contains(r.on, typ) {
		return nil
	}
	return fhir.NewProblem(fhir.NotFound, "not-supported", "no such operation on this type")
}
