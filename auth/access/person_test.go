package access

import (
	"testing"

	"pgregory.net/rapid"

	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
)

// TestDecidePerson is the table of person.go, with what stands around it.
func TestDecidePerson(t *testing.T) {
	counselling := part2Segment()
	counselling.CounselingNote = true
	therapy := ordinary()
	therapy.Labels = []fhir.Coding{{System: fhir.SystemActCode, Code: "PSYTHPN"}}
	unclassified := ordinary()
	unclassified.Unclassified = true
	directory := label.Segment{Custodian: "otp", Directory: true}
	mine := func(c Capacity, purpose string) Principal {
		return Principal{Client: "app", User: "u", Capacity: c, Patient: "p", Purpose: purpose}
	}
	self, proxy, rep := mine(Self, "PATRQT"), mine(Proxy, "PATRQT"), mine(Representative, "PATRQT")
	denying := everywhere(tpo("deny"))
	denying.Kind, denying.Root = consent.KindRestriction, consent.Provision{}
	for _, c := range []struct {
		name    string
		who     Principal
		patient string
		segment label.Segment
		facts   Facts
		effect  Effect
		code    string
	}{
		{"the own record", self, "p", ordinary(), Facts{}, Permit, "PATIENT_ACCESS"},
		{"of a Part 2 program, without consent", self, "p", part2Segment("OPIOIDUD"), Facts{}, Permit, "PATIENT_ACCESS"},
		{"whatever instruments say", self, "p", part2Segment(), Facts{Consents: []consent.Consent{denying, {ID: "b", Broken: true, Recorder: "otp", Everywhere: true}}}, Permit, "PATIENT_ACCESS"},
		{"unclassified does not hide it from its patient", self, "p", unclassified, Facts{}, Permit, "PATIENT_ACCESS"},
		{"counselling notes are outside the right", self, "p", counselling, Facts{}, Deny, "COUNSELING_NOTE"},
		{"and psychotherapy notes", self, "p", therapy, Facts{}, Deny, "COUNSELING_NOTE"},
		{"another's record", self, "q", ordinary(), Facts{}, Deny, "ANOTHER_PATIENT"},
		{"nobody's record", self, "", ordinary(), Facts{}, Deny, "NO_PATIENT"},
		{"a directory entry", self, "", directory, Facts{}, Permit, "DIRECTORY"},
		{"a patient asks as patient only", mine(Self, "TREAT"), "p", ordinary(), Facts{}, Deny, "PURPOSE_NOT_PERSONAL"},
		{"not as family", mine(Self, "FAMRQT"), "p", ordinary(), Facts{}, Deny, "PURPOSE_NOT_PERSONAL"},
		{"nor for no purpose", mine(Self, ""), "p", ordinary(), Facts{}, Deny, "PURPOSE_UNKNOWN"},
		{"no record named", Principal{User: "u", Capacity: Self, Purpose: "PATRQT"}, "", ordinary(), Facts{}, Deny, "NO_RECORD_NAMED"},
		{"not even the directory", Principal{User: "u", Capacity: Self, Purpose: "PATRQT"}, "", directory, Facts{}, Deny, "NO_RECORD_NAMED"},

		{"a proxy", proxy, "p", ordinary(), Facts{}, Permit, "PROXY_AUTHORITY"},
		{"as family", mine(Proxy, "FAMRQT"), "p", ordinary(), Facts{}, Permit, "PROXY_AUTHORITY"},
		{"a proxy, Part 2", proxy, "p", part2Segment(), Facts{}, Deny, "PROXY_PART2"},
		{"a proxy, Part 2, under a TPO consent", proxy, "p", part2Segment(), Facts{Consents: []consent.Consent{tpo("k")}}, Deny, "PROXY_PART2"},
		{"a proxy, unclassified", proxy, "p", unclassified, Facts{}, Deny, "UNCLASSIFIED"},
		{"a proxy, therapy notes", proxy, "p", therapy, Facts{}, Deny, "COUNSELING_NOTE"},
		{"a proxy, another's record", proxy, "q", ordinary(), Facts{}, Deny, "ANOTHER_PATIENT"},
		{"a proxy, the directory", proxy, "", directory, Facts{}, Permit, "DIRECTORY"},
		{"a proxy cannot treat", mine(Proxy, "TREAT"), "p", ordinary(), Facts{}, Deny, "PURPOSE_NOT_PERSONAL"},

		{"a representative", rep, "p", ordinary(), Facts{}, Permit, "PERSONAL_REPRESENTATIVE"},
		{"a representative, Part 2", mine(Representative, "FAMRQT"), "p", part2Segment(), Facts{}, Permit, "PERSONAL_REPRESENTATIVE"},
		{"a representative, unclassified", rep, "p", unclassified, Facts{}, Permit, "PERSONAL_REPRESENTATIVE"},
		{"a representative, counselling notes", rep, "p", counselling, Facts{}, Deny, "COUNSELING_NOTE"},
		{"a representative, another's record", rep, "q", part2Segment(), Facts{}, Deny, "ANOTHER_PATIENT"},

		{"an unknown capacity", mine("guardian", "PATRQT"), "p", ordinary(), Facts{}, Deny, "CAPACITY_UNKNOWN"},
		{"a user without capacity is no client", Principal{User: "u", Organization: program, Purpose: "TREAT"}, "p", part2Segment(), Facts{}, Deny, "CAPACITY_UNKNOWN"},
		{"a person's organisation counts for nothing", Principal{User: "u", Capacity: Self, Patient: "q", Organization: program, Purpose: "PATRQT"}, "p", part2Segment(), Facts{}, Deny, "ANOTHER_PATIENT"},
		{"staff, as the organisation", Principal{User: "u", Capacity: Staff, Organization: program, Purpose: "TREAT"}, "p", part2Segment(), Facts{}, Permit, "OWN_RECORD"},
		{"staff of another", Principal{User: "u", Capacity: Staff, Organization: hospital, Purpose: "TREAT"}, "p", part2Segment(), Facts{}, Deny, "NO_CONSENT"},
		{"staff of nobody", Principal{User: "u", Capacity: Staff, Patient: "p", Purpose: "TREAT"}, "p", ordinary(), Facts{}, Deny, "RECIPIENT_CLASS_UNKNOWN"},
	} {
		d := Decide(Request{Principal: c.who, Segment: c.segment, ResourceType: "Condition", Patient: c.patient, Period: openPeriod(), Facts: c.facts, Now: at(2)})
		if d.Effect != c.effect || d.Code != c.code || d.Capacity != c.who.Capacity {
			t.Errorf("%s: %s %s, want %s %s", c.name, d.Effect, d.Code, c.effect, c.code)
		}
		if len(d.Reasons) == 0 || d.Reasons[len(d.Reasons)-1].Code != d.Code {
			t.Errorf("%s: the last reason is not the deciding one: %+v", c.name, d.Reasons)
		}
		if c.who.Personal() {
			for _, o := range d.Obligations {
				if o.Code != ObligeLabels && o != (Obligation{ObligeRedisclosure, "PATIENT_HELD"}) { // no statement of 2.32, no scope of a consent: nothing is disclosed under one
					t.Errorf("%s: obligation %v", c.name, o)
				}
			}
		}
		if d.Effect == Deny && (len(d.Obligations) > 0 || d.Basis != "") {
			t.Errorf("%s: a denial has obligations or a basis", c.name)
		}
	}
}

