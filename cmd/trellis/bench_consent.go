package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
)

// Sizes of what is measured of consent: a chart when a consent in it changes, and a smaller one in short runs.
const (
	benchChart      = 5000
	benchShortChart = 60
	benchQuestions  = 1000
)

// measureConsent measures what deciding costs: alone, over HTTP, as a share of a read, and when a consent changes; and how that
// grows with the consents of a patient and with the partners of a deployment.
func (b *storeBench) measureConsent(ctx context.Context) error {
	if err := b.grow(ctx, min(b.patients, 60)); err != nil {
		return err
	}
	b.rows = nil // how fast it was loaded stands in the first part
	for _, step := range []func(context.Context) error{b.decisions, b.decideCalls, b.charts, b.partners} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// benchSegment is a record of the program that names a sensitivity.
func benchSegment() label.Segment {
	return label.Segment{Custodian: benchOTP, Part2: true, Covered: true, Confidentiality: "R",
		Labels: []fhir.Coding{{System: fhir.SystemActCode, Code: "42CFRPart2"}, {System: fhir.SystemActCode, Code: "OPIOIDUD"}}}
}

// decisions measures the pure function by the consents a patient has, and what one decision is of a read.
func (b *storeBench) decisions(ctx context.Context) error {
	fmt.Fprintf(b.stderr, "%s: decisions\n", b.name)
	standing, err := b.site.store.Standing(ctx, patientID(2), time.Time{}) // one that consented
	if err != nil {
		return err
	}
	if len(standing.Facts.Consents) == 0 {
		return errors.New("the patient of the benchmark has no consent")
	}
	reader, err := b.site.store.Organization(ctx, benchReader)
	if err != nil {
		return err
	}
	one := standing.Facts.Consents[0]
	var cost time.Duration
	for _, n := range []int{1, 10, 100} {
		facts := standing.Facts
		facts.Consents = nil
		for i := range n {
			c := one
			c.ID = fmt.Sprint("c", i)
			facts.Consents = append(facts.Consents, c)
		}
		r := access.Request{Principal: access.Principal{Organization: reader, Purpose: "TREAT"}, Segment: benchSegment(), ResourceType: "Observation", Patient: patientID(2), Facts: facts, Terms: standing.Terms, Now: b.data.now}
		if d := access.Decide(r); d.Effect != access.Permit {
			return fmt.Errorf("the benchmark's decision is %s %s", d.Effect, d.Code)
		}
		made := 0
		begin := time.Now()
		for time.Since(begin) < time.Second/2 {
			for range 100 {
				access.Decide(r)
			}
			made += 100
		}
		each := time.Since(begin) / time.Duration(made)
		if n == 1 {
			cost = each
		}
		b.single(fmt.Sprintf("deciding, the function alone on one core, %d consent(s) on file", n), fmt.Sprintf("%.0f /s", float64(time.Second)/float64(each)), "")
	}
	return b.shareOfRead(ctx, cost)
}

// shareOfRead is what deciding anew would be of a read, were no decision kept.
func (b *storeBench) shareOfRead(ctx context.Context, cost time.Duration) error {
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	request := func(random *rand.Rand) []byte {
		return b.get("/fhir/Observation/" + observationID(random.IntN(b.count), random.IntN(benchObservations)))
	}
	t, err := httpSide(b.site.address, 1, 200, request).run(ctx, b.seconds)
	if err != nil || t.errors > 0 {
		return errors.Join(err, t.failure)
	}
	read := t.quantile(0.5)
	b.single("deciding anew, of a read by one client", fmt.Sprintf("%.1f us of %.0f us: %.1f %%", cost.Seconds()*1e6, read.Seconds()*1e6, 100*cost.Seconds()/read.Seconds()), "<= 10 %")
	return nil
}

// decideCalls measures POST /consent/decide with as many questions as one call takes.
func (b *storeBench) decideCalls(ctx context.Context) error {
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	var questions []string
	for i := range benchQuestions {
		questions = append(questions, fmt.Sprintf(`{"patient":%q,"actor":%q,"purpose":"TREAT","resourceType":"Observation","labels":[{"system":%q,"code":"42CFRPart2"}]}`, patientID(i%b.count), benchHospital, fhir.SystemActCode))
	}
	body := `{"requests":[` + strings.Join(questions, ",") + `]}`
	request := fmt.Appendf(nil, "POST /consent/decide HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", b.site.tokens[benchReader], len(body), body)
	t, err := httpSide(b.site.address, 2, 200, func(*rand.Rand) []byte { return request }).run(ctx, b.seconds)
	if err != nil || t.errors > 0 {
		return errors.Join(err, t.failure)
	}
	b.single(fmt.Sprintf("POST /consent/decide, %d questions a call, audit on, 2 clients", benchQuestions), fmt.Sprintf("%.0f decisions/s, p50 of a call %.0f ms", t.rate()*benchQuestions, ms(t.quantile(0.5))), "")
	return nil
}

// chart writes a patient with records of the program alone.
func (b *storeBench) chart(ctx context.Context, name string, records int) (patient string, err error) {
	patient = benchID(name)
	docs := []map[string]any{{"resourceType": "Patient", "id": patient, "active": true},
		{"resourceType": "CareTeam", "id": benchID(name + " team"), "status": "active", "subject": reference("Patient/" + patient), "participant": []any{map[string]any{"member": reference("Organization/" + benchReader)}}}}
	for n := range records {
		if docs = append(docs, benchObservation(benchID(fmt.Sprint(name, " ", n)), patient, benchID(name+" visit"), b.data.now.Add(-time.Duration(n)*time.Hour), n)); len(docs) == 500 {
			if err := b.data.write(ctx, benchOTP, docs); err != nil {
				return "", err
			}
			docs = nil
		}
	}
	if len(docs) == 0 {
		return patient, nil
	}
	return patient, b.data.write(ctx, benchOTP, docs)
}

// consentOf is a TPO consent of a patient; another turn makes another version.
func (b *storeBench) consentOf(patient, name string, turn int) map[string]any {
	doc := (&loader{now: b.data.now}).consent(person{consent: "tpo"}, "Patient/"+patient)
	doc["id"] = benchID(name)
	doc["language"] = []string{"en", "es"}[turn%2]
	doc["status"] = []string{"active", "inactive"}[turn%2] // every grant opens or closes
	return doc
}

// codedConsentOf is one that lets records with one code go and no others; another turn names another code, so that records
// are singled out that were not before.
func (b *storeBench) codedConsentOf(patient, name string, turn int) map[string]any {
	doc := b.consentOf(patient, name, 0)
	doc["provision"].(map[string]any)["code"] = []any{coded(fhir.SystemLOINC, benchCodes()[turn%2])}
	return doc
}

// changed is the median time in which a consent is changed and what follows from it is durable.
func (b *storeBench) changed(ctx context.Context, version func(turn int) map[string]any, times int) (time.Duration, error) {
	var all []time.Duration
	for turn := range times {
		begin := time.Now()
		if err := b.data.write(ctx, benchOTP, []map[string]any{version(turn)}); err != nil {
			return 0, err
		}
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// charts measures a change of a consent in a large chart, and both that and a search by the number of consents.
func (b *storeBench) charts(ctx context.Context) error {
	records, target := benchChart, ""
	if b.patients < 100 {
		records = benchShortChart
	}
	if b.name == "sqlite" {
		target = "< 50 ms"
	}
	fmt.Fprintf(b.stderr, "%s: consents that change\n", b.name)
	for _, kind := range []struct {
		name, chart string
		version     func(patient, name string, turn int) map[string]any
	}{{"a consent", "large chart", b.consentOf}, {"a consent by code", "other large chart", b.codedConsentOf}} {
		patient, err := b.chart(ctx, kind.chart, records)
		if err != nil {
			return err
		}
		took, err := b.changed(ctx, func(turn int) map[string]any { return kind.version(patient, "consent of the "+kind.chart, turn) }, 10)
		if err != nil {
			return err
		}
		b.single(fmt.Sprintf("%s changes, patient with %d resources, grants included", kind.name, records), fmt.Sprintf("%.1f ms", ms(took)), target)
	}
	for _, n := range []int{1, 10, 100} {
		name := fmt.Sprint("consents ", n)
		patient, err := b.chart(ctx, name, min(records, 200))
		if err != nil {
			return err
		}
		var docs []map[string]any
		for i := range n {
			docs = append(docs, b.consentOf(patient, fmt.Sprint(name, " of ", i), 0))
		}
		if err := b.data.write(ctx, benchOTP, docs); err != nil {
			return err
		}
		took, err := b.changed(ctx, func(turn int) map[string]any { return b.consentOf(patient, fmt.Sprint(name, " of 0"), turn) }, 9) // ends as it began: in force
		if err != nil {
			return err
		}
		if err := b.site.renew(ctx); err != nil {
			return err
		}
		t, err := httpSide(b.site.address, 1, 200, func(*rand.Rand) []byte { return b.get(searchPath(patient, benchPage)) }).run(ctx, b.seconds/2)
		if err != nil || t.errors > 0 {
			return errors.Join(err, t.failure)
		}
		b.single(fmt.Sprintf("%d consent(s) of a patient: one changes; search p50", n), fmt.Sprintf("%.1f ms; %.2f ms", ms(took), ms(t.quantile(0.5))), "")
	}
	return nil
}

// partners measures the same change by the number of organisations that might receive.
func (b *storeBench) partners(ctx context.Context) error {
	patient, registered := benchID("large chart"), 0
	counts := []int{10, 1000}
	if b.patients < 100 {
		counts = []int{10, 20}
	}
	for _, n := range counts {
		for ; registered < n; registered++ {
			id := fmt.Sprint("partner-", registered)
			if _, err := b.site.store.PutOrganization(ctx, access.Organization{ID: id, Name: id, Class: access.CoveredEntity}); err != nil {
				return err
			}
		}
		took, err := b.changed(ctx, func(turn int) map[string]any { return b.consentOf(patient, "consent of the large chart", turn) }, 4)
		if err != nil {
			return err
		}
		b.single(fmt.Sprintf("a consent changes, %d partners", n), fmt.Sprintf("%.1f ms", ms(took)), "")
	}
	return nil
}
