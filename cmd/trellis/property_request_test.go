package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// looks are searches of a type, of which % stands for a Patient id, @ for a record's reference and # for its id. Those after "!" are true of what a
// record lacks: with fewer references they can match more.
var looks = map[string][]string{
	"Condition":         {"patient=%", "patient=%&code=F11.20", "code=F11.20&subject=Patient/%", "patient=%&recorded-date=ge2026-02-01", "patient=%&encounter=@", "patient=%&_has:Provenance:target:agent=Organization/otp", "patient=%&_has:Encounter:diagnosis:status=finished", "patient=%&_has:CarePlan:condition:status=active", "patient.name=zqcanary&patient=%", "patient=%&encounter.status=finished", "!patient=%&code:not=I10", "!patient=%&encounter:missing=true", "patient=%&_filter=code%20eq%20F11.20%20or%20code%20eq%20I10", "!patient=%&_filter=not%20(code%20eq%20F11.20)", "patient=%&_filter=code%20ne%20I10", "!patient=%&_list:missing=true", "patient=%&_security:missing=false", "patient=%&_security=42CFRPart2", "!patient=%&_security:not=42CFRPart2", "identifier=urn:example:record|#", "patient=%&_content=zqcanary"},
	"Observation":       {"patient=%", "patient=%&focus=@", "focus=@", "patient=%&code=85354-9&date=ge2026-01-01", "patient=%&value-quantity=gt3", "patient=%&code-value-quantity=85354-9$gt2", "subject:Patient._has:Condition:patient:code=F11.20&patient=%", "patient=%&focus:Condition.code=F11.20", "!patient=%&focus:missing=true", "patient=%&_has:DiagnosticReport:result:status=final"},
	"MedicationRequest": {"patient=%", "patient=%&encounter=@", "patient=%&encounter.diagnosis:Condition.code=F11.20", "patient=%&code=1819", "encounter:missing=false&patient=%", "patient=%&_list=#", "patient=%&_has:CarePlan:activity-reference:status=active"},
	"Encounter":         {"patient=%", "patient=%&diagnosis=@", "diagnosis:Condition.code=F11.20&patient=%", "patient=%&service-provider=Organization/otp", "patient=%&service-provider:missing=false", "!patient=%&diagnosis:missing=true", "patient=%&date=ge2026-02-01"},
	"CarePlan":          {"patient=%", "patient=%&condition=@", "condition=@", "patient=%&activity-reference=@", "patient=%&condition.code=F11.20", "patient=%&condition:missing=false", "!patient=%&condition:missing=true", "patient=%&_text=words", "patient=%&_content=about"},
	"List":              {"patient=%", "patient=%&item=@", "item=@", "patient=%&item:missing=false"},
	"Provenance":        {"patient=%", "target=@", "patient=%&target=@", "patient=%&agent=Organization/otp"},
	"DiagnosticReport":  {"patient=%", "patient=%&result=@", "patient=%&result.code=85354-9"},
	"DocumentReference": {"patient=%", "subject=Patient/%"},
	"Goal":              {"patient=%", "patient=%&start-date=ge2026-01-01"},
	"Procedure":         {"patient=%", "patient=%&reason-reference=@", "patient=%&reason-reference:Condition.code=F11.20"},
	"AuditEvent":        {"patient=%", "entity=@", "patient=%&entity=@"},
	"Patient":           {"_id=%", "_id=%&_has:Condition:patient:code=F11.20", "_id=%&_has:Observation:patient:focus=@", "identifier=urn:example:mrn|%", "_id=%&organization=Organization/otp", "_id=%&organization.name=Fixture", "_id=%&general-practitioner:missing=false"},
	"Organization":      {"_id=otp&_has:Encounter:service-provider:patient=%", "_id=otp&_has:Patient:organization:_id=%"},
}

var lookTypes = []string{"Condition", "Condition", "Observation", "MedicationRequest", "Encounter", "CarePlan", "List", "Provenance", "DiagnosticReport", "DocumentReference", "Goal", "Procedure", "AuditEvent", "Patient", "Organization"}

