package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/audit"
	"trellis/gateway/release"
	"trellis/gateway/store"
	"trellis/gateway/subscription"
)

// Subscriptions is what notifications ask of the store about Subscriptions and who has them.
type Subscriptions interface {
	Subscription(ctx context.Context, id string) (store.Subscription, error)
	ClaimHeartbeat(ctx context.Context) (store.Subscription, bool, error)
	FinishNotification(ctx context.Context, n store.Notified, restate func(*fhir.Resource) (*fhir.Resource, error), leaf func(store.Written) (audit.Leaf, error)) error
	ClientRecord(ctx context.Context, id string) (store.ClientRecord, error)
}

// Notifier tells subscribers. What a row of a Subscription's lane is about is decided when it is sent, by the search its
// client would make at that moment; what that does not find is not told, and has no number. All fields are required.
type Notifier struct {
	Subscriptions Subscriptions
	Records       Records
	Gate          *release.Gate
	Rules         subscription.Rules
	HTTP          *http.Client // checks addresses, see NewClient
	Logger        *slog.Logger
}

// handshakes is how often a handshake is tried before its Subscription is in error.
const handshakes = 3

// errUnknowable is that a subscriber may be told nothing at all: its client lost what the Subscription rests on.
var errUnknowable = errors.New("exchange: the subscription's client may not ask this any more")

// notify takes a row of a Subscription's lane a step further.
func (n *Notifier) notify(ctx context.Context, d store.Delivery, now time.Time) error {
	sub, err := n.Subscriptions.Subscription(ctx, d.Subscription)
	if errors.Is(err, store.ErrNotFound) {
		return nil // its lane went with it
	}
	if err != nil {
		return err
	}
	d.Attempts++
	out := store.Notified{Row: d, Sub: sub}
	out.Row.State = ""
	n.attempt(ctx, &out, now)
	n.Logger.InfoContext(ctx, "notification", "client", sub.Client, "state", out.Sub.State, "attempt", d.Attempts, "code", out.Row.Reason)
	return n.finish(ctx, out, now)
}

// attempt is step that survives it: a row that breaks the worker holds its lane up, and no other.
func (n *Notifier) attempt(ctx context.Context, out *store.Notified, now time.Time) {
	before := *out
	defer func() {
		if p := recover(); p != nil {
			*out = before
			out.Row.State, out.Row.NextAt, out.Row.Reason = store.DeliveryWaiting, now.Add(maxBackoff), "BROKE_THE_WORKER"
		}
	}()
	n.step(ctx, out, now)
}

// step decides what becomes of a row: at its end when its state is "", or waiting for another attempt.
func (n *Notifier) step(ctx context.Context, out *store.Notified, now time.Time) {
	switch {
	case out.Sub.State == store.SubscriptionOff:
	case !out.Sub.End.IsZero() && !now.Before(out.Sub.End):
		out.Sub.State = store.SubscriptionOff
	case out.Sub.State == store.SubscriptionRequested:
		n.handshake(ctx, out, now)
	case out.Row.Resource == "": // a handshake that was done with an earlier row
	default:
		n.event(ctx, out, now)
	}
}

// handshake asks an endpoint whether it takes notifications. A row about a record waits behind it.
func (n *Notifier) handshake(ctx context.Context, out *store.Notified, now time.Time) {
	req, _, err := n.request(ctx, out.Sub, "")
	if errors.Is(err, errUnknowable) {
		return
	}
	if err == nil {
		var released *release.Released
		if released, err = n.status(ctx, req, out.Sub, subscription.Handshake); err == nil {
			err = n.post(ctx, out.Sub, released)
		}
	}
	if err != nil {
		n.again(ctx, out, now, err, handshakes)
	} else {
		out.Sub.State, out.Sub.Fault, out.Sent = store.SubscriptionActive, "", true
	}
	if out.Row.Resource != "" && out.Row.State == "" {
		out.Row.State, out.Row.NextAt, out.Row.Attempts, out.Row.Reason = store.DeliveryWaiting, now, 0, ""
	}
}

