package rest

import (
	"mime"
	"net/http"
	"net/url"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
)

// search serves GET [base]/[type]?... and POST [base]/[type]/_search
// (https://hl7.org/fhir/R4/http.html#search), which are the same search.
func (k *call) search() error {
	values, err := k.searchParameters()
	if err != nil {
		return err
	}
	k.req.Query = []byte(values.Encode())
	typ := k.c.Param("type")
	q, err := k.s.Registry.Parse(typ, values, k.s.Base)
	if err != nil {
		return err
	}
	for _, inc := range q.RevInclude {
		if err := k.allow(inc.Source, smart.Search); err != nil {
			return err
		}
	}
	binding := typ + "?" + q.Used.Encode()
	after, err := k.s.Cursors.open(q.Cursor, binding, k.caller.principal)
	if err != nil {
		return err
	}
	set := release.Set{Type: "searchset", Links: []release.Link{{Relation: "self", URL: k.searchURL(typ, q.Used)}}}
	if q.Total || q.CountOnly {
		n, err := k.s.Store.Count(k.ctx, k.caller.filter, q)
		if err != nil {
			return err
		}
		set.Total = &n
	}
	if !q.CountOnly {
		page, err := k.s.Store.Search(k.ctx, k.caller.filter, q, after)
		if err != nil {
			return err
		}
		included, truncated, err := k.s.Store.Include(k.ctx, k.caller.filter, q, page.Rows)
		if err != nil {
			return err
		}
		set.Rows = page.Rows
		for _, row := range included {
			if k.scopes.Allows("system", row.Type, smart.Read) {
				set.Rows = append(set.Rows, row)
			}
		}
		if truncated {
			set.Outcome = append(set.Outcome, fhir.Issue{Code: "incomplete", Text: "more resources are referenced than a page includes"})
		}
		if page.Next != nil {
			cursor, err := k.s.Cursors.seal(page.Next, binding, k.caller.principal)
			if err != nil {
				return err
			}
			next := url.Values{}
			for name, v := range q.Used {
				next[name] = v
			}
			next.Set("_cursor", cursor)
			set.Links = append(set.Links, release.Link{Relation: "next", URL: k.searchURL(typ, next)})
		}
	}
	released, err := k.s.Gate.Bundle(k.ctx, k.req, set)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

func (k *call) searchURL(typ string, values url.Values) string {
	u := k.s.Base + "/" + typ
	if len(values) > 0 {
		u += "?" + values.Encode()
	}
	return u
}

// searchParameters joins the query string and, for POST, the form.
func (k *call) searchParameters() (url.Values, error) {
	values, err := url.ParseQuery(k.c.Request.URL.RawQuery)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the query string is not well formed").Because(err)
	}
	if k.c.Request.Method != http.MethodPost {
		return values, nil
	}
	media, _, err := mime.ParseMediaType(k.c.ContentType())
	if k.c.Request.ContentLength != 0 && (err != nil || media != "application/x-www-form-urlencoded") {
		return nil, fhir.NewProblem(fhir.WrongMediaType, "not-supported", "a search is posted as application/x-www-form-urlencoded")
	}
	if err := k.c.Request.ParseForm(); err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the form is not well formed").Because(err)
	}
	for name, v := range k.c.Request.PostForm {
		values[name] = append(values[name], v...)
	}
	return values, nil
}
