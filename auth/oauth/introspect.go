package oauth

import (
	"context"
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
	s.answer(w, r, http.StatusOK, answer, p)
}

func (s *Server) introspect(w http.ResponseWriter, r *http.Request) (any, *problem) {
	form, p := readForm(w, r)
	if p != nil {
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
	grant, err := s.cfg.Grants.Authorization(ctx, token.RequestID)
	if err == nil {
		var client Client
		if client, err = s.registered(ctx, token.ClientID); err == nil {
			_, err = s.stands(ctx, grant.Context, client, grant.Scopes, grant.Purpose)
		}
	}
	switch {
	case errors.Is(err, ErrNotFound), refusal(err):
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
