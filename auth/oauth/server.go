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
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/hmac"
)

// Lifetimes.
const (
	// Lifetime of the access token of a client acting for itself. SMART Backend Services: SHOULD be no longer than 300 s.
	Lifetime = 300 * time.Second
	// AppLifetime is that of an app's access token, and all an authorization without refresh lasts.
	AppLifetime = time.Hour
	// OfflineLifetime is how long offline_access lasts without use. ONC (g)(10) asks for three months, renewed at each use.
	OfflineLifetime = 100 * 24 * time.Hour
	// OnlineLifetime is how long online_access lasts: no longer than a login session can.
	OnlineLifetime = 12 * time.Hour
	// codeLifetime is how long an app has to redeem a code, launchLifetime how long a launch may wait for its app,
	// pushedLifetime how long a pushed request may wait for its browser.
	codeLifetime   = time.Minute
	launchLifetime = 5 * time.Minute
	pushedLifetime = 90 * time.Second
)

// Config is what a Server is made of. Issuer, FHIRBase, TokenURL, Secret, Store, Grants, Tickets and SigningKeys are
// required; without FHIRBase the server issues no tokens for people and needs none of the last three.
type Config struct {
	// Issuer names this authorization server (RFC 9207, OpenID Connect): an absolute URL below which its endpoints are.
	Issuer string
	// FHIRBase is the FHIR base URL, the only `aud` there is.
	FHIRBase string
	// TokenURL is the absolute URL of the token endpoint, byte for byte what clients put into `aud`.
	TokenURL string
	// Secret keys the tokens' HMAC: 32 random bytes or more, the same on every replica. RotatedSecrets are earlier
	// ones under which unexpired tokens are still accepted.
	Secret         []byte
	RotatedSecrets [][]byte
	Store          Store
	Grants         Grants
	Tickets        Tickets
	// SigningKeys returns the private keys id_tokens are signed with, as JWKs made by NewSigningKey: the first signs, all
	// are published.
	SigningKeys func(context.Context) ([][]byte, error)
	// Standing says whether a person may still act as a token says: nil, always.
	Standing func(context.Context, Context) (bool, error)
	// StyleURL is where apps find the colours of this server (smart_style_url); empty: none is offered.
	StyleURL string
	// Registry keeps what clients register themselves; nil turns dynamic registration off.
	Registry Registry
	// Keys fetches a client's keys from its JWKSURL; nil refuses clients without inline keys.
	Keys KeyFetcher
	// KnownType says which resource types a scope may name besides "*"; nil accepts every well-formed name.
	KnownType func(resourceType string) bool
	// OnToken hears of every answer of the token endpoint, and of every revocation and registration, before it is written;
	// an error turns it into a 500, so that no token is released without its audit record. Garbage from strangers is announced too, without ClientID: the
	// caller decides whether that is worth a durable record. Optional.
	OnToken func(context.Context, Outcome) error
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: silent
}

// Outcome is one answer of an endpoint, for the audit log.
type Outcome struct {
	Endpoint string // EndpointToken, EndpointRevocation or EndpointRegistration
	ClientID string // empty when the client did not authenticate
	TokenID  string // request id of the issued token; empty on refusal
	Scopes   []string
	Purpose  string
	Context  Context // of a token for a person
	Grant    string  // grant_type, of those this server knows
	Code     string  // "" for success, else the OAuth error code
	Note     string  // a constant that says more, e.g. NoteRefreshReuse
}

// Endpoints and notes of outcomes.
const (
	EndpointToken        = "token"
	EndpointRevocation   = "revocation"
	EndpointRegistration = "registration"

	NoteRefreshReuse = "refresh-token-reuse" // the authorization was ended
	NoteCodeReplay   = "code-replay"         // the authorization was ended
	NoteRegistered   = "registered"
	NoteChanged      = "changed"
	NoteDeleted      = "deleted"
)

// Server is the token endpoint and the check of bearer tokens. Safe for concurrent use.
type Server struct {
	cfg      Config
	provider fosite.OAuth2Provider
	strategy *foauth2.HMACSHAStrategyUnPrefixed
	mac      *hmac.HMACStrategy
	grants   *grantCache

	secretKey []byte // of client secrets
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
	if cfg.FHIRBase != "" {
		if u, err := url.Parse(cfg.Issuer); err != nil || !u.IsAbs() || u.Host == "" {
			faults = append(faults, errors.New("oauth: Issuer has to be an absolute URL"))
		}
		if cfg.Grants == nil || cfg.Tickets == nil || cfg.SigningKeys == nil {
			faults = append(faults, errors.New("oauth: Grants, Tickets or SigningKeys is missing"))
		}
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
	s := &Server{cfg: cfg, grants: newGrantCache(), secretKey: SecretKey(cfg.Secret)}
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

// compose wires fosite with the grants there are: client credentials, authorization code with PKCE and OpenID Connect,
// and our own refresh. Nothing else is switched on: no implicit, no password, no JWT bearer grant.
func (s *Server) compose(current []byte, rotated [][]byte) {
	conf := &fosite.Config{
		AccessTokenLifespan:          Lifetime,
		AuthorizeCodeLifespan:        codeLifetime,
		GlobalSecret:                 current,
		RotatedGlobalSecrets:         rotated,
		TokenURL:                     s.cfg.TokenURL,
		ScopeStrategy:                func([]string, string) bool { return true }, // asked once for all scopes, in grantScopes and Interaction.read
		ClientAuthenticationStrategy: s.authenticateClient,
		EnforcePKCE:                  true,
		OmitRedirectScopeParam:       true,
		RefreshTokenScopes:           []string{"offline_access", "online_access"},
		SendDebugMessagesToClients:   false,
	}
	s.mac = &hmac.HMACStrategy{Config: conf}
	s.strategy = foauth2.NewHMACSHAStrategyUnPrefixed(s.mac, conf)
	store := &fositeStore{s}
	factories := []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory}
	if s.cfg.FHIRBase != "" {
		factories = append(factories, compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory,
			func(fosite.Configurator, any, any) any {
				return &openid.OpenIDConnectExplicitHandler{
					OpenIDConnectRequestStorage:   store,
					OpenIDConnectRequestValidator: openid.NewOpenIDConnectRequestValidator(nil, conf),
					IDTokenHandleHelper:           &openid.IDTokenHandleHelper{IDTokenStrategy: idTokens{s}},
					Config:                        conf,
				}
			},
			func(fosite.Configurator, any, any) any { return &refreshGrant{s} })
	}
	s.provider = compose.Compose(conf, store, s.strategy, factories...)
}
