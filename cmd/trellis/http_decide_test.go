package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/conformance/decisions"
	"trellis/gateway/audit"
)

const part2Coding = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2"}`

// TestDecideForOthers asks a thousand questions in one call: each is decided as a read of such a record would be, and the log
// has every decision, under its patient.
func TestDecideForOthers(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		var list []string
		for i := range 1000 {
			actor, purpose := "hospital", "TREAT"
			switch i % 4 {
			case 1:
				actor = "rco"
			case 2:
				purpose = "HLEGAL"
			case 3:
				actor, purpose = "plan", "HPAYMT"
			}
			list = append(list, fmt.Sprintf(`{"id":"%d","patient":"P1","actor":%q,"purpose":%q,"resourceType":"Condition","labels":[%s]}`, i, actor, purpose, part2Coding))
		}
		otp := in.as("otp", "TREAT")
		a := otp.ask(request{method: "POST", path: "/consent/decide", body: []byte(`{"requests":[` + strings.Join(list, ",") + `]}`)})
		var got struct {
			Responses []struct {
				ID, Decision, Code string
				Consents           []string
				Reasons            []access.Reason
			}
		}
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != 200 || len(got.Responses) != 1000 {
			t.Fatalf("%d %v %.300s", a.status, err, a.body)
		}
		want := []string{"permit CONSENT_PERMITS", "no-consent RECIPIENT_NOT_DESIGNATED", "no-consent PROCEEDINGS_NOT_SEPARATE", "permit CONSENT_PERMITS"}
		for i, r := range got.Responses {
			if r.Decision+" "+r.Code != want[i%4] || r.ID != fmt.Sprint(i) || len(r.Reasons) == 0 {
				t.Fatalf("question %d: %+v, want %s", i, r, want[i%4])
			}
		}
		events := in.eventsOf(a)
		if len(events) != 1 || events[0].Kind != audit.Decision || events[0].Patient != "Patient/P1" || len(decisionsOf(t, events[0])) != 1000 || events[0].Released != audit.Digest(a.body) {
			t.Errorf("the log has %d events: %.300v", len(events), events)
		}
		for name, c := range map[string]struct {
			body   string
			status int
		}{
			"nothing":                {`{}`, 400},
			"no questions":           {`{"requests":[]}`, 413},
			"too many":               {`{"requests":[` + strings.Repeat(list[0]+",", 1000) + list[0] + `]}`, 413},
			"an unknown member":      {`{"patient":"P1","actor":"rco","purpose":"COC","colour":"red"}`, 400},
			"an unknown type":        {`{"patient":"P1","actor":"rco","purpose":"COC","resourceType":"Nonsense"}`, 400},
			"no dates":               {`{"patient":"P1","actor":"rco","purpose":"COC","period":{"start":"soon"}}`, 400},
			"an unknown actor":       {`{"patient":"P1","actor":"stranger","purpose":"COC"}`, 200}, // denied
			"an unknown patient":     {`{"patient":"nobody","actor":"hospital","purpose":"TREAT"}`, 200},
			"an unknown purpose":     {`{"patient":"P1","actor":"hospital","purpose":"CURIOSITY"}`, 200},
			"somebody else's record": {`{"patient":"P1","custodian":"hospital","heldFor":"TREAT","actor":"rco","purpose":"COC"}`, 200},
		} {
			a := otp.ask(request{method: "POST", path: "/consent/decide", body: []byte(c.body)})
			if a.status != c.status || a.status == 200 && bytes.Contains(a.body, []byte(`"decision":"permit"`)) || bytes.Contains(bytes.ToLower(a.body), []byte(canary)) {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	})
}

