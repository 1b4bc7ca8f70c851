package rest

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
	"trellis/gateway/subscription"
)

// subscriptionRoutes are the operations of Subscriptions (http://hl7.org/fhir/uv/subscriptions-backport/, R4).
func subscriptionRoutes() []route {
	const defined = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-"
	on := []string{"Subscription"}
	return []route{
		{method: http.MethodGet, path: "/fhir/:type/:id/$status", interaction: "$status", verb: smart.Read, on: on, definition: defined + "status", serve: (*call).subscriptionStatus},
		{method: http.MethodGet, path: "/fhir/:type/$status", interaction: "$status", verb: smart.Read, on: on, definition: defined + "status", serve: (*call).subscriptionStatuses},
		{method: http.MethodGet, path: "/fhir/:type/:id/$events", interaction: "$events", verb: smart.Read, on: on, definition: defined + "events", serve: (*call).subscriptionEvents},
	}
}

// maySubscribe is G1 for writes of Subscriptions: they are for clients that act for themselves.
func (k *call) maySubscribe(ops []operation) error {
	for _, op := range ops {
		if op.typ != "Subscription" {
			continue
		}
		if err := k.allowAsSystem(op.typ, op.verb); err != nil {
			return err
		}
	}
	return nil
}

func (k *call) subscriptionRules() subscription.Rules {
	return subscription.Rules{Registry: k.s.Registry, Terminology: k.s.Terminology, Base: k.s.Base, AllowPrivate: k.s.AllowPrivate}
}

// maySearchAll is G1 for what a search of a client acting for itself looks at, as a whole.
func (k *call) maySearchAll(q *search.Query) error {
	if err := k.allowAsSystem(q.Type, smart.Read|smart.Search); err != nil {
		return err
	}
	for _, typ := range search.Reaches(q.Where) {
		if err := k.allowAsSystem(typ, smart.Search); err != nil {
			return err
		}
	}
	return nil
}

// subscribes reads a Subscription that is to be written. Its status is what the server says; what its search looks at the
// token must let its client search and read, as a whole.
func (k *call) subscribes(res *fhir.Resource) (*fhir.Resource, error) {
	if res.Type != "Subscription" {
		return res, nil
	}
	sub, q, err := k.subscriptionRules().Read(k.ctx, res)
	if err != nil {
		return nil, err
	}
	if err := k.maySearchAll(q); err != nil {
		return nil, err
	}
	return subscription.Restated(res, sub.State, "")
}

// subscriptions are the Subscriptions among what was written, as they are served from now on: for the client that wrote
// them, its organisation and the purpose of its token.
func (k *call) subscriptions(written []store.Written) ([]store.Subscription, error) {
	var out []store.Subscription
	for _, w := range written {
		if w.Type != "Subscription" || w.Deleted || w.Unchanged || w.Replayed {
			continue
		}
		res, err := fhir.ReadTrusted(w.Doc)
		if err != nil {
			return nil, err
		}
		sub, _, err := k.subscriptionRules().Read(k.ctx, res)
		if err != nil {
			return nil, err
		}
		p := k.caller.principal
		sub.ID, sub.Version, sub.Limit = w.ID, w.Version, subscription.PerClient
		sub.Client, sub.Organization, sub.Purpose = p.Client, p.Organization.ID, p.Purpose
		out = append(out, sub)
	}
	return out, nil
}

// subscription is one of the caller's organisation, as it is served; store.ErrNotFound when there is none.
func (k *call) subscription(id string) (store.Subscription, store.Target, error) {
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, "Subscription", id, 0)
	if err != nil {
		return store.Subscription{}, target, err
	}
	if !target.Visible || target.Row.Deleted {
		return store.Subscription{}, target, store.ErrNotFound
	}
	sub, err := k.s.Store.Subscription(k.ctx, id)
	return sub, target, err
}

// theSubscription is the one an operation is called on. Another organisation's answers as an unknown one, and is logged like
// it.
func (k *call) theSubscription() (store.Subscription, error) {
	sub, target, err := k.subscription(k.c.Param("id"))
	if errors.Is(err, store.ErrNotFound) && !(target.Visible && !target.Row.Deleted) {
		_, err = k.s.Gate.Resource(k.ctx, k.req, target)
	}
	return sub, err
}

// subscriptionStatus serves [base]/Subscription/[id]/$status.
func (k *call) subscriptionStatus() error {
	if err := k.knownParameters("_format", "_pretty"); err != nil {
		return err
	}
	sub, err := k.theSubscription()
	if err != nil {
		return err
	}
	return k.respondStatuses([]store.Subscription{sub})
}