// TestFilterAgreesWithDecideForPersons: what Partition lets a person see is what Decide permits, for every capacity,
// purpose, segment and patient.
func TestFilterAgreesWithDecideForPersons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var segments []NumberedSegment
		for i := range rapid.IntRange(1, 8).Draw(t, "segments") {
			segments = append(segments, NumberedSegment{int64(i + 1), rapid.Custom(randomSegment).Draw(t, "segment")})
		}
		p := Principal{
			User: rapid.SampledFrom([]string{"", "u"}).Draw(t, "user"), Capacity: rapid.SampledFrom([]Capacity{Self, Proxy, Representative, "guardian"}).Draw(t, "capacity"),
			Patient: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "patient"), Purpose: rapid.SampledFrom([]string{"", "PATRQT", "FAMRQT", "TREAT"}).Draw(t, "purpose"),
			Organization: rapid.SampledFrom([]Organization{{}, program}).Draw(t, "organization"),
		}
		f := Partition(p, segments, Terms{}, at(2))
		if len(f.Open) > 0 || f.Organization != p.grantee() && p.Personal() {
			t.Fatalf("a person's filter has an organisation's parts: %+v", f)
		}
		for _, s := range segments {
			for _, patient := range []string{"", "p", "q"} {
				in := func(list []int64) bool {
					for _, n := range list {
						if n == s.No {
							return true
						}
					}
					return false
				}
				for _, typ := range []string{"Condition", "Medication", "Device", "Binary"} {
					about := patient != "" && patient == f.Patient || patient == "" && typ == ThingType
					got := in(f.Own) || about && in(f.Whole)
					d := Decide(Request{Principal: p, Segment: s.Segment, ResourceType: typ, Patient: patient, Period: openPeriod(), Now: at(2)})
					if got != (d.Effect == Permit) {
						t.Fatalf("%+v, %s of segment %+v, patient %q: filter %v, decision %s %s", p, typ, s.Segment, patient, got, d.Effect, d.Code)
					}
				}
			}
		}
	})
}

