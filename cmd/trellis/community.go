package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/fhir"
)

// The synthetic community of `trellis demo`: a dozen people who do not exist, the organisations they meet,
// and consents of every kind. It is loaded through the same doors a real sender uses.

// demoOrganizations are the community's organisations with their legal classes.
func demoOrganizations() []access.Organization {
	return []access.Organization{
		{ID: "otp", Name: "Riverbend Opioid Treatment Program", Class: access.Part2ProgramCE},
		{ID: "hospital", Name: "Lakeside Hospital", Class: access.CoveredEntity},
		{ID: "plan", Name: "Meadow Health Plan", Class: access.CoveredEntity, Payer: true},
		{ID: "rco", Name: "Open Door Recovery Community", Class: access.LawfulHolderOther},
		{ID: "screening", Name: "Harbor Social Needs Screening", Class: access.LawfulHolderOther},
		{ID: "hie", Name: "Valley Health Information Exchange", Class: access.Intermediary},
	}
}

// demoPosture is the posture of the deployment the demonstration plays.
func demoPosture() posture {
	return posture{BusinessAssociateOf: []string{"hospital"}, QSOAWith: []string{"otp"}}
}

// person is one life in the community.
type person struct {
	id, first, last, birth, sex string
	otp                         bool   // in treatment at the program
	consent                     string // kind of consent given to the program: see consents
	rco, screened, hospital     bool
}

// community lists the people. consent is one of tpo, none, revoked, expired, rco, notes, or empty for
// people who are not in treatment.
func community() []person {
	return []person{
		{"001", "Maya", "Okafor", "1988-04-12", "female", true, "tpo", true, true, true},
		{"002", "Tomas", "Lindqvist", "1979-11-02", "male", true, "none", false, true, true},
		{"003", "Rosa", "Delgado", "1992-06-30", "female", true, "revoked", true, false, true},
		{"004", "Samir", "Haddad", "1985-01-17", "male", true, "expired", false, true, false},
		{"005", "Denise", "Whitfield", "1971-09-08", "female", true, "rco", true, true, false},
		{"006", "Lin", "Zhao", "1996-02-21", "female", true, "notes", false, false, true},
		{"007", "Grace", "Mbeki", "1960-12-05", "female", false, "", false, true, true},
		{"008", "Henry", "Kowalski", "1953-07-19", "male", false, "", false, false, true},
		{"009", "Amara", "Singh", "2001-03-14", "female", false, "", true, true, false},
		{"010", "Jonas", "Becker", "1990-10-27", "male", false, "", true, false, false},
		{"011", "Elena", "Petrova", "1983-05-03", "female", false, "", true, true, true},
		{"012", "Caleb", "Nguyen", "2009-08-11", "male", false, "", false, true, false},
	}
}

// loader sends the community to a gateway.
type loader struct {
	ctx     context.Context
	as      map[string]*remote
	now     time.Time
	bar     *progress
	tour    tour
	pending []func() error
}

// tour is what the printed tour needs to name.
type tour struct {
	Patient   string `json:"patient"`   // of a person with consent
	Condition string `json:"condition"` // her diagnosis at the program
	Hidden    string `json:"hidden"`    // the same of a person without consent
}

// load sends everything and returns what the tour points at.
func (l *loader) load(w io.Writer) (tour, error) {
	for _, p := range community() {
		if p.hospital {
			l.add(func() error { return l.atHospital(p) })
		}
		if p.screened {
			l.add(func() error { return l.intakeRecord("screening", "sdoh-screening", l.screening(p), nil) })
		}
		if p.rco {
			l.add(func() error { return l.intakeRecord("rco", "recovery-plan", l.plan(p, "Open Door"), nil) })
			l.add(func() error { return l.intakeRecord("rco", "peer-encounter", l.session(p), nil) })
		}
		if p.otp {
			l.add(func() error { return l.atProgram(p) })
		}
	}
	l.bar = newProgress(w, "loading the community", len(l.pending))
	for _, step := range l.pending {
		if err := step(); err != nil {
			return tour{}, err
		}
		l.bar.step()
	}
	return l.tour, nil
}

