package rest

import (
	"github.com/google/uuid"

	"trellis/auth/smart"
	"trellis/fhir"
)

// create serves POST [base]/[type] (https://hl7.org/fhir/R4/http.html#create). The id is the server's. With
// If-None-Exist it is a conditional create (https://hl7.org/fhir/R4/http.html#ccreate): a record of the writer's own
// that matches is the answer, and nothing is made.
func (k *call) create() error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	res, err := k.resource(k.c.Param("type"))
	if err != nil {
		return err
	}
	op, err := k.createOperation(res, k.c.GetHeader("If-None-Exist"))
	if err != nil {
		return err
	}
	return k.write(op)
}

func (k *call) createOperation(res *fhir.Resource, ifNoneExist string) (operation, error) {
	op := operation{verb: smart.Create, typ: res.Type, id: uuid.NewString(), res: res}
	if ifNoneExist == "" {
		return op, nil
	}
	var err error
	op.when, err = k.criteria(res.Type, ifNoneExist)
	return op, err
}
