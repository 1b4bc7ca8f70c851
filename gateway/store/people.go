package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"trellis/auth/people"
)

// PutUser registers or replaces an account. A login that another account has is ErrExists.
func (s *Store) PutUser(ctx context.Context, u people.User) error {
	body, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("store: account: %w", err)
	}
	return s.engine.Write(ctx, func(tx Tx) error {
		var other string
		found, err := one(ctx, tx, "SELECT id FROM person WHERE login=?", []any{u.Login}, &other)
		if err != nil {
			return err
		}
		if found && other != u.ID {
			return ErrExists
		}
		_, err = tx.Exec(ctx, "INSERT INTO person (id,login,upstream,body) VALUES (?,?,?,?) ON CONFLICT (id) DO UPDATE SET login=excluded.login,upstream=excluded.upstream,body=excluded.body",
			u.ID, u.Login, u.Upstream, string(body))
		return err
	})
}

// ChangeUser changes an account as it stands, so that two who change it at once lose nothing of each other's; ErrNotFound.
// change may be called again after a conflict, and its error ends it.
func (s *Store) ChangeUser(ctx context.Context, id string, change func(*people.User) error) error {
	return s.engine.Write(ctx, func(tx Tx) error {
		var body string
		found, err := one(ctx, tx, "SELECT body FROM person WHERE id=?", []any{id}, &body)
		if err == nil && !found {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		var u people.User
		if err := json.Unmarshal([]byte(body), &u); err != nil {
			return err
		}
		if err := change(&u); err != nil {
			return err
		}
		changed, err := json.Marshal(u)
		if err != nil {
			return fmt.Errorf("store: account: %w", err)
		}
		n, err := tx.Exec(ctx, "UPDATE person SET login=?,upstream=?,body=? WHERE id=? AND body=?", u.Login, u.Upstream, string(changed), id, body)
		if err == nil && n == 0 {
			err = ErrConflict
		}
		return err
	})
}

// User is an account by its id; ErrNotFound.
func (s *Store) User(ctx context.Context, id string) (people.User, error) {
	return s.user(ctx, "id", id)
}

// UserByLogin is an account by what its owner types; ErrNotFound.
func (s *Store) UserByLogin(ctx context.Context, login string) (people.User, error) {
	return s.user(ctx, "login", login)
}

// UserByUpstream is an account by its name at the OpenID provider ("issuer subject"); ErrNotFound.
func (s *Store) UserByUpstream(ctx context.Context, upstream string) (people.User, error) {
	if upstream == "" {
		return people.User{}, ErrNotFound
	}
	return s.user(ctx, "upstream", upstream)
}

func (s *Store) user(ctx context.Context, column, value string) (people.User, error) {
	var u people.User
	err := s.engine.Read(ctx, func(tx Tx) error {
		var body string
		found, err := one(ctx, tx, "SELECT body FROM person WHERE "+column+"=?", []any{value}, &body)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		return json.Unmarshal([]byte(body), &u)
	})
	return u, err
}

// Users lists all accounts by login.
func (s *Store) Users(ctx context.Context) ([]people.User, error) {
	var out []people.User
	err := s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT body FROM person ORDER BY login", nil, func(r Rows) error {
			var body string
			if err := r.Scan(&body); err != nil {
				return err
			}
			out = append(out, people.User{})
			return json.Unmarshal([]byte(body), &out[len(out)-1])
		})
	})
	return out, err
}

// Attempt counts one more attempt under a name and reports how many there have been in the current slot of time, this one
// included. All replicas count together.
func (s *Store) Attempt(ctx context.Context, name string, slot time.Duration) (int64, error) {
	now, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	var n int64
	current := now / slot.Microseconds()
	err = s.engine.Write(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM attempt WHERE expires<=?", now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO attempt (name,slot,n,expires) VALUES (?,?,1,?) ON CONFLICT (name,slot) DO UPDATE SET n=attempt.n+1", name, current, (current+1)*slot.Microseconds()); err != nil {
			return err
		}
		_, err := one(ctx, tx, "SELECT n FROM attempt WHERE name=? AND slot=?", []any{name, current}, &n)
		return err
	})
	return n, err
}

// Attempts reports the attempts of the current slot without counting one.
func (s *Store) Attempts(ctx context.Context, name string, slot time.Duration) (int64, error) {
	now, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.engine.Read(ctx, func(tx Tx) error {
		_, err := one(ctx, tx, "SELECT n FROM attempt WHERE name=? AND slot=?", []any{name, now / slot.Microseconds()}, &n)
		return err
	})
	return n, err
}

// ForgetAttempts forgets those under a name.
func (s *Store) ForgetAttempts(ctx context.Context, name string) error {
	return s.engine.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM attempt WHERE name=?", name)
		return err
	})
}
