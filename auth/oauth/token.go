package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/ory/fosite"

	"trellis/auth/smart"
)

// maxBody bounds a token request: an assertion of a few kilobytes and a few hundred scopes fit many times.
const maxBody = 64 << 10

// Token answers the token endpoint (RFC 6749 section 3.2) for every grant there is. Every answer is JSON with
// Cache-Control no-store; errors have a constant body per code and status 400, 401, 405, 413, 415 or 500.
func (s *Server) Token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, response, p := s.issue(w, r)
	if err := s.announce(ctx, request, p); err != nil {
		p = serverError(err)
	}
	if p != nil {
		s.refuse(ctx, w, r, p)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

// issue runs the grant up to the stored token. On a problem the request may be nil or half filled.
func (s *Server) issue(w http.ResponseWriter, r *http.Request) (fosite.AccessRequester, fosite.AccessResponder, *problem) {
	form, p := readForm(w, r)
	if p != nil {
		return nil, nil, p
	}
	if p := s.checkForm(form); p != nil {
		return nil, nil, p
	}
	ctx := r.Context()
	request, response, p := s.exchange(ctx, r, form)
	if p != nil && p.status < http.StatusInternalServerError && form.Get("grant_type") == "authorization_code" {
		// A code has one try: whoever comes again, with another verifier or none, finds it used.
		_, authenticated := authenticatedClient(request)
		if err := s.burn(ctx, form.Get("code"), authenticated, p); err != nil {
			p = serverError(err)
		}
	}
	return request, response, p
}

// exchange has fosite check the request and make the token.
func (s *Server) exchange(ctx context.Context, r *http.Request, form url.Values) (fosite.AccessRequester, fosite.AccessResponder, *problem) {
	request, err := s.provider.NewAccessRequest(ctx, r, &session{})
	client, known := authenticatedClient(request)
	if known {
		if sess, ok := request.GetSession().(*session); ok {
			sess.client = client.client
		}
	}
	if err != nil {
		if known && form.Get("grant_type") == "client_credentials" && !client.GetGrantTypes().Has("client_credentials") {
			return request, nil, unauthorizedClient().because(err) // fosite says invalid_grant
		}
		return request, nil, asProblem(err)
	}
	sess, ok := request.GetSession().(*session)
	if !known || !ok {
		return request, nil, serverError(errors.New("oauth: fosite returned a foreign client or session"))
	}
	if p := s.prepare(ctx, request, client, sess, form); p != nil {
		return request, nil, p
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		return request, nil, asProblem(err)
	}
	response.SetExpiresIn(sess.access.ExpiresAt.Sub(sess.access.IssuedAt))
	if sess.issue != nil {
		if p := s.commit(ctx, sess, form.Get("grant_type")); p != nil {
			return request, nil, p
		}
		for name, value := range s.launchContext(sess.grant.Context, sess.access.Scopes) {
			response.SetExtra(name, value)
		}
	}
	return request, response, nil
}

// commit takes the code or refresh token and keeps the new tokens. Whoever comes second has used it a second time, were it
// a moment after the first: that ends the authorization.
func (s *Server) commit(ctx context.Context, sess *session, grant string) *problem {
	err := s.cfg.Grants.Issue(ctx, *sess.issue)
	if err == nil {
		return nil
	}
	p := asProblem(err)
	if errors.Is(err, ErrTaken) {
		if err := s.revokeFamily(ctx, sess.grant.ID); err != nil {
			return serverError(err)
		}
		p.note = NoteCodeReplay
		if grant == "refresh_token" {
			p.note = NoteRefreshReuse
		}
	}
	return p
}

// prepare settles scope and purpose before the token is made.
func (s *Server) prepare(ctx context.Context, request fosite.AccessRequester, client *authenticated, sess *session, form url.Values) *problem {
	switch form.Get("grant_type") {
	case "client_credentials":
		if p := s.grantScopes(request, form.Get("scope")); p != nil {
			return p
		}
		var p *problem
		sess.purpose, p = choosePurpose(client.client, client.purposes, form)
		return p
	case "authorization_code":
		if _, err := s.stands(ctx, sess.grant.Context, client.client, sess.grant.Scopes, sess.grant.Purpose); err != nil {
			return asProblem(err)
		}
	}
	return nil
}

// stands returns the scopes of what was granted if that can still be acted on: the person may still act so, and the client is
// still registered for it.
func (s *Server) stands(ctx context.Context, who Context, c Client, scopes []string, purpose string) (smart.Set, error) {
	granted, err := parseScopes(scopes)
	if err != nil {
		return smart.Set{}, serverError(err)
	}
	registered, err := parseScopes(c.Scopes)
	if err != nil || !registered.ContainsAll(granted) || !mayClaim(c, who, purpose) {
		return smart.Set{}, invalidGrant("the client is no longer registered for it")
	}
	if s.cfg.Standing == nil {
		return granted, nil
	}
	ok, err := s.cfg.Standing(ctx, who)
	if err != nil {
		return smart.Set{}, serverError(err)
	}
	if !ok {
		return smart.Set{}, invalidGrant("the person may no longer act so")
	}
	return granted, nil
}

// burn takes the code of a refused request. One that was taken before is a replay: when a client authenticated itself it ends
// the authorization, and p says so to the log.
func (s *Server) burn(ctx context.Context, code string, authenticated bool, p *problem) error {
	if s.cfg.Tickets == nil || len(code) > maxToken || s.mac.Validate(ctx, code) != nil {
		return nil
	}
	id := digest(s.mac.Signature(code))
	_, err := s.cfg.Tickets.TakeTicket(ctx, ticketCode, id)
	if !errors.Is(err, ErrTaken) || !authenticated || p.note != "" {
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTaken) {
			return nil
		}
		return err
	}
	ticket, err := s.cfg.Tickets.Ticket(ctx, ticketCode, id)
	if err != nil {
		return err
	}
	var kept codeRequest
	if err := json.Unmarshal(ticket.Body, &kept); err != nil {
		return fmt.Errorf("oauth: a stored code cannot be read: %w", err)
	}
	if err := s.revokeFamily(ctx, kept.Authorization); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	p.note = NoteCodeReplay
	return nil
}

