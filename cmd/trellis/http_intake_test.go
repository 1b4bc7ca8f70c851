package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"trellis/auth/oauth"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

// planRecord is a recovery plan with private entries; its values hold the canary.
func planRecord(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../../mapping/packs/recovery-plan/cases/full-plan.case")
	if err != nil {
		t.Fatal(err)
	}
	record, _, _ := strings.Cut(string(data), "\n---")
	for _, pair := range [][2]string{{"Testwoman", "Zqcanary"}, {"See my kids", "See Zqcanary"}, {"secret note", "secret Zqcanary"}} {
		if !strings.Contains(record, pair[0]) {
			t.Fatalf("the case has no %s", pair[0])
		}
		record = strings.ReplaceAll(record, pair[0], pair[1])
	}
	return record
}

// sendRecord sends a record to the intake and checks what must hold after every write.
func (in *installation) sendRecord(as, record string) intake.Receipt {
	in.t.Helper()
	return in.sendRecordTo("recovery-plan", as, record)
}

func (in *installation) sendRecordTo(path, as, record string) intake.Receipt {
	in.t.Helper()
	a := in.send(request{method: "POST", path: in.gateway.public + "/intake/" + path, body: []byte(record), contentType: "application/json",
		header: map[string]string{"Authorization": "Bearer " + in.token(as, "COC", anyScope)}})
	in.checkIndex()
	if a.status != 200 || strings.Contains(strings.ToLower(string(a.body)), canary) {
		in.t.Fatalf("%d %s", a.status, a.body)
	}
	var out intake.Receipt
	if err := json.Unmarshal(a.body, &out); err != nil {
		in.t.Fatal(err)
	}
	written := 0
	for _, e := range in.eventsOf(a) {
		written += len(e.Resources)
	}
	if written < len(out.Records[0].Resources) {
		in.t.Errorf("%d resources were written, and the log has %d", len(out.Records[0].Resources), written)
	}
	return out
}

// unchangedAll says that a delivery made no version.
func unchangedAll(t testing.TB, r intake.Receipt) {
	t.Helper()
	for _, m := range r.Records[0].Resources {
		if m.Status != "unchanged" {
			t.Errorf("sent again: %s is %s", m.Reference, m.Status)
		}
	}
}

func taken(r intake.Receipt) string {
	m := r.Records[0].Merge
	if m == nil {
		return "as sent"
	}
	var conflicts []string
	for _, c := range m.Conflicts {
		conflicts = append(conflicts, c.Pointer)
	}
	return fmt.Sprintf("taken %v, conflicts %v, kept %d, tasks %d", m.Taken, conflicts, m.Kept, len(m.Tasks))
}

// ehr is the organisation's EHR: another client of it.
type ehr struct{ visitor }

// edit PUTs a resource as the EHR read it, with some of it otherwise.
func (v ehr) edit(reference string, pairs ...string) {
	v.in.t.Helper()
	doc := string(v.get(reference).body)
	edited := strings.NewReplacer(pairs...).Replace(doc)
	if edited == doc {
		v.in.t.Fatalf("nothing of %v in %s", pairs, doc)
	}
	if a := v.ask(request{method: "PUT", path: reference, body: []byte(edited)}); a.status != 200 {
		v.in.t.Fatalf("%d %s", a.status, a.body)
	}
	v.in.checkIndex()
}

// goalIn finds a goal of a receipt by something in it.
func (v ehr) goalIn(r intake.Receipt, holds string) string {
	v.in.t.Helper()
	for _, m := range r.Records[0].Resources {
		if strings.HasPrefix(m.Reference, "Goal/") && bytes.Contains(v.get(m.Reference).body, []byte(holds)) {
			return m.Reference
		}
	}
	v.in.t.Fatalf("no goal has %s", holds)
	return ""
}

func (v ehr) has(reference string, texts ...string) {
	v.in.t.Helper()
	a := v.get(reference)
	for _, text := range texts {
		if !bytes.Contains(a.body, []byte(text)) {
			v.in.t.Errorf("%s has no %s: %d %s", reference, text, a.status, a.body)
		}
	}
}

