package rest

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"trellis/gateway/store"
)

// crossOrigin lets apps in a browser read what they get (https://hl7.org/fhir/R4/security.html#cors). What discovery
// tells is for every origin. Records, operations and what apps call of the authorization server are for the origins
// registered clients come from, and for no other. A request carries its token in a header it has to set itself, never in a cookie: credentials
// are never allowed.
func (s *Server) crossOrigin(c *gin.Context) {
	h, path := c.Writer.Header(), c.Request.URL.Path
	if path == "/fhir/metadata" || path == "/oauth/jwks.json" || path == stylePath || strings.HasPrefix(path, "/fhir/.well-known/") || strings.HasPrefix(path, "/.well-known/") {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", exposed)
		return
	}
	if path != "/fhir" && !strings.HasPrefix(path, "/fhir/") && !crossOriginEndpoint(path) {
		return
	}
	h.Add("Vary", "Origin")
	origin := c.GetHeader("Origin")
	if origin == "" || !s.origins.known(c.Request.Context(), s.Store, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposed)
}

// crossOriginEndpoint reports whether an endpoint of the authorization server is one that apps in a browser call.
func crossOriginEndpoint(path string) bool {
	return path == "/oauth/token" || path == "/oauth/userinfo" || path == "/oauth/revoke"
}

const exposed = "ETag, Location, Last-Modified, X-Request-Id, X-Part2-Notice, X-Consent-Missing, X-Consent-Conflicts, Idempotent-Replayed, Preference-Applied"

// preflight answers OPTIONS. It has no token to look at and tells nothing but what an app of this origin may try.
func (s *Server) preflight(c *gin.Context) {
	h := c.Writer.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, Idempotency-Key, X-Security-Context")
		h.Set("Access-Control-Max-Age", "86400")
	}
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
}

// origins are where the pages of registered clients come from. They are read anew after originLife: a new client, or
// one that was disabled, holds within it on every replica.
type origins struct {
	mu    sync.Mutex
	set   map[string]bool
	until time.Time
}

const originLife = time.Second

// known reports whether a client registered the origin. Where clients cannot be read, none did.
func (o *origins) known(ctx context.Context, s *store.Store, origin string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.set == nil || !time.Now().Before(o.until) {
		clients, err := s.Clients(ctx)
		if err != nil {
			return false
		}
		o.set, o.until = originsOf(clients), time.Now().Add(originLife)
	}
	return o.set[origin]
}

func originsOf(clients []store.ClientRecord) map[string]bool {
	out := map[string]bool{}
	for _, c := range clients {
		if c.OAuth.Disabled {
			continue
		}
		for _, address := range append([]string{c.OAuth.LaunchURL}, c.OAuth.RedirectURIs...) {
			if origin, ok := originOf(address); ok {
				out[origin] = true
			}
		}
	}
	return out
}

// originOf is an address's origin as browsers write it (RFC 6454 section 6.2): lower case, without the scheme's own
// port. Only http and https have one.
func originOf(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return "", false
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if scheme != "https" && scheme != "http" {
		return "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && !(scheme == "https" && port == "443") && !(scheme == "http" && port == "80") {
		host = strings.TrimSuffix(host, "]")
		host = net.JoinHostPort(strings.TrimPrefix(host, "["), port)
	}
	return scheme + "://" + host, true
}
