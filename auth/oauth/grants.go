package oauth

import (
	"context"
	"fmt"
	"slices"
)

// Authorizations lists what an account let apps do and still stands, newest first.
func (s *Server) Authorizations(ctx context.Context, user string) ([]Authorization, error) {
	all, err := s.cfg.Grants.Authorizations(ctx, user, s.cfg.Now())
	return slices.DeleteFunc(all, func(a Authorization) bool { return a.Used.IsZero() }), err
}

// RevokeAuthorization ends what the account let an app do, with every token under it. ErrNotFound when it is not the
// account's. On this replica it holds at once, on others within a second.
func (s *Server) RevokeAuthorization(ctx context.Context, user, id string) error {
	a, err := s.cfg.Grants.Authorization(ctx, id)
	if err != nil {
		return err
	}
	if user == "" || a.Context.User != user {
		return ErrNotFound
	}
	return s.revokeFamily(ctx, id)
}

// revokeFamily ends an authorization and every token under it.
func (s *Server) revokeFamily(ctx context.Context, id string) error {
	if err := s.cfg.Grants.RevokeAuthorization(ctx, id, s.cfg.Now()); err != nil {
		return fmt.Errorf("oauth: revoking: %w", err)
	}
	s.grants.forget(id)
	return nil
}
