package rest

import (
	"net/http"
	"strconv"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/store"
)

// A SearchParameter changes what every search of the deployment can ask and costs every write: the operator alone
// writes them. Everybody may read them, like the rest of the directory. One that is active must be one this server can
// serve; its index rows are made in the background, and until they are there a search by it is an error.

// mayDefine refuses writes of SearchParameters by any other than the operator, before data is looked at (G1).
func (k *call) mayDefine(ops []operation) error {
	for _, op := range ops {
		if op.typ == "SearchParameter" && k.caller.principal.Organization.ID != access.OperatorID {
			return fhir.NewProblem(fhir.Forbidden, "forbidden", "the token does not allow this")
		}
	}
	return nil
}

// defines refuses a SearchParameter that could not be served.
func (k *call) defines(res *fhir.Resource) error {
	if res.Type != "SearchParameter" {
		return nil
	}
	def, active, err := store.CustomParameter(res.Root)
	if err != nil || !active {
		return err
	}
	return k.s.Registry.Check(def)
}

// parameterStatus serves [base]/SearchParameter/[id]/$status, an operation of this server: how far the index rows of a
// custom search parameter are made. The resource is read, decided about and logged as any other.
func (k *call) parameterStatus() error {
	if k.c.Param("type") != "SearchParameter" {
		return fhir.NewProblem(fhir.NotFound, "not-supported", "no such operation on this type")
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, "SearchParameter", k.c.Param("id"), 0)
	if err != nil {
		return err
	}
	if _, err := k.s.Gate.Resource(k.ctx, k.req, target); err != nil {
		return err
	}
	status, err := k.s.Store.ParameterStatus(k.ctx, k.c.Param("id"))
	if err != nil {
		return err
	}
	body := []byte(`{"resourceType":"Parameters","parameter":[{"name":"state","valueCode":"` + status.State + `"},{"name":"done","valueDecimal":`)
	body = strconv.AppendInt(body, status.Done, 10)
	body = append(body, `},{"name":"total","valueDecimal":`...)
	body = append(strconv.AppendInt(body, status.Total, 10), `}]}`...)
	k.s.send(k.c, http.StatusOK, fhir.ContentType+"; charset=utf-8", body)
	return nil
}
