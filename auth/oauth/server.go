package oauth

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	foauth2 "github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/token/hmac"

	"trellis/auth/smart"
)

// Lifetime of an access token. SMART Backend Services: SHOULD be no longer than 300 seconds.
const Lifetime = 300 * time.Second

// Config is what a Server is made of. TokenURL, Secret and Store are required.
type Config struct {
	// TokenURL is the absolute URL of the token endpoint, byte for byte what clients put into `aud`.
	TokenURL string
	// Secret keys the tokens' HMAC: 32 random bytes or more, the same on every replica. RotatedSecrets are earlier
	// ones under which unexpired tokens are still accepted.
	Secret         []byte
	RotatedSecrets [][]byte
	Store          Store
	// Keys fetches a client's keys from its JWKSURL; nil refuses clients without inline keys.
	Keys KeyFetcher
	// KnownType says which resource types a scope may name besides "*"; nil accepts every well-formed name.
	KnownType func(resourceType string) bool
	// OnToken hears of every answer of the token endpoint before it is written; an error turns it into a 500, so that
	// no token is released without its audit record. Garbage from strangers is announced too, without ClientID: the
	// caller decides whether that is worth a durable record. Optional.
	OnToken func(context.Context, Outcome) error
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: silent
}

// Outcome is one answer of the token endpoint, for the audit log.
type Outcome struct {
	ClientID string // empty when the client did not authenticate
	TokenID  string // request id of the issued token; empty on refusal
	Scopes   []string
	Purpose  string
	Code     string // "" for issued, else the OAuth error code
}

// Server is the token endpoint and the check of bearer tokens. Safe for concurrent use.
type Server struct {
	cfg      Config
	provider fosite.OAuth2Provider
	strategy *foauth2.HMACSHAStrategyUnPrefixed
	mac      *hmac.HMACStrategy
	grants   *grantCache
}

// New checks the configuration as a whole and reports all its faults together.
func New(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	var faults []error
	if u, err := url.Parse(cfg.TokenURL); err != nil || !u.IsAbs() || u.Host == "" {
		faults = append(faults, errors.New("oauth: TokenURL has to be an absolute URL"))
	}
	if cfg.Store == nil {
		faults = append(faults, errors.New("oauth: Store is missing"))
	}
	current, err := tokenKey(cfg.Secret)
	if err != nil {
		faults = append(faults, err)
	}
	var rotated [][]byte
	for _, secret := range cfg.RotatedSecrets {
		key, err := tokenKey(secret)
		if err != nil {
			faults = append(faults, err)
		}
		rotated = append(rotated, key)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s := &Server{cfg: cfg, grants: newGrantCache()}
	s.compose(current, rotated)
	return s, nil
}

// tokenKey derives the HMAC key. fosite uses only the first 32 bytes of a secret; deriving uses all of them and keeps
// other uses of the same deployment secret apart.
func tokenKey(secret []byte) ([]byte, error) {
	if len(secret) < 32 {
		return nil, errors.New("oauth: Secret has to be 32 bytes or longer")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "trellis access token v1", 32)
	if err != nil {
		return nil, fmt.Errorf("oauth: deriving the token key: %w", err)
	}
	return key, nil
}

// compose wires fosite with exactly one grant. Nothing else is switched on: no implicit, no password, no JWT bearer
// grant, no refresh, no introspection endpoint.
func (s *Server) compose(current []byte, rotated [][]byte) {
	conf := &fosite.Config{
		AccessTokenLifespan:          Lifetime,
		GlobalSecret:                 current,
		RotatedGlobalSecrets:         rotated,
		TokenURL:                     s.cfg.TokenURL,
		ScopeStrategy:                withinRegistration,
		ClientAuthenticationStrategy: s.authenticateClient,
		SendDebugMessagesToClients:   false,
	}
	s.mac = &hmac.HMACStrategy{Config: conf}
	s.strategy = foauth2.NewHMACSHAStrategyUnPrefixed(s.mac, conf)
	s.provider = compose.Compose(conf, &fositeStore{s}, s.strategy, compose.OAuth2ClientCredentialsGrantFactory)
}

// withinRegistration is fosite's ScopeStrategy in SMART's algebra. What cannot be parsed is outside.
func withinRegistration(registered []string, asked string) bool {
	have, err := parseScopes(registered)
	if err != nil {
		return false
	}
	want, err := smart.Parse(asked)
	return err == nil && !want.Empty() && have.ContainsAll(want)
}
