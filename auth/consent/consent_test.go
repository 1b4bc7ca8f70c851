package consent

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// form is a complete TPO consent as R4; each test spoils one part of it.
const form = `{"resourceType":"Consent","id":"k","extension":[
 {"url":"https://trellis.example/fhir/StructureDefinition/consent-statement","extension":[{"url":"type","valueCode":"redisclosure"},{"url":"text","valueString":"t"}]},
 {"url":"https://trellis.example/fhir/StructureDefinition/consent-statement","extension":[{"url":"type","valueCode":"refusal"},{"url":"text","valueString":"t"}]},
 {"url":"https://trellis.example/fhir/StructureDefinition/consent-statement","extension":[{"url":"type","valueCode":"revocation"},{"url":"text","valueString":"t"}]},
 {"url":"https://trellis.example/fhir/StructureDefinition/consent-description","valueString":"all"},
 {"url":"https://trellis.example/fhir/StructureDefinition/consent-expiration-event","valueString":"none"}],
 "status":"active","scope":{"text":"privacy"},
 "category":[{"coding":[{"system":"https://trellis.example/fhir/CodeSystem/consent-kind","code":"part2-tpo"}]}],
 "patient":{"reference":"Patient/p"},"dateTime":"2026-01-01","organization":[{"reference":"Organization/otp"}],"sourceAttachment":{"title":"form"},
 "policyRule":{"coding":[{"code":"42CFRPart2CD"}]},
 "provision":{"type":"permit","extension":[{"url":"https://trellis.example/fhir/StructureDefinition/consent-recipient-class","valueCode":"treating-providers"}],
  "purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]}}`

func read(t *testing.T, doc string) Consent {
	t.Helper()
	return Read("k", 1, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), []byte(doc), "")
}

func TestValidate(t *testing.T) {
	c := read(t, form)
	if missing := c.Validate(); c.Broken || len(missing) > 0 {
		t.Fatalf("a complete form: broken %v, missing %v", c.Broken, missing)
	}
	for _, tc := range []struct{ name, old, new, want string }{
		{"kind", "part2-tpo", "something", "[kind 2.31]"},
		{"patient", "Patient/p", "Group/p", "[patient 2.31(a)(1)]"},
		{"discloser", "Organization/otp", "Practitioner/x", "[discloser 2.31(a)(2)]"},
		{"description", "consent-description", "other", "[description 2.31(a)(3)]"},
		{"recipient", "consent-recipient-class", "other", "[recipient 2.31(a)(4)]"},
		{"purpose", `"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]`, `"purpose":[]`, "[purpose 2.31(a)(5)]"},
		{"revocation statement", `"valueCode":"revocation"`, `"valueCode":"x"`, "[revocation-statement 2.31(a)(6)]"},
		{"expiry", "consent-expiration-event", "other", "[expiry 2.31(a)(7)]"},
		{"signature", "sourceAttachment", "_source", "[signature 2.31(a)(8)]"},
		{"date", `"dateTime":"2026-01-01",`, "", "[date 2.31(a)(9)]"},
		{"redisclosure statement", `"valueCode":"redisclosure"`, `"valueCode":"x"`, "[redisclosure-statement 2.31(a)(4)(iii)]"},
		{"refusal statement", `"valueCode":"refusal"`, `"valueCode":"x"`, "[refusal-statement 2.31(a)(10)]"},
		{"statement without text", `{"url":"type","valueCode":"refusal"},{"url":"text","valueString":"t"}`, `{"url":"type","valueCode":"refusal"}`, "[refusal-statement 2.31(a)(10)]"},
	} {
		doc := strings.Replace(form, tc.old, tc.new, 1)
		if doc == form {
			t.Fatalf("%s: nothing was spoiled", tc.name)
		}
		c := read(t, doc)
		var got []string
		for _, e := range c.Validate() {
			got = append(got, e.Code+" "+e.Section)
		}
		if fmt.Sprint(got) != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
		}
	}
}

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name, old, new string
		check          func(Consent) bool
	}{
		{"not JSON", "{", "", func(c Consent) bool { return c.Broken }},
		{"unreadable date", `"2026-01-01"`, `"yesterday"`, func(c Consent) bool { return c.Broken }},
		{"unreadable end", `"type":"permit"`, `"type":"permit","period":{"end":"soon"}`, func(c Consent) bool { return c.Broken }},
		{"a day's end includes the day", `"type":"permit"`, `"type":"permit","period":{"end":"2026-03-31"}`, func(c Consent) bool {
			return c.To.Equal(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC))
		}},
		{"inactive without a revocation ends when recorded", `"active"`, `"inactive"`, func(c Consent) bool { return c.To.Equal(c.Recorded) }},
		{"root without type follows OPTIN", `"type":"permit",`, ``, func(c Consent) bool { return !c.Root.Permit }},
		{"an actor that is no organisation of ours", `"type":"permit",`, `"type":"permit","actor":[{"reference":{"reference":"Practitioner/x"}}],`, func(c Consent) bool { return c.Root.Inexpressible }},
		{"codes cannot be expressed", `"type":"permit",`, `"type":"permit","code":[{"text":"x"}],`, func(c Consent) bool { return c.Root.Inexpressible }},
		{"classes are resource types", `"type":"permit",`, `"type":"permit","class":[{"system":"http://hl7.org/fhir/resource-types","code":"CarePlan"}],`, func(c Consent) bool { return fmt.Sprint(c.Root.Types) == "[CarePlan]" }},
	} {
		doc := strings.Replace(form, tc.old, tc.new, 1)
		if doc == form {
			t.Fatalf("%s: nothing was changed", tc.name)
		}
		if !tc.check(read(t, doc)) {
			t.Errorf("%s: %+v", tc.name, read(t, doc))
		}
	}
}

// TestPurposes holds the allow-lists: purposes that sit under treatment or operations in the code system
// and must not ride on them.
func TestPurposes(t *testing.T) {
	for written, never := range map[string][]string{
		"TREAT":   {"BTG", "ETREAT", "ERTREAT", "POPHLTH", "CLINTRL", "HPAYMT"},
		"HOPERAT": {"HLEGAL", "HDIRECT", "MLTRAINING", "GOV", "MILCDM", "DONAT", "FRAUD", "HSYSADMIN", "TREAT"},
		"COC":     {"TREAT"},
	} {
		for _, p := range never {
			if covers(written, p) {
				t.Errorf("a consent for %s reaches %s", written, p)
			}
		}
	}
	if !covers("TREAT", "COC") || !covers("HOPERAT", "HQUALIMP") || !covers("HLEGAL", "HLEGAL") {
		t.Error("an allowed purpose is not reached")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(form))
	f.Add([]byte(`{"resourceType":"Consent","provision":{"provision":[{}]}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		c := Read("k", 1, time.Unix(0, 0), doc, "")
		c.Recorder = "otp"
		for _, finding := range Evaluate([]Consent{c}, Query{Recipient: "x", Purpose: "TREAT", Discloser: "otp", At: time.Unix(1<<31, 0)}) {
			if finding.Permit && len(c.Validate()) > 0 {
				t.Fatal("an invalid instrument permits")
			}
		}
	})
}
