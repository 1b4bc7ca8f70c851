package oauth

import (
	"context"
	"errors"
	"time"
)

// Sentinels of the Store contract.
var (
	// ErrNotFound: no such client or token.
	ErrNotFound = errors.New("oauth: not found")
	// ErrReplayed: this issuer has used this jti before.
	ErrReplayed = errors.New("oauth: assertion replayed")
)

// UseAccess is Token.Use of an access token, the only kind a resource request may carry.
const UseAccess = "access_token"

// Client is a registered backend client. The zero Client can do nothing.
type Client struct {
	ID           string
	Name         string
	Organization string // FHIR id of the Organization the client acts for
	// JWKS holds the client's public keys inline, JWKSURL the place where it publishes them; one of the two is
	// needed. CheckKeys tells a usable JWKS from one that could never verify anything or that holds private keys.
	JWKS           []byte
	JWKSURL        string
	Scopes         []string // SMART scopes it may ask for, one per element
	Purposes       []string // purposes of use (v3 ActReason codes) it may name
	DefaultPurpose string   // used when it names none; counts as registered
	Disabled       bool     // holds for tokens already issued, within a second
}

// Token is what is kept about an issued token. The token itself is not kept: Signature is its HMAC part.
type Token struct {
	Signature string // unique; the key of lookup
	RequestID string // id that is safe to show: audit, revocation, console
	Use       string // UseAccess; anything else does not open a resource
	ClientID  string
	Scopes    []string // as granted, in the words asked for
	Purpose   string   // exactly one
	IssuedAt  time.Time
	ExpiresAt time.Time
	Revoked   bool
}

// Store keeps clients, used assertions and tokens. All replicas share one. Times are kept to the microsecond.
// storetest.Run is the contract in executable form.
type Store interface {
	// Client returns the registration as of now; ErrNotFound when there is none.
	Client(ctx context.Context, id string) (Client, error)
	// UseAssertion burns (issuer, jti). When it returns nil the pair is durably recorded, and of any number of
	// concurrent calls with the pair exactly one got nil; the others get ErrReplayed. The record has to be kept until
	// expires and may be dropped after. The same jti of another issuer is another pair.
	UseAssertion(ctx context.Context, issuer, jti string, expires time.Time) error
	// SaveToken inserts the token; it is durable on return. A signature that is already there is an error.
	SaveToken(ctx context.Context, t Token) error
	// Token returns the token as of now, revoked and expired ones included; ErrNotFound when there is none.
	Token(ctx context.Context, signature string) (Token, error)
	// RevokeToken marks every token of the request as revoked, durably on return. Revoking twice is no error; a
	// request id without token is ErrNotFound.
	RevokeToken(ctx context.Context, requestID string) error
}
