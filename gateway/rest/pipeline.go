package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"trellis/auth/consent"
	"trellis/auth/oauth"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Limits of a request.
const (
	maxBody     = 32 << 20
	maxTime     = 60 * time.Second
	headerReqID = "X-Request-Id"
)

// call is one authenticated request on its way through the pipeline.
type call struct {
	s      *Server
	c      *gin.Context
	ctx    context.Context
	caller caller
	req    release.Request

	prefer  string // Prefer: return, "" when the client has none
	lenient bool   // Prefer: handling=lenient
	sent    []byte // body as read, for the Idempotency-Key
	entryOf []int  // of a transaction: the entry each operation came from

	conflicts []consent.Conflict // of the Consents written, with instruments on file
}

// frame gives every request an id, a time limit, safe headers, a body limit and one log line, and turns
// a panic into a plain 500.
func (s *Server) frame(c *gin.Context) {
	start := time.Now()
	id := uuid.NewString()
	c.Set(headerReqID, id)
	h := c.Writer.Header()
	h.Set(headerReqID, id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if strings.HasPrefix(c.Request.URL.Path, "/fhir") {
		h.Set("Vary", "Accept, Accept-Encoding")
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), maxTime)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	s.crossOrigin(c)
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxBody)
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // cuts the connection
		} else if p != nil {
			s.Logger.ErrorContext(ctx, "panic", "request", id, "path", c.FullPath())
			s.fail(c, fhir.NewProblem(fhir.Internal, "exception", "an internal error"))
		}
		s.Logger.InfoContext(ctx, "request", "request", id, "interaction", c.Request.Method+" "+c.FullPath(),
			"status", c.Writer.Status(), "bytes", c.Writer.Size(), "ms", time.Since(start).Milliseconds(), "client", c.GetString("client"))
	}()
	c.Next()
}

// handle runs one route, the row that is on the type asked about: G1 (token, scope) first, and only then the handler, which
// may touch data.
func (s *Server) handle(rows []route) gin.HandlerFunc {
	return func(c *gin.Context) {
		r := rows[0]
		if i := slices.IndexFunc(rows, func(r route) bool { return slices.Contains(r.on, c.Param("type")) }); i > 0 {
			r = rows[i]
		}
		if r.public != nil {
			r.public(c)
			return
		}
		s.Store.Begin()
		defer s.Store.End()
		k := &call{s: s, c: c, ctx: c.Request.Context()}
		err := k.authenticate(r)
		if err == nil {
			err = r.offers(c.Param("type"))
		}
		if err == nil {
			err = r.serve(k)
		}
		if err != nil {
			s.fail(c, k.refused(err))
		}
	}
}

// refused puts a refusal that no decision recorded into the audit log: one about scope, or a write to
// what the writer does not hold. Requests without a valid token are nobody's and stay in the request log.
func (k *call) refused(err error) error {
	var p *fhir.Problem
	code := ""
	switch {
	case errors.As(err, &p) && p.Category == fhir.Forbidden:
		code = "FORBIDDEN"
	case errors.Is(err, store.ErrOutside):
		code = "OUTSIDE_COMPARTMENT"
	case errors.Is(err, store.ErrNotFound):
		code = "NOT_HELD"
	default:
		return err
	}
	if failed := k.s.Gate.Refused(k.ctx, k.req, code); failed != nil {
		return failed
	}
	return err
}

func (k *call) authenticate(r route) error {
	grant, err := k.s.OAuth.Authenticate(k.c.Request)
	switch {
	case errors.Is(err, oauth.ErrNoToken), errors.Is(err, oauth.ErrBadToken):
		return fhir.NewProblem(fhir.Unauthenticated, "login", "a valid bearer token is required").Because(err)
	case err != nil:
		return err
	}
	if k.caller, err = k.s.resolve(k.ctx, grant); err != nil {
		return err
	}
	k.c.Set("client", grant.ClientID)
	k.req = release.Request{
		Principal: k.caller.principal, Filter: k.caller.reading, Launch: k.caller.reach.launch, Interaction: r.interaction,
		RequestID: k.c.GetString(headerReqID), TokenID: grant.TokenID, Query: []byte(k.c.Request.URL.RawQuery),
	}
	if err := k.opened(r); err != nil {
		return err
	}
	k.preferences()
	typ := k.c.Param("type")
	if !r.anyFormat && (typ != "Binary" || r.verb != smart.Read) { // a Binary may go out as what it is
		if err := acceptable(k.c); err != nil {
			return err
		}
	}
	if typ != "" && !fhir.KnownType(typ) {
		return fhir.NewProblem(fhir.NotFound, "not-supported", "no such resource type")
	}
	if typ == "" {
		typ = "*"
	}
	if r.verb == 0 || r.interaction == "read" && k.isUser(typ, k.c.Param("id")) {
		return nil
	}
	return k.allow(typ, r.verb)
}

