package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/google/uuid"
)

// assertionLife leaves a minute of SMART's five for clocks that disagree.
const assertionLife = 4 * time.Minute

// NewKey makes an EC P-384 key pair for ES384: the private JWK, which the client keeps, and the JWKS with its public
// half, which it registers.
func NewKey(kid string) (privateJWK, publicJWKS []byte, err error) {
	if kid == "" || len(kid) > maxName {
		return nil, nil, errors.New("oauth: a key needs a kid of 1 to 256 bytes")
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("oauth: generating a key: %w", err)
	}
	private := jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(jose.ES384), Use: "sig"}
	if privateJWK, err = json.Marshal(private); err != nil {
		return nil, nil, fmt.Errorf("oauth: encoding a key: %w", err)
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{private.Public()}}
	if publicJWKS, err = json.Marshal(set); err != nil {
		return nil, nil, fmt.Errorf("oauth: encoding a key: %w", err)
	}
	return privateJWK, publicJWKS, nil
}

// SignAssertion makes a client assertion (RFC 7523, SMART "Asymmetric Authentication") with the private JWK: ES384
// for an EC P-384 key, RS384 for an RSA key. purpose may be empty; else it goes into the hl7-b2b extension. Each call
// gets its own jti; an assertion can be used once.
func SignAssertion(key []byte, clientID, tokenURL, purpose string, now time.Time) (string, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(key); err != nil {
		return "", errors.New("oauth: the signing key is no JSON Web Key")
	}
	if jwk.KeyID == "" {
		return "", errors.New("oauth: the signing key has no kid")
	}
	var alg jose.SignatureAlgorithm
	switch k := jwk.Key.(type) {
	case *ecdsa.PrivateKey:
		alg = jose.ES384
		if k.Curve.Params().BitSize != 384 {
			return "", errors.New("oauth: an EC signing key has to be on P-384")
		}
	case *rsa.PrivateKey:
		alg = jose.RS384
	default:
		return "", errors.New("oauth: the signing key is not a private EC or RSA key")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: jwk.Key, KeyID: jwk.KeyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("oauth: preparing to sign: %w", err)
	}
	return signClaims(signer, newClaims(clientID, tokenURL, purpose, now))
}

// signClaims makes a JWT in compact form.
func signClaims(signer jose.Signer, claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("oauth: encoding claims: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("oauth: signing: %w", err)
	}
	return signed.CompactSerialize()
}

func newClaims(clientID, tokenURL, purpose string, now time.Time) map[string]any {
	claims := map[string]any{
		"iss": clientID,
		"sub": clientID,
		"aud": tokenURL,
		"iat": now.Unix(),
		"exp": now.Add(assertionLife).Unix(),
		"jti": uuid.NewString(),
	}
	if purpose != "" {
		claims["extensions"] = map[string]any{"hl7-b2b": map[string]any{
			"version":        "1",
			"purpose_of_use": []string{actReasonOID + purpose},
		}}
	}
	return claims
}