const (
	goalActive = `"lifecycleStatus":"active"`
	goalDone   = `"lifecycleStatus":"completed"`
	goalOnHold = `"lifecycleStatus":"on-hold"`
	ownElement = `"extension":[{"url":"https://ehr.example/seen","valueString":"zqcanary"}],`

	statusActive = `"status": "active", "progress"`
)

func TestIntakeKeepsWhatWasChangedElsewhere(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		record := planRecord(t)
		v := ehr{in.as(loading("rco"), "")}
		first := in.sendRecord("rco", record)
		unchangedAll(t, in.sendRecord("rco", record))
		goal := v.goalIn(first, goalActive)

		// The EHR sets a status and adds an element of its own: deliveries keep both.
		v.edit(goal, goalActive, ownElement+goalDone)
		if got := taken(in.sendRecord("rco", record)); got != "taken [/goals/[g1]/status], conflicts [], kept 1, tasks 0" {
			t.Error(got)
		}
		v.has(goal, goalDone, ownElement)
		unchangedAll(t, in.sendRecord("rco", record))
		record = strings.Replace(record, `"priority": "high"`, `"priority": "low"`, 1)
		in.sendRecord("rco", record)
		v.has(goal, goalDone, ownElement, "low-priority")

		// The keeper takes the status over: nothing is in conflict, and the element stays.
		record = strings.Replace(record, statusActive, `"status": "completed", "progress"`, 1)
		if got := taken(in.sendRecord("rco", record)); got != "taken [], conflicts [], kept 1, tasks 0" {
			t.Error(got)
		}
		v.has(goal, goalDone, ownElement)

		// Both change it: a person is asked once, and the record's value is stored.
		v.edit(goal, goalDone, goalActive)
		record = strings.Replace(record, `"status": "completed", "progress"`, `"status": "on-hold", "progress"`, 1)
		r := in.sendRecord("rco", record)
		if got := taken(r); got != "taken [], conflicts [/goals/[g1]/status], kept 1, tasks 1" {
			t.Fatal(got)
		}
		v.has(goal, goalOnHold, ownElement)
		task := r.Records[0].Merge.Tasks[0]
		v.has(task, `"reference":"`+goal+`"`, `"record-conflict"`, "/goals/[g1]/status", `"reference":"Organization/rco"`)
		if a := v.get(task); bytes.Contains(bytes.ToLower(a.body), []byte(canary)) {
			t.Errorf("the task holds a value: %s", a.body)
		}
		if a, b := v.labelsOf(task), v.labelsOf(goal); a != b {
			t.Errorf("the task is labelled %q, what it is about %q", a, b)
		}
		again := in.sendRecord("rco", record)
		unchangedAll(t, again)
		if got := taken(again); got != "taken [], conflicts [], kept 1, tasks 0" {
			t.Errorf("asked again: %s", got)
		}

		// A deletion is taken over; private entries, which no resource tells of, are still the record's.
		second := v.goalIn(first, "Zqcanary every week")
		if a := v.ask(request{method: "DELETE", path: second}); a.status != 204 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for range 2 {
			if got := taken(in.sendRecord("rco", record)); got != "taken [/goals/[g3]], conflicts [], kept 1, tasks 0" {
				t.Error(got)
			}
			if a := v.get(second); a.status != 410 {
				t.Errorf("it came back: %d", a.status)
			}
		}
		record = strings.Replace(record, `"private": true, "steps"`, `"private": false, "steps"`, 1)
		if r := in.sendRecord("rco", record); !slices.ContainsFunc(r.Records[0].Resources, func(m intake.Made) bool { return m.Status == "created" && strings.HasPrefix(m.Reference, "Goal/") }) {
			t.Error("a goal that is no longer private was not carried")
		}
	})
}

