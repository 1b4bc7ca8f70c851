package oauth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of a fetch. A key set larger or slower than this is refused.
const (
	maxJWKS         = 128 << 10
	fetchTimeout    = 5 * time.Second
	defaultCacheFor = 5 * time.Minute  // the server gave no Cache-Control
	maxCacheFor     = time.Hour        // cap on what the server gave
	failureFor      = 10 * time.Second // a failed fetch is not repeated sooner
	missFor         = 10 * time.Second // an unknown kid forces no fetch sooner after the last one
	maxFetched      = 10_000
)

// FetcherConfig is what a Fetcher is made of; the zero value is the strict production setting.
type FetcherConfig struct {
	// AllowPrivate lets key sets be fetched from loopback and private networks, and by plain http from loopback. It
	// is for a demonstration on one machine or a deployment inside one network. Link-local addresses, where cloud
	// metadata services live, stay refused.
	AllowPrivate bool
	RootCAs      *x509.CertPool // nil: the system's
	Timeout      time.Duration  // of a whole fetch; 0: 5 s
	Now          func() time.Time
	// Dial replaces the network below the address check, which still sees every address it is given. nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve turns a host into addresses. nil: the system resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Fetcher is the KeyFetcher of production: https only, no redirects, no proxy, addresses checked after resolution and
// dialled as checked (a second resolution cannot slip in), size and time bounded. A key set is kept for the smaller of
// Cache-Control max-age and an hour, never longer than its server said; failures and unknown kids are remembered
// briefly, so that bad requests do not become outbound ones.
type Fetcher struct {
	cfg    FetcherConfig
	client *http.Client

	mu      sync.Mutex
	entries map[string]*fetched
}

// fetched is one key set, or the flight that is getting it. All but done is written before done is closed.
type fetched struct {
	done    chan struct{}
	jwks    []byte
	kids    map[string]bool
	err     error
	at      time.Time
	expires time.Time
}

var errFetch = errors.New("oauth: key set cannot be fetched")

// NewFetcher makes a Fetcher. It opens no connection.
func NewFetcher(cfg FetcherConfig) *Fetcher {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = fetchTimeout
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: fetchTimeout}).DialContext
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	f := &Fetcher{cfg: cfg, entries: map[string]*fetched{}}
	f.client = &http.Client{
		Timeout:       cfg.Timeout,
		Transport:     f.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

// JWKS returns the key set at the URL. It returns the kept one unless that has expired or lacks kid.
func (f *Fetcher) JWKS(ctx context.Context, location, kid string) ([]byte, error) {
	if err := f.checkURL(location); err != nil {
		return nil, err
	}
	e, mine := f.claim(location, kid)
	if mine {
		go f.fly(context.WithoutCancel(ctx), location, e)
	}
	select {
	case <-e.done:
		return e.jwks, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// checkURL admits https, and http to this very machine when private addresses are allowed.
func (f *Fetcher) checkURL(location string) error {
	u, err := url.Parse(location)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%w: malformed URL", errFetch)
	}
	if u.Scheme == "https" {
		return nil
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	if u.Scheme == "http" && f.cfg.AllowPrivate && (host == "localhost" || (err == nil && addr.Unmap().IsLoopback())) {
		return nil
	}
	return fmt.Errorf("%w: not https", errFetch)
}

// claim returns the entry to wait for; mine when the caller has to fill it.
func (f *Fetcher) claim(location, kid string) (e *fetched, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Now()
	if e, ok := f.entries[location]; ok && e.usable(kid, now) {
		return e, false
	}
	if len(f.entries) >= maxFetched {
		for key, old := range f.entries {
			if old.finished() {
				delete(f.entries, key)
			}
		}
	}
	e = &fetched{done: make(chan struct{}), at: now}
	f.entries[location] = e
	return e, true
}

func (e *fetched) finished() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// usable reports whether the entry answers a question for kid at now. A flight under way answers every question.
func (e *fetched) usable(kid string, now time.Time) bool {
	if !e.finished() {
		return true
	}
	age := now.Sub(e.at)
	if age < 0 || !now.Before(e.expires) {
		return false
	}
	return e.err != nil || e.kids[kid] || age < missFor
}

func (f *Fetcher) fly(ctx context.Context, location string, e *fetched) {
	defer close(e.done)
	jwks, keep, err := f.fetch(ctx, location)
	if err != nil {
		e.err, e.expires = err, e.at.Add(failureFor)
		return
	}
	e.jwks, e.kids, e.expires = jwks, kidsOf(jwks), e.at.Add(keep)
}

// fetch gets the document once and says how long it may be kept.
func (f *Fetcher) fetch(ctx context.Context, location string) (jwks []byte, keep time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: malformed URL", errFetch)
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errFetch, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%w: status %d", errFetch, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errFetch, err)
	}
	if len(body) > maxJWKS {
		return nil, 0, fmt.Errorf("%w: too large", errFetch)
	}
	if _, err := splitKeys(body); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errFetch, err)
	}
	return body, cacheFor(response.Header), nil
}

// cacheFor is min(max-age, cap): SMART forbids keeping keys longer than the client's Cache-Control says.
func cacheFor(h http.Header) time.Duration {
	values := h.Values("Cache-Control")
	if len(values) == 0 {
		return defaultCacheFor
	}
	keep := defaultCacheFor
	for directive := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
			if err != nil || seconds < 0 {
				return 0
			}
			keep = time.Duration(min(seconds, int64(maxCacheFor/time.Second))) * time.Second
		}
	}
	if age, err := strconv.ParseInt(h.Get("Age"), 10, 64); err == nil && age > 0 {
		keep -= time.Duration(min(age, int64(keep/time.Second))) * time.Second
	}
	return keep
}

func kidsOf(jwks []byte) map[string]bool {
	kids := map[string]bool{}
	raws, err := splitKeys(jwks)
	if err != nil {
		return kids
	}
	for _, raw := range raws {
		if members, err := rawObject(raw); err == nil {
			kids[text(members["kid"])] = true
		}
	}
	return kids
}
