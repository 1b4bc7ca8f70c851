package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

// The synthetic people of `trellis bench`. Each has a chart at the hospital. Of three, one also has records
// of an opioid treatment program that the reading clinic may not see, one has such records and consented
// to their disclosure, and one has none.

const (
	benchConditions   = 3
	benchEncounters   = 3
	benchObservations = 24 // of the hospital, about each patient: more than one page
	benchProgram      = 6  // Observations of the program, between those of the hospital
	benchPage         = 20
)

// The organisations and clients of the benchmark.
const (
	benchHospital = "hospital"
	benchOTP      = "otp"
	benchReader   = "clinic"
)

func benchOrganizations() []access.Organization {
	return []access.Organization{
		{ID: benchHospital, Name: "Benchmark Hospital", Class: access.CoveredEntity},
		{ID: benchOTP, Name: "Benchmark Opioid Treatment Program", Class: access.Part2ProgramCE},
		{ID: benchReader, Name: "Benchmark Clinic", Class: access.CoveredEntity},
	}
}

// benchID spreads ids as random ones would be, and can be computed by PostgreSQL too.
func benchID(name string) string { return uuid.UUID(md5.Sum([]byte(name))).String() }

// patientID is the id of the patient with that number, from 0.
func patientID(patient int) string { return benchID("patient " + strconv.Itoa(patient)) }

// observationID is the id of one of a patient's hospital Observations; all are numbered from 1.
func observationID(patient, n int) string {
	return benchID(strconv.Itoa(patient*benchObservations + n + 1))
}

// consented reports whether a patient with records of the program let them be disclosed.
func consented(patient int) bool { return patient%3 == 2 }

// encounterID is the id of one of a patient's hospital visits.
func encounterID(patient, n int) string { return benchID(fmt.Sprint("encounter ", patient, " ", n)) }

// population writes patients through the store, as a write of their custodian would.
type population struct {
	g   *gateway
	now time.Time
}

// load writes patients from (inclusive) to (exclusive).
func (b *population) load(ctx context.Context, from, to int, bar *progress) error {
	const loaders = 4
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	next := from
	for range loaders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				mu.Lock()
				patient := next
				next++
				stop := patient >= to || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				err := b.patient(ctx, patient)
				mu.Lock()
				failed = errors.Join(failed, err)
				bar.step()
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return failed
}

func (b *population) patient(ctx context.Context, patient int) error {
	id := patientID(patient)
	subject := reference("Patient/" + id)
	chart := []map[string]any{{"resourceType": "Patient", "id": id, "active": true, "gender": "female", "birthDate": fmt.Sprintf("19%02d-04-12", patient%90+10),
		"name": []any{map[string]any{"family": "Bench" + strconv.Itoa(patient), "given": []string{"Synthetic"}}}}}
	for n := range benchConditions {
		chart = append(chart, map[string]any{"resourceType": "Condition", "id": benchID(fmt.Sprint("condition ", patient, " ", n)), "subject": subject,
			"code": coded(fhir.SystemICD10CM, []string{"I10", "E11.9", "M54.5"}[n]), "recordedDate": b.now.AddDate(0, -n, -patient%28).Format("2006-01-02")})
	}
	for n := range benchEncounters {
		chart = append(chart, benchEncounter(encounterID(patient, n), id, benchHospital))
	}
	for n := range benchObservations {
		chart = append(chart, benchObservation(observationID(patient, n), id, encounterID(patient, n%benchEncounters), b.now.Add(-time.Duration(2*n+1)*36*time.Hour), n))
	}
	if err := b.write(ctx, benchHospital, chart); err != nil || patient%3 == 0 {
		return err
	}
	program := []map[string]any{{"resourceType": "Condition", "id": benchID(fmt.Sprint("program ", patient)), "subject": subject,
		"code": coded(fhir.SystemICD10CM, "F11.20"), "recordedDate": b.now.AddDate(0, -4, 0).Format("2006-01-02")}}
	visit := benchID(fmt.Sprint("visit ", patient))
	program = append(program, benchEncounter(visit, id, benchOTP))
	for n := range benchProgram {
		program = append(program, benchObservation(benchID(fmt.Sprint("program ", patient, " ", n)), id, visit, b.now.Add(-time.Duration(8*n+2)*36*time.Hour), n))
	}
	if consented(patient) {
		consent := (&loader{now: b.now}).consent(person{consent: "tpo"}, "Patient/"+id)
		consent["id"] = benchID(fmt.Sprint("consent ", patient))
		program = append(program, consent, map[string]any{"resourceType": "CareTeam", "id": benchID(fmt.Sprint("team ", patient)), "status": "active", "subject": subject,
			"period":      map[string]any{"start": b.now.AddDate(-1, 0, 0).Format("2006-01-02")},
			"participant": []any{map[string]any{"role": []any{map[string]any{"text": "Clinic"}}, "member": reference("Organization/" + benchReader)}}})
	}
	return b.write(ctx, benchOTP, program)
}

