package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/google/uuid"

	"trellis/auth/smart"
	"trellis/fhir"
)

// artefact is a signed document on its way into the records: the writes that store it, what refers to it and its hash.
type artefact struct {
	ops       []operation
	reference string
	sha256    string // of the bytes, hex
}

// unprocessable is the refusal of well-formed content; at is an element path.
func unprocessable(text, at string) error {
	return fhir.NewProblem(fhir.Unprocessable, "business-rule", text).At(at)
}

// signedDocument reads the parameter document: a DocumentReference with the bytes in it, or a Binary, that gets a DocumentReference of
// its own. The patient is the one it is about. Both are the writer's records.
func (k *call) signedDocument(in inputs, patient string, required bool) (artefact, error) {
	n, err := in.node("document")
	if err != nil {
		return artefact{}, err
	}
	if n.IsZero() {
		if required {
			return artefact{}, unprocessable("the signed document is missing", "document")
		}
		return artefact{}, nil
	}
	res, err := k.parsed(n, "document")
	if err != nil {
		return artefact{}, err
	}
	if err := k.allow("DocumentReference", smart.Create); err != nil {
		return artefact{}, err
	}
	a := artefact{reference: "DocumentReference/" + uuid.NewString()}
	switch res.Type {
	case "Binary":
		return a, k.binaryDocument(&a, res, patient)
	case "DocumentReference":
		return a, k.referredDocument(&a, res, patient)
	}
	return a, unprocessable("the document must be a DocumentReference with its bytes, or a Binary", "document")
}

func (k *call) binaryDocument(a *artefact, res *fhir.Resource, patient string) error {
	if err := k.allow("Binary", smart.Create); err != nil {
		return err
	}
	if err := a.hash(res.Root.Get("data")); err != nil {
		return err
	}
	binary := uuid.NewString()
	doc, err := json.Marshal(map[string]any{"resourceType": "DocumentReference", "status": "current", "subject": map[string]any{"reference": "Patient/" + patient},
		"type":    map[string]any{"coding": []any{map[string]any{"system": fhir.SystemLOINC, "code": "59284-0"}}},
		"content": []any{map[string]any{"attachment": map[string]any{"contentType": res.Root.Get("contentType").Text(), "url": "Binary/" + binary}}}})
	if err != nil {
		return err
	}
	ref, err := k.s.Parser.Parse(doc)
	if err != nil {
		return err
	}
	a.ops = []operation{{verb: smart.Create, typ: "DocumentReference", id: a.reference[len("DocumentReference/"):], res: ref}, {verb: smart.Create, typ: "Binary", id: binary, res: res}}
	return nil
}

func (k *call) referredDocument(a *artefact, res *fhir.Resource, patient string) error {
	content := res.Root.Get("content").List()
	if len(content) != 1 {
		return unprocessable("the document must have one content", "DocumentReference.content")
	}
	if err := a.hash(content[0].Path("attachment", "data")); err != nil {
		return err
	}
	if about := res.Root.Path("subject", "reference").Text(); !k.isPatient(about, patient) {
		return unprocessable("the document must be about the Consent's patient", "DocumentReference.subject")
	}
	a.ops = []operation{{verb: smart.Create, typ: "DocumentReference", id: a.reference[len("DocumentReference/"):], res: res}}
	return nil
}

func (k *call) isPatient(reference, id string) bool {
	ref, ok := fhir.ParseReference(reference, k.s.Base)
	return ok && ref == fhir.Reference{Type: "Patient", ID: id}
}

// hash takes the SHA-256 of the bytes.
func (a *artefact) hash(data fhir.Node) error {
	raw, err := base64.StdEncoding.DecodeString(data.Text())
	if err != nil || len(raw) == 0 {
		return unprocessable("the document has no bytes", "document")
	}
	sum := sha256.Sum256(raw)
	a.sha256 = hex.EncodeToString(sum[:])
	return nil
}

// parsed checks a resource that came as a parameter.
func (k *call) parsed(n fhir.Node, name string) (*fhir.Resource, error) {
	if n.IsZero() {
		return nil, unprocessable("the parameter "+name+" is missing", name)
	}
	return k.s.Parser.Parse(n.Raw())
}

// unpacked is a resource taken apart, to be changed and written again.
func unpacked(doc []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var out map[string]any
	err := d.Decode(&out)
	return out, err
}

// extended adds an extension to a resource.
func extended(resource map[string]any, url string, parts ...any) {
	list, _ := resource["extension"].([]any)
	resource["extension"] = append(list, map[string]any{"url": url, "extension": parts})
}