// TestConsentHook asks by CDS Hooks, with identifiers, and about all the program holds.
func TestConsentHook(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		otp := in.as("otp", "TREAT")
		ask := func(patient, actor, purpose string) (decision string, body []byte) {
			t.Helper()
			a := otp.ask(request{method: "POST", path: "/cds-services/patient-consent-consult", body: fmt.Appendf(nil,
				`{"hook":"patient-consent-consult","hookInstance":"d1577c69-dfbe-44ad-ba6d-3e05e953b2ea","context":{"patientId":%s,"actor":[{"value":"Organization/%s"}],"purposeOfUse":%q}}`, patient, actor, purpose)})
			var got struct {
				Cards []struct{ Extension struct{ Decision string } }
			}
			if err := json.Unmarshal(a.body, &got); err != nil || a.status != 200 || len(got.Cards) != 1 {
				t.Fatalf("%d %v %s", a.status, err, a.body)
			}
			return got.Cards[0].Extension.Decision, a.body
		}
		decision, body := ask(`["P1"]`, "hospital", "TREAT")
		if decision != "CONSENT_PERMIT" || !bytes.Contains(body, []byte(`"REDACT"`)) || !bytes.Contains(body, []byte("sud-counseling-note")) || !bytes.Contains(body, []byte("Consent/K1/_history/1")) {
			t.Errorf("by id: %s %s", decision, body)
		}
		if decision, body := ask(`[{"system":"urn:example:mrn","value":"zqcanary-4711"}]`, "rco", "COC"); decision != "NO_CONSENT" {
			t.Errorf("by identifier: %s %s", decision, body)
		}
		if decision, body := ask(`[{"system":"urn:example:mrn","value":"nobody"}]`, "hospital", "TREAT"); decision != "NO_CONSENT" {
			t.Errorf("of nobody: %s %s", decision, body)
		}
		if a := in.send(request{method: "GET", path: in.gateway.public + "/cds-services"}); a.status != 200 || !bytes.Contains(a.body, []byte("patient-consent-consult")) {
			t.Errorf("discovery: %d %s", a.status, a.body)
		}
	})
}

// TestExplainOverHTTP: the custodian is told why an organisation may have a record or not; nobody else is told anything.
func TestExplainOverHTTP(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		otp := in.as("otp", "TREAT")
		a := otp.ask(request{method: "GET", path: "Condition/C1/$explain?as=hospital&purpose=TREAT"})
		for _, want := range []string{`"valueString":"permit"`, `"CONSENT_PERMITS"`, `"2.33(a)"`, `"D1-part2-consent"`, "Consent/K1/_history/1", access.PolicyVersion} {
			if a.status != 200 || !bytes.Contains(a.body, []byte(want)) {
				t.Errorf("no %s in %d %s", want, a.status, a.body)
			}
		}
		if events := in.eventsOf(a); len(events) != 1 || events[0].Kind != audit.Explain {
			t.Errorf("the log has %v", events)
		}
		if a := otp.ask(request{method: "GET", path: "Condition/C1/$explain?as=hospital&at=2026-01-01T00:00:00Z"}); a.status != 200 || !bytes.Contains(a.body, []byte("UNKNOWN_ID")) {
			t.Errorf("before there was such a record: %d %s", a.status, a.body)
		}
		if a := in.as("operator", "HSYSADMIN").ask(request{method: "GET", path: "Condition/C1/$explain?as=rco&purpose=COC"}); a.status != 200 || !bytes.Contains(a.body, []byte("RECIPIENT_NOT_DESIGNATED")) {
			t.Errorf("the operator: %d %s", a.status, a.body)
		}
		if a := in.as("hospital", "TREAT").get("Condition/C1/$explain"); a.status != 404 { // which may read it by consent, and no more
			t.Errorf("to a recipient: %d %s", a.status, a.body)
		}
		hidden, unknown := in.as("rco", "COC").get("Condition/C1/$explain"), in.as("rco", "COC").get("Condition/nobody/$explain")
		if hidden.status != 404 || !bytes.Equal(hidden.body, unknown.body) {
			t.Errorf("to others: %d %s, %d %s", hidden.status, hidden.body, unknown.status, unknown.body)
		}
		for _, query := range []string{"as=stranger", "purpose=CURIOSITY", "at=yesterday", "colour=red"} {
			if a := otp.get("Condition/C1/$explain?" + query); a.status != 400 {
				t.Errorf("%s: %d", query, a.status)
			}
		}
	})
}

