package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
)

// PutOrganization registers or changes an actor. changed reports whether anything differs; the caller
// then materialises grants anew.
func (s *Store) PutOrganization(ctx context.Context, o access.Organization) (changed bool, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return false, fmt.Errorf("store: organisation: %w", err)
	}
	err = s.engine.Write(ctx, func(tx Tx) error {
		var old string
		if _, err := one(ctx, tx, "SELECT body FROM organization WHERE id=?", []any{o.ID}, &old); err != nil {
			return err
		}
		changed = old != string(body)
		_, err := tx.Exec(ctx, "INSERT INTO organization (id,body) VALUES (?,?) ON CONFLICT (id) DO UPDATE SET body=excluded.body", o.ID, string(body))
		return err
	})
	return changed, err
}

// Organization is a registered actor; the zero Organization, which is denied everything, when unknown.
func (s *Store) Organization(ctx context.Context, id string) (access.Organization, error) {
	var o access.Organization
	err := s.engine.Read(ctx, func(tx Tx) error {
		var body string
		found, err := one(ctx, tx, "SELECT body FROM organization WHERE id=?", []any{id}, &body)
		if err != nil || !found {
			return err
		}
		return json.Unmarshal([]byte(body), &o)
	})
	return o, err
}

// Organizations lists the registered actors by id.
func (s *Store) Organizations(ctx context.Context) (out []access.Organization, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		out, err = organizations(ctx, tx)
		return err
	})
	return out, err
}

func organizations(ctx context.Context, tx Tx) (out []access.Organization, err error) {
	err = each(ctx, tx, "SELECT body FROM organization ORDER BY id", nil, func(r Rows) error { return appendJSON(r, &out) })
	return out, err
}

// ClientRecord is a client's registration with what OAuth does not know of it.
type ClientRecord struct {
	OAuth        oauth.Client `json:"oauth"`
	UpdateCreate bool         `json:"updateCreate,omitempty"` // a PUT of an unknown id creates it
}

// PutClient registers or replaces a client.
func (s *Store) PutClient(ctx context.Context, c ClientRecord) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("store: client: %w", err)
	}
	return s.engine.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO client (id,organization,body) VALUES (?,?,?) ON CONFLICT (id) DO UPDATE SET organization=excluded.organization,body=excluded.body",
			c.OAuth.ID, c.OAuth.Organization, string(body))
		return err
	})
}

// ChangeClient changes a registration as it stands, so that two who change it at once lose nothing of each other's;
// oauth.ErrNotFound. change may be called again after a conflict, and its error ends it.
func (s *Store) ChangeClient(ctx context.Context, id string, change func(*ClientRecord) error) error {
	return s.engine.Write(ctx, func(tx Tx) error {
		var body string
		found, err := one(ctx, tx, "SELECT body FROM client WHERE id=?", []any{id}, &body)
		if err == nil && !found {
			err = oauth.ErrNotFound
		}
		if err != nil {
			return err
		}
		var c ClientRecord
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return err
		}
		if err := change(&c); err != nil {
			return err
		}
		changed, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("store: client: %w", err)
		}
		n, err := tx.Exec(ctx, "UPDATE client SET organization=?,body=? WHERE id=? AND body=?", c.OAuth.Organization, string(changed), id, body)
		if err == nil && n == 0 {
			err = ErrConflict
		}
		return err
	})
}

// ClientRecord finds a registration; oauth.ErrNotFound when there is none.
func (s *Store) ClientRecord(ctx context.Context, id string) (ClientRecord, error) {
	var c ClientRecord
	err := s.engine.Read(ctx, func(tx Tx) error {
		var body string
		found, err := one(ctx, tx, "SELECT body FROM client WHERE id=?", []any{id}, &body)
		if err != nil {
			return err
		}
		if !found {
			return oauth.ErrNotFound
		}
		return json.Unmarshal([]byte(body), &c)
	})
	return c, err
}

// Clients lists all registrations by id.
func (s *Store) Clients(ctx context.Context) (out []ClientRecord, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT body FROM client ORDER BY id", nil, func(r Rows) error { return appendJSON(r, &out) })
	})
	return out, err
}

