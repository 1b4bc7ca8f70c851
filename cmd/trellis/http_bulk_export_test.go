package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/fhir/search"
	"trellis/gateway/audit"
	"trellis/gateway/bulk"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// TestExportIsWhatASearchShows: an export releases exactly what its client finds by searching, with the same labels and
// statement, and every page of it is logged, a patient an event.
func TestExportIsWhatASearchShows(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.gateway.bulk.PageRows = 3
		const types = "Patient,Condition,Observation,Encounter,DocumentReference,Organization"
		for _, client := range []string{"hospital", "otp", "rco", "plan"} {
			v := in.as(client, "")
			refs, text := v.exported("$export?_type=" + types)
			sameList(t, client, refs, v.visibleTo(types))
			if part2 := strings.Contains(text, part2Label); client != "otp" && part2 != strings.Contains(text, release.StatementLong) {
				t.Errorf("%s: Part 2 records %v, the statement says otherwise", client, part2)
			}
		}
		hospital := in.as("hospital", "TREAT")
		job := hospital.export("$export?_type=Condition")
		in.work()
		m := hospital.files(job)
		if len(m.Error) != 1 || m.Error[0].Type != "OperationOutcome" {
			t.Fatalf("%+v", m)
		}
		if said := hospital.file(m.Error[0].URL); !strings.Contains(said, release.StatementLong) || !strings.Contains(said, "Redisclosure rule: ") {
			t.Errorf("the outcome file: %s", said)
		}
		logged := false
		for _, e := range in.events() {
			logged = logged || e.Interaction == "export-system" && e.Patient == "Patient/P1" && e.NoticeVersion != "" && e.Released != "" && len(e.Resources) > 0 && len(e.Decision) > 0
		}
		if !logged {
			t.Error("no event says what was released of the patient")
		}
	})
}

