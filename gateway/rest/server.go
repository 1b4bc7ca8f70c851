package rest

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/oauth"
	"trellis/auth/smart"
	"trellis/conformance/capability"
	"trellis/conformance/profile"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/fhir/terminology"
	"trellis/gateway/brake"
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
	// Profiles are what $validate checks against.
	Profiles Profiles
	// Exports is told that a bulk export was started; nil where nobody listens.
	Exports chan<- struct{}

	// AllowPrivate lets notifications go to private addresses.
	AllowPrivate bool

	// TrustedProxies are in front of us: their X-Forwarded-For says where a request comes from.
	TrustedProxies []string

	failures   brake.Brakes // of the authorization server's endpoints, by address
	principals principalCache
	origins    origins
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

// Profiles are the StructureDefinitions there are now, with what checking by them needs.
type Profiles interface {
	Checker(ctx context.Context) (*profile.Checker, error)
}

// Handler builds the router from the route table.
func (s *Server) Handler() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	s.failures.PerSecond, s.failures.AtOnce = failuresPerSec, failuresAtOnce
	if err := engine.SetTrustedProxies(s.TrustedProxies); err != nil {
		return nil, err
	}
	engine.Use(s.frame)
	for _, rows := range byPath(s.routes()) {
		engine.Handle(rows[0].method, rows[0].path, s.handle(rows))
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

// forget drops what grants resolve to: what they may see has changed.
func (c *principalCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m = nil
}

// caller is an authenticated client, or the person who uses it, with what it may see.
type caller struct {
	principal    access.Principal
	reach        reach
	reading      access.Filter // what it may see, within its scopes to read
	searching    access.Filter // and within those to search
	updateCreate bool
	segments     int // how many segments the filters were made from
}

// filterFresh reports whether this process has made no segment since: a writer sees its own record at once.
func (c caller) filterFresh(s *store.Store) bool { return c.segments == s.KnownSegments() }

// grantKey names all that decides what a grant resolves to.
func grantKey(g oauth.Grant) string {
	c := g.Context
	return strings.Join([]string{g.ClientID, g.Purpose, g.Organization, c.User, c.Capacity, c.FHIRUser, c.Patient, g.Scopes.String()}, "\x00")
}

// principal is who a grant acts for. Only a member of staff and a client that acts for itself have an organisation.
func (s *Server) principal(ctx context.Context, g oauth.Grant) (access.Principal, error) {
	c := g.Context
	p := access.Principal{Client: g.ClientID, Purpose: g.Purpose, User: c.User, Capacity: access.Capacity(c.Capacity)}
	if p.Personal() {
		p.Patient = recordOf(c)
		if strings.HasPrefix(c.FHIRUser, "RelatedPerson/") && p.Capacity == access.Proxy {
			p.Person = c.FHIRUser
		}
		return p, nil
	}
	var err error
	if p.Organization, err = s.Store.Organization(ctx, g.Organization); err != nil {
		return p, err
	}
	return p, s.inEmergency(ctx, &p)
}

// recordOf is the id of the Patient a person's token is about: a patient's own record, whichever was chosen at launch,
// or the one a proxy was let into.
func recordOf(c oauth.Context) string {
	if access.Capacity(c.Capacity) != access.Self || c.FHIRUser == "" {
		return c.Patient
	}
	if ref, ok := fhir.ParseReference(c.FHIRUser, ""); ok && ref.Type == "Patient" {
		return ref.ID
	}
	return ""
}

// resolve turns a grant into a caller. Segments another replica made since the last look are hidden
// until the next one, within principalLife.
func (s *Server) resolve(ctx context.Context, g oauth.Grant) (caller, error) {
	key := grantKey(g)
	s.principals.mu.Lock()
	cached, ok := s.principals.m[key]
	s.principals.mu.Unlock()
	if ok && time.Now().Before(cached.until) && cached.caller.filterFresh(s.Store) {
		over, err := s.over(ctx, cached.caller)
		if err != nil || !over {
			return cached.caller, err
		}
	}
	p, err := s.principal(ctx, g)
	if err != nil {
		return caller{}, err
	}
	record, err := s.Store.ClientRecord(ctx, g.ClientID)
	if err != nil {
		return caller{}, err
	}
	c := caller{principal: p, reach: s.newReach(ctx, g, p), segments: s.Store.KnownSegments()}
	if c.reading, err = s.Store.Filter(ctx, p); err != nil {
		return caller{}, err
	}
	c.updateCreate = record.UpdateCreate && slices.Contains(c.reach.levels, smart.System)
	c.searching = c.reading
	c.reading.Limits, c.searching.Limits = c.reach.read, c.reach.search
	s.principals.mu.Lock()
	defer s.principals.mu.Unlock()
	if s.principals.m == nil || len(s.principals.m) > 10_000 {
		s.principals.m = map[string]cachedPrincipal{}
	}
	s.principals.m[key] = cachedPrincipal{c, time.Now().Add(principalLife)}
	return c, nil
}