// event decides about one record, and tells of it when it may.
func (n *Notifier) event(ctx context.Context, out *store.Notified, now time.Time) {
	number := out.Sub.Events + 1
	req, row, err := n.find(ctx, out.Sub, out.Row)
	switch {
	case errors.Is(err, errUnknowable), err == nil && row == nil:
		// Where an earlier attempt may have arrived its number is taken, and no other event gets it.
		out.Row.Reason, out.Told = "NOT_TOLD", out.Row.Unknown
		return
	case err != nil:
		n.again(ctx, out, now, err, maxAttempts)
		return
	case out.Sub.State != store.SubscriptionActive: // counted, so that the client sees what it missed
		out.Row.Reason, out.Told = "COUNTED", true
		return
	}
	told := out.Sub
	told.Events = number
	status := subscription.Status{Base: n.Rules.Base, Sub: told, Kind: subscription.Event, Events: []subscription.Told{{Number: number, At: row.Updated, Type: row.Type, ID: row.ID}}}
	released, err := n.Gate.Notification(ctx, req, release.Notification{Rows: []store.Row{*row}, Status: func([]int) []byte { return status.Parameters() },
		Link: subscription.Link(told.ID), Bare: told.Bare, Sent: true})
	var denied *release.Denied
	if errors.As(err, &denied) {
		out.Row.Reason, out.Told = denied.Decision.Code, out.Row.Unknown
		return
	}
	if err == nil {
		if err = n.post(ctx, told, released); err == nil {
			out.Told, out.Sent = true, true
			return
		}
		out.Row.Unknown = out.Row.Unknown || !errors.Is(err, errNotSent)
	}
	n.again(ctx, out, now, err, maxAttempts)
	out.Told = out.Row.State == "" // given up: the client finds it by its number
}

// again puts a row back with backoff. After most attempts, or when the endpoint says that it is gone for good, the
// Subscription is in error: only its client makes it active again. What failed here, and not at the endpoint, never counts
// against it.
func (n *Notifier) again(ctx context.Context, out *store.Notified, now time.Time, cause error, most int) {
	var refused *Refused
	var unusable *fhir.Problem
	fault := "UNREACHABLE"
	switch {
	case errors.As(cause, &unusable): // the criteria, which could be served when they were written
		out.Row.Reason, out.Row.State, out.Sub.State, out.Sub.Fault = "CRITERIA", "", store.SubscriptionError, "CRITERIA"
		return
	case errors.As(cause, &refused):
		fault = fmt.Sprintf("HTTP_%d", refused.Status)
	case !errors.Is(cause, errNotSent) && !errors.Is(cause, errSent):
		n.Logger.ErrorContext(ctx, "notification could not be prepared", "client", out.Sub.Client, "error_type", cause)
		fault, out.Row.Attempts = "NOT_PREPARED", min(out.Row.Attempts, most-1)
	}
	out.Row.Reason = fault
	if out.Row.Attempts >= most || refused != nil && refused.Status == http.StatusGone {
		out.Row.State, out.Sub.State, out.Sub.Fault = "", store.SubscriptionError, fault
		return
	}
	out.Row.State, out.Row.NextAt = store.DeliveryWaiting, now.Add(backoff(out.Row.Attempts))
}

// request is who a Subscription asks as, with its query, of one record where id is given. Client, organisation, purpose and scopes are
// read anew each time: whoever lost one of them is told nothing more.
func (n *Notifier) request(ctx context.Context, sub store.Subscription, id string) (release.Request, *search.Query, error) {
	record, err := n.Subscriptions.ClientRecord(ctx, sub.Client)
	if errors.Is(err, oauth.ErrNotFound) {
		return release.Request{}, nil, errUnknowable
	}
	if err != nil {
		return release.Request{}, nil, err
	}
	q, err := n.Rules.Query(ctx, sub.Type, sub.Criteria, id)
	if err != nil {
		return release.Request{}, nil, err
	}
	if !mayAsk(record.OAuth, sub, q) {
		return release.Request{}, nil, errUnknowable
	}
	org, err := n.Records.Organization(ctx, sub.Organization)
	if err != nil {
		return release.Request{}, nil, err
	}
	p := access.Principal{Client: sub.Client, Organization: org, Purpose: sub.Purpose}
	filter, err := n.Records.Filter(ctx, p)
	return release.Request{Principal: p, Filter: filter, Interaction: "notification", RequestID: uuid.NewString(), Query: []byte(sub.Criteria)}, q, err
}

