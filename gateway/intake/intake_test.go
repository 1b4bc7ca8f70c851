package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/conformance/storetest"
	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/gateway/store/sqlite"
	"trellis/mapping"
)

type office struct {
	t    *testing.T
	desk *Desk
	s    *store.Store
}

func open(t *testing.T) *office {
	t.Helper()
	engine, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), storetest.Config(t, engine, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	labels, err := label.New()
	if err != nil {
		t.Fatal(err)
	}
	packs, err := mapping.LoadAll(mapping.Packs())
	if err != nil {
		t.Fatal(err)
	}
	desk := New(Config{Packs: packs, Parser: parser, Labels: labels, Store: s, Namespace: uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
		Partners: []Partner{{Organization: "hospital", Type: "CarePlan"}}})
	return &office{t, desk, s}
}

func (o *office) submit(kind, record string, org access.Organization) (Receipt, error) {
	o.t.Helper()
	r, err := o.desk.Submit(o.t.Context(), Submission{Kind: kind, JSON: []byte(record), Principal: access.Principal{Organization: org, Purpose: "COC"},
		Allow: func(string) error { return nil }})
	if err := o.s.CheckIndex(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	return r, err
}

// statuses counts what a receipt says was done, by type.
func statuses(t *testing.T, r Receipt) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, record := range r.Records {
		for _, m := range record.Resources {
			typ, _, _ := strings.Cut(m.Reference, "/")
			out[typ] = fmt.Sprintf("%s v%d", m.Status, m.Version)
		}
	}
	return out
}

const session = `{"session_id":"S-1","client":{"id":"C-1","name":{"first":"Ana","last":"Test"},"birth_date":"1990-02-03","sex":"female","address":{"street":"1 Main St","city":"Albany","state":"NY","zip":"12208"}},
 "peer":{"id":"W-1","name":"Peer"},"status":"done","start":"2026-03-02T14:05:00-05:00","minutes":45,"mode":"phone","activities":[{"kind":"peer-support"}],"last_updated":"2026-03-02T16:00:00-05:00"}`

func rco() access.Organization {
	return access.Organization{ID: "rco", Name: "Open Door", Class: access.LawfulHolderOther}
}

func TestTwiceAndEdited(t *testing.T) {
	o := open(t)
	first, err := o.submit("peer-encounter", session, rco())
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(t, first); got["Encounter"] != "created v1" || got["Patient"] != "created v1" || got["Provenance"] != "created v1" {
		t.Fatalf("first: %v", got)
	}
	again, err := o.submit("peer-encounter", session, rco())
	if err != nil {
		t.Fatal(err)
	}
	for typ, status := range statuses(t, again) {
		if status != "unchanged v1" {
			t.Errorf("sent twice: %s %s", typ, status)
		}
	}
	edited, err := o.submit("peer-encounter", strings.Replace(session, `"minutes":45`, `"minutes":50`, 1), rco())
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(t, edited); got["Encounter"] != "updated v2" || got["Patient"] != "unchanged v1" {
		t.Errorf("edited: %v", got)
	}
	if len(first.Report.Coverage) == 0 {
		t.Error("the receipt has no coverage")
	}
}

// TestThinRecord: a record that knows less about a person does not erase what another said.
func TestThinRecord(t *testing.T) {
	o := open(t)
	if _, err := o.submit("peer-encounter", session, rco()); err != nil {
		t.Fatal(err)
	}
	thin := `{"session_id":"S-2","client":{"id":"C-1","name":{"first":"Ana","last":"Test"},"sex":"female"},"peer":{"id":"W-1","name":"Peer"},"status":"done","start":"2026-03-09T14:05:00-05:00","minutes":45,"mode":"phone","activities":[{"kind":"peer-support"}],"last_updated":"2026-03-09T16:00:00-05:00"}`
	r, err := o.submit("peer-encounter", thin, rco())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Records[0].Resources {
		typ, id, _ := strings.Cut(m.Reference, "/")
		if typ != "Patient" {
			continue
		}
		own, err := o.s.Own(t.Context(), "rco", typ, id)
		if err != nil || own == nil {
			t.Fatalf("%v %v", own, err)
		}
		if own.Root.Path("address", "city").Text() != "Albany" || own.Root.Get("birthDate").Text() != "1990-02-03" {
			t.Errorf("a thin record erased something: %s", own.JSON)
		}
	}
}

