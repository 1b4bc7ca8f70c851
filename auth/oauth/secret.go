package oauth

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/ory/fosite"
)

// NewSecret makes a client secret of 256 random bits in [A-Za-z0-9_-]: clients send it in Basic headers without
// percent-encoding it.
func NewSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// SecretKey derives the key client secrets are hashed with from the deployment's secret.
func SecretKey(deployment []byte) []byte {
	key, err := hkdf.Key(sha256.New, deployment, nil, "trellis client secret v1", 32)
	if err != nil {
		return nil // no secret matches a hash under no key
	}
	return key
}

// HashSecret is Client.SecretHash of a secret NewSecret made. Such a secret cannot be guessed, so the hash may be fast.
func HashSecret(key []byte, secret string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Server) secretMatches(hash, secret string) bool {
	return len(s.secretKey) > 0 && hash != "" && secret != "" && len(secret) <= maxName &&
		hmac.Equal([]byte(HashSecret(s.secretKey, secret)), []byte(hash))
}

// digest names a ticket: who reads the database cannot use it.
func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// authenticateClient is fosite's ClientAuthenticationStrategy: exactly one way of authentication, the one the client
// registered, and invalid_client (401) for every failure.
func (s *Server) authenticateClient(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	c, purposes, err := s.identify(ctx, r, form)
	if form.Get("grant_type") == "refresh_token" && nameless(r, form) {
		c, err = s.byRefreshToken(ctx, form.Get("refresh_token"))
	}
	if err != nil {
		return nil, err
	}
	return newAuthenticated(c, purposes), nil
}

// nameless reports whether a request says nothing of its client.
func nameless(r *http.Request, form url.Values) bool {
	return r.Header.Get("Authorization") == "" && !form.Has("client_id") && !form.Has("client_secret") && !form.Has("client_assertion") && !form.Has("client_assertion_type")
}

// byRefreshToken is the public client a refresh token was issued to. Such a client has nothing to authenticate with, and RFC
// 6749 section 6 does not ask it for its name; the library fhirclient sends none.
func (s *Server) byRefreshToken(ctx context.Context, raw string) (Client, error) {
	if len(raw) > maxToken || s.mac.Validate(ctx, raw) != nil {
		return Client{}, invalidClient("no client, and no token of ours")
	}
	token, err := s.cfg.Store.Token(ctx, s.mac.Signature(raw))
	if errors.Is(err, ErrNotFound) {
		return Client{}, invalidClient("no client, and no token of ours")
	}
	if err != nil {
		return Client{}, serverError(err)
	}
	c, err := s.registered(ctx, token.ClientID)
	if err != nil {
		return Client{}, err
	}
	if !c.Public() || token.Use != UseRefresh {
		return Client{}, invalidClient("the client has to authenticate")
	}
	return c, nil
}

// identify authenticates the client of a request; an assertion may name the token endpoint or one of audiences.
func (s *Server) identify(ctx context.Context, r *http.Request, form url.Values, audiences ...string) (Client, claimedPurpose, error) {
	id, secret, basic := r.BasicAuth()
	switch {
	case form.Has("client_assertion") || form.Has("client_assertion_type"):
		if r.Header.Get("Authorization") != "" || form.Has("client_secret") {
			return Client{}, claimedPurpose{}, invalidClient("two ways of authentication")
		}
		return s.byAssertion(ctx, form, audiences)
	case r.Header.Get("Authorization") != "":
		if !basic || form.Has("client_secret") || form.Has("client_id") && form.Get("client_id") != id {
			return Client{}, claimedPurpose{}, invalidClient("malformed Basic header, or two ways of authentication")
		}
	default:
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	c, err := s.registered(ctx, id)
	if err != nil {
		return Client{}, claimedPurpose{}, err
	}
	switch {
	case secret != "":
		if !s.secretMatches(c.SecretHash, secret) {
			return Client{}, claimedPurpose{}, invalidClient("the secret does not match")
		}
	case !c.Public() || basic || form.Has("client_secret"):
		return Client{}, claimedPurpose{}, invalidClient("the client has to authenticate")
	}
	return c, claimedPurpose{}, nil
}

// registered is an enabled client.
func (s *Server) registered(ctx context.Context, id string) (Client, error) {
	if id == "" || len(id) > maxName || strings.ContainsRune(id, 0) || !utf8.ValidString(id) {
		return Client{}, invalidClient("no client id")
	}
	c, err := s.cfg.Store.Client(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return Client{}, invalidClient("unknown client")
	case err != nil:
		return Client{}, serverError(err)
	case c.Disabled || c.ID != id:
		return Client{}, invalidClient("disabled client")
	}
	return c, nil
}
