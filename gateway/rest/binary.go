package rest

import (
	"encoding/base64"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/store"
)

// maxBinary bounds the bytes of a Binary: as base64 they must fit a resource.
const maxBinary = (fhir.MaxResourceBytes - 4096) / 4 * 3

// binary serves the read of a Binary (https://hl7.org/fhir/R4/binary.html#rest): its own bytes, or the resource where
// the client asks for FHIR. It follows the record it belongs to.
func (k *call) binary(target store.Target, version int64, held func(int64, time.Time) bool) error {
	var attachment store.Attachment
	if !target.Visible && k.wholeBinary() {
		var err error
		if attachment, err = k.s.Store.Attachment(k.ctx, k.caller.reading, target.Row.ID, version); err != nil {
			return err
		}
	}
	refused := false
	released, err := k.s.Gate.Binary(k.ctx, k.req, target, attachment, held, func(contentType string) bool {
		raw, ok := wantsRaw(formats(k.c), contentType)
		refused = !ok
		return raw
	})
	if err != nil {
		return err
	}
	if refused {
		return fhir.NewProblem(fhir.NotAcceptable, "not-supported", "the Binary is of another media type; application/fhir+json gives the resource")
	}
	k.respond(http.StatusOK, released)
	return nil
}

// wholeBinary reports whether the token reads Binary without constraints: one that follows another record is looked at by
// that record alone.
func (k *call) wholeBinary() bool {
	limits := k.caller.reach.read
	return limits == nil || slices.ContainsFunc(limits.Types["Binary"], func(c access.Clause) bool { return c.Where == nil })
}

// wantsRaw chooses between a Binary's bytes and the resource; ok is false when the client takes neither.
func wantsRaw(formats []string, contentType string) (raw, ok bool) {
	if len(formats) == 0 {
		return true, true
	}
	own, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		own = contentType
	}
	major, _, _ := strings.Cut(own, "/")
	for _, f := range formats {
		switch {
		case isJSON(f):
			return false, true
		case f == own || f == "*/*" || f == major+"/*":
			return true, true
		}
	}
	return false, false
}

// fhirMedia reports whether a body is a resource in any of FHIR's formats, rather than bytes of its own.
func fhirMedia(media string) bool {
	return media == "application/json" || strings.HasPrefix(media, "application/fhir+") || media == "application/x-turtle"
}

// rawBinary reads the body of a create or update of a Binary that comes as it is; nil when it comes as a resource.
func (k *call) rawBinary(id string) (*fhir.Resource, error) {
	contentType := k.c.GetHeader("Content-Type")
	media, _, err := mime.ParseMediaType(contentType)
	if k.c.Param("type") != "Binary" || err != nil || fhirMedia(media) {
		if k.c.GetHeader("X-Security-Context") != "" {
			return nil, fhir.NewProblem(fhir.Invalid, "invalid", "X-Security-Context goes with the bytes of a Binary; a resource has securityContext")
		}
		return nil, nil
	}
	data, err := k.bytes()
	if err != nil {
		return nil, err
	}
	if len(data) > maxBinary {
		return nil, fhir.NewProblem(fhir.TooLarge, "too-costly", "the Binary is larger than this server accepts")
	}
	doc := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+1024)
	doc = append(doc, `{"resourceType":"Binary","contentType":`...)
	doc = append(doc, fhir.Quote(contentType)...)
	if id != "" {
		doc = append(append(doc, `,"id":`...), fhir.Quote(id)...)
	}
	if context := k.c.GetHeader("X-Security-Context"); context != "" {
		doc = append(append(append(doc, `,"securityContext":{"reference":`...), fhir.Quote(context)...), '}')
	}
	doc = append(doc, `,"data":"`...)
	doc = base64.StdEncoding.AppendEncode(doc, data)
	return k.s.Parser.Parse(append(doc, `"}`...))
}
