package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/store"
)

// Gates reproduce what made other servers fail; their full sizes are asked for with TRELLIS_FULL_GATES.

// patience bounds what a gate's statement may take on a busy machine. It is generous: what it must tell apart is a
// short range of an index from a walk over everything, and the latter takes longer still at full size.
const patience = 20 * time.Second

// timed runs fn, prints what it took and bounds its time and its statements of one purpose.
func (b *bench) timed(what, purpose string, statements int64, fn func()) {
	b.t.Helper()
	before, start := b.s.Statements()[purpose], time.Now()
	fn()
	took, n := time.Since(start), b.s.Statements()[purpose]-before
	b.t.Logf("%s: %s, %d statements", what, took.Round(10*time.Microsecond), n)
	if took > patience {
		b.t.Errorf("%s took %s", what, took)
	}
	if n != statements {
		b.t.Errorf("%s: %d statements, want %d", what, n, statements)
	}
}

// testExtremes asks dense and sparse ends of every ordered type: all rows, none, and the few beyond.
func testExtremes(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	n := scaled(400, 20_000)
	docs := []string{patient("p1", "Reyes", "1990")}
	var dense []string
	for i := range n {
		id := fmt.Sprintf("o%05d", i)
		dense = append(dense, id)
		docs = append(docs, fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","subject":{"reference":"Patient/p1"},"code":{"coding":[{"system":"urn:c","code":"w"}]},"effectivePeriod":{"start":"2026-01-01","end":"2026-01-%02d"},"valueQuantity":{"value":%d,"system":"http://unitsofmeasure.org","code":"mg"}}`,
			id, 2+i%27, i%1000))
	}
	docs = append(docs,
		`{"resourceType":"Observation","id":"old","status":"final","subject":{"reference":"Patient/p1"},"code":{"text":"x"},"effectivePeriod":{"end":"0001-01-01"},"valueQuantity":{"value":-1e300}}`,
		`{"resourceType":"Observation","id":"late","status":"final","subject":{"reference":"Patient/p1"},"code":{"text":"x"},"effectivePeriod":{"start":"9999-12-31"},"valueQuantity":{"value":1e300}}`,
		charge("low", "-99999"), charge("high", "99999"), charge("zero", "0"))
	b.load("own", docs...)
	f := b.filter(own(), "TREAT")
	all := slices.Concat(dense, []string{"late", "old"})
	slices.Sort(all)
	for _, c := range []struct {
		typ, query string
		want       []string
	}{
		{"Observation", "value-quantity=ge99999", []string{"late"}},
		{"Observation", "value-quantity=le99999", slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "late" })},
		{"Observation", "value-quantity=lt-99999", []string{"old"}},
		{"Observation", "value-quantity=gt99999|http://unitsofmeasure.org|mg", []string{}},
		{"Observation", "value-quantity=ge0|http://unitsofmeasure.org|kg", dense},
		{"Observation", "date=ge9999", []string{"late"}},
		{"Observation", "date=gt9999-12-31", []string{"late"}}, // its end is open
		{"Observation", "date=le0001", []string{"old"}},
		{"Observation", "date=lt9999", slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "late" })},
		{"Observation", "date=gt0001", slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == "old" })},
		{"Observation", "date=sa2026-02", []string{"late"}},
		{"Observation", "date=eb2026", []string{"old"}},
		{"Observation", "date=2026-01", dense},
		{"ChargeItem", "factor-override=ge99999", []string{"high"}},
		{"ChargeItem", "factor-override=le99999", []string{"high", "low", "zero"}},
		{"ChargeItem", "factor-override=le-99999", []string{"low"}},
		{"ChargeItem", "factor-override=gt99999", []string{}},
	} {
		want := c.want[:min(len(c.want), search.MaxCount)]
		for _, scope := range []string{c.typ, "Patient/p1/" + c.typ} {
			query := c.query + "&_sort=_id&_count=1000"
			b.timed(scope+"?"+query, "search", 1, func() { equal(t, scope+"?"+query, b.search(f, scope, query), want) })
		}
	}
}

