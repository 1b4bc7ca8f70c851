package rest

import (
	"mime"
	"net/url"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Bounds of $lastn: how many Observations it looks through and how many it gives.
const (
	lastnScanned = 20_000
	lastnGiven   = 1000
)

// lastn serves [base]/Observation/$lastn (https://hl7.org/fhir/R4/observation-operation-lastn.html): of one patient's
// Observations that meet the criteria, for each code the latest max, of those the caller may see.
func (k *call) lastn() error {
	limit, q, err := k.lastnQuery()
	if err != nil {
		return err
	}
	groups := &latest{max: limit, of: map[string]int{}}
	for after, scanned := (*store.Position)(nil), 0; ; {
		page, err := k.s.Store.Search(k.ctx, k.caller.searching, q, after)
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if err := groups.add(row); err != nil {
				return err
			}
		}
		scanned += len(page.Rows)
		if page.Next == nil {
			break
		}
		if after = page.Next; scanned >= lastnScanned || groups.kept > lastnGiven {
			return fhir.NewProblem(fhir.TooLarge, "too-costly", "there are too many Observations; narrow the request by category or code")
		}
	}
	set := release.Set{Type: "searchset", Rows: groups.rows(), Links: []release.Link{{Relation: "self", URL: k.pageURL("/Observation/$lastn", q.Used)}}, Summary: q.Summary, Elements: q.Elements}
	return k.respondBundle(set)
}

// lastnQuery reads max and the criteria, which are those of a search.
func (k *call) lastnQuery() (limit int, q *search.Query, err error) {
	values, err := k.lastnParameters()
	if err != nil {
		return 0, nil, err
	}
	in := inputs{values: map[string][]input{}}
	for _, v := range values["max"] {
		in.values["max"] = append(in.values["max"], input{text: v})
	}
	if limit, err = in.number("max", 1, 1); err != nil {
		return 0, nil, err
	}
	given := values["max"]
	values.Del("max")
	for _, name := range []string{"_sort", "_count", "_cursor", "_total", "_include", "_revinclude"} {
		if values.Has(name) {
			return 0, nil, fhir.NewProblem(fhir.Unsupported, "not-supported", "$lastn takes no "+name)
		}
	}
	values.Set("_sort", "-date")
	q, err = k.s.Registry.ParseWith(k.ctx, "Observation", values, search.Options{Base: k.s.Base, Lenient: k.lenient, Terminology: k.s.Terminology})
	if err != nil {
		return 0, nil, err
	}
	if err := k.reachable(q); err != nil {
		return 0, nil, err
	}
	switch {
	case q.Patient == "":
		return 0, nil, fhir.NewProblem(fhir.Invalid, "required", "$lastn needs one patient, as patient or subject")
	case q.CountOnly:
		return 0, nil, badInput("_summary", "of $lastn may not be count")
	}
	q.Count = search.MaxCount
	q.Used.Del("_sort")
	if len(given) > 0 {
		q.Used["max"] = given
	}
	return limit, q, nil
}

// lastnParameters reads the query string and a posted form or Parameters.
func (k *call) lastnParameters() (url.Values, error) {
	if media, _, _ := mime.ParseMediaType(k.c.ContentType()); media == "application/x-www-form-urlencoded" {
		return k.searchParameters()
	}
	in, err := k.given(false)
	if err != nil {
		return nil, err
	}
	out := url.Values{}
	for name, list := range in.values {
		for _, v := range list {
			if v.text == "" {
				return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the parameters of $lastn are simple values")
			}
			out.Add(name, v.text)
		}
	}
	return out, nil
}

// latest gathers rows, newest first, by code: an Observation goes to the group of the first of its codings met before,
// and without a coding to that of its text.
type latest struct {
	max, kept int
	of        map[string]int // coding or text -> group
	groups    [][]store.Row
}

func (l *latest) add(row store.Row) error {
	root, err := fhir.ParseJSON(row.Doc)
	if err != nil {
		return err
	}
	code := root.Get("code")
	var keys []string
	for _, c := range code.Get("coding").List() {
		if v := c.Get("code").Text(); v != "" {
			keys = append(keys, c.Get("system").Text()+"|"+v)
		}
	}
	if keys == nil {
		keys = []string{"text " + search.Fold(code.Get("text").Text())}
	}
	group := -1
	for _, key := range keys {
		if n, known := l.of[key]; known {
			group = n
			break
		}
	}
	if group < 0 {
		group = len(l.groups)
		l.groups = append(l.groups, nil)
	}
	for _, key := range keys {
		if _, known := l.of[key]; !known {
			l.of[key] = group
		}
	}
	if len(l.groups[group]) < l.max {
		l.groups[group] = append(l.groups[group], row)
		l.kept++
	}
	return nil
}

// rows is all that was kept, group after group.
func (l *latest) rows() []store.Row {
	var out []store.Row
	for _, g := range l.groups {
		out = append(out, g...)
	}
	return out
}
