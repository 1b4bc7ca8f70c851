package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ScopeIntrospect lets a client ask about tokens of any client; ScopeLaunch lets an EHR make launch handles.
const (
	ScopeIntrospect = "introspect"
	ScopeLaunch     = "create_launch"
)

// Introspect answers the introspection endpoint (RFC 7662, SMART "Token Introspection"). Who asks proves itself with a
// bearer token of scope introspect, or as a client; a client without that scope hears of its own tokens only.
func (s *Server) Introspect(w http.ResponseWriter, r *http.Request) {
	answer, p := s.introspect(w, r)
	if p != nil {
		s.refuse(r.Context(), w, r, p)
		return
	}
	s.writeJSON(r.Context(), w, http.StatusOK, answer)
}

func (s *Server) introspect(w http.ResponseWriter, r *http.Request) (any, *problem) {
	form, p := readForm(w, r)
	if p != nil {
		return nil, p
	}
	if p := onceEach(form); p != nil {
		return nil, p
	}
	only, p := s.asker(r, form)
	if p != nil {
		return nil, p
	}
	token, grant, p := s.presented(r.Context(), form.Get("token"))
	switch {
	case p != nil:
		return nil, p
	case token.Signature == "" || only != "" && token.ClientID != only:
		return map[string]any{"active": false}, nil
	}
	answer := map[string]any{
		"active": true, "client_id": token.ClientID, "scope": strings.Join(token.Scopes, " "), "token_type": "bearer",
		"exp": token.ExpiresAt.Unix(), "iat": token.IssuedAt.Unix(), "iss": s.cfg.Issuer, "sub": token.ClientID,
	}
	if token.Use == UseRefresh {
		answer["token_type"] = "refresh_token"
	}
	if grant.Context.User != "" {
		answer["sub"] = grant.Context.User
		for name, value := range s.launchContext(grant.Context, token.Scopes) {
			answer[name] = value
		}
		for name, value := range s.identity(grant.Context, token.Scopes) {
			answer[name] = value
		}
	}
	return answer, nil
}

// asker authenticates whoever asks about a token. only is the client whose tokens it may hear of, "" for any.
func (s *Server) asker(r *http.Request, form url.Values) (only string, p *problem) {
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		grant, err := s.Authenticate(r)
		switch {
		case errors.Is(err, ErrNoToken), errors.Is(err, ErrBadToken):
			p := invalidClient("the bearer token is not valid")
			p.code, p.text, p.challenge = "invalid_token", "the bearer token is not valid", Challenge(err)
			return "", p
		case err != nil:
			return "", serverError(err)
		case !grant.Scopes.Context(ScopeIntrospect):
			return "", &problem{status: http.StatusForbidden, code: "insufficient_scope", text: "the token does not allow introspection"}
		}
		return "", nil
	}
	client, _, err := s.identify(r.Context(), r, form, s.endpoint("introspect"))
	if err != nil {
		return "", asProblem(err)
	}
	if client.Public() {
		return "", invalidClient("a public client cannot introspect")
	}
	if slices.Contains(client.Scopes, ScopeIntrospect) {
		return "", nil
	}
	return client.ID, nil
}

// presented finds a token that stands, of either use; the zero Token when there is none.
func (s *Server) presented(ctx context.Context, raw string) (Token, Authorization, *problem) {
	if raw == "" || len(raw) > maxToken || s.mac.Validate(ctx, raw) != nil {
		return Token{}, Authorization{}, nil
	}
	now := s.cfg.Now()
	token, err := s.cfg.Store.Token(ctx, s.mac.Signature(raw))
	if errors.Is(err, ErrNotFound) {
		return Token{}, Authorization{}, nil
	}
	if err != nil {
		return Token{}, Authorization{}, serverError(err)
	}
	if token.Use == UseAccess {
		found, err := s.look(ctx, token.Signature, now)
		if err != nil {
			return Token{}, Authorization{}, serverError(err)
		}
		if !found.valid || !now.Before(token.ExpiresAt) {
			return Token{}, Authorization{}, nil
		}
		return token, Authorization{Context: token.Context}, nil
	}
	if token.Used || token.Revoked || !now.Before(token.ExpiresAt) {
		return Token{}, Authorization{}, nil
	}
	var p *problem
	grant, err := s.cfg.Grants.Authorization(ctx, token.RequestID)
	if err == nil {
		var client Client
		if client, err = s.registered(ctx, token.ClientID); err == nil {
			err = s.stands(ctx, grant.Context, client, grant.Scopes, grant.Purpose)
		}
	}
	switch {
	case errors.Is(err, ErrNotFound), errors.As(err, &p) && p.status < http.StatusInternalServerError:
		return Token{}, Authorization{}, nil
	case err != nil:
		return Token{}, Authorization{}, serverError(err)
	}
	return token, grant, nil
}

