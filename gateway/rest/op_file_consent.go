package rest

import (
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"trellis/auth/consent"
	"trellis/auth/smart"
	"trellis/fhir"
)

// fileConsent serves POST Consent/$fileConsent (after HL7 FAST's operation of the name): it records a Consent with the document
// that was signed, together or not at all, as the caller's, and says what the instrument lacks and with what it conflicts. An
// instrument with missing elements is stored and permits nothing (2.31(c)).
//
//	consent   a Consent
//	document  a DocumentReference with the bytes in it, or a Binary
func (k *call) fileConsent() error {
	in, err := k.inputs("consent", "document")
	if err != nil {
		return err
	}
	if k.caller.principal.Organization.ID == "" {
		return forbidden()
	}
	read, doc, err := k.offered(in)
	if err != nil {
		return err
	}
	signed, err := k.signedDocument(in, read.Patient.ID, true)
	if err != nil {
		return err
	}
	if read.Source.SHA256 != "" && read.Source.SHA256 != signed.sha256 {
		return unprocessable("the document is not the one the Consent has the hash of", "Consent.extension")
	}
	delete(doc, "id")
	delete(doc, "sourceAttachment")
	doc["sourceReference"] = map[string]any{"reference": signed.reference}
	if read.Source.SHA256 == "" {
		extended(doc, consent.ExtDocument, map[string]any{"url": "sha256", "valueString": signed.sha256})
	}
	res, err := k.written(doc)
	if err != nil {
		return err
	}
	out, err := k.transact(append([]operation{{verb: smart.Create, typ: "Consent", id: uuid.NewString(), res: res}}, signed.ops...))
	if err != nil {
		return err
	}
	stored := consent.Read(out[0].ID, int(out[0].Version), out[0].Updated, out[0].Doc, k.s.Base)
	k.reportConsent(out[0])
	var answer results
	answer.add("consent", "valueReference", append(append([]byte(`{"reference":`), fhir.Quote("Consent/"+out[0].ID)...), '}'))
	answer.add("document", "valueReference", append(append([]byte(`{"reference":`), fhir.Quote(out[1].Type+"/"+out[1].ID)...), '}'))
	answer.text("sha256", "valueString", stored.Source.SHA256)
	answer.findings(stored.Validate(), k.conflicts)
	k.c.Writer.Header().Set("Location", k.s.Base+"/"+location(out[0]))
	k.s.send(k.c, http.StatusCreated, fhir.ContentType+"; charset=utf-8", answer.body())
	return nil
}

// offered reads the parameter consent: a Consent that can be read, and is about a patient.
func (k *call) offered(in inputs) (consent.Consent, map[string]any, error) {
	n, err := in.node("consent")
	if err != nil {
		return consent.Consent{}, nil, err
	}
	res, err := k.parsed(n, "consent")
	if err != nil {
		return consent.Consent{}, nil, err
	}
	if res.Type != "Consent" {
		return consent.Consent{}, nil, unprocessable("the parameter consent must be a Consent", "consent")
	}
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return consent.Consent{}, nil, err
	}
	read := consent.Read(res.ID, 0, now, res.JSON, k.s.Base)
	switch {
	case read.Broken:
		return read, nil, unprocessable("the Consent cannot be read whole: it would refuse everything", "Consent")
	case read.Patient.Type != "Patient" || res.Root.Path("patient", "reference").IsZero():
		return read, nil, unprocessable("the Consent must name its patient by a reference to a Patient", "Consent.patient")
	}
	doc, err := unpacked(res.JSON)
	return read, doc, err
}

// written is a resource that was changed here, checked as if it had come so.
func (k *call) written(doc map[string]any) (*fhir.Resource, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return k.s.Parser.Parse(body)
}
