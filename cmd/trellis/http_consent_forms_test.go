package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"trellis/auth/consent"
)

// given is a consent of the fixture, with text replaced.
func given(t *testing.T, name string, replace ...string) []byte {
	t.Helper()
	c, ok := fixture(t).Given(name)
	if !ok {
		t.Fatalf("no consent %s", name)
	}
	return []byte(strings.NewReplacer(replace...).Replace(string(c.Resource)))
}

// parameters is a Parameters resource; values are JSON.
func parameters(list ...string) []byte {
	return []byte(`{"resourceType":"Parameters","parameter":[` + strings.Join(list, ",") + `]}`)
}

func resourceParameter(name string, resource []byte) string {
	return fmt.Sprintf(`{"name":%q,"resource":%s}`, name, resource)
}

// signedBinary is the document of the tests.
func signedBinary() []byte {
	return fmt.Appendf(nil, `{"resourceType":"Binary","contentType":"application/pdf","data":%q}`, base64.StdEncoding.EncodeToString([]byte("signed "+canary)))
}

func stored(t *testing.T, a reply) string {
	t.Helper()
	var p struct {
		Parameter []struct {
			Name           string
			ValueReference struct{ Reference string }
		}
	}
	if err := json.Unmarshal(a.body, &p); err != nil || len(p.Parameter) == 0 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return p.Parameter[0].ValueReference.Reference
}

func TestFileConsent(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		otp := in.as("otp", "TREAT")
		post := func(body []byte) reply {
			return otp.ask(request{method: "POST", path: "Consent/$fileConsent", body: body})
		}
		k1 := given(t, "K1")
		document := resourceParameter("document", signedBinary())
		for name, body := range map[string][]byte{
			"no document":       parameters(resourceParameter("consent", k1)),
			"an empty document": parameters(resourceParameter("consent", k1), resourceParameter("document", []byte(`{"resourceType":"Binary","contentType":"application/pdf"}`))),
			"no consent":        parameters(document),
			"no such patient":   parameters(resourceParameter("consent", given(t, "K1", `{"reference": "Patient/P1"}`, `{"identifier":{"value":"`+canary+`"}}`)), document),
			"another document": parameters(resourceParameter("consent", given(t, "K1", `"extension": [{"url": "https://trellis.example/fhir/StructureDefinition/consent-description"`,
				`"extension": [{"url":"`+consent.ExtDocument+`","extension":[{"url":"sha256","valueString":"00"}]},{"url": "https://trellis.example/fhir/StructureDefinition/consent-description"`)), document),
			"an unreadable date": parameters(resourceParameter("consent", given(t, "K1", `"start": "2026-02-01"`, `"start": "2026-02-01"`, `"resourceType": "Consent"`, `"resourceType": "Consent","modifierExtension":[{"url":"https://elsewhere.example/x","valueBoolean":true}]`)), document),
		} {
			if a := post(body); a.status != 422 || bytes.Contains(a.body, []byte(canary)) {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		for _, typ := range []string{"Consent", "DocumentReference?type=http://loinc.org|59284-0", "Task"} {
			if found := otp.get(typ).bundle(t).references(); len(found) > 0 {
				t.Errorf("stored in spite of a refusal: %v", found)
			}
		}
		a := post(parameters(resourceParameter("consent", k1), document))
		sum := sha256.Sum256([]byte("signed " + canary))
		if a.status != 201 || !bytes.Contains(a.body, []byte(hex.EncodeToString(sum[:]))) || bytes.Contains(a.body, []byte("missing")) {
			t.Fatalf("filing: %d %s", a.status, a.body)
		}
		in.checkIndex()
		if a := in.as("hospital", "TREAT").get("Condition/C1"); a.status != 200 {
			t.Errorf("by a filed consent: %d", a.status)
		}
		ref := stored(t, a)
		for form, has := range map[string]string{"r4": consent.ExtRecipientClass, "ihe-pcf": consent.SystemClass, "hl7-fast": consent.ExtController, "sdohcc": `"IDSCL"`} {
			if a := otp.get(ref + "/$project?form=" + form); a.status != 200 || !bytes.Contains(a.body, []byte(has)) || !bytes.Contains(a.body, []byte(part2Label)) {
				t.Errorf("as %s: %d %s", form, a.status, a.body)
			}
		}
		if a := otp.get(ref + "/$project?form=xml"); a.status != 400 {
			t.Errorf("a form there is not: %d", a.status)
		}
		hidden, nobody := in.as("rco", "COC").get(ref+"/$project?form=r4"), in.as("rco", "COC").get("Consent/nobody/$project?form=r4")
		if hidden.status != 404 || !bytes.Equal(hidden.body, nobody.body) {
			t.Errorf("to who may not read it: %d %s", hidden.status, hidden.body)
		}
		missing := post(parameters(resourceParameter("consent", given(t, "K1-no-refusal")), document))
		if missing.status != 201 || !bytes.Contains(missing.body, []byte("2.31(a)(10)")) || !bytes.Contains(missing.body, []byte("duplicate")) {
			t.Errorf("what it lacks: %d %s", missing.status, missing.body)
		}
	})
}

