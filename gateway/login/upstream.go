package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"trellis/auth/people"
)

// Upstream is an OpenID provider people may sign in with instead of a password here: their organisation's. It says who
// somebody is; what they may do, and the second factor of staff, stay matters of this gateway. An account has to be linked to
// it by the operator before: nobody gets one by signing in.
type Upstream struct {
	Name         string // as the button says it
	Issuer       string
	ClientID     string
	ClientSecret string
	RedirectURL  string // our callback
	HTTP         *http.Client
	Now          func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider
}

// discover reads the provider's configuration when it is first needed: a gateway starts without it.
func (u *Upstream) discover(ctx context.Context) (*oidc.Provider, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.provider != nil {
		return u.provider, nil
	}
	// The provider fetches its keys later, long after this request's context.
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), u.HTTP), u.Issuer)
	if err != nil {
		return nil, fmt.Errorf("login: the OpenID provider: %w", err)
	}
	u.provider = p
	return p, nil
}

func (u *Upstream) config(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: u.ClientID, ClientSecret: u.ClientSecret, RedirectURL: u.RedirectURL, Endpoint: p.Endpoint(), Scopes: []string{oidc.ScopeOpenID}}
}

// identity redeems a code, and is the provider's name for who signed in: "issuer subject".
func (u *Upstream) identity(ctx context.Context, code string, sent errand) (string, error) {
	p, err := u.discover(ctx)
	if err != nil {
		return "", err
	}
	ctx = oidc.ClientContext(ctx, u.HTTP)
	token, err := u.config(p).Exchange(ctx, code, oauth2.VerifierOption(sent.Verifier))
	if err != nil {
		return "", fmt.Errorf("login: the OpenID provider's token: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", errors.New("login: the OpenID provider sent no id_token")
	}
	id, err := p.Verifier(&oidc.Config{ClientID: u.ClientID, Now: u.Now}).Verify(ctx, raw)
	if err != nil {
		return "", fmt.Errorf("login: the OpenID provider's id_token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(sent.Nonce)) != 1 || id.Subject == "" {
		return "", errors.New("login: the OpenID provider's id_token is for somebody else")
	}
	return id.Issuer + " " + id.Subject, nil
}

// errand is a sign-in under way at the provider: whose, and what its answer must fit.
type errand struct{ Session, Flow, Nonce, Verifier string }

const (
	ticketUpstream = "upstream"
	errandLife     = 10 * time.Minute
)

// toUpstream serves GET /account/upstream: it sends the browser to the provider.
func (v *visit) toUpstream() error {
	if v.s.Upstream == nil {
		return refusal(http.StatusNotFound, "none")
	}
	if err := v.at(pathLogin); err != nil {
		return err
	}
	p, err := v.s.Upstream.discover(v.ctx)
	if err != nil {
		return v.upstreamFailed(err)
	}
	state, err := newName()
	if err != nil {
		return err
	}
	nonce, err := newName()
	if err != nil {
		return err
	}
	e := errand{Session: v.session.id, Flow: v.flow.name, Nonce: nonce, Verifier: oauth2.GenerateVerifier()}
	if err := v.s.put(v.ctx, ticketUpstream, digest(state), v.now.Add(errandLife), e); err != nil {
		return err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(e.Verifier)}
	if v.user.ID != "" || (v.interaction != nil && !v.fresh()) {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login")) // who sits there is to prove it anew
	}
	v.to(v.s.Upstream.config(p).AuthCodeURL(state, options...))
	return nil
}

// upstreamFailed shows the login page again: a password still works.
func (v *visit) upstreamFailed(err error) error {
	v.s.Logger.WarnContext(v.ctx, "the OpenID provider failed", "request", v.request(), "error_type", err)
	return v.askLogin(http.StatusBadGateway, loginData{}, fault{Field: "login", Key: "upstream.failed"})
}

// fromUpstream serves GET /account/upstream/callback. Its state has to be of this browser's session, and is good once.
func (v *visit) fromUpstream() error {
	if v.s.Upstream == nil || !v.session.known() {
		return errForeign()
	}
	t, err := v.s.Tickets.TakeTicket(v.ctx, ticketUpstream, digest(v.c.Query("state")))
	if err != nil || !t.Expires.After(v.now) {
		return errors.Join(errForeign(), err)
	}
	var e errand
	if err := decode(t, &e); err != nil {
		return err
	}
	if e.Session != v.session.id {
		return errForeign()
	}
	if err := v.openFlow(e.Flow); err != nil {
		return err
	}
	v.chooseLanguage()
	if v.c.Query("error") != "" {
		return v.notLinked("")
	}
	identity, err := v.s.Upstream.identity(v.ctx, v.c.Query("code"), e)
	if err != nil {
		return v.upstreamFailed(err)
	}
	u, err := v.s.Accounts.UserByUpstream(v.ctx, identity)
	if err != nil && !isNotFound(err) {
		return err
	}
	if err != nil || u.Disabled {
		return v.notLinked(u.ID)
	}
	if u.NeedsFactor() {
		return v.halfSignedIn(u, "upstream")
	}
	return v.signedIn(u, "upstream")
}

func (v *visit) notLinked(user string) error {
	if err := v.signIn("upstream", user, "refused", ""); err != nil {
		return err
	}
	return v.askLogin(http.StatusUnprocessableEntity, loginData{}, fault{Field: "login", Key: "upstream.unknown"})
}

// halfSignedIn goes on to the second factor.
func (v *visit) halfSignedIn(u people.User, by string) error {
	if err := v.signIn(by, u.ID, "ok", ""); err != nil {
		return err
	}
	if err := v.renew(session{Pending: u.ID, Stamp: stamp(u)}); err != nil {
		return err
	}
	v.user, v.pending = people.User{}, u
	return v.proceed()
}
