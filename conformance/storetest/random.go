package storetest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/gateway/store"
)

// Sizes of the random search test.
const (
	randomRecords = 60
	randomQueries = 120
	randomSeed    = 20260601
)

// span is a date as it is written, with the half-open time it covers.
type span struct {
	text   string
	lo, hi time.Time
}

// assessment is a RiskAssessment as this test knows it: what a search finds is worked out from these fields alone.
type assessment struct {
	id, patient string
	at          int // order of creation
	tokens      []([2]string)
	date        *span
	numbers     []string
}

func (a assessment) json() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"resourceType":"RiskAssessment","id":%q,"status":"final","subject":{"reference":"Patient/%s"}`, a.id, a.patient)
	for i, t := range a.tokens {
		b.WriteString([]string{`,"identifier":[`, `,`}[min(i, 1)])
		if t[0] != "" {
			fmt.Fprintf(&b, `{"system":%q,"value":%q}`, t[0], t[1])
		} else {
			fmt.Fprintf(&b, `{"value":%q}`, t[1])
		}
	}
	if len(a.tokens) > 0 {
		b.WriteString("]")
	}
	if a.date != nil {
		fmt.Fprintf(&b, `,"occurrenceDateTime":%q`, a.date.text)
	}
	for i, n := range a.numbers {
		fmt.Fprintf(&b, `%s{"probabilityDecimal":%s}`, []string{`,"prediction":[`, `,`}[min(i, 1)], n)
	}
	if len(a.numbers) > 0 {
		b.WriteString("]")
	}
	return b.String() + "}"
}

// generator makes records and queries from one seed.
type generator struct{ *rand.Rand }

func (g generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g generator) token() [2]string {
	return [2]string{g.pick("", "urn:a", "urn:b"), g.pick("x", "y", "z")}
}

// span makes a day, a month or a second in the first quarter of 2026.
func (g generator) span() span {
	at := time.Date(2026, time.Month(1+g.IntN(3)), 1+g.IntN(4), 10, 0, g.IntN(2), 0, time.UTC)
	switch g.IntN(3) {
	case 0:
		lo := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		return span{lo.Format("2006-01"), lo, lo.AddDate(0, 1, 0)}
	case 1:
		lo := at.Truncate(24 * time.Hour)
		return span{lo.Format("2006-01-02"), lo, lo.AddDate(0, 0, 1)}
	}
	return span{at.Format(time.RFC3339), at, at.Add(time.Second)}
}

func (g generator) number() string {
	return g.pick("0", "0.1", "0.10", "0.5", "0.55", "1", "5", "10", "-2", "99.5", "100")
}

func (g generator) assessment(i int) assessment {
	a := assessment{id: fmt.Sprintf("r%02d", i), patient: g.pick("p1", "p2", "p3"), at: i}
	for range g.IntN(3) {
		a.tokens = append(a.tokens, g.token())
	}
	if g.IntN(4) > 0 {
		d := g.span()
		a.date = &d
	}
	for range g.IntN(3) {
		a.numbers = append(a.numbers, g.number())
	}
	return a
}

// clause is a part of a query in the language of URLs and in that of _filter (empty where one has none), and as what
// it means.
type clause struct {
	name, value, filter string
	holds               func(assessment) bool
}

func (g generator) condition() clause {
	switch g.IntN(8) {
	case 0, 1, 2:
		return g.tokenCondition()
	case 3, 4:
		return g.dateCondition()
	case 5:
		return g.numberCondition()
	case 6:
		p := g.pick("p1", "p2")
		return clause{"patient", p, "patient re Patient/" + p, func(a assessment) bool { return a.patient == p }}
	}
	name, has := "identifier", func(a assessment) bool { return len(a.tokens) > 0 }
	switch g.IntN(3) {
	case 0:
		name, has = "date", func(a assessment) bool { return a.date != nil }
	case 1:
		name, has = "probability", func(a assessment) bool { return len(a.numbers) > 0 }
	}
	missing := g.IntN(2) == 0
	return clause{name + ":missing", fmt.Sprint(missing), fmt.Sprintf("%s pr %v", name, !missing), func(a assessment) bool { return has(a) != missing }}
}

func (g generator) tokenCondition() clause {
	var texts []string
	var tests []func([2]string) bool
	for range 1 + g.IntN(2) {
		t := g.token()
		switch g.IntN(3) {
		case 0:
			texts, tests = append(texts, t[1]), append(tests, func(x [2]string) bool { return x[1] == t[1] })
		case 1:
			texts, tests = append(texts, t[0]+"|"+t[1]), append(tests, func(x [2]string) bool { return x == t })
		default:
			if t[0] == "" {
				t[0] = "urn:a"
			}
			texts, tests = append(texts, t[0]+"|"), append(tests, func(x [2]string) bool { return x[0] == t[0] })
		}
	}
	holds := func(a assessment) bool {
		return slices.ContainsFunc(a.tokens, func(x [2]string) bool {
			return slices.ContainsFunc(tests, func(test func([2]string) bool) bool { return test(x) })
		})
	}
	c := clause{"identifier", strings.Join(texts, ","), "", holds}
	if len(texts) == 1 {
		c.filter = "identifier eq " + texts[0]
		if g.IntN(3) == 0 { // another value beside it, which no parameter asks for
			return clause{"", "", "identifier ne " + texts[0], func(a assessment) bool {
				return slices.ContainsFunc(a.tokens, func(x [2]string) bool { return !tests[0](x) })
			}}
		}
	}
	if g.IntN(3) == 0 {
		c.name, c.filter, c.holds = "identifier:not", "", func(a assessment) bool { return !holds(a) }
	}
	return c
}

func (g generator) dateCondition() clause {
	prefix, q := g.pick("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"), g.span()
	return clause{"date", prefix + q.text, "date " + prefix + " " + q.text, func(a assessment) bool {
		if a.date == nil {
			return false
		}
		contained := !a.date.lo.Before(q.lo) && !a.date.hi.After(q.hi)
		later, earlier := a.date.hi.After(q.hi), a.date.lo.Before(q.lo)
		return map[string]bool{"eq": contained, "ne": !contained, "gt": later, "lt": earlier, "ge": later || contained, "le": earlier || contained,
			"sa": !a.date.lo.Before(q.hi), "eb": !a.date.hi.After(q.lo)}[prefix]
	}}
}

func (g generator) numberCondition() clause {
	prefix, text := g.pick("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"), g.number()
	var q float64
	fmt.Sscan(text, &q)
	_, fraction, _ := strings.Cut(text, ".")
	half := 0.5 * math.Pow10(-len(fraction))
	return clause{"probability", prefix + text, "probability " + prefix + " " + text, func(a assessment) bool {
		return slices.ContainsFunc(a.numbers, func(n string) bool {
			var x float64
			fmt.Sscan(n, &x)
			near := x >= q-half-1e-12 && x < q+half-1e-12
			return map[string]bool{"eq": near, "ne": !near, "gt": x > q, "lt": x < q, "ge": x >= q, "le": x <= q, "sa": x > q, "eb": x < q}[prefix]
		})
	}}
}

// query makes a query of one to three conditions, or a _filter of them, with an order and a page size.
func (g generator) query() (text string, holds func(assessment) bool, order string) {
	list := make([]clause, 1+g.IntN(3))
	for i := range list {
		list[i] = g.condition()
	}
	wordless := slices.ContainsFunc(list, func(c clause) bool { return c.filter == "" })
	filterOnly := slices.ContainsFunc(list, func(c clause) bool { return c.name == "" })
	if wordless && filterOnly {
		return g.query()
	}
	values := url.Values{}
	if filterOnly || !wordless && g.IntN(3) == 0 {
		filter := list[0].filter
		holds = list[0].holds
		for _, c := range list[1:] { // from left to right
			left := holds
			if g.IntN(2) == 0 {
				filter += " and " + c.filter
				holds = func(a assessment) bool { return left(a) && c.holds(a) }
			} else {
				filter += " or " + c.filter
				holds = func(a assessment) bool { return left(a) || c.holds(a) }
			}
		}
		if g.IntN(3) == 0 {
			filter = "not (" + filter + ")"
			positive := holds
			holds = func(a assessment) bool { return !positive(a) }
		}
		values.Set("_filter", filter)
		if inside := holds; g.IntN(2) == 0 { // the same in a compartment
			values.Set("patient", "p1")
			holds = func(a assessment) bool { return a.patient == "p1" && inside(a) }
		}
	} else {
		holds = func(a assessment) bool {
			return !slices.ContainsFunc(list, func(c clause) bool { return !c.holds(a) })
		}
		for _, c := range list {
			values.Add(c.name, c.value)
		}
	}
	order = g.pick("", "", "_id", "-_id", "date", "-date", "probability", "-probability,date", "identifier,-date", "date,probability")
	if order != "" {
		values.Set("_sort", order)
	}
	values.Set("_count", fmt.Sprint(1+g.IntN(7)))
	return values.Encode(), holds, order
}

// viewer narrows a filter at random, as tokens and people are narrower than organisations; within says which records
// are left.
func (b *bench) viewer(g generator, f access.Filter) (access.Filter, func(assessment) bool) {
	b.t.Helper()
	if g.IntN(3) == 0 {
		return f, func(assessment) bool { return true }
	}
	if g.IntN(4) == 0 {
		p := g.pick("p1", "p2", "p3")
		who := access.Principal{User: "u", Capacity: access.Self, Patient: p, Purpose: "PATRQT"}
		return b.view(who), func(a assessment) bool { return a.patient == p }
	}
	launch := g.pick("p1", "p2", "p3", "nobody", "")
	limits := &access.Limits{Patient: launch, Types: map[string][]access.Clause{"Patient": {{}}}}
	var tests []func(assessment) bool
	for range g.IntN(4) {
		clause, holds := access.Clause{Compartment: g.IntN(2) == 0}, func(assessment) bool { return true }
		if c := g.condition(); c.name != "" && g.IntN(4) > 0 {
			clause.Where, holds = b.query("RiskAssessment", url.Values{c.name: {c.value}}.Encode()).Where, c.holds
		}
		limits.Types["RiskAssessment"] = append(limits.Types["RiskAssessment"], clause)
		tests = append(tests, func(a assessment) bool { return (!clause.Compartment || a.patient == launch) && holds(a) })
	}
	f.Limits = limits
	return f, func(a assessment) bool {
		return slices.ContainsFunc(tests, func(test func(assessment) bool) bool { return test(a) })
	}
}

// less is the order of records: no value last, and behind the last key the order they were made in.
func less(order string) func(a, b assessment) int {
	return func(a, b assessment) int {
		var desc bool
		for key := range strings.SplitSeq(order, ",") {
			if key == "" {
				continue
			}
			key, desc = strings.CutPrefix(key, "-")
			c := 0
			switch key {
			case "_id":
				c = compareKeys(a, b, desc, func(x assessment) []string { return []string{x.id} })
			case "date":
				c = compareKeys(a, b, desc, func(x assessment) (out []int64) {
					if x.date != nil {
						out = append(out, x.date.lo.UnixMicro())
					}
					return out
				})
			case "probability":
				c = compareKeys(a, b, desc, func(x assessment) (out []float64) {
					for _, n := range x.numbers {
						var v float64
						fmt.Sscan(n, &v)
						out = append(out, v)
					}
					return out
				})
			case "identifier":
				c = compareKeys(a, b, desc, func(x assessment) (out []string) {
					for _, t := range x.tokens {
						out = append(out, t[1])
					}
					return out
				})
			}
			if c != 0 {
				return c
			}
		}
		if desc {
			a, b = b, a
		}
		return cmp.Compare(a.at, b.at)
	}
}

func compareKeys[T cmp.Ordered](a, b assessment, desc bool, keys func(assessment) []T) int {
	x, y := keys(a), keys(b)
	switch {
	case len(x)+len(y) == 0:
		return 0
	case len(x) == 0:
		return 1
	case len(y) == 0:
		return -1
	case desc:
		return cmp.Compare(slices.Max(y), slices.Max(x))
	}
	return cmp.Compare(slices.Min(x), slices.Min(y))
}

// testRandom asks random queries of random records, before and after some of them change, move and go. What comes
// back, page by page, is what a plain reading of the records gives, in the same order; so both engines give the same.
func testRandom(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	g := generator{rand.New(rand.NewPCG(randomSeed, 1))}
	var records []assessment
	docs := []string{patient("p1", "A", "1990"), patient("p2", "B", "1990"), patient("p3", "C", "1990")}
	for i := range randomRecords {
		records = append(records, g.assessment(i))
		docs = append(docs, records[i].json())
	}
	b.load("own", docs...)
	f := b.filter(own(), "TREAT")
	ask := func(round string) {
		for range randomQueries {
			query, holds, order := g.query()
			matches := slices.DeleteFunc(slices.Clone(records), func(a assessment) bool { return !holds(a) })
			slices.SortStableFunc(matches, less(order))
			f, within := b.viewer(g, f)
			matches = slices.DeleteFunc(matches, func(a assessment) bool { return !within(a) })
			want := []string{}
			for _, m := range matches {
				want = append(want, m.id)
			}
			what := fmt.Sprintf("seed %d, %s: %s, within %+v", randomSeed, round, query, f.Limits)
			equal(t, what, b.pages(f, "RiskAssessment", query), want)
			if n := b.search(f, "RiskAssessment", query+"&_summary=count"); n[len(n)-1] != fmt.Sprint(len(want)) {
				t.Errorf("%s: counted %s, want %d", what, n[len(n)-1], len(want))
			}
		}
	}
	ask("as made")
	var changed []string
	for i := range records {
		if g.IntN(3) == 0 {
			next := g.assessment(i)
			records[i], changed = next, append(changed, next.json())
		}
	}
	b.load("own", changed...)
	for range randomRecords / 6 {
		i := g.IntN(len(records))
		if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: "RiskAssessment", ID: records[i].id, Owner: "own"}}, nil); err != nil {
			t.Fatal(err)
		}
		records = slices.Delete(records, i, i+1)
	}
	b.check()
	ask("after changes")
}
