package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"trellis/auth/oauth"
)

const tokenHelp = `trellis token: get an access token for a client of a clients file

Usage:
  trellis token --clients FILE --as NAME [--purpose CODE] [--scope SCOPES] [--server URL]

Prints the token, which lives five minutes, and nothing else. FILE is a clients file, or the private key of client NAME as
"trellis client add --new-key" writes it; then --server says where.

Examples:
  TOKEN=$(trellis token --clients trellis-data/demo-clients.json --as hospital)
  trellis token --clients trellis-data/demo-clients.json --as plan --purpose HOPERAT --scope system/Encounter.rs
  trellis token --clients feed.jwk --as feed --server https://gateway.example.org
`

func runToken(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, tokenHelp) }
	clients := fs.String("clients", "", "")
	as := fs.String("as", "", "")
	purpose := fs.String("purpose", "", "")
	scope := fs.String("scope", "", "")
	server := fs.String("server", "", "")
	if code, done := parseFlags(fs, args, stdout, tokenHelp); done {
		return code
	}
	if *clients == "" || *as == "" {
		fmt.Fprintln(stderr, "trellis token: --clients and --as are required; see `trellis token --help`")
		return 2
	}
	file, err := readClients(*clients)
	if err != nil {
		fmt.Fprintln(stderr, "trellis token:", err)
		return 1
	}
	c, err := file.client(*as)
	if err != nil {
		fmt.Fprintln(stderr, "trellis token:", err)
		return 1
	}
	if *purpose != "" {
		c.Purpose = *purpose
	}
	if *scope != "" {
		c.Scope = *scope
	}
	if err := file.connect(context.Background(), *server); err != nil {
		fmt.Fprintln(stderr, "trellis token:", err)
		return 1
	}
	source := &oauth.TokenSource{HTTP: &http.Client{Timeout: 30 * time.Second}, TokenURL: file.TokenEndpoint, ClientID: c.ClientID, Key: c.JWK, Purpose: c.Purpose, Now: time.Now}
	token, err := source.Token(context.Background(), c.Scope)
	if err != nil {
		fmt.Fprintln(stderr, "trellis token:", err)
		return 1
	}
	fmt.Fprintln(stdout, token)
	return 0
}
