package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/ory/fosite"

	"trellis/auth/smart"
)

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

	kept keptRequest
}

// Silent reports whether the app may be answered without a page (prompt=none): whoever else could be listening at its redirect
// URI is a public client's danger (RFC 8252 section 8.6).
func (i *Interaction) Silent() bool {
	return !i.Client.Public() || strings.HasPrefix(i.kept.Form.Get("redirect_uri"), "https://")
}

// keptRequest is an authorization request between its first look and the person's answer.
type keptRequest struct {
	Form   url.Values
	Launch *Launch `json:",omitempty"`
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

func onPage(code, text string) *Refused { return &Refused{Code: code, Text: text} }

// Begin reads an authorization request, sent by GET or POST. A launch handle and a pushed request in it are used up. The
// error is a *Refused unless it is ours.
func (s *Server) Begin(r *http.Request) (*Interaction, error) {
	form, err := authorizeForm(r)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	if name := form.Get("request_uri"); name != "" {
		if form, err = s.pushed(ctx, name, form.Get("client_id")); err != nil {
			return nil, err
		}
	}
	kept := keptRequest{Form: form}
	i, err := s.interaction(ctx, kept)
	if err != nil {
		return nil, err
	}
	if form.Get("launch") == "" {
		return i, nil
	}
	if kept.Launch, err = s.takeLaunch(ctx, form.Get("launch"), i.Client.ID); err != nil {
		return nil, i.refusal(s, err)
	}
	i.Launch, i.kept = kept.Launch, kept
	return i, i.keep()
}

// Resume is the interaction of a kept Request, checked anew: its client may have changed.
func (s *Server) Resume(ctx context.Context, request []byte) (*Interaction, error) {
	var kept keptRequest
	if err := json.Unmarshal(request, &kept); err != nil {
		return nil, fmt.Errorf("oauth: a kept request cannot be read: %w", err)
	}
	return s.interaction(ctx, kept)
}

// authorizeForm reads the parameters, wherever they came, each at most once.
func authorizeForm(r *http.Request) (url.Values, error) {
	var form url.Values
	switch r.Method {
	case http.MethodGet:
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || len(r.URL.RawQuery) > maxBody {
			return nil, onPage("invalid_request", "The link that led here is malformed.")
		}
		form = query
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, onPage("invalid_request", "The app sent its request in a form this server does not read.")
		}
		r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			return nil, onPage("invalid_request", "The app's request is malformed or too large.")
		}
		form = r.PostForm
	}
	if onceEach(form) != nil {
		return nil, onPage("invalid_request", "The app's request names something twice.")
	}
	return known(form)
}

// known keeps the parameters there are, as long as they are not huge: a request is kept until it is answered.
func known(form url.Values) (url.Values, error) {
	out, size := url.Values{}, 0
	for _, name := range []string{"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "aud", "launch", "nonce", "prompt", "max_age", "login_hint",
		"ui_locales", "code_challenge", "code_challenge_method", "request", "request_uri"} {
		if form.Has(name) {
			out.Set(name, form.Get(name))
			size += len(form.Get(name))
		}
	}
	if size > maxRequest {
		return nil, onPage("invalid_request", "The app's request is too large.")
	}
	return out, nil
}

// maxRequest bounds what is kept of an authorization request: a hundred granular scopes fit.
const maxRequest = 16 << 10

// interaction checks a request. Where the browser may be sent is settled first, then everything the app may hear of.
func (s *Server) interaction(ctx context.Context, kept keptRequest) (*Interaction, error) {
	form := kept.Form
	// A counterfeit resource server cannot get a token for this one: nothing else is looked at before aud.
	if strings.TrimSuffix(form.Get("aud"), "/") != s.cfg.FHIRBase {
		return nil, onPage("invalid_request", "The app asked for access to another server than this one.")
	}
	client, err := s.registered(ctx, form.Get("client_id"))
	switch {
	case refusal(err):
		return nil, onPage("invalid_request", "The app that sent you here is not known to this server, or has been turned off.")
	case err != nil:
		return nil, err
	}
	if !redirects(client, form.Get("redirect_uri")) {
		return nil, onPage("invalid_request", "The app that sent you here asked to send you on to an address it is not registered for.")
	}
	i := &Interaction{Client: client, Launch: kept.Launch, Prompt: form.Get("prompt"), LoginHint: form.Get("login_hint"), Locales: form.Get("ui_locales"), MaxAge: -1, kept: kept}
	if problem := i.read(s); problem != nil {
		return nil, i.refusal(s, problem)
	}
	if _, err := s.authorizeRequest(ctx, i); err != nil {
		return nil, i.refusal(s, asProblem(err))
	}
	return i, i.keep()
}

