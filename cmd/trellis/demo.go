package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"trellis/auth/oauth"
	"trellis/gateway/store"
	"trellis/gateway/telemetry"
)

const demoHelp = `trellis demo: start with a synthetic community and print a tour

Usage:
  trellis demo [--addr HOST:PORT] [--data DIR] [--postgres DSN] [--reset] [--log]

Starts a gateway, loads a dozen synthetic people through its intake, starts a small EHR and a small app on this machine, and
prints commands to copy and addresses to open in a browser. DIR/demo-clients.json then holds the keys of its clients (operator, hospital,
otp, plan, rco, screening): any SMART Backend Services client can use them. A second start finds its data again.

Flags:
  --addr HOST:PORT   where to listen (default 127.0.0.1:8080)
  --data DIR         folder of the embedded database and of local files (default ./trellis-data)
  --postgres DSN     keep the data in PostgreSQL instead of the embedded database
  --reset            throw an earlier demonstration's data away first
  --log              show the server's log

Examples:
  trellis demo
  trellis demo --addr 127.0.0.1:9090 --data /tmp/trellis-demo --reset
  trellis demo --postgres "postgres://trellis@127.0.0.1:5432/trellis?sslmode=disable"
`

func runDemo(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, demoHelp) }
	var d demo
	d.where.flags(fs)
	fs.StringVar(&d.addr, "addr", "127.0.0.1:8080", "")
	fs.BoolVar(&d.reset, "reset", false, "")
	fs.BoolVar(&d.log, "log", false, "")
	if code, done := parseFlags(fs, args, stdout, demoHelp); done {
		return code
	}
	d.stdout, d.stderr = stdout, stderr
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(stderr, "trellis demo:", err)
		return 1
	}
	return 0
}

// demo is one demonstration.
type demo struct {
	where          location
	addr           string
	reset, log     bool
	stdout, stderr io.Writer
}

// The names of the demonstration's settings and files.
const (
	settingTour = "demo.tour"
	clientsName = "demo-clients.json"
	publicName  = "audit.pub"
	// receivedName is what the loopback EHR got.
	receivedName = "loopback-ehr.ndjson"
)

func (d *demo) run(ctx context.Context) (err error) {
	if err := os.MkdirAll(d.where.data, 0o700); err != nil {
		return err
	}
	if d.reset {
		if err := d.dropData(ctx); err != nil {
			return err
		}
	}
	ehr, err := startEHR(d.where.file(receivedName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ehr.close()) }()
	partnerKey, _, err := oauth.NewKey("gateway")
	if err != nil {
		return err
	}
	logger := telemetry.NewLogger(io.Discard)
	if d.log {
		logger = telemetry.NewLogger(d.stderr)
	}
	c := config{
		PublicURL: "http://" + d.addr, AllowPrivate: true, Posture: demoPosture(), Organizations: demoOrganizations(),
		Partners: []partnerConfig{{Organization: "hospital", FHIRBase: ehr.base + "/fhir", TokenEndpoint: ehr.base + "/token", ClientID: "gateway", Purpose: "TREAT", Types: []string{"CarePlan"}, key: partnerKey}},
	}
	g, err := assemble(ctx, deployment{config: c, location: d.where, logger: logger, admits: ownData})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	clients, err := d.clients(ctx, g)
	if err != nil {
		return err
	}
	app, err := startSampleApp(ctx, g.store, g.base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.close()) }()
	if err := os.WriteFile(d.where.file(publicName), []byte(g.auditKey+"\n"), 0o644); err != nil {
		return err
	}
	return g.run(ctx, d.addr, func(net.Addr) error {
		if err := g.publishGuide(ctx, c.Posture.operator()); err != nil {
			return err
		}
		t, err := d.load(ctx, g, clients)
		if err != nil {
			return err
		}
		d.printTour(g, ehr, t)
		return d.printLaunch(ctx, g, app)
	})
}

