package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"trellis/gateway/audit"
)

// Incident is something people have to look at: a draft until one of them has settled it. Whether it is a breach (42 CFR 2.16(b),
// 45 CFR 164.402) is theirs to say.
type Incident struct {
	ID           string      `json:"id"`
	Kind         string      `json:"kind"` // MassExport
	At           time.Time   `json:"at"`
	Client       string      `json:"client"`
	Organization string      `json:"organization"`
	Job          string      `json:"job,omitempty"`
	Records      int         `json:"records,omitempty"` // so many, when it was drafted
	Settled      *Settlement `json:"settled,omitempty"`
}

// MassExport is the kind of an export of more records than the deployment expects.
const MassExport = "mass-export"

// Settlement is what a person found.
type Settlement struct {
	By     string    `json:"by"` // account id
	At     time.Time `json:"at"`
	Breach bool      `json:"breach"`
	Note   string    `json:"note,omitempty"`
}

// ErrSettled is returned when an incident has been settled before.
var ErrSettled = errors.New("store: the incident has been settled")

// draftIncident keeps an incident with its audit leaf.
func (w *writer) draftIncident(i Incident) error {
	body, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if _, err := w.tx.Exec(w.ctx, "INSERT INTO incident (id,at,settled,body) VALUES (?,?,0,?)", i.ID, i.At.UnixMicro(), string(body)); err != nil {
		return err
	}
	leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Incident, At: i.At, Client: i.Client, Organization: i.Organization, Interaction: i.Kind, Outcome: "draft", Detail: map[string]string{"incident": i.ID, "job": i.Job}})
	if err != nil {
		return err
	}
	if err := w.insertLeaves([]audit.Leaf{leaf}); err != nil {
		return errors.Join(ErrLog, err)
	}
	return nil
}

// Incidents lists incidents, the oldest first: drafts, or all.
func (s *Store) Incidents(ctx context.Context, all bool) (out []Incident, err error) {
	where := " WHERE settled=0"
	if all {
		where = ""
	}
	err = s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT body FROM incident"+where+" ORDER BY at,id", nil, func(r Rows) error { return appendJSON(r, &out) })
	})
	return out, err
}

// SettleIncident closes an incident, once, with its audit leaf; ErrNotFound, ErrSettled.
func (s *Store) SettleIncident(ctx context.Context, id string, settled Settlement) error {
	return s.write(ctx, func(w *writer) error {
		var found []Incident
		err := each(ctx, w.tx, "SELECT body FROM incident WHERE id=?", []any{id}, func(r Rows) error { return appendJSON(r, &found) })
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return ErrNotFound
		case found[0].Settled != nil:
			return ErrSettled
		}
		i := found[0]
		i.Settled = &settled
		body, err := json.Marshal(i)
		if err != nil {
			return err
		}
		n, err := w.tx.Exec(ctx, "UPDATE incident SET settled=?,body=? WHERE id=? AND settled=0", settled.At.UnixMicro(), string(body), id)
		if err == nil && n == 0 {
			err = ErrSettled
		}
		if err != nil {
			return err
		}
		outcome := "no-breach"
		if settled.Breach {
			outcome = "breach"
		}
		leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Incident, At: settled.At, Client: "cli", User: settled.By, Organization: i.Organization, Purpose: "HSYSADMIN", Interaction: i.Kind, Outcome: outcome, Detail: map[string]string{"incident": i.ID}})
		if err != nil {
			return err
		}
		return w.insertLeaves([]audit.Leaf{leaf})
	})
}
