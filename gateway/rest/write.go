package rest

import (
	"fmt"
	"net/http"
	"strings"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/store"
)

// resource reads and checks the body as one resource of a type.
func (k *call) resource(typ string) (*fhir.Resource, error) {
	if raw, err := k.rawBinary(k.c.Param("id")); raw != nil || err != nil {
		return raw, err
	}
	res, err := k.parsedBody()
	if err != nil {
		return nil, err
	}
	if res.Type != typ {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the body's resourceType is not the type in the URL")
	}
	return res, nil
}

// parsedBody reads and checks the body as one resource of any type.
func (k *call) parsedBody() (*fhir.Resource, error) {
	data, err := k.body()
	if err != nil {
		return nil, err
	}
	return k.s.Parser.Parse(data)
}

// write makes one operation and answers with the resource, or with as much of it as the client prefers.
func (k *call) write(op operation) error {
	written, err := k.transact([]operation{op})
	if err != nil {
		return err
	}
	w := written[0]
	if w.Deleted {
		k.respondDone(http.StatusNoContent, "the resource is deleted")
		return nil
	}
	status := http.StatusOK
	if w.Created {
		status = http.StatusCreated
	}
	released, err := k.s.Gate.Written(k.req, w)
	if err != nil {
		return err
	}
	k.c.Writer.Header().Set("Location", k.s.Base+"/"+location(w))
	k.reportConsent(w)
	shown, err := k.shows(w)
	if err != nil {
		return err
	}
	if !shown && k.prefer != returnOutcome {
		k.prefer = returnMinimal
	}
	if k.prefer == returnMinimal || k.prefer == returnOutcome {
		k.version(released)
		k.respondDone(status, "the resource is stored")
		return nil
	}
	k.respond(status, released)
	return nil
}

// shows reports whether the token reads what it wrote, in whole: otherwise a write would be a way to read.
func (k *call) shows(w store.Written) (bool, error) {
	if !k.may(w.Type, smart.Read) {
		return false, nil
	}
	own := access.Decide(access.Request{Principal: k.caller.principal, Segment: w.Segment}).Basis == "own-record" // not for every purpose
	if k.caller.reading.Limits == nil && own {
		return true, nil
	}
	filter, err := k.s.Store.Filter(k.ctx, k.caller.principal) // the write may have made a segment
	if err != nil {
		return false, err
	}
	filter.Limits = k.caller.reading.Limits
	target, err := k.s.Store.Lookup(k.ctx, filter, w.Type, w.ID, 0)
	if err != nil || !target.Visible || target.Row.Version != w.Version {
		return false, err
	}
	hidden, err := k.s.Store.Hidden(k.ctx, filter, []store.Row{target.Row})
	return len(hidden) == 0, err
}

// location is the version a write made, relative to the base.
func location(w store.Written) string {
	return fmt.Sprintf("%s/%s/_history/%d", w.Type, w.ID, w.Version)
}

// reportConsent tells whoever recorded a consent which elements of 2.31 it lacks, and with which instruments of
// its own or the operator's it conflicts. Requesters never learn it.
func (k *call) reportConsent(w store.Written) {
	if w.Type != "Consent" {
		return
	}
	c := consent.Read(w.ID, int(w.Version), w.Updated, w.Doc, k.s.Base)
	var missing []string
	for _, e := range c.Validate() {
		missing = append(missing, e.Code+" "+e.Section)
	}
	if c.Broken {
		missing = []string{"unreadable"}
	}
	if len(missing) > 0 {
		k.c.Writer.Header().Set("X-Consent-Missing", strings.Join(missing, ", "))
	}
	var conflicts []string
	for _, f := range k.conflicts {
		conflicts = append(conflicts, f.Code+" Consent/"+f.Consent)
	}
	if len(conflicts) > 0 {
		k.c.Writer.Header().Set("X-Consent-Conflicts", strings.Join(conflicts, ", "))
	}
}
