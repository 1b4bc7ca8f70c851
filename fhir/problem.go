package fhir

import (
	"fmt"
	"strings"
)

// Category says what went wrong in terms of the caller's request. The edge turns it into an HTTP status.
type Category int

const (
	// Internal is the zero value: anything not known to be the caller's fault is ours.
	Internal        Category = iota
	Invalid                  // content breaks R4 or one of our rules: 400
	Unprocessable            // content is well formed but may not be stored as it is: 422
	Unsupported              // a feature, parameter or media type we do not serve: 400
	Forbidden                // the request may not be made at all (G1): 403
	Unauthenticated          // no usable token: 401
	NotFound                 // absent, or hidden from the caller (G2): 404
	Gone                     // deleted and the caller may know it: 410
	Conflict                 // the state changed under the caller: 409
	Precondition             // If-Match or a condition failed: 412
	TooLarge                 // a limit was exceeded: 413
	NotAllowed               // the method is not offered here: 405
	WrongMediaType           // the body's media type is not accepted: 415
	NotAcceptable            // no representation the client accepts: 406
	Unavailable              // try again later: 503
)

// Issue is one fault as a client may see it. Text and Expression never hold a patient's value.
type Issue struct {
	Code       string // FHIR IssueType, e.g. "required", "structure"
	Text       string
	Expression string // element path, when there is one
	Severity   string // "" for the one the Outcome has
}

// Problem is an error with a public half (Category, Issues) and a private half (cause).
// Only the public half may reach a client; only the cause's type may reach a log.
type Problem struct {
	Category Category
	Issues   []Issue
	cause    error
}

// NewProblem makes a problem with one issue.
func NewProblem(c Category, code, text string) *Problem {
	return &Problem{Category: c, Issues: []Issue{{Code: code, Text: text}}}
}

// At sets the element path of the first issue.
func (p *Problem) At(expression string) *Problem {
	p.Issues[0].Expression = expression
	return p
}

// Because attaches the private cause.
func (p *Problem) Because(err error) *Problem {
	p.cause = err
	return p
}

// Unwrap gives the private cause to errors.Is and errors.As.
func (p *Problem) Unwrap() error { return p.cause }

// Error is the public half only.
func (p *Problem) Error() string {
	texts := make([]string, 0, len(p.Issues))
	for _, i := range p.Issues {
		if i.Expression != "" {
			texts = append(texts, fmt.Sprintf("%s: %s", i.Expression, i.Text))
			continue
		}
		texts = append(texts, i.Text)
	}
	return strings.Join(texts, "; ")
}
