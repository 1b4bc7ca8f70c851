package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/conformance/decisions"
	"trellis/gateway/audit"
	"trellis/gateway/store"
	"trellis/gateway/telemetry"
	"trellis/mapping"
)

// canary stands in every value of the fixture's patients; it may come back to who may see it and may never
// reach a log.
const canary = "zqcanary"

// anyScope is what the fixture's clients are registered for.
const anyScope = "system/*.cruds"

// steadyClock is a time that only moves when told.
type steadyClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *steadyClock) now() time.Time          { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *steadyClock) set(t time.Time)         { c.mu.Lock(); defer c.mu.Unlock(); c.at = t }
func (c *steadyClock) advance(d time.Duration) { c.set(c.now().Add(d)) }

// firstMorning is when the fixture's installations start.
func firstMorning() time.Time { return time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC) }

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}
func (b *logBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.text.String() }

// installation is a gateway as `trellis serve` assembles it, on its own database, behind a real listener.
type installation struct {
	t       testing.TB
	gateway *gateway
	where   location
	clock   *steadyClock
	server  *httptest.Server
	http    *http.Client
	log     *logBuffer
	keys    map[string][]byte // private JWK by client id
	sources map[string]*oauth.TokenSource
	decoded map[string][]audit.Event // by leaf: the log only grows
	restore func()                   // undoes a fault

	replayable bool // no two things happen at one instant: decisions can be made anew
}

// onEachStore runs a test on an embedded database and on PostgreSQL.
func onEachStore(t *testing.T, test func(t *testing.T, where location)) {
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, location{data: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, location{data: t.TempDir(), postgres: database(t)})
	})
}

// newInstallation starts a gateway with the fixture's organisations and clients and no records. publicURL is
// empty for the listener's own address; another is reached all the same. When the test ends the log of the
// process is searched for canaries, the index is recomputed and the audit log is verified from an export.
func newInstallation(t testing.TB, where location, publicURL string) *installation {
	t.Helper()
	return newInstallationWith(t, where, publicURL, func(*config) {})
}

// newInstallationWith is newInstallation with something of its configuration changed.
func newInstallationWith(t testing.TB, where location, publicURL string, change func(*config)) *installation {
	t.Helper()
	in := &installation{t: t, where: where, clock: &steadyClock{at: firstMorning()}, log: &logBuffer{},
		keys: map[string][]byte{}, sources: map[string]*oauth.TokenSource{}, decoded: map[string][]audit.Event{}, restore: func() {}}
	in.server = httptest.NewUnstartedServer(nil)
	address := in.server.Listener.Addr().String()
	if publicURL == "" {
		publicURL = "http://" + address
	}
	in.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}}
	c := config{PublicURL: publicURL, AllowPrivate: true, Posture: demoPosture(), MassExportRecords: 6, Organizations: fixtureOrganizations(t)}
	change(&c)
	if c.Packs == "" {
		c.loaded = shippedPacks(t)
	}
	var err error
	in.gateway, err = assemble(t.Context(), deployment{location: where, logger: telemetry.NewLogger(in.log), clock: in.clock.now, config: c})
	if err != nil {
		t.Fatal(err)
	}
	in.server.Config.Handler = in.gateway.handler
	in.server.Config.ErrorLog = log.New(in.log, "", 0)
	in.server.Start()
	in.registerClients()
	t.Cleanup(in.finish)
	return in
}

