package exchange

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/oauth"
	"trellis/conformance/storetest"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
	"trellis/gateway/store/sqlite"
	"trellis/gateway/subscription"
)

// ehr is a partner that can misbehave: answer is what the next posts get, in order; 0 takes the
// document and then breaks the connection.
type ehr struct {
	mu       sync.Mutex
	answers  []int
	received []map[string]any
	posts    int
}

func (e *ehr) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.URL.Path == "/token":
		fmt.Fprint(w, `{"access_token":"t","token_type":"bearer","expires_in":300,"scope":"system/DocumentReference.cs"}`)
	case r.Method == http.MethodGet:
		var found []any
		for _, doc := range e.received {
			id := doc["identifier"].([]any)[0].(map[string]any)
			if r.URL.Query().Get("identifier") == fmt.Sprintf("%s|%s", id["system"], id["value"]) {
				found = append(found, map[string]any{"resource": map[string]string{"id": "known"}})
			}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"entry": found}); err != nil {
			panic(err)
		}
	default:
		e.post(w, r)
	}
}

func (e *ehr) post(w http.ResponseWriter, r *http.Request) {
	e.posts++
	answer := http.StatusCreated
	if len(e.answers) > 0 {
		answer, e.answers = e.answers[0], e.answers[1:]
	}
	var doc map[string]any
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil {
		panic(err)
	}
	switch answer {
	case 0, http.StatusCreated:
		e.received = append(e.received, doc)
	}
	if answer == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Location", "DocumentReference/new")
	w.WriteHeader(answer)
}

// line is one gateway with one partner and a plan owed to it.
type line struct {
	t      *testing.T
	s      *store.Store
	worker *Worker
	ehr    *ehr
	now    time.Time
	labels *label.Classifier
}

func newLine(t *testing.T, consented bool, answers ...int) *line {
	t.Helper()
	l := &line{t: t, ehr: &ehr{answers: answers}, now: time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)}
	engine, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	if l.s, err = store.Open(t.Context(), storetest.Config(t, engine, func() time.Time { return l.now })); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(l.ehr)
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError)
	t.Cleanup(func() {
		server.Close()
		if err := l.s.Close(); err != nil {
			t.Error(err)
		}
	})
	key, _, err := oauth.NewKey("k")
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	client := NewClient(true)
	l.worker = &Worker{Outbox: l.s, Records: l.s, Registry: storetest.Registry(t), Base: l.s.Base(), Logger: logger,
		Gate: &release.Gate{Records: l.s, Log: l.s.Audit(), Base: l.s.Base(), Logger: logger},
		Partners: map[string]*Partner{"hosp": {FHIRBase: server.URL, Purpose: "TREAT", HTTP: client,
			Tokens: &oauth.TokenSource{HTTP: client, TokenURL: server.URL + "/token", ClientID: "gateway", Key: key, Now: time.Now}}}}
	l.worker.Notifier = &Notifier{Subscriptions: l.s, Records: l.s, Gate: l.worker.Gate, HTTP: client, Logger: logger, Rules: subscription.Rules{Registry: l.worker.Registry, Base: l.s.Base()}}
	if l.labels, err = label.New(); err != nil {
		t.Fatal(err)
	}
	l.community(consented)
	return l
}

func (l *line) community(consented bool) {
	l.t.Helper()
	for _, o := range []access.Organization{{ID: "hosp", Class: access.CoveredEntity}, {ID: "otp", Class: access.Part2ProgramCE}} {
		if _, err := l.s.PutOrganization(l.t.Context(), o); err != nil {
			l.t.Fatal(err)
		}
		rec := store.ClientRecord{}
		rec.OAuth.ID, rec.OAuth.Organization, rec.OAuth.Purposes = o.ID, o.ID, []string{"TREAT"}
		if err := l.s.PutClient(l.t.Context(), rec); err != nil {
			l.t.Fatal(err)
		}
	}
	if consented {
		l.put(storetest.Consent("k", "p", "otp", ""))
		l.put(`{"resourceType":"CareTeam","id":"team","status":"active","subject":{"reference":"Patient/p"},"participant":[{"member":{"reference":"Organization/hosp"}}]}`)
	}
	l.put(`{"resourceType":"Goal","id":"g","lifecycleStatus":"active","description":{"text":"own words"},"subject":{"reference":"Patient/p"}}`)
	l.put(plan("first"), store.Delivery{Partner: "hosp", Patient: "p", Type: "CarePlan", Resource: "plan"})
}

func plan(title string) string {
	return `{"resourceType":"CarePlan","id":"plan","status":"active","intent":"plan","title":"` + title + `","subject":{"reference":"Patient/p"},"goal":[{"reference":"Goal/g"}]}`
}

