package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"trellis/fhir"
	"trellis/gateway/audit"
)

// The states of a Subscription, as FHIR calls them.
const (
	SubscriptionRequested = "requested" // waits for its handshake
	SubscriptionActive    = "active"
	SubscriptionError     = "error" // its endpoint failed too often: events are counted, and nothing is sent
	SubscriptionOff       = "off"
)

// maxSubscriptionEvents is how many events of a Subscription are kept to be asked for again.
const maxSubscriptionEvents = 1000

// ErrSubscriptions is returned when a client has as many Subscriptions as it may.
var ErrSubscriptions = errors.New("store: the client has too many subscriptions")

// Subscription is a Subscription as it is served: for whom, what about, and where to.
type Subscription struct {
	ID     string `json:"-"`
	Type   string `json:"-"` // of the records it is about
	Client string `json:"-"`
	State  string `json:"-"`
	Events int64  `json:"-"` // how many its subscriber was told of, or would have been

	Organization string            `json:"organization"`
	Purpose      string            `json:"purpose"`
	Version      int64             `json:"version"`  // of the resource
	Criteria     string            `json:"criteria"` // query, without the type
	Endpoint     string            `json:"endpoint"`
	Header       map[string]string `json:"header,omitempty"` // secrets of the subscriber's: for requests to it alone
	Bare         bool              `json:"bare,omitempty"`   // payload "empty"
	Timeout      time.Duration     `json:"timeout,omitempty"`
	Heartbeat    time.Duration     `json:"heartbeat,omitempty"` // period; 0 for none
	End          time.Time         `json:"end,omitzero"`        // when it is off by itself; zero for never
	Fault        string            `json:"fault,omitempty"`     // why it is in error, as a code
	Limit        int               `json:"-"`                   // how many the client may have; asked when it is new
}

// SubscriptionEvent is one event a subscriber was told of, or would have been.
type SubscriptionEvent struct {
	Number   int64
	Type, ID string
}

// lane is where what is owed to a Subscription stands in line. Ids of organisations have no slash.
func lane(id string) string { return "Subscription/" + id }

const subscriptionColumns = "id,type,client,state,events,body"

func scanSubscription(r Rows) (sub Subscription, err error) {
	var body string
	if err := r.Scan(&sub.ID, &sub.Type, &sub.Client, &sub.State, &sub.Events, &body); err != nil {
		return sub, err
	}
	err = json.Unmarshal([]byte(body), &sub)
	return sub, err
}

// Subscription is one as it is served now; ErrNotFound when there is none.
func (s *Store) Subscription(ctx context.Context, id string) (sub Subscription, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		sub, err = subscription(ctx, tx, "id=?", id)
		return err
	})
	return sub, err
}

func subscription(ctx context.Context, tx Tx, where string, args ...any) (sub Subscription, err error) {
	found := false
	err = each(ctx, tx, "SELECT "+subscriptionColumns+" FROM subscription WHERE part=0 AND "+where, args, func(r Rows) error {
		found = true
		sub, err = scanSubscription(r)
		return err
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	return sub, err
}

// SubscriptionEvents are the events from one number to another, both included, of those that are kept.
func (s *Store) SubscriptionEvents(ctx context.Context, id string, from, to int64) (out []SubscriptionEvent, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		out = nil
		return each(ctx, tx, "SELECT no,type,id FROM subscription_event WHERE part=0 AND sub=? AND no>=? AND no<=? ORDER BY no", []any{id, from, to}, func(r Rows) error {
			var e SubscriptionEvent
			err := r.Scan(&e.Number, &e.Type, &e.ID)
			out = append(out, e)
			return err
		})
	})
	return out, err
}

