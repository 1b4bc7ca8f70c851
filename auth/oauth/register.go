package oauth

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"trellis/auth/smart"
)

// Registry keeps registrations made by clients themselves.
type Registry interface {
	// NewClient inserts a registration, durably on return.
	NewClient(ctx context.Context, c Client) error
	// ChangeClient changes one as it stands then, durably on return; ErrNotFound. change may be called again after a
	// conflict with another writer, and its error ends it.
	ChangeClient(ctx context.Context, id string, change func(*Client) error) error
}

// metadata is a client's description of itself (RFC 7591 section 2). What is not here is ignored, as section 2 asks.
type metadata struct {
	RedirectURIs    []string        `json:"redirect_uris"`
	AuthMethod      string          `json:"token_endpoint_auth_method,omitempty"`
	GrantTypes      []string        `json:"grant_types,omitempty"`
	ResponseTypes   []string        `json:"response_types,omitempty"`
	ClientName      string          `json:"client_name"`
	ClientURI       string          `json:"client_uri,omitempty"`
	PolicyURI       string          `json:"policy_uri,omitempty"`
	InitiateLogin   string          `json:"initiate_login_uri,omitempty"`
	Scope           string          `json:"scope,omitempty"`
	Contacts        []string        `json:"contacts,omitempty"`
	JWKS            json.RawMessage `json:"jwks,omitempty"`
	JWKSURI         string          `json:"jwks_uri,omitempty"`
	ApplicationType string          `json:"application_type,omitempty"`
	Statement       string          `json:"software_statement,omitempty"`
	ClientID        string          `json:"client_id,omitempty"` // of an update
}

// registration is the answer (RFC 7591 section 3.2.1).
type registration struct {
	ClientID  string `json:"client_id"`
	IssuedAt  int64  `json:"client_id_issued_at"`
	Secret    string `json:"client_secret,omitempty"`
	ExpiresAt *int64 `json:"client_secret_expires_at,omitempty"`
	Token     string `json:"registration_access_token,omitempty"`
	URI       string `json:"registration_client_uri"`
	metadata
}

// defaultScope is what an app that names none may ask for.
const defaultScope = "launch launch/patient openid fhirUser offline_access online_access patient/*.rs user/*.rs"

// Register answers the registration endpoint (RFC 7591). Only apps that people use can register themselves, without a
// software statement; clients acting for themselves are registered by the operator.
func (s *Server) Register(w http.ResponseWriter, r *http.Request) {
	answer, p := s.register(w, r)
	s.answer(w, r, http.StatusCreated, answer, p)
}

func (s *Server) register(w http.ResponseWriter, r *http.Request) (*registration, *problem) {
	if s.cfg.Registry == nil {
		return nil, &problem{status: http.StatusForbidden, code: "access_denied", text: "clients are registered by the operator of this server"}
	}
	m, p := readMetadata(w, r)
	if p != nil {
		return nil, p
	}
	now := s.cfg.Now().UTC().Truncate(time.Second)
	client := Client{ID: "app-" + uuid.NewString(), Registered: now}
	if p := m.describe(&client, s.cfg.KnownType); p != nil {
		return nil, p
	}
	token := NewSecret()
	client.RegistrationHash = HashSecret(s.secretKey, token)
	secret := m.newSecret(s, &client)
	if p := s.tell(r.Context(), Outcome{Endpoint: EndpointRegistration, ClientID: client.ID, Scopes: client.Scopes, Note: NoteRegistered}); p != nil {
		return nil, p
	}
	if err := s.cfg.Registry.NewClient(r.Context(), client); err != nil {
		return nil, serverError(err)
	}
	return s.described(client, m, secret, token), nil
}

// newSecret gives a symmetric client its secret.
func (m *metadata) newSecret(s *Server, c *Client) string {
	if m.AuthMethod != "client_secret_basic" && m.AuthMethod != "client_secret_post" {
		c.SecretHash = ""
		return ""
	}
	secret := NewSecret()
	c.SecretHash = HashSecret(s.secretKey, secret)
	return secret
}

func (s *Server) described(c Client, m *metadata, secret, token string) *registration {
	out := &registration{ClientID: c.ID, IssuedAt: c.Registered.Unix(), Secret: secret, Token: token, URI: s.endpoint("register/" + c.ID), metadata: *m}
	out.metadata.ClientID = "" // it stands above
	if secret != "" {
		out.ExpiresAt = new(int64) // never
	}
	return out
}

// Registration answers a client's own registration (RFC 7592): GET, PUT and DELETE with the registration access token.
func (s *Server) Registration(w http.ResponseWriter, r *http.Request, id string) {
	answer, p := s.registration(w, r, id)
	switch {
	case p != nil:
		s.refuse(r.Context(), w, r, p)
	case answer == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	default:
		s.writeJSON(r.Context(), w, http.StatusOK, answer)
	}
}