// TestExportKickOff: what a kick-off may and may not ask for.
func TestExportKickOff(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		hospital := in.as("hospital", "TREAT")
		for path, says := range map[string]string{
			"$export?_outputFormat=text/csv":                          "_outputFormat",
			"$export?_since=yesterday":                                "_since",
			"$export?_since=2026-01-01":                               "_since",
			"$export?_type=Nonsense":                                  "_type",
			"$export?includeAssociatedData=LatestProvenanceResources": "includeAssociatedData",
			"$export?nonsense=1":                                      "nonsense",
			"$export?patient=Patient/P1":                              "POST",
			"$export?_type=Patient&_typeFilter=Condition%3Fcode%3Dx":  "_typeFilter",
			"$export?_typeFilter=Condition%3Fnonsense%3Dx":            "nonsense",
			"$export?_typeFilter=Condition%3F_include%3D*":            "_include",
			"$export?_elements=name.family.x":                         "_elements",
			"Patient/$export?_type=Medication":                        "Medication",
		} {
			a := hospital.plain("GET", path, nil, "Prefer", "respond-async")
			if a.status != 400 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			checkOutcome(t, a, says)
		}
		if a := hospital.plain("GET", "$export", nil); a.status != 400 || !strings.Contains(string(a.body), "respond-async") {
			t.Errorf("without Prefer: %d %s", a.status, a.body)
		}
		if a := hospital.plain("GET", "$export?nonsense=1&includeAssociatedData=x", nil, "Prefer", "respond-async, handling=lenient"); a.status != 202 {
			t.Errorf("lenient: %d %s", a.status, a.body)
		}
		for path, status := range map[string]int{"Condition/$export": 404, "Patient/P1/$export": 404, "Group/nobody/$export": 404} {
			if a := hospital.plain("GET", path, nil, "Prefer", "respond-async"); a.status != status {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		// G1: a type the token does not reach is refused when it is named, else left out.
		in.register(oauth.Client{ID: "narrow", Organization: "hospital", Scopes: []string{"system/Condition.rs"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		bearer := map[string]string{"Authorization": "Bearer " + in.token("narrow", "TREAT", "system/Condition.rs"), "Prefer": "respond-async"}
		if a := in.send(request{method: "GET", path: "$export?_type=Patient", header: bearer}); a.status != 403 {
			t.Errorf("a type out of reach: %d %s", a.status, a.body)
		}
		a := in.send(request{method: "GET", path: "$export", header: bearer})
		if a.status != 202 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.work()
		status := in.send(request{method: "GET", path: a.header.Get("Content-Location"), header: bearer})
		if strings.Contains(string(status.body), `"type":"Patient"`) || !strings.Contains(string(status.body), `"type":"Condition"`) {
			t.Errorf("%s", status.body)
		}
	})
}

// TestExportNarrowed: _typeFilter, _since with deletions, _elements, patients by POST, and Groups.
func TestExportNarrowed(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		v := in.as("hospital", "TREAT")
		refs, _ := v.exported("$export?_type=Condition,Patient&_typeFilter=Condition%3Fcode%3DI10,Condition%3Fcode%3Dnothing,F11.20")
		if !slices.Contains(refs, "Condition/C2") || !slices.Contains(refs, "Patient/P1") {
			t.Errorf("filtered: %v", refs)
		}
		_, text := v.exported("$export?_type=Patient&_elements=Patient.birthDate")
		if strings.Contains(text, `"name"`) || !strings.Contains(text, "SUBSETTED") || !strings.Contains(text, `"birthDate"`) {
			t.Errorf("elements: %s", text)
		}
		all, _ := v.exported("Patient/$export")
		if !slices.Contains(all, "Condition/C2") || slices.ContainsFunc(all, func(r string) bool { return strings.HasPrefix(r, "Organization/") }) {
			t.Errorf("all patients: %v", all)
		}
		in.putGroup("G1", `{"entity":{"reference":"Patient/P1"}},{"entity":{"reference":"Patient/P2"},"inactive":true}`)
		members, _ := v.exported("Group/G1/$export")
		body := `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/P1"}}]}`
		a := v.plain("POST", "Patient/$export", []byte(body), "Prefer", "respond-async")
		in.work()
		posted, _ := v.lines(v.files(a.header.Get("Content-Location")))
		sameList(t, "the one member of a Group, and the same by POST", members, posted)
		if len(members) == 0 || slices.Contains(members, "Patient/P2") {
			t.Errorf("members: %v", members)
		}
		if a := in.as("rco", "COC").plain("GET", "Group/G1/$export", nil, "Prefer", "respond-async"); a.status != 404 {
			t.Errorf("another's Group: %d %s", a.status, a.body)
		}

		in.clock.advance(time.Hour)
		since := in.clock.now().Format(time.RFC3339)
		in.clock.advance(time.Minute)
		if a := in.remove("Observation/O2", "hospital"); a.status/100 != 2 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.as("hospital-loader", "").ask(request{method: "PUT", path: "Condition/C2", body: []byte(strings.Replace(about("Patient/P1"), `"Condition",`, `"Condition","id":"C2",`, 1))})
		job := v.export("$export?_since=" + since)
		in.work()
		m := v.files(job)
		changed, _ := v.lines(m)
		sameList(t, "since", changed, []string{"Condition/C2"})
		if len(m.Deleted) != 1 || m.Deleted[0].Type != "Bundle" || !strings.Contains(v.file(m.Deleted[0].URL), `"request":{"method":"DELETE","url":"Observation/O2"}`) {
			t.Errorf("deleted: %+v", m.Deleted)
		}
	})
}

func (in *installation) putGroup(id, members string) {
	in.t.Helper()
	body := `{"resourceType":"Group","id":"` + id + `","type":"person","actual":true,"member":[` + members + `]}`
	if a := in.as("hospital-loader", "").ask(request{method: "PUT", path: "Group/" + id, body: []byte(body)}); a.status != 201 {
		in.t.Fatalf("%d %s", a.status, a.body)
	}
}

// TestExportJob: a job is its client's alone; it can be cancelled, expires, and is not asked about without end.
func TestExportJob(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		v := in.as("hospital", "TREAT")
		job := v.export("$export?_type=Patient")
		if a := v.plain("GET", job, nil); a.status != 202 || a.header.Get("X-Progress") == "" || a.header.Get("Retry-After") == "" {
			t.Errorf("running: %d %v", a.status, a.header)
		}
		more := []string{v.export("$export"), v.export("$export")}
		if a := v.plain("GET", "$export", nil, "Prefer", "respond-async"); a.status != 429 || a.header.Get("Retry-After") == "" {
			t.Errorf("a fourth job: %d", a.status)
		}
		if a := v.plain("DELETE", more[0], nil); a.status != 202 {
			t.Errorf("cancelling: %d %s", a.status, a.body)
		}
		in.work()
		file := v.files(job).Output[0].URL
		for name, other := range map[string]visitor{"another client of the organisation": in.as("hospital-loader", ""), "another organisation": in.as("otp", "")} {
			for _, url := range []string{job, file} {
				unknown, hidden := other.plain("GET", strings.Replace(url, "/bulk/", "/bulk/x", 1), nil), other.plain("GET", url, nil)
				if hidden.status != 404 || string(unknown.body) != string(hidden.body) {
					t.Errorf("%s: %d %s", name, hidden.status, hidden.body)
				}
			}
			if a := other.plain("DELETE", job, nil); a.status != 404 {
				t.Errorf("%s deletes: %d", name, a.status)
			}
		}
		if a := in.send(request{method: "GET", path: file}); a.status != 401 {
			t.Errorf("without a token: %d", a.status)
		}
		many := 0
		for range 60 {
			if a := v.plain("GET", job, nil); a.status == 429 {
				many++
			}
		}
		if many == 0 {
			t.Error("a client may ask without end")
		}
		if a := v.plain("DELETE", job, nil); a.status != 202 {
			t.Errorf("deleting: %d", a.status)
		}
		for _, url := range []string{job, file, more[0]} {
			if a := v.plain("GET", url, nil); a.status != 404 || !strings.Contains(string(a.body), "OperationOutcome") {
				t.Errorf("%s after deletion: %d %s", url, a.status, a.body)
			}
		}
		in.clock.advance(2 * time.Hour)
		if a := v.plain("GET", more[1], nil); a.status != 404 {
			t.Errorf("expired: %d", a.status)
		}
		for more := true; more; {
			var err error
			if more, err = in.gateway.store.SweepJobs(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if jobs, chunks := in.rowsOf("bulk_job"), in.rowsOf("bulk_chunk"); jobs+chunks != 0 {
			t.Errorf("left behind: %d jobs, %d chunks", jobs, chunks)
		}
	})
}

// TestExportGoesOnElsewhere: a worker that dies in the middle is followed by another at the last page kept, while
// writers insert, change and delete. What existed throughout is there once.
func TestExportGoesOnElsewhere(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		put := func(id string) {
			in.as("hospital-loader", "").ask(request{method: "PUT", path: "Condition/" + id, body: []byte(strings.Replace(about("Patient/P1"), `"Condition",`, `"Condition","id":"`+id+`",`, 1))})
		}
		want := map[string]bool{}
		for i := range 40 {
			put(fmt.Sprintf("Y%d", i))
			want[fmt.Sprintf("Condition/Y%d", i)] = i%10 != 3 // those are deleted on the way
		}
		v := in.as("hospital", "TREAT")
		first := in.gateway.bulk
		first.PageRows, first.Pages = 7, 1
		job := v.export("$export?_type=Condition")
		in.clock.advance(time.Second)
		second := *first
		second.Holder = "another"
		for i := 0; ; i++ {
			put(fmt.Sprintf("N%d", i))
			put(fmt.Sprintf("Y%d", 10*(i%4)+1)) // back to what it was: still the same resource
			if i < 4 {
				in.remove(fmt.Sprintf("Condition/Y%d", 10*i+3), "hospital")
			}
			if i == 2 {
				in.gateway.bulk = &second
				if in.workOnce() {
					t.Error("a job was taken from a worker that may be alive")
				}
				in.clock.advance(time.Minute)
			}
			if !in.workOnce() {
				break
			}
			if i == 2 { // the first one wakes up and finds itself replaced
				in.gateway.bulk = first
				if in.workOnce() {
					t.Error("two workers have one job")
				}
				in.gateway.bulk = &second
			}
		}
		refs, _ := v.lines(v.files(job))
		seen := map[string]int{}
		for _, r := range refs {
			if seen[r]++; seen[r] > 1 {
				t.Errorf("%s is there twice", r)
			}
			if strings.HasPrefix(r, "Condition/N") {
				t.Errorf("%s came into being after the export began", r)
			}
		}
		for r, stayed := range want {
			if stayed && seen[r] == 0 {
				t.Errorf("%s is lost", r)
			}
		}
	})
}