// shippedPacks are the program's, read once: compiling them is much of what a start costs.
func shippedPacks(t testing.TB) []*mapping.Pack {
	t.Helper()
	packs, err := packsOnce()
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

var packsOnce = sync.OnceValues(func() ([]*mapping.Pack, error) { return mapping.LoadAll(mapping.Packs()) })

func fixtureOrganizations(t testing.TB) []access.Organization {
	t.Helper()
	var out []access.Organization
	for _, o := range fixture(t).Organizations {
		out = append(out, access.Organization{ID: o.ID, Name: o.Name, Class: access.Class(o.Class), Payer: o.Payer})
	}
	return out
}

func fixture(t testing.TB) decisions.Fixture {
	t.Helper()
	f, err := decisions.Load()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// loading is the client of an organisation that may choose ids; the organisation's other client, named as
// the organisation, may not.
func loading(organization string) string { return organization + "-loader" }

func (in *installation) registerClients() {
	in.t.Helper()
	for org, purposes := range map[string][]string{
		"operator": {"HSYSADMIN"},
		"hospital": {"TREAT", "COC", "HPAYMT", "HOPERAT", "HLEGAL", "HMARKT", "BTG"},
		"otp":      {"TREAT", "COC"},
		"plan":     {"HPAYMT", "HOPERAT"},
		"rco":      {"COC", "TREAT", "BTG"},
		"clinic":   {"TREAT"},
		"agent":    {"HPAYMT", "TREAT"},
		"court":    {"HLEGAL"},
		"auditor":  {"HOPERAT", "HLEGAL"},
	} {
		in.register(oauth.Client{ID: org, Organization: org, Scopes: []string{anyScope}, Purposes: purposes, DefaultPurpose: purposes[0]}, false)
		in.register(oauth.Client{ID: loading(org), Organization: org, Scopes: []string{anyScope}, Purposes: purposes[:1], DefaultPurpose: purposes[0]}, true)
	}
	if err := in.gateway.store.MaterializeAll(in.t.Context()); err != nil {
		in.t.Fatal(err)
	}
}

func (in *installation) register(c oauth.Client, updateCreate bool) {
	in.t.Helper()
	private, public, err := oauth.NewKey(c.ID)
	if err != nil {
		in.t.Fatal(err)
	}
	in.keys[c.ID] = private
	if c.JWKS == nil {
		c.JWKS = public
	}
	if err := in.gateway.store.PutClient(in.t.Context(), store.ClientRecord{OAuth: c, UpdateCreate: updateCreate}); err != nil {
		in.t.Fatal(err)
	}
}

// token is a token of the client, obtained at the token endpoint.
func (in *installation) token(client, purpose, scope string) string {
	in.t.Helper()
	source := in.sources[client+" "+purpose]
	if source == nil {
		source = &oauth.TokenSource{HTTP: in.http, TokenURL: in.gateway.tokenURL, ClientID: client, Key: in.keys[client], Purpose: purpose, Now: in.clock.now}
		in.sources[client+" "+purpose] = source
	}
	token, err := source.Token(in.t.Context(), scope)
	if err != nil {
		in.t.Fatalf("token of %s for %s: %v", client, purpose, err)
	}
	return token
}

// load writes every record of the fixture and the named consents, each by its organisation.
func (in *installation) load(consents ...string) {
	in.t.Helper()
	f := fixture(in.t)
	for _, r := range f.Records {
		in.put(r)
	}
	for _, name := range consents {
		c, ok := f.Given(name)
		if !ok {
			in.t.Fatalf("no consent %s", name)
		}
		in.put(c)
	}
}

// put writes a record over HTTP as its owner.
func (in *installation) put(r decisions.Record) {
	in.t.Helper()
	if a := in.write(r); a.status != http.StatusCreated && a.status != http.StatusOK {
		in.t.Fatalf("writing %s: %d %s", r.Name, a.status, a.body)
	}
}

func (in *installation) write(r decisions.Record) reply {
	in.t.Helper()
	var head struct{ ResourceType, ID string }
	if err := json.Unmarshal(r.Resource, &head); err != nil {
		in.t.Fatal(err)
	}
	a := in.as(loading(r.Owner), "").ask(request{method: "PUT", path: head.ResourceType + "/" + head.ID, body: r.Resource})
	in.checkIndex()
	return a
}

// remove deletes a record as its custodian.
func (in *installation) remove(reference, owner string) reply {
	in.t.Helper()
	a := in.as(loading(owner), "").ask(request{method: "DELETE", path: reference})
	in.checkIndex()
	return a
}

// checkIndex recomputes the index: the invariant after every write.
func (in *installation) checkIndex() {
	in.t.Helper()
	if err := in.gateway.store.CheckIndex(in.t.Context()); err != nil {
		in.t.Fatal(err)
	}
}

func (in *installation) finish() {
	in.restore()
	in.server.Close()
	in.http.CloseIdleConnections()
	in.verifyAuditLog()
	if err := in.gateway.store.CheckIndex(context.Background()); err != nil {
		in.t.Error(err)
	}
	if err := in.gateway.close(); err != nil {
		in.t.Error(err)
	}
	text := strings.ToLower(in.log.String())
	if !strings.Contains(text, "request") {
		in.t.Error("the log is empty, so that it is free of patients proves nothing")
	}
	if strings.Contains(text, "disagree") {
		in.t.Error("the query let through what the decision denies, or the other way round")
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, canary) {
			in.t.Errorf("a patient's value is in the log (of %d bytes)", len(text))
		}
	}
}