func (s *Server) registration(w http.ResponseWriter, r *http.Request, id string) (*registration, *problem) {
	token, err := bearer(r)
	if err != nil || s.cfg.Registry == nil {
		return nil, notOwn()
	}
	ctx := r.Context()
	client, p := s.owned(ctx, id, token)
	if p != nil {
		return nil, p
	}
	var m *metadata
	secret, note := "", NoteChanged
	change := func(c *Client) error { c.Disabled, c.RegistrationHash = true, ""; return nil }
	switch r.Method {
	case http.MethodGet:
		return s.described(client, described(client), "", token), nil
	case http.MethodDelete:
		note = NoteDeleted
	default:
		if m, p = readMetadata(w, r); p != nil {
			return nil, p
		}
		if m.ClientID != client.ID {
			return nil, invalidMetadata("client_id has to be that of the registration")
		}
		change = func(c *Client) error {
			if p := m.describe(c, s.cfg.KnownType); p != nil {
				return p
			}
			if c.SecretHash == "" || !strings.HasPrefix(m.AuthMethod, "client_secret") {
				secret = m.newSecret(s, c)
			}
			client = *c
			return nil
		}
	}
	if p := s.tell(ctx, Outcome{Endpoint: EndpointRegistration, ClientID: client.ID, Scopes: client.Scopes, Note: note}); p != nil {
		return nil, p
	}
	// Reading a body takes as long as its sender likes: what the operator did meanwhile holds.
	err = s.cfg.Registry.ChangeClient(ctx, id, func(c *Client) error {
		if c.Disabled || !s.secretMatches(c.RegistrationHash, token) {
			return notOwn()
		}
		return change(c)
	})
	if err != nil {
		return nil, asProblem(err)
	}
	if m == nil {
		return nil, nil
	}
	return s.described(client, m, secret, token), nil
}

func notOwn() *problem {
	return &problem{status: http.StatusUnauthorized, code: "invalid_token", text: "the registration access token is not valid", challenge: `Bearer error="invalid_token"`}
}

// owned is the registration a token is for. What is wrong is not told.
func (s *Server) owned(ctx context.Context, id, token string) (Client, *problem) {
	client, err := s.registered(ctx, id)
	if refusal(err) {
		return Client{}, notOwn()
	}
	if err != nil {
		return Client{}, serverError(err)
	}
	if !s.secretMatches(client.RegistrationHash, token) {
		return Client{}, notOwn()
	}
	return client, nil
}

func invalidMetadata(text string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_client_metadata", text: text}
}

func readMetadata(w http.ResponseWriter, r *http.Request) (*metadata, *problem) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		p := invalidMetadata("the body has to be application/json")
		p.status = http.StatusUnsupportedMediaType
		return nil, p
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		p := invalidMetadata("the body is too large").because(err)
		p.status = http.StatusRequestEntityTooLarge
		return nil, p
	}
	var m metadata
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, invalidMetadata("the body is not a JSON object of client metadata").because(err)
	}
	return &m, nil
}

// describe checks the metadata and writes it into a registration.
func (m *metadata) describe(c *Client, known func(string) bool) *problem {
	if m.Statement != "" {
		return &problem{status: http.StatusBadRequest, code: "unapproved_software_statement", text: "software statements are not accepted"}
	}
	if !label(m.ClientName, 100) {
		return invalidMetadata("client_name is missing, too long, or has characters that are no text")
	}
	native := m.ApplicationType == "native"
	if m.ApplicationType != "" && m.ApplicationType != "web" && !native {
		return invalidMetadata("application_type is web or native")
	}
	if len(m.RedirectURIs) == 0 || len(m.RedirectURIs) > 10 {
		return &problem{status: http.StatusBadRequest, code: "invalid_redirect_uri", text: "one to ten redirect_uris are needed"}
	}
	for _, uri := range m.RedirectURIs {
		if !RedirectAllowed(uri, native) {
			return &problem{status: http.StatusBadRequest, code: "invalid_redirect_uri",
				text: "a redirect URI has to be https without user, fragment or backslash; native apps may use a loopback address or a scheme of their own with a dot in it"}
		}
	}
	if p := m.grants(); p != nil {
		return p
	}
	if p := m.keys(); p != nil {
		return p
	}
	if m.Scope == "" {
		m.Scope = defaultScope
	}
	if p := registrable(m.Scope, known); p != nil {
		return p
	}
	for _, link := range []string{m.ClientURI, m.PolicyURI, m.InitiateLogin, m.JWKSURI} {
		if link != "" && !webLink(link) {
			return invalidMetadata("a link of the metadata is not an https URL")
		}
	}
	for _, link := range []string{m.ClientURI, m.InitiateLogin} {
		if link != "" && !slices.ContainsFunc(m.RedirectURIs, func(uri string) bool { return sameHost(link, uri) }) {
			return invalidMetadata("client_uri and initiate_login_uri have to be on the host of a redirect URI")
		}
	}
	if len(m.Contacts) > 10 || slices.ContainsFunc(m.Contacts, func(text string) bool { return !label(text, 200) }) {
		return invalidMetadata("contacts are too many, too long, or no text")
	}
	c.Name, c.RedirectURIs, c.LaunchURL, c.Native = m.ClientName, m.RedirectURIs, m.InitiateLogin, native
	c.URI, c.PolicyURI, c.Contacts, c.Scopes = m.ClientURI, m.PolicyURI, m.Contacts, strings.Fields(m.Scope)
	c.JWKS, c.JWKSURL = m.JWKS, m.JWKSURI
	return nil
}

