package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
)

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func testVersions(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	first := b.put("own", false, patient("p1", "Reyes", "1990"))
	if !first.Created || first.Version != 1 {
		t.Fatalf("first write: %+v", first)
	}
	if same := b.put("own", false, patient("p1", "Reyes", "1990")); !same.Unchanged || same.Version != 1 {
		t.Errorf("an identical PUT made version %d", same.Version)
	}
	if second := b.put("own", false, patient("p1", "Reyes-Ito", "1990")); second.Version != 2 || second.Created {
		t.Errorf("an edit: %+v", second)
	}
	r := b.resource(patient("p1", "Other", "1990"))
	_, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Update, Type: "Patient", ID: "p1", Resource: r, Owner: "own", IfMatch: 1,
		Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)}}, nil)
	if !errors.Is(err, store.ErrPrecondition) {
		t.Errorf("a stale If-Match: %v", err)
	}
	f := b.filter(own(), "TREAT")
	for version, family := range map[int64]string{0: "Reyes-Ito", 1: "Reyes", 2: "Reyes-Ito"} {
		target, err := b.s.Lookup(b.ctx, f, "Patient", "p1", version)
		if err != nil || !target.Visible {
			t.Fatalf("version %d: visible %v, %v", version, target.Visible, err)
		}
		root, err := fhir.ParseJSON(target.Row.Doc)
		if err != nil {
			t.Fatal(err)
		}
		if got := root.Path("name", "family").Text(); got != family {
			t.Errorf("version %d has family %s", version, got)
		}
	}
	rows, next, err := b.s.History(b.ctx, f, store.Scope{Type: "Patient", ID: "p1"}, 0, 1)
	if err != nil || len(rows) != 1 || rows[0].Version != 2 || next == 0 {
		t.Fatalf("first history page: %d rows, next %d, %v", len(rows), next, err)
	}
	rows, next, err = b.s.History(b.ctx, f, store.Scope{Type: "Patient", ID: "p1"}, next, 1)
	if err != nil || len(rows) != 1 || rows[0].Version != 1 || next != 0 {
		t.Fatalf("last history page: %d rows, next %d, %v", len(rows), next, err)
	}
}

func testOwner(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.put("own", false, patient("p1", "Reyes", "1990"))
	r := b.resource(patient("p1", "Taken", "1990"))
	for _, c := range []store.Change{
		{Method: store.Update, MayCreate: true, Resource: r},
		{Method: store.Delete},
	} {
		c.Type, c.ID, c.Owner = "Patient", "p1", "other"
		if _, err := b.s.Apply(b.ctx, []store.Change{c}, nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("method %d by another organisation: %v", c.Method, err)
		}
	}
}

func testDelete(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	b.put("own", false, patient("p1", "Reyes", "1990"))
	del := []store.Change{{Method: store.Delete, Type: "Patient", ID: "p1", Owner: "own"}}
	if _, err := b.s.Apply(b.ctx, del, nil); err != nil {
		t.Fatal(err)
	}
	b.check()
	f := b.filter(own(), "TREAT")
	target, err := b.s.Lookup(b.ctx, f, "Patient", "p1", 0)
	if err != nil || !target.Visible || !target.Row.Deleted {
		t.Errorf("after delete: %+v, %v", target.Row, err)
	}
	equal(t, "search after delete", b.search(f, "Patient", ""), []string{})
	if again := b.put("own", false, patient("p1", "Reyes", "1990")); again.Version != 3 || !again.Created {
		t.Errorf("recreated: %+v", again)
	}
}

func testSecrets(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	one, err := b.s.Secret(b.ctx, "cursor")
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.s.Secret(b.ctx, "cursor")
	if err != nil || len(one) != 32 || !slices.Equal(one, two) {
		t.Errorf("a secret changed: %v", err)
	}
}

