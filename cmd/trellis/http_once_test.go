package main

import (
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestIdempotencyKey: a write sent again with its key is not done again. The answer is that of the first time, as the
// records stand now, and it is logged.
func TestIdempotencyKey(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		key := func(k string) map[string]string { return map[string]string{"Idempotency-Key": k} }
		keyed := func(r request, k string) request { r.header = key(k); return r }
		transaction := bundleOf("transaction", doing("POST", "Patient", urnA, aPatient, ""), doing("POST", "Condition", "", about(urnA), ""), doing("DELETE", "Observation/O1", "", "", ""))
		for name, r := range map[string]request{
			"create":      {method: "POST", path: "Patient", body: []byte(aPatient)},
			"transaction": {method: "POST", body: transaction},
			"batch":       {method: "POST", body: bundleOf("batch", doing("POST", "Patient", "", aPatient, ""), doing("DELETE", "Observation?_id=O2", "", "", ""))},
			"patch":       {method: "PATCH", path: "Condition/C2", body: []byte(`[{"op":"remove","path":"/note"}]`), contentType: "application/json-patch+json"},
			"delete":      {method: "DELETE", path: "MedicationRequest/M2"},
		} {
			first := in.as("hospital", "TREAT").ask(keyed(r, name))
			stored := in.stored()
			again := in.as("hospital", "TREAT").ask(keyed(r, name))
			if first.status/100 != 2 || again.status != first.status || string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: %d %s\n%d %s", name, first.status, first.body, again.status, again.body)
			}
			if !maps.Equal(stored, in.stored()) {
				t.Errorf("%s was done again: %v, was %v", name, in.stored(), stored)
			}
			if name != "batch" {
				if events := in.eventsOf(again); len(events) == 0 || events[0].Outcome != "replayed" || again.header.Get("Idempotent-Replayed") != "true" {
					t.Errorf("%s: %v %+v", name, again.header, events)
				}
			}
		}
		r := request{method: "POST", path: "Patient", body: []byte(strings.Replace(aPatient, "zqcanary-t", "zqcanary-v", 1))}
		if a := in.as("hospital", "TREAT").ask(keyed(r, "create")); a.status != 422 {
			t.Errorf("another body under the key: %d %s", a.status, a.body)
		}
		if a := in.as("hospital-loader", "TREAT").ask(keyed(r, "create")); a.status != 201 {
			t.Errorf("another client's key: %d %s", a.status, a.body)
		}
		in.clock.advance(25 * time.Hour)
		if a := in.as("hospital", "TREAT").ask(keyed(r, "create")); a.status != 201 || a.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("a key a day later: %d %s", a.status, a.body)
		}
		if a := in.as("hospital", "TREAT").ask(keyed(r, strings.Repeat("k", 256))); a.status != 400 {
			t.Errorf("a key too long: %d", a.status)
		}
	})
}

// TestReplayIsDecidedAgain: what a key did is not kept as bytes. A token that no longer reaches gets nothing, and a
// refused write is not remembered.
func TestReplayIsDecidedAgain(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		r := request{method: "PUT", path: "Condition/C2", body: []byte(strings.Replace(about("Patient/P1"), `"Condition",`, `"Condition","id":"C2",`, 1)), header: map[string]string{"Idempotency-Key": "k", "If-Match": `W/"2"`}}
		if a := in.as("hospital", "TREAT").ask(r); a.status != 412 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		r.header["If-Match"] = `W/"1"`
		first := in.as("hospital", "TREAT").ask(r)
		narrow := r
		narrow.header = map[string]string{"Idempotency-Key": "k", "If-Match": `W/"1"`, "Authorization": "Bearer " + in.token("hospital", "HPAYMT", "system/Condition.r")}
		if a := in.send(narrow); first.status != 200 || a.status != 403 {
			t.Errorf("%d, then with a narrower token %d %s", first.status, a.status, a.body)
		}
	})
}

// TestIdempotencyKeyRace: a client that gave up and asks again while the first request still runs gets its answer.
func TestIdempotencyKeyRace(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		token := "Bearer " + in.token("hospital", "TREAT", anyScope)
		body := bundleOf("transaction", doing("POST", "Patient", urnA, aPatient, ""), doing("POST", "Condition", "", about(urnA), ""))
		replies := make([]reply, 20)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Add(1)
			go func() {
				defer wg.Done()
				replies[i] = in.send(request{method: "POST", body: body, header: map[string]string{"Authorization": token, "Idempotency-Key": "k"}})
			}()
		}
		wg.Wait()
		for _, r := range replies {
			if r.status != 200 || string(r.body) != string(replies[0].body) {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		if n := in.stored()["res"]; n != in.before(2) {
			t.Errorf("%d resources", n)
		}
	})
}
