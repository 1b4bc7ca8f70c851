package rest

import (
	"strconv"
	"strings"

	"trellis/auth/smart"
	"trellis/fhir"
)

// update serves PUT [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#update). Only the custodian
// may change a resource; to others a resource that exists and one that does not answer alike.
func (k *call) update() error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	op, err := k.updateOperation(k.c.Param("id"))
	if err != nil {
		return err
	}
	if op.res.ID != op.id {
		return fhir.NewProblem(fhir.Invalid, "invalid", "the id in the body is not the id in the URL").At(op.typ + ".id")
	}
	return k.write(op)
}

// updateWhere serves PUT [base]/[type]?criteria (https://hl7.org/fhir/R4/http.html#cond-update).
func (k *call) updateWhere() error {
	op, err := k.updateOperation("")
	if err != nil {
		return err
	}
	if op.when, err = k.criteria(op.typ, k.c.Request.URL.RawQuery); err != nil {
		return err
	}
	return k.write(op)
}

func (k *call) updateOperation(id string) (operation, error) {
	res, err := k.resource(k.c.Param("type"))
	if err != nil {
		return operation{}, err
	}
	if err := wholeCopy(res); err != nil {
		return operation{}, err
	}
	op := operation{verb: smart.Update, typ: res.Type, id: id, res: res}
	op.ifMatch, err = ifMatch(k.c.GetHeader("If-Match"))
	return op, err
}

// wholeCopy refuses, as an update, what is tagged as a part of a record: what it lacks would be lost
// (https://hl7.org/fhir/R4/search.html#elements).
func wholeCopy(res *fhir.Resource) error {
	meta := res.Root.Get("meta")
	for _, tag := range append(meta.Get("tag").List(), meta.Get("security").List()...) {
		if code := tag.Get("code").Text(); tag.Get("system").Text() == fhir.SystemObservation && (code == "SUBSETTED" || code == "REDACTED") {
			return fhir.NewProblem(fhir.Unprocessable, "business-rule", "the body is tagged as a part of the record; an update takes the whole").At(res.Type + ".meta")
		}
	}
	return nil
}

// ifMatch reads a weak ETag as versions are given out, W/"3"; 0 when there is none.
func ifMatch(header string) (int64, error) {
	if header == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(header, "W/"), `"`), 10, 64)
	if err != nil || n < 1 {
		return 0, fhir.NewProblem(fhir.Invalid, "invalid", `If-Match must be a version as in W/"3"`)
	}
	return n, nil
}
