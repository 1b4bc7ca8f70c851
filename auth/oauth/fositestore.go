package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/token/jwt"

	"trellis/auth/smart"
)

// session carries through fosite what a token needs and fosite does not know. Its expiry is left zero on purpose:
// fosite would compute with the machine's clock, so lifetimes are applied in fositeStore instead.
type session struct {
	client  Client
	purpose string
	code    codeRequest // of an authorization code
	grant   Authorization
	claims  jwt.IDTokenClaims // what fosite adds to an id_token
	access  Token             // filled in when made
	issue   *Issue            // of a person's token: what is to happen once all is ready
}

func (*session) SetExpiresAt(fosite.TokenType, time.Time)        {}
func (*session) GetExpiresAt(fosite.TokenType) (never time.Time) { return never }
func (s *session) GetUsername() string                           { return "" }
func (s *session) GetSubject() string {
	if user := s.grant.Context.User; user != "" {
		return user
	}
	return s.client.ID
}

// Clone returns the same session: one request has one session and one token.
func (s *session) Clone() fosite.Session { return s }

// IDTokenClaims and IDTokenHeaders make it an openid.Session.
func (s *session) IDTokenClaims() *jwt.IDTokenClaims {
	s.claims.Subject = s.GetSubject()
	return &s.claims
}
func (*session) IDTokenHeaders() *jwt.Headers { return &jwt.Headers{} }

// authenticated is the fosite view of a client, with the claims that came along when it proved its key.
type authenticated struct {
	*fosite.DefaultClient
	client   Client
	purposes claimedPurpose
}

func newAuthenticated(c Client, p claimedPurpose) *authenticated {
	view := &fosite.DefaultClient{ID: c.ID, Scopes: c.Scopes, RedirectURIs: c.RedirectURIs, ResponseTypes: fosite.Arguments{"code"}, Public: c.Public()}
	if c.Interactive() {
		view.GrantTypes = fosite.Arguments{"authorization_code", "refresh_token"}
	}
	if len(c.JWKS) > 0 || c.JWKSURL != "" {
		view.GrantTypes = append(view.GrantTypes, "client_credentials")
	}
	return &authenticated{client: c, purposes: p, DefaultClient: view}
}

// fositeStore is the storage fosite sees. fosite finds abilities by type assertion, so this is one plain type without
// decorators. What one answer of the token endpoint changes is gathered between BeginTX and Commit, kept in the session until
// the answer is ready, id_token and all, and then happens at once (see Server.exchange).
type fositeStore struct{ s *Server }

var errUnused = errors.New("oauth: not used by these grants")

// GetClient finds the client of an authorization request.
func (f *fositeStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	c, err := f.s.registered(ctx, id)
	if err != nil {
		return nil, err
	}
	return newAuthenticated(c, claimedPurpose{}), nil
}

// ClientAssertionJWTValid is not reached, and refuses: fosite keys jti globally, we key it by issuer.
func (f *fositeStore) ClientAssertionJWTValid(context.Context, string) error { return errUnused }

// SetClientAssertionJWT is not reached, see ClientAssertionJWTValid.
func (f *fositeStore) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return errUnused
}

// unit is what is gathered between BeginTX and Commit.
type unit struct {
	issue Issue
	sess  *session
}

type unitKey struct{}

// BeginTX implements fosite's storage.Transactional.
func (f *fositeStore) BeginTX(ctx context.Context) (context.Context, error) {
	return context.WithValue(ctx, unitKey{}, &unit{}), nil
}

// Commit leaves what was gathered with the session.
func (f *fositeStore) Commit(ctx context.Context) error {
	u, ok := ctx.Value(unitKey{}).(*unit)
	if !ok || u.sess == nil {
		return errUnused
	}
	u.sess.issue = &u.issue
	return nil
}

// Rollback forgets it.
func (f *fositeStore) Rollback(context.Context) error { return nil }

// Kinds of tickets.
const (
	ticketCode   = "code"
	ticketPushed = "pushed"
	ticketLaunch = "launch"
)

