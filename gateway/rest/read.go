package rest

import (
	"net/http"
	"strconv"

	"trellis/fhir"
)

// read serves GET [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#read).
func (k *call) read() error { return k.instance(0) }

// vread serves GET [base]/[type]/[id]/_history/[vid] (https://hl7.org/fhir/R4/http.html#vread).
func (k *call) vread() error {
	version, err := strconv.ParseInt(k.c.Param("version"), 10, 64)
	if err != nil || version < 1 {
		version = -1 // no such version: the same way through as for an unknown one
	}
	return k.instance(version)
}

func (k *call) instance(version int64) error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.filter, k.c.Param("type"), k.c.Param("id"), version)
	if err != nil {
		return err
	}
	released, err := k.s.Gate.Resource(k.ctx, k.req, target)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// knownParameters refuses query parameters an interaction does not have.
func (k *call) knownParameters(known ...string) error {
	for name := range k.c.Request.URL.Query() {
		found := false
		for _, n := range known {
			found = found || n == name
		}
		if !found {
			return fhir.NewProblem(fhir.Unsupported, "not-supported", "this interaction does not take one of the parameters sent")
		}
	}
	return nil
}
