package consent

import (
	"fmt"
	"strings"
	"testing"
)

// bare is an instrument as a foreign form has it: no category or policy of ours.
const bare = `{"resourceType":"Consent","id":"k","status":"active","scope":{"text":"privacy"},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],
 "patient":{"reference":"Patient/p"},"dateTime":"2026-01-01","policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2CD"}]},
 "provision":{"type":"permit","actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Organization/hospital"}}],
  "purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]}}`

func TestReadForeignForms(t *testing.T) {
	const rule = `"42CFRPart2CD"`
	const actor = `"reference":{"reference":"Organization/hospital"}`
	for _, tc := range []struct{ name, old, new, want string }{
		{"Part 2, a named recipient", `x`, `x`, "part2-specific [hospital]"},
		{"Part 2, a class, within TPO", actor, `"reference":{"identifier":{"system":"` + SystemClass + `","value":"treating-providers"}}`, "part2-tpo []"},
		{"Part 2, a class, for more than TPO", actor + `}],
  "purpose":[`, `"reference":{"identifier":{"system":"` + SystemClass + `","value":"treating-providers"}}}],
  "purpose":[{"code":"HMARKT"},`, "part2-specific []"},
		{"HIPAA", `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2CD"}`, `{"system":"http://terminology.hl7.org/CodeSystem/consentpolicycodes","code":"hipaa-auth"}`, "hipaa-auth [hospital]"},
		{"no law named", rule, `"other"`, " [hospital]"},
		{"a refusal", `"type":"permit"`, `"type":"deny"`, "restriction [hospital]"},
		{"opted out", `"type":"permit",`, ``, "restriction [hospital]"},
		{"opted in", `"code":"42CFRPart2CD"}]},
 "provision":{"type":"permit",`, `"code":"42CFRPart2CD"},{"code":"OPTIN"}]},
 "provision":{`, "part2-specific [hospital]"},
		{"in and out", `"code":"42CFRPart2CD"}]},
 "provision":{"type":"permit",`, `"code":"OPTOUT"},{"code":"OPTIN"}]},
 "provision":{`, "restriction [hospital]"},
		{"an id as identifier", actor, `"reference":{"identifier":{"system":"` + SystemIDs + `","value":"hospital"}}`, "part2-specific [hospital]"},
		{"an identifier nobody here knows", actor, `"reference":{"identifier":{"system":"http://hl7.org/fhir/sid/us-npi","value":"1"}}`, "part2-specific [] unread"},
		{"a custodian is no recipient", `"IRCP"`, `"CST"`, "part2-specific [] unread"},
		{"a modifier nobody knows", `"dateTime"`, `"modifierExtension":[{"url":"https://elsewhere.example/not","valueBoolean":true}],"dateTime"`, "part2-specific [hospital] broken"},
	} {
		doc := strings.Replace(bare, tc.old, tc.new, 1)
		if doc == bare && tc.old != tc.new {
			t.Fatalf("%s: nothing was changed", tc.name)
		}
		c := read(t, doc)
		got := fmt.Sprint(c.Kind, " ", c.Root.Actors)
		if c.Root.Inexpressible {
			got += " unread"
		}
		if c.Broken {
			got += " broken"
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestUnreadRecipient: a refusal that names somebody we do not know may mean anybody.
func TestUnreadRecipient(t *testing.T) {
	doc := strings.NewReplacer(`"reference":{"reference":"Organization/hospital"}`, `"reference":{"identifier":{"system":"http://hl7.org/fhir/sid/us-npi","value":"1"}}`, `"type":"permit"`, `"type":"deny"`).Replace(bare)
	c := read(t, doc)
	c.Recorder = "otp"
	q := Query{Recipient: "rco", Purpose: "TREAT", Discloser: "otp", At: c.Recorded}
	if f := Evaluate([]Consent{c}, q)[0]; !f.Deny {
		t.Errorf("a refusal of an unknown recipient: %+v", f)
	}
}

// TestControllers: HL7 FAST names who holds the records by extensions.
func TestControllers(t *testing.T) {
	doc := strings.Replace(bare, `"status"`, `"extension":[{"url":"`+ExtController+`","valueReference":{"reference":"Organization/otp"}},{"url":"`+ExtManager+`","valueReference":{"identifier":{"system":"`+SystemIDs+`","value":"clinic"}}},{"url":"`+ExtController+`","valueReference":{"identifier":{"system":"http://hl7.org/fhir/sid/us-npi","value":"1"}}}],"status"`, 1)
	if c := read(t, doc); fmt.Sprint(c.Disclosers) != "[otp clinic]" {
		t.Errorf("disclosers %v", c.Disclosers)
	}
}