func TestConsentConflicts(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K7")
		k1, _ := fixture(t).Given("K1")
		a := in.write(k1)
		if got := a.header.Get("X-Consent-Conflicts"); a.status != 201 || got != "permit-refused Consent/K7" {
			t.Errorf("the recorder is told %q: %d", got, a.status)
		}
		otp := in.as("otp", "TREAT")
		tasks := otp.get("Task?focus=Consent/K1").bundle(t).references()
		if len(tasks) != 1 {
			t.Errorf("tasks %v", tasks)
		}
		in.clock.advance(time.Second)
		in.write(k1)
		if again := otp.get("Task?focus=Consent/K1").bundle(t).references(); len(again) != len(tasks) {
			t.Errorf("after the same again: %v", again)
		}
		if seen := in.as("hospital", "TREAT").get("Task?focus=Consent/K1").bundle(t).references(); len(seen) > 0 {
			t.Errorf("others see %v", seen)
		}
	})
}

func TestRevokeConsent(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		otp, hospital := in.as("otp", "TREAT"), in.as("hospital", "TREAT")
		revoke := func(list ...string) reply {
			return otp.ask(request{method: "POST", path: "Consent/K1/$revokeConsent", body: parameters(list...)})
		}
		if a := otp.ask(request{method: "DELETE", path: "Consent/K1"}); a.status != 405 {
			t.Errorf("deleted: %d", a.status)
		}
		unknown := otp.ask(request{method: "DELETE", path: "Consent/nobody"})
		if unknown.status != 405 {
			t.Errorf("deleting what is not there: %d", unknown.status)
		}
		for name, list := range map[string][]string{
			"in the future":        {`{"name":"received","valueDateTime":"2026-06-02T00:00:00Z"}`},
			"before it was signed": {`{"name":"received","valueDateTime":"2026-01-01T00:00:00Z"}`},
			"another's":            {`{"name":"patient","valueReference":{"reference":"Patient/P2"}}`},
			"an empty document":    {resourceParameter("document", []byte(`{"resourceType":"Binary","contentType":"application/pdf"}`))},
		} {
			if a := revoke(list...); a.status != 422 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if a := hospital.ask(request{method: "POST", path: "Consent/K1/$revokeConsent", body: parameters()}); a.status != 404 {
			t.Errorf("another organisation revokes: %d", a.status)
		}
		if a := hospital.get("Condition/C1"); a.status != 200 {
			t.Errorf("before: %d", a.status)
		}
		a := otp.ask(request{method: "POST", path: "Consent/$revokeConsent", body: parameters(`{"name":"consent","valueReference":{"reference":"Consent/K1"}}`, `{"name":"method","valueString":"letter"}`, resourceParameter("document", signedBinary()))})
		if a.status != 200 {
			t.Fatalf("revoking: %d %s", a.status, a.body)
		}
		in.checkIndex()
		in.clock.advance(2 * time.Second)
		if a := hospital.get("Condition/C1"); a.status != 404 {
			t.Errorf("after: %d", a.status)
		}
		if a := otp.get("Consent/K1"); !bytes.Contains(a.body, []byte(`"inactive"`)) || !bytes.Contains(a.body, []byte("sha256")) {
			t.Errorf("the new version: %s", a.body)
		}
		if a := otp.get("Consent/K1/_history/1"); a.status != 200 {
			t.Errorf("the old version: %d", a.status)
		}
		if a := revoke(); a.status != 409 {
			t.Errorf("twice: %d", a.status)
		}
	})
}

func TestConsentPreview(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		otp := in.as("otp", "TREAT")
		ask := func(body []byte) reply {
			return otp.ask(request{method: "POST", path: "Consent/$preview", body: parameters(resourceParameter("consent", body))})
		}
		a := ask(given(t, "K1"))
		if a.status != 200 || !bytes.Contains(a.body, []byte("Fixture Hospital, for treatment: would see ")) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if found := otp.get("Consent").bundle(t).references(); len(found) > 0 {
			t.Errorf("stored: %v", found)
		}
		if a := ask(given(t, "K1-no-refusal")); !bytes.Contains(a.body, []byte("Nobody would see more")) || !bytes.Contains(a.body, []byte("2.31(a)(10)")) {
			t.Errorf("of an invalid one: %s", a.body)
		}
		found, err := previewOf(t.Context(), in.gateway.store, given(t, "K1"), "")
		if err != nil {
			t.Fatal(err)
		}
		// What it says of the hospital is what the hospital sees once the consent is recorded.
		more := 0
		for _, c := range found.Changes {
			if c.Organization == "hospital" && c.Purpose == "TREAT" {
				for _, n := range c.Gains {
					if n.Type == "Condition" {
						more += n.Count
					}
				}
			}
		}
		count := func() int { return len(in.as("hospital", "TREAT").get("Condition?patient=P1").bundle(t).references()) }
		before := count()
		k1, _ := fixture(t).Given("K1")
		in.put(k1)
		in.clock.advance(2 * time.Second)
		if after := count(); more == 0 || after-before != more {
			t.Errorf("previewed %d more Conditions, got %d", more, after-before)
		}
	})
}