// testLists asks for 1,500 references at once, of a patient with 2,300 records of the kind referred to.
func testLists(t *testing.T, open Open) {
	const encounters, listed = 2300, 1500
	b := newBench(t, open, nil)
	docs := []string{patient("p1", "Reyes", "1990"), `{"resourceType":"Organization","id":"acme","name":"Acme"}`, `{"resourceType":"Organization","id":"other","name":"Other"}`}
	var ids []string
	for i := range encounters {
		id, org := fmt.Sprintf("e%04d", i), "acme"
		if i%2 == 1 {
			org = "other"
		}
		ids = append(ids, id)
		docs = append(docs, fmt.Sprintf(`{"resourceType":"Encounter","id":%q,"status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"},"serviceProvider":{"reference":"Organization/%s"}}`, id, org))
		if i%23 == 0 {
			o := fmt.Sprintf("o%04d", i)
			docs = append(docs, fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/%s"},"code":{"text":"x"}}`, o, id))
		}
	}
	b.load("own", docs...)
	f := b.filter(own(), "TREAT")
	var within []string
	for i := 0; i < listed; i += 23 {
		within = append(within, fmt.Sprintf("o%04d", i))
	}
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"encounter=" + strings.Join(ids[:listed], ","), within},
		{"encounter=Encounter/" + strings.Join(ids[:listed], ",Encounter/"), within},
	} {
		for _, scope := range []string{"Patient/p1/Observation", "Observation"} {
			what := scope + "?" + c.query[:min(60, len(c.query))]
			b.timed(what, "search", 1, func() { equal(t, what, b.search(f, scope, c.query+"&_sort=_id&_count=1000"), c.want) })
		}
	}
	b.longChain(f)
}

// longChain searches by a chain of two steps over the loaded Encounters. Right after a load PostgreSQL knows nothing of
// its tables yet; the engine sees to that, and a chain must then come back at once.
func (b *bench) longChain(f access.Filter) {
	b.t.Helper()
	for _, scope := range []string{"Patient/p1/Observation", "Observation"} {
		q := b.query(scope, "encounter:Encounter.service-provider:Organization.name=Acme&_count=1000&_sort=_id")
		var page store.Page
		err := context.DeadlineExceeded
		for end := time.Now().Add(time.Minute); errors.Is(err, context.DeadlineExceeded) && time.Now().Before(end); {
			ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
			if page, err = b.s.Search(ctx, f, q, nil); ctx.Err() != nil {
				err = context.DeadlineExceeded
			}
			cancel()
		}
		if err != nil || len(page.Rows) != 50 {
			b.t.Errorf("%s by a chain of two steps: %d rows, %v", scope, len(page.Rows), err)
		}
	}
}

// testManyVersions reads a record after a thousand edits as it was read after the first.
func testManyVersions(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	versions := int64(scaled(1000, 10_000))
	f := func() access.Filter { return b.filter(own(), "TREAT") }
	edit := func(i int64) store.Written {
		t.Helper()
		r := b.resource(patient("p1", fmt.Sprintf("Reyes-%d", i), "1990"))
		out, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Update, MayCreate: true, Type: r.Type, ID: r.ID, Resource: r, Owner: "own",
			Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	look := func(latest int64) {
		t.Helper()
		for _, version := range []int64{0, 1, latest} {
			b.timed(fmt.Sprintf("version %d of %d", version, latest), "lookup", 1, func() {
				target, err := b.s.Lookup(b.ctx, f(), "Patient", "p1", version)
				if want := max(version, latest*int64(1-min(version, 1))); err != nil || !target.Visible || target.Row.Version != want {
					t.Errorf("version %d: %d, %v", version, target.Row.Version, err)
				}
			})
		}
		b.timed(fmt.Sprintf("first page of %d versions", latest), "history", 1, func() {
			rows, next, err := b.s.History(b.ctx, f(), store.Scope{Type: "Patient", ID: "p1"}, 0, 20)
			if want := min(20, latest); err != nil || int64(len(rows)) != want || rows[0].Version != latest || (next != 0) != (latest > 20) {
				t.Errorf("%d rows, next %d, %v", len(rows), next, err)
			}
		})
	}
	edit(1)
	look(1)
	for i := int64(2); i <= versions; i++ {
		edit(i)
	}
	look(versions)
	for range 3 {
		if same := edit(versions); !same.Unchanged || same.Version != versions {
			t.Errorf("an identical PUT: %+v", same)
		}
	}
	look(versions)
	b.check()
}

// testPagingUnderWrites pages through records while others come and go: every record that was there throughout is
// seen once, and none twice.
func testPagingUnderWrites(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	n := scaled(5000, 100_000)
	const batch = 1000
	docs := []string{patient("p1", "Reyes", "1990")}
	stays := map[string]bool{}
	for i := range n {
		id := fmt.Sprintf("s%06d", i)
		stays[id] = true
		docs = append(docs, observation(id, "p1", fmt.Sprintf("2026-01-%02d", 1+i%28)))
	}
	apply := func(changes ...store.Change) {
		t.Helper()
		if _, err := b.s.Apply(b.ctx, changes, nil); err != nil {
			t.Error(err)
		}
	}
	write := func(docs ...string) (out []store.Change) {
		for _, doc := range docs {
			r := b.resource(doc)
			out = append(out, store.Change{Method: store.Update, MayCreate: true, Type: r.Type, ID: r.ID, Resource: r, Owner: "own", Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)})
		}
		return out
	}
	for chunk := range slices.Chunk(docs, batch) {
		apply(write(chunk...)...)
	}
	f := b.filter(own(), "TREAT")
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("s%06d-%d", (i*37)%n, w) // between the others in the order of ids
				apply(write(observation(id, "p1", fmt.Sprintf("2026-01-%02d", 1+i%28)))...)
				if i%2 == 1 {
					apply(store.Change{Method: store.Delete, Type: "Observation", ID: id, Owner: "own"})
				}
			}
		}()
	}
	for _, c := range []struct{ scope, order string }{
		{"Observation", ""}, {"Patient/p1/Observation", ""}, {"Patient/p1/Observation", "&_sort=_id"}, {"Patient/p1/Observation", "&_sort=-date"}, {"Observation", "&_sort=-_id"},
	} {
		seen := map[string]int{}
		for _, id := range b.pages(f, c.scope, "_count=500"+c.order) {
			seen[id]++
		}
		lost, twice := 0, 0
		for id := range stays {
			if seen[id] == 0 {
				lost++
			}
		}
		for _, times := range seen {
			if times > 1 {
				twice++
			}
		}
		if lost+twice > 0 {
			t.Errorf("%s%s: %d records lost, %d twice, of %d", c.scope, c.order, lost, twice, n)
		}
	}
	close(stop)
	writers.Wait()
	b.check()
}

