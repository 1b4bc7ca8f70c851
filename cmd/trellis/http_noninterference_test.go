package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"trellis/conformance/decisions"
)

// TestHiddenRecordsDoNotInterfere builds two installations that differ only in Part 2 records of P1 which
// nobody outside the program may see, and demands the same answers from both: status, headers and bytes. The
// hidden records are drawn at random, and written, changed and deleted between the visible ones.
func TestHiddenRecordsDoNotInterfere(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			onEachStore(t, func(t *testing.T, where location) {
				tw := newTwins(t, where)
				tw.write(rand.New(rand.NewPCG(seed, 1)))
				tw.compare(visibleRequests())
				// The comparison means something: the program itself sees two different installations.
				if a, b := tw.plain.as("otp", "TREAT").get("_history"), tw.laden.as("otp", "TREAT").get("_history"); string(a.body) == string(b.body) {
					t.Error("nothing was hidden")
				}
			})
		})
	}
}

// twins are two installations under one public URL: the second holds hidden records too.
type twins struct {
	t            *testing.T
	plain, laden *installation
	hidden       int
}

func newTwins(t *testing.T, where location) *twins {
	other := location{data: t.TempDir()}
	if where.postgres != "" {
		other.postgres = cluster.Database(t)
	}
	const url = "http://gateway.example"
	return &twins{t: t, plain: newInstallation(t, where, url), laden: newInstallation(t, other, url)}
}

// write puts the hospital's records into both, with hidden ones of the program in between into one.
func (tw *twins) write(rng *rand.Rand) {
	tw.t.Helper()
	for _, r := range fixture(tw.t).Records {
		if r.Owner != "hospital" && r.Name != "CT1" {
			continue
		}
		for range rng.IntN(3) {
			tw.hide(rng)
		}
		for _, in := range []*installation{tw.plain, tw.laden} {
			in.clock.advance(time.Second)
			in.put(r)
		}
	}
	for range 1 + rng.IntN(3) {
		tw.hide(rng)
	}
}

// hide writes, changes or deletes a hidden record.
func (tw *twins) hide(rng *rand.Rand) {
	tw.t.Helper()
	kinds := []struct{ typ, members string }{
		{"Condition", `"recordedDate":"2026-0%d-01","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"F11.20"}]},"subject":{"reference":"Patient/P1"}`},
		{"Condition", `"recordedDate":"2026-0%d-02","code":{"text":"Zqcanary words"},"subject":{"reference":"Patient/P1"}`},
		{"Observation", `"status":"final","effectiveDateTime":"2026-0%d-03","code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},"subject":{"reference":"Patient/P1"}`},
		{"MedicationRequest", `"status":"active","intent":"order","authoredOn":"2026-0%d-04","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"1819"}]},"subject":{"reference":"Patient/P1"}`},
		{"CarePlan", `"status":"active","intent":"plan","period":{"start":"2026-0%d-05"},"subject":{"reference":"Patient/P1"}`},
		{"Provenance", `"recorded":"2026-0%d-06T10:00:00Z","target":[{"reference":"Condition/C2"},{"reference":"Patient/P1"}],"agent":[{"who":{"reference":"Organization/otp"}}]`},
		{"Coverage", `"status":"draft","period":{"start":"2026-0%d-07"},"beneficiary":{"reference":"Patient/P1"},"payor":[{"reference":"Organization/plan"}]`},
	}
	kind := kinds[rng.IntN(len(kinds))]
	tw.hidden++
	id := fmt.Sprintf("H%d", tw.hidden)
	doc := func() []byte {
		return fmt.Appendf(nil, `{"resourceType":%q,"id":%q,`+kind.members+`}`, kind.typ, id, 1+rng.IntN(9))
	}
	r := decisions.Record{Name: id, Owner: "otp", Resource: doc()}
	tw.laden.put(r)
	if rng.IntN(2) == 0 {
		r.Resource = doc()
		tw.laden.put(r)
	}
	if rng.IntN(4) == 0 {
		if a := tw.laden.remove(kind.typ+"/"+id, "otp"); a.status != 204 {
			tw.t.Fatalf("deleting %s: %d", id, a.status)
		}
	}
}

// compare sends every request to both as several callers, and follows every page link.
func (tw *twins) compare(requests []request) {
	tw.t.Helper()
	for _, caller := range []struct{ as, purpose string }{{"hospital", "TREAT"}, {"hospital", "HMARKT"}, {"plan", "HPAYMT"}, {"rco", "COC"}} {
		for _, r := range requests {
			one, two := r, r
			for page := 0; ; page++ {
				a, b := tw.plain.as(caller.as, caller.purpose).ask(one), tw.laden.as(caller.as, caller.purpose).ask(two)
				if a.status != b.status || withoutCursors(a.body) != withoutCursors(b.body) || !sameHeaders(a.header, b.header) {
					tw.t.Errorf("%s for %s: %s %s %s, page %d:\n%d %v\n%s\n%d %v\n%s", caller.as, caller.purpose, r.method, r.path, r.body, page, a.status, a.header, a.body, b.status, b.header, b.body)
				}
				if a.status != 200 || b.status != 200 {
					break
				}
				nextA, nextB := nextPage(tw.t, a), nextPage(tw.t, b)
				if nextA == "" || nextB == "" {
					break
				}
				one, two = request{method: "GET", path: nextA}, request{method: "GET", path: nextB}
			}
		}
	}
}

