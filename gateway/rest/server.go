package rest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/oauth"
	"trellis/conformance/capability"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/fhir/terminology"
	"trellis/gateway/intake"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Server is the HTTP edge. All fields are required; make the handler with Handler.
type Server struct {
	Base string // FHIR base URL, absolute, without trailing slash
	// Authorization is where the authorization server's endpoints are.
	Authorization capability.Authorization
	Store         *store.Store
	Gate          *release.Gate
	OAuth         *oauth.Server
	Intake        *intake.Desk
	Parser        *fhir.Parser
	Registry      *search.Registry
	Labels        *label.Classifier
	Cursors       *Cursors
	Logger        *slog.Logger
	// Terminology answers terminology operations, and token modifiers that need code systems.
	Terminology Terminology

	principals principalCache
	statement  statement
	zippers    zippers
	polls      polls
	engine     *gin.Engine // batch entries go through it again
}

// Terminology is the code systems, value sets and concept maps there are now.
type Terminology interface {
	search.Terminology
	Library(ctx context.Context) (*terminology.Library, error)
}

// Handler builds the router from the route table.
func (s *Server) Handler() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	if err := engine.SetTrustedProxies(nil); err != nil {
		return nil, err
	}
	engine.Use(s.frame)
	for _, r := range s.routes() {
		engine.Handle(r.method, r.path, s.handle(r))
	}
	engine.NoRoute(func(c *gin.Context) {
		s.fail(c, fhir.NewProblem(fhir.NotFound, "not-found", "no such resource type or operation"))
	})
	engine.NoMethod(func(c *gin.Context) {
		s.fail(c, fhir.NewProblem(fhir.NotAllowed, "not-supported", "this method is not offered here"))
	})
	s.engine = engine
	return engine, nil
}

// principalLife is how long a resolved principal may be used: a changed organisation, client or
// segment holds within it on every replica.
const principalLife = time.Second

// principalCache keeps what a grant resolves to for up to principalLife.
type principalCache struct {
	mu sync.Mutex
	m  map[string]cachedPrincipal
}

type cachedPrincipal struct {
	caller caller
	until  time.Time
}

// caller is an authenticated client with what it may see.
type caller struct {
	principal    access.Principal
	filter       access.Filter
	updateCreate bool
	segments     int // how many segments filter was made from
}

// filterFresh reports whether this process has made no segment since: a writer sees its own record at once.
func (c caller) filterFresh(s *store.Store) bool { return c.segments == s.KnownSegments() }

// resolve turns a grant into a caller. Segments another replica made since the last look are hidden
// until the next one, within principalLife.
func (s *Server) resolve(ctx context.Context, g oauth.Grant) (caller, error) {
	key := g.ClientID + "\x00" + g.Purpose
	s.principals.mu.Lock()
	cached, ok := s.principals.m[key]
	s.principals.mu.Unlock()
	if ok && time.Now().Before(cached.until) && cached.caller.filterFresh(s.Store) {
		return cached.caller, nil
	}
	org, err := s.Store.Organization(ctx, g.Organization)
	if err != nil {
		return caller{}, err
	}
	record, err := s.Store.ClientRecord(ctx, g.ClientID)
	if err != nil {
		return caller{}, err
	}
	segments, err := s.Store.Segments(ctx)
	if err != nil {
		return caller{}, err
	}
	c := caller{principal: access.Principal{Client: g.ClientID, Organization: org, Purpose: g.Purpose}, updateCreate: record.UpdateCreate}
	c.filter = access.Partition(c.principal, segments)
	c.segments = len(segments)
	s.principals.mu.Lock()
	defer s.principals.mu.Unlock()
	if s.principals.m == nil || len(s.principals.m) > 10_000 {
		s.principals.m = map[string]cachedPrincipal{}
	}
	s.principals.m[key] = cachedPrincipal{c, time.Now().Add(principalLife)}
	return c, nil
}
