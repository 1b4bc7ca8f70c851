package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/gateway/store"
)

// Database makes an empty database. Each call of what it returns opens another store on it.
type Database func(t testing.TB) func(t testing.TB, clock func() time.Time) *store.Store

// full asks for the sizes of the gates in place of those a default run has time for.
var full = os.Getenv("TRELLIS_FULL_GATES") != ""

func scaled(small, whole int) int {
	if full {
		return whole
	}
	return small
}

// RunShared runs what needs several stores on one database. replicas is how many of them may write.
func RunShared(t *testing.T, database Database, replicas int) {
	t.Run("gate 6, conditional creates at once", func(t *testing.T) { t.Parallel(); testConditionalRace(t, database, replicas) })
	for seed := range scaled(2, 12) {
		t.Run(fmt.Sprintf("what is remembered, seed %d", seed+1), func(t *testing.T) {
			t.Parallel()
			testRemembered(t, database, replicas, uint64(seed+1))
		})
	}
}

// memory is the world of the test: replicas that have been running all along, and the means to change what they
// may show.
type memory struct {
	generator
	t       *testing.T
	at      atomic.Int64 // the clock, in microseconds
	open    func(testing.TB, func() time.Time) *store.Store
	benches []*bench
	actors  []actor
	ids     []string          // records, as Type/id
	codes   map[string]string // of Conditions that stand
}

// actor is a principal with what its token leaves of its view; within says the same of a record, by the patients it is
// about, and nil leaves all.
type actor struct {
	access.Principal
	limits *access.Limits
	within func(m *memory, ref string, patients []store.PatientFacts) bool
}

func (a actor) String() string {
	s := fmt.Sprint(a.Organization.ID, " ", a.Capacity, " ", a.Patient, " for ", a.Purpose)
	if a.limits != nil {
		s += " with limits"
	}
	return s
}

// everyone is organisations, people about one record, and both with tokens that leave less.
func (m *memory) everyone(hosp, otp access.Organization) []actor {
	person := func(c access.Capacity, patient, purpose string) access.Principal {
		return access.Principal{User: "u-" + patient, Capacity: c, Patient: patient, Purpose: purpose}
	}
	staff := func(o access.Organization) access.Principal {
		return access.Principal{User: "s-" + o.ID, Capacity: access.Staff, Organization: o, Purpose: "TREAT"}
	}
	only := func(patient string) func(*memory, string, []store.PatientFacts) bool {
		return func(_ *memory, _ string, about []store.PatientFacts) bool {
			return len(about) == 1 && about[0].ID == patient
		}
	}
	everything := map[string][]access.Clause{"Patient": {{Compartment: true}}, "Condition": {{Compartment: true}}, "Observation": {{Compartment: true}}, "Communication": {{Compartment: true}}}
	coded := m.benches[0].query("Condition", "code=F11.20").Where
	return []actor{
		{Principal: access.Principal{Organization: hosp, Purpose: "TREAT"}},
		{Principal: access.Principal{Organization: otp, Purpose: "TREAT"}}, {Principal: access.Principal{Organization: hosp, Purpose: "HPAYMT"}},
		{Principal: person(access.Self, "p1", "PATRQT")}, {Principal: person(access.Proxy, "p1", "PATRQT")}, {Principal: person(access.Representative, "p2", "FAMRQT")},
		{Principal: staff(hosp), limits: &access.Limits{Patient: "p1", Types: everything, Walled: true}, within: only("p1")},
		{Principal: staff(otp), limits: &access.Limits{Patient: "p2", Types: everything, Walled: true}, within: only("p2")},
		{Principal: staff(otp), limits: &access.Limits{Patient: "p3", Types: map[string][]access.Clause{"Observation": {{}}, "Condition": {{Where: coded}, {Compartment: true}}}},
			within: func(m *memory, ref string, about []store.PatientFacts) bool {
				return strings.HasPrefix(ref, "Observation/") || m.codes[ref] == "F11.20" || strings.HasPrefix(ref, "Condition/") && only("p3")(m, ref, about)
			}},
		{Principal: person(access.Self, "p3", "PATRQT"), limits: &access.Limits{Types: map[string][]access.Clause{"Condition": {{Where: coded}}}},
			within: func(m *memory, ref string, _ []store.PatientFacts) bool { return m.codes[ref] == "F11.20" }},
		{Principal: access.Principal{Organization: otp, Purpose: "TREAT"}, limits: &access.Limits{},
			within: func(*memory, string, []store.PatientFacts) bool { return false }},
	}
}

func (m *memory) now() time.Time { return time.UnixMicro(m.at.Load()).UTC() }