// TestExportStopsWithTheConsent: once a consent is revoked no further page has that patient's Part 2 records, and what is
// in a file already is not handed out.
func TestExportStopsWithTheConsent(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.gateway.bulk.PageRows, in.gateway.bulk.Pages = 1, 1
		v := in.as("hospital", "TREAT")
		before, text := v.exported("$export?_type=Condition,Observation,Encounter")
		if strings.Count(text, part2Label) < 2 {
			t.Fatalf("the fixture has too few Part 2 records: %v", before)
		}
		whole := v.export("$export?_type=Condition,Observation,Encounter")
		in.work()
		job := v.export("$export?_type=Condition,Observation,Encounter")
		in.workOnce()
		consent, ok := fixture(t).Given("K1")
		if !ok {
			t.Fatal("no consent")
		}
		in.clock.advance(time.Second)
		if a := in.as(loading(consent.Owner), "").ask(request{method: "POST", path: "Consent/" + idOf(t, consent.Resource) + "/$revokeConsent", body: []byte(`{"resourceType":"Parameters"}`)}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.clock.advance(2 * time.Second) // a decision may be used again for a second
		in.work()
		for _, j := range []string{job, whole} {
			refs, text := v.lines(v.files(j))
			if strings.Contains(text, part2Label) {
				t.Errorf("Part 2 records after the revocation: %v", refs)
			}
		}
	})
}

