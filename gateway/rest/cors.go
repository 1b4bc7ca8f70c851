package rest

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// crossOrigin lets apps in a browser read what they get (https://hl7.org/fhir/R4/security.html#cors). A request carries
// its token in a header it has to set itself, never in a cookie, so any origin may ask.
func crossOrigin(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "ETag, Location, Last-Modified, X-Request-Id, X-Part2-Notice, X-Consent-Missing, Idempotent-Replayed, Preference-Applied")
}

// preflight answers OPTIONS on every FHIR route. It has no token to look at and tells nothing but what any app may try.
func (s *Server) preflight(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, Idempotency-Key, X-Security-Context")
	h.Set("Access-Control-Max-Age", "86400")
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
}