// sorts, and what includes may add.
var (
	sorts = map[string][]string{"Condition": {"recorded-date", "-code", "_id", "-_lastUpdated"}, "Observation": {"-date", "code", "_id"}, "MedicationRequest": {"-authoredon", "_id"},
		"Encounter": {"date", "-_id"}, "CarePlan": {"-date", "_id"}, "Procedure": {"date"}, "DiagnosticReport": {"-date"}}
	includes = map[string][]string{"Condition": {"_include=Condition:encounter", "_include=*", "_revinclude=Provenance:target", "_revinclude=CarePlan:condition", "_revinclude=Encounter:diagnosis", "_include=Condition:encounter&_include:iterate=Encounter:diagnosis"},
		"Observation":       {"_include=Observation:focus", "_include=*", "_revinclude=DiagnosticReport:result", "_revinclude=List:item", "_revinclude=*", "_revinclude:iterate=*"},
		"MedicationRequest": {"_include=MedicationRequest:encounter", "_revinclude=CarePlan:activity-reference", "_include=MedicationRequest:encounter&_include:iterate=Encounter:diagnosis&_revinclude:iterate=Provenance:target"},
		"Encounter":         {"_include=Encounter:diagnosis", "_include=Encounter:service-provider", "_revinclude=Condition:encounter"},
		"CarePlan":          {"_include=CarePlan:condition&_include=CarePlan:activity-reference", "_include=*"},
		"List":              {"_include=List:item", "_include=*"}, "Provenance": {"_include=Provenance:target"}, "DiagnosticReport": {"_include=DiagnosticReport:result"}, "Procedure": {"_include=Procedure:reason-reference"},
		"AuditEvent": {"_include=AuditEvent:entity"}, // what refers to an Organization is of all graphs
		"Patient":    {"_revinclude=Condition:patient&_revinclude=Observation:patient&_revinclude=CarePlan:subject", "_revinclude=Provenance:target", "_revinclude=*", "_include=Patient:organization", "_revinclude=Encounter:patient&_include:iterate=Encounter:diagnosis"}}
)

// drawSearch draws a search. positive leaves out what can match more when less is to be seen; whole leaves out pages.
func (g *graph) drawSearch(t *rapid.T, positive, whole bool) (typ, query string) {
	typ = pick(t, "searched", lookTypes...)
	var list []string
	for _, look := range looks[typ] {
		if !positive || look[0] != '!' {
			list = append(list, look)
		}
	}
	query = strings.TrimPrefix(pick(t, "look", list...), "!")
	record := pick(t, "record", append(g.records(), "Condition/nobody")...)
	_, id, _ := strings.Cut(record, "/")
	query = strings.NewReplacer("%20", "%20", "%", pick(t, "patient", append(g.people, "nobody")...), "@", record, "#", id).Replace(query)
	if list := sorts[typ]; list != nil && chance(t, "sorted", 3) {
		query += "&_sort=" + pick(t, "sort", list...)
	}
	if list := includes[typ]; list != nil && chance(t, "including", 3) {
		query += "&" + pick(t, "include", list...)
	}
	if chance(t, "more", 2) {
		options := []string{"_total=accurate", "_elements=id,meta", "_summary=true"}
		if !whole {
			options = append(options, "_count=1", "_count=2", "_count=1&_total=accurate", "_summary=count", "_total=estimate", "_count=0", "_elements=meta", "_summary=data")
		}
		query += "&" + pick(t, "option", options...)
	}
	if whole {
		query += "&_count=500"
	}
	return typ, query
}

// ties are searches that follow what a knot ties together; % is its Patient's id, ~ begins its ids, ^ is when its graph began.
var ties = []string{"Condition?patient=%&encounter.status=finished", "Condition?patient=%&encounter:missing=false", "Condition?patient=%&encounter=Encounter/~visit", "Condition?patient=%&_has:Provenance:target:agent=Organization/otp",
	"Condition?patient=%&_content=~visit", "Condition?patient=%&_include=Condition:encounter", "Condition?patient=%&_revinclude=Provenance:target", "Condition?encounter.diagnosis:Condition.code=F11.20&subject=Patient/%",
	"Observation?patient=%&focus:Condition.code=F11.20", "Observation?focus=Condition/~problem", "Observation?patient=%&focus:missing=true", "Observation?subject:Patient._has:Condition:patient:code=F11.20&patient=%",
	"CarePlan?patient=%&condition.code=F11.20", "CarePlan?condition=Condition/~problem", "CarePlan?patient=%&activity-reference:missing=false", "CarePlan?patient=%&_text=words", "CarePlan?patient=%&_include=CarePlan:condition&_include=CarePlan:activity-reference&_include:iterate=MedicationRequest:encounter",
	"MedicationRequest?patient=%&encounter.diagnosis:Condition.code=F11.20", "MedicationRequest?patient=%&encounter.status=finished", "MedicationRequest?patient=%&_has:CarePlan:activity-reference:status=active",
	"List?patient=%&item:Condition.code=F11.20", "List?item=Condition/~problem", "List?patient=%&_include=List:item", "DiagnosticReport?patient=%&result.code=85354-9", "DiagnosticReport?patient=%&result:missing=false",
	"Encounter?patient=%&service-provider:missing=false", "Encounter?patient=%&service-provider=Organization/otp", "Encounter?patient=%&diagnosis.code=F11.20", "Encounter?patient=%&_include=Encounter:service-provider", "Organization?_id=otp&_has:Encounter:service-provider:patient=%",
	"Patient?_id=%&_has:Condition:patient:code=F11.20", "Patient?_id=%&_has:MedicationRequest:patient:code=1819&_total=accurate", "Patient?_id=%&_has:Encounter:patient:service-provider=Organization/otp", "Patient?_id=%&_revinclude=Condition:patient&_revinclude=Encounter:patient",
	"Condition?code=F11.20&_lastUpdated=ge^&_total=accurate", "Condition?patient=%&_filter=not%20(code%20eq%20F11.20)&_total=accurate", "?_type=Condition,CarePlan,Encounter&_security=42CFRPart2&_lastUpdated=ge^&_summary=count", "Condition?patient=%&_sort=-recorded-date&_count=1"}