func nextPage(t *testing.T, a reply) string {
	if !regexp.MustCompile(`^\{"resourceType":"Bundle"`).Match(a.body) {
		return ""
	}
	return a.bundle(t).next()
}

// withoutCursors is a body without what seals a position: it is random in every answer.
func withoutCursors(body []byte) string {
	return regexp.MustCompile(`_cursor=[A-Za-z0-9_-]+`).ReplaceAllString(string(body), "_cursor=")
}

// visibleRequests is what a caller can ask of a compartment: read, search, count, sort, page, include, history.
func visibleRequests() []request {
	var out []request
	for _, path := range []string{
		"Patient/P1", "Patient/P1/_history", "Patient/P1/_history/1", "Condition/C2", "Condition/C2/_history", "Condition/H1", "Condition/H2/_history", "Observation/H1/_history/1",
		"Condition?patient=P1", "Condition?patient=P1&_total=accurate", "Condition?patient=P1&_summary=count", "Condition?_count=0", "Condition?_count=1",
		"Condition?code=F11.20", "Condition?code:not=F11.20&_total=accurate", "Condition?patient=P1&recorded-date=ge2026-01-01&_total=accurate",
		"Condition?patient=P1&_sort=recorded-date&_count=1", "Condition?patient=P1&_sort=-_lastUpdated&_count=1", "Condition?patient=P1&_sort=code,-_id",
		"Observation?patient=P1&_count=1", "Observation?patient=P1&_sort=-date&_total=accurate", "Observation?subject=Patient/P1&code=85354-9&_total=accurate",
		"Observation?_lastUpdated=ge2026-06-01T09:00:05Z", "MedicationRequest?patient=P1&_summary=count", "MedicationRequest?_sort=-authoredon&_count=1",
		"CarePlan?patient=P1&_total=accurate", "Coverage?patient=P1&_total=accurate", "Coverage?payor=Organization/plan",
		"Patient?_has:Condition:patient:code=F11.20", "Patient?_id=P1&_has:Condition:patient:recorded-date=ge2026-01-01&_total=accurate", "Patient?_has:Provenance:target:_lastUpdated=ge2020-01-01",
		"Condition?patient.name=zqcanary&_count=1", "Observation?subject:Patient._has:Condition:patient:code=F11.20", "Condition?_filter=code%20eq%20F11.20%20or%20code%20eq%20I10", "Condition?patient=P1&_filter=not%20(code%20eq%20F11.20)",
		"Patient/P1/Condition?_total=accurate", "Patient/P1/Observation?_count=1", "?_type=Condition,Observation&_total=accurate", "?_type=Condition,Observation&_count=1", "Condition?patient=P1&_content=zqcanary", "Condition?patient=P1&code:text=words",
		"Condition?patient=P1&_security=42CFRPart2&_total=accurate", "Condition?_security:not=42CFRPart2&_summary=count", "Condition?_total=estimate&_count=1", "Patient?_id=P1&_revinclude=*", "Condition?_include=*&_include:iterate=Patient:*&_count=1",
		"Observation?code:missing=false&_total=accurate", "Observation?value-quantity=gt1&_summary=count", "Condition?patient=P1&_summary=true", "Condition?patient=P1&_elements=code",
		"Provenance?target=Condition/C2&_total=accurate", "Provenance?patient=P1", "Patient?_revinclude=Condition:patient&_revinclude=Observation:patient&_revinclude=CarePlan:subject",
		"Patient?_id=P1&_revinclude=Provenance:target&_revinclude=Coverage:payor", "Observation?patient=P1&_include=Observation:subject", "Condition?_include=Condition:patient&_count=1",
		"Condition/_history?_count=1", "Observation/_history", "CarePlan/_history", "_history?_count=2", "_history",
		"_history?_since=2026-06-01T09:00:03Z&_count=1", "Condition/_history?_at=2026-06-01T09:00:04Z", "Condition/H1/_history?_since=2026-01-01", "Condition/C2/_history?_at=2026-06-01",
		"Condition?patient=P1&_has:Provenance:target:agent=Organization/otp", "Condition?nonsense=1",
	} {
		out = append(out, request{method: "GET", path: path})
	}
	for _, path := range []string{"Condition/C2", "Condition/H1", "Observation/H2", "Patient/P1"} {
		out = append(out, request{method: "HEAD", path: path}, request{method: "GET", path: path, header: map[string]string{"If-None-Match": `*`}}, request{method: "GET", path: path, header: map[string]string{"If-Modified-Since": "Mon, 01 Jun 2026 09:00:03 GMT"}})
	}
	for _, form := range []string{"patient=P1", "patient=P1&_total=accurate&_sort=-_id", "code=F11.20&_summary=count"} {
		out = append(out, request{method: "POST", path: "Condition/_search", body: []byte(form), contentType: "application/x-www-form-urlencoded"})
	}
	return out
}
