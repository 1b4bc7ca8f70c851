package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"trellis/auth/consent"
	"trellis/auth/oauth"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/store"
)

const clientHelp = `trellis client: register client applications

Usage:
  trellis client add --id ID --org ORGANIZATION --scope SCOPES [--purpose CODES] [--name NAME] CREDENTIAL... [APP...]
  trellis client list
  trellis client rotate --id ID (--secret | --jwks FILE | --jwks-url URL | --new-key FILE)
  trellis client disable --id ID
  trellis client enable --id ID
Each takes [--data DIR | --postgres DSN].

A client belongs to a registered organisation. One that acts for itself (Backend Services) has system/ scopes, a key, and
the purposes of use it may name, of which the first is its default. An app that people use has redirect URIs and patient/ or
user/ scopes; it may ask for what is within its scopes, and people agree to it or to less. Its purposes are those its users
among staff may act for (default TREAT); patients always act for themselves.

Credentials, of which an app may also have none (a public client):
  --jwks FILE | --jwks-url URL   public keys, ES384 or RS384
  --new-key FILE                 make a key pair and write the private JWK to FILE (mode 0600)
  --secret                       make a secret and print it, once

Apps:
  --redirect URI                 a redirect URI, compared byte for byte; may be given several times
  --launch-url URL               where an EHR launch begins
  --native                       a native app: loopback redirects on any port, schemes of its own
  --uri URL                      home page, shown to people

Also:
  --update-create                let it create a resource under an id it chooses
The scopes "introspect" and "create_launch" let a client ask about any token, and make launch handles as an EHR.

Examples:
  trellis client add --id hospital-ehr --org hospital --scope "system/*.rs create_launch" --purpose TREAT,COC --jwks-url https://ehr.example.org/jwks.json
  trellis client add --id rco-intake --org rco --scope "system/*.cu" --purpose COC --new-key rco.jwk
  trellis client add --id diary --org rco --name "My Diary" --redirect https://diary.example.org/callback \
    --scope "launch/patient openid fhirUser offline_access patient/*.rs"
  trellis client rotate --id diary --secret
`

func runClient(args []string, stdout, stderr io.Writer) int {
	r := registration{stdout: stdout}
	return tool{"client", clientHelp, r.flags, map[string]func(context.Context, *store.Store) error{
		"add":     r.add,
		"list":    func(ctx context.Context, s *store.Store) error { return listClients(ctx, s, stdout) },
		"rotate":  r.rotate,
		"disable": func(ctx context.Context, s *store.Store) error { return r.enable(ctx, s, false) },
		"enable":  func(ctx context.Context, s *store.Store) error { return r.enable(ctx, s, true) },
	}}.run(args, stdout, stderr)
}

// registration is what `client add` and `client rotate` were asked for.
type registration struct {
	id, name, org, scope, purpose, jwks, jwksURL, newKey, launchURL, uri string
	redirects                                                            []string
	updateCreate, native, secret                                         bool
	stdout                                                               io.Writer
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
	fs.BoolVar(&r.secret, "secret", false, "")
	fs.Func("redirect", "", func(uri string) error { r.redirects = append(r.redirects, uri); return nil })
	fs.StringVar(&r.launchURL, "launch-url", "", "")
	fs.StringVar(&r.uri, "uri", "", "")
	fs.BoolVar(&r.native, "native", false, "")
	fs.BoolVar(&r.updateCreate, "update-create", false, "")
}