// testRemembered changes consents, labels, owners, patients and time at random, by any replica. After each step every
// replica, whatever it has seen before, shows exactly what a store shows that was opened just now and remembers
// nothing, and what Decide permits.
func testRemembered(t *testing.T, database Database, replicas int, seed uint64) {
	m := &memory{generator: generator{rand.New(rand.NewPCG(seed, 2))}, t: t, open: database(t), codes: map[string]string{}}
	m.at.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	for range replicas {
		m.benches = append(m.benches, newBench(t, m.open, m.now))
	}
	b := m.benches[0]
	hosp, otp := b.register()
	m.actors = m.everyone(hosp, otp)
	for _, p := range []string{"p1", "p2", "p3"} {
		b.put("hosp", false, patient(p, "Reyes", "1990"))
	}
	for i := range 11 {
		m.ids = append(m.ids, m.record(i))
	}
	for range 2 { // seen twice: what can be remembered is
		m.compare("at first")
	}
	for step := range scaled(16/len(m.benches), 200) {
		what := m.step()
		m.compare(fmt.Sprintf("seed %d, step %d, after %s", seed, step, what))
		if t.Failed() {
			return
		}
	}
}

func (m *memory) bench() *bench { return m.benches[m.IntN(len(m.benches))] }

// record writes the i-th record, of a patient and label chosen anew, or one that is about two patients.
func (m *memory) record(i int) string {
	p := m.pick("p1", "p2", "p3")
	id := fmt.Sprintf("x%d", i)
	if i >= 9 { // things about nobody
		typ := m.pick("Medication", "Device")
		id = strings.ToLower(typ) + id
		m.bench().put("otp", m.IntN(2) == 0, fmt.Sprintf(`{"resourceType":%q,"id":%q}`, typ, id))
		return typ + "/" + id
	}
	switch i % 3 {
	case 0:
		code := m.pick("F11.20", "F10.20", "I10", "F32.9")
		m.bench().put("otp", true, fmt.Sprintf(`{"resourceType":"Condition","id":%q,"subject":{"reference":"Patient/%s"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":%q}]},"recordedDate":%q}`,
			id, p, code, m.pick("2026-01-05", "2026-02-05", "2026-03-05")))
		m.codes["Condition/"+id] = code
		return "Condition/" + id
	case 1:
		m.bench().put("otp", true, observation(id, p, m.pick("2026-01-05", "2026-02-05", "2026-03")))
		return "Observation/" + id
	}
	other := ""
	if q := m.pick("p1", "p2", "p3", ""); q != "" {
		other = `,"recipient":[{"reference":"Patient/` + q + `"}]`
	}
	m.bench().put("otp", true, fmt.Sprintf(`{"resourceType":"Communication","id":%q,"status":"completed","subject":{"reference":"Patient/%s"},"sent":"2026-02-01"%s}`, id, p, other))
	return "Communication/" + id
}

// step changes one thing that decides about what may be seen.
func (m *memory) step() string {
	p := m.pick("p1", "p2", "p3")
	switch m.IntN(9) {
	case 0, 1:
		extra := m.pick("", `,"period":{"end":"2026-05-20"}`, `,"class":[{"system":"http://hl7.org/fhir/resource-types","code":"Condition"}]`,
			`,"dataPeriod":{"start":"2026-01-01","end":"2026-02-28"}`,
			`,"provision":[{"type":"deny","securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"ETHUD"}]}]`)
		m.bench().put("otp", true, Consent("k-"+p, p, "otp", extra))
		return "consent of " + p + extra
	case 2:
		m.remove("Consent", "k-"+p, "otp")
		return "no consent of " + p
	case 3, 4:
		m.bench().put("hosp", false, episode("e-"+p, p, "hosp"))
		return "treatment of " + p
	case 5:
		if m.IntN(2) == 0 {
			m.remove("EpisodeOfCare", "e-"+p, "hosp")
			return "no treatment of " + p
		}
		m.at.Add((10 * 24 * time.Hour).Microseconds())
		return "ten days"
	case 6:
		ref := m.pick(m.ids...)
		typ, id, _ := strings.Cut(ref, "/")
		m.remove(typ, id, "otp")
		delete(m.codes, ref)
		return "deleting " + ref
	}
	i := m.IntN(len(m.ids))
	m.ids[i] = m.record(i)
	return "another " + m.ids[i]
}

func (m *memory) remove(typ, id, owner string) {
	m.t.Helper()
	b := m.bench()
	_, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: typ, ID: id, Owner: owner}}, nil)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		m.t.Fatal(err)
	}
	b.check()
}

// compare holds every replica to a store that remembers nothing, and that one to Decide.
func (m *memory) compare(what string) {
	m.t.Helper()
	fresh := newForgetful(m.t, m.open, m.now)
	defer fresh.close(m.t)
	for _, actor := range []actor{m.actors[0], m.actors[1+m.IntN(2)], m.actors[3+m.IntN(3)], m.actors[6+m.IntN(len(m.actors)-6)]} {
		want := fresh.show(m, actor, true)
		for i, b := range m.benches {
			got := b.show(m, actor, false)
			if !slices.Equal(got, want) {
				for j := range want {
					if got[j] != want[j] {
						m.t.Errorf("%s, replica %d, %s:\n  it shows %s\n  a new store %s", what, i, actor, got[j], want[j])
					}
				}
			}
		}
	}
}

