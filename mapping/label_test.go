package mapping

import (
	"io/fs"
	"strings"
	"testing"
)

func mapCase(t *testing.T, name string, part2 bool) *Result {
	t.Helper()
	data, err := fs.ReadFile(Packs(), name)
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(data), caseRule)
	res, err := mapInput(load(t, strings.Split(name, "/")[0]), testEnv(part2), input)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestLabels(t *testing.T) {
	tests := []struct {
		file  string
		part2 bool
		want  map[string]string
	}{
		{"peer-encounter/cases/session-in-person.case", false, map[string]string{
			"encounter": "", "patient": "", "craving": "ETH SUD", "mood": "MH", "hope": "", "provenance": "MH ETH SUD"}},
		{"peer-encounter/cases/session-in-person.case", true, map[string]string{
			"encounter": "42CFRPart2 SUD", "patient": "42CFRPart2 SUD", "activity:peer-support": "42CFRPart2 SUD",
			"mood": "42CFRPart2 SUD MH", "worker": "", "provenance": "42CFRPart2 SUD MH ETH"}},
		{"recovery-plan/cases/full-plan.case", false, map[string]string{
			"goal:g1": "LIVARG", "goal:g3": "", "step:g1/s1": "LIVARG", "step:g3/s1": "", "need:n1": "LIVARG", "ally:A-1": "",
			"ally:A-2": "ETH SUD", "team": "ETH SUD", "plan": "LIVARG", "review": "LIVARG", "provenance": "ETH SUD LIVARG"}},
		{"recovery-plan/cases/smallest-plan.case", false, map[string]string{
			"goal:g1": "ETH SUD", "plan": "ETH SUD", "patient": ""}},
		{"sdoh-screening/cases/housing-several-problems.case", false, map[string]string{
			"answer:96778-6/LA28580-1": "LIVARG", "answer:95614-4": "SDV VIO", "panel": "LIVARG SDV VIO",
			"response": "LIVARG SDV VIO", "provenance": "LIVARG SDV VIO", "patient": ""}},
		{"sdoh-screening/cases/sensitive-answers-part2.case", true, map[string]string{
			"answer:68524-8": "42CFRPart2 SUD ETH", "answer:44250-9": "42CFRPart2 SUD MH", "panel": "42CFRPart2 SUD ETH MH",
			"answer:89555-7": "42CFRPart2 SUD"}},
		{"referral/cases/house-waitlist.case", false, map[string]string{
			"request": "ETH SUD LIVARG", "task": "ETH SUD LIVARG", "enrollment": "ETH SUD LIVARG", "patient": ""}},
		{"referral/cases/food-pantry-delivered.case", false, map[string]string{
			"request": "", "task": "", "intake": "", "service-given": "", "provenance": ""}},
		{"referral/cases/enrolled-part2.case", true, map[string]string{
			"request": "42CFRPart2 SUD ETH", "task": "42CFRPart2 SUD ETH", "receiver": "", "patient": "42CFRPart2 SUD"}},
		{"mat-linkage/cases/stopped-medicine-shared.case", false, map[string]string{
			"request": "ETH OPIOIDUD", "task": "ETH OPIOIDUD", "treatment": "ETH OPIOIDUD", "medicine": "ETH OPIOIDUD",
			"patient": "", "program": "", "provenance": "ETH OPIOIDUD"}},
		{"mat-linkage/cases/started-part2.case", true, map[string]string{
			"request": "42CFRPart2 SUD ETH OPIOIDUD", "treatment": "42CFRPart2 SUD ETH OPIOIDUD"}},
		{"mutual-aid/cases/all-shared.case", false, map[string]string{"days": "ETH SUD", "home-group": "ETH SUD", "sponsor": "ETH SUD", "patient": ""}},
		{"recovery-housing/cases/living-there.case", false, map[string]string{
			"stay": "ETH SUD LIVARG", "waiting": "ETH SUD LIVARG", "living-situation:2026-03-01": "LIVARG", "house": ""}},
		{"case-management/cases/drug-and-alcohol-case-part2.case", false, map[string]string{
			"team": "SDV VIO", "contact:c1": "", "activity:c1": "ETH SUD"}},
		{"family-support/cases/seminar-link-shared.case", false, map[string]string{"session": "ETH SUD", "relative": "ETH SUD", "patient": ""}},
		{"employment-education/cases/supported-employment-part2.case", true, map[string]string{"job:j1": "42CFRPart2 SUD"}},
		{"recovery-capital/cases/several-pathways.case", false, map[string]string{"recovery": "ETH SUD OPIOIDUD", "sobriety-date": "ETH SUD"}},
		{"helpline-contact/cases/number-given.case", false, map[string]string{"contact": "BH SDV VIO", "follow-up": "BH SDV VIO", "line": ""}},
		{"app-checkin/cases/mood-craving-days.case", false, map[string]string{
			"check-in": "MH ETH SUD", "mood": "MH", "craving": "ETH SUD", "days": "ETH SUD"}},
		{"justice-status/cases/shared-drug-court.case", false, map[string]string{
			"legal-status": "ETH SUD", "arrests": "", "supervision": "ETH SUD", "agency": ""}},
	}
	for _, tt := range tests {
		got := labelsOf(mapCase(t, tt.file, tt.part2), "")
		for slot, codes := range tt.want {
			if have, ok := got[slot]; !ok || !sameWords(have, codes) {
				t.Errorf("%s part2=%v: %s has labels %q (there: %v), want %q", tt.file, tt.part2, slot, have, ok, codes)
			}
		}
	}
}

