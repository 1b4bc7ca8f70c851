package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestLargeTransaction sends a patient's whole record in one Bundle whose entries refer to each other by urn:uuid, as
// public synthetic data does: it is taken whole, every reference leads to what was made, and sending it again under
// its key makes nothing.
func TestLargeTransaction(t *testing.T) {
	const encounters, perEncounter = 250, 7 // 2,001 entries with the Patient
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		urn := func(kind, n int) string { return fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%04d%08d", kind, n) }
		entries := []string{doing("POST", "Patient", urn(0, 0), aPatient, "")}
		for i := range encounters {
			for j := range perEncounter {
				entries = append(entries, doing("POST", "Observation", urn(2, i*perEncounter+j), fmt.Sprintf(`{"resourceType":"Observation","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}],`+
					`"code":{"coding":[{"system":"http://loinc.org","code":"8302-%d"}]},"subject":{"reference":%q},"encounter":{"reference":%q},"effectiveDateTime":"2026-02-%02dT10:00:00Z","valueQuantity":{"value":%d,"system":"http://unitsofmeasure.org","code":"cm"}}`,
					j, urn(0, 0), urn(1, i), 1+i%28, 100+j), ""))
			}
			entries = append(entries, doing("POST", "Encounter", urn(1, i), fmt.Sprintf(`{"resourceType":"Encounter","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"subject":{"reference":%q}}`, urn(0, 0)), ""))
		}
		ask := request{method: "POST", body: bundleOf("transaction", entries...), header: map[string]string{"Idempotency-Key": "whole"}}
		first := in.as("hospital", "").ask(ask)
		b := first.bundled(t)
		for i, status := range b.statuses() {
			if status != "201" {
				t.Fatalf("entry %d: %s", i, status)
			}
		}
		if len(b.Entry) != len(entries) || in.stored()["res"] != in.before(int64(len(entries))) {
			t.Errorf("%d answers to %d entries, %d resources", len(b.Entry), len(entries), in.stored()["res"])
		}
		place := func(i int) string { return strings.SplitN(b.Entry[i].Response.Location, "/_history", 2)[0] }
		last := string(in.as("hospital", "").get(place(len(entries) - 2)).body) // an Observation, before its Encounter
		for _, i := range []int{0, len(entries) - 1} {
			if !strings.Contains(last, `"reference":"`+place(i)+`"`) {
				t.Errorf("the last Observation does not lead to %s: %s", place(i), last)
			}
		}
		if again := in.as("hospital", "").ask(ask); again.status != 200 || string(again.body) != string(first.body) || in.stored()["res"] != in.before(int64(len(entries))) {
			t.Errorf("sent again: %d, %d resources", again.status, in.stored()["res"])
		}
	})
}