func testAtomic(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	r := b.resource(patient("p1", "Reyes", "1990"))
	change := store.Change{Method: store.Create, Type: "Patient", ID: "p1", Resource: r, Owner: "own", Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)}
	refused := errors.New("the log cannot be written")
	if _, err := b.s.Apply(b.ctx, []store.Change{change}, func([]store.Written) (store.Commit, error) { return store.Commit{}, refused }); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	bad := change
	bad.ID, bad.IfMatch, bad.Method = "p2", 7, store.Update
	var failed *store.ChangeError
	if _, err := b.s.Apply(b.ctx, []store.Change{change, bad}, nil); !errors.As(err, &failed) || failed.Index != 1 {
		t.Fatalf("got %v", err)
	}
	equal(t, "after refused writes", b.search(b.filter(own(), "TREAT"), "Patient", ""), []string{})
	b.check()
}

// Consent is a complete TPO consent of a patient to treating providers; extra is added to its provision.
func Consent(id, patient, discloser, extra string) string {
	statement := func(typ string) string {
		return fmt.Sprintf(`{"url":"https://trellis.example/fhir/StructureDefinition/consent-statement","extension":[{"url":"type","valueCode":%q},{"url":"text","valueString":"as on the signed form"}]}`, typ)
	}
	return fmt.Sprintf(`{"resourceType":"Consent","id":%q,"extension":[%s,%s,%s,
	 {"url":"https://trellis.example/fhir/StructureDefinition/consent-description","valueString":"all my treatment records"},
	 {"url":"https://trellis.example/fhir/StructureDefinition/consent-expiration-event","valueString":"none"}],
	 "status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
	 "category":[{"coding":[{"system":"https://trellis.example/fhir/CodeSystem/consent-kind","code":"part2-tpo"}]}],
	 "patient":{"reference":"Patient/%s"},"dateTime":"2026-01-01T00:00:00Z","organization":[{"reference":"Organization/%s"}],
	 "sourceAttachment":{"title":"signed form"},"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"42CFRPart2CD"}]},
	 "provision":{"type":"permit","extension":[{"url":"https://trellis.example/fhir/StructureDefinition/consent-recipient-class","valueCode":"treating-providers"}],
	 "purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]%s}}`, id,
		statement("redisclosure"), statement("refusal"), statement("revocation"), patient, discloser, extra)
}

func episode(id, patient, org string) string {
	return fmt.Sprintf(`{"resourceType":"EpisodeOfCare","id":%q,"status":"active","patient":{"reference":"Patient/%s"},"managingOrganization":{"reference":"Organization/%s"},"period":{"start":"2025-01-01"}}`, id, patient, org)
}

// register makes hosp and otp known actors.
func (b *bench) register() (hosp, otp access.Organization) {
	b.t.Helper()
	hosp = access.Organization{ID: "hosp", Class: access.CoveredEntity}
	otp = access.Organization{ID: "otp", Class: access.Part2ProgramCE}
	for _, o := range []access.Organization{hosp, otp} {
		if _, err := b.s.PutOrganization(b.ctx, o); err != nil {
			b.t.Fatal(err)
		}
		rec := store.ClientRecord{}
		rec.OAuth.ID, rec.OAuth.Organization, rec.OAuth.Purposes = "c-"+o.ID, o.ID, []string{"TREAT", "HPAYMT"}
		if err := b.s.PutClient(b.ctx, rec); err != nil {
			b.t.Fatal(err)
		}
	}
	return hosp, otp
}

func testFilter(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	hosp, otp := b.register()
	b.put("hosp", false, patient("p1", "Reyes", "1990"))
	b.put("hosp", false, condition("c2", "p1", "I10"))
	b.put("otp", true, condition("c1", "p1", "F11.20"))
	equal(t, "hospital", b.search(b.filter(hosp, "TREAT"), "Condition", "patient=p1"), []string{"c2"})
	equal(t, "program", b.search(b.filter(otp, "TREAT"), "Condition", "patient=p1"), []string{"c2", "c1"})
	equal(t, "zero filter", b.search(access.Filter{}, "Condition", "patient=p1"), []string{})
	equal(t, "count", b.search(b.filter(hosp, "TREAT"), "Condition", "patient=p1&_total=accurate"), []string{"c2", "1"})
	target, err := b.s.Lookup(b.ctx, b.filter(hosp, "TREAT"), "Condition", "c1", 0)
	if err != nil || target.Visible || target.Row.Doc != nil {
		t.Errorf("a hidden row's body was fetched: %v", err)
	}
	rows, _, err := b.s.History(b.ctx, b.filter(hosp, "TREAT"), store.Scope{}, 0, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.ID == "c1" {
			t.Error("system history shows a hidden resource")
		}
	}
}

