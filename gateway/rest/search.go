package rest

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// search serves GET [base]/[type]?... and POST [base]/[type]/_search
// (https://hl7.org/fhir/R4/http.html#search), which are the same search.
func (k *call) search() error { return k.searched(k.c.Param("type"), fhir.Reference{}) }

// searchSystem serves GET [base]?... and POST [base]/_search: a search across the types of _type, or across all
// the token may search.
func (k *call) searchSystem() error {
	if len(k.searchable(fhir.Types())) == 0 {
		return k.allow("*", smart.Search)
	}
	return k.searched("", fhir.Reference{})
}

// searchable keeps the types the token may search.
func (k *call) searchable(types []string) []string {
	return slices.DeleteFunc(slices.Clone(types), func(typ string) bool { return !k.may(typ, smart.Search) })
}

// searchCompartment serves GET [base]/[compartment]/[id]/[type] (https://hl7.org/fhir/R4/http.html#vsearch).
func (k *call) searchCompartment() error {
	typ := k.c.Param("member")
	if !fhir.KnownType(typ) {
		return fhir.NewProblem(fhir.NotFound, "not-supported", "no such resource type or operation")
	}
	if err := k.allow(typ, smart.Search); err != nil {
		return err
	}
	return k.searched(typ, fhir.Reference{Type: k.c.Param("type"), ID: k.c.Param("id")})
}

func (k *call) searched(typ string, compartment fhir.Reference) error {
	values, err := k.searchParameters()
	if err != nil {
		return err
	}
	k.req.Query = []byte(values.Encode())
	q, err := k.s.Registry.ParseWith(k.ctx, typ, values, search.Options{Base: k.s.Base, Lenient: k.lenient, Compartment: compartment, Terminology: k.s.Terminology})
	if err != nil {
		return err
	}
	if err := k.reachable(q); err != nil {
		return err
	}
	set, err := k.find(q, k.searchPath(typ, compartment))
	if err != nil {
		return err
	}
	return k.respondBundle(set)
}

// searchPath is the path of a search below the base.
func (k *call) searchPath(typ string, compartment fhir.Reference) string {
	switch {
	case compartment != fhir.Reference{}:
		return "/" + compartment.String() + "/" + typ
	case typ != "":
		return "/" + typ
	}
	return ""
}

// reachable is G1 for what a search looks at besides the type in its URL: chains and includes lead to other types, and
// the token must allow those. A search across types keeps to the ones it may.
func (k *call) reachable(q *search.Query) error {
	if q.Type == "" {
		if q.Types = k.searchable(q.Types); len(q.Types) == 0 {
			return k.allow("*", smart.Search)
		}
	}
	for _, inc := range q.Include { // what iterates goes through other types than the searched
		if inc.Source == q.Type || slices.Contains(q.Types, inc.Source) {
			continue
		}
		if err := k.allow(inc.Source, smart.Read); err != nil {
			return err
		}
	}
	q.RevInclude = slices.DeleteFunc(q.RevInclude, func(inc search.Include) bool { return inc.Whatever && !k.may(inc.Source, smart.Search) })
	for _, inc := range q.RevInclude {
		if err := k.allow(inc.Source, smart.Search); err != nil {
			return err
		}
	}
	for _, typ := range search.Reaches(q.Where) {
		if err := k.allow(typ, smart.Search); err != nil {
			return err
		}
	}
	return nil
}

// totalCap is how far _total=estimate counts.
const totalCap = 10_000

// find runs a query and puts its page together with the links that go on from it.
func (k *call) find(q *search.Query, path string) (release.Set, error) {
	binding := path + "?" + q.Used.Encode()
	set := release.Set{Type: "searchset", Links: []release.Link{{Relation: "self", URL: k.pageURL(path, q.Used)}}, Summary: q.Summary, Elements: q.Elements}
	after, err := k.s.Cursors.open(q.Cursor, binding, k.caller.reach.bound)
	if err != nil {
		return set, err
	}
	if len(q.Ignored) > 0 {
		set.Outcome = append(set.Outcome, fhir.Issue{Code: "not-supported", Text: "these parameters were not understood and are left out: " + strings.Join(q.Ignored, ", ")})
	}
	if err := k.total(q, &set); err != nil || q.CountOnly {
		return set, err
	}
	page, err := k.s.Store.Search(k.ctx, k.caller.searching, q, after)
	if err != nil {
		return set, err
	}
	set.Rows = page.Rows
	if err := k.include(q, &set); err != nil {
		return set, err
	}
	if page.Next != nil {
		next, err := k.nextURL(path, q, page.Next, binding)
		if err != nil {
			return set, err
		}
		set.Links = append(set.Links, release.Link{Relation: "next", URL: next})
	}
	return set, nil
}

func (k *call) nextURL(path string, q *search.Query, after *store.Position, binding string) (string, error) {
	cursor, err := k.s.Cursors.seal(after, binding, k.caller.reach.bound)
	if err != nil {
		return "", err
	}
	next := url.Values{}
	for name, v := range q.Used {
		next[name] = v
	}
	next.Set("_cursor", cursor)
	return k.pageURL(path, next), nil
}

// total counts the caller's view: exactly, or up to a cap. It never repeats what a planner guesses.
func (k *call) total(q *search.Query, set *release.Set) error {
	if q.Total == search.TotalNone && !q.CountOnly {
		return nil
	}
	limit := int64(0)
	if q.Total == search.TotalEstimate {
		limit = totalCap + 1
	}
	n, err := k.s.Store.Count(k.ctx, k.caller.searching, q, limit)
	if err != nil {
		return err
	}
	if limit > 0 && n == limit {
		n = totalCap
		set.Outcome = append(set.Outcome, fhir.Issue{Code: "informational", Text: fmt.Sprintf("Bundle.total is an estimate: there are more than %d matches", totalCap)})
	}
	set.Total = &n
	return nil
}

// including is what includes may add: what the token may read, and of types that are found by what they refer to only
// what it may search as well.
func (k *call) including(q *search.Query) access.Filter {
	out := k.caller.reading
	r := &k.caller.reach
	if r.search == nil || r.alike || len(q.RevInclude) == 0 {
		return out
	}
	limits := access.Limits{Patient: r.launch, Walled: r.search.Walled, Types: map[string][]access.Clause{}}
	for _, typ := range fhir.Types() {
		limits.Types[typ] = []access.Clause{{}}
		if r.read != nil {
			limits.Types[typ] = r.read.Types[typ]
		}
	}
	for _, inc := range q.RevInclude {
		limits.Types[inc.Source] = access.Both(limits.Types[inc.Source], r.search.Types[inc.Source])
	}
	out.Limits = &limits
	return out
}

func (k *call) include(q *search.Query, set *release.Set) error {
	included, truncated, err := k.s.Store.Include(k.ctx, k.including(q), q, set.Rows, func(typ string) bool { return k.may(typ, smart.Read) })
	if err != nil {
		return err
	}
	set.Rows = append(set.Rows, included...)
	if truncated {
		set.Outcome = append(set.Outcome, fhir.Issue{Code: "incomplete", Text: "more resources are referenced than a page includes"})
	}
	return nil
}

func (k *call) pageURL(path string, values url.Values) string {
	u := k.s.Base + path
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
