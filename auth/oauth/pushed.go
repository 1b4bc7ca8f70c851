package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// pushedPrefix begins the name of a pushed request (RFC 9126 section 2.2).
const pushedPrefix = "urn:ietf:params:oauth:request_uri:"

// Push answers the pushed authorization request endpoint (RFC 9126): the request is checked as it would be at the
// authorization endpoint and kept, for a browser to come with its name.
func (s *Server) Push(w http.ResponseWriter, r *http.Request) {
	answer, p := s.push(w, r)
	s.answer(w, r, http.StatusCreated, answer, p)
}

func (s *Server) push(w http.ResponseWriter, r *http.Request) (any, *problem) {
	form, p := readForm(w, r)
	if p != nil {
		return nil, p
	}
	client, _, err := s.identify(r.Context(), r, form, s.endpoint("par"), s.cfg.Issuer)
	if err != nil {
		return nil, asProblem(err)
	}
	if form.Has("request_uri") {
		return nil, invalidRequest("a pushed request cannot name another")
	}
	var refused *Refused
	kept, err := known(form)
	if err == nil {
		kept.Set("client_id", client.ID)
		_, err = s.interaction(r.Context(), keptRequest{Form: kept})
	}
	if errors.As(err, &refused) {
		return nil, &problem{status: http.StatusBadRequest, code: refused.Code, text: refused.Text, cause: refused.cause}
	}
	if err != nil {
		return nil, serverError(err)
	}
	body, err := json.Marshal(kept)
	if err != nil {
		return nil, serverError(err)
	}
	name := NewSecret()
	if err := s.cfg.Tickets.PutTicket(r.Context(), Ticket{Kind: ticketPushed, ID: digest(name), Expires: s.cfg.Now().Add(pushedLifetime), Body: body}); err != nil {
		return nil, serverError(err)
	}
	return map[string]any{"request_uri": pushedPrefix + name, "expires_in": int(pushedLifetime.Seconds())}, nil
}

// pushed uses a pushed request up.
func (s *Server) pushed(ctx context.Context, uri, client string) (url.Values, error) {
	const text = "The app's request is unknown, too old, or was used before. Go back to the app and try again."
	name, ok := strings.CutPrefix(uri, pushedPrefix)
	if !ok {
		return nil, onPage("invalid_request_uri", text)
	}
	ticket, err := s.cfg.Tickets.TakeTicket(ctx, ticketPushed, digest(name))
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTaken) {
		return nil, onPage("invalid_request_uri", text)
	}
	if err != nil {
		return nil, err
	}
	var form url.Values
	if err := json.Unmarshal(ticket.Body, &form); err != nil {
		return nil, err
	}
	if !s.cfg.Now().Before(ticket.Expires) || form.Get("client_id") != client {
		return nil, onPage("invalid_request_uri", text)
	}
	return form, nil
}

// endpoint is the URL of one of this server's endpoints.
func (s *Server) endpoint(name string) string { return s.cfg.Issuer + "/oauth/" + name }
