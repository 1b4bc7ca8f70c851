package rest

import (
	"trellis/auth/smart"
)

// delete serves DELETE [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#delete).
func (k *call) delete() error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	op := operation{verb: smart.Delete, typ: k.c.Param("type"), id: k.c.Param("id")}
	var err error
	if op.ifMatch, err = ifMatch(k.c.GetHeader("If-Match")); err != nil {
		return err
	}
	return k.write(op)
}

// deleteWhere serves DELETE [base]/[type]?criteria (https://hl7.org/fhir/R4/http.html#3.1.0.7.1). One match is deleted,
// none is no fault, and several are refused: one request deletes one resource.
func (k *call) deleteWhere() error {
	op := operation{verb: smart.Delete, typ: k.c.Param("type")}
	var err error
	if op.ifMatch, err = ifMatch(k.c.GetHeader("If-Match")); err != nil {
		return err
	}
	if op.when, err = k.criteria(op.typ, k.c.Request.URL.RawQuery); err != nil {
		return err
	}
	return k.write(op)
}