// subscriptionStatuses serves [base]/Subscription/$status?id=...&status=...: of those that are there and the caller's.
func (k *call) subscriptionStatuses() error {
	in, err := k.inputs("id", "status")
	if err != nil {
		return err
	}
	ids, states := in.list("id"), in.list("status")
	if len(ids) == 0 || len(ids) > subscription.PerClient {
		return fhir.NewProblem(fhir.Invalid, "required", "id names the Subscriptions asked about, "+strconv.Itoa(subscription.PerClient)+" at most")
	}
	var list []store.Subscription
	for _, id := range ids {
		sub, _, err := k.subscription(id)
		switch {
		case errors.Is(err, store.ErrNotFound): // a set lacks it
		case err != nil:
			return err
		case len(states) == 0 || slices.Contains(states, sub.State):
			list = append(list, sub)
		}
	}
	return k.respondStatuses(list)
}

// respondStatuses answers with a searchset of statuses. They say how many events there were in the caller's view, and
// nothing of any record.
func (k *call) respondStatuses(list []store.Subscription) error {
	out := []byte(`{"resourceType":"Bundle","type":"searchset"`)
	for i, sub := range list {
		status := subscription.Status{Base: k.s.Base, Sub: sub, Kind: subscription.QueryStatus}
		out = append(append(out, []string{`,"entry":[`, `,`}[min(i, 1)]...), `{"resource":`...)
		out = append(append(out, status.Parameters()...), `,"search":{"mode":"match"}}`...)
	}
	if len(list) > 0 {
		out = append(out, ']')
	}
	released, err := k.s.Gate.Answer(k.ctx, k.req, append(out, '}'))
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// maxEvents is how many events one answer repeats.
const maxEvents = 100

// subscriptionEvents serves [base]/Subscription/[id]/$events: what a subscriber was told of, decided once more. Of what it
// may not be told any longer there is no trace but the number it was given.
func (k *call) subscriptionEvents() error {
	in, err := k.inputs("eventsSinceNumber", "eventsUntilNumber", "content")
	if err != nil {
		return err
	}
	from, err := in.number("eventsSinceNumber", 1, 1)
	if err != nil {
		return err
	}
	to, err := in.number("eventsUntilNumber", math.MaxInt, 1)
	if err != nil {
		return err
	}
	content, err := in.text("content")
	if err != nil {
		return err
	}
	sub, err := k.theSubscription()
	if err != nil {
		return err
	}
	switch {
	case content == "empty":
		sub.Bare = true
	case content != "" && (content != "id-only" || sub.Bare):
		return fhir.NewProblem(fhir.Unsupported, "not-supported", "content is no more than the Subscription's payload: id-only or empty")
	}
	from = min(from, int(sub.Events)+1)
	events, err := k.s.Store.SubscriptionEvents(k.ctx, sub.ID, int64(from), int64(min(to, from+maxEvents-1)))
	if err != nil {
		return err
	}
	rows, numbers, err := k.stillFound(sub, events)
	if err != nil {
		return err
	}
	return k.respondEvents(sub, rows, numbers)
}

// stillFound are the records of events that the Subscription's search finds now, each by its number.
func (k *call) stillFound(sub store.Subscription, events []store.SubscriptionEvent) (rows []store.Row, numbers []int64, err error) {
	q, err := k.subscriptionRules().Query(k.ctx, sub.Type, sub.Criteria, "")
	if err != nil {
		return nil, nil, err
	}
	if err := k.maySearchAll(q); err != nil {
		return nil, nil, err
	}
	for _, e := range events {
		if e.Type != sub.Type {
			continue // the criteria were about another type then
		}
		if q, err = k.subscriptionRules().Query(k.ctx, sub.Type, sub.Criteria, e.ID); err != nil {
			return nil, nil, err
		}
		page, err := k.s.Store.Search(k.ctx, k.caller.searching, q, nil)
		if err != nil {
			return nil, nil, err
		}
		if len(page.Rows) > 0 {
			rows, numbers = append(rows, page.Rows[0]), append(numbers, e.Number)
		}
	}
	return rows, numbers, nil
}

func (k *call) respondEvents(sub store.Subscription, rows []store.Row, numbers []int64) error {
	status := func(told []int) []byte {
		s := subscription.Status{Base: k.s.Base, Sub: sub, Kind: subscription.QueryEvent}
		for _, i := range told {
			s.Events = append(s.Events, subscription.Told{Number: numbers[i], At: rows[i].Updated, Type: rows[i].Type, ID: rows[i].ID})
		}
		return s.Parameters()
	}
	released, err := k.s.Gate.Notification(k.ctx, k.req, release.Notification{Rows: rows, Status: status, Link: subscription.Link(sub.ID), Bare: sub.Bare})
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}
