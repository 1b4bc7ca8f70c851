// Package storetest is the suite that holds both storage engines to one behaviour. It is ordinary Go so
// that each engine's test calls Run with its own way to open a store; after every write it checks that
// the index equals the recomputed index.
package storetest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/oauth"
	"trellis/auth/oauth/storetest"
	"trellis/fhir"
	"trellis/fhir/search"
	audittest "trellis/gateway/audit/storetest"
	"trellis/gateway/store"
)

// Open makes an empty store with the given clock (nil: the database's own).
type Open func(t testing.TB, clock func() time.Time) *store.Store

const base = "https://fhir.example/fhir"

// Registry compiles the search parameters or ends the test.
func Registry(t testing.TB) *search.Registry {
	t.Helper()
	r, err := search.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Config is what engines open a store with.
func Config(t testing.TB, e store.Engine, clock func() time.Time) store.Config {
	return store.Config{Engine: e, Registry: Registry(t), Base: base, Clock: clock}
}

// Over opens a store over an engine and closes both when the test ends.
func Over(t testing.TB, e store.Engine, clock func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), Config(t, e, clock))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"versions", testVersions}, {"owner", testOwner}, {"delete", testDelete}, {"search", testSearch},
		{"dates", testDates}, {"paging", testPaging}, {"sort", testSort}, {"includes", testIncludes},
		{"filter", testFilter}, {"grants", testGrants}, {"hidden rows cost no page", testHiddenRows}, {"followed", testFollowed},
		{"several patients", testSeveralPatients}, {"moved", testMoved},
		{"features", testFeatures}, {"orders", testOrders}, {"following", testFollowing}, {"random", testRandom}, {"same instant", testSameInstant},
		{"gate 1, extremes", testExtremes}, {"gate 2, long lists", testLists}, {"gate 3, many versions", testManyVersions},
		{"gate 5, paging under writes", testPagingUnderWrites}, {"gate 10, trees", testTrees},

		{"secrets", testSecrets}, {"atomic", testAtomic},
		{"bounded pages", testBounded}, {"jobs", testJobs}, {"subscriptions", testSubscriptions}, {"records as they were sent", testSent},
	} {
		t.Run(c.name, func(t *testing.T) { t.Parallel(); c.test(t, open) })
	}
	t.Run("oauth", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, clients ...oauth.Client) oauth.Store {
			s := open(t, nil)
			for _, c := range clients {
				if err := s.PutClient(context.Background(), store.ClientRecord{OAuth: c}); err != nil {
					t.Fatal(err)
				}
			}
			return s.OAuth()
		})
	})
	t.Run("people's tokens", func(t *testing.T) {
		storetest.RunGrants(t, func(t *testing.T) storetest.Grants {
			s := open(t, nil)
			return struct {
				store.OAuth
				oauth.Tickets
			}{s.OAuth(), s}
		})
	})
	t.Run("audit", func(t *testing.T) {
		audittest.Run(t, func(t *testing.T) audittest.Log { return open(t, nil).Audit() })
	})
}

// bench is one store with a writer and a filter that sees the writer's own records.
type bench struct {
	t   testing.TB
	s   *store.Store
	ctx context.Context
	cl  *label.Classifier
}

func newBench(t testing.TB, open Open, clock func() time.Time) *bench {
	t.Helper()
	cl, err := label.New()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, s: open(t, clock), ctx: context.Background(), cl: cl}
}

func (b *bench) resource(doc string) *fhir.Resource {
	b.t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// put writes doc as an organisation's record; part2 makes the organisation a Part 2 program.
func (b *bench) put(org string, part2 bool, doc string) store.Written {
	b.t.Helper()
	r := b.resource(doc)
	out, err := b.s.Apply(b.ctx, []store.Change{{
		Method: store.Update, Type: r.Type, ID: r.ID, Resource: r, Owner: org, MayCreate: true,
		Segment: b.cl.Classify(r, label.Source{Organization: org, Part2: part2, Covered: true}, nil),
	}}, nil)
	if err != nil {
		b.t.Fatalf("writing %s/%s: %v", r.Type, r.ID, err)
	}
	b.check()
	return out[0]
}

// check holds the invariants every write must keep.
func (b *bench) check() {
	b.t.Helper()
	if err := b.s.CheckIndex(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) filter(org access.Organization, purpose string) access.Filter {
	b.t.Helper()
	return b.view(access.Principal{Organization: org, Purpose: purpose})
}

// view is what a principal may see.
func (b *bench) view(p access.Principal) access.Filter {
	b.t.Helper()
	f, err := b.s.Filter(b.ctx, p)
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// compiled is the registry queries are read by: no test of the suite changes its parameters.
var compiled = sync.OnceValues(search.New)

// query reads a search. "Patient/x/Type" searches a compartment; type "" or "*" all types.
func (b *bench) query(typ, query string) *search.Query {
	b.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		b.t.Fatal(err)
	}
	registry, err := compiled()
	if err != nil {
		b.t.Fatal(err)
	}
	options := search.Options{Base: base}
	if parts := strings.Split(typ, "/"); len(parts) == 3 {
		options.Compartment, typ = fhir.Reference{Type: parts[0], ID: parts[1]}, parts[2]
	}
	if typ == "*" {
		typ = ""
	}
	q, err := registry.ParseWith(b.ctx, typ, values, options)
	if err != nil {
		b.t.Fatalf("%s?%s: %v", typ, query, err)
	}
	return q
}

func own() access.Organization {
	return access.Organization{ID: "own", Class: access.CoveredEntity}
}

// search runs a query and returns the ids of the matches in order.
func (b *bench) search(f access.Filter, typ, query string) []string {
	b.t.Helper()
	ids, _ := b.page(f, typ, query, nil)
	return ids
}

func (b *bench) page(f access.Filter, typ, query string, after *store.Position) ([]string, *store.Position) {
	b.t.Helper()
	q := b.query(typ, query)
	page, err := b.s.Search(b.ctx, f, q, after)
	if err != nil {
		b.t.Fatalf("%s?%s: %v", typ, query, err)
	}
	ids := []string{}
	for _, r := range page.Rows {
		ids = append(ids, r.ID)
	}
	if q.CountOnly || q.Total != search.TotalNone {
		n, err := b.s.Count(b.ctx, f, q, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		ids = append(ids, fmt.Sprint(n))
	}
	return ids, page.Next
}

func patient(id, family, birth string) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":%q,"given":["Ana"]}],"birthDate":%q,"gender":"female"}`, id, family, birth)
}

func condition(id, patient, code string) string {
	return fmt.Sprintf(`{"resourceType":"Condition","id":%q,"subject":{"reference":"Patient/%s"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":%q}]},"recordedDate":"2026-01-05"}`, id, patient, code)
}

func observation(id, patient, at string) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","subject":{"reference":"Patient/%s"},"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"effectiveDateTime":%q}`, id, patient, at)
}

// withIncludes returns the ids of a page's matches and then of what its includes add.
func (b *bench) withIncludes(f access.Filter, typ, query string) []string {
	b.t.Helper()
	q := b.query(typ, query)
	page, err := b.s.Search(b.ctx, f, q, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	included, _, err := b.s.Include(b.ctx, f, q, page.Rows, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	ids := []string{}
	for _, r := range append(page.Rows, included...) {
		ids = append(ids, r.ID)
	}
	return ids
}