// readingAhead says when rows have been read, and does something before the first page is kept.
type readingAhead struct {
	bulk.Records
	bulk.Jobs
	reads chan struct{}
	first func() error
}

func (r *readingAhead) SearchBounded(ctx context.Context, f access.Filter, q *search.Query, after *store.Position, maxBytes int) (store.Page, error) {
	page, err := r.Records.SearchBounded(ctx, f, q, after, maxBytes)
	r.reads <- struct{}{}
	return page, err
}

func (r *readingAhead) SaveJob(ctx context.Context, id, holder string, lease time.Duration, p store.JobPage) error {
	if first := r.first; first != nil {
		r.first = nil
		if err := first(); err != nil {
			return err
		}
	}
	return r.Jobs.SaveJob(ctx, id, holder, lease, p)
}

// TestExportReadAhead: rows of the next page are read while a page is kept. They are decided about when it is their turn:
// what a consent let out when they were read stays when it has been revoked since. Rows that waited too long are read anew,
// and a job that was cancelled meanwhile has no further page.
func TestExportReadAhead(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		w := in.gateway.bulk
		reads := make(chan struct{}, 1000)
		r := &readingAhead{Records: w.Records, Jobs: w.Jobs, reads: reads}
		w.Records, w.Jobs = r, r
		w.PageRows, w.Pages, w.Ahead = 1, 1000, time.Hour
		v := in.as("hospital", "TREAT")
		// onceTwoRead is done when the rows of the next page are there and the first page is not kept yet.
		onceTwoRead := func(do func() error) {
			r.first = func() error { <-reads; <-reads; return do() }
		}
		step := func(do func() error) (job string) {
			for len(reads) > 0 {
				<-reads
			}
			job = v.export("$export?_type=Condition,Observation,Encounter")
			onceTwoRead(do)
			if !in.workOnce() || r.first != nil {
				t.Fatal("no page was kept")
			}
			return job
		}
		nothing := func() error { return nil }
		chunk := func(job string, file, no int) (store.Chunk, bool) {
			c, found, err := in.gateway.store.ReadChunk(t.Context(), path.Base(job), file, no)
			if err != nil {
				t.Fatal(err)
			}
			return c, found
		}
		if _, text := v.lines(v.files(step(nothing))); strings.Count(text, part2Label) < 2 {
			t.Fatalf("the fixture has too few Part 2 records: %s", text)
		}
		pages := 2 + len(reads)

		w.Ahead = 1 // ns
		v.files(step(nothing))
		if again := 2 + len(reads); again != 2*pages {
			t.Errorf("%d reads for %d pages, all of which waited too long", again, pages)
		}
		w.Ahead = time.Hour

		cancelled := step(func() error {
			// The first page is the cancelled job's as well.
			job, ok, err := in.gateway.store.ClaimJob(t.Context(), w.Holder, time.Minute)
			if err == nil && ok {
				err = in.gateway.store.RemoveJob(t.Context(), job.ID, job.Client)
			}
			if err != nil || !ok {
				t.Error(ok, err)
			}
			return nil
		})
		if a := v.plain("GET", cancelled, nil); a.status != 404 {
			t.Errorf("cancelled: %d", a.status)
		}
		if _, found := chunk(cancelled, 0, 0); found || len(reads) > 0 {
			t.Errorf("a cancelled job has a page (%v), or %d more were read", found, len(reads))
		}

		disabled := func(yes bool) error {
			return in.gateway.store.ChangeClient(t.Context(), v.client, func(c *store.ClientRecord) error { c.OAuth.Disabled = yes; return nil })
		}
		stopped := v.export("$export?_type=Condition,Observation,Encounter")
		onceTwoRead(func() error { return disabled(true) })
		if _, err := w.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "disabled") {
			t.Errorf("a client was disabled: %v", err)
		}
		for no, want := range []bool{true, false} {
			if _, found := chunk(stopped, 0, no); found != want {
				t.Errorf("page %d of a client disabled meanwhile: %v", no, found)
			}
		}
		if err := disabled(false); err != nil {
			t.Fatal(err)
		}

		job := step(func() error {
			consent, _ := fixture(t).Given("K1")
			in.clock.advance(time.Second)
			if a := in.as(loading(consent.Owner), "").ask(request{method: "POST", path: "Consent/" + idOf(t, consent.Resource) + "/$revokeConsent", body: []byte(`{"resourceType":"Parameters"}`)}); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
			in.clock.advance(2 * time.Second) // a decision may be used again for a second
			return nil
		})
		kept := 0
		for file, no := 0, 1; ; no++ { // as they are kept, but the first: what is fetched is decided about once more
			c, found := chunk(job, file, no)
			if !found && no == 0 {
				break
			}
			if !found {
				file, no = file+1, -1
				continue
			}
			kept++
			if bytes.Contains(c.Lines, []byte(part2Label)) {
				t.Errorf("after the revocation: %s", c.Lines)
			}
		}
		if kept == 0 {
			t.Error("no page was kept after the revocation")
		}
	})
}

