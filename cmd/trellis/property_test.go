package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trellis/gateway/audit"
	"trellis/gateway/release"
)

// What must hold whatever is on file, whoever asks for whatever: five properties, for generated graphs, consents and
// requests. Each graph is asked dozens of requests.

var graphs = flag.Int("trellis.cases", 24, "generated graphs for each property; each is asked dozens of requests")

// world is installations that serve many graphs, one after the other: the embedded database's, and PostgreSQL's for
// one graph in eight.
type world struct {
	t      *testing.T
	pairs  map[string][2]*installation
	graphs int
	asked  int
}

// generation settles, once for all properties, how many graphs are generated, and that a failure is told and not kept.
func generation() error {
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(*graphs), "rapid.nofailfile": "true", "rapid.shrinktime": "20s"} {
		if err := flag.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// check runs a property on one installation or two.
func check(t *testing.T, installations int, property func(rt *rapid.T, w *world, one, other *installation)) {
	t.Helper()
	w := &world{t: t, pairs: map[string][2]*installation{}}
	rapid.Check(t, func(rt *rapid.T) {
		engine := pick(rt, "engine", "sqlite", "sqlite", "sqlite", "sqlite", "sqlite", "sqlite", "sqlite", "postgres")
		if w.graphs == 0 { // however few graphs there are
			engine = "postgres"
		}
		pair := w.pair(engine, installations)
		property(rt, w, pair[0], pair[1])
	})
	t.Logf("%d graphs, %d requests", w.graphs, w.asked)
	if w.asked < *graphs {
		t.Error("next to nothing was asked")
	}
}

// pair is the installations on an engine: one, or two.
func (w *world) pair(engine string, installations int) [2]*installation {
	w.t.Helper()
	pair, ok := w.pairs[engine]
	for i := range pair[:installations] {
		if ok {
			break
		}
		where := location{data: w.t.TempDir()}
		if engine == "postgres" {
			where.postgres = database(w.t)
		}
		pair[i] = newInstallation(w.t, where, "http://gateway.example")
		pair[i].send(request{method: "GET", path: "metadata"})
	}
	w.pairs[engine] = pair
	return pair
}

// direct asks without a connection: the router answers.
func (w *world) direct(in *installation, client, purpose string, r request) reply {
	w.asked++
	url := r.path
	if !strings.HasPrefix(url, "http") {
		url = strings.TrimSuffix(in.gateway.base+"/"+url, "/")
	}
	req := httptest.NewRequest(r.method, url, bytes.NewReader(r.body)).WithContext(w.t.Context())
	req.Header.Set("Authorization", "Bearer "+in.token(client, purpose, anyScope))
	if r.body != nil {
		req.Header.Set("Content-Type", "application/fhir+json")
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	in.gateway.handler.ServeHTTP(rec, req)
	return reply{rec.Code, rec.Header(), rec.Body.Bytes()}
}

// write writes a graph as its owners, each run of one owner's in one transaction, a second after the other. Consents go
// last. leave names records of which nothing is written.
func (w *world) write(rt *rapid.T, in *installation, writes []placed, leave map[string]bool) {
	rt.Helper()
	for len(writes) > 0 {
		n := 1
		for n < len(writes) && writes[n].owner == writes[0].owner && !slices.ContainsFunc(writes[:n], func(p placed) bool { return p.ref() == writes[n].ref() }) {
			n++
		}
		run := slices.DeleteFunc(slices.Clone(writes[:n]), func(p placed) bool { return leave[p.ref()] })
		in.clock.advance(time.Second)
		if len(run) > 0 {
			if a := w.direct(in, loading(run[0].owner), "", request{method: "POST", body: bundle(run)}); a.status != 200 {
				rt.Fatalf("writing %s: %d %s", bundle(run), a.status, a.body)
			}
		}
		writes = writes[n:]
	}
}

// asker is who asks, and for what.
type askerOf struct{ client, purpose string }

func drawAsker(t *rapid.T) askerOf {
	return pick(t, "asker", askerOf{"hospital", "TREAT"}, askerOf{"hospital", "TREAT"}, askerOf{"hospital", "HMARKT"}, askerOf{"hospital", "HLEGAL"}, askerOf{"clinic", "TREAT"}, askerOf{"plan", "HPAYMT"}, askerOf{"rco", "COC"})
}

// TestHiddenRecordsDoNotInterfere: two installations that differ only in what the caller may not see answer every request
// alike, in status, headers and bytes, by the same statements.
func TestHiddenRecordsDoNotInterfere(t *testing.T) {
	t.Parallel()
	hidden := 0
	check(t, 2, func(rt *rapid.T, w *world, laden, plain *installation) {
		g := w.drawGraph(rt)
		for i := range rapid.IntRange(0, 2).Draw(rt, "consents") {
			g.writes = append(g.writes, w.drawConsent(rt, g, fmt.Sprintf("%sk%d", g.tag, i)))
		}
		by := drawAsker(rt)
		start := together(laden, plain)
		w.write(rt, laden, g.writes, nil)
		leave := map[string]bool{}
		for _, record := range g.records() { // what the caller may not have
			if a := w.direct(laden, by.client, by.purpose, request{method: "GET", path: record}); a.status == 404 {
				leave[record] = true
				hidden++
			}
		}
		w.write(rt, plain, g.writes, leave)
		for _, record := range g.records() { // both know as much of the caller
			w.direct(plain, by.client, by.purpose, request{method: "GET", path: record})
		}
		for range rapid.IntRange(25, 50).Draw(rt, "requests") {
			w.sameAnswers(rt, laden, plain, by, g.drawRequest(rt, start.UTC().Format("2006-01-02T15:04:05Z")))
		}
		var made []string
		if by.purpose == "HMARKT" || by.purpose == "HLEGAL" { // its own records are hidden from it then, but not from its writes
			return
		}
		for range rapid.IntRange(0, 3).Draw(rt, "conditions") {
			made = append(made, w.sameWrites(rt, laden, plain, by, g.drawCondition(rt))...)
		}
		for i := 0; i+1 < len(made); i += 2 { // ids of their own would stand in another order next time
			w.direct(laden, by.client, by.purpose, request{method: "DELETE", path: made[i]})
			w.direct(plain, by.client, by.purpose, request{method: "DELETE", path: made[i+1]})
		}
	})
	if hidden == 0 {
		t.Error("nothing was hidden")
	}
}

// together sets two installations to one new time.
func together(one, other *installation) time.Time {
	at := one.clock.now()
	if now := other.clock.now(); now.After(at) {
		at = now
	}
	at = at.Add(time.Minute).Truncate(time.Second)
	one.clock.set(at)
	other.clock.set(at)
	return at
}

// sameAnswers asks both, page by page.
func (w *world) sameAnswers(rt *rapid.T, one, other *installation, by askerOf, r request) {
	rt.Helper()
	a, b := r, r
	for page := 0; page < 4; page++ {
		before, beforeOther := one.gateway.store.Statements(), other.gateway.store.Statements()
		x, y := w.direct(one, by.client, by.purpose, a), w.direct(other, by.client, by.purpose, b)
		if x.status != y.status || withoutCursors(x.body) != withoutCursors(y.body) || !sameHeaders(x.header, y.header) {
			rt.Fatalf("%s for %s: %s %s %s, page %d:\n%d %v\n%s\n%d %v\n%s", by.client, by.purpose, r.method, r.path, r.body, page, x.status, x.header, x.body, y.status, y.header, y.body)
		}
		if x.status >= 500 {
			rt.Fatalf("%s %s: %d %s", r.method, r.path, x.status, x.body)
		}
		ran, ranOther := difference(before, one.gateway.store.Statements()), difference(beforeOther, other.gateway.store.Statements())
		if !maps.Equal(ran, ranOther) {
			rt.Fatalf("%s for %s: %s %s %s, page %d: %v ran, and %v", by.client, by.purpose, r.method, r.path, r.body, page, ran, ranOther)
		}
		nextA, nextB := nextPage(w.t, x), nextPage(w.t, y)
		if nextA == "" || nextB == "" {
			return
		}
		a, b = request{method: "GET", path: nextA}, request{method: "GET", path: nextB}
	}
}

// sameWrites makes a write in both and returns what was made, in turn.
func (w *world) sameWrites(rt *rapid.T, one, other *installation, by askerOf, r request) (made []string) {
	rt.Helper()
	x, y := w.direct(one, by.client, by.purpose, r), w.direct(other, by.client, by.purpose, r)
	uuid := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	if x.status != y.status || uuid.ReplaceAllString(string(x.body), "") != uuid.ReplaceAllString(string(y.body), "") || x.status >= 500 {
		rt.Fatalf("%s for %s: %s %s:\n%d %s\n%d %s", by.client, by.purpose, r.method, r.path, x.status, x.body, y.status, y.body)
	}
	if x.status == http.StatusCreated {
		for _, a := range []reply{x, y} {
			made = append(made, "Condition/"+idOf(w.t, a.body))
		}
	}
	return made
}

// withoutCursors is a body without what seals a position: it is random in every answer.
func withoutCursors(body []byte) string { return cursors.ReplaceAllString(string(body), "_cursor=") }

var cursors = regexp.MustCompile(`_cursor=[A-Za-z0-9_-]+`)

func nextPage(t *testing.T, a reply) string {
	if !bytes.HasPrefix(a.body, []byte(`{"resourceType":"Bundle"`)) {
		return ""
	}
	return a.bundle(t).next()
}

// TestDenialsOnlyTakeAway: a refusal, or a denial inside a consent, adds nothing to any answer and turns no 404 into 200.
func TestDenialsOnlyTakeAway(t *testing.T) {
	t.Parallel()
	took := 0
	check(t, 1, func(rt *rapid.T, w *world, in, _ *installation) {
		g := w.drawGraph(rt)
		consent := w.drawConsent(rt, g, g.tag+"k")
		in.clock.advance(time.Minute)
		w.write(rt, in, append(g.writes, consent), nil)
		by := drawAsker(rt)
		var list []request
		for range rapid.IntRange(15, 40).Draw(rt, "requests") {
			r := request{method: "GET", path: pick(rt, "record", g.records()...) + pick(rt, "part", "", "/_history/1", "/_history", "/$meta")}
			if chance(rt, "everything", 6) {
				r.path = "Patient/" + pick(rt, "patient", g.people...) + "/$everything?_count=500"
			} else if !chance(rt, "read", 3) {
				typ, query := g.drawSearch(rt, true, true)
				r.path = typ + "?" + query
			}
			list = append(list, r)
		}
		var before []reply
		for _, r := range list {
			before = append(before, w.direct(in, by.client, by.purpose, r))
		}
		if chance(rt, "nested", 2) {
			provision := consent.doc["provision"].(map[string]any)
			nested, _ := provision["provision"].([]any)
			provision["provision"] = append(nested, denial(rt))
			w.write(rt, in, []placed{consent}, nil)
		} else {
			w.write(rt, in, []placed{g.refusal(rt, g.tag+"n")}, nil)
		}
		for i, r := range list {
			a := w.direct(in, by.client, by.purpose, r)
			if len(a.body) < len(before[i].body) {
				took++
			}
			if what := adds(before[i], a); what != "" {
				rt.Fatalf("%s for %s: %s: a denial adds %s:\n%d %s\n%d %s", by.client, by.purpose, r.path, what, before[i].status, before[i].body, a.status, a.body)
			}
		}
	})
	if took == 0 {
		t.Error("no denial took anything away")
	}
}

// adds says what an answer has that the earlier one had not.
func adds(before, after reply) string {
	if before.status != after.status {
		if after.status == 404 && (before.status == 200 || before.status == 410) {
			return ""
		}
		return fmt.Sprintf("a status %d", after.status)
	}
	var had, has map[string]any
	if after.status != 200 || json.Unmarshal(before.body, &had) != nil || json.Unmarshal(after.body, &has) != nil {
		return ""
	}
	if has["resourceType"] != "Bundle" {
		return more("", had, has)
	}
	if total, ok := has["total"].(float64); ok && total > had["total"].(float64) {
		return "to the total"
	}
	known := map[string]any{}
	for _, e := range list(had["entry"]) {
		known[entryKey(e)] = e
	}
	for _, e := range list(has["entry"]) {
		resource, _ := e.(map[string]any)["resource"].(map[string]any)
		if resource["resourceType"] == "OperationOutcome" || resource["resourceType"] == "Consent" { // the denial is one
			continue
		}
		was, ok := known[entryKey(e)]
		if !ok {
			return "the entry " + entryKey(e)
		}
		if what := more("entry", was, e); what != "" {
			return what
		}
	}
	return ""
}

func list(v any) []any { l, _ := v.([]any); return l }

func entryKey(e any) string {
	m, _ := e.(map[string]any)
	resource, _ := m["resource"].(map[string]any)
	meta, _ := resource["meta"].(map[string]any)
	request, _ := m["request"].(map[string]any)
	return fmt.Sprint(m["fullUrl"], meta["versionId"], request["method"])
}

// more finds what has holds and had does not. A list may lose items; a masked reference stands for one that is cut, and
// the label REDACTED and the consents named may tell of it.
func more(path string, had, has any) string {
	switch has := has.(type) {
	case map[string]any:
		if strings.Contains(fmt.Sprint(has), "data-absent-reason") && strings.Contains(fmt.Sprint(has), "masked") && has["extension"] != nil {
			return ""
		}
		had, ok := had.(map[string]any)
		if !ok {
			return path
		}
		for name, value := range has {
			if name == "security" {
				continue
			}
			if what := more(path+"."+name, had[name], value); what != "" {
				return what
			}
		}
	case []any:
		from := list(had)
		for _, item := range has {
			fits := func(v any) bool { return more(path, v, item) == "" }
			if !slices.ContainsFunc(from, fits) {
				return path
			}
		}
	default:
		if fmt.Sprint(had) != fmt.Sprint(has) {
			return path
		}
	}
	return ""
}

// TestRevokedIsNeverGranted: after a revocation, or an end that has passed, every answer is what it would be had the consent never been given.
func TestRevokedIsNeverGranted(t *testing.T) {
	t.Parallel()
	granted := 0
	check(t, 2, func(rt *rapid.T, w *world, one, never *installation) {
		g := w.drawGraph(rt)
		consent := w.drawConsent(rt, g, g.tag+"k")
		ends := chance(rt, "ends", 3)
		start := together(one, never)
		if ends {
			consent.doc["provision"].(map[string]any)["period"] = map[string]any{"start": "2026-02-01", "end": start.Add(10 * time.Minute).UTC().Format(time.RFC3339)}
		}
		w.write(rt, one, g.writes, nil)
		w.write(rt, never, g.writes, nil)
		w.write(rt, one, []placed{consent}, nil)
		by := drawAsker(rt)
		since := start.UTC().Format("2006-01-02T15:04:05Z")
		for range rapid.IntRange(3, 10).Draw(rt, "asked before") { // what was granted is remembered where it may be
			r := g.drawRequest(rt, since)
			x, y := w.direct(one, by.client, by.purpose, r), w.direct(never, by.client, by.purpose, r)
			if !bytes.Equal(x.body, y.body) {
				granted++
			}
		}
		if !ends {
			together(one, never)
			consent.doc["status"] = "inactive"
			extensions, _ := consent.doc["extension"].([]any)
			consent.doc["extension"] = append(extensions, map[string]any{"url": "https://trellis.example/fhir/StructureDefinition/consent-revocation",
				"extension": []any{map[string]any{"url": "receivedAt", "valueDateTime": one.clock.now().UTC().Format(time.RFC3339)}}})
			w.write(rt, one, []placed{consent}, nil)
		}
		one.clock.advance(15 * time.Minute)
		together(one, never)
		for range rapid.IntRange(15, 40).Draw(rt, "requests") {
			w.samePages(rt, one, never, by, g.drawRequest(rt, since))
		}
	})
	if granted == 0 {
		t.Error("no consent granted anything")
	}
}

// samePages is sameAnswers without a look at the statements: one of the two has more to forget.
func (w *world) samePages(rt *rapid.T, one, other *installation, by askerOf, r request) {
	rt.Helper()
	a, b := r, r
	for page := 0; page < 4; page++ {
		x, y := w.direct(one, by.client, by.purpose, a), w.direct(other, by.client, by.purpose, b)
		if x.status != y.status || withoutCursors(x.body) != withoutCursors(y.body) || !sameHeaders(x.header, y.header) {
			rt.Fatalf("%s for %s: %s %s %s, page %d:\n%d %v\n%s\n%d %v\n%s", by.client, by.purpose, r.method, r.path, r.body, page, x.status, x.header, x.body, y.status, y.header, y.body)
		}
		nextA, nextB := nextPage(w.t, x), nextPage(w.t, y)
		if nextA == "" || nextB == "" {
			return
		}
		a, b = request{method: "GET", path: nextA}, request{method: "GET", path: nextB}
	}
}

// TestPart2ContentIsAccompanied: every answer with records of a program, to another than the program, has the statement and
// the consent's scope in it, and a durable leaf that names the patient and has the digest of the very bytes.
func TestPart2ContentIsAccompanied(t *testing.T) {
	t.Parallel()
	told := 0
	check(t, 1, func(rt *rapid.T, w *world, in, _ *installation) {
		g := w.drawGraph(rt)
		for i := range rapid.IntRange(1, 3).Draw(rt, "consents") {
			g.writes = append(g.writes, w.drawConsent(rt, g, fmt.Sprintf("%sk%d", g.tag, i)))
		}
		in.clock.advance(time.Minute)
		since := in.clock.now().UTC().Format("2006-01-02T15:04:05Z")
		w.write(rt, in, g.writes, nil)
		by := drawAsker(rt)
		answers := map[string]reply{}
		asked := map[string]request{}
		for range rapid.IntRange(20, 40).Draw(rt, "requests") {
			r := g.drawRequest(rt, since)
			if r.method == "HEAD" {
				r.method = "GET"
			}
			a := w.direct(in, by.client, by.purpose, r)
			if a.status/100 == 2 {
				answers[a.header.Get(headerOfRequests)], asked[a.header.Get(headerOfRequests)] = a, r
			}
		}
		logged := map[string][]audit.Event{}
		for _, e := range in.events() {
			if _, ok := answers[e.Request]; ok {
				logged[e.Request] = append(logged[e.Request], e)
			}
		}
		for id, a := range answers {
			told += len(w.accompanied(rt, g, asked[id], a, logged[id]))
		}
	})
	if told == 0 {
		t.Error("no answer had Part 2 content")
	}
}

const headerOfRequests = "X-Request-Id"

// accompanied holds an answer to what must travel with it, and lists its patients with Part 2 content.
func (w *world) accompanied(rt *rapid.T, g *graph, r request, a reply, events []audit.Event) []string {
	rt.Helper()
	notice, digests := false, 0
	patients := map[string]bool{}
	for _, e := range events {
		notice = notice || e.NoticeVersion != ""
		patients[e.Patient] = true
		if e.Kind == audit.Disclosure && e.Released == audit.Digest(a.body) && e.ReleasedBytes == int64(len(a.body)) {
			digests++
		}
	}
	if digests == 0 || digests != len(events) {
		rt.Fatalf("%s %s: %d of %d events name the bytes", r.method, r.path, digests, len(events))
	}
	about := g.part2Patients(a.body)
	needed := bytes.Contains(a.body, []byte(part2Label))
	for what, is := range map[string]bool{"an audited notice": notice, "a notice in the header": a.header.Get("X-Part2-Notice") != "", "the statement": bytes.Contains(a.body, []byte(release.StatementLong)),
		"the scope": bytes.Contains(a.body, []byte("Disclosed under the patient's written consent Consent/")), "the redisclosure rule": bytes.Contains(a.body, []byte("Redisclosure rule: "))} {
		if is != needed {
			rt.Fatalf("%s %s: Part 2 content is %v, but %s is %v:\n%s", r.method, r.path, needed, what, is, a.body)
		}
	}
	for _, patient := range about {
		if !patients[patient] {
			rt.Fatalf("%s %s: no event names %s: %v", r.method, r.path, patient, patients)
		}
	}
	if len(about) > 0 && !needed { // whose records these are is known from the graph
		rt.Fatalf("%s %s: a program's record without its label:\n%s", r.method, r.path, a.body)
	}
	return about
}

// part2Patients lists the patients of the program's records in a body.
func (g *graph) part2Patients(body []byte) (out []string) {
	owner, about := map[string]string{}, map[string]string{}
	for _, w := range g.writes {
		owner[w.ref()] = w.owner
		if subject, ok := w.doc["subject"].(map[string]any); ok {
			about[w.ref()] = subject["reference"].(string)
		}
	}
	var root map[string]any
	if json.Unmarshal(body, &root) != nil {
		return nil
	}
	resources := []any{root}
	for _, e := range list(root["entry"]) {
		resources = append(resources, e.(map[string]any)["resource"])
	}
	for _, r := range resources {
		resource, _ := r.(map[string]any)
		ref := fmt.Sprint(resource["resourceType"], "/", resource["id"])
		if owner[ref] == "otp" && about[ref] != "" && !slices.Contains(out, about[ref]) {
			out = append(out, about[ref])
		}
	}
	return out
}