func authenticatedClient(request fosite.AccessRequester) (*authenticated, bool) {
	if request == nil || request.GetClient() == nil {
		return nil, false
	}
	client, ok := request.GetClient().(*authenticated)
	return client, ok
}

// readForm parses the body under a limit. Parameters in the URL are not parameters of the request (RFC 6749 section
// 2.3.1: MUST NOT be included in the request URI), so only the body counts.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *problem) {
	if r.Method != http.MethodPost {
		p := invalidRequest("the token endpoint takes POST")
		p.status = http.StatusMethodNotAllowed
		return nil, p
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		p := invalidRequest("the body has to be application/x-www-form-urlencoded")
		p.status = http.StatusUnsupportedMediaType
		return nil, p
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		p := invalidRequest("the request is malformed").because(err)
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			p.status, p.text = http.StatusRequestEntityTooLarge, "the request is too large"
		}
		return nil, p
	}
	return r.PostForm, onceEach(r.PostForm)
}

// checkForm refuses unknown grants, for which fosite says invalid_request.
func (s *Server) checkForm(form url.Values) *problem {
	switch grant := form.Get("grant_type"); grant {
	case "":
		return invalidRequest("grant_type is missing")
	case "client_credentials":
		return nil
	case "authorization_code", "refresh_token":
		if s.cfg.FHIRBase != "" {
			return nil
		}
	}
	return &problem{status: http.StatusBadRequest, code: "unsupported_grant_type", text: "this grant is not offered"}
}

// onceEach refuses a parameter that is given more than once (RFC 6749 section 3.2), which fosite lets pass.
func onceEach(form url.Values) *problem {
	for _, values := range form {
		if len(values) > 1 {
			return invalidRequest("a parameter is given more than once")
		}
	}
	return nil
}

// grantScopes grants what was asked for, when it lies within the registration.
func (s *Server) grantScopes(request fosite.AccessRequester, text string) *problem {
	asked, err := smart.Parse(text)
	if err != nil {
		return invalidScope(scopeOutside).because(err)
	}
	if asked.Empty() {
		return invalidScope("scope is missing")
	}
	for _, context := range asked.Contexts() {
		if context != ScopeIntrospect && context != ScopeLaunch {
			return invalidScope("only system/ scopes can be granted to a client acting for itself")
		}
		request.GrantScope(context)
	}
	registered, err := parseScopes(request.GetClient().GetScopes())
	if err != nil || !registered.ContainsAll(asked) {
		return invalidScope(scopeOutside)
	}
	for _, sc := range asked.Resources() {
		if sc.Level != smart.System {
			return invalidScope("only system/ scopes can be granted to a client acting for itself")
		}
		if s.cfg.KnownType != nil && sc.Type != "*" && !s.cfg.KnownType(sc.Type) {
			return invalidScope(scopeOutside)
		}
		request.GrantScope(sc.String())
	}
	return nil
}

// announce tells OnToken what the answer will be.
func (s *Server) announce(ctx context.Context, request fosite.AccessRequester, p *problem) error {
	if s.cfg.OnToken == nil {
		return nil
	}
	o := Outcome{Endpoint: EndpointToken}
	if p != nil {
		o.Code, o.Note = p.code, p.note
	}
	if request != nil {
		if sess, ok := request.GetSession().(*session); ok && sess != nil {
			o.ClientID, o.Purpose, o.Context = sess.client.ID, sess.purpose, sess.grant.Context
			o.TokenID, o.Scopes = sess.access.RequestID, sess.access.Scopes
		}
		if types := request.GetGrantTypes(); len(types) == 1 {
			o.Grant = types[0]
		}
	}
	return s.cfg.OnToken(ctx, o)
}

// refuse writes the problem. The log gets the code and the type of the cause, never its text: causes quote requests.
func (s *Server) refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, p *problem) {
	if p.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	if p.challenge != "" {
		w.Header().Set("WWW-Authenticate", p.challenge)
	} else if p.status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`) // RFC 6749 section 5.2
	}
	if p.status >= http.StatusInternalServerError {
		s.cfg.Log.ErrorContext(ctx, "token request failed", errorType(p.cause))
	}
	if err := p.write(w); err != nil {
		s.cfg.Log.DebugContext(ctx, "token answer not delivered", errorType(err))
	}
}

// tell has the audit log hear of what happened.
func (s *Server) tell(ctx context.Context, o Outcome) *problem {
	if s.cfg.OnToken == nil {
		return nil
	}
	if err := s.cfg.OnToken(ctx, o); err != nil {
		return serverError(err)
	}
	return nil
}

// answer writes what an endpoint came to: its document, or the problem.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, doc any, p *problem) {
	if p != nil {
		s.refuse(r.Context(), w, r, p)
		return
	}
	s.writeJSON(r.Context(), w, status, doc)
}

// writeJSON answers with a document that must not be kept, unless the caller said otherwise.
func (s *Server) writeJSON(ctx context.Context, w http.ResponseWriter, status int, doc any) {
	body, err := json.Marshal(doc)
	if err != nil {
		s.cfg.Log.ErrorContext(ctx, "an answer could not be encoded", errorType(err))
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	if !strings.HasPrefix(h.Get("Cache-Control"), "public") {
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
	}
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.cfg.Log.DebugContext(ctx, "answer not delivered", errorType(err))
	}
}
