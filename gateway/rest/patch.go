package rest

import (
	"encoding/json"
	"errors"
	"mime"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/path"
)

// jsonPatch is the media type of RFC 6902.
const jsonPatch = "application/json-patch+json"

// patchByID serves PATCH [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#patch): a JSON Patch, or a FHIRPath Patch in a
// Parameters resource (https://hl7.org/fhir/R4/fhirpatch.html).
func (k *call) patchByID() error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	op, err := k.patchOperation(k.c.Param("id"))
	if err != nil {
		return err
	}
	return k.write(op)
}

// patchWhere serves PATCH [base]/[type]?criteria: a conditional patch.
func (k *call) patchWhere() error {
	op, err := k.patchOperation("")
	if err != nil {
		return err
	}
	if op.when, err = k.criteria(op.typ, k.c.Request.URL.RawQuery); err != nil {
		return err
	}
	return k.write(op)
}

func (k *call) patchOperation(id string) (operation, error) {
	media, _, err := mime.ParseMediaType(k.c.GetHeader("Content-Type"))
	if err != nil || (media != jsonPatch && media != fhir.ContentType) {
		return operation{}, fhir.NewProblem(fhir.WrongMediaType, "not-supported", "a patch is "+jsonPatch+", or a Parameters resource as "+fhir.ContentType)
	}
	data, err := k.bytes()
	if err != nil {
		return operation{}, err
	}
	op := operation{verb: smart.Update, typ: k.c.Param("type"), id: id}
	if op.ifMatch, err = ifMatch(k.c.GetHeader("If-Match")); err != nil {
		return operation{}, err
	}
	op.patch, err = k.readPatch(media, data)
	return op, err
}

// readPatch checks a patch as far as it can be without the resource.
func (k *call) readPatch(media string, data []byte) (func(*fhir.Resource) ([]byte, error), error) {
	if media == jsonPatch {
		return readJSONPatch(data)
	}
	res, err := k.s.Parser.Parse(data)
	if err != nil {
		return nil, err
	}
	p, err := path.ReadPatch(res)
	if err != nil {
		return nil, err
	}
	return p.Apply, nil
}

// maxOperations bounds a patch; what its copies may add up to is bounded by the size of a resource.
const maxOperations = 1000

func readJSONPatch(data []byte) (func(*fhir.Resource) ([]byte, error), error) {
	p, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "structure", "the body is not a JSON Patch").Because(err)
	}
	for _, op := range p {
		if err := checkJSONOperation(op); err != nil {
			return nil, err
		}
	}
	if len(p) > maxOperations {
		return nil, fhir.NewProblem(fhir.TooLarge, "too-costly", "the patch has too many operations")
	}
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = fhir.MaxResourceBytes
	options.SupportNegativeIndices = false // RFC 6902 has none
	return func(res *fhir.Resource) (out []byte, err error) {
		defer func() { // the library does not withstand every patch that is well formed
			if recover() != nil {
				out, err = nil, fhir.NewProblem(fhir.Unprocessable, "processing", "the patch does not fit the resource")
			}
		}()
		out, err = p.ApplyWithOptions(res.JSON, options)
		var large *jsonpatch.AccumulatedCopySizeError
		switch {
		case err == nil:
			return out, nil
		case errors.As(err, &large):
			return nil, fhir.NewProblem(fhir.TooLarge, "too-costly", "the patch copies too much").Because(err)
		case errors.Is(err, jsonpatch.ErrTestFailed):
			return nil, fhir.NewProblem(fhir.Unprocessable, "processing", "a test of the patch fails").Because(err)
		}
		return nil, fhir.NewProblem(fhir.Unprocessable, "processing", "the patch does not fit the resource").Because(err)
	}, nil
}

// checkJSONOperation holds an operation to the members RFC 6902 demands, which the library takes for granted.
func checkJSONOperation(op jsonpatch.Operation) error {
	var needs []string
	switch op.Kind() {
	case "add", "replace", "test":
		needs = []string{"path", "value"}
	case "move", "copy":
		needs = []string{"path", "from"}
	case "remove":
		needs = []string{"path"}
	default:
		return fhir.NewProblem(fhir.Invalid, "structure", "an operation of the JSON Patch is none of add, remove, replace, move, copy and test")
	}
	for _, name := range needs {
		if raw, ok := op[name]; !ok || (name != "value" && (raw == nil || len(*raw) == 0 || (*raw)[0] != '"')) {
			return fhir.NewProblem(fhir.Invalid, "required", "an operation of the JSON Patch lacks its "+name)
		}
	}
	return nil
}

// patched applies a patch to a stored resource and checks what comes out like any resource that comes in.
func (k *call) patched(current *fhir.Resource, patch func(*fhir.Resource) ([]byte, error)) (*fhir.Resource, error) {
	doc, err := patch(current)
	if err != nil {
		return nil, err
	}
	if !json.Valid(doc) {
		return nil, fhir.NewProblem(fhir.Unprocessable, "processing", "the patch does not leave a resource")
	}
	res, err := k.s.Parser.Parse(doc)
	if err != nil {
		var p *fhir.Problem
		if errors.As(err, &p) && p.Category == fhir.Invalid {
			return nil, (&fhir.Problem{Category: fhir.Unprocessable, Issues: p.Issues}).Because(err)
		}
		return nil, err
	}
	if res.Type != current.Type || res.ID != current.ID {
		return nil, fhir.NewProblem(fhir.Unprocessable, "business-rule", "a patch may change neither resourceType nor id")
	}
	return res, nil
}
