package oauth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ory/fosite"

	"trellis/auth/smart"
)

// session carries through fosite what a token needs and fosite does not know. Its expiry is left zero on purpose:
// fosite would compute with the machine's clock, so the lifetime is applied in CreateAccessTokenSession instead.
type session struct {
	client  Client
	purpose string
	token   Token // filled in when stored
}

func (*session) SetExpiresAt(fosite.TokenType, time.Time)        {}
func (*session) GetExpiresAt(fosite.TokenType) (never time.Time) { return never }
func (s *session) GetUsername() string                           { return "" }
func (s *session) GetSubject() string                            { return s.client.ID }

// Clone returns the same session: one request has one session and one token.
func (s *session) Clone() fosite.Session { return s }

// authenticated is the fosite view of a client that proved its key, with the claims that came along.
type authenticated struct {
	*fosite.DefaultClient
	client   Client
	purposes claimedPurpose
}

func newAuthenticated(c Client, p claimedPurpose) *authenticated {
	return &authenticated{client: c, purposes: p, DefaultClient: &fosite.DefaultClient{
		ID:         c.ID,
		GrantTypes: fosite.Arguments{"client_credentials"},
		Scopes:     c.Scopes,
	}}
}

// fositeStore is the storage fosite sees. fosite finds abilities by type assertion, so this is one plain type without
// decorators, holding exactly the methods of the client credentials grant.
type fositeStore struct{ s *Server }

var errUnused = errors.New("oauth: not used by this grant")

// GetClient is not reached: authenticateClient looks clients up itself.
func (f *fositeStore) GetClient(context.Context, string) (fosite.Client, error) {
	return nil, errUnused
}

// ClientAssertionJWTValid is not reached, and refuses: fosite keys jti globally, we key it by issuer.
func (f *fositeStore) ClientAssertionJWTValid(context.Context, string) error { return errUnused }

// SetClientAssertionJWT is not reached, see ClientAssertionJWTValid.
func (f *fositeStore) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return errUnused
}

// CreateAccessTokenSession stores the token under its signature.
func (f *fositeStore) CreateAccessTokenSession(ctx context.Context, signature string, r fosite.Requester) error {
	sess, ok := r.GetSession().(*session)
	if !ok || sess.purpose == "" {
		return errors.New("oauth: a token without purpose")
	}
	now := f.s.cfg.Now().UTC().Truncate(time.Microsecond)
	sess.token = Token{
		Signature: signature,
		RequestID: r.GetID(),
		Use:       UseAccess,
		ClientID:  sess.client.ID,
		Scopes:    r.GetGrantedScopes(),
		Purpose:   sess.purpose,
		IssuedAt:  now,
		ExpiresAt: now.Add(Lifetime),
	}
	return f.s.cfg.Store.SaveToken(ctx, sess.token)
}

// GetAccessTokenSession is not reached: Authenticate reads tokens without fosite.
func (f *fositeStore) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, errUnused
}

// DeleteAccessTokenSession is not reached: tokens are revoked, not deleted.
func (f *fositeStore) DeleteAccessTokenSession(context.Context, string) error { return errUnused }

func parseScopes(list []string) (smart.Set, error) { return smart.Parse(strings.Join(list, " ")) }
