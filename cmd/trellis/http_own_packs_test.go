package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trellis/gateway/intake"
)

// TestOwnPacks: a deployment's own packs take records like those of the program, and are published with the guide.
func TestOwnPacks(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallationWith(t, where, "", func(c *config) { c.Packs = filepath.Join("..", "..", "mapping", "example") })
		in.load()
		sheet, err := csvDelivery([]string{filepath.Join("..", "..", "mapping", "example", "visits.csv")})
		if err != nil {
			t.Fatal(err)
		}
		header := map[string]string{"Authorization": "Bearer " + in.token("rco", "COC", anyScope)}
		send := func(want string) {
			t.Helper()
			a := in.send(request{method: "POST", path: in.gateway.public + "/intake/recovery-center-visits", body: sheet.body, contentType: sheet.contentType, header: header})
			in.checkIndex()
			var r intake.Receipt
			if err := json.Unmarshal(a.body, &r); a.status != 200 || err != nil {
				t.Fatalf("%d %.400s", a.status, a.body)
			}
			own := 0
			for _, record := range r.Records {
				for _, m := range record.Resources {
					if strings.HasPrefix(m.Reference, "Encounter/") {
						if own++; m.Status != want {
							t.Errorf("%s is %s, want %s", m.Reference, m.Status, want)
						}
					}
				}
			}
			if own != 40 {
				t.Errorf("%d visits of 40", own)
			}
		}
		send("created")
		send("unchanged")
		if a := in.send(request{method: "GET", path: in.gateway.public + "/map", header: header}); !bytes.Contains(a.body, []byte("recovery-center-visits")) || !bytes.Contains(a.body, []byte("recovery-plan")) {
			t.Errorf("the packs: %s", a.body)
		}
		if err := in.gateway.publishGuide(t.Context(), demoPosture().operator()); err != nil {
			t.Fatal(err)
		}
		in.checkIndex()
		if a := in.as("rco", "COC").get("StructureDefinition/trellis-recovery-center-visits-encounter"); a.status != 200 {
			t.Errorf("what the pack makes is not published: %d %s", a.status, a.body)
		}
	})
}

// A packs folder that is none, or has a pack with faults, is a fault of the configuration; each names its file and line.
func TestOwnPacksWithFaults(t *testing.T) {
	bad := ownPacks(t, "ours", func(file, text string) string {
		return strings.Replace(text, "resource: Encounter", "resource: Encuonter", 1)
	})
	for folder, says := range map[string]string{bad: filepath.Join(bad, "ours") + "/", filepath.Join(bad, "none"): "packs: "} {
		file := filepath.Join(t.TempDir(), "trellis.yaml")
		text := "public_url: https://gateway.example\ndata: " + t.TempDir() + "\npacks: " + folder + "\norganizations: [{id: otp, name: OTP, class: part2_program_ce}]\n" +
			"posture: {part2_program: false, covered_entity: true, business_associate_of: [], qsoa_with: [], intermediary: false}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readConfig(file); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// provenanceIn reads the Provenance of a receipt's record.
func (v ehr) provenanceIn(r intake.Receipt) string {
	v.in.t.Helper()
	for _, m := range r.Records[0].Resources {
		if strings.HasPrefix(m.Reference, "Provenance/") {
			return string(v.get(m.Reference).body)
		}
	}
	v.in.t.Fatal("no Provenance")
	return ""
}

// TestIntakeKeepsLineage: where every element comes from is kept in the Provenance when a delivery asks for it, or the
// deployment for all of them; and only then.
func TestIntakeKeepsLineage(t *testing.T) {
	const origin = `"valueString":"Goal.description.text"`
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		v, record := ehr{in.as(loading("rco"), "")}, planRecord(t)
		traced := func() intake.Receipt {
			t.Helper()
			return in.sendRecordTo("recovery-plan?lineage=true", "rco", record)
		}
		first := traced()
		if doc := v.provenanceIn(first); !strings.Contains(doc, origin) || !strings.Contains(doc, "/goals/0/own_words") || strings.Contains(doc, "canary") {
			t.Errorf("no origins: %.600s", doc)
		}
		unchangedAll(t, traced())
		v.edit(v.goalIn(first, goalActive), goalActive, ownElement+goalDone)
		if got := taken(traced()); got != "taken [/goals/[g1]/status], conflicts [], kept 1, tasks 0" {
			t.Error(got)
		}
		if doc := v.provenanceIn(first); !strings.Contains(doc, origin) {
			t.Error("a merge lost the origins")
		}
		if doc := v.provenanceIn(in.sendRecord("rco", record)); strings.Contains(doc, origin) {
			t.Error("there are origins nobody asked for")
		}
		a := in.send(request{method: "POST", path: in.gateway.public + "/intake/recovery-plan?lineage=perhaps", body: []byte(record), contentType: "application/json",
			header: map[string]string{"Authorization": "Bearer " + in.token("rco", "COC", anyScope)}})
		if a.status != 400 || bytes.Contains(a.body, []byte("perhaps")) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// TestIntakeKeepsLineageOfAll: as a setting it holds for every delivery.
func TestIntakeKeepsLineageOfAll(t *testing.T) {
	in := newInstallationWith(t, location{data: t.TempDir()}, "", func(c *config) { c.Lineage = true })
	in.load()
	v := ehr{in.as(loading("rco"), "")}
	if doc := v.provenanceIn(in.sendRecord("rco", planRecord(t))); !strings.Contains(doc, `"valueString":"Goal.description.text"`) {
		t.Errorf("no origins: %.600s", doc)
	}
}
