package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// maxAssertionLife is SMART's bound on exp; clockLeeway is granted to a client whose clock runs ahead of ours.
	maxAssertionLife = 5 * time.Minute
	clockLeeway      = 30 * time.Second
	maxAssertion     = 16 << 10
	maxName          = 256 // kid, jti, client id
)

// assertionHeader is the protected header as far as it decides. Unknown members do no harm and are ignored.
type assertionHeader struct{ alg, kid, jku string }

// assertionClaims are the claims of RFC 7523 section 3 and the SMART profile of it.
type assertionClaims struct {
	iss, sub, jti string
	aud           []string
	exp           time.Time
	nbf           time.Time // zero: not given
	extensions    json.RawMessage
}

// byAssertion is private_key_jwt as SMART "Asymmetric Authentication" asks. The order matters: nothing is burned before
// the signature and every claim, aud included, have been checked.
func (s *Server) byAssertion(ctx context.Context, form url.Values, audiences []string) (Client, claimedPurpose, error) {
	var none claimedPurpose
	if form.Get("client_assertion_type") != assertionType {
		return Client{}, none, invalidClient("client_assertion_type is not jwt-bearer")
	}
	raw := form.Get("client_assertion")
	header, claims, err := readAssertion(raw)
	if err != nil {
		return Client{}, none, err
	}
	if claims.sub != claims.iss {
		return Client{}, none, invalidClient("iss and sub differ")
	}
	if id := form.Get("client_id"); id != "" && id != claims.sub {
		return Client{}, none, invalidClient("client_id and sub differ")
	}
	client, err := s.registered(ctx, claims.sub)
	if err != nil {
		return Client{}, none, err
	}
	if err := s.verifySignature(ctx, client, header, raw); err != nil {
		return Client{}, none, err
	}
	if err := checkClaims(claims, s.cfg.Now(), append([]string{s.cfg.TokenURL}, audiences...)); err != nil {
		return Client{}, none, err
	}
	// Kept past exp, so that a replica whose clock is behind cannot take it a second time.
	err = s.cfg.Store.UseAssertion(ctx, claims.iss, claims.jti, claims.exp.Add(clockLeeway))
	switch {
	case errors.Is(err, ErrReplayed):
		return Client{}, none, invalidClient("assertion replayed")
	case err != nil:
		return Client{}, none, serverError(err)
	}
	return client, claimPurpose(claims.extensions), nil
}

// checkClaims applies RFC 7523 section 3 and SMART: aud is the token URL, or the endpoint that was asked, and nothing else;
// exp lies in the future and at most five minutes ahead.
func checkClaims(c assertionClaims, now time.Time, endpoints []string) error {
	switch {
	case len(c.aud) != 1 || !slices.Contains(endpoints, c.aud[0]):
		return invalidClient("aud is not the token URL")
	case !now.Before(c.exp):
		return invalidClient("assertion expired")
	case c.exp.After(now.Add(maxAssertionLife + clockLeeway)):
		return invalidClient("exp is more than five minutes ahead")
	case c.nbf.After(now.Add(clockLeeway)):
		return invalidClient("assertion not valid yet")
	case c.jti == "" || len(c.jti) > maxName || strings.ContainsRune(c.jti, 0):
		return invalidClient("jti is missing or too long")
	}
	return nil
}

// verifySignature finds the one key and checks the signature with it.
func (s *Server) verifySignature(ctx context.Context, c Client, h assertionHeader, raw string) error {
	key, err := s.clientKey(ctx, c, h)
	if err != nil {
		return err
	}
	parsed, err := jose.ParseSigned(raw)
	if err != nil || len(parsed.Signatures) != 1 || parsed.Signatures[0].Header.Algorithm != h.alg {
		return invalidClient("malformed assertion")
	}
	if _, err := parsed.Verify(key); err != nil {
		return invalidClient("signature does not verify")
	}
	return nil
}

// readAssertion decodes header and claims without believing them yet.
func readAssertion(raw string) (assertionHeader, assertionClaims, error) {
	parts := strings.SplitN(raw, ".", 4)
	if len(raw) > maxAssertion || len(parts) != 3 {
		return assertionHeader{}, assertionClaims{}, invalidClient("assertion is not a compact JWS")
	}
	header, err := readHeader(parts[0])
	if err != nil {
		return assertionHeader{}, assertionClaims{}, err
	}
	claims, err := readClaims(parts[1])
	return header, claims, err
}

// readHeader admits ES384 and RS384 with a kid. A key inside the token, or a place to fetch one other than jku, is
// refused outright; jku itself is compared with the registration in clientKey.
func readHeader(part string) (assertionHeader, error) {
	members, err := object(part)
	if err != nil {
		return assertionHeader{}, err
	}
	for _, name := range []string{"jwk", "x5c", "x5u", "crit", "b64", "zip"} {
		if _, ok := members[name]; ok {
			return assertionHeader{}, invalidClient("header carries a key or an extension")
		}
	}
	h := assertionHeader{alg: text(members["alg"]), kid: text(members["kid"]), jku: text(members["jku"])}
	if _, ok := members["jku"]; ok && h.jku == "" {
		return assertionHeader{}, invalidClient("jku is malformed")
	}
	if raw, ok := members["typ"]; ok && !strings.EqualFold(text(raw), "JWT") {
		return assertionHeader{}, invalidClient("typ is not JWT")
	}
	if h.alg != string(jose.ES384) && h.alg != string(jose.RS384) {
		return assertionHeader{}, invalidClient("alg is neither ES384 nor RS384")
	}
	if h.kid == "" || len(h.kid) > maxName {
		return assertionHeader{}, invalidClient("kid is missing or too long")
	}
	return h, nil
}

func readClaims(part string) (assertionClaims, error) {
	members, err := object(part)
	if err != nil {
		return assertionClaims{}, err
	}
	c := assertionClaims{
		iss: text(members["iss"]), sub: text(members["sub"]), jti: text(members["jti"]),
		extensions: members["extensions"],
	}
	if one := text(members["aud"]); one != "" {
		c.aud = []string{one}
	} else if raw, ok := members["aud"]; ok && json.Unmarshal(raw, &c.aud) != nil {
		return assertionClaims{}, invalidClient("aud is malformed")
	}
	var ok bool
	if c.exp, ok = numericDate(members["exp"]); !ok {
		return assertionClaims{}, invalidClient("exp is missing or malformed")
	}
	if raw, given := members["nbf"]; given {
		if c.nbf, ok = numericDate(raw); !ok {
			return assertionClaims{}, invalidClient("nbf is malformed")
		}
	}
	if c.iss == "" || len(c.iss) > maxName {
		return assertionClaims{}, invalidClient("iss is missing or too long")
	}
	return c, nil
}

// object decodes one base64url part into its members. Going through a map keeps names exact: encoding/json would
// match struct fields regardless of case.
func object(part string) (map[string]json.RawMessage, error) {
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil, invalidClient("assertion is not base64url")
	}
	members, err := rawObject(data)
	if err != nil {
		return nil, invalidClient("assertion is not a JSON object")
	}
	return members, nil
}

func rawObject(data []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if members == nil {
		return nil, errors.New("oauth: not an object")
	}
	return members, nil
}

// text returns the string a member holds, or "" when it holds none.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// numericDate reads RFC 7519 NumericDate. Fractions are cut; absurd magnitudes are refused rather than overflowed.
func numericDate(raw json.RawMessage) (time.Time, bool) {
	var f float64
	if len(raw) == 0 || raw[0] == 'n' || json.Unmarshal(raw, &f) != nil || f < 0 || f > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}
