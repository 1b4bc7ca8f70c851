package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/gateway/brake"
	"trellis/gateway/release"
)

// Limits of a request.
const (
	maxForm   = 64 << 10
	maxTime   = 30 * time.Second
	headerReq = "X-Request-Id"
)

// frame gives every request an id, limits, the headers no page goes without and one log line, and turns a panic into a
// plain page.
func (s *Server) frame(c *gin.Context) {
	start := time.Now()
	id := uuid.NewString()
	c.Set(headerReq, id)
	h := c.Writer.Header()
	h.Set(headerReq, id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", policy())
	if s.secure() {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), maxTime)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxForm)
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // cuts the connection
		} else if p != nil {
			s.Logger.ErrorContext(ctx, "panic", "request", id, "interaction", c.FullPath())
			s.fail(c, errors.New("login: panic"))
		}
		s.Logger.InfoContext(ctx, "request", "request", id, "interaction", c.Request.Method+" "+c.FullPath(),
			"status", c.Writer.Status(), "bytes", c.Writer.Size(), "ms", time.Since(start).Milliseconds())
	}()
	if !s.brakes.Allow(brake.Address(c.ClientIP()), start) {
		h.Set("Retry-After", "10")
		s.fail(c, refusal(http.StatusTooManyRequests, "busy"))
		c.Abort()
		return
	}
	c.Next()
}

// policy is the Content-Security-Policy of a page whose forms may end at the given places besides ours: Chromium holds
// what a form leads to by redirects to form-action too.
func policy(targets ...string) string {
	action := "form-action 'self'"
	for _, t := range targets {
		action += " " + t
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; " + action + "; frame-ancestors 'none'; base-uri 'none'"
}

// leadsTo lets the page's forms end at an app.
func (v *visit) leadsTo(addresses ...string) {
	var targets []string
	for _, a := range addresses {
		if t := source(a); t != "" {
			targets = append(targets, t)
		}
	}
	v.c.Header("Content-Security-Policy", policy(targets...))
}

// source is the CSP source expression of an app's address: its origin, or its scheme when it has one of its own.
func source(address string) string {
	u, err := url.Parse(address)
	if err != nil || !u.IsAbs() || strings.ContainsAny(u.Scheme+u.Host, "; ,'\"") {
		return ""
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http", strings.Contains(u.Host, "["): // CSP knows no IPv6 addresses
		return u.Scheme + ":"
	case u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost"):
		return "http://" + u.Hostname() + ":*" // a native app takes the port it gets (RFC 8252 section 7.3)
	}
	return u.Scheme + "://" + u.Host
}

// failure is an error with a page of its own: messages "fail.<key>" and "fail.<key>.text".
type failure struct {
	status int
	key    string
	cause  error
}

func (f *failure) Error() string { return "login: " + f.key }
func (f *failure) Unwrap() error { return f.cause }

func refusal(status int, key string) *failure { return &failure{status: status, key: key} }

// errForeign is a form or a flow that is not this browser's, or was used.
func errForeign() error { return refusal(http.StatusForbidden, "foreign") }

// failed turns an error into one that has a page. What is not known has one that says nothing.
func failed(err error) *failure {
	var f *failure
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &tooLong):
		return &failure{http.StatusRequestEntityTooLarge, "large", err}
	case errors.Is(err, release.ErrLog):
		return &failure{http.StatusServiceUnavailable, "log", err}
	case errors.Is(err, people.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		return &failure{http.StatusServiceUnavailable, "busy", err}
	}
	return &failure{http.StatusInternalServerError, "internal", err}
}

// fail writes an error's page.
func (s *Server) fail(c *gin.Context, err error) {
	f := failed(err)
	id := c.GetString(headerReq)
	if f.status >= http.StatusInternalServerError {
		s.Logger.ErrorContext(c.Request.Context(), "page failed", "request", id, "code", f.key, "error_type", err)
	}
	v := &visit{s: s, c: c, ctx: c.Request.Context()}
	v.chooseLanguage()
	v.show(f.status, "failure", page{Key: "fail." + f.key, Data: failureData{Text: "fail." + f.key + ".text", Request: id}})
}

type failureData struct {
	Text    string // message
	Request string
	Back    string // where to go on, when there is somewhere
	Plain   string // a text that is not ours to translate
}

// refusedRequest is the page of an authorization request that must not go back to its app.
func (v *visit) refusedRequest(r *oauth.Refused) error {
	v.show(http.StatusBadRequest, "failure", page{Key: "fail.request", Data: failureData{Text: "fail.request.text", Plain: r.Text, Request: v.request()}})
	return nil
}
