package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/conformance/capability"
	"trellis/fhir"
	"trellis/gateway/brake"
	"trellis/gateway/store"
)

// stylePath is where apps find how this server looks. Another content needs another path (smart_style_url, SMART 2.2.0).
const stylePath = "/smart/style-1.json"

// StyleURL is smart_style_url of a server whose public address is given.
func StyleURL(public string) string { return public + stylePath }

// authorizationRoutes are the endpoints of the authorization server that are no pages. They prove who asks themselves, by
// client authentication or a token of their own, and carry no patient data.
func (s *Server) authorizationRoutes() []route {
	plain := func(serve func(http.ResponseWriter, *http.Request)) func(*gin.Context) {
		return s.braked(func(c *gin.Context) { serve(c.Writer, c.Request) })
	}
	registration := s.braked(func(c *gin.Context) { s.OAuth.Registration(c.Writer, c.Request, c.Param("client")) })
	return []route{
		{method: "GET", path: "/fhir/.well-known/smart-configuration", interaction: "smart-configuration", public: s.discovery(capability.SMART)},
		{method: "GET", path: "/.well-known/openid-configuration", interaction: "openid-configuration", public: s.discovery(capability.OpenID)},
		{method: "GET", path: "/.well-known/oauth-authorization-server", interaction: "authorization-server-metadata", public: s.discovery(capability.OpenID)},
		{method: "GET", path: "/oauth/jwks.json", interaction: "keys", public: plain(s.OAuth.Keys)},
		{method: "GET", path: stylePath, interaction: "style", public: s.style},

		{method: "POST", path: "/oauth/token", interaction: "token", public: s.token},
		{method: "POST", path: "/oauth/par", interaction: "pushed-authorization", public: plain(s.OAuth.Push)},
		{method: "POST", path: "/oauth/introspect", interaction: "introspection", public: plain(s.OAuth.Introspect)},
		{method: "POST", path: "/oauth/revoke", interaction: "revocation", public: plain(s.OAuth.Revocation)},
		{method: "GET", path: "/oauth/userinfo", interaction: "userinfo", public: plain(s.OAuth.UserInfo)},
		{method: "POST", path: "/oauth/userinfo", interaction: "userinfo", public: plain(s.OAuth.UserInfo)},
		{method: "POST", path: "/oauth/register", interaction: "registration", public: s.register},
		{method: "GET", path: "/oauth/register/:client", interaction: "registration", public: registration},
		{method: "PUT", path: "/oauth/register/:client", interaction: "registration", public: registration},
		{method: "DELETE", path: "/oauth/register/:client", interaction: "registration", public: registration},

		{method: "POST", path: "/smart/launch", interaction: "launch", anyFormat: true, serve: (*call).launch}, // scope create_launch
	}
}

// How often one address may fail at the authorization server's endpoints but the token endpoint, or push requests that nobody authenticated.
const (
	failuresPerSec = 2
	failuresAtOnce = 120
)

// token serves the token endpoint, whoever failed before: its keys, secrets and codes cannot be guessed, and a client must not
// wait because another behind the same address is set up wrongly.
func (s *Server) token(c *gin.Context) { s.OAuth.Token(c.Writer, c.Request) }

// braked serves whoever has not failed too often: guessing secrets, tokens and registrations is slow, and clients that know
// theirs are not held up. A pushed request counts always: it is kept, and a public client has nothing to prove.
func (s *Server) braked(serve func(*gin.Context)) func(*gin.Context) {
	return func(c *gin.Context) {
		from, now := brake.Address(c.ClientIP()), time.Now()
		if !s.failures.Open(from, now) {
			tooMany(c, "1", "too many requests from this address failed; wait a moment")
			return
		}
		serve(c)
		if status := c.Writer.Status(); status >= http.StatusBadRequest && status < http.StatusInternalServerError || status == http.StatusCreated {
			s.failures.Allow(from, now)
		}
	}
}

func tooMany(c *gin.Context, after, text string) {
	c.Writer.Header().Set("Retry-After", after)
	c.JSON(http.StatusTooManyRequests, map[string]string{"error": "temporarily_unavailable", "error_description": text})
}

