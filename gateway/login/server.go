package login

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/gateway/audit"
	"trellis/gateway/brake"
	"trellis/gateway/store"
)

// Server is the pages. All fields but TrustedProxies and Upstream are required.
type Server struct {
	PublicURL string // where browsers reach us, absolute, without trailing slash
	Base      string // FHIR base URL: the iss of a launch
	Name      string // of the deployment, in authenticator apps

	Authorizer Authorizer
	Grants     Grants
	Accounts   Accounts
	Attempts   Attempts
	Tickets    oauth.Tickets
	Directory  Directory
	Records    Records
	Log        Log

	Hasher *people.Hasher
	Now    func() time.Time
	Logger *slog.Logger
	// TrustedProxies are in front of us: their X-Forwarded-For says where a request comes from.
	TrustedProxies []string
	// Upstream lets people sign in elsewhere; nil: by password only.
	Upstream *Upstream

	pages  *pages
	brakes brake.Brakes
}

// Authorizer answers authorization requests. *oauth.Server is one.
type Authorizer interface {
	Begin(r *http.Request) (*oauth.Interaction, error)
	Resume(ctx context.Context, request []byte) (*oauth.Interaction, error)
	Approve(ctx context.Context, i *oauth.Interaction, a oauth.Approval) (location string, err error)
	Refuse(ctx context.Context, i *oauth.Interaction, code string) (location string, err error)
}

// Grants is what people let apps do. *oauth.Server has them.
type Grants interface {
	MakeLaunch(ctx context.Context, l oauth.Launch) (handle string, err error)
	Authorizations(ctx context.Context, user string) ([]oauth.Authorization, error)
	RevokeAuthorization(ctx context.Context, user, id string) error
}

// Accounts are those who may sign in. *store.Store keeps them.
type Accounts interface {
	User(ctx context.Context, id string) (people.User, error)
	UserByLogin(ctx context.Context, login string) (people.User, error)
	UserByUpstream(ctx context.Context, upstream string) (people.User, error)
	ChangeUser(ctx context.Context, id string, change func(*people.User) error) error
}

// Attempts are counted together by all replicas. *store.Store keeps them.
type Attempts interface {
	Attempt(ctx context.Context, name string, slot time.Duration) (int64, error)
	Attempts(ctx context.Context, name string, slot time.Duration) (int64, error)
	ForgetAttempts(ctx context.Context, name string) error
}

// Directory is who else there is: organisations and apps. *store.Store has it.
type Directory interface {
	Organization(ctx context.Context, id string) (access.Organization, error)
	ClientRecord(ctx context.Context, id string) (store.ClientRecord, error)
	Clients(ctx context.Context) ([]store.ClientRecord, error)
}

// Records tells whose records there are. What it returns was released to who asked, and is in the audit log.
type Records interface {
	// Named are those of the Patients that who may see, in the order asked for.
	Named(ctx context.Context, who access.Principal, request string, ids ...string) ([]Patient, error)
	// Find are those with such a name that who may see; more reports that there are others.
	Find(ctx context.Context, who access.Principal, request, name string) (list []Patient, more bool, err error)
	// Visit reports whether who may see such an Encounter of the Patient.
	Visit(ctx context.Context, who access.Principal, request, encounter, patient string) (bool, error)
}

// Patient is what people tell records apart by.
type Patient struct {
	ID     string
	Name   string
	Born   string // a FHIR date
	Keeper string // name of the organisation whose record it is
}

// Log is the audit log: durable on return.
type Log interface {
	Append(ctx context.Context, leaves ...audit.Leaf) error
}

// secure reports whether browsers reach us over TLS. Only a machine of one's own is reached otherwise.
func (s *Server) secure() bool { return strings.HasPrefix(s.PublicURL, "https://") }

// Handler builds the router from the table of routes.
func (s *Server) Handler() (http.Handler, error) {
	if u, err := url.Parse(s.PublicURL); err != nil || !u.IsAbs() || u.Host == "" {
		return nil, errors.New("login: PublicURL has to be an absolute URL")
	}
	s.brakes.PerSecond, s.brakes.AtOnce = requestsPerSecond, requestsAtOnce
	var err error
	if s.pages, err = readPages(); err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	if err := engine.SetTrustedProxies(s.TrustedProxies); err != nil {
		return nil, err
	}
	engine.Use(s.frame)
	for _, r := range s.routes() {
		engine.Handle(r.method, r.path, s.handle(r))
	}
	engine.NoRoute(func(c *gin.Context) { s.fail(c, refusal(http.StatusNotFound, "none")) })
	engine.NoMethod(func(c *gin.Context) { s.fail(c, refusal(http.StatusMethodNotAllowed, "method")) })
	return engine, nil
}