func (g *graph) tied(t *rapid.T, since string) string {
	return strings.NewReplacer("%20", "%20", "%", g.people[0], "~", g.tag, "^", since).Replace(pick(t, "tied", ties...))
}

// drawRequest draws any request that changes nothing.
func (g *graph) drawRequest(t *rapid.T, since string) request {
	record := pick(t, "record", append(g.records(), "Condition/nobody")...)
	patient := pick(t, "patient", g.people...)
	get := func(path string) request { return request{method: "GET", path: path} }
	switch pick(t, "kind", "search", "search", "search", "tied", "tied", "tied", "tied", "post", "read", "read", "vread", "history", "held", "everything", "compartment", "types", "operation", "changes") {
	case "search":
		typ, query := g.drawSearch(t, false, false)
		return get(typ + "?" + query)
	case "tied":
		return get(g.tied(t, since))
	case "post":
		typ, query := g.drawSearch(t, false, false)
		return request{method: "POST", path: typ + "/_search", body: []byte(query), contentType: "application/x-www-form-urlencoded"}
	case "read":
		return request{method: pick(t, "method", "GET", "GET", "HEAD"), path: record + pick(t, "part", "", "", "?_elements=meta", "?_summary=true")}
	case "vread":
		return get(record + "/_history/" + pick(t, "version", "1", "2", "3"))
	case "history":
		return get(record + "/_history" + pick(t, "of", "", "?_count=1", "?_since="+since, "?_at=2026-01-01"))
	case "held":
		header := pick(t, "held", map[string]string{"If-None-Match": `W/"1"`}, map[string]string{"If-None-Match": "*"}, map[string]string{"If-Modified-Since": "Wed, 01 Jan 2031 00:00:00 GMT"})
		return request{method: "GET", path: record, header: header}
	case "everything":
		return get("Patient/" + patient + "/$everything?_count=" + pick(t, "page", "1", "3", "100") + pick(t, "only", "", "&_type=Condition,Encounter,CarePlan"))
	case "compartment":
		return get("Patient/" + patient + "/" + pick(t, "member", "Condition", "Observation", "Encounter", "CarePlan") + "?_total=accurate")
	case "types":
		return get("?_type=Condition,Observation,CarePlan,Encounter&_lastUpdated=ge" + since + pick(t, "page", "", "&_count=1", "&_total=accurate", "&_summary=count", "&_security=42CFRPart2"))
	case "operation":
		return get(pick(t, "operation", record+"/$meta", record+"/$validate", "Observation/$lastn?patient="+patient, "Observation/$lastn?max=2&patient="+patient))
	}
	return get(pick(t, "changes", "_history", "Condition/_history", "Observation/_history", "CarePlan/_history") + "?_since=" + since + pick(t, "page", "", "&_count=1", "&_count=3"))
}

// drawCondition draws a conditional write whose condition can only be met by a record of the graph.
func (g *graph) drawCondition(t *rapid.T) request {
	typ, id, _ := strings.Cut(pick(t, "condition", append(g.records(), "Condition/nobody")...), "/")
	if typ == "Patient" || typ == "Provenance" || typ == "AuditEvent" {
		typ = "Condition"
	}
	where := typ + "?identifier=urn:example:record|" + id
	switch pick(t, "write", "delete", "patch", "update", "create", "put") {
	case "delete":
		return request{method: "DELETE", path: where}
	case "patch":
		return request{method: "PATCH", path: where, contentType: "application/json-patch+json", body: []byte(`[{"op":"remove","path":"/language"}]`)}
	case "put":
		body := fmt.Sprintf(`{"resourceType":"Condition","id":%q,"subject":{"reference":"Patient/%s"}}`, id, g.people[0])
		return request{method: "PUT", path: "Condition/" + id, body: []byte(body)}
	case "update":
		return request{method: "PUT", path: "Condition?identifier=urn:example:record|" + id, body: g.plain("")}
	}
	return request{method: "POST", path: "Condition", body: g.plain(""), header: map[string]string{"If-None-Exist": "identifier=urn:example:record|" + id}}
}

// plain is a record about nobody in particular of the graph.
func (g *graph) plain(id string) []byte {
	doc := map[string]any{"resourceType": "Condition", "subject": ref("Patient/" + g.people[0]), "code": concept(icd10, "I10")}
	if id != "" {
		doc["id"] = id
	}
	out, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return out
}