func randomSegment(t *rapid.T) label.Segment {
	s := label.Segment{
		Custodian: rapid.SampledFrom([]string{"otp", "clinic", ""}).Draw(t, "custodian"), Part2: rapid.Bool().Draw(t, "part2"), Covered: rapid.Bool().Draw(t, "covered"),
		CounselingNote: rapid.IntRange(0, 3).Draw(t, "note") == 0, Unclassified: rapid.IntRange(0, 3).Draw(t, "unclassified") == 0,
		Directory: rapid.IntRange(0, 5).Draw(t, "directory") == 0,
	}
	if rapid.IntRange(0, 3).Draw(t, "therapy") == 0 {
		s.Labels = []fhir.Coding{{System: fhir.SystemActCode, Code: "PSYTHPN"}}
	}
	return s
}

// TestBoth: a resource is within Both of two lists where it is within one of each.
func TestBoth(t *testing.T) {
	a := []Clause{{}, {Compartment: true}}
	if got := Both(a, []Clause{{Compartment: true}}); len(got) != 2 || !got[0].Compartment || !got[1].Compartment {
		t.Errorf("%+v", got)
	}
	if got := Both(a, nil); len(got) != 0 {
		t.Errorf("nothing and something is %+v", got)
	}
}

// TestDecideThing: a Medication about nobody is seen by people where a record of its segment would be.
func TestDecideThing(t *testing.T) {
	counselling, unclassified := ordinary(), ordinary()
	counselling.CounselingNote, unclassified.Unclassified = true, true
	for _, c := range []struct {
		capacity Capacity
		typ      string
		segment  label.Segment
		effect   Effect
		code     string
	}{
		{Self, "Medication", ordinary(), Permit, "THING_DESCRIBED"}, {Self, "Medication", part2Segment(), Permit, "THING_DESCRIBED"},
		{Self, "Medication", unclassified, Permit, "THING_DESCRIBED"}, {Self, "Medication", counselling, Deny, "COUNSELING_NOTE"},
		{Representative, "Medication", part2Segment(), Permit, "THING_DESCRIBED"}, {Representative, "Medication", counselling, Deny, "COUNSELING_NOTE"},
		{Proxy, "Medication", ordinary(), Permit, "THING_DESCRIBED"}, {Proxy, "Medication", part2Segment(), Deny, "PROXY_PART2"}, {Proxy, "Medication", unclassified, Deny, "UNCLASSIFIED"},
		{Self, "Device", ordinary(), Deny, "NO_PATIENT"}, {Self, "Binary", ordinary(), Deny, "NO_PATIENT"}, {Self, "Group", ordinary(), Deny, "NO_PATIENT"},
	} {
		p := Principal{User: "u", Capacity: c.capacity, Patient: "p", Purpose: "PATRQT"}
		if d := Decide(Request{Principal: p, Segment: c.segment, ResourceType: c.typ, Period: openPeriod(), Now: at(2)}); d.Effect != c.effect || d.Code != c.code {
			t.Errorf("%s, %s: %s %s, want %s %s", c.capacity, c.typ, d.Effect, d.Code, c.effect, c.code)
		}
	}
}