// codeRequest is what a code remembers of the request it was issued for.
type codeRequest struct {
	Authorization string
	RedirectURI   string
	Challenge     string // code_challenge, always S256
	Nonce         string `json:",omitempty"`
}

// CreateAuthorizeCodeSession keeps a code under the digest of its signature.
func (f *fositeStore) CreateAuthorizeCodeSession(ctx context.Context, signature string, r fosite.Requester) error {
	sess, ok := r.GetSession().(*session)
	if !ok {
		return errUnused
	}
	body, err := json.Marshal(sess.code)
	if err != nil {
		return fmt.Errorf("oauth: encoding a code: %w", err)
	}
	return f.s.cfg.Tickets.PutTicket(ctx, Ticket{Kind: ticketCode, ID: digest(signature), Expires: f.s.cfg.Now().Add(codeLifetime), Body: body})
}

// GetAuthorizeCodeSession finds the request a code was issued for.
func (f *fositeStore) GetAuthorizeCodeSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	ticket, err := f.s.cfg.Tickets.Ticket(ctx, ticketCode, digest(signature))
	if errors.Is(err, ErrNotFound) || err == nil && !ticket.Taken && !f.s.cfg.Now().Before(ticket.Expires) {
		return nil, fosite.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	sess := &session{}
	if err := json.Unmarshal(ticket.Body, &sess.code); err != nil {
		return nil, fmt.Errorf("oauth: a stored code cannot be read: %w", err)
	}
	sess.grant, err = f.s.cfg.Grants.Authorization(ctx, sess.code.Authorization)
	if errors.Is(err, ErrNotFound) { // nobody redeemed it in time
		return nil, fosite.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	sess.purpose = sess.grant.Purpose
	r := fosite.NewRequest()
	r.ID, r.Session = sess.grant.ID, sess
	r.Client = newAuthenticated(Client{ID: sess.grant.ClientID, RedirectURIs: []string{sess.code.RedirectURI}}, claimedPurpose{})
	r.RequestedScope, r.GrantedScope = sess.grant.Scopes, sess.grant.Scopes
	r.Form = url.Values{"redirect_uri": {sess.code.RedirectURI}, "code_challenge": {sess.code.Challenge}, "code_challenge_method": {"S256"}}
	if ticket.Taken {
		return r, fosite.ErrInvalidatedAuthorizeCode
	}
	return r, nil
}

// InvalidateAuthorizeCodeSession takes the code when the unit is committed.
func (f *fositeStore) InvalidateAuthorizeCodeSession(ctx context.Context, signature string) error {
	u, ok := ctx.Value(unitKey{}).(*unit)
	if !ok {
		return errUnused
	}
	u.issue.Code = &Ticket{Kind: ticketCode, ID: digest(signature)}
	return nil
}

// CreatePKCERequestSession has nothing to keep: the code remembers its challenge.
func (f *fositeStore) CreatePKCERequestSession(context.Context, string, fosite.Requester) error {
	return nil
}

// GetPKCERequestSession is the request the code was issued for.
func (f *fositeStore) GetPKCERequestSession(ctx context.Context, signature string, s fosite.Session) (fosite.Requester, error) {
	return f.GetAuthorizeCodeSession(ctx, signature, s)
}

// DeletePKCERequestSession keeps it: whatever the verifier, the code is burned (see Server.issue).
func (f *fositeStore) DeletePKCERequestSession(context.Context, string) error { return nil }

// CreateOpenIDConnectSession has nothing to keep: the code remembers its nonce.
func (f *fositeStore) CreateOpenIDConnectSession(context.Context, string, fosite.Requester) error {
	return nil
}

// GetOpenIDConnectSession is the request whose token is being issued. The code has been taken by now.
func (f *fositeStore) GetOpenIDConnectSession(_ context.Context, _ string, r fosite.Requester) (fosite.Requester, error) {
	if !r.GetGrantedScopes().Has("openid") {
		return nil, fosite.ErrNotFound // openid.ErrNoSessionFound: no id_token was asked for
	}
	return r, nil
}

// DeleteOpenIDConnectSession has nothing to delete.
func (f *fositeStore) DeleteOpenIDConnectSession(context.Context, string) error { return nil }

// CreateAccessTokenSession stores the token under its signature, or gathers it.
func (f *fositeStore) CreateAccessTokenSession(ctx context.Context, signature string, r fosite.Requester) error {
	sess, ok := r.GetSession().(*session)
	if !ok || sess.purpose == "" {
		return errors.New("oauth: a token without purpose")
	}
	u, gathered := ctx.Value(unitKey{}).(*unit)
	if !gathered {
		sess.access = f.s.newToken(sess, r, signature, UseAccess, Lifetime)
		return f.s.cfg.Store.SaveToken(ctx, sess.access)
	}
	sess.access = f.s.newToken(sess, r, signature, UseAccess, AppLifetime)
	u.sess = sess
	u.issue.add(sess.grant.ID, sess.access)
	return nil
}

// CreateRefreshTokenSession gathers it.
func (f *fositeStore) CreateRefreshTokenSession(ctx context.Context, signature, _ string, r fosite.Requester) error {
	sess, ok := r.GetSession().(*session)
	u, gathered := ctx.Value(unitKey{}).(*unit)
	if !ok || !gathered {
		return errUnused
	}
	u.issue.add(sess.grant.ID, f.s.newToken(sess, r, signature, UseRefresh, refreshLifetime(sess.grant.Scopes)))
	return nil
}

// newToken is what is kept of a token.
func (s *Server) newToken(sess *session, r fosite.Requester, signature, use string, life time.Duration) Token {
	now := s.cfg.Now().UTC().Truncate(time.Microsecond)
	t := Token{
		Signature: signature, RequestID: r.GetID(), Use: use, ClientID: sess.client.ID, Scopes: r.GetGrantedScopes(),
		Purpose: sess.purpose, Context: sess.grant.Context, IssuedAt: now, ExpiresAt: now.Add(life),
	}
	if use == UseRefresh { // a narrowed access token leaves the grant as it is
		t.Scopes = sess.grant.Scopes
	}
	return t
}

// add gathers a token. The authorization lasts as long as the longest of them.
func (i *Issue) add(authorization string, t Token) {
	i.Authorization, i.At = authorization, t.IssuedAt
	i.Tokens = append(i.Tokens, t)
	if t.ExpiresAt.After(i.Expires) {
		i.Expires = t.ExpiresAt
	}
}

// refreshLifetime is how long a refresh token lasts without use.
func refreshLifetime(scopes []string) time.Duration {
	for _, scope := range scopes {
		if scope == "offline_access" {
			return OfflineLifetime
		}
	}
	return OnlineLifetime
}

// RevokeAccessToken ends the authorization: fosite asks for it when a code is redeemed twice.
func (f *fositeStore) RevokeAccessToken(ctx context.Context, requestID string) error {
	return f.s.revokeFamily(ctx, requestID)
}

// RevokeRefreshToken is RevokeAccessToken: both kinds end together.
func (f *fositeStore) RevokeRefreshToken(ctx context.Context, requestID string) error {
	return f.s.revokeFamily(ctx, requestID)
}

// GetAccessTokenSession is not reached: Authenticate reads tokens without fosite.
func (f *fositeStore) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, errUnused
}

// DeleteAccessTokenSession is not reached: tokens are revoked, not deleted.
func (f *fositeStore) DeleteAccessTokenSession(context.Context, string) error { return errUnused }

// GetRefreshTokenSession is not reached: refreshGrant reads tokens itself.
func (f *fositeStore) GetRefreshTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, errUnused
}

// DeleteRefreshTokenSession is not reached, see GetRefreshTokenSession.
func (f *fositeStore) DeleteRefreshTokenSession(context.Context, string) error { return errUnused }

// RotateRefreshToken is not reached, see GetRefreshTokenSession.
func (f *fositeStore) RotateRefreshToken(context.Context, string, string) error { return errUnused }

func parseScopes(list []string) (smart.Set, error) { return smart.Parse(strings.Join(list, " ")) }