func (r *registration) add(ctx context.Context, s *store.Store) error {
	c := oauth.Client{ID: r.id, Name: r.name, Organization: r.org, Scopes: strings.Fields(r.scope),
		RedirectURIs: r.redirects, LaunchURL: r.launchURL, URI: r.uri, Native: r.native}
	if r.purpose != "" {
		c.Purposes = strings.Split(r.purpose, ",")
		c.DefaultPurpose = c.Purposes[0]
	}
	if c.Name == "" {
		c.Name = c.ID
	}
	if r.id == "" || r.org == "" || len(c.Scopes) == 0 {
		return errors.New("--id, --org and --scope are required")
	}
	if _, err := s.ClientRecord(ctx, r.id); err == nil {
		return fmt.Errorf("--id: there is a client %q already; use another id, or trellis client rotate", r.id)
	} else if !errors.Is(err, oauth.ErrNotFound) {
		return err
	}
	if strings.Trim(r.id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || len(r.id) > 100 {
		return errors.New("--id: up to 100 letters, digits and - _ . : it is sent as it is in Basic headers")
	}
	if err := r.check(&c); err != nil {
		return err
	}
	org, err := s.Organization(ctx, r.org)
	if err != nil {
		return err
	}
	if org.ID == "" {
		return fmt.Errorf("--org: no organisation %q is registered", r.org)
	}
	if err := r.credential(ctx, s, &c); err != nil {
		return err
	}
	if err := s.PutClient(ctx, store.ClientRecord{OAuth: c, UpdateCreate: r.updateCreate}); err != nil {
		return err
	}
	return s.MaterializeAll(ctx) // a new purpose may be one consents speak about
}

// check holds scopes, purposes and addresses against what the client is for.
func (r *registration) check(c *oauth.Client) error {
	set, err := smart.Parse(r.scope)
	if err != nil {
		return fmt.Errorf("--scope: %w", err)
	}
	system := slices.ContainsFunc(set.Resources(), func(scope smart.Scope) bool { return scope.Level == smart.System }) ||
		set.Context(oauth.ScopeIntrospect) || set.Context(oauth.ScopeLaunch)
	for _, scope := range set.Resources() {
		if scope.Level != smart.System && !c.Interactive() {
			return errors.New("--scope: patient/ and user/ scopes are for apps that people use; give --redirect")
		}
		if scope.Type != "*" && !fhir.KnownType(scope.Type) {
			return fmt.Errorf("--scope: %s is no resource type", scope.Type)
		}
	}
	if system && r.purpose == "" {
		return errors.New("--purpose is required for system/ scopes")
	}
	if system && r.jwks == "" && r.jwksURL == "" && r.newKey == "" {
		return errors.New("--scope: system/ scopes need a key: one of --jwks, --jwks-url and --new-key")
	}
	for _, p := range c.Purposes {
		if !consent.KnownPurpose(p) {
			return fmt.Errorf("--purpose: %q is no purpose of use this release decides about", p)
		}
	}
	for _, uri := range c.RedirectURIs {
		if !oauth.RedirectAllowed(uri, c.Native) && !loopback(uri) {
			return fmt.Errorf("--redirect: %q has to be https, without user and fragment; http is for loopback addresses, other schemes for --native", uri)
		}
	}
	for name, link := range map[string]string{"--jwks-url": r.jwksURL, "--launch-url": r.launchURL, "--uri": r.uri} {
		if link != "" && !oauth.RedirectAllowed(link, false) && !loopback(link) {
			return fmt.Errorf("%s: %q has to be an https URL; http is for loopback addresses", name, link)
		}
	}
	if c.LaunchURL != "" && !c.Interactive() {
		return errors.New("--launch-url: only an app with --redirect can be launched")
	}
	return nil
}

// loopback reports whether a URI stays on this machine: an app being developed, registered by the operator.
func loopback(uri string) bool {
	return oauth.RedirectAllowed(uri, true) && strings.HasPrefix(uri, "http://")
}

// credential reads or makes what the client proves itself with.
func (r *registration) credential(ctx context.Context, s *store.Store, c *oauth.Client) error {
	given := 0
	for _, there := range []bool{r.jwks != "", r.jwksURL != "", r.newKey != "", r.secret} {
		if there {
			given++
		}
	}
	if given > 1 {
		return errors.New("only one of --jwks, --jwks-url, --new-key and --secret can be given")
	}
	c.JWKS, c.JWKSURL, c.SecretHash = nil, "", ""
	var err error
	switch {
	case r.secret:
		deployment, err := s.Secret(ctx, "oauth")
		if err != nil {
			return err
		}
		secret := oauth.NewSecret()
		c.SecretHash = oauth.HashSecret(oauth.SecretKey(deployment), secret)
		_, err = fmt.Fprintf(r.stdout, "client_id      %s\nclient_secret  %s\n", c.ID, secret)
		return err
	case r.newKey != "":
		var private []byte
		if private, c.JWKS, err = oauth.NewKey(r.id + "-" + oauth.NewSecret()[:6]); err != nil {
			return err
		}
		return os.WriteFile(r.newKey, private, 0o600)
	case r.jwks != "":
		if c.JWKS, err = os.ReadFile(r.jwks); err != nil {
			return err
		}
		return oauth.CheckKeys(c.JWKS)
	case r.jwksURL != "":
		c.JWKSURL = r.jwksURL
	case !c.Interactive():
		return errors.New("one of --jwks, --jwks-url and --new-key is required")
	}
	return nil
}

// rotate gives a client another credential. The old one ends within a second, and with it the right of an app that registered
// itself to change its registration.
func (r *registration) rotate(ctx context.Context, s *store.Store) error {
	if !r.secret && r.jwks == "" && r.jwksURL == "" && r.newKey == "" {
		return errors.New("one of --secret, --jwks, --jwks-url and --new-key is required")
	}
	record, err := r.record(ctx, s)
	if err != nil {
		return err
	}
	fresh := record.OAuth
	if r.secret && slices.Contains(strings.Split(strings.Join(fresh.Scopes, "/"), "/"), smart.System) {
		return errors.New("--secret: a client with system/ scopes proves itself by a key")
	}
	if err := r.credential(ctx, s, &fresh); err != nil {
		return err
	}
	return s.ChangeClient(ctx, r.id, func(c *store.ClientRecord) error {
		c.OAuth.JWKS, c.OAuth.JWKSURL, c.OAuth.SecretHash = fresh.JWKS, fresh.JWKSURL, fresh.SecretHash
		c.OAuth.RegistrationHash = "" // or whoever held the old credential could change it again
		return nil
	})
}

// enable turns a client on or off. Its tokens are refused within a second.
func (r *registration) enable(ctx context.Context, s *store.Store, on bool) error {
	if _, err := r.record(ctx, s); err != nil {
		return err
	}
	return s.ChangeClient(ctx, r.id, func(c *store.ClientRecord) error { c.OAuth.Disabled = !on; return nil })
}

func (r *registration) record(ctx context.Context, s *store.Store) (store.ClientRecord, error) {
	if r.id == "" {
		return store.ClientRecord{}, errors.New("--id is required")
	}
	record, err := s.ClientRecord(ctx, r.id)
	if errors.Is(err, oauth.ErrNotFound) {
		err = fmt.Errorf("--id: no client %q is registered", r.id)
	}
	return record, err
}

func listClients(ctx context.Context, s *store.Store, stdout io.Writer) error {
	clients, err := s.Clients(ctx)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "client\torganization\tproves itself by\tpurposes\tscopes\n")
	for _, c := range clients {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", c.OAuth.ID, c.OAuth.Organization, proof(c.OAuth), strings.Join(c.OAuth.Purposes, ","), strings.Join(c.OAuth.Scopes, " "))
	}
	return tw.Flush()
}

// proof says how a client authenticates, in a word.
func proof(c oauth.Client) string {
	switch {
	case c.Disabled:
		return "(disabled)"
	case c.SecretHash != "":
		return "secret"
	case c.Public():
		return "nothing (public)"
	}
	return "key"
}
