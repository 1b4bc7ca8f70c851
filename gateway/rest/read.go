package rest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"trellis/fhir"
)

// read serves GET and HEAD [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#read).
func (k *call) read() error { return k.instance(0) }

// vread serves GET and HEAD [base]/[type]/[id]/_history/[vid] (https://hl7.org/fhir/R4/http.html#vread).
func (k *call) vread() error {
	version, err := strconv.ParseInt(k.c.Param("version"), 10, 64)
	if err != nil || version < 1 {
		version = -1 // no such version: the same way through as for an unknown one
	}
	return k.instance(version)
}

func (k *call) instance(version int64) error {
	if err := k.knownParameters("_format", "_pretty", "_summary", "_elements"); err != nil {
		return err
	}
	view, err := k.subset()
	if err != nil {
		return err
	}
	held, err := k.held()
	if err != nil {
		return err
	}
	filter := k.caller.reading
	filter.Parts = version == 0 && k.req.Principal.Purpose == "HLEGAL" // what an order opens a part of
	target, err := k.s.Store.Lookup(k.ctx, filter, k.c.Param("type"), k.c.Param("id"), version)
	if err != nil {
		return err
	}
	if target.Row.Type == "Binary" {
		return k.binary(target, version, held)
	}
	released, err := k.s.Gate.ResourceAs(k.ctx, k.req, target, held, view)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// held reads If-None-Match and If-Modified-Since (https://hl7.org/fhir/R4/http.html#cread): whether the client has a
// version already. It is asked only about what the client may see. nil when it has neither header; the first wins.
func (k *call) held() (func(int64, time.Time) bool, error) {
	if match := k.c.GetHeader("If-None-Match"); match != "" {
		if strings.TrimSpace(match) == "*" {
			return func(int64, time.Time) bool { return true }, nil
		}
		versions := map[int64]bool{}
		for _, tag := range strings.Split(match, ",") {
			tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
			if n, err := strconv.ParseInt(tag, 10, 64); err == nil {
				versions[n] = true // any other tag is none of ours
			}
		}
		return func(version int64, _ time.Time) bool { return versions[version] }, nil
	}
	since := k.c.GetHeader("If-Modified-Since")
	if since == "" {
		return nil, nil
	}
	at, err := http.ParseTime(since)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "If-Modified-Since is not an HTTP date").Because(err)
	}
	return func(_ int64, updated time.Time) bool { return !updated.Truncate(time.Second).After(at) }, nil
}

// knownParameters refuses query parameters an interaction does not have.
func (k *call) knownParameters(known ...string) error {
	if k.c.Request.URL.RawQuery == "" {
		return nil
	}
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