func (m *metadata) grants() *problem {
	if len(m.GrantTypes) == 0 {
		m.GrantTypes = []string{"authorization_code", "refresh_token"}
	}
	for _, grant := range m.GrantTypes {
		if grant != "authorization_code" && grant != "refresh_token" {
			return invalidMetadata("only authorization_code and refresh_token can be registered here; other clients are registered by the operator")
		}
	}
	if !slices.Contains(m.GrantTypes, "authorization_code") {
		return invalidMetadata("authorization_code is missing from grant_types")
	}
	if len(m.ResponseTypes) == 0 {
		m.ResponseTypes = []string{"code"}
	}
	if len(m.ResponseTypes) != 1 || m.ResponseTypes[0] != "code" {
		return invalidMetadata("the only response type is code")
	}
	return nil
}

func (m *metadata) keys() *problem {
	hasKeys := len(m.JWKS) > 0 || m.JWKSURI != ""
	switch m.AuthMethod {
	case "":
		m.AuthMethod = "client_secret_basic"
		if hasKeys {
			m.AuthMethod = "private_key_jwt"
		}
	case "none", "client_secret_basic", "client_secret_post", "private_key_jwt":
	default:
		return invalidMetadata("token_endpoint_auth_method is none, client_secret_basic, client_secret_post or private_key_jwt")
	}
	switch {
	case len(m.JWKS) > 0 && m.JWKSURI != "":
		return invalidMetadata("jwks and jwks_uri exclude each other")
	case hasKeys != (m.AuthMethod == "private_key_jwt"):
		return invalidMetadata("private_key_jwt needs jwks or jwks_uri, and only it does")
	}
	if len(m.JWKS) > 0 {
		if err := CheckKeys(m.JWKS); err != nil {
			return invalidMetadata("jwks has no usable public key, or a private one").because(err)
		}
	}
	return nil
}

// registrable admits the scopes an app of people can have.
func registrable(text string, known func(string) bool) *problem {
	set, err := smart.Parse(text)
	if err != nil {
		return invalidMetadata("scope is malformed").because(err)
	}
	for _, scope := range set.Resources() {
		if scope.Level == smart.System || known != nil && scope.Type != "*" && !known(scope.Type) {
			return invalidMetadata("scope has a type that is not known, or a system/ scope")
		}
	}
	for _, context := range set.Contexts() {
		if context == ScopeIntrospect || context == ScopeLaunch {
			return invalidMetadata("scope has one the operator has to register")
		}
	}
	return nil
}

// RedirectAllowed reports whether a redirect URI may be registered: https; for native apps also a loopback address by
// http, or a private scheme in reverse domain order (RFC 8252 section 7).
func RedirectAllowed(uri string, native bool) bool {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > 2048 || u.User != nil || u.Fragment != "" || strings.ContainsAny(uri, "#\\ \t\r\n") {
		return false
	}
	switch {
	case u.Scheme == "https":
		return u.Host != ""
	case !native:
		return false
	case u.Scheme == "http":
		return onLoopback(u)
	}
	return strings.Contains(u.Scheme, ".")
}

// sameHost keeps an app from calling somebody else's house its own (RFC 7591 section 5).
func sameHost(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.Hostname() != "" && strings.EqualFold(x.Hostname(), y.Hostname())
}

// onLoopback reports whether a URL leads to an address of the machine itself; a name, localhost too, is none.
func onLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

func webLink(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && len(text) <= 2048
}

// label reports whether a text can be shown to people: printable, with no control or direction marks.
func label(text string, most int) bool {
	if text == "" || !utf8.ValidString(text) || utf8.RuneCountInString(text) > most || strings.TrimSpace(text) != text {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// described is the metadata of a registration.
func described(c Client) *metadata {
	m := &metadata{RedirectURIs: c.RedirectURIs, GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, ClientName: c.Name,
		ClientURI: c.URI, PolicyURI: c.PolicyURI, InitiateLogin: c.LaunchURL, Scope: strings.Join(c.Scopes, " "), Contacts: c.Contacts,
		JWKS: c.JWKS, JWKSURI: c.JWKSURL, AuthMethod: "none", ApplicationType: "web"}
	switch {
	case c.SecretHash != "":
		m.AuthMethod = "client_secret_basic"
	case !c.Public():
		m.AuthMethod = "private_key_jwt"
	}
	if c.Native {
		m.ApplicationType = "native"
	}
	return m
}
