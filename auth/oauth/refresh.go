package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ory/fosite"
)

// refreshGrant is the refresh token grant (RFC 6749 section 6). fosite's own ignores `scope`; here a narrower one is
// honoured for the access token, a wider one refused, and the refresh token keeps what the person agreed to. A refresh token
// is exchanged once: a second use ends everything under the authorization (RFC 9700 section 4.14).
type refreshGrant struct{ s *Server }

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (*refreshGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (*refreshGrant) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().ExactOne("refresh_token")
}

// HandleTokenEndpointRequest checks the refresh token.
func (g *refreshGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	client, ok := authenticatedClient(r)
	sess, mine := r.GetSession().(*session)
	if !ok || !mine {
		return serverError(errUnused)
	}
	if !client.client.Interactive() {
		return unauthorizedClient()
	}
	sess.client = client.client
	raw := r.GetRequestForm().Get("refresh_token")
	if raw == "" {
		return invalidRequest("refresh_token is missing")
	}
	if len(raw) > maxToken || g.s.mac.Validate(ctx, raw) != nil {
		return invalidGrant("not a token of ours")
	}
	token, err := g.s.cfg.Store.Token(ctx, g.s.mac.Signature(raw))
	switch {
	case errors.Is(err, ErrNotFound):
		return invalidGrant("unknown refresh token")
	case err != nil:
		return serverError(err)
	case token.Use != UseRefresh || token.ClientID != client.client.ID:
		return invalidGrant("not this client's refresh token")
	case token.Used:
		if err := g.s.revokeFamily(ctx, token.RequestID); err != nil {
			return serverError(err)
		}
		p := invalidGrant("refresh token used again")
		p.note = NoteRefreshReuse
		return p
	}
	sess.grant, err = g.s.cfg.Grants.Authorization(ctx, token.RequestID)
	switch {
	case errors.Is(err, ErrNotFound):
		return invalidGrant("the authorization is gone")
	case err != nil:
		return serverError(err)
	}
	now := g.s.cfg.Now()
	if token.Revoked || !now.Before(token.ExpiresAt) || !sess.grant.Revoked.IsZero() || !now.Before(sess.grant.Expires) {
		return invalidGrant("refresh token expired or revoked")
	}
	if _, err := g.s.stands(ctx, sess.grant.Context, client.client, sess.grant.Scopes, sess.grant.Purpose); err != nil {
		return err
	}
	sess.purpose = sess.grant.Purpose
	r.SetID(sess.grant.ID)
	return g.narrow(r, sess.grant.Scopes)
}

// narrow grants what was asked for, within what the person agreed to.
func (g *refreshGrant) narrow(r fosite.AccessRequester, agreed []string) error {
	scopes := agreed
	if text := r.GetRequestForm().Get("scope"); strings.TrimSpace(text) != "" {
		have, err := parseScopes(agreed)
		if err != nil {
			return serverError(err)
		}
		asked, err := parseScopes([]string{text})
		if err != nil || asked.Empty() || !have.ContainsAll(asked) {
			return invalidScope("scope is wider than what was granted")
		}
		scopes = strings.Fields(asked.String())
	}
	for _, scope := range scopes {
		r.GrantScope(scope)
	}
	return nil
}

// PopulateTokenEndpointResponse makes the new tokens; Server.exchange has the old one exchanged for them. fosite calls it
// for every grant.
func (g *refreshGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, out fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	sess, ok := r.GetSession().(*session)
	if !ok {
		return serverError(errUnused)
	}
	access, accessSignature, err := g.s.strategy.GenerateAccessToken(ctx, r)
	if err != nil {
		return serverError(err)
	}
	refresh, refreshSignature, err := g.s.strategy.GenerateRefreshToken(ctx, r)
	if err != nil {
		return serverError(err)
	}
	sess.access = g.s.newToken(sess, r, accessSignature, UseAccess, AppLifetime)
	issue := Issue{Refresh: g.s.mac.Signature(r.GetRequestForm().Get("refresh_token"))}
	issue.add(sess.grant.ID, sess.access)
	issue.add(sess.grant.ID, g.s.newToken(sess, r, refreshSignature, UseRefresh, refreshLifetime(sess.grant.Scopes)))
	if !slices.Contains(sess.grant.Scopes, "offline_access") { // no longer than the login it came from
		issue.Expires = sess.grant.Expires
		for i := range issue.Tokens {
			if issue.Tokens[i].ExpiresAt.After(issue.Expires) {
				issue.Tokens[i].ExpiresAt = issue.Expires
			}
		}
	}
	sess.issue = &issue
	out.SetAccessToken(access)
	out.SetTokenType("bearer")
	out.SetScopes(r.GetGrantedScopes())
	out.SetExtra("refresh_token", refresh)
	if r.GetGrantedScopes().Has("openid") {
		id, err := idTokens{g.s}.sign(ctx, sess, access)
		if err != nil {
			return serverError(err)
		}
		out.SetExtra("id_token", id)
	}
	return nil
}
