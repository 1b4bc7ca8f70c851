package main

import (
	"fmt"
	"strings"
	"testing"

	"trellis/fhir"
)

// TestValidateProfiles checks against StructureDefinitions that are stored: those that clients wrote and our own.
func TestValidateProfiles(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		if err := in.gateway.publishGuide(t.Context(), demoPosture().operator()); err != nil {
			t.Fatal(err)
		}
		const site = "http://example.org/StructureDefinition/"
		structure := func(id, version, element string) string {
			return `{"resourceType":"StructureDefinition","id":"` + id + `","url":"` + site + `named","version":"` + version + `","name":"Named","status":"active","kind":"resource","abstract":false,"type":"Patient",
				"baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient","derivation":"constraint","snapshot":{"element":[{"id":"Patient","path":"Patient","definition":"x","min":0,"max":"*"},` + element + `]}}`
		}
		v := in.as("rco", "COC")
		ask := func(members string, profiles ...string) string {
			t.Helper()
			list := ""
			for _, p := range profiles {
				list += `,{"name":"profile","valueUri":"` + p + `"}`
			}
			a := v.ask(request{method: "POST", path: "Patient/$validate", body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Patient"` + members + `}}` + list + `]}`)})
			if a.status != 200 || strings.Contains(strings.ToLower(string(a.body)), canary) {
				t.Errorf("%s: %d %s", members, a.status, a.body)
				return ""
			}
			return fmt.Sprint(a.issues(t))
		}
		expect := func(name, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		expect("not stored yet", ask(`,"name":[{"family":"Zqcanary"}]`, site+"named"), "[warning not-supported]")
		in.keep("hospital", structure("named-six", "6.1.0", `{"id":"Patient.name","path":"Patient.name","definition":"x","min":1,"max":"*"}`))
		in.keep("hospital", structure("named-seven", "7.0.0", `{"id":"Patient.maritalStatus","path":"Patient.maritalStatus","definition":"x","min":1,"max":"1","type":[{"code":"CodeableConcept"}],"binding":{"strength":"required","valueSet":"http://example.org/ValueSet/colours"}}`))
		expect("another's definition", ask(`,"gender":"female"`, site+"named|6.1.0"), "[error required Patient.name]")
		expect("that version", ask(`,"name":[{"family":"Zqcanary"}]`, site+"named|6.1.0"), "[information informational]")
		expect("the latest", ask(`,"name":[{"family":"Zqcanary"}]`, site+"named"), "[error required Patient.maritalStatus]")
		expect("a version that is not there", ask(``, site+"named|8.0.0"), "[warning not-supported]")
		expect("claimed", ask(`,"meta":{"profile":["`+site+`named|6.1.0","`+site+`none"]}`), "[error required Patient.name warning not-supported Patient.meta.profile[1]]")

		wed := `,"maritalStatus":{"coding":[{"system":"urn:colour","code":"zqcanary"}]}`
		expect("a value set that is not there", ask(wed, site+"named"), "[information not-supported Patient.maritalStatus]")
		in.keep("hospital", `{"resourceType":"ValueSet","id":"colours","url":"http://example.org/ValueSet/colours","status":"active","compose":{"include":[{"system":"urn:colour","concept":[{"code":"red"}]}]}}`)
		expect("and one that is", ask(wed, site+"named"), "[error code-invalid Patient.maritalStatus]")

		in.keep("hospital", structure("named-six", "6.1.0", `{"id":"Patient.name","path":"Patient.name","definition":"x","min":0,"max":"*","constraint":[{"key":"n-1","severity":"error","human":"a family name","expression":"family.exists()"}]}`))
		expect("changed", ask(`,"name":[{"text":"Zqcanary"}]`, site+"named|6.1.0"), "[error invariant Patient.name[0]]")

		local := fhir.LocalBase + "/StructureDefinition/source-record-sha256"
		expect("an extension of ours", ask(`,"extension":[{"url":"`+local+`","valueBoolean":true}]`, site+"named|6.1.0"), "[information informational]") // the profile says nothing of extensions
		in.keep("hospital", structure("named-eight", "8.0.0", `{"id":"Patient.extension","path":"Patient.extension","definition":"x","min":0,"max":"*","type":[{"code":"Extension"}]}`))
		expect("an extension of ours, wrong", ask(`,"extension":[{"url":"`+local+`","valueBoolean":true}]`, site+"named"), "[error structure Patient.extension[0].value]")
		expect("an extension of others", ask(`,"extension":[{"url":"http://zqcanary.example/x","valueBoolean":true}]`, site+"named"), "[information not-supported Patient.extension[0]]")

		if a := in.as(loading("hospital"), "").ask(request{method: "DELETE", path: "StructureDefinition/named-six"}); a.status/100 != 2 {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		expect("deleted", ask(``, site+"named|6.1.0"), "[warning not-supported]")

		// A stored resource, as its reader gets it.
		in.load()
		a := in.as("hospital", "TREAT").get("Patient/P1/$validate?profile=" + site + "named%7C7.0.0")
		expect("stored", fmt.Sprint(a.issues(t)), "[error required Patient.maritalStatus]")
		if !strings.Contains(string(a.body), "(Patient.maritalStatus of "+site+"named|7.0.0)") {
			t.Errorf("the rule is not named: %s", a.body)
		}
	})
}