// testGrants: the store's answer changes with consent, revocation and time exactly as Decide's.
func testGrants(t *testing.T, open Open) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	b := newBench(t, open, func() time.Time { return at })
	hosp, _ := b.register()
	b.put("hosp", false, patient("p1", "Reyes", "1990"))
	b.put("otp", true, condition("c1", "p1", "F11.20"))
	see := func(what string, want ...string) {
		t.Helper()
		if want == nil {
			want = []string{}
		}
		f := b.filter(hosp, "TREAT")
		equal(t, what, b.search(f, "Condition", "patient=p1"), want)
		target, err := b.s.Lookup(b.ctx, f, "Condition", "c1", 0)
		if err != nil {
			t.Fatal(err)
		}
		d := access.Decide(access.Request{Principal: access.Principal{Organization: hosp, Purpose: "TREAT"}, Segment: b.s.Segment(target.Subject.Segment),
			ResourceType: "Condition", Period: target.Subject.Period, Facts: target.Subject.Patients[0].Facts, Now: at})
		if (d.Effect == access.Permit) != target.Visible {
			t.Errorf("%s: Decide says %s (%s), the store says %v", what, d.Effect, d.Code, target.Visible)
		}
	}
	see("no consent")
	b.put("otp", true, Consent("k1", "p1", "otp", ""))
	see("consent without treating relationship")
	b.put("hosp", false, episode("e1", "p1", "hosp"))
	see("consent and relationship", "c1")
	b.put("otp", true, condition("c3", "p1", "F10.20"))
	see("a new segment under the same consent", "c1", "c3")
	b.put("otp", true, Consent("k1", "p1", "otp", `,"period":{"end":"2026-05-31"}`))
	see("with an end, before it", "c1", "c3")
	at = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	see("after the end")
	at = time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	b.put("otp", true, Consent("k1", "p1", "otp", `,"class":[{"system":"http://hl7.org/fhir/resource-types","code":"CarePlan"}]`))
	see("another type only")
	b.put("otp", true, Consent("k1", "p1", "otp", `,"provision":[{"type":"deny","securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"ETHUD"}]}]`))
	see("one label denied", "c1")
	b.put("otp", true, `{"resourceType":"Consent","id":"k2","status":"active","scope":{"text":"x"},"category":[{"text":"x"}],"patient":{"reference":"Patient/p1"},"dateTime":"not a date","provision":{"type":"permit"}}`)
	see("an unreadable consent among valid ones")
}

func testHiddenRows(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	hosp, _ := b.register()
	var changes []store.Change
	add := func(org string, part2 bool, doc string) {
		r := b.resource(doc)
		changes = append(changes, store.Change{Method: store.Create, Type: r.Type, ID: r.ID, Resource: r, Owner: org, Segment: b.cl.Classify(r, label.Source{Organization: org, Part2: part2, Covered: true}, nil)})
	}
	add("hosp", false, patient("p1", "Reyes", "1990"))
	const hidden = 10_000
	for i := range hidden {
		add("otp", true, condition(fmt.Sprintf("h%d", i), "p1", "F11.20"))
	}
	for i := range 5 {
		add("hosp", false, condition(fmt.Sprintf("v%d", i), "p1", "I10"))
	}
	if _, err := b.s.Apply(b.ctx, changes, nil); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"patient=p1&_count=5", "_count=5", "_count=5&_sort=-recorded-date"} {
		before := b.s.Statements()
		ids := b.search(b.filter(hosp, "TREAT"), "Condition", query)
		slices.Sort(ids)
		equal(t, query, ids, []string{"v0", "v1", "v2", "v3", "v4"})
		if n := b.s.Statements()["search"] - before["search"]; n != 1 {
			t.Errorf("%s: the page took %d statements", query, n)
		}
	}
}

