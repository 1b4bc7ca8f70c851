package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"trellis/auth/smart"
)

// Refusals of Authenticate. For both the caller answers 401 with Challenge as the WWW-Authenticate header. Any other
// error is ours, not the bearer's.
var (
	ErrNoToken  = errors.New("oauth: no bearer token in the Authorization header")
	ErrBadToken = errors.New("oauth: bearer token is not valid")
)

// Challenge is the WWW-Authenticate header for a refusal of Authenticate (RFC 6750 section 3): no error code for a
// request that carried no token.
func Challenge(err error) string {
	if errors.Is(err, ErrNoToken) {
		return "Bearer"
	}
	return `Bearer error="invalid_token"`
}

// Grant is what a valid token lets its bearer do. The zero Grant allows nothing.
type Grant struct {
	ClientID string
	// Organization is the FHIR id of the Organization the bearer acts for: the client's when it acts for itself, that of a
	// member of staff, and none for a patient or a proxy.
	Organization string
	Context      Context // of a user's token
	Purpose      string  // exactly one
	Scopes       smart.Set
	TokenID      string // safe to show and to log, unlike the token
	ExpiresAt    time.Time
}

// freshness bounds how long a checked token is believed without asking the store again, and so how long a revoked
// token or a disabled client can still be served by any replica.
const freshness = time.Second

const maxToken = 512

// Authenticate checks the bearer token of a resource request. Only the Authorization header is looked at: a token in
// the query or in the body is no token. The HMAC is verified before the store is asked, so guessing costs no query.
func (s *Server) Authenticate(r *http.Request) (Grant, error) {
	token, err := bearer(r)
	if err != nil {
		return Grant{}, err
	}
	ctx := r.Context()
	if err := s.mac.Validate(ctx, token); err != nil {
		return Grant{}, ErrBadToken
	}
	now := s.cfg.Now()
	signature := s.mac.Signature(token)
	found, ok := s.grants.get(signature, now)
	if !ok {
		found, err = s.look(ctx, signature, now)
		if err != nil {
			return Grant{}, err
		}
		s.grants.put(signature, found, now)
	}
	if !found.valid || !now.Before(found.grant.ExpiresAt) {
		return Grant{}, ErrBadToken
	}
	return found.grant, nil
}

// bearer extracts the token: exactly one Authorization header of scheme Bearer with one b64token (RFC 6750 section 2.1).
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", ErrNoToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoToken
	}
	if !ok || len(values) > 1 || token == "" || len(token) > maxToken || strings.ContainsAny(token, " \t,\r\n") {
		return "", ErrBadToken
	}
	return token, nil
}

// look asks the store. A token stands only as long as everything it was issued under stands: not revoked, of the
// right use, client enabled, scopes and purpose still within the registration.
func (s *Server) look(ctx context.Context, signature string, now time.Time) (cached, error) {
	refused := cached{asked: now}
	token, err := s.cfg.Store.Token(ctx, signature)
	if errors.Is(err, ErrNotFound) {
		return refused, nil
	}
	if err != nil {
		return cached{}, fmt.Errorf("oauth: reading the token: %w", err)
	}
	if token.Revoked || token.Use != UseAccess || token.Signature != signature {
		return refused, nil
	}
	client, err := s.cfg.Store.Client(ctx, token.ClientID)
	if errors.Is(err, ErrNotFound) {
		return refused, nil
	}
	if err != nil {
		return cached{}, fmt.Errorf("oauth: reading the client: %w", err)
	}
	if client.Disabled || client.ID != token.ClientID {
		return refused, nil
	}
	granted, err := s.stands(ctx, token.Context, client, token.Scopes, token.Purpose)
	if refusal(err) || errors.Is(err, smart.ErrScope) { // scopes no release can read any more open nothing
		return refused, nil
	}
	if err != nil {
		return cached{}, fmt.Errorf("oauth: asking whether the person may act: %w", err)
	}
	organization := client.Organization
	if token.Context.User != "" {
		organization = token.Context.Organization
	}
	return cached{valid: true, asked: now, grant: Grant{
		ClientID:     client.ID,
		Organization: organization,
		Context:      token.Context,
		Purpose:      token.Purpose,
		Scopes:       granted,
		TokenID:      token.RequestID,
		ExpiresAt:    token.ExpiresAt,
	}}, nil
}

// cached is one answer of the store. Its age counts from before the store was asked.
type cached struct {
	grant Grant
	valid bool
	asked time.Time
}

// grantCache holds answers for at most freshness. Only signatures whose HMAC verified get in, so its size is bounded
// by the tokens we issued, and by maxGrants.
type grantCache struct {
	mu      sync.RWMutex
	entries map[string]cached
}

const maxGrants = 10_000

func newGrantCache() *grantCache { return &grantCache{entries: map[string]cached{}} }

func (c *grantCache) get(signature string, now time.Time) (cached, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[signature]
	age := now.Sub(e.asked)
	return e, ok && age >= 0 && age < freshness
}

func (c *grantCache) put(signature string, e cached, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxGrants {
		for key, old := range c.entries {
			if now.Sub(old.asked) >= freshness {
				delete(c.entries, key)
			}
		}
		if len(c.entries) >= maxGrants {
			clear(c.entries)
		}
	}
	// Of two concurrent answers the later question wins, so an older one cannot bring a revoked token back.
	if old, ok := c.entries[signature]; ok && old.asked.After(e.asked) {
		return
	}
	c.entries[signature] = e
}

// Revoke ends every token of the request id (Grant.TokenID). On this replica it holds at once, on others within a
// second. ErrNotFound when there is no such token.
func (s *Server) Revoke(ctx context.Context, tokenID string) error {
	if err := s.cfg.Store.RevokeToken(ctx, tokenID); err != nil {
		return fmt.Errorf("oauth: revoking: %w", err)
	}
	s.grants.forget(tokenID)
	return nil
}

func (c *grantCache) forget(tokenID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.entries {
		if e.grant.TokenID == tokenID {
			delete(c.entries, key)
		}
	}
}

// errorType is what a log may know of an error that could quote a request.
func errorType(err error) slog.Attr { return slog.String("error_type", fmt.Sprintf("%T", err)) }
