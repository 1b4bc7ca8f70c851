package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"trellis/auth/smart"
)

// Launch is what an EHR, or a member of staff in the console, settled before an app was launched.
type Launch struct {
	Client    string // the app it is for
	User      string // account of the person who launches; "" when the EHR does not know accounts here
	Patient   string // Patient id
	Encounter string // Encounter id
	Intent    string
}

// Interaction is an authorization request that was found good and waits for the person.
type Interaction struct {
	Client    Client
	Scopes    smart.Set     // asked for, all within the registration
	Launch    *Launch       // of an EHR launch
	Prompt    string        // OpenID Connect prompt: "", none, login, consent or select_account
	MaxAge    time.Duration // how old a login may be; negative: any age
	LoginHint string
	Locales   string // ui_locales
	// Request is the request itself, to be kept as it is and handed to Resume.
	Request []byte
}

// Approval is what the person decided.
type Approval struct {
	Context Context
	Purpose string
	Scopes  smart.Set // within what was asked for
}

// Refused is an authorization request that ends here. With a Location the browser is sent there: the app hears of it.
// Without one, it must not be redirected (RFC 6749 section 4.1.2.1), and Text is for a page.
type Refused struct {
	Location string
	Code     string // OAuth error code
	Text     string // constant, safe to show
	cause    error
}

func (r *Refused) Error() string { return "oauth: authorization refused: " + r.Code }
func (r *Refused) Unwrap() error { return r.cause }

// Begin reads an authorization request, sent by GET or POST. A launch handle and a pushed request in it are used up. The
// error is a *Refused unless it is ours.
func (s *Server) Begin(r *http.Request) (*Interaction, error) { return nil, errors.New("oauth: later") }

// Resume is the interaction of a kept Request, checked anew: its client may have changed.
func (s *Server) Resume(ctx context.Context, request []byte) (*Interaction, error) {
	return nil, errors.New("oauth: later")
}

// Approve issues an authorization code and returns where to send the browser.
func (s *Server) Approve(ctx context.Context, i *Interaction, a Approval) (location string, err error) {
	return "", errors.New("oauth: later")
}

// Refuse returns where to send the browser when the person said no (access_denied), or when prompt=none cannot be met
// (login_required, consent_required, interaction_required).
func (s *Server) Refuse(ctx context.Context, i *Interaction, code string) (location string, err error) {
	return "", errors.New("oauth: later")
}

// MakeLaunch keeps a launch for a short time and returns its handle, which can be used once.
func (s *Server) MakeLaunch(ctx context.Context, l Launch) (handle string, err error) {
	return "", errors.New("oauth: later")
}

// Authorizations lists what an account let apps do and still stands, newest first.
func (s *Server) Authorizations(ctx context.Context, user string) ([]Authorization, error) {
	return nil, errors.New("oauth: later")
}

// RevokeAuthorization ends what the account let an app do, with every token under it. ErrNotFound when it is not the
// account's. On this replica it holds at once, on others within a second.
func (s *Server) RevokeAuthorization(ctx context.Context, user, id string) error {
	return errors.New("oauth: later")
}
