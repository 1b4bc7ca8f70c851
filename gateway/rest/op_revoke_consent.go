package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"trellis/auth/consent"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
)

// revokeConsent serves POST Consent/[id]/$revokeConsent, and Consent/$revokeConsent (after HL7 FAST's operation of the name): a
// written revocation, with effect from its receipt (42 CFR 2.31(a)(6)). It makes a new version of the caller's own Consent and
// deletes nothing. What others recorded is unknown to the caller.
//
//	consent   the Consent, where the URL does not name it
//	patient   its patient, to be checked
//	received  when the revocation was received; now when absent
//	method    how it was given, in words
//	document  the revocation, as for $fileConsent
func (k *call) revokeConsent() error {
	in, err := k.inputs("consent", "patient", "received", "method", "document")
	if err != nil {
		return err
	}
	if k.caller.principal.Organization.ID == "" {
		return forbidden()
	}
	id, err := k.consentNamed(in)
	if err != nil {
		return err
	}
	r, err := k.revocation(in)
	if err != nil {
		return err
	}
	// Whom the document is about is the Consent's patient, known before the transaction makes sure of it.
	own, err := k.s.Store.Own(k.ctx, k.caller.principal.Organization.ID, "Consent", id)
	if err != nil {
		return err
	}
	if own != nil {
		ref, _ := fhir.ParseReference(own.Root.Path("patient", "reference").Text(), k.s.Base)
		if r.signed, err = k.signedDocument(in, ref.ID, false); err != nil {
			return err
		}
	}
	out, err := k.transact(append([]operation{{verb: smart.Update, typ: "Consent", id: id, patch: r.apply}}, r.signed.ops...))
	if err != nil {
		return err
	}
	k.reportConsent(out[0])
	var answer results
	answer.add("consent", "valueReference", append(append([]byte(`{"reference":`), fhir.Quote(location(out[0]))...), '}'))
	answer.text("received", "valueDateTime", r.received.Format(fhir.InstantLayout))
	k.s.send(k.c, http.StatusOK, fhir.ContentType+"; charset=utf-8", answer.body())
	return nil
}

// consentNamed is the id of the Consent an operation is about.
func (k *call) consentNamed(in inputs) (string, error) {
	id := k.c.Param("id")
	if (id == "") != in.has("consent") {
		return "", badInput("consent", "names the Consent where the URL does not")
	}
	if id != "" {
		return id, nil
	}
	ref, err := k.referenceIn(in, "consent")
	if err != nil {
		return "", err
	}
	if ref.Type != "Consent" {
		return "", badInput("consent", "is no reference to a Consent")
	}
	return ref.ID, nil
}

// referenceIn is a parameter that is a reference, as a Reference or as text.
func (k *call) referenceIn(in inputs, name string) (fhir.Reference, error) {
	if len(in.values[name]) != 1 {
		return fhir.Reference{}, badInput(name, "may be given once")
	}
	v := in.values[name][0]
	text := v.text
	if v.node.Kind == '{' {
		text = v.node.Get("reference").Text()
	}
	ref, ok := fhir.ParseReference(text, k.s.Base)
	if !ok {
		return ref, badInput(name, "is no reference to a resource of this server")
	}
	return ref, nil
}

// revocation is what was received.
type revocation struct {
	now, received time.Time
	method        string
	patient       string // Patient id the caller named, "" for none
	base          string
	signed        artefact
}

// maxMethod bounds the words on how a revocation was given.
const maxMethod = 500

func (k *call) revocation(in inputs) (*revocation, error) {
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return nil, err
	}
	r := &revocation{now: now, received: now, base: k.s.Base}
	text, err := in.text("received")
	if err != nil {
		return nil, err
	}
	if text != "" {
		at, err := search.ParseDate(strings.Replace(text, " ", "+", 1))
		if err != nil {
			return nil, badInput("received", "is not a date or an instant")
		}
		r.received = time.UnixMicro(at.Lo).UTC()
	}
	if r.received.After(now) {
		return nil, unprocessable("a revocation is recorded when it was received, not before", "received")
	}
	if r.method, err = in.text("method"); err != nil {
		return nil, err
	}
	if len(r.method) > maxMethod {
		return nil, badInput("method", "is too long")
	}
	if in.has("patient") {
		ref, err := k.referenceIn(in, "patient")
		if err != nil {
			return nil, err
		}
		r.patient = ref.ID
	}
	return r, nil
}

// apply writes the revocation into the Consent as it stands.
func (r *revocation) apply(current *fhir.Resource) ([]byte, error) {
	c := consent.Read(current.ID, 0, r.now, current.JSON, r.base)
	switch {
	case r.patient != "" && r.patient != c.Patient.ID:
		return nil, unprocessable("the Consent is another patient's", "patient")
	case c.Status == "inactive" || !c.Revoked.IsZero():
		return nil, fhir.NewProblem(fhir.Conflict, "conflict", "the Consent is revoked already")
	case r.received.Before(c.Signed):
		return nil, unprocessable("the revocation would have been received before the Consent was signed", "received")
	}
	doc, err := unpacked(current.JSON)
	if err != nil {
		return nil, err
	}
	parts := []any{map[string]any{"url": "receivedAt", "valueDateTime": r.received.Format(fhir.InstantLayout)}}
	if r.method != "" {
		parts = append(parts, map[string]any{"url": "method", "valueString": r.method})
	}
	if r.signed.sha256 != "" {
		parts = append(parts, map[string]any{"url": "instrument", "valueReference": map[string]any{"reference": r.signed.reference}}, map[string]any{"url": "sha256", "valueString": r.signed.sha256})
	}
	extended(doc, consent.ExtRevocation, parts...)
	doc["status"] = "inactive"
	return json.Marshal(doc)
}
