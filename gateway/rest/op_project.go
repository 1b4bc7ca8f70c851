package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/gateway/release"
)

// project serves GET Consent/[id]/$project, an operation of this server: a Consent who asks may read, as another form of it.
// The answer is the Consent ("consent") with what of the instrument the form has no place for ("loss"). One the form cannot hold
// without saying more than was signed is refused.
//
//	form  r4, ihe-pcf, hl7-fast or sdohcc
func (k *call) project() error {
	in, err := k.inputs("form")
	if err != nil {
		return err
	}
	text, err := in.text("form")
	if err != nil {
		return err
	}
	form := consent.Form(text)
	if !slices.Contains(consent.Forms(), form) {
		return badInput("form", "must be r4, ihe-pcf, hl7-fast or sdohcc")
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, "Consent", k.c.Param("id"), 0)
	if err != nil {
		return err
	}
	read := func(released []byte) ([]byte, error) {
		c := consent.Read(target.Row.ID, int(target.Row.Version), target.Row.Updated, released, k.s.Base)
		return projected(c, form, released)
	}
	r, err := k.s.Gate.ResourceAs(k.ctx, k.req, target, nil, &release.View{Of: read, KeepsMeta: true})
	if err != nil {
		return err
	}
	k.respond(200, r)
	return nil
}

// projected writes a Consent in a form. Labels and the 2.32 statement stay in its meta.
func projected(c consent.Consent, form consent.Form, released []byte) ([]byte, error) {
	doc, losses, err := consent.Write(c, form)
	var refused *consent.Inexpressible
	if errors.As(err, &refused) {
		return nil, fhir.NewProblem(fhir.Unprocessable, "business-rule", "the form cannot hold this Consent: "+refused.Text)
	}
	if err != nil {
		return nil, err
	}
	if doc, err = underMeta(doc, released); err != nil {
		return nil, err
	}
	var out results
	out.add("consent", "resource", doc)
	for _, l := range losses {
		var part results
		part.text("code", "valueCode", l.Code)
		part.text("text", "valueString", l.Text)
		out.part("loss", part)
	}
	return out.body(), nil
}

// underMeta gives a projection the meta of what was released, with the profile of the form.
func underMeta(doc, released []byte) ([]byte, error) {
	var to, from struct {
		Meta map[string]json.RawMessage `json:"meta"`
	}
	if err := errors.Join(json.Unmarshal(doc, &to), json.Unmarshal(released, &from)); err != nil {
		return nil, err
	}
	profile := to.Meta["profile"]
	if from.Meta == nil {
		return doc, nil
	}
	from.Meta["profile"] = profile
	var all map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(doc))
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	meta, err := json.Marshal(from.Meta)
	if err != nil {
		return nil, err
	}
	all["meta"] = meta
	return json.Marshal(all)
}
