package rest

import (
	"net/url"
	"strconv"
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// history serves _history on an instance, a type and the system
// (https://hl7.org/fhir/R4/http.html#history), newest version first and without a total. A hidden resource has none: an
// instance history without a visible version answers as for an unknown id.
func (k *call) history() error {
	if err := k.knownParameters("_format", "_pretty", "_count", "_cursor", "_since", "_at"); err != nil {
		return err
	}
	count, scope, asked, err := k.historyParameters()
	if err != nil {
		return err
	}
	binding := k.c.Request.URL.Path + "?" + asked.Encode()
	after, err := k.s.Cursors.open(k.c.Query("_cursor"), binding, k.caller.reach.bound)
	if err != nil {
		return err
	}
	before := int64(0)
	if after != nil {
		before = after.Row
	}
	view := k.caller.reading
	if scope.ID == "" {
		view = k.caller.searching
	}
	rows, next, err := k.s.Store.History(k.ctx, view, scope, before, count)
	if err != nil {
		return err
	}
	if scope.ID != "" && len(rows) == 0 && before == 0 {
		if done, err := k.absent(scope); done || err != nil {
			return err
		}
	}
	set := release.Set{Type: "history", Rows: rows, Links: []release.Link{{Relation: "self", URL: k.self(asked)}}}
	if next != 0 {
		cursor, err := k.s.Cursors.seal(&store.Position{Row: next}, binding, k.caller.reach.bound)
		if err != nil {
			return err
		}
		asked.Set("_cursor", cursor)
		set.Links = append(set.Links, release.Link{Relation: "next", URL: k.self(asked)})
	}
	return k.respondBundle(set)
}

// historyParameters reads what a history may be narrowed to. asked is the same in one canonical form.
func (k *call) historyParameters() (count int, scope store.Scope, asked url.Values, err error) {
	count, asked = search.DefaultCount, url.Values{}
	scope = store.Scope{Type: k.c.Param("type"), ID: k.c.Param("id")}
	if v := k.c.Query("_count"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return 0, scope, nil, fhir.NewProblem(fhir.Invalid, "invalid", "_count must be a whole number, 1 or more")
		}
		count = min(n, search.MaxCount)
	}
	asked.Set("_count", strconv.Itoa(count))
	for name, into := range map[string]**search.Range{"_since": &scope.Since, "_at": &scope.At} {
		v := k.c.Query(name)
		if v == "" {
			continue
		}
		// A plus sign in a query string arrives as a space when the client did not escape it.
		span, err := search.ParseDate(strings.Replace(v, " ", "+", 1))
		if err != nil {
			return 0, scope, nil, fhir.NewProblem(fhir.Invalid, "invalid", name+" is not a date or an instant")
		}
		*into = &span
		asked.Set(name, v)
	}
	return count, scope, asked, nil
}

// absent answers an instance history without versions. Where nobody may see the resource or it does not exist, that
// is recorded and looks the same; done is false when there is one to see, of which the parameters leave nothing.
func (k *call) absent(scope store.Scope) (done bool, err error) {
	version := int64(-1)
	if scope.Since != nil || scope.At != nil {
		version = 0
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, scope.Type, scope.ID, version)
	if err != nil {
		return true, err
	}
	if version == 0 && target.Visible {
		return false, nil
	}
	target.Visible = false
	_, err = k.s.Gate.Resource(k.ctx, k.req, target)
	return true, err
}

// self is the absolute URL of this request with other parameters.
func (k *call) self(values url.Values) string {
	u := k.s.Base + k.c.Request.URL.Path[len("/fhir"):]
	if len(values) > 0 {
		u += "?" + values.Encode()
	}
	return u
}
