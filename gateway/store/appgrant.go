package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"trellis/auth/oauth"
)

// SaveAuthorization implements oauth.Grants.
func (o oauthStore) SaveAuthorization(ctx context.Context, a oauth.Authorization) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("store: authorization: %w", err)
	}
	return o.s.engine.Write(ctx, func(tx Tx) error {
		// What nobody redeemed in time nobody will.
		if _, err := tx.Exec(ctx, "DELETE FROM app_grant WHERE used=0 AND expires<?", a.Created.Add(-24*time.Hour).UnixMicro()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO app_grant (id,person,created,used,expires,revoked,body) VALUES (?,?,?,0,?,0,?)",
			a.ID, a.Context.User, a.Created.UnixMicro(), a.Expires.UnixMicro(), string(body))
		return err
	})
}

const grantColumns = "SELECT body,used,expires,revoked FROM app_grant WHERE "

// Authorization implements oauth.Grants.
func (o oauthStore) Authorization(ctx context.Context, id string) (oauth.Authorization, error) {
	list, err := o.authorizations(ctx, grantColumns+"id=?", []any{id})
	if err == nil && len(list) == 0 {
		err = oauth.ErrNotFound
	}
	if err != nil {
		return oauth.Authorization{}, err
	}
	return list[0], nil
}

// Authorizations implements oauth.Grants.
func (o oauthStore) Authorizations(ctx context.Context, user string, at time.Time) ([]oauth.Authorization, error) {
	return o.authorizations(ctx, grantColumns+"person=? AND revoked=0 AND expires>? ORDER BY created DESC,id", []any{user, at.UnixMicro()})
}

func (o oauthStore) authorizations(ctx context.Context, sql string, args []any) ([]oauth.Authorization, error) {
	var out []oauth.Authorization
	err := o.s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, sql, args, func(r Rows) error {
			var body string
			var used, expires, revoked int64
			if err := r.Scan(&body, &used, &expires, &revoked); err != nil {
				return err
			}
			var a oauth.Authorization
			if err := json.Unmarshal([]byte(body), &a); err != nil {
				return err
			}
			a.Used, a.Expires, a.Revoked = instant(used), instant(expires), instant(revoked)
			out = append(out, a)
			return nil
		})
	})
	return out, err
}

// instant is a stored time; 0 is none.
func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// RevokeAuthorization implements oauth.Grants. It changes one row, however many tokens there are: a token is read with its
// grant.
func (o oauthStore) RevokeAuthorization(ctx context.Context, id string, at time.Time) error {
	return o.s.engine.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(ctx, "UPDATE app_grant SET revoked=CASE WHEN revoked=0 THEN ? ELSE revoked END WHERE id=?", at.UnixMicro(), id)
		if err == nil && n == 0 {
			err = oauth.ErrNotFound
		}
		return err
	})
}

// Issue implements oauth.Grants. The grant's row is written first: whoever revokes it waits, or is waited for.
func (o oauthStore) Issue(ctx context.Context, i oauth.Issue) error {
	return o.s.engine.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(ctx, "UPDATE app_grant SET used=?,expires=? WHERE id=? AND revoked=0 AND expires>?", i.At.UnixMicro(), i.Expires.UnixMicro(), i.Authorization, i.At.UnixMicro())
		if err != nil {
			return err
		}
		if n == 0 {
			return oauth.ErrRevoked
		}
		if i.Code != nil {
			if err := take(ctx, tx, i.Code.Kind, i.Code.ID); err != nil {
				return err
			}
		}
		if i.Refresh != "" {
			n, err := tx.Exec(ctx, "UPDATE oauth_token SET used=1 WHERE signature=? AND used=0", i.Refresh)
			if err == nil && n == 0 {
				err = oauth.ErrTaken
			}
			if err != nil {
				return err
			}
		}
		if err := pruneTokens(ctx, tx, i.At); err != nil {
			return err
		}
		for _, t := range i.Tokens {
			if err := insertToken(ctx, tx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// pruneTokens forgets tokens a day after their end.
func pruneTokens(ctx context.Context, tx Tx, now time.Time) error {
	_, err := tx.Exec(ctx, "DELETE FROM oauth_token WHERE expires<?", now.Add(-24*time.Hour).UnixMicro())
	return err
}

func insertToken(ctx context.Context, tx Tx, t oauth.Token) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("store: token: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO oauth_token (signature,request_id,expires,used,body) VALUES (?,?,?,0,?)", t.Signature, t.RequestID, t.ExpiresAt.UnixMicro(), string(body))
	return err
}