func sameWords(a, b string) bool {
	as, bs := strings.Fields(a), strings.Fields(b)
	if len(as) != len(bs) {
		return false
	}
	for _, w := range as {
		if !strings.Contains(" "+b+" ", " "+w+" ") {
			return false
		}
	}
	return true
}

// What a person keeps private, and what workers note down, is nowhere in the output.
func TestPrivateStaysPrivate(t *testing.T) {
	res := mapCase(t, "recovery-plan/cases/full-plan.case", false)
	b, err := res.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"secret", "kept back"} {
		if strings.Contains(string(b), word) {
			t.Errorf("the bundle holds %q", word)
		}
	}
	for _, want := range []string{"&lt;my own&gt;", `I want <my own> place & peace \"at last\"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the bundle lacks %q", want)
		}
	}
	if strings.Contains(string(b), "SDOHCC") {
		t.Error("a plan in own words carries an SDOHCC domain category")
	}
}

// The two packs agree on ids: a session's goal is the plan's goal, and a client is one Patient.
func TestPacksShareIDs(t *testing.T) {
	plan := mapCase(t, "recovery-plan/cases/full-plan.case", false)
	session := mapCase(t, "peer-encounter/cases/session-in-person.case", false)
	screening := mapCase(t, "sdoh-screening/cases/hunger-no-risk.case", false)
	if idOf(plan, "patient") != idOf(session, "patient") || idOf(plan, "patient") != idOf(screening, "patient") {
		t.Error("the same client is several Patients")
	}
	if idOf(plan, "worker") != idOf(session, "worker") {
		t.Error("the same worker is several PractitionerRoles")
	}
	b, err := session.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "Goal/"+idOf(plan, "goal:g1")) {
		t.Error("the session does not point at the plan's goal")
	}
}

func TestHungerRule(t *testing.T) {
	for file, want := range map[string]string{
		"hunger-at-risk": "LA19952-3", "hunger-no-risk": "LA19983-8", "hunger-refused": "dataAbsentReason", "hunger-one-missing": "dataAbsentReason",
	} {
		for _, r := range mapCase(t, "sdoh-screening/cases/"+file+".case", false).Records[0].Resources {
			if r.Slot != "hunger-risk" {
				continue
			}
			if !strings.Contains(string(r.JSON), want) {
				t.Errorf("%s: result lacks %s", file, want)
			}
			if want == "dataAbsentReason" && strings.Contains(string(r.JSON), "valueCodeableConcept") {
				t.Errorf("%s: a refusal became a result", file)
			}
		}
	}
}
