package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/conformance/capability"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/audit"
	"trellis/gateway/bulk"
	"trellis/gateway/exchange"
	"trellis/gateway/intake"
	"trellis/gateway/login"
	"trellis/gateway/profiles"
	"trellis/gateway/release"
	"trellis/gateway/rest"
	"trellis/gateway/store"
	"trellis/gateway/subscription"
	"trellis/gateway/telemetry"
	"trellis/gateway/terminology"
	"trellis/mapping"
)

const serveHelp = `trellis serve: run the gateway from a configuration file

Usage:
  trellis serve --config FILE

The file declares the deployment's posture under 42 CFR Part 2 and HIPAA, its organisations with their legal
class, and partners. Without a posture, or with any fault, the server names all faults and does not start.
Register clients with "trellis client add". The server stops cleanly on SIGINT and SIGTERM.

Example of a file:
  public_url: https://gateway.example.org
  listen: 127.0.0.1:8080
  data: /var/lib/trellis
  posture: {part2_program: false, covered_entity: false, business_associate_of: [hospital], qsoa_with: [otp], intermediary: false}
  organizations:
    - {id: otp, name: Example Treatment Program, class: part2_program_ce}
    - {id: hospital, name: Example Hospital, class: covered_entity}
`

func runServe(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, serveHelp) }
	file := fs.String("config", "", "configuration `FILE`")
	if code, done := parseFlags(fs, args, stdout, serveHelp); done {
		return code
	}
	if *file == "" {
		fmt.Fprintln(stderr, "trellis serve: --config is required; `trellis serve --help` shows a file")
		return 2
	}
	c, err := readConfig(*file)
	if err != nil {
		fmt.Fprintln(stderr, "trellis serve:", err)
		return 1
	}
	where, err := c.location()
	if err != nil {
		fmt.Fprintln(stderr, "trellis serve:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	g, err := assemble(ctx, deployment{config: c, location: where, logger: telemetry.NewLogger(stderr), admits: noDemonstration})
	if err != nil {
		fmt.Fprintln(stderr, "trellis serve:", err)
		return 1
	}
	err = g.run(ctx, c.Listen, func(net.Addr) error {
		if err := g.publishGuide(ctx, c.Posture.operator()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(stdout, "ready %s\n", g.base)
		debug.FreeOSMemory() // compiling packs and definitions takes twice what stays of them
		return err
	})
	if err := errors.Join(err, g.close()); err != nil {
		fmt.Fprintln(stderr, "trellis serve:", err)
		return 1
	}
	return 0
}

// noDemonstration refuses a demonstration's data: its passwords and keys are published.
func noDemonstration(ctx context.Context, s *store.Store) error {
	_, found, err := s.Setting(ctx, settingTour)
	if err == nil && found {
		err = errors.New("the data there is a demonstration's, with accounts and keys anybody can read about; name another place with data or postgres_file")
	}
	return err
}

// deployment is what a gateway is assembled from.
type deployment struct {
	config
	location
	logger *slog.Logger
	clock  func() time.Time // nil: the database's clock
	client *http.Client     // towards partners; nil: a strict one
	// admits looks at the data there are before anything is written to them; nil: any will do.
	admits func(context.Context, *store.Store) error
}

// gateway is one running installation.
type gateway struct {
	base      string
	public    string // public URL: the issuer
	tokenURL  string
	auditKey  string // public
	store     *store.Store
	parser    *fhir.Parser
	registry  *search.Registry
	labels    *label.Classifier
	programs  *programs
	packs     []*mapping.Pack
	relabeler *bulk.Relabeler
	handler   http.Handler
	sequencer *audit.Sequencer
	worker    *exchange.Worker
	bulk      *bulk.Worker
	indexer   *bulk.Indexer
	logger    *slog.Logger
}

// operator is the deployment's own administrator; its records are what the declared posture makes them.
func (p posture) operator() access.Organization {
	return access.Organization{ID: access.OperatorID, Name: "Gateway operator", Class: access.OperatorClass,
		OperatorPart2: p.Part2Program, OperatorCovered: p.CoveredEntity || len(p.BusinessAssociateOf)+len(p.QSOAWith) > 0}
}

// assemble wires an installation, from the bottom up.
func assemble(ctx context.Context, d deployment) (*gateway, error) {
	g := &gateway{base: d.PublicURL + "/fhir", public: d.PublicURL, tokenURL: d.PublicURL + "/oauth/token", logger: d.logger}

	// FHIR and labels.
	var err error
	if g.parser, err = fhir.NewParser(); err != nil {
		return nil, err
	}
	if g.registry, err = search.New(); err != nil {
		return nil, err
	}
	organizations := append([]access.Organization{d.Posture.operator()}, d.Organizations...)
	g.programs = newPrograms(g.base, organizations)
	if g.labels, err = label.Load(label.Config{Off: d.LabelRulesOff, On: d.LabelRulesOn, Programs: g.programs, Scope: g.programs.scope()}); err != nil {
		return nil, err
	}

	// Store, and the organisations the configuration declares.
	if g.store, err = d.location.open(ctx, g.base, g.registry, d.clock); err != nil {
		return nil, err
	}
	if err := g.wire(ctx, d); err != nil {
		return nil, errors.Join(err, g.store.Close())
	}
	return g, nil
}

func (g *gateway) wire(ctx context.Context, d deployment) error {
	if d.admits != nil {
		if err := d.admits(ctx, g.store); err != nil {
			return err
		}
	}
	if err := g.store.CheckIndexVersion(ctx); err != nil {
		return err
	}
	if err := g.store.SetRules(ctx, d.Rules.switches); err != nil {
		return err
	}
	if err := g.registerOrganizations(ctx, append([]access.Organization{d.Posture.operator()}, d.Organizations...)); err != nil {
		return err
	}
	if err := g.registerAgreements(ctx, d.Posture.operator(), d.Agreements); err != nil {
		return err
	}

	// Labels: what was labelled under other rules is labelled anew, behind the requests.
	if _, err := g.programs.refresh(ctx, g.store); err != nil {
		return err
	}
	if err := g.store.BeginRelabel(ctx, g.labels); err != nil {
		return err
	}
	g.relabeler = &bulk.Relabeler{Records: g.store, Labels: g.labels, Logger: d.logger, Places: g.followPlaces}

	// Secrets, shared by all replicas through the database.
	tokenSecret, err := g.store.Secret(ctx, "oauth")
	if err != nil {
		return err
	}
	cursorSecret, err := g.store.Secret(ctx, "cursor")
	if err != nil {
		return err
	}
	idSecret, err := g.store.Secret(ctx, "namespace")
	if err != nil {
		return err
	}

	// Audit log: sequencer and signing key.
	if g.sequencer, g.auditKey, err = newSequencer(ctx, g.store, d.logger); err != nil {
		return err
	}

	// Authorisation server. A token is given out only when its audit leaf is durable.
	now := d.clock
	if now == nil { // the database's: replicas agree on it
		now = func() time.Time {
			at, err := g.store.Now(ctx)
			if err != nil {
				return time.Now()
			}
			return at
		}
	}
	keys := oauth.NewFetcher(oauth.FetcherConfig{AllowPrivate: d.AllowPrivate, Now: now})
	kept := g.store.OAuth()
	var registry oauth.Registry
	if d.Registration == registrationOpen {
		registry = kept
	}
	authorization, err := oauth.New(oauth.Config{
		Issuer: g.public, FHIRBase: g.base, TokenURL: g.tokenURL, Secret: tokenSecret,
		Store: kept, Grants: kept, Tickets: g.store, Registry: registry, Keys: keys, KnownType: fhir.KnownType, Now: now, Log: d.logger,
		SigningKeys: func(ctx context.Context) ([][]byte, error) { return signingKeys(ctx, g.store) },
		Standing:    func(ctx context.Context, who oauth.Context) (bool, error) { return standing(ctx, g.store, who, now()) },
		StyleURL:    rest.StyleURL(g.public),
		OnToken:     func(ctx context.Context, o oauth.Outcome) error { return logToken(ctx, g.store, o) },
	})
	if err != nil {
		return err
	}

	// The release gate: the only way out.
	gate := &release.Gate{Records: g.store, Log: g.store.Audit(), Base: g.base, Logger: d.logger}

	// Data in.
	if g.packs, err = d.packs(); err != nil {
		return err
	}
	desk := intake.New(intake.Config{
		Packs: g.packs, Parser: g.parser, Labels: g.labels, Store: g.store,
		Namespace: intakeNamespace(idSecret), Partners: intakePartners(d.Partners), ProposeConcerns: d.ProposeConcerns, Lineage: d.Lineage,
	})

	// Deliveries out.
	client := d.client
	if client == nil {
		client = exchange.NewClient(d.AllowPrivate)
	}
	terms := terminology.New(g.store, g.packs)
	g.worker = &exchange.Worker{Outbox: g.store, Records: g.store, Gate: gate, Registry: g.registry, Base: g.base, Partners: exchangePartners(d.Partners, client), Logger: d.logger,
		Notifier: &exchange.Notifier{Subscriptions: g.store, Records: g.store, Gate: gate, HTTP: client, Logger: d.logger,
			Rules: subscription.Rules{Registry: g.registry, Terminology: terms, Base: g.base, AllowPrivate: d.AllowPrivate}}}

	// Bulk jobs.
	exports := make(chan struct{}, 1)
	g.bulk = &bulk.Worker{MassExport: d.MassExportRecords, Wake: exports, Jobs: g.store, Records: g.store, Actors: g.store, Gate: gate, Registry: g.registry, Base: g.base, Holder: uuid.NewString(), Logger: d.logger}

	// Custom search parameters: known before the first request is taken.
	if err := g.store.SyncParameters(ctx); err != nil {
		return err
	}
	g.indexer = &bulk.Indexer{Parameters: g.store, Logger: d.logger}

	// HTTP.
	cursors, err := rest.NewCursors(cursorSecret, now)
	if err != nil {
		return err
	}
	server := &rest.Server{
		Terminology: terms, Profiles: profiles.New(g.store, terms), Exports: exports, AllowPrivate: d.AllowPrivate,
		Base: g.base, Authorization: g.endpoints(registry != nil), TrustedProxies: d.TrustedProxies, Store: g.store, Gate: gate, OAuth: authorization, Intake: desk,
		Parser: g.parser, Registry: g.registry, Labels: g.labels, Cursors: cursors, Logger: d.logger,
	}
	if g.handler, err = server.Handler(); err != nil {
		return err
	}
	return g.addLogin(d, authorization, gate, now)
}

// registerOrganizations records the actors, the operator first, and their public Organization entries.
// When one changed, all grants are computed anew.
func (g *gateway) registerOrganizations(ctx context.Context, orgs []access.Organization) error {
	anyChanged := false
	for _, o := range orgs {
		changed, err := g.store.PutOrganization(ctx, o)
		if err != nil {
			return err
		}
		anyChanged = anyChanged || changed
		if err := g.putOrganizationResource(ctx, orgs[0], o); err != nil {
			return err
		}
	}
	if anyChanged {
		if err := g.store.MaterializeAll(ctx); err != nil {
			return err
		}
	}
	return g.store.RefreshGrants(ctx)
}

// registerAgreements records the agreements the configuration has, as the operator's.
func (g *gateway) registerAgreements(ctx context.Context, operator access.Organization, list []agreementConfig) error {
	for _, a := range list {
		doc, err := a.resource()
		if err != nil {
			return err
		}
		if err := putAgreement(ctx, g.store, g.parser, g.labels, operator, doc); err != nil {
			return err
		}
	}
	return nil
}

func (g *gateway) putOrganizationResource(ctx context.Context, operator, o access.Organization) error {
	doc := fmt.Appendf(nil, `{"resourceType":"Organization","id":%s,"active":true,"name":%s}`, fhir.Quote(o.ID), fhir.Quote(o.Name))
	res, err := g.parser.Parse(doc)
	if err != nil {
		return err
	}
	verdict := g.labels.Examine(res, operator.Source(), nil)
	_, err = g.store.Apply(ctx, []store.Change{{
		Method: store.Update, Type: "Organization", ID: o.ID, Resource: res, Owner: operator.ID, MayCreate: true,
		Segment: verdict.Segment, Verdict: &verdict,
	}}, nil)
	return err
}

// auditOrigin names the log in its key and checkpoints.
const auditOrigin = "trellis/audit"

// newSequencer reads the log's key pair, making it on the first start.
func newSequencer(ctx context.Context, s *store.Store, logger *slog.Logger) (*audit.Sequencer, string, error) {
	private, found, err := s.Setting(ctx, "audit.private")
	if err != nil {
		return nil, "", err
	}
	public, _, err := s.Setting(ctx, "audit.public")
	if err != nil {
		return nil, "", err
	}
	if !found { // another replica may be about to make one too: the pair is settled as a whole
		skey, vkey, err := audit.NewKey(auditOrigin)
		if err != nil {
			return nil, "", err
		}
		pair, err := s.FirstSettings(ctx, []string{"audit.private", "audit.public"}, [][]byte{[]byte(skey), []byte(vkey)})
		if err != nil {
			return nil, "", err
		}
		private, public = pair[0], pair[1]
	}
	signer, err := note.NewSigner(string(private))
	if err != nil {
		return nil, "", errors.New("the audit log's private key cannot be read")
	}
	verifier, err := note.NewVerifier(string(public))
	if err != nil {
		return nil, "", errors.New("the audit log's public key cannot be read")
	}
	return &audit.Sequencer{Store: s.Audit(), Signer: signer, Verifier: verifier, Holder: uuid.NewString(), Now: time.Now, Log: logger}, string(public), nil
}

// endpoints is where the authorization server answers.
func (g *gateway) endpoints(registration bool) capability.Authorization {
	at := g.public + "/oauth/"
	out := capability.Authorization{Issuer: g.public, Authorize: at + "authorize", Token: g.tokenURL, Keys: at + "jwks.json", UserInfo: at + "userinfo",
		Introspection: at + "introspect", Revocation: at + "revoke", Pushed: at + "par", Management: g.public + "/account/apps"}
	if registration {
		out.Registration = at + "register"
	}
	return out
}

// standing reports whether a person may still act as a token says: the account is enabled, what it was to the patient or
// organisation it still is, and who let an app in for as long as they are signed in still is.
func standing(ctx context.Context, s *store.Store, who oauth.Context, now time.Time) (bool, error) {
	if who.User == "" {
		return true, nil
	}
	user, err := s.User(ctx, who.User)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	acts := slices.ContainsFunc(user.Actings(now), func(a people.Acting) bool {
		return string(a.Capacity) == who.Capacity && a.Organization == who.Organization && (a.Patient == "" || a.Patient == who.Patient)
	})
	if !acts || who.Session == "" {
		return acts, nil
	}
	return login.Online(ctx, s, user, who.Session, now)
}

// logToken records what the authorization server did. What nobody known asked for stays in the request log: strangers do not
// fill the audit log.
func logToken(ctx context.Context, s *store.Store, o oauth.Outcome) error {
	if o.ClientID == "" {
		return nil
	}
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	ev := audit.Event{Kind: audit.TokenIssue, At: now, Client: o.ClientID, Organization: o.Context.Organization, User: o.Context.User, Token: o.TokenID, Purpose: o.Purpose,
		Interaction: o.Endpoint, Outcome: "issued"}
	switch o.Endpoint {
	case oauth.EndpointRevocation:
		ev.Outcome = "revoked"
	case oauth.EndpointRegistration:
		ev.Kind, ev.Outcome = audit.Admin, o.Note
	}
	if o.Context.Patient != "" {
		ev.Patient = "Patient/" + o.Context.Patient
	}
	detail := map[string]string{}
	for name, value := range map[string]string{"error": o.Code, "grant": o.Grant, "note": o.Note} {
		if value != "" {
			detail[name] = value
		}
	}
	if o.Code != "" {
		ev.Outcome = "refused"
	}
	if len(detail) > 0 {
		ev.Detail = detail
	}
	leaf, err := audit.NewLeaf(ev)
	if err != nil {
		return err
	}
	return s.Audit().Append(ctx, leaf)
}

func intakePartners(list []partnerConfig) []intake.Partner {
	var out []intake.Partner
	for _, p := range list {
		for _, typ := range p.Types {
			out = append(out, intake.Partner{Organization: p.Organization, Type: typ})
		}
	}
	return out
}

func exchangePartners(list []partnerConfig, client *http.Client) map[string]*exchange.Partner {
	out := map[string]*exchange.Partner{}
	for _, p := range list {
		out[p.Organization] = &exchange.Partner{
			FHIRBase: p.FHIRBase, Purpose: p.Purpose, HTTP: client,
			Tokens: &oauth.TokenSource{HTTP: client, TokenURL: p.TokenEndpoint, ClientID: p.ClientID, Key: p.key, Purpose: p.Purpose, Now: time.Now},
		}
	}
	return out
}

// run serves until ctx ends, then finishes what is in flight. ready is called once requests are taken.
func (g *gateway) run(ctx context.Context, listen string, ready func(net.Addr) error) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	background, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, work := range []func(context.Context){g.sequencer.Run, g.worker.Run, g.bulk.Run, g.indexer.Run, g.keepGrants, g.relabeler.Run} {
		wg.Add(1)
		go func() { defer wg.Done(); work(background) }()
	}
	server := &http.Server{Handler: g.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 3 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	err = ready(listener.Addr())
	if err == nil {
		select {
		case err = <-failed:
		case <-ctx.Done():
		}
	}
	shutdown, done := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer done()
	err = errors.Join(err, server.Shutdown(shutdown))
	cancel()
	wg.Wait()
	if _, last := g.sequencer.Step(shutdown); last != nil {
		err = errors.Join(err, last)
	}
	return err
}

// keepGrants takes up what was interrupted of computing grants anew.
func (g *gateway) keepGrants(ctx context.Context) {
	g.store.KeepGrants(ctx, func(err error) { g.logger.ErrorContext(ctx, "grants could not be computed anew", "error_type", err) })
}

func (g *gateway) close() error { return g.store.Close() }