// subscribe keeps Subscriptions as they were written, and owes those that ask to be served a handshake. The count of events
// goes on from before.
func (w *writer) subscribe(list []Subscription) error {
	for _, sub := range list {
		before, err := subscription(w.ctx, w.tx, "id=?", sub.ID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if errors.Is(err, ErrNotFound) {
			if err := w.mayHaveAnother(sub); err != nil {
				return err
			}
		}
		sub.Events = before.Events
		if err := w.saveSubscription(sub, forever); err != nil {
			return err
		}
		if sub.State != SubscriptionRequested {
			continue
		}
		if err := w.owe(Delivery{Subscription: sub.ID}); err != nil {
			return err
		}
		// What failed before is tried again at once: the endpoint may be another one now.
		if err := w.tx.Queue(w.ctx, "UPDATE delivery SET next_at=? WHERE part=0 AND partner=? AND pat=0 AND state='waiting'", w.now, lane(sub.ID)); err != nil {
			return err
		}
	}
	return nil
}

// mayHaveAnother counts a client's Subscriptions. Its row is locked, so that two requests at once cannot both be the last
// one allowed.
func (w *writer) mayHaveAnother(sub Subscription) error {
	if _, err := w.tx.Exec(w.ctx, "UPDATE client SET id=id WHERE id=?", sub.Client); err != nil {
		return err
	}
	var n int64
	if _, err := one(w.ctx, w.tx, "SELECT COUNT(*) FROM subscription WHERE part=0 AND client=?", []any{sub.Client}, &n); err != nil {
		return err
	}
	if n >= int64(sub.Limit) {
		return ErrSubscriptions
	}
	return nil
}

func (w *writer) saveSubscription(sub Subscription, beat int64) error {
	body, err := json.Marshal(sub)
	if err != nil {
		return err
	}
	return w.tx.Queue(w.ctx, `INSERT INTO subscription (part,id,type,client,state,events,beat,body) VALUES (0,?,?,?,?,?,?,?) ON CONFLICT (part,id) DO UPDATE
		SET type=excluded.type,client=excluded.client,state=excluded.state,events=excluded.events,beat=excluded.beat,body=excluded.body`,
		sub.ID, sub.Type, sub.Client, sub.State, sub.Events, beat, string(body))
}

// oweSubscribers owes every Subscription about the types of what was written a notification of it, and ends those that were
// deleted. Whether a subscriber is told, and by which number, is decided when it is sent: here nobody's view is asked.
func (w *writer) oweSubscribers(written []Written) error {
	var types Strings
	for _, r := range written {
		switch {
		case r.Unchanged:
		case r.Deleted && r.Type == "Subscription":
			if err := w.unsubscribe(r.ID); err != nil {
				return err
			}
		case !r.Deleted && !slices.Contains(types, r.Type):
			types = append(types, r.Type)
		}
	}
	if len(types) == 0 {
		return nil
	}
	var b statement
	b.add("SELECT type,id FROM subscription WHERE part=0 AND ")
	b.inTexts(w.s.dialect, "type", types)
	b.add(" AND state<>'off' ORDER BY id")
	served := map[string][]string{}
	err := each(w.ctx, w.tx, b.String(), b.args, func(r Rows) error {
		var typ, id string
		err := r.Scan(&typ, &id)
		served[typ] = append(served[typ], id)
		return err
	})
	if err != nil || len(served) == 0 {
		return err
	}
	for _, r := range written {
		if r.Unchanged || r.Deleted {
			continue
		}
		for _, id := range served[r.Type] {
			if err := w.owe(Delivery{Subscription: id, Type: r.Type, Resource: r.ID}); err != nil {
				return err
			}
		}
	}
	return nil
}

// unsubscribe forgets a Subscription, and what is owed to it.
func (w *writer) unsubscribe(id string) error {
	for sql, arg := range map[string]string{"DELETE FROM subscription WHERE part=0 AND id=?": id, "DELETE FROM subscription_event WHERE part=0 AND sub=?": id, "DELETE FROM delivery WHERE part=0 AND partner=? AND pat=0": lane(id)} {
		if err := w.tx.Queue(w.ctx, sql, arg); err != nil {
			return err
		}
	}
	return nil
}

// Notified is what became of a row of a Subscription's lane.
type Notified struct {
	Row  Delivery     // waiting again, or else at its end and forgotten
	Sub  Subscription // as it was read for the attempt; State and Fault as they are to be
	Told bool         // the event has the next number: the subscriber was told, or would have been
	Sent bool         // something arrived: the next heartbeat is a period away
}

// FinishNotification records in one transaction what became of a row: its end or its next attempt, the number of its event,
// and the state of the Subscription. A state that changes makes a version of the resource, by restate and with the leaf
// leaf makes for it; where the resource was written anew meanwhile its state stays.
func (s *Store) FinishNotification(ctx context.Context, n Notified, restate func(*fhir.Resource) (*fhir.Resource, error), leaf func(Written) (audit.Leaf, error)) error {
	var err error
	for range maxConflicts {
		err = s.write(ctx, func(w *writer) error { return w.notified(n, restate, leaf) })
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return err
}

func (w *writer) notified(n Notified, restate func(*fhir.Resource) (*fhir.Resource, error), leaf func(Written) (audit.Leaf, error)) error {
	h, err := w.head(fhir.Reference{Type: "Subscription", ID: n.Sub.ID}) // locked: whoever writes the resource waits, or has been
	if err != nil {
		return err
	}
	now, err := subscription(w.ctx, w.tx, "id=?", n.Sub.ID)
	if errors.Is(err, ErrNotFound) { // deleted meanwhile, with its lane
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.endRow(n.Row); err != nil {
		return err
	}
	if now.State != n.Sub.State && now.Version == n.Sub.Version {
		if now.Version, err = w.restate(*h, n, restate, leaf); err != nil {
			return err
		}
		now.State, now.Fault = n.Sub.State, n.Sub.Fault
	}
	return w.count(now, n)
}

// endRow puts a row back, or takes it away.
func (w *writer) endRow(d Delivery) error {
	sql, args := "DELETE FROM delivery WHERE part=0 AND did=? AND state='sending'", []any{d.ID}
	if d.State == DeliveryWaiting {
		body, err := json.Marshal(d)
		if err != nil {
			return err
		}
		sql, args = "UPDATE delivery SET state='waiting',next_at=?,body=? WHERE part=0 AND did=? AND state='sending'", []any{d.NextAt.UnixMicro(), string(body), d.ID}
	}
	n, err := w.tx.Exec(w.ctx, sql, args...)
	if err == nil && n != 1 {
		err = errDelivery
	}
	if err != nil || d.State != DeliveryWaiting {
		return err
	}
	// What waits behind it is not due before it, so that claims need not look at it.
	return w.tx.Queue(w.ctx, "UPDATE delivery SET next_at=? WHERE part=0 AND partner=? AND pat=0 AND state='waiting' AND next_at<?", d.NextAt.UnixMicro(), lane(d.Subscription), d.NextAt.UnixMicro())
}

// restate makes a version of a Subscription with another status. Its labels stand.
func (w *writer) restate(h head, n Notified, change func(*fhir.Resource) (*fhir.Resource, error), leaf func(Written) (audit.Leaf, error)) (version int64, err error) {
	sealed, err := w.stored(h)
	if err != nil {
		return 0, err
	}
	res, err := fhir.ReadTrusted(sealed.Doc)
	if err != nil {
		return 0, err
	}
	if res, err = change(res); err != nil {
		return 0, err
	}
	segment, err := w.segment(h.seg)
	if err != nil {
		return 0, err
	}
	c := Change{Method: Update, Type: "Subscription", ID: n.Sub.ID, Resource: res, Segment: segment, Owner: segment.Custodian, IfMatch: n.Sub.Version, LabelsStand: true}
	_, err = w.apply([]Change{c}, func(written []Written) (Commit, error) {
		version = written[0].Version
		l, err := leaf(written[0])
		return Commit{Leaves: []audit.Leaf{l}}, err
	})
	return version, err
}

// count gives the event its number, and moves the next heartbeat. What the subscriber is not told of changes neither.
func (w *writer) count(sub Subscription, n Notified) error {
	if n.Told {
		sub.Events++
		if err := w.tx.Queue(w.ctx, "INSERT INTO subscription_event (part,sub,no,type,id) VALUES (0,?,?,?,?)", sub.ID, sub.Events, n.Row.Type, n.Row.Resource); err != nil {
			return err
		}
		if err := w.tx.Queue(w.ctx, "DELETE FROM subscription_event WHERE part=0 AND sub=? AND no<=?", sub.ID, sub.Events-maxSubscriptionEvents); err != nil {
			return err
		}
	}
	beat := int64(forever)
	if sub.State == SubscriptionActive {
		beat = nextBeat(sub, w.now)
	}
	if !n.Sent && sub.State == SubscriptionActive { // as it was
		if _, err := one(w.ctx, w.tx, "SELECT beat FROM subscription WHERE part=0 AND id=?", []any{sub.ID}, &beat); err != nil {
			return err
		}
	}
	return w.saveSubscription(sub, beat)
}

// nextBeat is when a Subscription's heartbeat is due, or its end when that comes first.
func nextBeat(sub Subscription, now int64) int64 {
	beat := int64(forever)
	if sub.Heartbeat > 0 {
		beat = now + sub.Heartbeat.Microseconds()
	}
	if !sub.End.IsZero() {
		beat = min(beat, max(sub.End.UnixMicro(), now+1))
	}
	return beat
}

// ClaimHeartbeat takes an active Subscription whose heartbeat is due, and puts the next one a period away. One whose end is
// reached comes back off, and has a row in its lane that makes it so.
func (s *Store) ClaimHeartbeat(ctx context.Context) (sub Subscription, found bool, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return sub, false, err
	}
	const due = "state='active' AND beat<=?"
	err = s.engine.Read(ctx, func(tx Tx) error { // an idle worker writes nothing
		var n int64
		found, err = one(ctx, tx, "SELECT 1 FROM subscription WHERE part=0 AND "+due+" LIMIT 1", []any{now}, &n)
		return err
	})
	if err != nil || !found {
		return sub, false, err
	}
	err = s.write(ctx, func(w *writer) error {
		found = false
		sub, err = subscription(ctx, w.tx, due+" ORDER BY beat,id LIMIT 1", now)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		beat := nextBeat(sub, now)
		if !sub.End.IsZero() && now >= sub.End.UnixMicro() {
			sub.State, beat = SubscriptionOff, forever
		}
		n, err := w.tx.Exec(ctx, "UPDATE subscription SET beat=? WHERE part=0 AND id=? AND "+due, beat, sub.ID, now)
		found = n == 1
		if err == nil && found && sub.State == SubscriptionOff {
			err = w.owe(Delivery{Subscription: sub.ID})
		}
		return err
	})
	return sub, found, err
}