// ownData refuses an installation that is no demonstration: its published passwords and keys must not open it.
func ownData(ctx context.Context, s *store.Store) error {
	_, found, err := s.Setting(ctx, settingTour)
	if err != nil || found {
		return err
	}
	clients, err := s.Clients(ctx)
	if err != nil {
		return err
	}
	for _, c := range clients {
		if !slices.ContainsFunc(demoClients(), func(d demoClient) bool { return d.name == c.OAuth.ID }) && c.OAuth.ID != sampleAppID {
			return errors.New("the data there is not a demonstration's; name another place with --data or --postgres")
		}
	}
	return nil
}

// dropData removes an earlier demonstration, and nothing that is not one.
func (d *demo) dropData(ctx context.Context) error {
	if d.where.postgres == "" {
		if _, err := os.Stat(d.where.file("trellis.db")); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	s, err := d.where.openTool(ctx)
	if err != nil {
		return err
	}
	_, found, err := s.Setting(ctx, settingTour)
	clients, clientsErr := s.Clients(ctx)
	if err := errors.Join(err, clientsErr, s.Close()); err != nil {
		return err
	}
	if !found && len(clients) > 0 {
		return errors.New("--reset: the data there is not a demonstration's; nothing was removed")
	}
	if d.where.postgres != "" {
		engine, err := d.where.engine(ctx)
		if err != nil {
			return err
		}
		return errors.Join(store.Drop(ctx, engine), engine.Close(), removeAll(d.where.file(clientsName), d.where.file(receivedName)))
	}
	files, err := filepath.Glob(d.where.file("trellis.db*"))
	if err != nil {
		return err
	}
	return removeAll(append(files, d.where.file(clientsName), d.where.file(receivedName))...)
}

func removeAll(files ...string) error {
	var err error
	for _, f := range files {
		if e := os.Remove(f); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// demoClient is a client of the demonstration.
type demoClient struct {
	name, scope string
	purposes    []string
}

func demoClients() []demoClient {
	return []demoClient{
		{"operator", "system/*.cruds", []string{"HSYSADMIN"}},
		{"hospital", "system/*.cruds", []string{"TREAT", "COC", "HPAYMT", "HOPERAT"}},
		{"otp", "system/*.cruds", []string{"TREAT", "COC", "HOPERAT"}},
		{"plan", "system/*.cruds", []string{"HPAYMT", "HOPERAT"}},
		{"rco", "system/*.cruds", []string{"COC"}},
		{"screening", "system/*.cruds", []string{"COC"}},
	}
}

// clients registers the demonstration's clients and writes their keys; keys of an earlier start are kept.
func (d *demo) clients(ctx context.Context, g *gateway) (clientsFile, error) {
	file := clientsFile{FHIRBase: g.base, TokenEndpoint: g.tokenURL}
	old, err := readClients(d.where.file(clientsName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	changed := false
	for _, c := range demoClients() {
		key, err := old.client(c.name)
		private, record := []byte(key.JWK), store.ClientRecord{}
		if err == nil {
			record, err = g.store.ClientRecord(ctx, c.name)
		}
		if err != nil {
			changed = true
			private, record.OAuth.JWKS, err = oauth.NewKey(c.name)
			if err != nil {
				return file, err
			}
		}
		record.UpdateCreate = c.name == "operator"
		record.OAuth.ID, record.OAuth.Name, record.OAuth.Organization = c.name, c.name, c.name
		record.OAuth.Scopes, record.OAuth.Purposes, record.OAuth.DefaultPurpose = strings.Fields(c.scope), c.purposes, c.purposes[0]
		if err := g.store.PutClient(ctx, record); err != nil {
			return file, err
		}
		file.Clients = append(file.Clients, fileClient{Name: c.name, ClientID: c.name, Organization: c.name, Purpose: c.purposes[0], Scope: c.scope, JWK: private})
	}
	if changed {
		if err := g.store.MaterializeAll(ctx); err != nil {
			return file, err
		}
	}
	doc, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return file, err
	}
	return file, os.WriteFile(d.where.file(clientsName), append(doc, '\n'), 0o600)
}

// load sends the community on the first start.
func (d *demo) load(ctx context.Context, g *gateway, file clientsFile) (tour, error) {
	var t tour
	saved, found, err := g.store.Setting(ctx, settingTour)
	if err != nil {
		return t, err
	}
	if found {
		return t, json.Unmarshal(saved, &t)
	}
	l := &loader{ctx: ctx, as: map[string]*remote{}, now: time.Now().UTC()}
	for _, c := range file.Clients {
		l.as[c.Name] = newRemote("http://"+d.addr, file.TokenEndpoint, c)
	}
	if t, err = l.load(d.stderr); err != nil {
		return t, err
	}
	if err := l.people(g.store); err != nil {
		return t, err
	}
	saved, err = json.Marshal(t)
	if err != nil {
		return t, err
	}
	return t, g.store.PutSetting(ctx, settingTour, saved)
}

// printTour prints the line that says the server is up, and commands to copy.
func (d *demo) printTour(g *gateway, ehr *loopbackEHR, t tour) {
	where := ""
	if d.where.data != "./trellis-data" {
		where = " --data " + quoteShell(d.where.data)
	}
	database := where
	if d.where.postgres != "" {
		database = " --postgres " + quoteShell(d.where.postgres)
	}
	clients := quoteShell(d.where.file(clientsName))
	fmt.Fprintf(d.stdout, `ready %[1]s  (token endpoint %[2]s, clients in %[3]s, loopback EHR %[4]s/fhir)

A tour. Copy the commands into another terminal, in this folder.

1. Get a token as the hospital, for treatment:
   TOKEN=$(go run ./cmd/trellis token --clients %[3]s --as hospital)

2. Read a diagnosis made at the opioid treatment program. The patient consented, so it comes with its labels,
   the 42 CFR 2.32 statement and the scope of the consent:
   curl -s -H "Authorization: Bearer $TOKEN" %[1]s/%[5]s

3. Search her recovery plan with its goals:
   curl -s -H "Authorization: Bearer $TOKEN" "%[1]s/CarePlan?patient=%[6]s&_include=CarePlan:goal"

4. Ask for the same of a person who did not consent. The answer is that of an id that does not exist:
   curl -s -i -H "Authorization: Bearer $TOKEN" %[1]s/%[7]s

5. Why was that? (Exit status 0 is permit, 1 is deny.)
   go run ./cmd/trellis explain%[8]s --as hospital --purpose TREAT %[7]s

6. What the hospital's EHR got delivered, with notice and scope inside the attachment:
   curl -s %[4]s/fhir/DocumentReference

7. Export the audit log and verify it offline, with nothing but the public key:
   go run ./cmd/trellis audit export%[8]s --out %[9]s
   go run ./cmd/trellis audit verify %[9]s --key %[10]s
`, g.base, g.tokenURL, clients, ehr.base, t.Condition, strings.TrimPrefix(t.Patient, "Patient/"), t.Hidden, database,
		quoteShell(d.where.file("audit.ndjson")), quoteShell(d.where.file(publicName)))
}

// printLaunch goes on with what is for a browser.
func (d *demo) printLaunch(ctx context.Context, g *gateway, app *sampleApp) error {
	fmt.Fprintf(d.stdout, `
8. Launch an app. Open it in a browser, connect as maya, choose Riverbend's record, and give it less than it asks for:
   %[1]s
   What apps have of you, and how to take it back:
   %[2]s/account/apps
   As a clinician (nora, with the code of her second factor), launch the app for one of your patients:
   %[2]s/account/launch

`, app.base, g.public)
	where := ""
	switch {
	case d.where.postgres != "":
		where = " --postgres " + quoteShell(d.where.postgres)
	case d.where.data != "./trellis-data":
		where = " --data " + quoteShell(d.where.data)
	}
	if err := printPeople(ctx, d.stdout, g.store, where); err != nil {
		return err
	}
	_, err := fmt.Fprint(d.stdout, "\nStop with Ctrl-C; the data stays. Start with --reset to begin anew.\n")
	return err
}

// quoteShell quotes a word for a POSIX shell when it needs it.
func quoteShell(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./-_:", r))
	}) < 0 && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
