package logfile

import (
	"bytes"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Version of the export format.
const Version = 1

// Kinds of lines, in the order in which they stand.
const (
	KindHeader     = "header"
	KindCheckpoint = "checkpoint"
	KindLeaf       = "leaf"
	KindHash       = "hash"
	KindUnnumbered = "unnumbered"
	KindEnd        = "end"
)

// Line is one line of an export; which members it has follows from Kind. A line is canonical: written again it gives
// the same bytes, so that no reader can see another value in it than the verifier does.
type Line struct {
	Kind string `json:"kind"`

	Format int    `json:"format,omitempty"` // header
	Origin string `json:"origin,omitempty"` // header
	Size   *int64 `json:"size,omitempty"`   // header

	Note string `json:"note,omitempty"` // checkpoint: the signed note

	Index *int64     `json:"index,omitempty"` // leaf, hash
	Hash  *tlog.Hash `json:"hash,omitempty"`  // leaf, hash, unnumbered

	ID         string          `json:"id,omitempty"` // leaf, unnumbered, and all below
	At         string          `json:"at,omitempty"`
	Salt       []byte          `json:"salt,omitempty"`       // base64
	Event      json.RawMessage `json:"event,omitempty"`      // absent when erased
	EventBytes []byte          `json:"eventBytes,omitempty"` // base64; instead of event when its bytes are not compact JSON
	Commitment []byte          `json:"commitment,omitempty"` // base64 of 32 bytes

	Counts *Counts `json:"counts,omitempty"` // end
}

// Counts says how many lines of each kind came before the end.
type Counts struct {
	Checkpoints int64 `json:"checkpoints"`
	Leaves      int64 `json:"leaves"`
	Hashes      int64 `json:"hashes"`
	Unnumbered  int64 `json:"unnumbered"`
}

// SetEvent puts the event into the line so that exactly its bytes can be read back, whatever they are: an event that
// was damaged in the database has to be exported too.
func (l *Line) SetEvent(event []byte) {
	if len(event) == 0 {
		return
	}
	if again, err := json.Marshal(json.RawMessage(event)); err == nil && bytes.Equal(again, event) {
		l.Event = event
		return
	}
	l.EventBytes = event
}

// EventData returns the event's bytes; nil when the event was erased.
func (l *Line) EventData() []byte {
	if len(l.Event) > 0 {
		return l.Event
	}
	return l.EventBytes
}

// encode returns the canonical bytes without newline.
func (l *Line) encode() ([]byte, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encoding an export line: %w", err)
	}
	return data, nil
}

// decode reads one canonical line.
func decode(data []byte) (Line, error) {
	var l Line
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return Line{}, fmt.Errorf("%w: not an export line", ErrMalformed)
	}
	again, err := l.encode()
	if err != nil || !bytes.Equal(again, data) {
		return Line{}, fmt.Errorf("%w: line is not canonical", ErrMalformed)
	}
	return l, l.check()
}

// check demands the members of the kind.
func (l *Line) check() error {
	ok := false
	switch l.Kind {
	case KindHeader:
		ok = l.Format != 0 && l.Origin != "" && l.Size != nil && *l.Size >= 0
	case KindCheckpoint:
		ok = l.Note != ""
	case KindLeaf:
		ok = l.Index != nil && *l.Index >= 0 && l.Hash != nil && l.checkLeaf()
	case KindHash:
		ok = l.Index != nil && *l.Index >= 0 && l.Hash != nil
	case KindUnnumbered:
		ok = l.Hash != nil && l.checkLeaf()
	case KindEnd:
		ok = l.Counts != nil
	}
	if !ok {
		return fmt.Errorf("%w: %.16q line lacks something", ErrMalformed, l.Kind)
	}
	return nil
}

// checkLeaf demands only what is needed to name the row; whether the rest is right is for the verifier to say.
func (l *Line) checkLeaf() bool {
	_, err := ParseTime(l.At)
	return err == nil && l.ID != "" && (len(l.Event) == 0 || len(l.EventBytes) == 0)
}
