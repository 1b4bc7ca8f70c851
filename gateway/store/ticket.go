package store

import (
	"context"
	"time"

	"trellis/auth/oauth"
)

// PutTicket implements oauth.Tickets. Expired ones go with it, but what is taken is kept a day past its end, so that a
// second use is still known for one.
func (s *Store) PutTicket(ctx context.Context, t oauth.Ticket) error {
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	return s.engine.Write(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM ticket WHERE expires<? AND (taken=0 OR expires<?)", now, now-(24*time.Hour).Microseconds()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO ticket (kind,id,expires,taken,body) VALUES (?,?,?,0,?) ON CONFLICT (kind,id) DO UPDATE SET expires=excluded.expires,taken=0,body=excluded.body",
			t.Kind, t.ID, t.Expires.UnixMicro(), notNil(t.Body))
		return err
	})
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Ticket implements oauth.Tickets.
func (s *Store) Ticket(ctx context.Context, kind, id string) (oauth.Ticket, error) {
	var t oauth.Ticket
	err := s.engine.Read(ctx, func(tx Tx) (err error) {
		t, err = readTicket(ctx, tx, kind, id)
		return err
	})
	return t, err
}

func readTicket(ctx context.Context, tx Tx, kind, id string) (oauth.Ticket, error) {
	t := oauth.Ticket{Kind: kind, ID: id}
	var expires, taken int64
	found, err := one(ctx, tx, "SELECT expires,taken,body FROM ticket WHERE kind=? AND id=?", []any{kind, id}, &expires, &taken, &t.Body)
	if err == nil && !found {
		err = oauth.ErrNotFound
	}
	t.Expires, t.Taken = time.UnixMicro(expires).UTC(), taken != 0
	return t, err
}

// TakeTicket implements oauth.Tickets.
func (s *Store) TakeTicket(ctx context.Context, kind, id string) (oauth.Ticket, error) {
	var t oauth.Ticket
	err := s.engine.Write(ctx, func(tx Tx) (err error) {
		if t, err = readTicket(ctx, tx, kind, id); err != nil {
			return err
		}
		return take(ctx, tx, kind, id)
	})
	if err != nil {
		return oauth.Ticket{}, err
	}
	t.Taken = true
	return t, nil
}

// take marks a ticket as taken; oauth.ErrTaken when it was.
func take(ctx context.Context, tx Tx, kind, id string) error {
	n, err := tx.Exec(ctx, "UPDATE ticket SET taken=1 WHERE kind=? AND id=? AND taken=0", kind, id)
	if err == nil && n == 0 {
		err = oauth.ErrTaken
	}
	return err
}

// DropTicket implements oauth.Tickets.
func (s *Store) DropTicket(ctx context.Context, kind, id string) error {
	return s.engine.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM ticket WHERE kind=? AND id=?", kind, id)
		return err
	})
}
