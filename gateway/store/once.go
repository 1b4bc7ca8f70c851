package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trellis/fhir"
)

// Once is a client's key for one write (Idempotency-Key) with the hash of what it asked for.
type Once struct {
	Client  string
	Key     string
	Request [sha256.Size]byte
}

// ErrReused is returned when a key was used for another request.
var ErrReused = errors.New("store: the key was used for another request")

// onceLife is how long a client may ask again.
const onceLife = 24 * time.Hour

// did is what is remembered of one change: no body, and nothing about a patient but the id.
type did struct {
	Type      string `json:"t"`
	ID        string `json:"i"`
	Version   int64  `json:"v"`
	At        int64  `json:"a"`
	Created   bool   `json:"c,omitempty"`
	Unchanged bool   `json:"u,omitempty"`
	Deleted   bool   `json:"d,omitempty"`
}

// before claims the key, or finds what the request did when it was made before. A second request with the key waits
// here until the first has ended.
func (w *writer) before(o *Once, owner string) ([]Written, bool, error) {
	if _, err := w.tx.Exec(w.ctx, "DELETE FROM once WHERE at<?", w.now-onceLife.Microseconds()); err != nil {
		return nil, false, err
	}
	key, request := o.hashed()
	n, err := w.tx.Exec(w.ctx, "INSERT INTO once (client,key,request,at,reply) VALUES (?,?,?,?,'') ON CONFLICT (client,key) DO NOTHING", o.Client, key, request, w.now)
	if err != nil || n == 1 {
		return nil, false, err
	}
	var seen, reply string
	found, err := one(w.ctx, w.tx, "SELECT request,reply FROM once WHERE client=? AND key=?", []any{o.Client, key}, &seen, &reply)
	switch {
	case err != nil:
		return nil, false, err
	case !found:
		return nil, false, ErrConflict // it expired meanwhile: once more from the start
	case seen != request:
		return nil, false, ErrReused
	}
	var list []did
	if err := json.Unmarshal([]byte(reply), &list); err != nil {
		return nil, false, fmt.Errorf("store: what a key did cannot be read: %w", err)
	}
	out := make([]Written, len(list))
	for i, d := range list {
		if out[i], err = w.again(d, owner); err != nil {
			return nil, false, err
		}
	}
	return out, true, nil
}

func (o *Once) hashed() (key, request string) {
	sum := sha256.Sum256([]byte(o.Key))
	return hex.EncodeToString(sum[:]), hex.EncodeToString(o.Request[:])
}

// remember keeps what the request did.
func (w *writer) remember(o *Once, out []Written) error {
	list := make([]did, len(out))
	for i, d := range out {
		list[i] = did{d.Type, d.ID, d.Version, d.Updated.UnixMicro(), d.Created, d.Unchanged, d.Deleted}
	}
	reply, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("store: what a key did: %w", err)
	}
	key, _ := o.hashed()
	_, err = w.tx.Exec(w.ctx, "UPDATE once SET reply=? WHERE client=? AND key=?", string(reply), o.Client, key)
	return err
}

// again is what a change did, with the version it made as it is stored and labelled now. A record that is no longer
// the owner's is not found.
func (w *writer) again(d did, owner string) (Written, error) {
	out := Written{Type: d.Type, ID: d.ID, Version: d.Version, Updated: time.UnixMicro(d.At).UTC(), Created: d.Created, Unchanged: d.Unchanged, Deleted: d.Deleted, Replayed: true}
	out.Segment.Custodian = owner
	if d.ID == "" {
		return out, nil
	}
	now, err := w.head(fhir.Reference{Type: d.Type, ID: d.ID})
	if err != nil {
		return Written{}, err
	}
	h := *now
	segment, err := w.segment(h.seg)
	if err != nil {
		return Written{}, err
	}
	if !h.found() || segment.Custodian != owner {
		return Written{}, ErrNotFound
	}
	out.Segment = segment
	if d.Deleted {
		out.Patients, err = w.patientIDs([]int64{h.pat})
		return out, err
	}
	if _, err := one(w.ctx, w.tx, "SELECT seq FROM body WHERE part=0 AND rid=? AND ver=?", []any{h.rid, d.Version}, &h.seq); err != nil {
		return Written{}, err
	}
	h.ver, h.upd = d.Version, d.At
	stored, err := w.unchanged(h, out)
	stored.Unchanged = d.Unchanged
	return stored, err
}