// A label that was given elsewhere protects the resource through all further deliveries, until it is taken off there.
func TestIntakeKeepsLabelsGivenElsewhere(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		record := planRecord(t)
		v := ehr{in.as(loading("rco"), "")}
		goal := v.goalIn(in.sendRecord("rco", record), goalActive)
		const label = `{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}`
		before := v.labelsOf(goal)
		v.edit(goal, `"security":[`, `"security":[`+label+",")
		labelled := v.labelsOf(goal)
		if before == labelled || !strings.Contains(labelled, "PSY") {
			t.Fatalf("%q, then %q", before, labelled)
		}
		unchangedAll(t, in.sendRecord("rco", record))
		for _, change := range [][2]string{{`"priority": "high"`, `"priority": "low"`}, {statusActive, `"status": "completed", "progress"`}} {
			record = strings.Replace(record, change[0], change[1], 1)
			in.sendRecord("rco", record)
			if got := v.labelsOf(goal); got != labelled {
				t.Errorf("after a delivery: %q, want %q", got, labelled)
			}
		}
		v.edit(goal, ","+label, "")
		if got := v.labelsOf(goal); got != before {
			t.Errorf("taken off: %q, want %q", got, before)
		}
		in.sendRecord("rco", strings.Replace(record, `"priority": "low"`, `"priority": "medium"`, 1))
		if got := v.labelsOf(goal); got != before {
			t.Errorf("taken off, after a delivery: %q, want %q", got, before)
		}
	})
}

// native asks for a record as FHIR tells it.
func (v visitor) native(path string) reply {
	v.in.t.Helper()
	return v.ask(request{method: "GET", path: v.in.gateway.public + "/intake/" + path})
}

