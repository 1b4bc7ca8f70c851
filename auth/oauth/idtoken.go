package oauth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
)

// NewSigningKey makes an RSA key for signing id_tokens (RS256), as a private JWK.
func NewSigningKey(kid string) ([]byte, error) {
	if kid == "" || len(kid) > maxName {
		return nil, errors.New("oauth: a key needs a kid of 1 to 256 bytes")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("oauth: generating a key: %w", err)
	}
	return json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(jose.RS256), Use: "sig"})
}

// idTokens signs id_tokens (OpenID Connect Core section 2). fosite's own strategy asks the machine's clock and, given a bare
// key, writes no kid.
type idTokens struct{ s *Server }

// GenerateIDToken implements openid.OpenIDConnectTokenStrategy.
func (t idTokens) GenerateIDToken(ctx context.Context, _ time.Duration, r fosite.Requester) (string, error) {
	sess, ok := r.GetSession().(*session)
	if !ok {
		return "", errUnused
	}
	return t.signWith(ctx, sess, sess.claims.AccessTokenHash)
}

func (t idTokens) sign(ctx context.Context, sess *session, access string) (string, error) {
	sum := sha256.Sum256([]byte(access))
	return t.signWith(ctx, sess, base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2]))
}

func (t idTokens) signWith(ctx context.Context, sess *session, accessHash string) (string, error) {
	keys, err := t.s.signingKeys(ctx)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: keys[0]}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("oauth: preparing to sign: %w", err)
	}
	now := t.s.cfg.Now()
	who := sess.grant.Context
	claims := map[string]any{
		"iss": t.s.cfg.Issuer, "sub": who.User, "aud": sess.client.ID, "iat": now.Unix(), "exp": now.Add(AppLifetime).Unix(),
		"auth_time": who.AuthTime.Unix(), "at_hash": accessHash,
	}
	if sess.code.Nonce != "" {
		claims["nonce"] = sess.code.Nonce
	}
	for name, value := range t.s.identity(who, sess.access.Scopes) {
		claims[name] = value
	}
	return signClaims(signer, claims)
}

// identity is what the scopes let an app know of who signed in.
func (s *Server) identity(who Context, scopes []string) map[string]any {
	out := map[string]any{}
	for _, scope := range scopes {
		switch {
		case scope == "fhirUser" && who.FHIRUser != "":
			out["fhirUser"] = s.cfg.FHIRBase + "/" + who.FHIRUser
		case scope == "profile" && who.Name != "":
			out["name"] = who.Name
		}
	}
	return out
}

func (s *Server) signingKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	raw, err := s.cfg.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("oauth: reading the signing keys: %w", err)
	}
	var out []jose.JSONWebKey
	for _, one := range raw {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil {
			return nil, errors.New("oauth: a signing key cannot be read")
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, errors.New("oauth: there is no signing key")
	}
	return out, nil
}

// Keys answers the JWKS endpoint: the public halves of all signing keys (RFC 7517 section 5).
func (s *Server) Keys(w http.ResponseWriter, r *http.Request) {
	keys, err := s.signingKeys(r.Context())
	if err != nil {
		s.refuse(r.Context(), w, r, serverError(err))
		return
	}
	var set jose.JSONWebKeySet
	for _, key := range keys {
		set.Keys = append(set.Keys, key.Public())
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	s.writeJSON(r.Context(), w, http.StatusOK, set)
}
