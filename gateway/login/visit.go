package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/gateway/store"
)

// visit is one request on its way.
type visit struct {
	s   *Server
	c   *gin.Context
	ctx context.Context
	now time.Time

	lang        string
	session     session
	user        people.User // signed in
	pending     people.User // whose code is awaited
	flow        flow
	interaction *oauth.Interaction // of a flow to an app
}

func (v *visit) request() string { return v.c.GetString(headerReq) }

// handle runs one route: session and flow first, and for a form its token.
func (s *Server) handle(r route) gin.HandlerFunc {
	return func(c *gin.Context) {
		v := &visit{s: s, c: c, ctx: c.Request.Context(), now: s.Now().UTC()}
		err := v.openSession()
		if err == nil {
			err = v.bring(r)
		}
		var refused *oauth.Refused
		switch {
		case errors.Is(err, errElsewhere):
		case errors.As(err, &refused) && refused.Location != "":
			v.to(refused.Location)
		case errors.As(err, &refused):
			v.chooseLanguage()
			if err := v.refusedRequest(refused); err != nil {
				s.fail(c, err)
			}
		case err != nil:
			s.fail(c, err)
		}
	}
}

// errElsewhere: the browser was sent on already.
var errElsewhere = errors.New("login: sent elsewhere")

// bring checks what the route needs and serves it.
func (v *visit) bring(r route) error {
	v.switchLanguage()
	v.chooseLanguage()
	switch r.need {
	case needFlow:
		if !v.session.known() {
			return refusal(http.StatusForbidden, "session")
		}
		name := v.c.Query(fieldFlow)
		if r.method == http.MethodPost {
			if err := v.c.Request.ParseForm(); err != nil {
				return err
			}
			name = v.c.Request.PostForm.Get(fieldFlow)
		}
		if err := v.openFlow(name); err != nil {
			return err
		}
		v.chooseLanguage() // the app may have named one
	case needAccount:
		if v.user.ID == "" {
			return v.signInFor(r.path)
		}
	case needNothing:
	}
	if r.method == http.MethodPost && r.path != pathAuthorize {
		if err := v.takeForm(r.path); err != nil {
			return err
		}
	}
	return r.serve(v)
}

// signInFor sends the browser to sign in and back to a page of ours.
func (v *visit) signInFor(path string) error {
	if !isGoal(path) {
		path = pathApps
	}
	if !v.session.known() {
		if err := v.renew(session{}); err != nil {
			return err
		}
	}
	if err := v.begin(flow{Goal: path}, nil); err != nil {
		return err
	}
	return v.proceed()
}

// to sends the browser on. 303: it goes there with GET.
func (v *visit) to(location string) { v.c.Redirect(http.StatusSeeOther, location) }

// toStep sends it to a page of the flow.
func (v *visit) toStep(path string) {
	v.to(path + "?" + url.Values{fieldFlow: {v.flow.name}}.Encode())
}

func isNotFound(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, oauth.ErrNotFound)
}
