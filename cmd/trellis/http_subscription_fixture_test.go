package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"trellis/gateway/audit"
)

// receiver is a subscriber's endpoint on loopback. answers is what the next requests get, in order; then 200.
type receiver struct {
	in      *installation
	server  *httptest.Server
	mu      sync.Mutex
	answers []int
	got     []notification
}

// notification is what arrived at a receiver.
type notification struct {
	text   string // as decisions.Expect.Notified has it
	body   []byte
	header http.Header
	logged bool // when it arrived, the audit log had its digest
}

// newReceiver starts a receiver, which at the end of the test has to have been sent nothing that was not logged before.
func (in *installation) newReceiver() *receiver {
	in.t.Helper()
	r := &receiver{in: in}
	r.server = httptest.NewServer(r)
	in.t.Cleanup(func() {
		r.server.Close()
		for _, n := range r.take() {
			in.t.Errorf("nobody expected the notification %q", n.text)
		}
	})
	return r
}

func (r *receiver) url() string { return r.server.URL + "/hook" }

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n := notification{text: notificationText(body), body: body, header: req.Header, logged: r.logged(body)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, n)
	answer := http.StatusOK
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	w.WriteHeader(answer)
}

// logged reports whether the audit log names these bytes by now.
func (r *receiver) logged(body []byte) bool {
	ctx := context.Background()
	snap, err := r.in.gateway.store.Audit().Snapshot(ctx)
	if err != nil {
		return false
	}
	found := false
	look := func(l audit.Leaf, err error) {
		found = found || err == nil && strings.Contains(string(l.Event), audit.Digest(body))
	}
	for l, err := range snap.Leaves(ctx) {
		look(l.Leaf, err)
	}
	for l, err := range snap.Unnumbered(ctx) {
		look(l, err)
	}
	return snap.Close() == nil && found
}

// take is what arrived since the last time. Each of it was logged before, and was for this subscriber.
func (r *receiver) take() []notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.got
	r.got = nil
	for _, n := range out {
		if !n.logged {
			r.in.t.Errorf("%s arrived before it was in the audit log", n.text)
		}
	}
	return out
}

// texts is take, as decisions.Expect.Notified has it.
func (r *receiver) texts() []string {
	out := []string{}
	for _, n := range r.take() {
		out = append(out, n.text)
	}
	return out
}

// statusParameters is a backport-subscription-status-r4 as far as tests look at it.
type statusParameters struct {
	Parameter []struct {
		Name           string
		ValueCode      string
		ValueString    string
		ValueReference struct{ Reference string }
		Part           []struct {
			Name           string
			ValueString    string
			ValueReference struct{ Reference string }
		}
	}
}

// notificationText reads a notification Bundle. What is no such Bundle is no text of a notification either.
func notificationText(body []byte) string {
	var b struct {
		Type  string
		Entry []struct {
			Resource statusParameters
			Request  struct{ Method, URL string }
		}
	}
	if err := json.Unmarshal(body, &b); err != nil || b.Type != "history" || len(b.Entry) == 0 || !strings.HasSuffix(b.Entry[0].Request.URL, "/$status") {
		return "no notification: " + string(body)
	}
	kind, count, events := "", "", ""
	for _, p := range b.Entry[0].Resource.Parameter {
		switch p.Name {
		case "type":
			kind = strings.TrimSuffix(p.ValueCode, "-notification")
		case "events-since-subscription-start":
			count = p.ValueString
		case "notification-event":
			for _, part := range p.Part {
				if part.Name == "event-number" && part.ValueString != count {
					return "an event with another number than the count: " + string(body)
				}
				if part.Name == "focus" {
					list := strings.Split(part.ValueReference.Reference, "/")
					events += " " + strings.Join(list[max(0, len(list)-2):], "/")
				}
			}
		}
	}
	return kind + " " + count + events
}

// fresh is a place of the same kind with nothing in it.
func (l location) fresh(t *testing.T) location {
	t.Helper()
	out := location{data: t.TempDir()}
	if l.postgres != "" {
		out.postgres = database(t)
	}
	return out
}

// deliver sends what is owed by now, each thing at an instant of its own.
func (in *installation) deliver() {
	in.t.Helper()
	for worked := true; worked; {
		in.clock.advance(time.Millisecond)
		var err error
		if worked, err = in.gateway.worker.Step(in.t.Context()); err != nil {
			in.t.Fatal(err)
		}
	}
}

// subscriptionJSON is a Subscription to P1's diagnoses; edit changes it.
func subscriptionJSON(t testing.TB, endpoint string, edit func(sub, channel map[string]any)) []byte {
	t.Helper()
	const guide = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
	channel := map[string]any{"type": "rest-hook", "endpoint": endpoint, "header": []string{"Authorization: Bearer " + subscriberSecret}, "payload": "application/fhir+json",
		"_payload": map[string]any{"extension": []any{map[string]any{"url": guide + "backport-payload-content", "valueCode": "id-only"}}}}
	sub := map[string]any{"resourceType": "Subscription", "status": "requested", "reason": "news", "criteria": "Condition?patient=Patient/P1", "channel": channel}
	if edit != nil {
		edit(sub, channel)
	}
	out, err := json.Marshal(sub)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// subscriberSecret is what a subscriber knows its notifications by. It goes to it and its own client, and nowhere else.
const subscriberSecret = "zqcanary-subscriber-secret"
