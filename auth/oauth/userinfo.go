package oauth

import (
	"errors"
	"net/http"
)

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
