package rest

import (
	"net/http"
	"net/url"
	"strconv"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// history serves _history on an instance, a type and the system
// (https://hl7.org/fhir/R4/http.html#history). A hidden resource has none: an instance history without
// a visible version answers as for an unknown id.
func (k *call) history() error {
	if err := k.knownParameters("_format", "_pretty", "_count", "_cursor"); err != nil {
		return err
	}
	count := search.DefaultCount
	if v := k.c.Query("_count"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fhir.NewProblem(fhir.Invalid, "invalid", "_count must be a whole number, 1 or more")
		}
		count = min(n, search.MaxCount)
	}
	scope := store.Scope{Type: k.c.Param("type"), ID: k.c.Param("id")}
	binding := k.c.Request.URL.Path + "?" + strconv.Itoa(count)
	after, err := k.s.Cursors.open(k.c.Query("_cursor"), binding, k.caller.principal)
	if err != nil {
		return err
	}
	before := int64(0)
	if after != nil {
		before = after.Row
	}
	rows, next, err := k.s.Store.History(k.ctx, k.caller.filter, scope, before, count)
	if err != nil {
		return err
	}
	if scope.ID != "" && len(rows) == 0 && before == 0 {
		return k.absent(scope)
	}
	set := release.Set{Type: "history", Rows: rows, Links: []release.Link{{Relation: "self", URL: k.self(url.Values{"_count": {strconv.Itoa(count)}})}}}
	if next != 0 {
		cursor, err := k.s.Cursors.seal(&store.Position{Row: next}, binding, k.caller.principal)
		if err != nil {
			return err
		}
		set.Links = append(set.Links, release.Link{Relation: "next", URL: k.self(url.Values{"_count": {strconv.Itoa(count)}, "_cursor": {cursor}})})
	}
	released, err := k.s.Gate.Bundle(k.ctx, k.req, set)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// absent records and answers an instance history nobody may see or that does not exist.
func (k *call) absent(scope store.Scope) error {
	target, err := k.s.Store.Lookup(k.ctx, k.caller.filter, scope.Type, scope.ID, -1)
	if err != nil {
		return err
	}
	target.Visible = false
	_, err = k.s.Gate.Resource(k.ctx, k.req, target)
	return err
}

// self is the absolute URL of this request with other parameters.
func (k *call) self(values url.Values) string {
	u := k.s.Base + k.c.Request.URL.Path[len("/fhir"):]
	if len(values) > 0 {
		u += "?" + values.Encode()
	}
	return u
}