// actors are the organisations with every purpose their clients may ask for. An app that people use speaks for the staff
// of any organisation, so its purposes count for all, and so does treatment, what staff asks for with an app that registered
// nothing: such apps register themselves at any time. For what patients and proxies ask there are no grants.
func (s *Store) actors(ctx context.Context, tx Tx) ([]access.Actor, error) {
	purposes := map[string][]string{}
	everywhere := []string{"TREAT"}
	err := each(ctx, tx, "SELECT organization,body FROM client ORDER BY id", nil, func(r Rows) error {
		var org, body string
		if err := r.Scan(&org, &body); err != nil {
			return err
		}
		var c ClientRecord
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return err
		}
		for _, p := range append(c.OAuth.Purposes, c.OAuth.DefaultPurpose) {
			if c.OAuth.Interactive() && p != "" && p != "PATRQT" && p != "FAMRQT" && !slices.Contains(everywhere, p) {
				everywhere = append(everywhere, p)
			}
			if p != "" && !slices.Contains(purposes[org], p) {
				purposes[org] = append(purposes[org], p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	orgs, err := organizations(ctx, tx)
	if err != nil {
		return nil, err
	}
	var out []access.Actor
	for _, o := range orgs {
		a := access.Actor{Organization: o, Purposes: purposes[o.ID]}
		for _, p := range everywhere {
			if !slices.Contains(a.Purposes, p) {
				a.Purposes = append(a.Purposes, p)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// OAuth is the store as auth/oauth sees it.
func (s *Store) OAuth() OAuth { return oauthStore{s} }

// OAuth is everything auth/oauth keeps.
type OAuth interface {
	oauth.Store
	oauth.Grants
	oauth.Registry
}

type oauthStore struct{ s *Store }

// Client implements oauth.Store.
func (o oauthStore) Client(ctx context.Context, id string) (oauth.Client, error) {
	c, err := o.s.ClientRecord(ctx, id)
	return c.OAuth, err
}

// NewClient implements oauth.Registry. A client that registered itself may do nothing OAuth does not know of.
func (o oauthStore) NewClient(ctx context.Context, c oauth.Client) error {
	return o.s.PutClient(ctx, ClientRecord{OAuth: c})
}

// ChangeClient implements oauth.Registry.
func (o oauthStore) ChangeClient(ctx context.Context, id string, change func(*oauth.Client) error) error {
	return o.s.ChangeClient(ctx, id, func(r *ClientRecord) error { return change(&r.OAuth) })
}

// UseAssertion implements oauth.Store: the primary key makes the pair usable once.
func (o oauthStore) UseAssertion(ctx context.Context, issuer, jti string, expires time.Time) error {
	now, err := o.s.now(ctx)
	if err != nil {
		return err
	}
	return o.s.engine.Write(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM oauth_assertion WHERE expires<?", now); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "INSERT INTO oauth_assertion (issuer,jti,expires) VALUES (?,?,?) ON CONFLICT (issuer,jti) DO NOTHING", issuer, jti, expires.UnixMicro())
		if err == nil && n == 0 {
			return oauth.ErrReplayed
		}
		return err
	})
}

// SaveToken implements oauth.Store.
func (o oauthStore) SaveToken(ctx context.Context, t oauth.Token) error {
	return o.s.engine.Write(ctx, func(tx Tx) error {
		if err := pruneTokens(ctx, tx, t.IssuedAt); err != nil {
			return err
		}
		return insertToken(ctx, tx, t)
	})
}

// Token implements oauth.Store. A token under an authorization is as revoked as that.
func (o oauthStore) Token(ctx context.Context, signature string) (oauth.Token, error) {
	var t oauth.Token
	err := o.s.engine.Read(ctx, func(tx Tx) error {
		var body string
		var used, revoked int64
		found, err := one(ctx, tx, "SELECT t.body,t.used,COALESCE(g.revoked,0) FROM oauth_token t LEFT JOIN app_grant g ON g.id=t.request_id WHERE t.signature=?", []any{signature}, &body, &used, &revoked)
		if err != nil {
			return err
		}
		if !found {
			return oauth.ErrNotFound
		}
		if err := json.Unmarshal([]byte(body), &t); err != nil {
			return err
		}
		t.Used, t.Revoked = used != 0, t.Revoked || revoked != 0
		return nil
	})
	return t, err
}

// RevokeToken implements oauth.Store.
func (o oauthStore) RevokeToken(ctx context.Context, requestID string) error {
	return o.s.engine.Write(ctx, func(tx Tx) error {
		var tokens []oauth.Token
		err := each(ctx, tx, "SELECT body FROM oauth_token WHERE request_id=?", []any{requestID}, func(r Rows) error {
			var body string
			if err := r.Scan(&body); err != nil {
				return err
			}
			tokens = append(tokens, oauth.Token{})
			return json.Unmarshal([]byte(body), &tokens[len(tokens)-1])
		})
		if err != nil {
			return err
		}
		if len(tokens) == 0 {
			return oauth.ErrNotFound
		}
		for _, t := range tokens {
			t.Revoked = true
			body, err := json.Marshal(t)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "UPDATE oauth_token SET body=? WHERE signature=?", string(body), t.Signature); err != nil {
				return err
			}
		}
		return nil
	})
}

// errDelivery is a delivery row another worker took or that vanished.
var errDelivery = errors.New("store: the delivery is not this worker's")