// TestExportTellsAfterAFailure: a page that could not be kept is made again with all that is to be said about it.
func TestExportTellsAfterAFailure(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		w := in.gateway.bulk
		w.Jobs = &readingAhead{Records: w.Records, Jobs: w.Jobs, first: func() error { return store.ErrBusy }}
		v := in.as("hospital", "TREAT")
		job := v.export("$export?_type=Condition")
		if _, err := w.Step(t.Context()); !errors.Is(err, store.ErrBusy) {
			t.Fatal(err)
		}
		in.work()
		m := v.files(job)
		if _, text := v.lines(m); !strings.Contains(text, part2Label) || len(m.Error) != 1 || !strings.Contains(v.file(m.Error[0].URL), "42 CFR part 2") {
			t.Errorf("%+v", m)
		}
	})
}

// TestExportBeginsAtOnce: the worker of the process that took the request does not wait to be asked.
func TestExportBeginsAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.as("hospital", "TREAT").export("$export?_type=Patient")
		select {
		case <-in.gateway.bulk.Wake:
		default:
			t.Error("the worker was not told")
		}
	})
}

// TestExportWithoutALog: while the log cannot be written no page is kept; afterwards the job goes on.
func TestExportWithoutALog(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		v := in.as("hospital", "TREAT")
		job := v.export("$export?_type=Condition")
		in.breakAuditLog()
		for range 7 {
			if _, err := in.gateway.bulk.Step(t.Context()); err == nil {
				t.Fatal("a page was made without a log")
			}
		}
		if n := in.rowsOf("bulk_chunk"); n != 0 {
			t.Errorf("%d chunks without a log", n)
		}
		in.restore()
		in.work()
		refs, _ := v.lines(v.files(job))
		sameList(t, "after the log is back", refs, v.visibleTo("Condition"))
		in.breakAuditLog()
		if a := v.plain("GET", v.files(job).Output[0].URL, nil); a.status != 503 {
			t.Errorf("a file without a log: %d", a.status)
		}
		in.restore()
		for _, e := range in.events() {
			if e.Kind == audit.Disclosure && e.Interaction == "export-system" && e.Outcome != "released" {
				t.Errorf("%+v", e)
			}
		}
	})
}