// TestReplayNamesWhatDiffers: a decision that is not the one the rules make of what was recorded then is named.
func TestReplayNamesWhatDiffers(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.clock.advance(time.Second)
		a := in.as("hospital", "TREAT").get("Condition/C1")
		ev := in.eventsOf(a)[0]
		var d map[string]any
		if err := json.Unmarshal(ev.Decision, &d); err != nil {
			t.Fatal(err)
		}
		d["consents"] = []string{"Consent/another/_history/1"}
		changed, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		ev.Decision, ev.ID = changed, ""
		leaf, err := audit.NewLeaf(ev)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.gateway.store.Audit().Append(t.Context(), leaf); err != nil {
			t.Fatal(err)
		}
		var export bytes.Buffer
		if _, err := audit.Export(context.Background(), in.gateway.store.Audit(), auditOrigin, &export); err != nil {
			t.Fatal(err)
		}
		r, err := replay(t.Context(), in.gateway.store, &export, func(int) {})
		if err != nil || len(r.Differ) != 1 || !strings.Contains(r.Differ[0], "Condition/C1") || r.Same == 0 {
			t.Errorf("%+v %v", r, err)
		}
	})
}

// TestEmergencyIsReviewed: a declared emergency waits until a second person has closed it, once.
func TestEmergencyIsReviewed(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		a := in.as("hospital", "BTG").ask(request{method: "POST", path: "Patient/P1/$break-glass", body: []byte(`{"resourceType":"Parameters","parameter":[{"name":"recipientName","valueString":"Dr. A. Physician"},
			{"name":"recipientFacility","valueString":"Fixture Hospital"},{"name":"discloserName","valueString":"Fixture gateway"},{"name":"nature","valueString":"unconscious"}]}`)})
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for login, position := range map[string][]people.Position{"casey": {{Organization: "otp", Practitioner: "pr", Kind: "practitioner"}}, "maya": nil} {
			if err := in.gateway.store.PutUser(t.Context(), people.User{ID: "u-" + login, Login: login, Name: login, Positions: position}); err != nil {
				t.Fatal(err)
			}
		}
		list, err := in.gateway.store.Emergencies(t.Context(), false)
		if err != nil || len(list) != 1 || list[0].Nature != "unconscious" || list[0].Until.Sub(list[0].Declared) != time.Hour {
			t.Fatalf("%+v %v", list, err)
		}
		review := func(as string, appropriate bool) error {
			c := emergencyCommand{id: list[0].ID, as: as, appropriate: appropriate, inappropriate: !appropriate, stdout: &bytes.Buffer{}}
			return c.review(t.Context(), in.gateway.store)
		}
		if err := review("nobody", true); err == nil {
			t.Error("somebody unknown reviewed it")
		}
		if err := review("maya", true); err == nil {
			t.Error("a patient reviewed it")
		}
		if err := review("casey", false); err != nil {
			t.Error(err)
		}
		if err := review("casey", true); err == nil || !strings.Contains(err.Error(), "once") {
			t.Errorf("a second review: %v", err)
		}
		if list, err := in.gateway.store.Emergencies(t.Context(), false); err != nil || len(list) != 0 {
			t.Errorf("still waiting: %v %v", list, err)
		}
		found := 0
		for _, e := range in.events() {
			if e.Kind == audit.Emergency && (e.Outcome == "declared" && e.Detail["nature"] == "unconscious" || e.Outcome == "inappropriate" && e.User == "u-casey") {
				found++
			}
		}
		if found != 2 {
			t.Errorf("the log has %d of the two events", found)
		}
	})
}

