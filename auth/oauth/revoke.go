package oauth

import (
	"errors"
	"net/http"
)

// Revocation answers the revocation endpoint (RFC 7009): a client ends the authorization a token of its own belongs to.
// The answer is the same whether there was one.
func (s *Server) Revocation(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, http.StatusOK, struct{}{}, s.revocation(w, r))
}

func (s *Server) revocation(w http.ResponseWriter, r *http.Request) *problem {
	form, p := readForm(w, r)
	if p != nil {
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