// mayAsk reports whether a client is still registered for what its Subscription asks.
func mayAsk(c oauth.Client, sub store.Subscription, q *search.Query) bool {
	scopes, err := smart.Parse(strings.Join(c.Scopes, " "))
	if err != nil || c.Disabled || c.Organization != sub.Organization || sub.Purpose != c.DefaultPurpose && !slices.Contains(c.Purposes, sub.Purpose) {
		return false
	}
	if !scopes.Allows(smart.System, sub.Type, smart.Read|smart.Search) {
		return false
	}
	for _, typ := range search.Reaches(q.Where) {
		if !scopes.Allows(smart.System, typ, smart.Search) {
			return false
		}
	}
	return true
}

// find is the record a row is about, when the Subscription's search finds it now. What exists and is not shown is recorded
// as a denial, and is to the subscriber what was never there.
func (n *Notifier) find(ctx context.Context, sub store.Subscription, d store.Delivery) (release.Request, *store.Row, error) {
	req, q, err := n.request(ctx, sub, d.Resource)
	if err != nil {
		return req, nil, err
	}
	page, err := n.Records.Search(ctx, req.Filter, q, nil)
	if err != nil {
		return req, nil, err
	}
	if len(page.Rows) > 0 {
		return req, &page.Rows[0], nil
	}
	target, err := n.Records.Lookup(ctx, req.Filter, d.Type, d.Resource, 0)
	if err != nil || target.Visible { // it does not match
		return req, nil, err
	}
	var denied *release.Denied
	if _, err = n.Gate.Resource(ctx, req, target); errors.As(err, &denied) {
		err = nil
	}
	return req, nil, err
}

// status is a notification without events.
func (n *Notifier) status(ctx context.Context, req release.Request, sub store.Subscription, kind string) (*release.Released, error) {
	status := subscription.Status{Base: n.Rules.Base, Sub: sub, Kind: kind}
	return n.Gate.Notification(ctx, req, release.Notification{Status: func([]int) []byte { return status.Parameters() }, Link: subscription.Link(sub.ID)})
}

// errSent is a failure after bytes may have left.
var errSent = errors.New("exchange: whether the notification arrived is not known")

// post sends a notification. The error is *Refused, errNotSent or errSent.
func (n *Notifier) post(ctx context.Context, sub store.Subscription, r *release.Released) error {
	ctx, cancel := context.WithTimeout(ctx, sub.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sub.Endpoint, bytes.NewReader(r.Body()))
	if err != nil {
		return errNotSent // its text names the endpoint
	}
	for name, value := range sub.Header {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", fhir.ContentType)
	if r.Notice() {
		req.Header.Set("X-Part2-Notice", release.StatementShort)
	}
	resp, err := n.HTTP.Do(req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return errNotSent
	case err != nil:
		return errSent
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if closed := resp.Body.Close(); err == nil {
		err = closed
	}
	switch {
	case resp.StatusCode/100 != 2:
		return &Refused{Status: resp.StatusCode, Temporary: true}
	case err != nil:
		return errSent
	}
	return nil
}

// beat sends one heartbeat that is due. It says what the subscriber knows already, so one that is lost is not sent again.
func (n *Notifier) beat(ctx context.Context) (bool, error) {
	sub, found, err := n.Subscriptions.ClaimHeartbeat(ctx)
	if err != nil || !found || sub.State != store.SubscriptionActive {
		return found, err
	}
	req, _, err := n.request(ctx, sub, "")
	if errors.Is(err, errUnknowable) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	released, err := n.status(ctx, req, sub, subscription.Heartbeat)
	if err != nil {
		return true, err
	}
	if err := n.post(ctx, sub, released); err != nil {
		n.Logger.InfoContext(ctx, "heartbeat not taken", "client", sub.Client, "error_type", err)
	}
	return true, nil
}

func (n *Notifier) finish(ctx context.Context, out store.Notified, now time.Time) error {
	restate := func(res *fhir.Resource) (*fhir.Resource, error) {
		return subscription.Restated(res, out.Sub.State, out.Sub.Fault)
	}
	leaf := func(w store.Written) (audit.Leaf, error) {
		return audit.NewLeaf(audit.Event{Kind: audit.Write, At: now, Client: "delivery", Organization: out.Sub.Organization, Interaction: "subscription-status", Outcome: "written",
			Resources: []audit.Resource{{Type: w.Type, ID: w.ID, Version: fmt.Sprint(w.Version)}}})
	}
	return n.Subscriptions.FinishNotification(ctx, out, restate, leaf)
}
