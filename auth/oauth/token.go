package oauth

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/ory/fosite"

	"trellis/auth/smart"
)

// maxBody bounds a token request: an assertion of a few kilobytes and a few hundred scopes fit many times.
const maxBody = 64 << 10

// Token answers the token endpoint (RFC 6749 section 3.2, SMART Backend Services). Every answer is JSON with
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
	if p := checkForm(form, r); p != nil {
		return nil, nil, p
	}
	ctx, sess := r.Context(), &session{}
	request, err := s.provider.NewAccessRequest(ctx, r, sess)
	client, known := authenticatedClient(request)
	if known {
		sess.client = client.client
	}
	if err != nil {
		return request, nil, asProblem(err)
	}
	if !known {
		return request, nil, serverError(errors.New("oauth: fosite returned a foreign client"))
	}
	if p := s.grantScopes(request, form.Get("scope")); p != nil {
		return request, nil, p
	}
	sess.purpose, p = choosePurpose(client.client, client.purposes, form)
	if p != nil {
		return request, nil, p
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		return request, nil, serverError(err)
	}
	return request, response, nil
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
	return r.PostForm, nil
}

// checkForm refuses what fosite would misname or let pass: repeated parameters (RFC 6749 section 3.2), two ways of
// authentication at once (section 2.3), and unknown grants, for which fosite says invalid_request.
func checkForm(form url.Values, r *http.Request) *problem {
	for _, values := range form {
		if len(values) > 1 {
			return invalidRequest("a parameter is given more than once")
		}
	}
	switch grant := form.Get("grant_type"); grant {
	case "":
		return invalidRequest("grant_type is missing")
	case "client_credentials":
	default:
		return &problem{status: http.StatusBadRequest, code: "unsupported_grant_type", text: "only client_credentials is supported"}
	}
	if r.Header.Get("Authorization") != "" || form.Has("client_secret") {
		return invalidClient("a secret or an Authorization header was sent; only private_key_jwt is accepted")
	}
	return nil
}

// grantScopes grants what was asked for. That each scope lies within the registration fosite has asked
// withinRegistration already; here are the rules it cannot express.
func (s *Server) grantScopes(request fosite.AccessRequester, text string) *problem {
	asked, err := smart.Parse(text)
	if err != nil {
		return invalidScope(scopeOutside).because(err)
	}
	if asked.Empty() {
		return invalidScope("scope is missing")
	}
	if len(asked.Contexts()) > 0 {
		return invalidScope("only system/ scopes can be granted to a client acting for itself")
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
	var o Outcome
	if p != nil {
		o.Code = p.code
	}
	if request != nil {
		if sess, ok := request.GetSession().(*session); ok && sess != nil {
			o.ClientID, o.Purpose = sess.client.ID, sess.purpose
			o.TokenID, o.Scopes = sess.token.RequestID, sess.token.Scopes
		}
	}
	return s.cfg.OnToken(ctx, o)
}

// refuse writes the problem. The log gets the code and the type of the cause, never its text: causes quote requests.
func (s *Server) refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, p *problem) {
	if p.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	if p.status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`) // RFC 6749 section 5.2
	}
	if p.status >= http.StatusInternalServerError {
		s.cfg.Log.ErrorContext(ctx, "token request failed", errorType(p.cause))
	}
	if err := p.write(w); err != nil {
		s.cfg.Log.DebugContext(ctx, "token answer not delivered", errorType(err))
	}
}