// sign is a kind of vital sign.
type sign struct {
	code, display, unit string
	value               float64
}

func benchSigns() []sign {
	return []sign{{"8867-4", "Heart rate", "/min", 71}, {"9279-1", "Respiratory rate", "/min", 14}, {"8310-5", "Body temperature", "Cel", 36.7}, {"29463-7", "Body weight", "kg", 80.5}}
}

// benchCodes are the LOINC codes of the Observations.
func benchCodes() []string {
	var out []string
	for _, s := range benchSigns() {
		out = append(out, s.code)
	}
	return out
}

// benchObservation is a vital sign, about as large as those of public synthetic data.
func benchObservation(id, patient, encounter string, at time.Time, n int) map[string]any {
	sign := benchSigns()[n%len(benchSigns())]
	doc := map[string]any{"resourceType": "Observation", "status": "final",
		"category": []any{map[string]any{"coding": []any{map[string]any{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs", "display": "Vital signs"}}}},
		"code":     map[string]any{"coding": []any{map[string]any{"system": fhir.SystemLOINC, "code": sign.code, "display": sign.display}}, "text": sign.display},
		"subject":  reference("Patient/" + patient), "encounter": reference("Encounter/" + encounter), "effectiveDateTime": at.Format(time.RFC3339), "issued": at.Format(fhir.InstantLayout),
		"performer":     []any{reference("Organization/" + benchHospital)},
		"valueQuantity": map[string]any{"value": sign.value + float64(n), "unit": sign.unit, "system": "http://unitsofmeasure.org", "code": sign.unit}}
	if id != "" {
		doc["id"] = id
	}
	return doc
}

func benchEncounter(id, patient, organization string) map[string]any {
	return map[string]any{"resourceType": "Encounter", "id": id, "status": "finished", "subject": reference("Patient/" + patient),
		"class":           map[string]any{"system": fhir.SystemActCode, "code": "AMB"},
		"serviceProvider": reference("Organization/" + organization)}
}

// write stores documents of an organisation in one transaction with their audit leaf.
func (b *population) write(ctx context.Context, organization string, docs []map[string]any) error {
	org, err := b.g.store.Organization(ctx, organization)
	if err != nil {
		return err
	}
	changes := make([]store.Change, 0, len(docs))
	for _, doc := range docs {
		data, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		res, err := fhir.ReadTrusted(data)
		if err != nil {
			return err
		}
		verdict := b.g.labels.Examine(res, org.Source(), nil)
		changes = append(changes, store.Change{Method: store.Update, Type: res.Type, ID: res.ID, Resource: res, Owner: organization, MayCreate: true,
			Segment: verdict.Segment, Verdict: &verdict})
	}
	_, err = b.g.store.Apply(ctx, changes, func(w []store.Written) (store.Commit, error) {
		leaf, err := audit.NewLeaf(intake.WriteEvents(access.Principal{Client: organization, Organization: org, Purpose: "TREAT"}, "transaction", uuid.NewString(), "", w)...)
		return store.Commit{Leaves: []audit.Leaf{leaf}}, err
	})
	return err
}

// benchResources is how many resources a number of patients has, organisations aside.
func benchResources(patients int) int {
	n := 0
	for p := range patients {
		n += 1 + benchConditions + benchEncounters + benchObservations
		if p%3 != 0 {
			n += 2 + benchProgram
		}
		if consented(p) {
			n += 2
		}
	}
	return n
}

// newObservation is the JSON of an Observation to create about one of the first patients.
func (b *population) newObservation(patients int, random *rand.Rand) ([]byte, error) {
	at := b.now.Add(-time.Duration(random.Int64N(int64(300 * 24 * time.Hour)))).Truncate(time.Second)
	patient := random.IntN(patients)
	return json.Marshal(benchObservation("", patientID(patient), encounterID(patient, random.IntN(benchEncounters)), at, random.IntN(100)))
}

// newTransaction is a Bundle that creates some.
func (b *population) newTransaction(patients int, random *rand.Rand) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(`{"resourceType":"Bundle","type":"transaction","entry":[`)
	for i := range benchEntries {
		doc, err := b.newObservation(patients, random)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"fullUrl":"urn:uuid:%s","resource":%s,"request":{"method":"POST","url":"Observation"}}`, uuid.NewString(), doc)
	}
	out.WriteString("]}")
	return out.Bytes(), nil
}

// benchEntries is how many resources the measured transaction creates.
const benchEntries = 20
