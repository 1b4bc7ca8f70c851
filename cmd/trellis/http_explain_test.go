package main

import (
	"bytes"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
)

// TestExplainIsTheStoredDecision holds explain to the decisions reads were answered by: with a clock that
// stands still the two are the same bytes, whatever the answer was.
func TestExplainIsTheStoredDecision(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1", "K2")
		for _, c := range []struct {
			as, purpose string
			ref         fhir.Reference
			status      int
		}{
			{"hospital", "TREAT", fhir.Reference{Type: "Condition", ID: "C1"}, 200},
			{"hospital", "TREAT", fhir.Reference{Type: "Condition", ID: "C2"}, 200},
			{"hospital", "HLEGAL", fhir.Reference{Type: "Condition", ID: "C1"}, 404},
			{"hospital", "TREAT", fhir.Reference{Type: "DocumentReference", ID: "N1"}, 404},
			{"hospital", "TREAT", fhir.Reference{Type: "Condition", ID: "nobody"}, 404},
			{"rco", "COC", fhir.Reference{Type: "CarePlan", ID: "CP1"}, 200},
			{"plan", "HPAYMT", fhir.Reference{Type: "Organization", ID: "otp"}, 200},
		} {
			a := in.as(c.as, c.purpose).get(c.ref.String())
			events := in.eventsOf(a)
			if a.status != c.status || len(events) != 1 {
				t.Errorf("%s for %s: status %d, %d events", c.ref, c.as, a.status, len(events))
				continue
			}
			explained, err := explain(t.Context(), in.gateway.store, c.as, c.purpose, c.ref, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(explained, events[0].Decision) {
				t.Errorf("%s for %s:\nexplained %s\nlogged    %s", c.ref, c.as, explained, events[0].Decision)
			}
		}
	})
}

// TestExplainAsOf replays a decision after what it rested on has changed.
func TestExplainAsOf(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		ref := fhir.Reference{Type: "Condition", ID: "C1"}
		before := time.Date(2026, 6, 1, 11, 59, 59, 0, time.UTC)
		in.clock.set(before)
		logged := in.eventsOf(in.as("hospital", "TREAT").get("Condition/C1"))[0].Decision
		in.clock.set(before.Add(time.Second))
		k4, _ := fixture(t).Given("K4")
		in.put(k4)
		in.clock.set(before.Add(time.Hour))
		replayed, err := explain(t.Context(), in.gateway.store, "hospital", "TREAT", ref, before)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(replayed, logged) {
			t.Errorf("as of %s:\nreplayed %s\nlogged   %s", before, replayed, logged)
		}
		now, err := explain(t.Context(), in.gateway.store, "hospital", "TREAT", ref, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(now, []byte(`"CONSENT_REVOKED"`)) || !bytes.Contains(now, []byte(`"effect":"`+access.Deny.String()+`"`)) {
			t.Errorf("today: %s", now)
		}
	})
}