func TestInvalid(t *testing.T) {
	const secret = "Kp3Canary"
	o := open(t)
	for name, c := range map[string]struct{ kind, record, at string }{
		"not JSON":      {"peer-encounter", `{"session_id":"` + secret, ""},
		"unknown field": {"peer-encounter", strings.Replace(session, `"minutes"`, `"`+secret+`":1,"minutes"`, 1), ""},
		"wrong value":   {"peer-encounter", strings.Replace(session, `"phone"`, `"`+secret+`"`, 1), "/mode"},
		"missing field": {"recovery-plan", `{"plan_id":"` + secret + `"}`, ""},
		"unknown kind":  {"nonsense", session, ""},
	} {
		_, err := o.submit(c.kind, c.record, rco())
		var p *fhir.Problem
		if !errors.As(err, &p) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.at != "" && !strings.Contains(err.Error(), c.at) {
			t.Errorf("%s: the error does not say where: %v", name, err)
		}
	}
	segments, err := o.s.Segments(t.Context())
	if err != nil || len(segments) > 0 {
		t.Errorf("something was stored: %d segments, %v", len(segments), err)
	}
}

// TestScope: a record that makes a type the token does not allow is refused whole.
func TestScope(t *testing.T) {
	o := open(t)
	refused := fhir.NewProblem(fhir.Forbidden, "forbidden", "no")
	_, err := o.desk.Submit(t.Context(), Submission{Kind: "peer-encounter", JSON: []byte(session), Principal: access.Principal{Organization: rco(), Purpose: "COC"},
		Allow: func(typ string) error {
			if typ == "Procedure" || typ == "Encounter" {
				return refused
			}
			return nil
		}})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if segments, err := o.s.Segments(t.Context()); err != nil || len(segments) > 0 {
		t.Errorf("something was stored: %v", err)
	}
}

// TestPart2Program: the same record from a program is Part 2 in every resource, and its plan is owed to
// the partner in the same transaction.
func TestPart2Program(t *testing.T) {
	o := open(t)
	otp := access.Organization{ID: "otp", Name: "Program", Class: access.Part2ProgramCE}
	plan := `{"plan_id":"P-1","client":{"id":"C-1","name":{"first":"Ana"},"sex":"female"},"kind":"recovery-plan","status":"active","start":"2026-01-05",
	 "goals":[{"id":"g1","own_words":"My own place","status":"active","dimensions":["home"]}],"last_updated":"2026-03-02T16:00:00-05:00"}`
	if _, err := o.submit("recovery-plan", plan, otp); err != nil {
		t.Fatal(err)
	}
	segments, err := o.s.Segments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		if !s.Segment.Directory && (!s.Segment.Part2 || s.Segment.Confidentiality != "R") {
			t.Errorf("a segment of a program is not Part 2: %s", s.Segment.Key())
		}
	}
	for _, want := range []string{`map[waiting:1]`, `map[waiting:1]`} { // sent again, nothing more is owed
		states, err := o.s.Deliveries(t.Context())
		if err != nil || fmt.Sprint(states) != want {
			t.Errorf("deliveries %v, %v", states, err)
		}
		if _, err := o.submit("recovery-plan", plan, otp); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReceiptHoldsNoValues: what goes back to the sender names fields and rules.
func TestReceiptHoldsNoValues(t *testing.T) {
	o := open(t)
	r, err := o.submit("peer-encounter", strings.Replace(session, "Ana", "Kp3Canary", 1), rco())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(r)
	if err != nil || strings.Contains(string(doc), "Kp3Canary") {
		t.Errorf("the receipt repeats a value: %v", err)
	}
}

// Health concerns are proposed only where the deployment asks for it, and unconfirmed.
func TestConcernsAreProposedOnRequest(t *testing.T) {
	o := open(t)
	const screening = `{"screening_id":"SC-1","client":{"id":"C-1","name":{"first":"Ada"},"sex":"female"},"instrument":"prapare","status":"done",
		"screened_at":"2026-03-02T10:00:00-05:00","answers":[{"question":"housing","answer":"do-not-have"}],"last_updated":"2026-03-02T11:00:00-05:00"}`
	org := access.Organization{ID: "rco", Name: "Open Door", Class: access.LawfulHolderOther}
	conditions := func() (n int) {
		r, err := o.submit("sdoh-screening", screening, org)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Records[0].Resources {
			if strings.HasPrefix(m.Reference, "Condition/") {
				n++
			}
		}
		return n
	}
	if n := conditions(); n != 0 {
		t.Errorf("%d proposed unasked", n)
	}
	o.desk.propose = true
	if n := conditions(); n != 1 {
		t.Errorf("%d proposed on request", n)
	}
}
