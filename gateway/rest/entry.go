package rest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trellis/fhir"
	"trellis/gateway/release"
)

// entryRequest is Bundle.entry.request with the body that goes with it.
type entryRequest struct {
	method, url string // url without a leading slash
	path        string // of url
	query       string
	contentType string
	body        []byte
	header      http.Header // conditions
}

// readEntry reads one entry of a batch or transaction. A patch comes as a Binary with the patch's media type, or as
// Parameters.
func readEntry(e fhir.Node, base string) (entryRequest, error) {
	request := e.Get("request")
	r := entryRequest{method: request.Get("method").Text(), contentType: fhir.ContentType, header: http.Header{}}
	r.url = strings.TrimPrefix(strings.TrimPrefix(request.Get("url").Text(), base), "/")
	u, err := url.Parse(r.url)
	if err != nil || r.url == "" || u.Host != "" || u.Scheme != "" || u.Path == "" || u.Fragment != "" || r.method == "" {
		return r, fhir.NewProblem(fhir.Invalid, "invalid", "the entry's request cannot be read")
	}
	r.path, r.query = u.Path, u.RawQuery
	for element, header := range map[string]string{"ifMatch": "If-Match", "ifNoneMatch": "If-None-Match", "ifNoneExist": "If-None-Exist"} {
		if v := request.Get(element).Text(); v != "" {
			r.header.Set(header, v)
		}
	}
	if since := request.Get("ifModifiedSince").Text(); since != "" {
		at, err := time.Parse(time.RFC3339Nano, since)
		if err != nil {
			return r, fhir.NewProblem(fhir.Invalid, "invalid", "request.ifModifiedSince is not an instant").Because(err)
		}
		r.header.Set("If-Modified-Since", at.UTC().Format(http.TimeFormat))
	}
	resource := e.Get("resource")
	if resource.IsZero() {
		return r, nil
	}
	r.body = resource.Raw()
	if r.method == http.MethodPatch && resource.Get("resourceType").Text() == "Binary" {
		r.contentType = resource.Get("contentType").Text()
		if r.body, err = base64.StdEncoding.DecodeString(resource.Get("data").Text()); err != nil {
			return r, fhir.NewProblem(fhir.Invalid, "invalid", "the patch is not base64").Because(err)
		}
	}
	return r, nil
}

// alone runs an entry as a request of its own through the whole pipeline: authentication, decision, log and release.
func (k *call) alone(i int, e fhir.Node) (release.Part, error) {
	r, err := readEntry(e, k.s.Base)
	if err != nil {
		return release.Part{}, err
	}
	sub, err := http.NewRequestWithContext(k.ctx, r.method, "/fhir/"+r.url, bytes.NewReader(r.body))
	if err != nil || strings.Trim(sub.URL.Path, "/") == "fhir" { // a Bundle in a Bundle is not run
		return release.Part{}, fhir.NewProblem(fhir.Invalid, "invalid", "the entry's request cannot be read")
	}
	sub.Header = r.header
	sub.Header.Set("Authorization", k.c.GetHeader("Authorization"))
	sub.Header.Set("Content-Type", r.contentType)
	sub.Header.Set("Accept", fhir.ContentType)
	if prefer := k.c.GetHeader("Prefer"); prefer != "" {
		sub.Header.Set("Prefer", prefer)
	}
	if key := k.c.GetHeader("Idempotency-Key"); key != "" {
		sub.Header.Set("Idempotency-Key", key+" "+strconv.Itoa(i))
	}
	rec := &captured{header: http.Header{}}
	k.s.engine.ServeHTTP(rec, sub)
	return rec.part(r.method), nil
}

// captured is the answer to a request this server makes to itself.
type captured struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (c *captured) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter.
func (c *captured) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

// Write implements http.ResponseWriter.
func (c *captured) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(b)
}

// part is the answer as an entry: what was released as its resource, an outcome as its outcome.
func (c *captured) part(method string) release.Part {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	p := release.Part{
		Status: fmt.Sprintf("%d %s", c.status, http.StatusText(c.status)), Location: c.header.Get("Location"), ETag: c.header.Get("ETag"),
		Body: c.body.Bytes(), IsOutcome: c.status >= 400 || (method != http.MethodGet && strings.HasPrefix(c.header.Get("Preference-Applied"), "return=")),
	}
	if at, err := http.ParseTime(c.header.Get("Last-Modified")); err == nil {
		p.Updated = at
	}
	return p
}
