// Package exchange delivers to partners what was written for them. A delivery is a row made in the
// transaction of what caused it; this package takes rows lane by lane, asks the gate again at send time
// as if the partner read the record itself, and posts the released Bundle as a DocumentReference.
//
//	waiting -> sending -> delivered
//	                   -> withheld   (decided against at send time)
//	                   -> waiting    (known not to have arrived; tried again later)
//	                   -> waiting, unknown (may have arrived: searched for before it is sent again)
//	                   -> dead       (refused, or tried too often; an operator decides)
//
// What is owed to the subscriber of a Subscription stands in the same outbox, in a lane of its own, and goes another way
// (notify.go): decided by the search its client would make at that moment, numbered when it is sent, and told by id alone.
//
// It is entered through Worker.Run.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Outbox is what the worker asks of the store about deliveries.
type Outbox interface {
	ClaimDelivery(ctx context.Context, lease time.Duration) (store.Delivery, bool, error)
	FinishDelivery(ctx context.Context, d store.Delivery) error
	Now(ctx context.Context) (time.Time, error)
}

// Records is what the worker asks of the store to read as a partner would.
type Records interface {
	Organization(ctx context.Context, id string) (access.Organization, error)
	Filter(ctx context.Context, p access.Principal) (access.Filter, error)
	Search(ctx context.Context, f access.Filter, q *search.Query, after *store.Position) (store.Page, error)
	Include(ctx context.Context, f access.Filter, q *search.Query, matches []store.Row, readable func(typ string) bool) ([]store.Row, bool, error)
	Lookup(ctx context.Context, f access.Filter, typ, id string, version int64) (store.Target, error)
}

// Worker sends. All fields are required.
type Worker struct {
	Outbox   Outbox
	Records  Records
	Gate     *release.Gate
	Registry *search.Registry
	Base     string
	Partners map[string]*Partner // by Organization id
	Notifier *Notifier           // of what is owed to Subscriptions
	Logger   *slog.Logger
}

// Limits of delivery.
const (
	lease       = 2 * time.Minute
	maxAttempts = 12
	idle        = 500 * time.Millisecond
	maxBackoff  = 6 * time.Hour
)

// Run delivers until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	tick := time.NewTicker(idle)
	defer tick.Stop()
	for {
		worked, err := w.Step(ctx)
		if err != nil && ctx.Err() == nil {
			w.Logger.ErrorContext(ctx, "delivery failed", "error_type", err)
		}
		if worked && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Step takes one due delivery, or else one due heartbeat, to its next state. It reports whether there was one.
func (w *Worker) Step(ctx context.Context) (bool, error) {
	d, found, err := w.Outbox.ClaimDelivery(ctx, lease)
	if err != nil {
		return false, err
	}
	if !found {
		return w.Notifier.beat(ctx)
	}
	now, err := w.Outbox.Now(ctx)
	if err != nil {
		return true, err
	}
	if d.State == store.DeliverySending { // an earlier worker did not finish: its outcome is unknown
		d.Unknown = true
	}
	if d.Subscription != "" {
		return true, w.Notifier.notify(ctx, d, now)
	}
	w.attempt(ctx, &d, now)
	w.Logger.InfoContext(ctx, "delivery", "partner", d.Partner, "state", d.State, "attempt", d.Attempts, "code", d.Reason)
	return true, w.Outbox.FinishDelivery(ctx, d)
}

// attempt is send that survives it: a delivery that breaks the worker waits for an operator, and the
// other lanes go on.
func (w *Worker) attempt(ctx context.Context, d *store.Delivery, now time.Time) {
	defer func() {
		if p := recover(); p != nil {
			d.State, d.Reason = store.DeliveryDead, "BROKE_THE_WORKER"
		}
	}()
	w.send(ctx, d, now)
}

func (w *Worker) send(ctx context.Context, d *store.Delivery, now time.Time) {
	d.Attempts++
	partner := w.Partners[d.Partner]
	if partner == nil {
		d.State, d.Reason = store.DeliveryDead, "NO_ENDPOINT"
		return
	}
	if d.Unknown {
		location, err := partner.find(ctx, deliveryIdentifier(d.ID))
		if err != nil {
			w.later(d, now, "UNREACHABLE")
			return
		}
		if location != "" {
			d.State, d.Location, d.Unknown = store.DeliveryDelivered, location, false
			return
		}
		d.Unknown = false
	}
	released, err := w.released(ctx, d, partner)
	var denied *release.Denied
	switch {
	case errors.As(err, &denied):
		d.State, d.Reason = store.DeliveryWithheld, denied.Decision.Code
		return
	case err != nil:
		w.Logger.ErrorContext(ctx, "delivery could not be prepared", "partner", d.Partner, "error_type", err)
		w.later(d, now, "NOT_PREPARED")
		return
	}
	location, err := partner.post(ctx, document(d, released))
	var refused *Refused
	switch {
	case err == nil:
		d.State, d.Location, d.Reason = store.DeliveryDelivered, location, ""
	case errors.As(err, &refused) && !refused.Temporary:
		d.State, d.Reason = store.DeliveryDead, fmt.Sprintf("HTTP_%d", refused.Status)
	case errors.As(err, &refused):
		w.later(d, now, fmt.Sprintf("HTTP_%d", refused.Status))
	case errors.Is(err, errNotSent):
		w.later(d, now, "UNREACHABLE")
	default:
		d.Unknown = true
		w.later(d, now, "UNKNOWN_OUTCOME")
	}
}

// later puts a row back with exponential backoff, or gives it up to an operator.
func (w *Worker) later(d *store.Delivery, now time.Time, reason string) {
	d.Reason = reason
	if d.Attempts >= maxAttempts {
		d.State = store.DeliveryDead
		return
	}
	d.State, d.NextAt = store.DeliveryWaiting, now.Add(backoff(d.Attempts))
}

// backoff is how long to wait after so many attempts.
func backoff(attempts int) time.Duration { return min(time.Second<<attempts, maxBackoff) }

// released reads the record and what belongs to it as the partner would, for treatment, at this moment.
func (w *Worker) released(ctx context.Context, d *store.Delivery, partner *Partner) (*release.Released, error) {
	org, err := w.Records.Organization(ctx, d.Partner)
	if err != nil {
		return nil, err
	}
	principal := access.Principal{Client: "delivery", Organization: org, Purpose: partner.Purpose}
	filter, err := w.Records.Filter(ctx, principal)
	if err != nil {
		return nil, err
	}
	req := release.Request{Principal: principal, Filter: filter, Interaction: "delivery", RequestID: uuid.NewString()}
	query := url.Values{"_id": {d.Resource}}
	for _, p := range w.Registry.Parameters(d.Type) {
		if p.Kind == search.KindReference && p.Code != "patient" {
			query.Add("_include", d.Type+":"+p.Code)
		}
	}
	q, err := w.Registry.Parse(d.Type, query, w.Base)
	if err != nil {
		return nil, err
	}
	page, err := w.Records.Search(ctx, req.Filter, q, nil)
	if err != nil {
		return nil, err
	}
	if len(page.Rows) == 0 {
		target, err := w.Records.Lookup(ctx, req.Filter, d.Type, d.Resource, 0)
		if err != nil {
			return nil, err
		}
		target.Visible = false
		_, err = w.Gate.Resource(ctx, req, target)
		return nil, err
	}
	included, _, err := w.Records.Include(ctx, req.Filter, q, page.Rows, nil)
	if err != nil {
		return nil, err
	}
	return w.Gate.Bundle(ctx, req, release.Set{Type: "collection", Rows: append(page.Rows, included...)})
}