// launchContext is what the token response and introspection say of the launch.
func (s *Server) launchContext(c Context, scopes []string) map[string]any {
	out := map[string]any{}
	if c.Patient != "" && (c.Launched || slices.ContainsFunc(scopes, func(scope string) bool {
		return scope == "launch/patient" || strings.HasPrefix(scope, "patient/")
	})) {
		out["patient"] = c.Patient
		out["need_patient_banner"] = !c.Launched
	}
	if c.Encounter != "" {
		out["encounter"] = c.Encounter
	}
	if c.Intent != "" {
		out["intent"] = c.Intent
	}
	if s.cfg.StyleURL != "" && len(out) > 0 {
		out["smart_style_url"] = s.cfg.StyleURL
	}
	return out
}

// Revocation answers the revocation endpoint (RFC 7009): a client ends the authorization a token of its own belongs to.
// The answer is the same whether there was one.
func (s *Server) Revocation(w http.ResponseWriter, r *http.Request) {
	if p := s.revocation(w, r); p != nil {
		s.refuse(r.Context(), w, r, p)
		return
	}
	s.writeJSON(r.Context(), w, http.StatusOK, struct{}{})
}

func (s *Server) revocation(w http.ResponseWriter, r *http.Request) *problem {
	form, p := readForm(w, r)
	if p != nil {
		return p
	}
	if p := onceEach(form); p != nil {
		return p
	}
	client, _, err := s.identify(r.Context(), r, form, s.endpoint("revoke"))
	if err != nil {
		return asProblem(err)
	}
	raw := form.Get("token")
	if raw == "" {
		return invalidRequest("token is missing")
	}
	if len(raw) > maxToken || s.mac.Validate(r.Context(), raw) != nil {
		return nil
	}
	token, err := s.cfg.Store.Token(r.Context(), s.mac.Signature(raw))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return serverError(err)
	case token.ClientID != client.ID:
		return nil
	case token.Context.User == "":
		err = s.Revoke(r.Context(), token.RequestID)
	default:
		err = s.revokeFamily(r.Context(), token.RequestID)
	}
	if err != nil {
		return serverError(err)
	}
	return s.tell(r.Context(), Outcome{Endpoint: EndpointRevocation, ClientID: client.ID, TokenID: token.RequestID, Scopes: token.Scopes, Purpose: token.Purpose, Context: token.Context})
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

// UserInfo answers the UserInfo endpoint (OpenID Connect Core section 5.3).
func (s *Server) UserInfo(w http.ResponseWriter, r *http.Request) {
	grant, err := s.Authenticate(r)
	var p *problem
	switch {
	case errors.Is(err, ErrNoToken), errors.Is(err, ErrBadToken):
		p = &problem{status: http.StatusUnauthorized, code: "invalid_token", text: "the bearer token is not valid", challenge: Challenge(err)}
	case err != nil:
		p = serverError(err)
	case grant.Context.User == "" || !grant.Scopes.Context("openid"):
		p = &problem{status: http.StatusForbidden, code: "insufficient_scope", text: "the token does not allow this", challenge: `Bearer error="insufficient_scope"`}
	}
	if p != nil {
		s.refuse(r.Context(), w, r, p)
		return
	}
	answer := s.identity(grant.Context, grant.Scopes.Contexts())
	answer["sub"] = grant.Context.User
	s.writeJSON(r.Context(), w, http.StatusOK, answer)
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
