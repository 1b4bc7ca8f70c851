package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit/logfile"
)

// Kind says what happened.
type Kind string

// The kinds of events.
const (
	Disclosure  Kind = "disclosure"   // bytes of a patient's record were released
	Denial      Kind = "denial"       // a request was refused, or looked like absence
	Write       Kind = "write"        // create, update, patch, delete
	Login       Kind = "login"        // a person logged in, or failed to
	TokenIssue  Kind = "token"        // the token endpoint answered
	Consent     Kind = "consent"      // a consent, restriction or relationship changed
	AppGrant    Kind = "app-grant"    // a person let an app act, refused to, or took it back
	AuditExport Kind = "audit-export" // someone looked at the log itself
	Explain     Kind = "explain"      // a decision was explained or replayed
	Delivery    Kind = "delivery"     // something was sent to a partner
	Admin       Kind = "admin"        // clients, keys, configuration
	Emergency   Kind = "emergency"    // an emergency was declared (42 CFR 2.51), or reviewed
	Incident    Kind = "incident"     // an incident was drafted, or settled
	Decision    Kind = "decision"     // a decision was given to somebody who enforces it
)

// Event is one audited happening about at most one patient. Its JSON, as NewLeaf marshals it, is what the log commits
// to. It may hold PHI (Patient, Query, Resources); it is kept in the event table, never in the tree or the log files.
type Event struct {
	ID            string            `json:"id"`                     // unique; NewLeaf makes a UUIDv7 when empty
	Kind          Kind              `json:"kind"`                   // required
	At            time.Time         `json:"at"`                     // required; cut to microseconds, UTC
	Client        string            `json:"client,omitempty"`       // client id
	Organization  string            `json:"organization,omitempty"` // FHIR id of the recipient or actor
	User          string            `json:"user,omitempty"`         // person, when one is known
	Capacity      string            `json:"capacity,omitempty"`     // how the person acts (access.Capacity)
	Launch        string            `json:"launch,omitempty"`       // Patient/<id> the token was launched for
	Purpose       string            `json:"purpose,omitempty"`      // v3 ActReason code
	Patient       string            `json:"patient,omitempty"`      // Patient/<id>
	Interaction   string            `json:"interaction,omitempty"`  // FHIR interaction or operation
	Request       string            `json:"request,omitempty"`      // request id
	Token         string            `json:"token,omitempty"`        // token id (oauth.Grant.TokenID)
	Query         []byte            `json:"query,omitempty"`        // query string, base64 in JSON: treat as PHI
	Outcome       string            `json:"outcome,omitempty"`      // e.g. released, refused, failed
	Decision      json.RawMessage   `json:"decision,omitempty"`     // the access decision with its reasons
	Resources     []Resource        `json:"resources,omitempty"`    // manifest of what was released or written
	Released      string            `json:"released,omitempty"`     // Digest of the released bytes
	ReleasedBytes int64             `json:"releasedBytes,omitempty"`
	NoticeVersion string            `json:"noticeVersion,omitempty"` // version of the 42 CFR 2.32 notice that went along
	Detail        map[string]string `json:"detail,omitempty"`        // kind-specific; no free text from requests but the facts of 2.51(c)
}

// Launch is the value of Event.Launch for a Patient id.
func Launch(patient string) string {
	if patient == "" {
		return ""
	}
	return "Patient/" + patient
}

// Resource is one line of a manifest.
type Resource struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	Segment string `json:"segment,omitempty"`
}

// Digest is how released bytes are named in Event.Released.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Leaf is what is appended: a commitment for the tree, and apart from it the salt and the event it commits to.
type Leaf struct {
	ID    string    // id of the (first) event; unique in the log
	At    time.Time // UTC, microseconds
	Salt  []byte    // logfile.SaltSize random bytes; erased together with the event
	Event []byte    // JSON: one event as an object, several as an array; nil once erased
	Data  []byte    // logfile.LeafData: id, time, SHA-256(salt || event); no PHI
}

// Hash is the leaf's hash in the tree.
func (l Leaf) Hash() tlog.Hash { return tlog.RecordHash(l.Data) }

// maxEvent keeps a leaf well within a line of the export.
const maxEvent = logfile.MaxLine / 2

// NewLeaf commits to the events of one response: one event, or one for each patient in it. Events without kind or
// time are refused, so are more than 8 MiB of them.
func NewLeaf(events ...Event) (Leaf, error) {
	if len(events) == 0 {
		return Leaf{}, errors.New("audit: a leaf without event")
	}
	canonical := make([]Event, len(events))
	for i, e := range events {
		if e.Kind == "" || e.At.IsZero() {
			return Leaf{}, errors.New("audit: an event needs kind and time")
		}
		if e.ID == "" {
			id, err := uuid.NewV7()
			if err != nil {
				return Leaf{}, fmt.Errorf("audit: making an id: %w", err)
			}
			e.ID = id.String()
		}
		if !logfile.ValidID(e.ID) {
			return Leaf{}, errors.New("audit: malformed event id")
		}
		e.At = e.At.UTC().Truncate(time.Microsecond)
		canonical[i] = e
	}
	body, err := marshal(canonical)
	if err != nil {
		return Leaf{}, err
	}
	leaf := Leaf{ID: canonical[0].ID, At: canonical[0].At, Salt: make([]byte, logfile.SaltSize), Event: body}
	if _, err := rand.Read(leaf.Salt); err != nil {
		return Leaf{}, fmt.Errorf("audit: drawing a salt: %w", err)
	}
	leaf.Data = logfile.LeafData(leaf.ID, leaf.At, logfile.Commitment(leaf.Salt, leaf.Event))
	return leaf, nil
}

// marshal is deterministic: fields in order of declaration, map keys sorted.
func marshal(events []Event) ([]byte, error) {
	body := make([]byte, 0, 1<<10)
	var err error
	if len(events) > 1 {
		body = append(body, '[')
	}
	for i := range events {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = encode(body, &events[i]); err != nil {
			return nil, err
		}
	}
	if len(events) > 1 {
		body = append(body, ']')
	}
	if len(body) > maxEvent {
		return nil, errors.New("audit: event too large")
	}
	return body, nil
}

// Events decodes Leaf.Event: one event or several.
func Events(body []byte) ([]Event, error) {
	if bytes.HasPrefix(body, []byte("[")) {
		var list []Event
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, errors.New("audit: malformed events")
		}
		return list, nil
	}
	var one Event
	if err := json.Unmarshal(body, &one); err != nil {
		return nil, errors.New("audit: malformed event")
	}
	return []Event{one}, nil
}
