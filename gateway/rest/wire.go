package rest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// minZipped is the smallest body worth compressing.
const minZipped = 1 << 10

// send writes a whole answer: indented for _pretty=true, compressed when the client takes gzip, without its body for
// HEAD. The audit log has the digest of the body as it was released, before either.
func (s *Server) send(c *gin.Context, status int, contentType string, body []byte) {
	h := c.Writer.Header()
	h.Set("Content-Type", contentType)
	isText := strings.Contains(contentType, "json") || strings.HasPrefix(contentType, "text/")
	if isText && c.Query("_pretty") == "true" {
		var out bytes.Buffer
		if json.Indent(&out, body, "", "  ") == nil {
			body = append(out.Bytes(), '\n')
		}
	}
	if c.Request.Method == http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		c.Status(status)
		c.Writer.WriteHeaderNow()
		return
	}
	c.Status(status)
	if isText && len(body) >= minZipped && takesGzip(c.GetHeader("Accept-Encoding")) {
		s.zipped(c, body)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	s.put(c, c.Writer, body)
}

// put writes bytes; a client that has gone shows in the log and nowhere else.
func (s *Server) put(c *gin.Context, w io.Writer, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.Logger.InfoContext(c.Request.Context(), "the client went away", "request", c.GetString(headerReqID), "error_type", err)
	}
}

func (s *Server) zipped(c *gin.Context, body []byte) {
	c.Writer.Header().Set("Content-Encoding", "gzip")
	z, ok := s.zippers.Get().(*gzip.Writer)
	if !ok {
		z, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one there is
	}
	defer s.zippers.Put(z)
	z.Reset(c.Writer)
	s.put(c, z, body)
	if err := z.Close(); err != nil {
		s.Logger.InfoContext(c.Request.Context(), "the client went away", "request", c.GetString(headerReqID), "error_type", err)
	}
}

// zippers keeps compressors: making one costs more than a small body.
type zippers struct{ sync.Pool }

// takesGzip reads Accept-Encoding (RFC 9110 12.5.3).
func takesGzip(header string) bool {
	for _, part := range strings.Split(header, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if coding = strings.TrimSpace(coding); coding != "gzip" && coding != "*" {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		if !ok {
			return true
		}
		if f, err := strconv.ParseFloat(q, 64); err == nil {
			return f > 0
		}
	}
	return false
}