func TestIntakeTellsTheKeeper(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		record := planRecord(t)
		for _, key := range []string{"P-1", "P-2", "P/3"} {
			in.sendRecord("rco", strings.Replace(record, `"P-1"`, `"`+key+`"`, 1))
		}
		in.sendRecord("otp", strings.Replace(record, `"P-1"`, `"T-1"`, 1))
		v, own := ehr{in.as(loading("rco"), "")}, in.as("rco", "COC")
		if a := own.native("recovery-plan?changed=true"); a.status != 200 || !bytes.Contains(a.body, []byte(`"records":[]`)) {
			t.Errorf("nothing was changed: %d %s", a.status, a.body)
		}
		first := in.sendRecord("rco", record)
		goal := v.goalIn(first, goalActive)
		v.edit(goal, goalActive, ownElement+goalDone)

		a := own.native("recovery-plan/P-1")
		var told intake.Told
		if err := json.Unmarshal(a.body, &told); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if len(told.Changes) != 1 || told.Changes[0].Pointer != "/goals/[g1]/status" || told.Changes[0].Theirs != "completed" || len(told.Conflicts) > 0 || len(told.NotTaken) > 0 {
			t.Errorf("changes: %+v", told)
		}
		if len(told.Unknown) != 1 || told.Unknown[0].Resource != goal || told.Unknown[0].Path != "Goal.extension" {
			t.Errorf("unknown: %+v", told.Unknown)
		}
		goals, err := json.Marshal(told.Record["goals"])
		if err != nil || !bytes.Contains(goals, []byte(`"status":"completed"`)) || bytes.Contains(a.body, []byte("secret")) {
			t.Errorf("the record: %s", a.body)
		}
		patients := 0
		for _, e := range in.eventsOf(a) {
			if e.Kind == audit.Disclosure && e.Patient != "" && len(e.Resources) > 5 {
				patients++
			}
		}
		if patients != 1 {
			t.Errorf("%d events of patients", patients)
		}
		if a := own.native("recovery-plan?changed=true"); !bytes.Contains(a.body, []byte(`"records":[{"key":"P-1"}]`)) {
			t.Errorf("changed: %s", a.body)
		}
		in.sendRecord("rco", record)
		if a := own.native("recovery-plan?changed=true"); !bytes.Contains(a.body, []byte(`"records":[{"key":"P-1"}]`)) {
			t.Errorf("changed, and not taken over by the keeper: %s", a.body)
		}
		if a := own.native("recovery-plan/" + url.PathEscape("P/3")); a.status != 200 || !bytes.Contains(a.body, []byte(`"changes":[]`)) {
			t.Errorf("a key with a slash: %d %s", a.status, a.body)
		}

		// In pages.
		var keys []string
		for next := in.gateway.public + "/intake/recovery-plan?limit=2"; next != ""; {
			a := own.ask(request{method: "GET", path: next})
			var page struct {
				Records []struct{ Key string }
				Next    string
			}
			if err := json.Unmarshal(a.body, &page); err != nil || a.status != 200 || len(page.Records) > 2 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for _, r := range page.Records {
				keys = append(keys, r.Key)
			}
			next = page.Next
		}
		if strings.Join(keys, " ") != "P-1 P-2 P/3" {
			t.Errorf("in pages: %v", keys)
		}

		// Nobody else's, and with whole scopes alone.
		unknown := own.native("recovery-plan/nobody")
		other := own.native("recovery-plan/T-1")
		if unknown.status != 404 || other.status != 404 || !bytes.Equal(unknown.body, other.body) {
			t.Errorf("another's: %d %s, unknown: %d %s", other.status, other.body, unknown.status, unknown.body)
		}
		if a := in.as("hospital", "TREAT").native("recovery-plan/P-1"); a.status != 404 {
			t.Errorf("to another: %d", a.status)
		}
		in.register(oauth.Client{ID: "narrow", Organization: "rco", Scopes: []string{"system/Goal.rs", "system/CarePlan.rs"}, Purposes: []string{"COC"}, DefaultPurpose: "COC"}, false)
		narrow := map[string]string{"Authorization": "Bearer " + in.token("narrow", "COC", "system/Goal.rs system/CarePlan.rs")}
		for _, path := range []string{"/intake/recovery-plan/P-1", "/intake/recovery-plan"} {
			if a := in.send(request{method: "GET", path: in.gateway.public + path, header: narrow}); a.status != 403 {
				t.Errorf("%s with some scopes: %d %s", path, a.status, a.body)
			}
		}
		if a := in.as("hospital", "HMARKT").native("recovery-plan"); a.status != 403 {
			t.Errorf("for marketing: %d %s", a.status, a.body)
		}
		for path, want := range map[string]int{"zqcanary/P-1": 404, "ny-1115-ahc-hrsn/P-1": 404, "recovery-plan?changed=zqcanary": 400, "recovery-plan?limit=0": 400, "recovery-plan?since=1": 400, "recovery-plan/P-1?since=1": 400} {
			if a := own.native(path); a.status != want || bytes.Contains(a.body, []byte(canary)) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
}

// aged puts a record on file as if an older version of its pack had mapped it.
func (in *installation) aged(org, key string) {
	in.t.Helper()
	var sent store.Sent
	_, _, err := in.gateway.store.Transact(in.t.Context(), store.Transaction{Owner: org,
		Plan: func(v *store.View) ([]store.Change, error) {
			var err error
			sent, _, _, err = v.Sent("recovery-plan", key)
			return nil, err
		},
		Finish: func([]store.Written) (store.Commit, error) {
			sent.Pack = "0.9.0"
			return store.Commit{Sent: []store.Sent{sent}}, nil
		}})
	if err != nil {
		in.t.Fatal(err)
	}
}

// TestIntakeAtOnce: deliveries of one record at the same time are made one after the other, whichever is first.
func TestIntakeAtOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		record := planRecord(t)
		header := map[string]string{"Authorization": "Bearer " + in.token("rco", "COC", anyScope)}
		for round := range 3 {
			var sent sync.WaitGroup
			for i := range 6 {
				text := record
				if i%2 == 1 {
					text = strings.Replace(record, `"priority": "high"`, `"priority": "low"`, 1)
				}
				sent.Go(func() {
					a := in.send(request{method: "POST", path: in.gateway.public + "/intake/recovery-plan", body: []byte(text), contentType: "application/json", header: header})
					if a.status != 200 || bytes.Contains(a.body, []byte(`"merge"`)) {
						t.Errorf("round %d: %d %s", round, a.status, a.body)
					}
				})
			}
			sent.Wait()
			in.checkIndex()
		}
		v := ehr{in.as(loading("rco"), "")}
		goal := v.goalIn(in.sendRecord("rco", record), goalActive)
		unchangedAll(t, in.sendRecord("rco", record))
		doc := strings.Replace(string(v.get(goal).body), goalActive, ownElement+goalDone, 1)
		var sent sync.WaitGroup
		for _, r := range []request{
			{method: "PUT", path: goal, body: []byte(doc), header: map[string]string{"Authorization": "Bearer " + in.token(loading("rco"), "COC", anyScope)}},
			{method: "POST", path: in.gateway.public + "/intake/recovery-plan", contentType: "application/json", header: header, body: []byte(strings.Replace(record, "555-0123", "555-0124", 1))},
		} {
			sent.Go(func() {
				if a := in.send(r); a.status != 200 {
					t.Errorf("%s: %d %s", r.method, a.status, a.body)
				}
			})
		}
		sent.Wait() // the index is looked at when nobody writes
		in.checkIndex()
		in.sendRecord("rco", record)
		v.has(goal, goalDone, ownElement)
	})
}