func (l *loader) add(step func() error) { l.pending = append(l.pending, step) }

// intakeRecord posts a native record; receipt, which may be nil, gets the references of what was made by type.
func (l *loader) intakeRecord(as, kind string, record map[string]any, receipt map[string]string) error {
	body, err := json.Marshal(record)
	if err != nil {
		return err
	}
	a, err := l.as[as].do(l.ctx, "POST", "/intake/"+kind, "application/json", body)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", kind, as, err)
	}
	var made struct {
		Records []struct{ Resources []struct{ Reference string } }
	}
	if err := json.Unmarshal(a.body, &made); err != nil {
		return err
	}
	for _, record := range made.Records {
		for _, r := range record.Resources {
			if typ, _, ok := strings.Cut(r.Reference, "/"); ok && receipt != nil {
				receipt[typ] = r.Reference
			}
		}
	}
	return nil
}

// create posts a resource and returns its reference.
func (l *loader) create(as string, doc map[string]any) (string, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return "", err
	}
	typ := doc["resourceType"].(string)
	a, err := l.as[as].do(l.ctx, "POST", "/fhir/"+typ, fhir.ContentType, body)
	if err != nil {
		return "", fmt.Errorf("%s of %s: %w", typ, as, err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil {
		return "", err
	}
	return typ + "/" + made.ID, nil
}

func (l *loader) client(p person) map[string]any {
	return map[string]any{"id": "C-" + p.id, "name": map[string]any{"first": p.first, "last": p.last}, "birth_date": p.birth, "sex": p.sex}
}

func (l *loader) day(ago int) string { return l.now.AddDate(0, 0, -ago).Format("2006-01-02") }

func (l *loader) time(ago int) string {
	return l.now.AddDate(0, 0, -ago).Truncate(24 * time.Hour).Add(15 * time.Hour).Format(time.RFC3339)
}

func (l *loader) plan(p person, where string) map[string]any {
	return map[string]any{
		"plan_id": "P-" + p.id, "client": l.client(p), "kind": "recovery-plan", "status": "active", "written_by": "together",
		"worker": map[string]any{"id": "W-1", "name": "Peer worker at " + where, "role": "peer-specialist"},
		"start":  l.day(60), "next_review": l.now.AddDate(0, 1, 0).Format("2006-01-02"),
		"needs": []any{map[string]any{"id": "n1", "words": "A safe place to live", "domain": "housing"}},
		"goals": []any{
			map[string]any{"id": "g1", "own_words": "Wake up somewhere I am not afraid", "dimensions": []string{"home", "health"}, "capital": []string{"safe-housing"},
				"priority": "high", "status": "active", "progress": "improving", "start": l.day(60), "due": l.now.AddDate(0, 2, 0).Format("2006-01-02"), "needs": []string{"n1"},
				"steps": []any{map[string]any{"id": "s1", "words": "Call the housing office", "status": "done"}, map[string]any{"id": "s2", "words": "See the flat together", "who": "worker", "status": "to-do"}}},
			map[string]any{"id": "g2", "own_words": "Cook for my kids on Sundays", "dimensions": []string{"community"}, "status": "active",
				"steps": []any{map[string]any{"id": "s1", "words": "Ask my sister for her kitchen", "status": "doing"}}},
		},
		"team":         []any{map[string]any{"id": "W-1", "name": "Peer worker at " + where, "role": "peer-specialist"}, map[string]any{"id": "A-1", "name": "A sister", "role": "family"}},
		"strengths":    []any{map[string]any{"id": "st1", "words": "Keeps promises", "dimension": "community"}},
		"last_updated": l.time(5),
	}
}

func (l *loader) session(p person) map[string]any {
	return map[string]any{
		"session_id": "S-" + p.id, "client": l.client(p), "peer": map[string]any{"id": "W-1", "name": "Peer worker", "role": "recovery-coach"},
		"status": "done", "start": l.time(12), "minutes": 45, "mode": "in-person", "place": "shelter",
		"activities":      []any{map[string]any{"kind": "peer-support", "minutes": 30, "units": 2}},
		"goals_worked_on": []any{map[string]any{"plan_id": "P-" + p.id, "goal_id": "g1", "progress": "improving"}},
		"outcomes":        map[string]any{"mood": 6, "craving": 2, "hope": 8},
		"follow_up":       map[string]any{"what": "Call the housing office", "due": l.now.AddDate(0, 0, 7).Format("2006-01-02")},
		"last_updated":    l.time(12),
	}
}

func (l *loader) screening(p person) map[string]any {
	return map[string]any{
		"screening_id": "Q-" + p.id, "client": l.client(p), "instrument": "ahc-hrsn-core", "status": "done", "screened_at": l.time(30), "last_updated": l.time(30),
		"answers": []any{
			map[string]any{"question": "living_situation", "answer": "worried"},
			map[string]any{"question": "food_worry", "answer": "sometimes"},
			map[string]any{"question": "food_ran_out", "answer": "never"},
			map[string]any{"question": "transport", "answer": "no"},
		},
	}
}

func reference(to string) map[string]any { return map[string]any{"reference": to} }

func coded(system, code string) map[string]any {
	return map[string]any{"coding": []any{map[string]any{"system": system, "code": code}}}
}

// atHospital records a person's ordinary care: a chart of the hospital's own.
func (l *loader) atHospital(p person) error {
	patient, err := l.create("hospital", map[string]any{"resourceType": "Patient", "name": []any{map[string]any{"family": p.last, "given": []string{p.first}}}, "birthDate": p.birth, "gender": p.sex})
	if err != nil {
		return err
	}
	if _, err := l.create("hospital", map[string]any{"resourceType": "Condition", "subject": reference(patient), "code": coded(fhir.SystemICD10CM, "I10"), "recordedDate": l.day(200)}); err != nil {
		return err
	}
	_, err = l.create("hospital", map[string]any{"resourceType": "Coverage", "status": "active", "beneficiary": reference(patient), "payor": []any{reference("Organization/plan")}})
	return err
}

// atProgram records a person's treatment: a session first, which makes the chart, then diagnosis and
// medication, who else treats her, the consent she gave, and last the plan that is owed to the hospital.
func (l *loader) atProgram(p person) error {
	made := map[string]string{}
	if err := l.intakeRecord("otp", "peer-encounter", l.session(p), made); err != nil {
		return err
	}
	patient := made["Patient"]
	condition, err := l.create("otp", map[string]any{"resourceType": "Condition", "subject": reference(patient), "code": coded(fhir.SystemICD10CM, "F11.20"), "recordedDate": l.day(120)})
	if err != nil {
		return err
	}
	_, err = l.create("otp", map[string]any{"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": reference(patient),
		"medicationCodeableConcept": coded(fhir.SystemRxNorm, "1819"), "authoredOn": l.day(118), "reasonReference": []any{reference(condition)}})
	if err != nil {
		return err
	}
	_, err = l.create("otp", map[string]any{"resourceType": "CareTeam", "status": "active", "subject": reference(patient), "period": map[string]any{"start": l.day(120)},
		"participant": []any{map[string]any{"role": []any{map[string]any{"text": "Hospital"}}, "member": reference("Organization/hospital")}}})
	if err != nil {
		return err
	}
	if doc := l.consent(p, patient); doc != nil {
		if _, err := l.create("otp", doc); err != nil {
			return err
		}
	}
	if p.consent == "notes" {
		_, err := l.create("otp", map[string]any{"resourceType": "DocumentReference", "status": "current", "subject": reference(patient),
			"meta":    map[string]any{"security": []any{map[string]any{"system": fhir.LocalBase + "/CodeSystem/security-label", "code": "sud-counseling-note"}}},
			"content": []any{map[string]any{"attachment": map[string]any{"contentType": "text/plain", "title": "Counselling note"}}}})
		if err != nil {
			return err
		}
	}
	switch p.consent {
	case "tpo":
		l.tour.Patient, l.tour.Condition = patient, condition
	case "none":
		l.tour.Hidden = condition
	}
	return l.intakeRecord("otp", "recovery-plan", l.plan(p, "Riverbend"), nil)
}

// consent is the instrument a person signed at the program, or nil.
func (l *loader) consent(p person, patient string) map[string]any {
	kind, recipients, purposes := string(consent.KindTPO), []string{string(consent.ClassTreatingProviders), string(consent.ClassHealthPlans)}, []string{"TREAT", "HPAYMT", "HOPERAT"}
	provision := map[string]any{"type": "permit", "period": map[string]any{"start": l.day(100)}}
	doc := map[string]any{"status": "active"}
	extensions := []any{map[string]any{"url": consent.ExtDescription, "valueString": "all my records at Riverbend"}}
	switch p.consent {
	case "tpo":
		extensions = append(extensions, map[string]any{"url": consent.ExtExpirationEvent, "valueString": "none"})
	case "revoked":
		doc["status"] = "inactive"
		extensions = append(extensions, map[string]any{"url": consent.ExtExpirationEvent, "valueString": "none"},
			map[string]any{"url": consent.ExtRevocation, "extension": []any{map[string]any{"url": "receivedAt", "valueDateTime": l.time(10)}}})
	case "expired":
		provision["period"] = map[string]any{"start": l.day(100), "end": l.day(20)}
	case "rco":
		kind, recipients, purposes = string(consent.KindSpecific), nil, []string{"COC"}
		provision["actor"] = []any{map[string]any{"role": coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"), "reference": reference("Organization/rco")}}
		provision["class"] = []any{map[string]any{"system": fhir.SystemResourceTypes, "code": "CarePlan"}}
		provision["period"] = map[string]any{"start": l.day(100), "end": l.now.AddDate(1, 0, 0).Format("2006-01-02")}
	case "notes":
		kind, recipients, purposes = string(consent.KindCounselingNotes), nil, []string{"TREAT"}
		provision["actor"] = []any{map[string]any{"role": coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"), "reference": reference("Organization/hospital")}}
		provision["period"] = map[string]any{"start": l.day(100), "end": l.now.AddDate(1, 0, 0).Format("2006-01-02")}
	default:
		return nil
	}
	for _, statement := range []string{"redisclosure", "refusal", "revocation"} {
		extensions = append(extensions, map[string]any{"url": consent.ExtStatement, "extension": []any{
			map[string]any{"url": "type", "valueCode": statement}, map[string]any{"url": "text", "valueString": "As on the signed form."}}})
	}
	var classes, codes []any
	for _, r := range recipients {
		classes = append(classes, map[string]any{"url": consent.ExtRecipientClass, "valueCode": r})
	}
	for _, code := range purposes {
		codes = append(codes, map[string]any{"system": fhir.SystemActReason, "code": code})
	}
	if classes != nil {
		provision["extension"] = classes
	}
	provision["purpose"] = codes
	doc["resourceType"], doc["extension"], doc["provision"] = "Consent", extensions, provision
	doc["scope"] = coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
	doc["category"] = []any{coded(fhir.SystemLOINC, "59284-0"), coded(consent.SystemKind, kind)}
	doc["patient"], doc["dateTime"] = reference(patient), l.day(100)
	doc["organization"] = []any{reference("Organization/otp")}
	doc["sourceAttachment"] = map[string]any{"contentType": "application/pdf", "title": "Signed form"}
	doc["policyRule"] = coded(fhir.SystemActCode, "42CFRPart2CD")
	return doc
}
