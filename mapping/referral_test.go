package mapping

import (
	"encoding/json"
	"strings"
	"testing"
)

// referralTable is what each word of a referral's status is in FHIR: Task.status, Task.businessStatus, and what the first
// output of the Task points at or says.
const referralTable = `
sent           requested    2.0
accepted       accepted     3.0
declined       rejected     4.0
intake-booked  in-progress  5.1.1  Appointment
no-show        in-progress  5.1.2  Appointment
waitlisted     on-hold      waitlisted  Observation:not-enrolled-on-waitlist
admitted       in-progress  5.1.4  Observation:enrolled
enrolled       completed    5.1.4  Observation:enrolled
delivered      completed    7.0  Procedure
withdrew       cancelled    6.0
cannot-reach   failed       cannot-reach
`

const referralRecord = `{"referral_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "service": "housing", "status": "STATUS",
	"status_reason": "No bed free", "sent_on": "2026-03-02T16:00:00Z", "last_updated": "2026-03-02T16:00:00Z"EXTRA}`

func referral(status string) []byte {
	extra := ""
	switch status {
	case "intake-booked", "no-show":
		extra = `, "intake": {"start": "2026-03-05T10:00:00Z", "end": "2026-03-05T10:30:00Z"}`
	case "delivered":
		extra = `, "service_given": {"on": "2026-03-06", "what": "A place"}`
	}
	return []byte(strings.NewReplacer("STATUS", status, "EXTRA", extra).Replace(referralRecord))
}

// taskOf maps a referral and returns its resources by type.
func taskOf(t *testing.T, p *Pack, data []byte) map[string]map[string]any {
	t.Helper()
	res, err := p.MapJSON(testEnv(false), data)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, r := range res.Records[0].Resources {
		var body map[string]any
		if err := json.Unmarshal(r.JSON, &body); err != nil {
			t.Fatal(err)
		}
		out[r.Type] = body
	}
	return out
}

func TestReferralStatusTable(t *testing.T) {
	p := load(t, "referral")
	words := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(referralTable), "\n") {
		f := strings.Fields(line)
		word, status, business := f[0], f[1], f[2]
		words[word] = true
		made := taskOf(t, p, referral(word))
		task := made["Task"]
		if got := codingsOf(task["businessStatus"]); task["status"] != status || len(got) != 1 || !strings.HasSuffix(got[0], "|"+business) {
			t.Errorf("%s: Task is %v, %v", word, task["status"], got)
		}
		list, _ := task["output"].([]any)
		if len(f) < 4 {
			if len(list) > 0 {
				t.Errorf("%s: has output %v", word, list)
			}
			continue
		}
		typ, value, _ := strings.Cut(f[3], ":")
		if len(list) != 1 || !strings.Contains(string(mustJSON(t, list)), `"reference":"`+typ+"/") {
			t.Errorf("%s: output is %v, not a %s", word, list, typ)
		}
		if value != "" && !strings.HasSuffix(codingsOf(made[typ]["valueCodeableConcept"])[0], "|"+value) {
			t.Errorf("%s: %s is %v", word, typ, made[typ]["valueCodeableConcept"])
		}
	}
	for _, word := range p.maps[0].tree.props["status"].enum {
		if !words[word] {
			t.Errorf("status %s is not in the table", word)
		}
	}
}

// A program that moves the Task on moves the worker's word: by Task.status alone, as most do, or with a business status.
func TestReferralComesBack(t *testing.T) {
	const bser = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
	p, env, base := load(t, "referral"), testEnv(false), referral("sent")
	for _, tt := range []struct{ name, status, business, reason, word string }{
		{"accepted by status alone", "accepted", "", "", "accepted"},
		{"declined with a reason", "rejected", "", "Full until May", "declined"},
		{"work has begun", "in-progress", "", "", "intake-booked"},
		{"did not come", "in-progress", "5.1.2", "", "no-show"},
		{"on hold", "on-hold", "", "", "waitlisted"},
		{"delivered", "completed", "7.0", "", "delivered"},
		{"cannot reach", "failed", "", "Phone is off", "cannot-reach"},
		{"cancelled", "cancelled", "6.0", "", "withdrew"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			task := taskOf(t, p, base)["Task"]
			task["status"] = tt.status
			if tt.business != "" {
				task["businessStatus"] = map[string]any{"coding": []any{map[string]any{"system": bser, "code": tt.business}}}
			}
			if tt.reason != "" {
				task["statusReason"] = map[string]any{"text": tt.reason}
			}
			got, err := p.Merge(env, base, base, [][]byte{mustJSON(t, task)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Record["status"] != tt.word || len(got.Conflicts) > 0 {
				t.Errorf("the referral is %v, conflicts %+v", got.Record["status"], got.Conflicts)
			}
			if tt.reason != "" && got.Record["status_reason"] != tt.reason {
				t.Errorf("the reason is %v", got.Record["status_reason"])
			}
		})
	}
}

// A family member is one RelatedPerson, whether a referral for them or their own file tells of them, and the client one
// Patient.
func TestFamilyMemberIsOnePerson(t *testing.T) {
	asked := mapCase(t, "referral/cases/family-member.case", false)
	own := mapCase(t, "family-support/cases/seminar-link-shared.case", false)
	if a, b := idOf(asked, "relative"), idOf(own, "relative"); a == "" || a != b {
		t.Errorf("the relation is made as %q and %q", a, b)
	}
	bundle, err := own.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(bundle), "Patient/"+idOf(asked, "patient")) {
		t.Error("the family member's file does not point at the client of the referral")
	}
}

// Other packs name a referral by its number and mean its ServiceRequest.
func TestOthersPointAtTheReferral(t *testing.T) {
	want := "ServiceRequest/" + idOf(mapCase(t, "referral/cases/house-waitlist.case", false), "request")
	bundle, err := mapCase(t, "case-management/cases/open-case.case", false).Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(bundle), want) {
		t.Error("the contact of the case does not point at the referral it was about")
	}
	session := `{"session_id": "1", "client": {"id": "c", "name": {"first": "A"}, "sex": "male"}, "peer": {"id": "p", "name": "P"}, "status": "done",
		"start": "2026-03-02T16:00:00Z", "mode": "phone", "last_updated": "2026-03-02T16:00:00Z", "handoff": {"to": "A house", "met": true, "referral_id": "R-2"}}`
	res, err := load(t, "peer-encounter").MapJSON(testEnv(false), []byte(session))
	if err != nil {
		t.Fatal(err)
	}
	if bundle, err = res.Bundle(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(bundle), want) {
		t.Error("the hand-off does not point at the referral it belongs to")
	}
}
