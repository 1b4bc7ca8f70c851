package oauth

import (
	"context"
	"errors"
	"time"
)

// Sentinels of the Store contract.
var (
	// ErrNotFound: no such client, token, authorization or ticket.
	ErrNotFound = errors.New("oauth: not found")
	// ErrReplayed: this issuer has used this jti before.
	ErrReplayed = errors.New("oauth: assertion replayed")
	// ErrTaken: somebody else was first to use what can be used once.
	ErrTaken = errors.New("oauth: used already")
	// ErrRevoked: the authorization has been revoked or has ended.
	ErrRevoked = errors.New("oauth: authorization revoked")
)

// The uses of tokens. An access token is the only kind a resource request may carry.
const (
	UseAccess  = "access_token"
	UseRefresh = "refresh_token"
)

// Client is a registered client. The zero Client can do nothing.
//
// A client that has RedirectURIs is an app people use: it may ask for authorization codes, with patient/ and user/
// scopes. One with a key and system/ scopes may act for itself (Backend Services). How it authenticates follows from what
// it registered: keys (private_key_jwt), a secret (client_secret_basic or client_secret_post), or neither (public).
type Client struct {
	ID           string
	Name         string
	Organization string // FHIR id of the Organization the client acts for when it acts for itself
	// JWKS holds the client's public keys inline, JWKSURL the place where it publishes them; one of the two is
	// needed. CheckKeys tells a usable JWKS from one that could never verify anything or that holds private keys.
	JWKS           []byte
	JWKSURL        string
	Scopes         []string // SMART scopes it may ask for, one per element
	Purposes       []string // purposes of use (v3 ActReason codes) it may name
	DefaultPurpose string   // used when it names none; counts as registered
	Disabled       bool     // holds for tokens already issued, within a second

	RedirectURIs []string  `json:",omitempty"` // compared byte for byte
	LaunchURL    string    `json:",omitempty"` // where an EHR launch begins
	SecretHash   string    `json:",omitempty"` // of a symmetric client, see NewSecret
	Native       bool      `json:",omitempty"` // a native app: the port of a registered loopback redirect is free (RFC 8252 7.3)
	URI          string    `json:",omitempty"` // home page, shown to people
	PolicyURI    string    `json:",omitempty"`
	Contacts     []string  `json:",omitempty"`
	Registered   time.Time `json:",omitzero"` // by dynamic registration, when
	// RegistrationHash is of the token with which a client manages its own registration (RFC 7592).
	RegistrationHash string `json:",omitempty"`
}

// Interactive reports whether the client is an app that people use.
func (c Client) Interactive() bool { return len(c.RedirectURIs) > 0 }

// Public reports whether the client has nothing to prove itself with.
func (c Client) Public() bool { return c.SecretHash == "" && len(c.JWKS) == 0 && c.JWKSURL == "" }

// Context is who a token acts for and what was chosen at launch, as settled when the person agreed. The zero Context is
// that of a client acting for itself.
type Context struct {
	User         string    `json:",omitempty"` // account
	Name         string    `json:",omitempty"` // of the account, for userinfo
	FHIRUser     string    `json:",omitempty"` // relative to the FHIR base: "Practitioner/p1"
	Capacity     string    `json:",omitempty"` // auth/access.Capacity
	Organization string    `json:",omitempty"` // whose member of staff the user is
	Patient      string    `json:",omitempty"` // Patient id of the launch context
	Encounter    string    `json:",omitempty"` // Encounter id of the launch context
	Intent       string    `json:",omitempty"`
	Launched     bool      `json:",omitempty"` // by an EHR: the app shows no banner of its own
	Session      string    `json:",omitempty"` // the login session, of online_access: its end is the grant's
	AuthTime     time.Time `json:",omitzero"`  // when the person last proved who they are
}

// Authorization is what a person let a client do. Tokens and codes issued under it have its id as RequestID.
type Authorization struct {
	ID       string
	ClientID string
	Scopes   []string
	Purpose  string
	Context  Context
	Created  time.Time
	Used     time.Time // tokens were last issued; zero: the code was never redeemed
	Expires  time.Time // when it ends unless it is used before; no token outlives it
	Revoked  time.Time // zero: stands
}

// Token is what is kept about an issued token. The token itself is not kept: Signature is its HMAC part.
type Token struct {
	Signature string // unique; the key of lookup
	RequestID string // id that is safe to show: audit, revocation, console
	Use       string // UseAccess; anything else does not open a resource
	ClientID  string
	Scopes    []string // as granted, in the words asked for
	Purpose   string   // exactly one
	Context   Context  `json:",omitzero"`
	IssuedAt  time.Time
	ExpiresAt time.Time
	Revoked   bool
	Used      bool `json:",omitempty"` // a refresh token that was exchanged; kept so that a second use is noticed
}

// Ticket is what is known for a short time under a name nobody can guess: a code, a pushed request, a launch handle. The
// store keeps no secret: ID is a digest.
type Ticket struct {
	Kind    string
	ID      string
	Expires time.Time
	Body    []byte
	Taken   bool
}

// Issue is what one answer of the token endpoint changes, all or nothing.
type Issue struct {
	Authorization string  // has to stand
	Code          *Ticket // Kind and ID of the code to take; ErrTaken when it was
	Refresh       string  // signature of the refresh token to exchange; ErrTaken when it was
	Tokens        []Token // new ones
	At            time.Time
	Expires       time.Time // the authorization ends then
}

// Grants keeps what people agreed to. All replicas share one.
type Grants interface {
	// SaveAuthorization inserts one, durably on return.
	SaveAuthorization(ctx context.Context, a Authorization) error
	// Authorization returns one as of now, revoked and ended ones included; ErrNotFound.
	Authorization(ctx context.Context, id string) (Authorization, error)
	// Authorizations lists those of an account that are neither revoked nor ended at an instant, newest first.
	Authorizations(ctx context.Context, user string, at time.Time) ([]Authorization, error)
	// RevokeAuthorization ends it with every token under it, durably on return. Twice is no error; ErrNotFound.
	RevokeAuthorization(ctx context.Context, id string, at time.Time) error
	// Issue takes the code or refresh token and inserts the tokens, durably on return. Of any number of concurrent calls
	// with one code or refresh token exactly one gets nil, the others ErrTaken; ErrRevoked when the authorization does
	// not stand. Then nothing has changed.
	Issue(ctx context.Context, i Issue) error
}

// Tickets keeps what is short-lived. All replicas share one.
type Tickets interface {
	// PutTicket inserts or replaces, durably on return.
	PutTicket(ctx context.Context, t Ticket) error
	// Ticket returns one, taken and expired ones included for as long as they are kept; ErrNotFound.
	Ticket(ctx context.Context, kind, id string) (Ticket, error)
	// TakeTicket returns one and marks it as taken: of any number of concurrent calls exactly one gets it, the others
	// ErrTaken; ErrNotFound.
	TakeTicket(ctx context.Context, kind, id string) (Ticket, error)
	// DropTicket forgets one; none there is no error.
	DropTicket(ctx context.Context, kind, id string) error
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