// forgetful is a store opened for one comparison.
type forgetful struct{ *bench }

func newForgetful(t testing.TB, open func(testing.TB, func() time.Time) *store.Store, clock func() time.Time) *forgetful {
	t.Helper()
	return &forgetful{&bench{t: t, s: open(unowned{t}, clock), ctx: context.Background()}}
}

func (f *forgetful) close(t testing.TB) {
	t.Helper()
	if err := f.s.Close(); err != nil {
		t.Error(err)
	}
}

// unowned keeps a store from being closed by the end of the test: it is closed long before.
type unowned struct{ testing.TB }

func (unowned) Cleanup(func()) {}

// show is all an actor can learn: compartments, across patients, counts, includes, histories and single records.
// plain asks so that no view of a patient is used: across patients, and by the filter's own statements.
func (b *bench) show(m *memory, actor actor, plain bool) []string {
	b.t.Helper()
	f := b.view(actor.Principal)
	f.Limits = actor.limits
	var out []string
	for _, p := range []string{"p1", "p2", "p3"} {
		for _, typ := range []string{"Condition", "Observation", "Communication"} {
			query := "subject=" + p + ",nobody"
			if !plain {
				query = "subject=" + p
			}
			out = append(out, fmt.Sprint(typ, " of ", p, ": ", b.search(f, typ, query+"&_total=accurate&_sort=_id")))
		}
		query, typ := "recipient="+p+",nobody", "Communication"
		if !plain {
			query, typ = "recipient="+p, "Patient/"+p+"/Communication"
		}
		out = append(out, fmt.Sprint("to ", p, ": ", b.search(f, typ, query+"&_total=accurate&_sort=_id")))
		ids := b.withIncludes(f, "Patient", "_id="+p+"&_revinclude=Condition:patient&_revinclude=Communication:recipient")
		slices.Sort(ids)
		out = append(out, fmt.Sprint("with ", p, ": ", ids))
	}
	for _, ref := range m.ids {
		out = append(out, b.single(m, actor, f, ref, plain))
	}
	return out
}

func (b *bench) single(m *memory, actor actor, f access.Filter, ref string, plain bool) string {
	b.t.Helper()
	typ, id, _ := strings.Cut(ref, "/")
	target, err := b.s.Lookup(b.ctx, f, typ, id, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	rows, _, err := b.s.History(b.ctx, f, store.Scope{Type: typ, ID: id}, 0, 20)
	if err != nil {
		b.t.Fatal(err)
	}
	var versions []int64
	for _, r := range rows {
		versions = append(versions, r.Version)
	}
	if plain {
		segment := b.s.Segment(target.Subject.Segment)
		permitted := len(target.Subject.Patients) > 0
		if !permitted && target.Exists { // about nobody: its custodian's, or a thing described
			d := access.Decide(access.Request{Principal: actor.Principal, Segment: segment, ResourceType: typ, Period: target.Subject.Period, Now: m.now()})
			permitted = d.Effect == access.Permit && (d.Basis == "own-record" || d.Basis == "thing")
		}
		for _, p := range target.Subject.Patients {
			d := access.Decide(access.Request{Principal: actor.Principal, Segment: segment, ResourceType: typ, Patient: p.ID, Period: target.Subject.Period, Facts: p.Facts, Now: m.now()})
			permitted = permitted && d.Effect == access.Permit
		}
		permitted = permitted && (actor.within == nil || actor.within(m, ref, target.Subject.Patients))
		if permitted != target.Visible {
			b.t.Errorf("%s for %s: Decide and the token permit %v, the filter %v", ref, actor, permitted, target.Visible)
		}
	}
	return fmt.Sprint(ref, ": ", target.Exists, target.Visible, target.Row.Deleted, len(target.Row.Doc), target.Row.Version, " versions ", versions)
}

// testSameInstant gives and takes the same consent again and again while the clock stands still.
func testSameInstant(t *testing.T, open Open) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	b := newBench(t, open, func() time.Time { return at })
	hosp, _ := b.register()
	b.put("hosp", false, patient("p1", "Reyes", "1990"))
	b.put("otp", true, condition("c1", "p1", "F11.20"))
	b.put("hosp", false, episode("e1", "p1", "hosp"))
	for range 3 {
		b.put("otp", true, Consent("k1", "p1", "otp", ""))
		equal(t, "given", b.search(b.filter(hosp, "TREAT"), "Condition", "patient=p1"), []string{"c1"})
		if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: "Consent", ID: "k1", Owner: "otp"}}, nil); err != nil {
			t.Fatal(err)
		}
		equal(t, "taken", b.search(b.filter(hosp, "TREAT"), "Condition", "patient=p1"), []string{})
	}
}
