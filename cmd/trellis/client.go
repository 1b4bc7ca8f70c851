package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"trellis/auth/consent"
	"trellis/auth/oauth"
	"trellis/auth/smart"
	"trellis/gateway/store"
)

const clientHelp = `trellis client: register client applications

Usage:
  trellis client add --id ID --org ORGANIZATION --scope SCOPES --purpose CODES (--jwks FILE | --jwks-url URL | --new-key FILE)
                     [--name NAME] [--update-create] [--data DIR | --postgres DSN]
  trellis client list [--data DIR | --postgres DSN]

A client acts for one registered organisation, with SMART system scopes and the purposes of use it may name; the
first purpose is its default. Its public keys come from a file, from a URL, or from a key pair made here: --new-key
writes the private JWK to FILE (mode 0600). --update-create lets it create a resource under an id it chooses.

Examples:
  trellis client add --id hospital-ehr --org hospital --scope "system/*.rs" --purpose TREAT,COC --jwks-url https://ehr.example.org/jwks.json
  trellis client add --id rco-intake --org rco --scope "system/*.cu" --purpose COC --new-key rco.jwk
`

func runClient(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(stdout, clientHelp)
		return 0
	}
	fs := flag.NewFlagSet("client", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, clientHelp) }
	var where location
	where.flags(fs)
	var r registration
	r.flags(fs)
	if code, done := parseFlags(fs, args[1:], stdout, clientHelp); done {
		return code
	}
	work := map[string]func(context.Context, *store.Store) error{
		"add":  r.add,
		"list": func(ctx context.Context, s *store.Store) error { return listClients(ctx, s, stdout) },
	}[args[0]]
	if work == nil {
		fmt.Fprintf(stderr, "trellis client: no subcommand %q; see `trellis client --help`\n", args[0])
		return 2
	}
	ctx := context.Background()
	s, err := where.openTool(ctx)
	if err == nil {
		err = errors.Join(work(ctx, s), s.Close())
	}
	if err != nil {
		fmt.Fprintln(stderr, "trellis client:", err)
		return 1
	}
	return 0
}

// registration is what `client add` was asked for.
type registration struct {
	id, name, org, scope, purpose, jwks, jwksURL, newKey string
	updateCreate                                         bool
}

func (r *registration) flags(fs *flag.FlagSet) {
	fs.StringVar(&r.id, "id", "", "")
	fs.StringVar(&r.name, "name", "", "")
	fs.StringVar(&r.org, "org", "", "")
	fs.StringVar(&r.scope, "scope", "", "")
	fs.StringVar(&r.purpose, "purpose", "", "")
	fs.StringVar(&r.jwks, "jwks", "", "")
	fs.StringVar(&r.jwksURL, "jwks-url", "", "")
	fs.StringVar(&r.newKey, "new-key", "", "")
	fs.BoolVar(&r.updateCreate, "update-create", false, "")
}

func (r *registration) add(ctx context.Context, s *store.Store) error {
	c := oauth.Client{ID: r.id, Name: r.name, Organization: r.org, JWKSURL: r.jwksURL, Scopes: strings.Fields(r.scope), Purposes: strings.Split(r.purpose, ",")}
	if r.id == "" || r.org == "" || len(c.Scopes) == 0 || r.purpose == "" {
		return errors.New("--id, --org, --scope and --purpose are required")
	}
	set, err := smart.Parse(r.scope)
	if err != nil {
		return fmt.Errorf("--scope: %w", err)
	}
	for _, scope := range set.Resources() {
		if scope.Level != smart.System {
			return errors.New("--scope: only system/ scopes are offered")
		}
	}
	for _, p := range c.Purposes {
		if !consent.KnownPurpose(p) {
			return fmt.Errorf("--purpose: %q is no purpose of use this release decides about", p)
		}
	}
	c.DefaultPurpose = c.Purposes[0]
	org, err := s.Organization(ctx, r.org)
	if err != nil {
		return err
	}
	if org.ID == "" {
		return fmt.Errorf("--org: no organisation %q is registered", r.org)
	}
	if err := r.keys(&c); err != nil {
		return err
	}
	if err := s.PutClient(ctx, store.ClientRecord{OAuth: c, UpdateCreate: r.updateCreate}); err != nil {
		return err
	}
	return s.MaterializeAll(ctx) // a new purpose may be one consents speak about
}

func (r *registration) keys(c *oauth.Client) error {
	var err error
	switch {
	case r.newKey != "":
		var private []byte
		if private, c.JWKS, err = oauth.NewKey(r.id); err != nil {
			return err
		}
		return os.WriteFile(r.newKey, private, 0o600)
	case r.jwks != "":
		if c.JWKS, err = os.ReadFile(r.jwks); err != nil {
			return err
		}
		return oauth.CheckKeys(c.JWKS)
	case r.jwksURL == "":
		return errors.New("one of --jwks, --jwks-url and --new-key is required")
	}
	return nil
}

func listClients(ctx context.Context, s *store.Store, stdout io.Writer) error {
	clients, err := s.Clients(ctx)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "client\torganization\tpurposes\tscopes\n")
	for _, c := range clients {
		purposes, err := json.Marshal(c.OAuth.Purposes)
		if err != nil {
			return err
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", c.OAuth.ID, c.OAuth.Organization, purposes, strings.Join(c.OAuth.Scopes, " "))
	}
	return tw.Flush()
}