// discovery serves a document any app may read from anywhere.
func (s *Server) discovery(write func(capability.Authorization) ([]byte, error)) func(*gin.Context) {
	return func(c *gin.Context) {
		out, err := write(s.Authorization)
		if err != nil {
			s.fail(c, err)
			return
		}
		c.Data(http.StatusOK, "application/json", out)
	}
}

// style serves smart_style_url: the colours and sizes of this server's pages.
func (s *Server) style(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Cache-Control", "public, max-age=86400")
	c.Data(http.StatusOK, "application/json", []byte(`{"color_background":"#f6f7f5","color_error":"#a3262a","color_highlight":"#1d5c54","color_modal_backdrop":"","color_success":"#2c6e49","color_text":"#1f2a2a","dim_border_radius":"6px","dim_font_size":"16px","dim_spacing_size":"16px","font_family_body":"system-ui, sans-serif","font_family_heading":"system-ui, sans-serif"}`))
}

// How many registrations one address may make in an hour.
const maxRegistrations = 20

// register bounds what one address can register, then hands the request on.
func (s *Server) register(c *gin.Context) {
	n, err := s.Store.Attempt(c.Request.Context(), "register "+brake.Address(c.ClientIP()), time.Hour)
	if err != nil {
		s.fail(c, err)
		return
	}
	if n > maxRegistrations {
		tooMany(c, "3600", "too many registrations from this address; try again in an hour")
		return
	}
	s.OAuth.Register(c.Writer, c.Request)
}

// launch lets an EHR make a launch handle: POST /smart/launch with {"client","patient","encounter","user","intent"}, user being a login. The
// patient has to be one the EHR's organisation may see.
func (k *call) launch() error {
	if !k.caller.reach.scopes.Context(oauth.ScopeLaunch) {
		return forbidden()
	}
	body, err := k.body()
	if err != nil {
		return err
	}
	var asked struct{ Client, Patient, Encounter, User, Intent string }
	if err := json.Unmarshal(body, &asked); err != nil {
		return fhir.NewProblem(fhir.Invalid, "structure", "the body is not a JSON object that describes a launch").Because(err)
	}
	app, err := k.s.Store.OAuth().Client(k.ctx, asked.Client)
	if err != nil && !errors.Is(err, oauth.ErrNotFound) {
		return err
	}
	if err != nil || app.Disabled || !app.Interactive() {
		return fhir.NewProblem(fhir.Unprocessable, "not-found", "client names no app that can be launched").Because(err)
	}
	if !fhir.ValidID(asked.Patient) || asked.Encounter != "" && !fhir.ValidID(asked.Encounter) || len(asked.Intent) > 100 {
		return fhir.NewProblem(fhir.Unprocessable, "value", "patient and encounter are ids, intent is a short text")
	}
	if asked.User != "" {
		user, err := k.s.Store.UserByLogin(k.ctx, people.FoldLogin(asked.User))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil || user.Disabled {
			return fhir.NewProblem(fhir.Unprocessable, "not-found", "user is no account's login").Because(err)
		}
		asked.User = user.ID
	}
	if err := k.launchable("Patient", asked.Patient, asked.Patient); err != nil {
		return err
	}
	if asked.Encounter != "" {
		if err := k.launchable("Encounter", asked.Encounter, asked.Patient); err != nil {
			return err
		}
	}
	handle, err := k.s.OAuth.MakeLaunch(k.ctx, oauth.Launch{Client: asked.Client, User: asked.User, Patient: asked.Patient, Encounter: asked.Encounter, Intent: asked.Intent})
	if err != nil {
		return err
	}
	k.c.JSON(http.StatusCreated, map[string]string{"launch": handle, "iss": k.s.Base, "launch_url": app.LaunchURL})
	return nil
}

// launchable refuses what the EHR's organisation may not see, or what is another patient's, as if it were not there. The
// decision is recorded.
func (k *call) launchable(typ, id, patient string) error {
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, typ, id, 0)
	if err != nil {
		return err
	}
	if _, err = k.s.Gate.Resource(k.ctx, k.req, target); err != nil {
		return err
	}
	if about := target.Subject.Patients; len(about) != 1 || about[0].ID != patient {
		return store.ErrNotFound
	}
	return nil
}
