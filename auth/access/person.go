package access

import (
	"slices"
	"time"
)

// person asks the rules for people who act about one record: a patient about the own (D19), a proxy and a personal
// representative about another's. What a patient may have is the patient's by right, and a proxy's reach follows from the
// authority recorded; what is under Part 2 a proxy has by the patient's consent.
//
//	rule                                  self    representative  proxy   section
//	another's record, or nobody's         deny    deny            deny
//	a Medication about nobody             as any other record of its segment  164.524 (patient-access-thing)
//	counselling or psychotherapy notes    deny    deny            deny    164.524(a)(1)(i)
//	record of a Part 2 program            permit  permit          on consent that names the proxy   2.23, 2.15; 2.14(a) (M1)
//	unclassified                          permit  permit          deny
//	any other record                      permit  permit          permit  164.524; 164.502(g)
//
// A record about several patients needs a permit for each and so is nobody's to see this way. Directory entries are
// everybody's. A Medication about nobody describes a thing and says nothing of a person; without it a patient could not
// tell what a prescription is of.
func (d *deliberation) person() {
	for _, rule := range []func(){
		d.purposeKnown, d.recordNamed, d.personalPurpose, d.directory, d.thing, d.sameRecord, d.outsideAccess, d.proxied, d.accessed,
	} {
		if rule(); d.settled {
			return
		}
	}
	d.settle(Deny, "", Reason{Rule: "default", Section: "2.13(a)", Code: "NO_BASIS", Hit: true})
}

// personal reports whether a capacity is that of a person about one record.
func (c Capacity) personal() bool { return c == Self || c == Proxy || c == Representative }

// Personal reports whether a person acts about one record, rather than for an organisation.
func (p Principal) Personal() bool { return p.Capacity.personal() }

// capacityKnown: a user without capacity is not an organisation's client, and nobody has a capacity of another name.
func (d *deliberation) capacityKnown() {
	p := d.req.Principal
	if p.Capacity != Staff && !p.Personal() && (p.Capacity != "" || p.User != "") {
		d.settle(Deny, "", Reason{Rule: "capacity", Section: "2.13(a)", Code: "CAPACITY_UNKNOWN", Hit: true})
	}
}

func (d *deliberation) recordNamed() {
	if d.req.Principal.Patient == "" {
		d.settle(Deny, "", Reason{Rule: "capacity", Section: "2.13(a)", Code: "NO_RECORD_NAMED", Hit: true})
	}
}

// personalPurpose: a patient asks as patient, who acts for one as that or as family.
func (d *deliberation) personalPurpose() {
	p := d.req.Principal
	if p.Purpose != "PATRQT" && (p.Purpose != "FAMRQT" || p.Capacity == Self) {
		d.settle(Deny, "", Reason{Rule: "purpose", Section: "2.13(a)", Code: "PURPOSE_NOT_PERSONAL", Hit: true})
	}
}

// ThingType is the type whose resources, where they are about nobody, people see beside the record they ask about.
const ThingType = "Medication"

// thing: what a record of the patient is about, a medicine prescribed, belongs to what the patient may know. Segments that
// would be hidden in the record hide it too.
func (d *deliberation) thing() {
	if d.req.Patient != "" || d.req.ResourceType != ThingType {
		return
	}
	for _, rule := range []func(){d.outsideAccess, d.proxied} {
		if rule(); d.settled {
			return
		}
	}
	d.settle(Permit, "thing", Reason{Rule: "patient-access-thing", Section: "164.524", Code: "THING_DESCRIBED", Hit: true})
}

func (d *deliberation) sameRecord() {
	switch d.req.Patient {
	case d.req.Principal.Patient:
	case "":
		d.settle(Deny, "", Reason{Rule: "no-patient", Section: "2.13(a)", Code: "NO_PATIENT", Hit: true})
	default:
		d.settle(Deny, "", Reason{Rule: "D19-patient-access", Section: "164.524", Code: "ANOTHER_PATIENT", Hit: true})
	}
}

// outsideAccess: notes of counselling and of psychotherapy are outside the right of access.
func (d *deliberation) outsideAccess() {
	if d.req.Segment.CounselingNote || d.req.Segment.Has("PSYTHPN") {
		d.settle(Deny, "", Reason{Rule: "D19-patient-access", Section: "164.524(a)(1)(i)", Code: "COUNSELING_NOTE", Hit: true})
	}
}

// proxied: a minor who may be treated for substance use alone decides alone who learns of it, parents included (M1): what is
// under Part 2 a proxy has where a consent names the proxy. What could be such a record is not shown. A refusal that
// names the proxy, or anybody, holds for the rest too.
func (d *deliberation) proxied() {
	if d.req.Principal.Capacity != Proxy {
		return
	}
	if d.req.Segment.Unclassified {
		d.settle(Deny, "", Reason{Rule: "unclassified", Section: "2.12", Code: "UNCLASSIFIED", Hit: true})
		return
	}
	if d.consents(); d.settled || !d.req.Segment.Part2 {
		return
	}
	r := Reason{Rule: "M1-minor", Section: "2.14(a)", Code: "PROXY_PART2", Hit: true}
	if d.req.Principal.Person != "" && len(d.out.Consents) > 0 {
		r.Code = "CONSENT_PERMITS"
		d.settle(Permit, "consent", r)
		return
	}
	d.settle(Deny, "", r)
}

func (d *deliberation) accessed() {
	rule := map[Capacity]string{Self: "D19-patient-access", Representative: "M3-representative", Proxy: "M1-proxy"}[d.req.Principal.Capacity]
	if d.req.Terms.Rules.Off(rule) {
		d.miss(Reason{Rule: rule, Code: "RULE_OFF"})
		return
	}
	d.out.Consents = nil // a proxy's reach follows from its authority here, whatever consents say besides
	switch d.req.Principal.Capacity {
	case Self:
		d.settle(Permit, "patient-access", Reason{Rule: "D19-patient-access", Section: "2.23, 164.524", Code: "PATIENT_ACCESS", Hit: true})
	case Representative:
		d.settle(Permit, "representation", Reason{Rule: "M3-representative", Section: "2.15, 164.502(g)", Code: "PERSONAL_REPRESENTATIVE", Hit: true})
	case Proxy:
		d.settle(Permit, "proxy", Reason{Rule: "M1-proxy", Section: "164.502(g)", Code: "PROXY_AUTHORITY", Hit: true})
	}
}

// whole lists the segments seen of one patient's record by a person, or in an emergency, whatever the patient agreed. Of things
// a person sees the same.
func whole(p Principal, patient string, segments []NumberedSegment, terms Terms, now time.Time) []int64 {
	var out []int64
	for _, s := range segments {
		d := Decide(Request{Principal: p, Segment: s.Segment, Patient: patient, Period: openPeriod(), Terms: terms, Now: now})
		if d.Basis == "own-record" {
			continue
		}
		if d.Effect == Permit && d.Basis != "directory" {
			out = append(out, s.No)
		}
	}
	slices.Sort(out)
	return out
}
