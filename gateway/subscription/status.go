package subscription

import (
	"encoding/json"
	"strconv"
	"time"

	"trellis/fhir"
	"trellis/gateway/store"
)

// The kinds of notifications.
const (
	Handshake   = "handshake"
	Heartbeat   = "heartbeat"
	Event       = "event-notification"
	QueryStatus = "query-status"
	QueryEvent  = "query-event"
)

// Status is a status as notifications and operations carry it.
type Status struct {
	Base   string // FHIR base URL
	Sub    store.Subscription
	Kind   string
	Events []Told
}

// Told is one event as a subscriber is told of it.
type Told struct {
	Number   int64
	At       time.Time // when the record was written
	Type, ID string
}

// Link is where a Subscription's status is asked for, relative to the base.
func Link(id string) string { return "Subscription/" + id + "/$status" }

type parameter struct {
	Name      string      `json:"name"`
	Reference *reference  `json:"valueReference,omitempty"`
	Code      string      `json:"valueCode,omitempty"`
	String    string      `json:"valueString,omitempty"`
	Instant   string      `json:"valueInstant,omitempty"`
	Concept   *concept    `json:"valueCodeableConcept,omitempty"`
	Part      []parameter `json:"part,omitempty"`
}

type reference struct {
	Reference string `json:"reference"`
}

type concept struct {
	Text string `json:"text"`
}

// Parameters is the status as the resource that stands first in a notification (backport-subscription-status-r4).
func (s Status) Parameters() []byte {
	list := []parameter{
		{Name: "subscription", Reference: &reference{s.Base + "/Subscription/" + s.Sub.ID}},
		{Name: "status", Code: s.Sub.State},
		{Name: "type", Code: s.Kind},
		{Name: "events-since-subscription-start", String: strconv.FormatInt(s.Sub.Events, 10)},
	}
	for _, e := range s.Events {
		part := []parameter{{Name: "event-number", String: strconv.FormatInt(e.Number, 10)}, {Name: "timestamp", Instant: e.At.UTC().Format(fhir.InstantLayout)}}
		if !s.Sub.Bare {
			part = append(part, parameter{Name: "focus", Reference: &reference{s.Base + "/" + e.Type + "/" + e.ID}})
		}
		list = append(list, parameter{Name: "notification-event", Part: part})
	}
	if s.Sub.Fault != "" {
		list = append(list, parameter{Name: "error", Concept: &concept{s.Sub.Fault}})
	}
	out, err := json.Marshal(struct {
		ResourceType string              `json:"resourceType"`
		Meta         map[string][]string `json:"meta"`
		Parameter    []parameter         `json:"parameter"`
	}{"Parameters", map[string][]string{"profile": {guide + "backport-subscription-status-r4"}}, list})
	if err != nil { // strings only: cannot fail
		return nil
	}
	return out
}
