package oauth

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/ory/fosite"
)

// problem is a refusal of the token endpoint: a constant for the client, a cause for nobody but the log.
type problem struct {
	status int
	code   string // RFC 6749 section 5.2
	text   string // constant, never built from the request
	cause  error

	challenge string // WWW-Authenticate, "" for the one of the scheme that was tried
	note      string // for the audit log
}

func (p *problem) Error() string { return "oauth: " + p.code + ": " + p.text }
func (p *problem) Unwrap() error { return p.cause }

// because returns the same answer with a cause for the log.
func (p problem) because(err error) *problem {
	p.cause = err
	return &p
}

// The constructors below return fresh values, so that no shared error is ever changed under a concurrent request.

func invalidClient(why string) *problem {
	return &problem{status: http.StatusUnauthorized, code: "invalid_client", text: "client authentication failed",
		cause: errors.New(why)}
}

func invalidRequest(text string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_request", text: text}
}

func invalidScope(text string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_scope", text: text}
}

func invalidGrant(why string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_grant", text: "the code or token is not valid, or was used before", cause: errors.New(why)}
}

func unauthorizedClient() *problem {
	return &problem{status: http.StatusBadRequest, code: "unauthorized_client", text: "the client is not registered for this grant"}
}

func serverError(err error) *problem {
	return &problem{status: http.StatusInternalServerError, code: "server_error",
		text: "the request could not be completed", cause: err}
}

const scopeOutside = "scope is malformed or outside the client's registration"

// asProblem maps whatever fosite or a store returned to one of the constant answers. What is not known is a 500.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	switch {
	case errors.Is(err, ErrTaken), errors.Is(err, ErrRevoked), errors.Is(err, fosite.ErrInvalidatedAuthorizeCode):
		// Somebody was first; fosite wraps it as its own failure.
		return invalidGrant("used or revoked meanwhile").because(err)
	case errors.Is(err, fosite.ErrInvalidGrant):
		return invalidGrant("refused by fosite").because(err)
	case errors.Is(err, fosite.ErrUnauthorizedClient):
		return unauthorizedClient().because(err)
	case errors.Is(err, fosite.ErrUnsupportedResponseType):
		return &problem{status: http.StatusBadRequest, code: "unsupported_response_type", text: "only response_type=code is offered", cause: err}
	case errors.Is(err, fosite.ErrInvalidState):
		return invalidRequest("state has to be at least 8 characters").because(err)
	case errors.Is(err, fosite.ErrInvalidScope):
		return invalidScope(scopeOutside).because(err)
	case errors.Is(err, fosite.ErrInvalidClient):
		return invalidClient("refused by fosite").because(err)
	case errors.Is(err, fosite.ErrInvalidRequest):
		return invalidRequest("the request is malformed").because(err)
	default:
		return serverError(err)
	}
}

// refusal reports whether an error is a refusal of the request, and not a failure of ours.
func refusal(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.status < http.StatusInternalServerError
}

// write sends the error document of RFC 6749 section 5.2. It holds nothing but the code and a constant.
func (p *problem) write(w http.ResponseWriter) error {
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{p.code, p.text})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(p.status)
	_, err = w.Write(body)
	return err
}