// testConditionalRace makes one record from 150 conditional creates at once, by every replica: one makes it, all others
// find it, and nobody sees a conflict.
func testConditionalRace(t *testing.T, database Database, replicas int) {
	open := database(t)
	var benches []*bench
	for range replicas {
		benches = append(benches, newBench(t, open, nil))
	}
	const clients = 150
	ids := make([]string, clients)
	var created sync.Map
	var wg sync.WaitGroup
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := benches[i%len(benches)]
			q := b.query("Patient", "identifier=urn:mrn|race")
			r, err := fhir.ReadTrusted(fmt.Appendf(nil, `{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"race"}],"name":[{"family":"N-%d"}]}`, i))
			if err != nil {
				t.Error(err)
				return
			}
			out, _, err := b.s.Transact(b.ctx, store.Transaction{Owner: "own", Plan: func(v *store.View) ([]store.Change, error) {
				if err := v.Lock(q); err != nil {
					return nil, err
				}
				found, err := v.Match(q)
				if err != nil {
					return nil, err
				}
				if len(found) > 0 {
					return []store.Change{{Method: store.Keep, Type: "Patient", ID: found[0], Owner: "own"}}, nil
				}
				return []store.Change{{Method: store.Create, Type: "Patient", ID: fmt.Sprintf("made-%d", i), Resource: r, Owner: "own", Fresh: true,
					Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)}}, nil
			}})
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			ids[i] = out[0].ID
			if out[0].Created {
				created.Store(ids[i], true)
			}
		}()
	}
	wg.Wait()
	made := 0
	created.Range(func(any, any) bool { made++; return true })
	slices.Sort(ids)
	if one := slices.Compact(slices.Clone(ids)); made != 1 || len(one) != 1 {
		t.Errorf("%d made, answers %v", made, one)
	}
	for _, b := range benches {
		b.check()
		equal(t, "in the end", b.search(b.filter(own(), "TREAT"), "Patient", "_summary=count")[1:], []string{"1"})
	}
}

// testTrees counts what creating an ordinary Observation writes into: the head stands in four trees, the body in two,
// and every index row in two.
func testTrees(t *testing.T, open Open) {
	const limit = 36
	r := newBench(t, open, nil).resource(`{"resourceType":"Observation","id":"o","meta":{"profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"]},"status":"final",
	 "category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"vital-signs"}]}],
	 "code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"}],"text":"Body Height"},
	 "subject":{"reference":"Patient/p"},"encounter":{"reference":"Encounter/e"},"effectiveDateTime":"2017-04-07T16:40:23-04:00","issued":"2017-04-07T16:40:23.410-04:00",
	 "valueQuantity":{"value":180.1,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"}}`)
	registry, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	v := registry.Extract(r, base)
	rows := len(v.Tokens) + len(v.Refs) + len(v.URIs) + len(v.Dates) + len(v.Numbers) + len(v.Strings) + len(v.Elements)
	trees := 4 + 2 + 2*rows
	t.Logf("%d index rows, %d trees", rows, trees)
	if trees > limit {
		t.Errorf("an ordinary Observation is written into %d trees, more than %d", trees, limit)
	}
}
