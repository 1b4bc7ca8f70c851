package rest

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/intake"
	"trellis/mapping"
)

// maxFiles bounds the files of one CSV delivery.
const maxFiles = 16

// intake serves POST /intake/{kind}: a native record as application/json, or the CSV files of one
// delivery as multipart/form-data. The receipt goes to the sender alone and names no values. With lineage=true the records'
// Provenance says of every element where it comes from.
func (k *call) intake() error {
	sub := intake.Submission{
		Kind: k.c.Param("kind"), Principal: k.caller.principal, RequestID: k.req.RequestID, TokenID: k.req.TokenID,
		Allow: func(typ string) error { return k.allowAsSystem(typ, smart.Create|smart.Update) },
	}
	csv, known := k.s.Intake.Kind(sub.Kind)
	if !known {
		return fhir.NewProblem(fhir.NotFound, "not-found", "no records of this kind are taken")
	}
	var err error
	if sub.Lineage, err = k.flag("lineage"); err != nil {
		return err
	}
	if csv {
		sub.Files, err = k.files()
	} else {
		sub.JSON, err = k.body()
	}
	if err != nil {
		return err
	}
	receipt, err := k.s.Intake.Submit(k.ctx, sub)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(receipt)
	if err != nil {
		return err
	}
	k.c.Data(http.StatusOK, "application/json; charset=utf-8", doc)
	return nil
}

// flag reads a parameter that is true or false, and false when it is not given.
func (k *call) flag(name string) (bool, error) {
	switch k.c.Query(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, fhir.NewProblem(fhir.Invalid, "value", name+" must be true or false")
}

func (k *call) files() ([]mapping.File, error) {
	media, params, err := mime.ParseMediaType(k.c.GetHeader("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil, fhir.NewProblem(fhir.WrongMediaType, "not-supported", "records of this kind are CSV files, sent together as multipart/form-data")
	}
	reader, err := k.c.Request.MultipartReader()
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "structure", "the form is not well formed").Because(err)
	}
	var out []mapping.File
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fhir.NewProblem(fhir.Invalid, "structure", "the form is not well formed").Because(err)
		}
		data, err := io.ReadAll(part)
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) || len(out) == maxFiles {
			return nil, fhir.NewProblem(fhir.TooLarge, "too-costly", "the delivery is larger than this server accepts").Because(err)
		}
		if err != nil {
			return nil, fhir.NewProblem(fhir.Invalid, "structure", "the form is not well formed").Because(err)
		}
		out = append(out, mapping.File{Name: part.FileName(), Data: data})
	}
}