// TestMinorsConsentNamesAParent: a parent has what the minor's consent names the parent for, with the statement of 2.32, and loses
// it when the minor takes that back; a refusal that names a parent takes away what the parent's authority gave.
func TestMinorsConsentNamesAParent(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := crossed(t, where)
		parent := in.person(oauth.Context{User: "parent", FHIRUser: "RelatedPerson/RP-P3", Capacity: string(access.Proxy), Patient: "P3"}, "FAMRQT", "openid fhirUser patient/*.rs")
		other := in.person(oauth.Context{User: "other", FHIRUser: "RelatedPerson/another-parent", Capacity: string(access.Proxy), Patient: "P3"}, "FAMRQT", "openid fhirUser patient/*.rs")
		consent := func(status string) decisions.Record {
			given, ok := fixture(t).Given("K2")
			if !ok {
				t.Fatal("no K2")
			}
			doc := strings.NewReplacer(`"K2"`, `"KP3"`, "Patient/P1", "Patient/P3", "Organization/rco", "RelatedPerson/RP-P3", `"COC"`, `"FAMRQT"`, `"CarePlan"`, `"Condition"`, `"status": "active"`, `"status": "`+status+`"`).Replace(string(given.Resource))
			return decisions.Record{Name: "KP3", Owner: "otp", Resource: []byte(doc)}
		}
		if a := parent.get("Condition/CZ-P3"); a.status != 404 {
			t.Fatalf("before: %d", a.status)
		}
		in.put(consent("active"))
		a := parent.get("Condition/CZ-P3")
		if a.status != 200 || a.header.Get("X-Part2-Notice") == "" || !bytes.Contains(a.body, []byte("Redisclosure rule: NO_REDISCLOSURE")) {
			t.Errorf("with consent: %d %s", a.status, a.body)
		}
		if got := parent.found("Condition?patient=P3&_sort=_id"); len(got) != 3 {
			t.Errorf("a search finds %v", got)
		}
		if a := other.get("Condition/CZ-P3"); a.status != 404 {
			t.Errorf("somebody the consent does not name: %d", a.status)
		}
		in.put(consent("inactive"))
		if a := parent.get("Condition/CZ-P3"); a.status != 404 {
			t.Errorf("after: %d", a.status)
		}
		in.put(recordOf("hospital", `{"resourceType":"Consent","id":"no-parent","status":"active","scope":{"text":"privacy"},"category":[{"coding":[{"system":"https://trellis.example/fhir/CodeSystem/consent-kind","code":"restriction"}]}],"patient":{"reference":"Patient/P3"},"dateTime":"2026-05-01",
			"policyRule":{"coding":[{"code":"OPTOUT"}]},"provision":{"type":"deny","actor":[{"role":{"text":"recipient"},"reference":{"reference":"RelatedPerson/RP-P3"}}]}}`))
		if got := parent.found("Condition?patient=P3&_sort=_id"); len(got) != 0 {
			t.Errorf("after a refusal that names the parent: %v", got)
		}
		if got := other.found("Condition?patient=P3&_sort=_id"); len(got) != 2 {
			t.Errorf("a refusal that names another: %v", got)
		}
	})
}

// TestAgreementsOfTheOperator records an agreement as the command line does, ends it, and lists it.
func TestAgreementsOfTheOperator(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		var out bytes.Buffer
		c := agreementCommand{agreementConfig: agreementConfig{Kind: "qsoa", Of: "otp", With: "agent", From: "2026-01-01"}, purposes: "HPAYMT", stdout: &out}
		if err := c.add(t.Context(), in.gateway.store); err != nil {
			t.Fatal(err)
		}
		agent := in.as("agent", "HPAYMT")
		if a := agent.get("Encounter/E1"); a.status != 200 {
			t.Errorf("while it stands: %d %s", a.status, a.body)
		}
		for name, bad := range map[string]agreementConfig{"kind": {Kind: "handshake", Of: "otp", With: "agent", Purposes: []string{"HPAYMT"}}, "stranger": {Kind: "baa", Of: "otp", With: "stranger", Purposes: []string{"HPAYMT"}},
			"purpose": {Kind: "baa", Of: "otp", With: "agent", Purposes: []string{"FUN"}}, "none": {Kind: "baa", Of: "otp", With: "agent"}, "date": {Kind: "participation", Of: "hie", With: "agent", To: "soon"}} {
			c := agreementCommand{agreementConfig: bad, stdout: &out}
			if err := c.add(t.Context(), in.gateway.store); err == nil {
				t.Errorf("%s was recorded", name)
			}
		}
		end := agreementCommand{agreementConfig: agreementConfig{To: "2026-05-31"}, id: "agreement-qsoa-otp-agent", stdout: &out}
		if err := end.end(t.Context(), in.gateway.store); err != nil {
			t.Fatal(err)
		}
		if err := end.list(t.Context(), in.gateway.store); err != nil || !strings.Contains(out.String(), "2026-06-01") {
			t.Errorf("%v %s", err, out.String())
		}
		in.as("otp", "TREAT").get("Encounter/E1") // a second passes for who asked before
		in.clock.advance(time.Minute)
		if f, err := in.gateway.store.Filter(t.Context(), access.Principal{Organization: access.Organization{ID: "agent", Class: access.BusinessAssociate}, Purpose: "HPAYMT"}); err != nil || len(f.Open) > 0 {
			t.Errorf("after its end: %+v %v", f, err)
		}
	})
}