// allow is G1 for a type: the answer is the same whatever the data.
func (k *call) allow(typ string, verb smart.Verb) error {
	if k.may(typ, verb) {
		return nil
	}
	return forbidden()
}

// may reports whether the token allows something about a type, on some of its resources at least.
func (k *call) may(typ string, verb smart.Verb) bool { return k.caller.reach.may(typ, verb) }

// allowAsSystem is G1 for what is for clients that act for themselves.
func (k *call) allowAsSystem(typ string, verb smart.Verb) error {
	if k.caller.reach.mayAsSystem(typ, verb) {
		return nil
	}
	return forbidden()
}

// isUser reports whether a resource is the one that stands for the token's user, which fhirUser lets be read.
func (k *call) isUser(typ, id string) bool {
	user := k.caller.reach.user
	return id != "" && user == fhir.Reference{Type: typ, ID: id}
}

func forbidden() *fhir.Problem {
	return fhir.NewProblem(fhir.Forbidden, "forbidden", "the token does not allow this")
}

// formats lists the media types the client takes, by _format or Accept; none is any.
func formats(c *gin.Context) []string {
	format := c.Query("_format")
	if format == "" {
		format = c.GetHeader("Accept")
	}
	if format == "" {
		return nil
	}
	var out []string
	for _, part := range strings.Split(format, ",") {
		// A plus sign in a query string arrives as a space when the client did not escape it.
		media, _, err := mime.ParseMediaType(strings.ReplaceAll(strings.TrimSpace(part), " ", "+"))
		if err == nil {
			out = append(out, media)
		}
	}
	return out
}

// isJSON reports whether a media type asks for resources as this server writes them.
func isJSON(media string) bool {
	switch media {
	case "json", "application/json", "application/fhir+json", "text/json":
		return true
	}
	return false
}

// acceptable refuses representations this server does not write (https://hl7.org/fhir/R4/http.html#mime-type).
func acceptable(c *gin.Context) error {
	list := formats(c)
	if list == nil && c.Query("_format") == "" && c.GetHeader("Accept") == "" {
		return nil
	}
	for _, media := range list {
		if isJSON(media) || media == "*/*" || media == "application/*" {
			return nil
		}
	}
	return fhir.NewProblem(fhir.NotAcceptable, "not-supported", "this server writes application/fhir+json")
}

// body reads a JSON request body within the limit.
func (k *call) body() ([]byte, error) {
	media, _, err := mime.ParseMediaType(k.c.ContentType())
	if err != nil || (media != "application/fhir+json" && media != "application/json") {
		return nil, fhir.NewProblem(fhir.WrongMediaType, "not-supported", "the body must be application/fhir+json or application/json; XML is not read")
	}
	return k.bytes()
}

// bytes reads a request body of any type within the limit.
func (k *call) bytes() ([]byte, error) {
	var source io.Reader = k.c.Request.Body
	switch k.c.GetHeader("Content-Encoding") {
	case "", "identity":
	case "gzip":
		zip, err := gzip.NewReader(source)
		if err != nil {
			return nil, fhir.NewProblem(fhir.Invalid, "structure", "the body is not gzip").Because(err)
		}
		source = zip
	default:
		return nil, fhir.NewProblem(fhir.WrongMediaType, "not-supported", "the content encoding must be gzip or none")
	}
	data, err := io.ReadAll(io.LimitReader(source, maxBody+1))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong) || len(data) > maxBody:
		return nil, fhir.NewProblem(fhir.TooLarge, "too-costly", "the body is larger than this server accepts")
	case err != nil:
		return nil, fhir.NewProblem(fhir.Invalid, "structure", "the body could not be read").Because(err)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fhir.NewProblem(fhir.Invalid, "structure", "the body is empty")
	}
	k.sent = data
	return data, nil
}

// respondBundle answers with a set of records as far as the gate releases it.
func (k *call) respondBundle(set release.Set) error {
	released, err := k.s.Gate.Bundle(k.ctx, k.req, set)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// respond writes a release to the client.
func (k *call) respond(status int, r *release.Released) {
	h := k.c.Writer.Header()
	k.version(r)
	if r.Notice() {
		h.Set("X-Part2-Notice", release.StatementShort)
	}
	if r.Unmodified() {
		k.c.Status(http.StatusNotModified)
		k.c.Writer.WriteHeaderNow()
		return
	}
	if raw := r.ContentType(); raw != "" {
		// Somebody else's page must not run as ours.
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		h.Set("Content-Disposition", "attachment")
		k.s.send(k.c, status, raw, r.Body())
		return
	}
	k.s.send(k.c, status, fhir.ContentType+"; charset=utf-8", r.Body())
}

// version names the version a single resource is in.
func (k *call) version(r *release.Released) {
	if r.Version() == 0 {
		return
	}
	h := k.c.Writer.Header()
	h.Set("ETag", `W/"`+strconv.FormatInt(r.Version(), 10)+`"`)
	h.Set("Last-Modified", r.Updated().UTC().Format(http.TimeFormat))
}
