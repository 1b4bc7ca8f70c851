package exchange

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"trellis/auth/oauth"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Partner is an organisation's FHIR endpoint that takes DocumentReferences.
type Partner struct {
	FHIRBase string
	Purpose  string // purpose of use its deliveries are decided for
	Tokens   *oauth.TokenSource
	HTTP     *http.Client
}

// scopes is what a delivery needs at the partner: create, and search to find out what became of a
// delivery whose outcome is unknown.
const scopes = "system/DocumentReference.cs"

// Refused is a partner's answer that is not success.
type Refused struct {
	Status    int
	Temporary bool
}

// Error holds the status alone: bodies of partners are not repeated.
func (r *Refused) Error() string { return fmt.Sprintf("exchange: the partner answered %d", r.Status) }

// errNotSent is a failure before any byte of the document left.
var errNotSent = errors.New("exchange: the partner could not be reached")

// NewClient makes the HTTP client for partners: no redirects, time limits, and no private addresses
// unless the operator allows them.
func NewClient(allowPrivate bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !oauth.Permitted(ap.Addr(), allowPrivate) {
			return errors.New("exchange: the partner's address is private")
		}
		return nil
	}}
	return &http.Client{
		Timeout:       60 * time.Second,
		Transport:     &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// identifierSystem is the system of the identifiers deliveries carry, so that one can be found again.
const identifierSystem = fhir.LocalBase + "/ids/delivery"

func deliveryIdentifier(id int64) string { return strconv.FormatInt(id, 10) }

// document is the DocumentReference that carries a released Bundle. The statement and the scope of the
// consent are inside the attachment; the short statement also stands where people read it.
func document(d *store.Delivery, r *release.Released) []byte {
	description := "Recovery record from Trellis."
	if r.Notice() {
		description += " " + release.StatementShort
	}
	doc := map[string]any{
		"resourceType": "DocumentReference", "status": "current", "description": description,
		"identifier": []any{map[string]string{"system": identifierSystem, "value": deliveryIdentifier(d.ID)}},
		"type":       map[string]string{"text": d.Type},
		"content": []any{map[string]any{"attachment": map[string]string{
			"contentType": fhir.ContentType, "title": d.Type, "data": base64.StdEncoding.EncodeToString(r.Body()),
		}}},
	}
	if r.Notice() {
		doc["securityLabel"] = []any{map[string]any{"coding": []fhir.Coding{{System: fhir.SystemActCode, Code: "42CFRPart2"}, {System: fhir.SystemActCode, Code: "NORDSCLCD"}}}}
	}
	out, err := json.Marshal(doc)
	if err != nil { // strings only: cannot fail
		return nil
	}
	return out
}

func (p *Partner) request(ctx context.Context, method, target string, body []byte) (*http.Response, error) {
	token, err := p.Tokens.Token(ctx, scopes)
	if err != nil {
		return nil, errors.Join(errNotSent, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, errors.Join(errNotSent, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", fhir.ContentType)
	if body != nil {
		req.Header.Set("Content-Type", fhir.ContentType)
	}
	resp, err := p.HTTP.Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, errors.Join(errNotSent, err)
	}
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		p.Tokens.Forget(scopes)
	}
	return resp, err
}

// post sends the document. An error that is neither *Refused nor errNotSent leaves the outcome unknown.
func (p *Partner) post(ctx context.Context, doc []byte) (location string, err error) {
	resp, err := p.request(ctx, http.MethodPost, p.FHIRBase+"/DocumentReference", doc)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return "", err
	}
	switch {
	case resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusAccepted:
		return resp.Header.Get("Location"), nil
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		return "", &Refused{Status: resp.StatusCode, Temporary: true}
	case resp.StatusCode >= 500:
		return "", fmt.Errorf("exchange: the partner answered %d after the document was sent", resp.StatusCode)
	}
	return "", &Refused{Status: resp.StatusCode}
}

// find looks for a delivery at the partner: its location, or "" when it is not there.
func (p *Partner) find(ctx context.Context, identifier string) (location string, err error) {
	resp, err := p.request(ctx, http.MethodGet, p.FHIRBase+"/DocumentReference?identifier="+url.QueryEscape(identifierSystem+"|"+identifier), nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return "", &Refused{Status: resp.StatusCode, Temporary: true}
	}
	var bundle struct {
		Entry []struct {
			Resource struct{ ID string }
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&bundle); err != nil {
		return "", err
	}
	if len(bundle.Entry) == 0 {
		return "", nil
	}
	return "DocumentReference/" + bundle.Entry[0].Resource.ID, nil
}