// keep writes the request as Resume reads it.
func (i *Interaction) keep() (err error) {
	if i.Request, err = json.Marshal(i.kept); err != nil {
		return fmt.Errorf("oauth: encoding a request: %w", err)
	}
	return nil
}

// redirects reports whether a client registered a redirect URI: byte for byte, but for the port of a native app's loopback.
func redirects(c Client, uri string) bool {
	if uri == "" || len(uri) > 2048 {
		return false
	}
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	asked, err := url.Parse(uri)
	if err != nil || !c.Native || asked.Scheme != "http" || asked.User != nil || asked.Fragment != "" {
		return false
	}
	if !onLoopback(asked) {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(have string) bool {
		registered, err := url.Parse(have)
		return err == nil && registered.Scheme == "http" && registered.Hostname() == asked.Hostname() &&
			registered.EscapedPath() == asked.EscapedPath() && registered.RawQuery == asked.RawQuery
	})
}

// read checks what fosite does not know of.
func (i *Interaction) read(s *Server) *problem {
	form := i.kept.Form
	switch {
	case form.Has("request"):
		return &problem{status: http.StatusBadRequest, code: "request_not_supported", text: "request objects are not read"}
	case form.Get("response_mode") != "" && form.Get("response_mode") != "query":
		return invalidRequest("only response_mode=query is offered")
	case form.Get("code_challenge") == "":
		return invalidRequest("code_challenge is missing: PKCE with S256 is required")
	case form.Get("code_challenge_method") != "S256":
		return invalidRequest("code_challenge_method has to be S256")
	case !challenge(form.Get("code_challenge")):
		return invalidRequest("code_challenge is not the S256 digest of a verifier")
	}
	if age := form.Get("max_age"); age != "" {
		seconds, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return invalidRequest("max_age is not a number of seconds")
		}
		i.MaxAge = time.Duration(seconds) * time.Second
	}
	if !i.promptKnown() {
		return invalidRequest("prompt is not known")
	}
	asked, err := smart.Parse(form.Get("scope"))
	if err != nil {
		return invalidScope(scopeOutside).because(err)
	}
	i.Scopes = asked
	if asked.Empty() {
		return invalidScope("scope is missing")
	}
	if registered, err := parseScopes(i.Client.Scopes); err != nil || !registered.ContainsAll(asked) || asked.Context(ScopeIntrospect) || asked.Context(ScopeLaunch) {
		return invalidScope(scopeOutside)
	}
	for _, scope := range asked.Resources() {
		if scope.Level == smart.System {
			return invalidScope("system/ scopes are for clients acting for themselves")
		}
		if s.cfg.KnownType != nil && scope.Type != "*" && !s.cfg.KnownType(scope.Type) {
			return invalidScope(scopeOutside)
		}
	}
	if asked.Context("offline_access") && asked.Context("online_access") {
		return invalidScope("offline_access and online_access exclude each other")
	}
	if asked.Context("launch") != (form.Get("launch") != "") {
		return invalidRequest("scope launch and parameter launch belong together")
	}
	return nil
}

// promptKnown settles prompt, which may be a list (OpenID Connect Core 3.1.2.1): to sign in anew comes before all else, and
// the consent page is always shown.
func (i *Interaction) promptKnown() bool {
	list := strings.Fields(i.Prompt)
	for _, p := range list {
		switch p {
		case "login", "consent", "select_account":
		case "none":
			if len(list) > 1 {
				return false
			}
		default:
			return false
		}
	}
	if len(list) > 1 {
		i.Prompt = "consent"
		for _, p := range []string{"select_account", "login"} {
			if slices.Contains(list, p) {
				i.Prompt = p
			}
		}
	}
	return true
}