func testSeveralPatients(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	hosp, _ := b.register()
	plan := access.Organization{ID: "plan", Class: access.CoveredEntity, Payer: true}
	if _, err := b.s.PutOrganization(b.ctx, plan); err != nil {
		t.Fatal(err)
	}
	rec := store.ClientRecord{}
	rec.OAuth.ID, rec.OAuth.Organization, rec.OAuth.Purposes = "c-plan", "plan", []string{"HPAYMT"}
	if err := b.s.PutClient(b.ctx, rec); err != nil {
		t.Fatal(err)
	}
	b.put("hosp", false, `{"resourceType":"Communication","id":"m1","status":"completed","subject":{"reference":"Patient/p1"},"recipient":[{"reference":"Patient/p2"}]}`)
	coverage := func(id, patient string) string {
		return fmt.Sprintf(`{"resourceType":"Coverage","id":%q,"status":"active","beneficiary":{"reference":"Patient/%s"},"payor":[{"reference":"Organization/plan"}]}`, id, patient)
	}
	for _, p := range []string{"p1", "p2"} {
		equal(t, "hospital searches "+p, b.search(b.filter(hosp, "TREAT"), "Communication", "recipient=Patient/p2"), []string{"m1"})
	}
	b.put("hosp", false, coverage("cov1", "p1"))
	equal(t, "covered for one of two", b.search(b.filter(plan, "HPAYMT"), "Communication", ""), []string{})
	b.put("hosp", false, coverage("cov2", "p2"))
	equal(t, "covered for both", b.search(b.filter(plan, "HPAYMT"), "Communication", ""), []string{"m1"})

	// A reference to it stands for as long as each of them agrees.
	b.put("hosp", false, `{"resourceType":"Communication","id":"m2","status":"completed","subject":{"reference":"Patient/p1"},"inResponseTo":[{"reference":"Communication/m1"}]}`)
	hides := func(what string, want bool) {
		t.Helper()
		f := b.filter(plan, "HPAYMT")
		target, err := b.s.Lookup(b.ctx, f, "Communication", "m2", 0)
		if err != nil || !target.Visible {
			t.Fatalf("%s: visible %v, %v", what, target.Visible, err)
		}
		hidden, err := b.s.Hidden(b.ctx, f, []store.Row{target.Row})
		if err != nil || hidden[fhir.Reference{Type: "Communication", ID: "m1"}] != want {
			t.Errorf("%s: %v, %v", what, hidden, err)
		}
	}
	hides("both agree", false)
	if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: "Coverage", ID: "cov2", Owner: "hosp"}}, nil); err != nil {
		t.Fatal(err)
	}
	hides("one of two agrees no more", true)
}

// testMoved: an old version is about whom it was about when it was written, whatever the head says now; and
// a fact moved to another patient's file stops counting for the first.
func testMoved(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	hosp, _ := b.register()
	b.put("hosp", false, patient("p1", "Reyes", "1990"))
	b.put("hosp", false, patient("p2", "Ito", "1985"))
	b.put("otp", true, Consent("k1", "p2", "otp", ""))
	b.put("hosp", false, episode("e1", "p1", "hosp"))
	b.put("hosp", false, episode("e2", "p2", "hosp"))
	b.put("otp", true, condition("c1", "p1", "F11.20")) // filed under p1, who did not consent
	b.put("otp", true, condition("c1", "p2", "F11.20")) // and corrected to p2, who did
	f := b.filter(hosp, "TREAT")
	for version, want := range map[int64]bool{0: true, 1: false, 2: true} {
		target, err := b.s.Lookup(b.ctx, f, "Condition", "c1", version)
		if err != nil || target.Visible != want {
			t.Errorf("version %d: visible %v, %v", version, target.Visible, err)
		}
	}
	rows, _, err := b.s.History(b.ctx, f, store.Scope{Type: "Condition", ID: "c1"}, 0, 10)
	if err != nil || len(rows) != 1 || rows[0].Version != 2 {
		t.Errorf("history: %d rows, %v", len(rows), err)
	}
	b.put("otp", true, Consent("k1", "p1", "otp", "")) // the form was filed under the wrong person
	f = b.filter(hosp, "TREAT")
	equal(t, "after the consent moved away", b.search(f, "Condition", "patient=p2&_total=accurate"), []string{"0"})
	target, err := b.s.Lookup(b.ctx, f, "Condition", "c1", 0)
	if err != nil || target.Visible || len(target.Subject.Patients[0].Facts.Consents) != 0 {
		t.Errorf("after the consent moved away: visible %v, %v", target.Visible, err)
	}
}

