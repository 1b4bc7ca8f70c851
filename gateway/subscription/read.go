package subscription

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/store"
)

// Limits of a Subscription.
const (
	PerClient   = 20 // how many a client may have
	maxCriteria = 1000
	maxEndpoint = 2000
	maxHeaders  = 10
	maxHeader   = 2000

	minHeartbeat   = 10 * time.Second
	maxHeartbeat   = 7 * 24 * time.Hour
	defaultTimeout = 10 * time.Second
	maxTimeout     = time.Minute
)

// Profile is what a Subscription served here conforms to.
const Profile = guide + "backport-subscription"

const guide = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"

// The extensions of the guide that are read.
const (
	extPayload   = guide + "backport-payload-content"
	extHeartbeat = guide + "backport-heartbeat-period"
	extTimeout   = guide + "backport-timeout"
	extMaxCount  = guide + "backport-max-count"
)

// crossVersion begins extensions that carry elements of the Subscription of R5, which say other than R4's.
const crossVersion = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Subscription"

// Rules are what Subscriptions are read by.
type Rules struct {
	Registry     *search.Registry
	Terminology  search.Terminology // as searches have it
	Base         string             // FHIR base URL
	AllowPrivate bool               // requests may go to private addresses, to loopback ones without TLS
}

// Read is what a Subscription asks for, with its query. What cannot be served as it is asked for is refused: to leave a part
// of it out could tell more. It does not say for whom.
func (r Rules) Read(ctx context.Context, res *fhir.Resource) (store.Subscription, *search.Query, error) {
	out := store.Subscription{ID: res.ID, State: res.Root.Get("status").Text()}
	if err := r.plain(res.Root); err != nil {
		return out, nil, err
	}
	switch out.State {
	case store.SubscriptionRequested, store.SubscriptionOff:
	case store.SubscriptionActive: // asks to be active: the handshake settles it
		out.State = store.SubscriptionRequested
	default:
		return out, nil, refused("value", "status is requested, active or off when a client writes it").At("Subscription.status")
	}
	if end := res.Root.Get("end").Text(); end != "" {
		var err error
		if out.End, err = time.Parse(time.RFC3339Nano, end); err != nil {
			return out, nil, refused("value", "end is not an instant").At("Subscription.end")
		}
	}
	var q *search.Query
	var err error
	if out.Type, out.Criteria, q, err = r.criteria(ctx, res.Root.Get("criteria").Text()); err != nil {
		return out, nil, err
	}
	return out, q, r.channel(res.Root.Get("channel"), &out)
}

func refused(code, text string) *fhir.Problem {
	return fhir.NewProblem(fhir.Unprocessable, code, text)
}

// plain refuses extensions that would change what the rest means.
func (r Rules) plain(root fhir.Node) error {
	for _, n := range []fhir.Node{root, root.Get("channel")} {
		if len(n.Get("modifierExtension").List()) > 0 {
			return refused("extension", "modifier extensions are not understood").At("Subscription")
		}
	}
	for _, e := range root.Get("extension").List() {
		if strings.HasPrefix(e.Get("url").Text(), crossVersion) {
			return refused("extension", "elements of an R5 Subscription are not read; use those of the backport for R4").At("Subscription.extension")
		}
	}
	if len(root.Path("_criteria", "extension").List()) > 0 {
		return refused("extension", "filters stand in the criteria, which are a search on one type").At("Subscription.criteria")
	}
	return nil
}

// criteria reads a search on one resource type.
func (r Rules) criteria(ctx context.Context, text string) (typ, query string, q *search.Query, err error) {
	at := func(p *fhir.Problem) (string, string, *search.Query, error) {
		return "", "", nil, p.At("Subscription.criteria")
	}
	if len(text) > maxCriteria {
		return at(refused("too-long", "the criteria are longer than this server accepts"))
	}
	typ, query, _ = strings.Cut(text, "?")
	switch {
	case !fhir.KnownType(typ):
		return at(refused("not-supported", "the criteria are a search on one resource type, as in Condition?patient=Patient/1; topics are not offered"))
	case typ == "Subscription" || typ == "Binary":
		return at(refused("not-supported", "notifications about this type are not offered"))
	}
	q, err = r.Query(ctx, typ, query, "")
	var p *fhir.Problem
	if errors.As(err, &p) {
		return at(refused(p.Issues[0].Code, p.Issues[0].Text))
	}
	return typ, query, q, err
}

// results are search parameters that are about the result, not about which resources are in it.
func results() []string {
	return []string{"_count", "_sort", "_include", "_revinclude", "_summary", "_elements", "_total", "_cursor", "_contained", "_containedType", "_format", "_pretty"}
}

// Query is the criteria of a Subscription as a query, of one record where id is given.
func (r Rules) Query(ctx context.Context, typ, text, id string) (*search.Query, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the criteria are not a well-formed query string").Because(err)
	}
	for given := range values {
		if name, _, _ := strings.Cut(given, ":"); slices.Contains(results(), name) {
			return nil, fhir.NewProblem(fhir.Invalid, "not-supported", name+" is about a search's result, and cannot stand in criteria")
		}
	}
	if id != "" {
		values.Add("_id", id)
	}
	return r.Registry.ParseWith(ctx, typ, values, search.Options{Base: r.Base, Terminology: r.Terminology})
}

// Restated is a Subscription with the status the server gives it, and why where it is in error.
func Restated(res *fhir.Resource, status, fault string) (*fhir.Resource, error) {
	out := []byte{'{'}
	for _, m := range res.Root.Members {
		switch m.Name {
		case "status", "_status", "error", "_error":
			continue
		}
		out = append(append(append(out, fhir.Quote(m.Name)...), ':'), m.Value.Raw()...)
		out = append(out, ',')
	}
	out = append(append(out, `"status":`...), fhir.Quote(status)...)
	if fault != "" {
		out = append(append(out, `,"error":`...), fhir.Quote(fault)...)
	}
	return fhir.ReadTrusted(append(out, '}'))
}
