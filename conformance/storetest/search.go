package storetest

import (
	"fmt"
	"testing"
)

func testSearch(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.put("own", false, patient("p1", "Núñez", "1990-03-04"))
	b.put("own", false, patient("p2", "Ito", "1985"))
	b.put("own", false, condition("c1", "p1", "I10"))
	b.put("own", false, condition("c2", "p2", "E11.9"))
	f := b.filter(own(), "TREAT")
	for _, c := range []struct {
		typ, query string
		want       []string
	}{
		{"Patient", "name=nunez", []string{"p1"}},
		{"Patient", "name=nun", []string{"p1"}},
		{"Patient", "name=unez", []string{}},
		{"Patient", "name:contains=unez", []string{"p1"}},
		{"Patient", "family:exact=N%C3%BA%C3%B1ez", []string{"p1"}},
		{"Patient", "family:exact=nunez", []string{}},
		{"Patient", "given=ana", []string{"p1", "p2"}},
		{"Patient", "gender=female&birthdate=1985", []string{"p2"}},
		{"Patient", "_id=p1,p2", []string{"p1", "p2"}},
		{"Patient", "_id=p3", []string{}},
		{"Patient", "deceased=false", []string{"p1", "p2"}},
		{"Condition", "code=I10", []string{"c1"}},
		{"Condition", "code=http://hl7.org/fhir/sid/icd-10-cm|I10", []string{"c1"}},
		{"Condition", "code=http://hl7.org/fhir/sid/icd-10-cm|", []string{"c1", "c2"}},
		{"Condition", "code=http://snomed.info/sct|I10", []string{}},
		{"Condition", "code=|I10", []string{}},
		{"Condition", "code:not=I10", []string{"c2"}},
		{"Condition", "code=I10,E11.9", []string{"c1", "c2"}},
		{"Condition", "code=I10&code=E11.9", []string{}},
		{"Condition", "patient=p1", []string{"c1"}},
		{"Condition", "patient=Patient/p1", []string{"c1"}},
		{"Condition", "subject=Patient/p2", []string{"c2"}},
		{"Condition", "subject:Patient=p2", []string{"c2"}},
		{"Condition", "patient=" + base + "/Patient/p2", []string{"c2"}},
		{"Condition", "patient=p1,p2", []string{"c1", "c2"}},
		{"Condition", "patient=nobody", []string{}},
		{"Condition", "patient=p1&onset-date:missing=true", []string{"c1"}},
		{"Condition", "patient=p1&recorded-date:missing=true", []string{}},
		{"Condition", "_lastUpdated=gt2020-01-01", []string{"c1", "c2"}},
		{"Condition", "_lastUpdated=lt2020-01-01", []string{}},
		{"Condition", "_summary=count", []string{"c1", "c2", "2"}},
	} {
		equal(t, c.typ+"?"+c.query, b.search(f, c.typ, c.query), c.want)
	}
}

// testDates holds the prefixes to R4's containment semantics, on instants, days and open periods.
func testDates(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.put("own", false, patient("p1", "Reyes", "1990"))
	for id, at := range map[string]string{"o1": "2026-03-01", "o2": "2026-03-02T10:00:00-05:00", "o3": "2026-03"} {
		b.put("own", false, observation(id, "p1", at))
	}
	f := b.filter(own(), "TREAT")
	for _, c := range []struct {
		date string
		want []string
	}{
		{"2026-03-01", []string{"o1"}},
		{"2026-03", []string{"o1", "o2", "o3"}},
		{"2026-03-02T15:00:00Z", []string{"o2"}},
		{"ne2026-03-01", []string{"o2", "o3"}},
		{"gt2026-03-01", []string{"o2", "o3"}},
		{"ge2026-03-02", []string{"o2", "o3"}},
		{"lt2026-03-01", []string{}},
		{"le2026-03-01", []string{"o1"}},
		{"sa2026-03-01", []string{"o2"}},
		{"eb2026-03-02", []string{"o1"}},
		{"ap2026-03-01", []string{"o1", "o2", "o3"}}, // a tenth of the way to now
		{"2026-03-01,2026-03-02", []string{"o1", "o2"}},
	} {
		equal(t, "date="+c.date, b.search(f, "Observation", "patient=p1&_sort=_id&date="+c.date), c.want)
	}
}

func testPaging(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.put("own", false, patient("p1", "Reyes", "1990"))
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("o%d", i)
		b.put("own", false, observation(id, "p1", fmt.Sprintf("2026-01-0%d", 7-i)))
		want = append(want, id)
	}
	f := b.filter(own(), "TREAT")
	for _, order := range []string{"", "&_sort=-date", "&_sort=_id", "&_sort=code,-date"} {
		query := "patient=p1&_count=3" + order
		got, next := b.page(f, "Observation", query, nil)
		pages := 1
		for next != nil {
			var more []string
			more, next = b.page(f, "Observation", query, next)
			got = append(got, more...)
			pages++
		}
		equal(t, "all pages"+order, got, want)
		if pages != 3 {
			t.Errorf("%d pages of 3 for 7 rows", pages)
		}
	}
}

func testSort(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.put("own", false, patient("p1", "Ito", "1990"))
	b.put("own", false, patient("p2", "Abe", "1980"))
	b.put("own", false, `{"resourceType":"Patient","id":"p3","gender":"male"}`)
	f := b.filter(own(), "TREAT")
	equal(t, "family", b.search(f, "Patient", "_sort=family"), []string{"p2", "p1", "p3"})
	equal(t, "-family: no value still last", b.search(f, "Patient", "_sort=-family"), []string{"p1", "p2", "p3"})
	equal(t, "-birthdate", b.search(f, "Patient", "_sort=-birthdate"), []string{"p1", "p2", "p3"})
	equal(t, "gender,-_id", b.search(f, "Patient", "_sort=gender,-_id"), []string{"p2", "p1", "p3"})
}

func testIncludes(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	hosp, _ := b.register()
	b.put("hosp", false, patient("p1", "Reyes", "1990"))
	b.put("hosp", false, condition("c2", "p1", "I10"))
	b.put("otp", true, condition("c1", "p1", "F11.20"))
	b.put("hosp", false, `{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"},"diagnosis":[{"condition":{"reference":"Condition/c1"}},{"condition":{"reference":"Condition/c2"}}]}`)
	f := b.filter(hosp, "TREAT")
	for _, c := range []struct {
		typ, query string
		want       []string
	}{
		{"Patient", "_revinclude=Condition:patient", []string{"p1", "c2"}},
		{"Patient", "_revinclude=*", []string{"p1", "c2", "e1"}},
		{"Condition", "_revinclude=*", []string{"c2", "e1"}},
		{"Encounter", "_revinclude=*", []string{"e1"}},
		{"Encounter", "_include=Encounter:diagnosis", []string{"e1", "c2"}},
		{"Encounter", "_include=Encounter:diagnosis:Condition&_include=Encounter:patient", []string{"e1", "c2", "p1"}},
		{"Encounter", "_include=Encounter:diagnosis:Procedure", []string{"e1"}},
	} {
		equal(t, c.query, b.withIncludes(f, c.typ, c.query), c.want)
	}
}