// testFollowed: a reference that was found to lead somewhere is not asked about again, and no longer stands once it is not to.
func testFollowed(t *testing.T, open Open) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	b := newBench(t, open, func() time.Time { return at })
	hosp, _ := b.register()
	b.put("hosp", false, patient("p1", "Reyes", "1990"))
	b.put("hosp", false, episode("e1", "p1", "hosp"))
	b.put("clinic", false, condition("c2", "p1", "I10"))
	b.put("otp", true, condition("c1", "p1", "F11.20"))
	b.put("clinic", false, `{"resourceType":"Encounter","id":"v1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"},"diagnosis":[{"condition":{"reference":"Condition/c1"}},{"condition":{"reference":"Condition/c2"}}]}`)
	// hides asks by the row as the filter sees it now, and says how many statements that took.
	hides := func(what string, statements int64, want ...string) {
		t.Helper()
		f := b.filter(hosp, "TREAT")
		target, err := b.s.Lookup(b.ctx, f, "Encounter", "v1", 0)
		if err != nil {
			t.Fatal(err)
		}
		before := b.s.Statements()["visible"]
		hidden, err := b.s.Hidden(b.ctx, f, []store.Row{target.Row})
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for ref := range hidden {
			got = append(got, ref.ID)
		}
		slices.Sort(got)
		if want == nil {
			want = []string{}
		}
		equal(t, what, got, want)
		if n := b.s.Statements()["visible"] - before; n != statements {
			t.Errorf("%s: %d statements, want %d", what, n, statements)
		}
	}
	hides("without consent", 1, "c1")
	hides("what is hidden is asked again", 1, "c1")
	b.put("otp", true, Consent("k1", "p1", "otp", `,"period":{"end":"2026-05-31"}`))
	hides("with consent", 1)
	hides("again", 0)
	at = time.Date(2026, 5, 20, 0, 0, 0, 0, time.UTC)
	hides("weeks later", 0)
	at = time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC)
	hides("when the consent has ended", 1, "c1")
	b.put("otp", true, Consent("k1", "p1", "otp", `,"period":{"start":"2026-06-01"}`))
	hides("with the next consent", 1)
	at = at.AddDate(0, 0, -3)
	hides("by a clock set back to before it", 1, "c1")
	at = at.AddDate(0, 0, 3)
	b.put("otp", true, Consent("k1", "p1", "otp", ""))
	hides("with consent anew", 1)
	hides("with consent anew, again", 0)
	if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: "Condition", ID: "c2", Owner: "clinic"}}, nil); err != nil {
		t.Fatal(err)
	}
	hides("after a deletion", 1, "c2")
	b.put("clinic", false, condition("c2", "p1", "I10"))
	hides("put back", 1)
	hides("put back, again", 0)
	b.put("otp", true, strings.Replace(Consent("k1", "p1", "otp", ""), `"status":"active"`, `"status":"inactive"`, 1))
	hides("revoked", 1, "c1")
	// The same row under a filter to which what it leads to is not open any more, as when an agreement has ended.
	f := b.filter(hosp, "TREAT")
	target, err := b.s.Lookup(b.ctx, f, "Encounter", "v1", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Open = nil
	hidden, err := b.s.Hidden(b.ctx, f, []store.Row{target.Row})
	if err != nil || !hidden[fhir.Reference{Type: "Condition", ID: "c2"}] {
		t.Errorf("no longer open: %v %v", hidden, err)
	}
}