// TestAskingTellsNothingOfPrograms: who asks for a decision, or why one was made, about somebody else's patient is not told by it
// whether a program treats that person or holds a consent (2.13(c)).
func TestAskingTellsNothingOfPrograms(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.put(recordOf("otp", `{"resourceType":"EpisodeOfCare","id":"EP1","status":"active","patient":{"reference":"Patient/P1"},"managingOrganization":{"reference":"Organization/otp"}}`))
		in.put(recordOf("hospital", `{"resourceType":"Condition","id":"C9","subject":{"reference":"Patient/P2"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"I10"}]}}`))
		hospital := in.as("hospital", "TREAT")
		decide := func(patient, more string) string {
			a := hospital.ask(request{method: "POST", path: "/consent/decide", body: fmt.Appendf(nil, `{"patient":%q,"actor":"otp","purpose":"HPAYMT","resourceType":"Condition"%s}`, patient, more)})
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			return string(a.body)
		}
		for _, more := range []string{"", `,"labels":[` + part2Coding + `]`, `,"custodian":"otp","heldFor":"TREAT","labels":[` + part2Coding + `]`} {
			one, other := decide("P1", more), decide("P2", more)
			if more != "" && strings.Contains(more, "custodian") { // the hospital may read it by consent, and knows
				if strings.Contains(other, "K1") {
					t.Errorf("of another: %s", other)
				}
				continue
			}
			if one != other {
				t.Errorf("%s: answers differ:\n%s\n%s", more, one, other)
			}
		}
		explained := func(id string) string {
			a := hospital.ask(request{method: "GET", path: "Condition/" + id + "/$explain?as=otp&purpose=HPAYMT"})
			return string(a.body)
		}
		if one, other := explained("C2"), explained("C9"); one != other || strings.Contains(one, "Consent/") {
			t.Errorf("explanations differ:\n%s\n%s", one, other)
		}
		if a := hospital.ask(request{method: "POST", path: "/consent/decide", body: []byte(`{"patient":"P1","actor":"plan","purpose":"HPAYMT","custodian":"otp","heldFor":"HPAYMT","labels":[` + part2Coding + `]}`)}); a.status != 400 {
			t.Errorf("held for another purpose than the token's: %d %s", a.status, a.body)
		}
	})
}

// TestRefusedCodeInOldVersions: a refusal of a code holds for versions that said it, of records that say something else
// now or were deleted.
func TestRefusedCodeInOldVersions(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		condition := func(id, code string) decisions.Record {
			return recordOf("hospital", `{"resourceType":"Condition","id":"`+id+`","subject":{"reference":"Patient/P1"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"`+code+`"}]}}`)
		}
		in.put(condition("V1", "B20"))
		in.put(condition("V1", "I10"))
		in.put(condition("V2", "B20"))
		if a := in.remove("Condition/V2", "hospital"); a.status != 204 {
			t.Fatal(a.status)
		}
		clinic := in.as("clinic", "TREAT")
		if a := clinic.get("Condition/V1/_history/1"); a.status != 200 {
			t.Fatalf("before: %d %s", a.status, a.body)
		}
		in.put(recordOf("hospital", `{"resourceType":"Consent","id":"no-hiv","status":"active","scope":{"text":"privacy"},"category":[{"coding":[{"system":"https://trellis.example/fhir/CodeSystem/consent-kind","code":"restriction"}]}],"patient":{"reference":"Patient/P1"},"dateTime":"2026-05-01",
			"policyRule":{"coding":[{"code":"OPTOUT"}]},"provision":{"type":"deny","code":[{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"B20"}]}]}}`))
		for path, status := range map[string]int{"Condition/V1": 200, "Condition/V1/_history/1": 404, "Condition/V2/_history": 404, "Condition/V2/_history/1": 404} {
			if a := clinic.get(path); a.status != status || bytes.Contains(a.body, []byte("B20")) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"Condition/_history", "_history", "Condition/V1/_history"} {
			if a := clinic.get(path); bytes.Contains(a.body, []byte("B20")) || bytes.Contains(a.body, []byte("Condition/V2")) {
				t.Errorf("%s: %s", path, a.body)
			}
		}
		if a := in.as("hospital", "TREAT").get("Condition/V1/_history/1"); a.status != 200 {
			t.Errorf("its own: %d", a.status)
		}
	})
}
