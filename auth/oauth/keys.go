package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v3"
)

// KeyFetcher gets the JWKS document (RFC 7517 section 5) a client publishes. kid is the key that is looked for: an
// implementation that caches should look again when its copy lacks it. Fetcher is the one to use in production.
type KeyFetcher interface {
	JWKS(ctx context.Context, url, kid string) ([]byte, error)
}

// Bounds on registered and fetched key sets.
const (
	maxKeys    = 100
	minRSABits = 2048
)

// CheckKeys tells whether an inline JWKS can be registered: a JSON Web Key Set with at least one public key usable
// for ES384 or RS384 that has a kid, and no private or symmetric key at all.
func CheckKeys(jwks []byte) error {
	raws, err := splitKeys(jwks)
	if err != nil {
		return err
	}
	usable := 0
	for i, raw := range raws {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return fmt.Errorf("oauth: JWKS key %d is no object", i+1)
		}
		for _, secret := range []string{"d", "k"} {
			if _, ok := members[secret]; ok {
				return fmt.Errorf("oauth: JWKS key %d is private; register public keys only", i+1)
			}
		}
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.KeyID != "" && (fits(key, "ES384") || fits(key, "RS384")) {
			usable++
		}
	}
	if usable == 0 {
		return errors.New("oauth: JWKS has no key with a kid that fits ES384 (EC P-384) or RS384 (RSA of 2048 bits)")
	}
	return nil
}

// clientKey finds the key of the assertion. With jku it is taken from the registered URL, which jku has to equal;
// without, from the inline keys and then from the URL.
func (s *Server) clientKey(ctx context.Context, c Client, h assertionHeader) (any, error) {
	if h.jku != "" && h.jku != c.JWKSURL {
		return nil, invalidClient("jku is not the registered URL")
	}
	if h.jku == "" && len(c.JWKS) > 0 {
		key, err := selectKey(c.JWKS, h)
		if err == nil || c.JWKSURL == "" || !errors.Is(err, errNoKey) {
			return key, err
		}
	}
	if c.JWKSURL == "" || s.cfg.Keys == nil {
		return nil, invalidClient("no keys registered")
	}
	jwks, err := s.cfg.Keys.JWKS(ctx, c.JWKSURL, h.kid)
	if err != nil {
		return nil, invalidClient("keys cannot be fetched")
	}
	return selectKey(jwks, h)
}

var errNoKey = errors.New("oauth: no key matches kid and alg")

// selectKey returns the one public key that matches kid and fits the algorithm. `use` may be absent (SMART asks for
// kty and kid only) but must not say something other than sig. Two matches are as bad as none.
func selectKey(jwks []byte, h assertionHeader) (any, error) {
	raws, err := splitKeys(jwks)
	if err != nil {
		return nil, invalidClient("malformed key set")
	}
	var found []any
	for _, raw := range raws {
		var key jose.JSONWebKey
		// A key of a kind we do not know must not spoil the others (RFC 7517 section 5).
		if key.UnmarshalJSON(raw) == nil && key.KeyID == h.kid && fits(key, h.alg) {
			found = append(found, key.Key)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, invalidClient("").because(errNoKey)
	}
	return nil, invalidClient("several keys match kid and kty")
}

// fits reports whether the key is a public key for the algorithm. Private keys have other Go types and never fit.
func fits(key jose.JSONWebKey, alg string) bool {
	if (key.Use != "" && key.Use != "sig") || (key.Algorithm != "" && key.Algorithm != alg) || !key.Valid() {
		return false
	}
	switch k := key.Key.(type) {
	case *ecdsa.PublicKey:
		return alg == string(jose.ES384) && k.Curve.Params().BitSize == 384
	case *rsa.PublicKey:
		return alg == string(jose.RS384) && k.N.BitLen() >= minRSABits && k.N.BitLen() <= 8192
	}
	return false
}

func splitKeys(jwks []byte) ([]json.RawMessage, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, errors.New("oauth: JWKS is not a JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, errors.New("oauth: JWKS has too many keys")
	}
	return set.Keys, nil
}