func (l *line) put(doc string, owed ...store.Delivery) {
	l.t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		l.t.Fatal(err)
	}
	segment := l.labels.Classify(r, label.Source{Organization: "otp", Part2: true, Covered: true}, nil)
	_, err = l.s.Apply(l.t.Context(), []store.Change{{Method: store.Update, MayCreate: true, Type: r.Type, ID: r.ID, Resource: r, Owner: "otp", Segment: segment}},
		func([]store.Written) (store.Commit, error) { return store.Commit{Deliveries: owed}, nil })
	if err != nil {
		l.t.Fatal(err)
	}
}

// steps works the outbox until nothing is due and returns how many rows were taken.
func (l *line) steps() int {
	l.t.Helper()
	for n := 0; ; n++ {
		worked, err := l.worker.Step(context.Background())
		if err != nil {
			l.t.Fatal(err)
		}
		if !worked {
			return n
		}
	}
}

func (l *line) states() string {
	l.t.Helper()
	states, err := l.s.Deliveries(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return fmt.Sprint(states)
}

func TestDelivered(t *testing.T) {
	l := newLine(t, true)
	l.steps()
	if l.states() != "map[delivered:1]" || len(l.ehr.received) != 1 {
		t.Fatalf("%s, %d received", l.states(), len(l.ehr.received))
	}
	doc := l.ehr.received[0]
	attachment := doc["content"].([]any)[0].(map[string]any)["attachment"].(map[string]any)
	body, err := base64.StdEncoding.DecodeString(attachment["data"].(string))
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"own words", release.StatementLong, "Consent/k version 1", "HIPAA_TPO_EXCEPT_PROCEEDINGS"} {
		if !strings.Contains(string(body), must) {
			t.Errorf("the attachment lacks %q", must)
		}
	}
	if !strings.Contains(fmt.Sprint(doc["description"]), release.StatementShort) {
		t.Error("the description lacks the short statement")
	}
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for name, resource := range map[string][]byte{"DocumentReference": whole, "attachment": body} {
		if _, err := parser.Parse(resource); err != nil {
			t.Errorf("%s is not R4: %v", name, err)
		}
	}
}

// TestDecidedAgain: consent at the time the plan was written does not count; that at send time does.
func TestDecidedAgain(t *testing.T) {
	l := newLine(t, true)
	l.put(strings.Replace(storetest.Consent("k", "p", "otp", ""), `"status":"active"`, `"status":"inactive"`, 1))
	l.steps()
	if l.states() != "map[withheld:1]" || l.ehr.posts != 0 {
		t.Errorf("after a revocation: %s, %d posts", l.states(), l.ehr.posts)
	}
	l = newLine(t, false)
	l.steps()
	if l.states() != "map[withheld:1]" || l.ehr.posts != 0 {
		t.Errorf("without consent: %s, %d posts", l.states(), l.ehr.posts)
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name     string
		answers  []int
		first    string // states after the first round
		final    string // after a day
		received int
		posts    int
	}{
		{"refused for good", []int{422}, "map[dead:1]", "map[dead:1]", 0, 1},
		{"busy, then taken", []int{503}, "map[waiting:1]", "map[delivered:1]", 1, 2},
		{"arrived, but the answer was lost: searched for, not sent twice", []int{0}, "map[waiting:1]", "map[delivered:1]", 1, 1},
		{"failed inside: searched for, then sent again", []int{500}, "map[waiting:1]", "map[delivered:1]", 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLine(t, true, c.answers...)
			l.steps()
			if l.states() != c.first {
				t.Errorf("first round: %s", l.states())
			}
			l.now = l.now.Add(24 * time.Hour)
			l.steps()
			if l.states() != c.final || len(l.ehr.received) != c.received || l.ehr.posts != c.posts {
				t.Errorf("in the end: %s, %d received in %d posts", l.states(), len(l.ehr.received), l.ehr.posts)
			}
		})
	}
}

// TestLane: what a partner is owed about a patient goes in order; an unfinished or dead row holds back
// the ones after it.
func TestLane(t *testing.T) {
	l := newLine(t, true, 422)
	l.put(plan("second"), store.Delivery{Partner: "hosp", Patient: "p", Type: "CarePlan", Resource: "plan"})
	if n := l.steps(); n != 1 || l.states() != "map[dead:1 waiting:1]" {
		t.Errorf("%d rows taken, %s", n, l.states())
	}
}

// TestPrivateAddress: a partner on a private network is refused unless the operator allows it.
func TestPrivateAddress(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if resp, err := NewClient(false).Get(server.URL); err == nil {
		t.Errorf("a loopback address answered %d", resp.StatusCode)
	}
}
