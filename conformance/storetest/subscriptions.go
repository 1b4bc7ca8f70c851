package storetest

import (
	"errors"
	"testing"
	"time"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// subscribe puts a Subscription to Conditions on file and takes the row of its handshake to its end.
func (b *bench) subscribe(id string) {
	b.t.Helper()
	sub := store.Subscription{ID: id, Type: "Condition", Client: "c", State: store.SubscriptionRequested, Organization: "own", Purpose: "TREAT", Version: 1, Limit: 2, Heartbeat: time.Hour}
	if err := b.keep(sub, 1); err != nil {
		b.t.Fatal(err)
	}
	row := b.claim()
	b.finish(store.Notified{Row: row, Sub: b.subscription(id, store.SubscriptionActive), Sent: true})
}

// keep writes a Subscription's resource with what is served of it.
func (b *bench) keep(sub store.Subscription, edit int) error {
	r := b.resource(`{"resourceType":"Subscription","id":"` + sub.ID + `","status":"requested","reason":"` + string(rune('a'+edit)) + `"}`)
	_, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Update, Type: r.Type, ID: r.ID, Resource: r, Owner: "own", MayCreate: true, Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)}},
		func(w []store.Written) (store.Commit, error) {
			sub.Version = w[0].Version
			return store.Commit{Subscriptions: []store.Subscription{sub}}, nil
		})
	return err
}

// claim takes the next row; the zero Delivery when there is none.
func (b *bench) claim() store.Delivery {
	b.t.Helper()
	d, _, err := b.s.ClaimDelivery(b.ctx, time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	d.State = ""
	return d
}

func (b *bench) subscription(id, state string) store.Subscription {
	b.t.Helper()
	sub, err := b.s.Subscription(b.ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	sub.State = state
	return sub
}

func (b *bench) finish(n store.Notified) {
	b.t.Helper()
	if err := b.settle(n); err != nil {
		b.t.Fatal(err)
	}
	b.check()
}

func (b *bench) settle(n store.Notified) error {
	status := func(r *fhir.Resource) (*fhir.Resource, error) {
		return fhir.ReadTrusted([]byte(`{"resourceType":"Subscription","id":"` + r.ID + `","status":"` + n.Sub.State + `"}`))
	}
	leaf := func(w store.Written) (audit.Leaf, error) {
		return audit.NewLeaf(audit.Event{Kind: audit.Write, At: w.Updated})
	}
	return b.s.FinishNotification(b.ctx, n, status, leaf)
}

// testSubscriptions: what is owed to a subscriber is written with the record or not at all, stands in one lane in order, and
// has no number before it is told.
func testSubscriptions(t *testing.T, open Open) {
	now := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
	b := newBench(t, open, func() time.Time { return now })
	condition := func(id, text string) string {
		return `{"resourceType":"Condition","id":"` + id + `","subject":{"reference":"Patient/p"},"code":{"text":"` + text + `"}}`
	}
	b.put("own", false, condition("before", "x"))
	b.subscribe("s")
	if sub := b.subscription("s", ""); sub.Version != 2 || sub.Events != 0 {
		t.Errorf("after the handshake: %+v", sub)
	}

	failed := errors.New("no")
	r := b.resource(condition("c", "x"))
	if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Update, Type: r.Type, ID: r.ID, Resource: r, Owner: "own", MayCreate: true, Segment: b.cl.Classify(r, label.Source{Organization: "own", Covered: true}, nil)}},
		func([]store.Written) (store.Commit, error) { return store.Commit{}, failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if d := b.claim(); d.ID != 0 {
		t.Errorf("a write that failed owes %+v", d)
	}

	b.put("own", false, condition("c1", "x"))
	b.put("own", false, condition("c1", "x")) // the same again is no event
	b.put("other", true, condition("c2", "x"))
	b.put("own", false, `{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"},"code":{"text":"x"}}`)
	first := b.claim()
	if first.Subscription != "s" || first.Resource != "c1" {
		t.Errorf("first: %+v", first)
	}
	if d := b.claim(); d.ID != 0 {
		t.Errorf("the lane has two rows out: %+v", d)
	}
	first.State, first.NextAt = store.DeliveryWaiting, now.Add(time.Minute)
	b.finish(store.Notified{Row: first, Sub: b.subscription("s", store.SubscriptionActive)})
	if d := b.claim(); d.ID != 0 {
		t.Errorf("claimed before it is due: %+v", d)
	}
	now = now.Add(time.Minute)
	first = b.claim()
	b.finish(store.Notified{Row: first, Sub: b.subscription("s", store.SubscriptionActive)}) // not told
	second := b.claim()
	b.finish(store.Notified{Row: second, Sub: b.subscription("s", store.SubscriptionActive), Told: true, Sent: true})
	if err := b.settle(store.Notified{Row: second, Sub: b.subscription("s", store.SubscriptionActive), Told: true}); err == nil {
		t.Error("a row is ended twice")
	}
	events, err := b.s.SubscriptionEvents(b.ctx, "s", 1, 10)
	if err != nil || len(events) != 1 || events[0] != (store.SubscriptionEvent{Number: 1, Type: "Condition", ID: "c2"}) {
		t.Errorf("%+v %v", events, err)
	}
	b.beats(&now)
	b.unsubscribed()
}

// beats: a heartbeat is claimed once in its period.
func (b *bench) beats(now *time.Time) {
	b.t.Helper()
	for i, want := range []bool{false, true, false} {
		if i == 1 {
			*now = now.Add(time.Hour)
		}
		if _, found, err := b.s.ClaimHeartbeat(b.ctx); err != nil || found != want {
			b.t.Errorf("heartbeat %d: %v %v", i, found, err)
		}
	}
}

// unsubscribed: a state settled for an earlier version of a Subscription does not hold for a later one, a client has so many
// and no more, and with a Subscription goes its lane.
func (b *bench) unsubscribed() {
	b.t.Helper()
	stale := b.subscription("s", store.SubscriptionError)
	b.put("own", false, `{"resourceType":"Condition","id":"c3","subject":{"reference":"Patient/p"}}`)
	row := b.claim()
	if err := b.keep(b.subscription("s", store.SubscriptionRequested), 2); err != nil {
		b.t.Fatal(err)
	}
	b.finish(store.Notified{Row: row, Sub: stale, Told: true})
	if sub, err := b.s.Subscription(b.ctx, "s"); err != nil || sub.State != store.SubscriptionRequested || sub.Events != 2 {
		b.t.Errorf("%+v %v", sub, err)
	}
	another := func(id string) error {
		return b.keep(store.Subscription{ID: id, Type: "Condition", Client: "c", State: store.SubscriptionOff, Organization: "own", Limit: 2}, 1)
	}
	if err := another("s2"); err != nil {
		b.t.Error(err)
	}
	if err := another("s3"); !errors.Is(err, store.ErrSubscriptions) {
		b.t.Errorf("one too many: %v", err)
	}
	b.put("own", false, `{"resourceType":"Condition","id":"c4","subject":{"reference":"Patient/p"}}`)
	if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: "Subscription", ID: "s", Owner: "own"}}, nil); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.s.Subscription(b.ctx, "s"); !errors.Is(err, store.ErrNotFound) {
		b.t.Errorf("after its deletion: %v", err)
	}
	if d := b.claim(); d.ID != 0 {
		b.t.Errorf("after its deletion: %+v", d)
	}
}
