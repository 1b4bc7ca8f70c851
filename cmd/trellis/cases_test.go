package main

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/conformance/decisions"
	"trellis/gateway/audit"
	"trellis/gateway/release"
)

// TestCases runs the decision cases of conformance/decisions over HTTP on both databases.
func TestCases(t *testing.T) {
	for _, c := range fixture(t).Cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			onEachStore(t, func(t *testing.T, where location) {
				in := newInstallation(t, where, "")
				in.replayable = true
				in.load(c.Given...)
				s := &story{t: t, in: in}
				for i, step := range c.Steps {
					in.clock.advance(time.Millisecond)
					s.step, s.what = i+1, c.Title
					s.tell(step)
				}
			})
		})
	}
}

// story is a case being told.
type story struct {
	t    *testing.T
	in   *installation
	step int
	what string
	last reply
	page reply // the last set asked for
	etag string
	job  string // where the last export is asked about

	exported []string // resources of its files

	receiver *receiver // of notifications
}

func (s *story) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("step %d (%s): "+format, append([]any{s.step, s.what}, args...)...)
}

func (s *story) tell(step decisions.Step) {
	s.t.Helper()
	if !step.At.IsZero() {
		s.in.clock.set(step.At)
	}
	switch {
	case step.Write != "":
		c, ok := fixture(s.t).Given(step.Write)
		if !ok {
			s.t.Fatalf("no consent %s", step.Write)
		}
		s.last = s.in.write(c)
	case step.Delete != "":
		s.last = s.in.remove(step.Delete, "otp")
	case step.Fault == "audit-log":
		s.in.breakAuditLog()
		return
	case step.Fault == "grants" || step.Fault == "facts":
		s.in.takeAway(map[string]string{"grants": "grants", "facts": "res_also"}[step.Fault])
		return
	case step.Export != "":
		s.export(step)
	case step.Fault != "":
		s.t.Fatalf("unknown fault %s", step.Fault)
	default:
		s.ask(step)
	}
	s.expect(step)
}

func (s *story) ask(step decisions.Step) {
	s.t.Helper()
	v := s.in.as(step.As, step.Purpose)
	r := requestOf(step.Request)
	if step.Request == "follow next" {
		r = request{method: "GET", path: s.page.bundle(s.t).next()}
		if r.path == "" {
			s.t.Fatalf("step %d: the answer before has no next page", s.step)
		}
	}
	if step.Request == "follow job" {
		r = request{method: "GET", path: s.job}
	}
	if step.Form != "" {
		r.body, r.contentType = []byte(step.Form), "application/x-www-form-urlencoded"
	}
	switch {
	case string(step.Body) == `"the answer before"`:
		r.body = s.last.body
	case step.Body != nil:
		r.body = step.Body
		if bytes.Contains(r.body, []byte(theReceiver)) {
			s.subscribed()
			r.body = bytes.ReplaceAll(r.body, []byte(theReceiver), []byte(`"`+s.receiver.url()+`"`))
		}
	}
	r.header = map[string]string{}
	for name, value := range step.Headers {
		if value == "earlier ETag" {
			value = s.etag
		}
		r.header[name] = value
	}
	ask := v.ask
	if step.Request == "follow job" {
		ask = func(r request) reply { return v.plain(r.method, r.path, r.body) }
	}
	before := s.in.gateway.store.Statements()
	s.last = ask(r)
	ran := difference(before, s.in.gateway.store.Statements())
	s.page = s.last
	if tag := s.last.header.Get("ETag"); tag != "" {
		s.etag = tag
	}
	if other := step.Expect.SameAs; other != "" {
		o := requestOf(other)
		o.header, o.contentType, o.body = r.header, r.contentType, sameBody(s.t, r, o)
		before := s.in.gateway.store.Statements()
		s.same(ask(o), step.Expect.But)
		if also := difference(before, s.in.gateway.store.Statements()); step.Expect.Runs && !maps.Equal(ran, also) {
			s.errorf("other statements ran: %v, and %v", ran, also)
		}
	}
}

// difference is what was counted in between.
func difference(before, after map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for what, n := range after {
		if n != before[what] {
			out[what] = n - before[what]
		}
	}
	return out
}

// sameBody is the body of one request for another: with the id the other's URL has, where there is one.
func sameBody(t *testing.T, r, other request) []byte {
	t.Helper()
	_, from, _ := strings.Cut(r.path, "/")
	typ, to, ok := strings.Cut(other.path, "/")
	if r.method != "PUT" || !ok || typ == "" {
		return r.body
	}
	return bytes.ReplaceAll(r.body, []byte(`"`+from+`"`), []byte(`"`+to+`"`))
}

// export runs a bulk export to its end, and takes its files for the answer.
func (s *story) export(step decisions.Step) {
	s.t.Helper()
	v := s.in.as(step.As, step.Purpose)
	a := v.plain("GET", step.Export, nil, "Prefer", "respond-async")
	if s.job = a.header.Get("Content-Location"); a.status != http.StatusAccepted || s.job == "" {
		s.last, s.exported = a, nil
		return
	}
	s.in.work()
	manifest := v.plain("GET", s.job, nil, "Accept", "application/json")
	refs, text := v.lines(v.files(s.job))
	s.exported = refs
	s.last = reply{status: manifest.status, header: manifest.header, body: append(manifest.body, text...)}
}

