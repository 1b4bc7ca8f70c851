package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// problem maps what went wrong to its public form. Anything it does not know is an internal error.
func problem(err error) *fhir.Problem {
	var p *fhir.Problem
	var denied *release.Denied
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &denied), errors.Is(err, store.ErrNotFound):
		return fhir.NewProblem(fhir.NotFound, "not-found", "no such resource").Because(err)
	case errors.Is(err, store.ErrOutside):
		return forbidden().Because(err)
	case errors.Is(err, store.ErrPrecondition):
		return fhir.NewProblem(fhir.Precondition, "conflict", "the resource has another version than the one named").Because(err)
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict):
		return fhir.NewProblem(fhir.Conflict, "conflict", "the resource changed meanwhile; try again").Because(err)
	case errors.Is(err, store.ErrReused):
		return fhir.NewProblem(fhir.Unprocessable, "duplicate", "the Idempotency-Key was used for another request").Because(err)
	case errors.Is(err, store.ErrSubscriptions):
		return fhir.NewProblem(fhir.Unprocessable, "too-costly", "this client has as many Subscriptions as it may; delete one first").Because(err)
	case errors.Is(err, store.ErrTooMany):
		return fhir.NewProblem(fhir.TooLarge, "too-costly", "the request stores more than one transaction may; send it in parts").Because(err)
	case errors.Is(err, release.ErrLog), errors.Is(err, release.ErrUndecided), errors.Is(err, store.ErrLog):
		return fhir.NewProblem(fhir.Unavailable, "transient", "nothing can be released now; try again").Because(err)
	case errors.Is(err, store.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		return fhir.NewProblem(fhir.Unavailable, "transient", "the server is busy; try again").Because(err)
	}
	return fhir.NewProblem(fhir.Internal, "exception", "an internal error").Because(err)
}

// status is the HTTP status of a category: the only place that knows both.
func status(c fhir.Category) int {
	switch c {
	case fhir.Invalid, fhir.Unsupported:
		return http.StatusBadRequest
	case fhir.Unprocessable:
		return http.StatusUnprocessableEntity
	case fhir.Forbidden:
		return http.StatusForbidden
	case fhir.Unauthenticated:
		return http.StatusUnauthorized
	case fhir.NotFound:
		return http.StatusNotFound
	case fhir.Gone:
		return http.StatusGone
	case fhir.Conflict:
		return http.StatusConflict
	case fhir.Precondition:
		return http.StatusPreconditionFailed
	case fhir.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fhir.NotAllowed:
		return http.StatusMethodNotAllowed
	case fhir.WrongMediaType:
		return http.StatusUnsupportedMediaType
	case fhir.NotAcceptable:
		return http.StatusNotAcceptable
	case fhir.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail answers with an OperationOutcome and logs the cause's type, never its text.
func (s *Server) fail(c *gin.Context, err error) {
	p := problem(err)
	code := status(p.Category)
	if cause := errors.Unwrap(p); cause != nil && code >= 500 {
		s.Logger.ErrorContext(c.Request.Context(), "request failed", "request", c.GetString(headerReqID), "error_type", cause)
	}
	if c.Writer.Written() {
		return
	}
	switch code {
	case http.StatusUnauthorized:
		c.Writer.Header().Set("WWW-Authenticate", `Bearer realm="trellis"`)
	case http.StatusServiceUnavailable:
		c.Writer.Header().Set("Retry-After", "1")
	}
	issues := p.Issues
	if code == http.StatusInternalServerError {
		issues = []fhir.Issue{{Code: "exception", Text: "an internal error; the request id is " + c.GetString(headerReqID)}}
	}
	c.Abort()
	s.send(c, code, fhir.ContentType+"; charset=utf-8", fhir.Outcome("error", issues))
}