func TestIntakeRemapCommand(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		record := planRecord(t)
		first := in.sendRecord("rco", record)
		in.sendRecord("rco", strings.Replace(record, `"P-1"`, `"P-2"`, 1))
		v := ehr{in.as(loading("rco"), "")}
		goal := v.goalIn(first, goalActive)
		v.edit(goal, goalActive, ownElement+goalDone)
		file := in.configFile()
		command := func(args ...string) (int, string, string) {
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"intake"}, args...), &stdout, &stderr)
			in.checkIndex()
			return code, stdout.String(), stderr.String()
		}
		for _, args := range [][]string{{"remap"}, {"remap", "--kind", "recovery-plan"}, {"other", "--kind", "recovery-plan", "--config", file}, {"remap", "--kind", "recovery-plan", "--config", file, "--apply", "--dry-run"}} {
			if code, _, _ := command(args...); code != 2 {
				t.Errorf("%v: %d", args, code)
			}
		}
		remap := []string{"remap", "--kind", "recovery-plan", "--config", file}
		if code, out, errs := command(remap...); code != 0 || out != "" {
			t.Fatalf("everything is of this version: %d %s%s", code, out, errs)
		}
		in.aged("rco", "P-1")
		in.aged("rco", "P-2")
		before := in.stored()
		for range 2 {
			code, out, errs := command(remap...)
			if code != 0 || !strings.Contains(out, "rco P-1: mapped by 0.9.0, 0 resources") || !strings.Contains(errs, "mapping anew 2/2") {
				t.Errorf("%d %s%s", code, out, errs)
			}
		}
		if after := in.stored(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("a dry run wrote: %v, then %v", before, after)
		}
		if code, out, errs := command(append(remap, "--apply", "--json")...); code != 0 || strings.Count(out, `"from":"0.9.0"`) != 2 {
			t.Errorf("%d %s%s", code, out, errs)
		}
		if code, out, errs := command(append(remap, "--apply")...); code != 0 || out != "" {
			t.Errorf("done again: %d %s%s", code, out, errs)
		}
		logged := 0
		for _, e := range in.events() {
			if e.Interaction == "intake remap" && e.Kind == audit.Write && e.Patient != "" {
				logged++
			}
		}
		if logged != 2 {
			t.Errorf("%d events", logged)
		}
		v.has(goal, goalDone, ownElement)
		if got := taken(in.sendRecord("rco", record)); got != "taken [/goals/[g1]/status], conflicts [], kept 1, tasks 0" {
			t.Error(got)
		}
		unchangedAll(t, in.sendRecord("rco", strings.Replace(record, `"P-1"`, `"P-2"`, 1)))
	})
}
