package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"trellis/auth/access"
)

// pages follows a query to its end and returns all ids in order.
func (b *bench) pages(f access.Filter, typ, query string) []string {
	b.t.Helper()
	ids, next := b.page(f, typ, query, nil)
	for next != nil {
		var more []string
		more, next = b.page(f, typ, query, next)
		if len(more) == 0 {
			b.t.Fatalf("%s?%s: a page that was promised is empty", typ, query)
		}
		ids = append(ids, more...)
	}
	return ids
}

// testOrders sorts by every kind of key, up and down, alone and together: the pages, however small, are the whole,
// each row once, and the order is the one a plain comparison gives.
func testOrders(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	type row struct {
		id, code, text, date string
		quantity             float64 // -1 for none
	}
	var rows []row
	docs := []string{patient("p1", "Reyes", "1990"), patient("p2", "Ito", "1985")}
	const n = 23
	for i := range n {
		r := row{id: fmt.Sprintf("o%02d", (i*7)%n), code: fmt.Sprintf("c%d", i%3), text: []string{"", "alpha", "Beta", "gamma"}[i%4], date: fmt.Sprintf("2026-01-%02d", 1+i%5), quantity: float64(i % 4)}
		value, note := fmt.Sprintf(`,"valueQuantity":{"value":%g}`, r.quantity), ""
		if r.quantity == 3 {
			r.quantity, value = -1, ""
		}
		if r.text != "" {
			note = `,"valueString":"` + r.text + `"`
			if value != "" { // one value[x] only
				r.text, note = "", ""
			}
		}
		rows = append(rows, r)
		docs = append(docs, fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","subject":{"reference":"Patient/p%d"},"effectiveDateTime":%q,"code":{"coding":[{"system":"urn:c","code":%q}]}%s%s}`,
			r.id, 1+i%2, r.date, r.code, value, note))
	}
	b.load("own", docs...)
	f := b.filter(own(), "TREAT")
	compare := map[string]func(a, b row) (c, missing int){
		"_id":  func(a, b row) (int, int) { return strings.Compare(a.id, b.id), 0 },
		"code": func(a, b row) (int, int) { return strings.Compare(a.code, b.code), 0 },
		"date": func(a, b row) (int, int) { return strings.Compare(a.date, b.date), 0 },
		"value-string": func(a, b row) (int, int) {
			return strings.Compare(strings.ToLower(a.text), strings.ToLower(b.text)), without(a.text == "", b.text == "")
		},
		"value-quantity": func(a, b row) (int, int) {
			return int(a.quantity - b.quantity), without(a.quantity < 0, b.quantity < 0)
		},
	}
	for _, sort := range []string{"_id", "code", "date", "value-string", "value-quantity", "code,date", "-code,date", "date,-code", "value-quantity,-date", "-value-quantity,value-string,-code",
		"value-string,code,-_id", "-date,code,_id", "_lastUpdated", "-_lastUpdated"} {
		for _, direction := range []string{"", "-"} {
			keys := strings.Split(direction+sort, ",")
			if strings.HasPrefix(keys[0], "--") {
				keys[0] = keys[0][2:]
			}
			for _, scope := range []string{"Observation", "Patient/p1/Observation"} {
				query := "_sort=" + strings.Join(keys, ",")
				whole := b.search(f, scope, query+"&_count=100")
				for _, size := range []int{1, 3, 4} {
					equal(t, fmt.Sprintf("%s?%s by %d", scope, query, size), b.pages(f, scope, fmt.Sprintf("%s&_count=%d", query, size)), whole)
				}
				if want := n - n/2*map[bool]int{true: 1}[scope != "Observation"]; len(whole) != want {
					t.Errorf("%s?%s: %d rows, want %d", scope, query, len(whole), want)
				}
				for i := 1; i < len(whole); i++ {
					x := rows[slices.IndexFunc(rows, func(r row) bool { return r.id == whole[i-1] })]
					y := rows[slices.IndexFunc(rows, func(r row) bool { return r.id == whole[i] })]
					if !mayPrecede(keys, x, y, compare) {
						t.Errorf("%s?%s: %s stands before %s", scope, query, x.id, y.id)
					}
				}
			}
		}
	}
}

// without says which of two have no value: -1 the first, 1 the second, 2 both.
func without(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	case a && b:
		return 2
	}
	return 0
}

// mayPrecede reports whether a may stand before b: what has no value stands last in both directions.
func mayPrecede[T any](keys []string, a, b T, compare map[string]func(a, b T) (int, int)) bool {
	for _, k := range keys {
		name, desc := strings.CutPrefix(k, "-")
		fn, ok := compare[name]
		if !ok {
			return true // a time of writing, equal for all
		}
		c, missing := fn(a, b)
		switch {
		case missing == -1:
			return false
		case missing == 1:
			return true
		case missing == 2 || c == 0:
			continue
		}
		return (c < 0) != desc
	}
	return true
}

// testFollowing includes what is referred to, from what was included too, by wildcard, and only what may be seen.
func testFollowing(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.load("own", featureRecords()...)
	f := b.filter(own(), "TREAT")
	for _, c := range []struct{ typ, query, want string }{
		{"Observation", "_id=bp1&_include=Observation:encounter", "bp1 e1"},
		{"Observation", "_id=bp1&_include=Observation:*", "bp1 e1 p1"},
		{"Observation", "_id=bp1&_include=*", "bp1 e1 p1"},
		{"Observation", "_id=bp1&_include=Observation:encounter&_include:iterate=Encounter:service-provider", "bp1 e1 acme"},
		{"Observation", "_id=bp1&_include=Observation:encounter&_include:iterate=Encounter:service-provider&_include:iterate=Organization:partof", "bp1 e1 acme root"},
		{"Organization", "_id=root&_revinclude=Organization:partof&_revinclude:iterate=Patient:organization&_revinclude:iterate=Condition:patient", "root acme p2 p1 c1 c2"},
		{"Encounter", "_id=e1&_revinclude=Observation:encounter&_revinclude:iterate=Provenance:target", "e1 bp1 pv"},
		{"Patient", "_id=p2&_revinclude=Observation:subject", "p2 q6 q7 sys2"},
		{"Patient", "_id=p2&_revinclude=Observation:*", "p2 q6 q7 sys2"},
		{"Patient", "_id=p2&_revinclude=Communication:recipient&_include:iterate=Communication:subject", "p2 both p1"},
	} {
		got, want := b.withIncludes(f, c.typ, c.query+"&_count=100"), strings.Fields(c.want)
		slices.Sort(got)
		slices.Sort(want)
		equal(t, c.typ+"?"+c.query, got, want)
	}
}
