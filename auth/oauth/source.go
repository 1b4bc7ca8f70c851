package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// TokenSource is the client side of Backend Services: it fetches access tokens and keeps one per scope set until
// shortly before it expires. Callers that ask for the same scopes at once share one request. Fields are set before
// first use; then it is safe for concurrent use.
type TokenSource struct {
	HTTP     *http.Client // nil: a client with a 30 s timeout. Redirects are never followed.
	TokenURL string
	ClientID string
	Key      []byte // private JWK, see NewKey
	Purpose  string // optional; sent in the assertion
	Now      func() time.Time

	mu     sync.Mutex
	tokens map[string]*held
}

// held is one token, or the flight that is fetching it. The fields after done are written before it is closed.
type held struct {
	done  chan struct{}
	token string
	renew time.Time // ask for a new one from here on
	err   error
}

// A Refusal is the token endpoint's error answer.
type Refusal struct {
	Status int
	Code   string // OAuth error code, e.g. invalid_client; empty when the answer held none
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("oauth: token endpoint answered %d %s", r.Status, r.Code)
}

// Token returns a token for the scopes (separated by spaces), from the cache when it is good for a while yet. The
// error is a *Refusal when the server said no. A failure is not kept: the next call tries again.
func (s *TokenSource) Token(ctx context.Context, scopes string) (string, error) {
	h, mine := s.claim(scopes)
	if mine {
		// The flight serves others too, so it outlives the caller that happened to start it.
		go s.fly(context.WithoutCancel(ctx), scopes, h)
	}
	select {
	case <-h.done:
		return h.token, h.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Forget drops the cached token of the scopes, to be called after a resource server answered 401 to it.
func (s *TokenSource) Forget(scopes string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.tokens[scopes]; ok && h.finished() {
		delete(s.tokens, scopes)
	}
}

// claim returns the current entry, or a fresh one which the caller has to fetch.
func (s *TokenSource) claim(scopes string) (h *held, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.tokens[scopes]; ok && (!h.finished() || (h.err == nil && s.now().Before(h.renew))) {
		return h, false
	}
	if s.tokens == nil {
		s.tokens = map[string]*held{}
	}
	h = &held{done: make(chan struct{})}
	s.tokens[scopes] = h
	return h, true
}

func (h *held) finished() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

func (s *TokenSource) fly(ctx context.Context, scopes string, h *held) {
	defer close(h.done)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	asked := s.now()
	token, life, err := s.fetch(ctx, scopes, asked)
	if err != nil {
		h.err = err
		return
	}
	h.token = token
	h.renew = asked.Add(life - min(life/5, 30*time.Second))
}

func (s *TokenSource) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *TokenSource) fetch(ctx context.Context, scopes string, now time.Time) (string, time.Duration, error) {
	assertion, err := SignAssertion(s.Key, s.ClientID, s.TokenURL, s.Purpose, now)
	if err != nil {
		return "", 0, err
	}
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"scope":                 {scopes},
		"client_assertion_type": {assertionType},
		"client_assertion":      {assertion},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, errors.New("oauth: the token URL is malformed")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	response, err := s.client().Do(request)
	if err != nil {
		return "", 0, fmt.Errorf("oauth: asking for a token: %w", err)
	}
	token, life, err := readTokenResponse(response)
	return token, life, errors.Join(err, response.Body.Close())
}

// client is the caller's with redirects switched off: following one would hand the assertion to another server.
func (s *TokenSource) client() *http.Client {
	c := http.Client{Timeout: 30 * time.Second}
	if s.HTTP != nil {
		c = *s.HTTP
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// readTokenResponse reads RFC 6749 section 5.1, or the error of section 5.2.
func readTokenResponse(response *http.Response) (string, time.Duration, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", 0, fmt.Errorf("oauth: reading the token answer: %w", err)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
	}
	err = json.Unmarshal(body, &answer)
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return "", 0, &Refusal{Status: response.StatusCode, Code: errorCode(answer.Error)}
	}
	if err != nil || answer.AccessToken == "" || !strings.EqualFold(answer.TokenType, "bearer") {
		return "", 0, errors.New("oauth: the token answer holds no bearer token")
	}
	life := time.Duration(min(max(answer.ExpiresIn, 0), 3600) * float64(time.Second))
	return answer.AccessToken, life, nil
}

// errorCode lets only what can be an OAuth error code into error texts and logs.
func errorCode(text string) string {
	if len(text) > 64 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return text
}