// challenge reports whether a text can be base64url(SHA-256).
func challenge(text string) bool {
	return len(text) == 43 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// authorizeRequest is the request as fosite sees it. Prompt and max_age are the login's business.
func (s *Server) authorizeRequest(ctx context.Context, i *Interaction) (fosite.AuthorizeRequester, error) {
	form := url.Values{}
	for _, name := range []string{"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"} {
		if i.kept.Form.Has(name) {
			form.Set(name, i.kept.Form.Get(name))
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return s.provider.NewAuthorizeRequest(ctx, r)
}

// refusal sends the app an error it may hear of; what is ours stays an error.
func (i *Interaction) refusal(s *Server, err error) error {
	p := asProblem(err)
	if p.status >= http.StatusInternalServerError {
		return p
	}
	return &Refused{Location: i.location(s, url.Values{"error": {p.code}, "error_description": {p.text}}), Code: p.code, Text: p.text, cause: p.cause}
}

// location is the redirect with the parameters of an answer. It names the issuer, so that an app that talks to several
// servers cannot be made to mix them up (RFC 9207).
func (i *Interaction) location(s *Server, answer url.Values) string {
	if state := i.kept.Form.Get("state"); state != "" {
		answer.Set("state", state)
	}
	answer.Set("iss", s.cfg.Issuer)
	to := i.kept.Form.Get("redirect_uri") // its own query stays as it was registered
	if strings.Contains(to, "?") {
		return to + "&" + answer.Encode()
	}
	return to + "?" + answer.Encode()
}

// Approve issues an authorization code and returns where to send the browser.
func (s *Server) Approve(ctx context.Context, i *Interaction, a Approval) (location string, err error) {
	if err := checkApproval(i, a); err != nil {
		return "", err
	}
	ar, err := s.authorizeRequest(ctx, i)
	if err != nil {
		return "", i.refusal(s, asProblem(err))
	}
	if l := i.Launch; l != nil {
		a.Context.Encounter, a.Context.Intent, a.Context.Launched = l.Encounter, l.Intent, true
	}
	now := s.cfg.Now().UTC().Truncate(time.Microsecond)
	grant := Authorization{ID: uuid.NewString(), ClientID: i.Client.ID, Scopes: strings.Fields(a.Scopes.String()), Purpose: a.Purpose,
		Context: a.Context, Created: now, Expires: now.Add(AppLifetime)}
	if err := s.cfg.Grants.SaveAuthorization(ctx, grant); err != nil {
		return "", fmt.Errorf("oauth: keeping an authorization: %w", err)
	}
	ar.SetID(grant.ID)
	for _, scope := range grant.Scopes {
		ar.GrantScope(scope)
	}
	form := i.kept.Form
	sess := &session{client: i.Client, purpose: a.Purpose, grant: grant,
		code: codeRequest{Authorization: grant.ID, RedirectURI: form.Get("redirect_uri"), Challenge: form.Get("code_challenge"), Nonce: form.Get("nonce")}}
	response, err := s.provider.NewAuthorizeResponse(ctx, ar, sess)
	if err != nil {
		return "", i.refusal(s, asProblem(err))
	}
	return i.location(s, url.Values{"code": {response.GetCode()}}), nil
}

// checkApproval holds an approval to its request: granted within asked, and a patient where the scopes speak of one.
func checkApproval(i *Interaction, a Approval) error {
	switch {
	case a.Context.User == "" || a.Context.Capacity == "" || a.Purpose == "":
		return errors.New("oauth: an approval by nobody or for nothing")
	case a.Scopes.Empty() || !i.Scopes.ContainsAll(a.Scopes):
		return errors.New("oauth: an approval of more than was asked for, or of nothing")
	case i.Launch != nil && (i.Launch.User != "" && i.Launch.User != a.Context.User || i.Launch.Patient != a.Context.Patient ||
		i.Launch.Organization != "" && i.Launch.Organization != a.Context.Organization):
		return errors.New("oauth: an approval for another launch")
	}
	for _, scope := range a.Scopes.Resources() {
		if scope.Level == smart.Patient && a.Context.Patient == "" {
			return errors.New("oauth: patient/ scopes without a patient")
		}
	}
	return nil
}

// Refuse returns where to send the browser when the person said no (access_denied), or when prompt=none cannot be met
// (login_required, consent_required, interaction_required).
func (s *Server) Refuse(_ context.Context, i *Interaction, code string) (location string, err error) {
	switch code {
	case "access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required":
		return i.location(s, url.Values{"error": {code}}), nil
	}
	return "", errors.New("oauth: not a code to refuse with")
}
