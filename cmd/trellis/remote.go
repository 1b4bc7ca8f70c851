package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"trellis/auth/oauth"
)

// clientsFile is DIR/demo-clients.json: what any SMART Backend Services client needs to connect. A file with nothing but a private
// key, as "trellis client add --new-key" writes it, is a clients file too: any client may be the key's.
type clientsFile struct {
	FHIRBase      string       `json:"fhir_base"`
	TokenEndpoint string       `json:"token_endpoint"`
	Clients       []fileClient `json:"clients"`

	key json.RawMessage
}

type fileClient struct {
	Name         string          `json:"name"`
	ClientID     string          `json:"client_id"`
	Organization string          `json:"organization"`
	Purpose      string          `json:"purpose"`
	Scope        string          `json:"scope"`
	JWK          json.RawMessage `json:"jwk"` // private, EC P-384
}

func readClients(file string) (clientsFile, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return clientsFile{}, err
	}
	var c struct {
		clientsFile
		Type    string `json:"kty"`
		Private string `json:"d"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return clientsFile{}, fmt.Errorf("%s is not a clients file: %w", file, err)
	}
	switch {
	case c.Type != "" && c.Private != "":
		c.key = data
	case len(c.Clients) == 0:
		return clientsFile{}, fmt.Errorf("%s is neither a clients file nor a private key (trellis client add --new-key writes one)", file)
	}
	return c.clientsFile, nil
}

// keyScope is what is asked for with a key alone; the server gives what of it the client may have.
const keyScope = "system/*.cruds"

// connect finds where the server gives tokens, unless the file tells.
func (c *clientsFile) connect(ctx context.Context, server string) error {
	if c.TokenEndpoint != "" {
		return nil
	}
	if server == "" {
		return errors.New("with a key alone, --server must say where tokens are given")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+"/fhir/.well-known/smart-configuration", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	var found struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK || found.TokenEndpoint == "" {
		return fmt.Errorf("%s does not say where tokens are given (status %d)", req.URL, resp.StatusCode)
	}
	c.TokenEndpoint = found.TokenEndpoint
	return nil
}

// client finds a client by name.
func (c clientsFile) client(name string) (fileClient, error) {
	if c.key != nil {
		return fileClient{Name: name, ClientID: name, Scope: keyScope, JWK: c.key}, nil
	}
	var names []string
	for _, k := range c.Clients {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return fileClient{}, fmt.Errorf("no client %q in the clients file; it has %s", name, strings.Join(names, ", "))
}

// remote talks to a gateway as one client.
type remote struct {
	server string // URL without path
	scope  string
	tokens *oauth.TokenSource
	http   *http.Client
}

func newRemote(server, tokenEndpoint string, c fileClient) *remote {
	client := &http.Client{Timeout: 2 * time.Minute}
	return &remote{
		server: strings.TrimSuffix(server, "/"), scope: c.Scope, http: client,
		tokens: &oauth.TokenSource{HTTP: client, TokenURL: tokenEndpoint, ClientID: c.ClientID, Key: c.JWK, Purpose: c.Purpose, Now: time.Now},
	}
}

// answer is an HTTP answer read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// errRefused is an answer outside of 2xx; its outcome's text holds no patient data.
type errRefused struct {
	status int
	text   string
}

func (e *errRefused) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.status, e.text)
}

// busy says that the same request may do better later.
func (e *errRefused) busy() bool {
	return e.status == http.StatusServiceUnavailable || e.status == http.StatusTooManyRequests
}

// do sends a request with a token; an answer outside 2xx is *errRefused.
func (r *remote) do(ctx context.Context, method, path, contentType string, body []byte) (answer, error) {
	header := http.Header{}
	if body != nil {
		header.Set("Content-Type", contentType)
	}
	return r.send(ctx, method, path, body, header)
}

// send is do with any headers.
func (r *remote) send(ctx context.Context, method, path string, body []byte, header http.Header) (answer, error) {
	token, err := r.tokens.Token(ctx, r.scope)
	if err != nil {
		return answer{}, fmt.Errorf("getting a token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.server+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, err
	}
	out := answer{resp.StatusCode, resp.Header, data}
	if resp.StatusCode/100 != 2 {
		return out, &errRefused{resp.StatusCode, outcomeText(data)}
	}
	return out, nil
}

// sendAttempts bounds retries of a server that is starting or busy.
const sendAttempts = 5

// sendPatiently is send, again and again while the server is starting or busy. What the server refuses for good comes
// back as it is; an error that outlasts the attempts says that the command can be run again.
func (r *remote) sendPatiently(ctx context.Context, method, path string, body []byte, header http.Header) (answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := r.send(ctx, method, path, body, header)
		var refused *errRefused
		switch {
		case err == nil || (errors.As(err, &refused) && !refused.busy()):
			return a, err
		case attempt == sendAttempts || ctx.Err() != nil:
			return a, fmt.Errorf("giving up; run the same command again to go on: %w", err)
		}
		select {
		case <-time.After(time.Duration(attempt) * 300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// outcomeText is what an OperationOutcome says, one line.
func outcomeText(body []byte) string {
	var outcome struct {
		Issue []struct {
			Details    struct{ Text string }
			Expression []string
		}
	}
	if err := json.Unmarshal(body, &outcome); err != nil || len(outcome.Issue) == 0 {
		return "no explanation"
	}
	var out []string
	for _, i := range outcome.Issue {
		text := i.Details.Text
		if len(i.Expression) > 0 {
			text = i.Expression[0] + ": " + text
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}
