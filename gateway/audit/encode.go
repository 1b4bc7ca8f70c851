package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// encode writes an event as encoding/json would, member for member: an event is written for every response, and
// reflection would be the dearest part of it. A test holds the two together.
func encode(out []byte, e *Event) ([]byte, error) {
	decision, err := canonical(e.Decision)
	if err != nil {
		return nil, err
	}
	w := eventWriter{out: append(out, '{')}
	w.text("id", e.ID, false)
	w.text("kind", string(e.Kind), false)
	w.member("at")
	w.out = append(w.out, '"')
	w.out = e.At.AppendFormat(w.out, time.RFC3339Nano)
	w.out = append(w.out, '"')
	w.text("client", e.Client, true)
	w.text("organization", e.Organization, true)
	w.text("user", e.User, true)
	w.text("capacity", e.Capacity, true)
	w.text("launch", e.Launch, true)
	w.text("purpose", e.Purpose, true)
	w.text("patient", e.Patient, true)
	w.text("interaction", e.Interaction, true)
	w.text("request", e.Request, true)
	w.text("token", e.Token, true)
	if len(e.Query) > 0 {
		w.member("query")
		w.out = append(w.out, '"')
		w.out = base64.StdEncoding.AppendEncode(w.out, e.Query)
		w.out = append(w.out, '"')
	}
	w.text("outcome", e.Outcome, true)
	if len(decision) > 0 {
		w.member("decision")
		w.out = append(w.out, decision...)
	}
	w.resources(e.Resources)
	w.text("released", e.Released, true)
	if e.ReleasedBytes != 0 {
		w.member("releasedBytes")
		w.out = strconv.AppendInt(w.out, e.ReleasedBytes, 10)
	}
	w.text("noticeVersion", e.NoticeVersion, true)
	if len(e.Detail) > 0 {
		w.member("detail")
		w.out, w.next = append(w.out, '{'), false
		for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
			w.text(name, e.Detail[name], false)
		}
		w.out, w.next = append(w.out, '}'), true
	}
	return append(w.out, '}'), nil
}

// canonical is raw JSON as encoding/json writes it. What encoding/json wrote is that already.
func canonical(raw json.RawMessage) ([]byte, error) {
	if len(raw) > 0 && bytes.ContainsAny(raw, " \t\r\n<>&") {
		out, err := json.Marshal(raw)
		if err != nil { // the cause may quote it
			return nil, fmt.Errorf("audit: event cannot be encoded (%T)", err)
		}
		return out, nil
	}
	if len(raw) > 0 && !json.Valid(raw) {
		return nil, errors.New("audit: event cannot be encoded: the decision is not JSON")
	}
	return raw, nil
}

type eventWriter struct {
	out  []byte
	next bool // a member stands before
}

func (w *eventWriter) member(name string) {
	if w.next {
		w.out = append(w.out, ',')
	}
	w.next = true
	w.out = append(quoted(w.out, name), ':')
}

func (w *eventWriter) text(name, value string, omitEmpty bool) {
	if omitEmpty && value == "" {
		return
	}
	w.member(name)
	w.out = quoted(w.out, value)
}

func (w *eventWriter) resources(list []Resource) {
	if len(list) == 0 {
		return
	}
	w.member("resources")
	w.out = append(w.out, '[')
	for i, r := range list {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out, w.next = append(w.out, '{'), false
		w.text("type", r.Type, false)
		w.text("id", r.ID, false)
		w.text("version", r.Version, true)
		w.text("segment", r.Segment, true)
		w.out = append(w.out, '}')
	}
	w.out, w.next = append(w.out, ']'), true
}

// quoted appends a JSON string. Nearly all are plain; what is not goes the long way.
func quoted(out []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			long, err := json.Marshal(s)
			if err != nil { // a string always has a JSON form
				return append(out, `""`...)
			}
			return append(out, long...)
		}
	}
	out = append(out, '"')
	out = append(out, s...)
	return append(out, '"')
}