// requestOf reads "METHOD path".
func requestOf(text string) request {
	method, path, _ := strings.Cut(text, " ")
	return request{method: method, path: path}
}

// same demands that another request got the same answer: status, header names and values, bytes.
func (s *story) same(other reply, but map[string]string) {
	s.t.Helper()
	body := string(other.body)
	for from, to := range but {
		body = strings.ReplaceAll(body, from, to)
	}
	if s.last.status != other.status || string(s.last.body) != body || !sameHeaders(s.last.header, other.header) {
		s.errorf("answers differ:\n%d %v\n%s\n%d %v\n%s", s.last.status, s.last.header, s.last.body, other.status, other.header, body)
	}
}

func (s *story) expect(step decisions.Step) {
	s.t.Helper()
	e, a := step.Expect, s.last
	if a.status != e.Status {
		s.errorf("status %d, want %d: %s", a.status, e.Status, a.body)
	}
	for _, text := range e.Has {
		if !bytes.Contains(a.body, []byte(text)) {
			s.errorf("the body lacks %s:\n%s", text, a.body)
		}
	}
	for _, text := range e.Lacks {
		if bytes.Contains(a.body, []byte(text)) {
			s.errorf("the body has %s:\n%s", text, a.body)
		}
	}
	if a.header.Get("X-Consent-Missing") != e.Missing {
		s.errorf("the recorder is told %q, want %q", a.header.Get("X-Consent-Missing"), e.Missing)
	}
	if e.Entries != nil {
		s.entries(*e.Entries, step.Export != "")
	}
	if e.Drafted != nil {
		list, err := s.in.gateway.store.Incidents(s.t.Context(), false)
		if err != nil || len(list) != *e.Drafted {
			s.errorf("%d incidents are drafted (%v), want %d", len(list), err, *e.Drafted)
		}
	}
	if e.Total != nil || e.NoTotal {
		got := a.bundle(s.t).Total
		if (got == nil) != (e.Total == nil) || (got != nil && *got != *e.Total) {
			s.errorf("total: %s", a.body)
		}
	}
	if step.Request != "" {
		s.part2(step)
	}
	if e.Event != nil {
		s.event(*e.Event)
	}
	if e.Notified != nil {
		s.notified(*e.Notified)
	}
}

// theReceiver stands in a case for the URL of the receiver.
const theReceiver = `"the receiver"`

// subscribed starts the receiver.
func (s *story) subscribed() {
	if s.receiver == nil {
		s.receiver = s.in.newReceiver()
	}
}

// notified sends what is owed by now and demands that it is what is wanted.
func (s *story) notified(want []string) {
	s.t.Helper()
	s.subscribed()
	s.in.deliver()
	got := []string{}
	for _, n := range s.receiver.take() {
		got = append(got, n.text)
	}
	if !slices.Equal(got, want) {
		s.errorf("subscribers are told %q, want %q", got, want)
	}
}

func (s *story) entries(want []string, exported bool) {
	s.t.Helper()
	want = slices.Clone(want)
	slices.Sort(want)
	got := s.exported
	if !exported {
		got = s.last.bundle(s.t).references()
	}
	if !slices.Equal(got, want) {
		s.errorf("the set holds %v, want %v", got, want)
	}
}

// part2 demands notice, scope and redisclosure rule where the case says so, and none where it does not.
func (s *story) part2(step decisions.Step) {
	s.t.Helper()
	header := s.last.header.Get("X-Part2-Notice")
	p := step.Expect.Part2
	if p == nil {
		if header != "" || bytes.Contains(s.last.body, []byte("42 CFR part 2")) {
			s.errorf("a notice where none belongs:\n%s", s.last.body)
		}
		return
	}
	want := append([]string{part2Label, release.StatementLong, "Redisclosure rule: " + p.Redisclosure + "."}, p.Scope...)
	for _, text := range want {
		if !bytes.Contains(s.last.body, []byte(text)) {
			s.errorf("the body lacks %q:\n%s", text, s.last.body)
		}
	}
	if header != release.StatementShort {
		s.errorf("notice header %q", header)
	}
}

// event looks for the decision in the audit log.
func (s *story) event(want decisions.Event) {
	s.t.Helper()
	events := s.in.eventsOf(s.last)
	for _, e := range events {
		if s.matches(e, want) {
			return
		}
	}
	s.errorf("no audit event %+v among %d: %+v", want, len(events), events)
}

func (s *story) matches(e audit.Event, want decisions.Event) bool {
	if string(e.Kind) != want.Kind || (want.Patient != "" && e.Patient != want.Patient) {
		return false
	}
	if want.Code == "" && want.Consents == nil && want.Obligations == nil {
		return true
	}
	for _, d := range decisionsOf(s.t, e) {
		if (want.Code == "" || d.Code == want.Code) && (want.Consents == nil || slices.Equal(d.Consents, want.Consents)) &&
			!slices.ContainsFunc(want.Obligations, func(code string) bool { return !d.Has(code) }) {
			return true
		}
	}
	return false
}
