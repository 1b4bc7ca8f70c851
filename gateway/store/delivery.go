package store

import (
	"context"
	"encoding/json"
	"time"

	"trellis/fhir"
)

// The states of a delivery. Waiting and sending rows are work; the others are ends.
const (
	DeliveryWaiting   = "waiting"
	DeliverySending   = "sending" // a worker took it; after its lease the outcome is unknown
	DeliveryDelivered = "delivered"
	DeliveryWithheld  = "withheld" // decided against at send time
	DeliveryDead      = "dead"     // blocks its lane until an operator decides
)

// Delivery is one thing owed to a partner, or to the subscriber of a Subscription. It is written in the transaction of what
// caused it.
type Delivery struct {
	ID       int64     `json:"-"`
	Partner  string    `json:"partner,omitempty"` // Organization id
	Patient  string    `json:"patient,omitempty"`
	Type     string    `json:"type,omitempty"`
	Resource string    `json:"resource,omitempty"` // resource id
	State    string    `json:"-"`
	NextAt   time.Time `json:"-"`
	Attempts int       `json:"attempts"`
	Location string    `json:"location,omitempty"` // where the partner put it
	Reason   string    `json:"reason,omitempty"`   // why it ended, as a code
	Unknown  bool      `json:"unknown,omitempty"`  // an attempt may have arrived

	// Subscription is the id of one whose subscriber is owed a notification, of a record or, without any, the handshake. Such
	// a row has neither partner nor patient: a Subscription is a lane.
	Subscription string `json:"subscription,omitempty"`
}

func (w *writer) insertDeliveries(list []Delivery) error {
	for _, d := range list {
		if err := w.owe(d); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) owe(d Delivery) error {
	line, pat := d.Partner, int64(0)
	if d.Subscription != "" {
		line = lane(d.Subscription)
	} else {
		var err error
		if pat, err = w.key(fhir.Reference{Type: "Patient", ID: d.Patient}); err != nil {
			return err
		}
	}
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return w.tx.Queue(w.ctx, "INSERT INTO delivery (part,did,partner,pat,state,next_at,body) VALUES (0,?,?,?,?,?,?)",
		w.s.ids.next(), line, pat, DeliveryWaiting, w.now, string(body))
}

// ClaimDelivery takes the oldest due row whose lane (partner and patient, or Subscription) has nothing unfinished before
// it. The row is the caller's until lease; a row whose lease ran out is claimed again with its state
// still "sending", which tells the caller that an earlier outcome is unknown.
func (s *Store) ClaimDelivery(ctx context.Context, lease time.Duration) (d Delivery, found bool, err error) {
	err = s.write(ctx, func(w *writer) error {
		sql := `SELECT d.did,d.state,d.body FROM delivery d WHERE d.part=0 AND d.state IN ('waiting','sending') AND d.next_at<=?
			AND NOT EXISTS (SELECT 1 FROM delivery e WHERE e.part=0 AND e.partner=d.partner AND e.pat=d.pat AND e.did<d.did AND e.state IN ('waiting','sending','dead'))
			ORDER BY d.did LIMIT 1`
		if s.dialect.Name == "postgres" {
			sql += " FOR UPDATE OF d SKIP LOCKED"
		}
		var body string
		found, err = one(ctx, w.tx, sql, []any{w.now}, &d.ID, &d.State, &body)
		if err != nil || !found {
			return err
		}
		if err := json.Unmarshal([]byte(body), &d); err != nil { // State and ID are columns, not in it
			return err
		}
		_, err = w.tx.Exec(ctx, "UPDATE delivery SET state='sending',next_at=? WHERE part=0 AND did=?", w.now+lease.Microseconds(), d.ID)
		return err
	})
	return d, found, err
}

// FinishDelivery records an attempt's outcome: a state, and for a waiting row when to try again.
func (s *Store) FinishDelivery(ctx context.Context, d Delivery) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.engine.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(ctx, "UPDATE delivery SET state=?,next_at=?,body=? WHERE part=0 AND did=? AND state='sending'", d.State, d.NextAt.UnixMicro(), string(body), d.ID)
		if err == nil && n != 1 {
			return errDelivery
		}
		return err
	})
}

// Deliveries counts rows by state.
func (s *Store) Deliveries(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	err := s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT state,COUNT(*) FROM delivery GROUP BY state", nil, func(r Rows) error {
			var state string
			var n int64
			err := r.Scan(&state, &n)
			out[state] = n
			return err
		})
	})
	return out, err
}
