package oauth

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Row 7: fosite's fetcher caches an hour whatever Cache-Control says, refetches on every unknown kid, reads without
// bound, retries, follows redirects and dials any address.

func TestRow7Addresses(t *testing.T) {
	for text, want := range map[string][2]bool{ // strict, AllowPrivate
		"93.184.216.34":          {true, true},
		"2606:2800:220:1::1":     {true, true},
		"127.0.0.1":              {false, true},
		"::1":                    {false, true},
		"::ffff:127.0.0.1":       {false, true},
		"10.0.0.1":               {false, true},
		"172.16.3.4":             {false, true},
		"192.168.1.1":            {false, true},
		"::ffff:10.0.0.1":        {false, true},
		"fd12::1":                {false, true},
		"fd00:ec2::254":          {false, false},
		"169.254.169.254":        {false, false},
		"::ffff:169.254.169.254": {false, false},
		"168.63.129.16":          {false, false},
		"fe80::1":                {false, false},
		"fe80::1%eth0":           {false, false},
		"100.64.0.1":             {false, false},
		"100.127.255.255":        {false, false},
		"0.0.0.0":                {false, false},
		"0.1.2.3":                {false, false},
		"::":                     {false, false},
		"::127.0.0.1":            {false, false},
		"224.0.0.1":              {false, false},
		"255.255.255.255":        {false, false},
		"240.0.0.1":              {false, false},
		"192.0.2.1":              {false, false},
		"198.18.0.1":             {false, false},
		"64:ff9b::7f00:1":        {false, false},
		"2002:7f00:1::":          {false, false},
		"2001:0:1::1":            {false, false},
		"fec0::1":                {false, false},
		"ff02::1":                {false, false},
	} {
		addr := netip.MustParseAddr(text)
		if got := [2]bool{Permitted(addr, false), Permitted(addr, true)}; got != want {
			t.Errorf("%s permitted %v, want %v", text, got, want)
		}
	}
	if Permitted(netip.Addr{}, true) {
		t.Error("the zero address is permitted")
	}
}

func TestRow7URLs(t *testing.T) {
	strict, lax := NewFetcher(FetcherConfig{}), NewFetcher(FetcherConfig{AllowPrivate: true})
	for location, want := range map[string][2]bool{
		"https://ehr.example/jwks":       {true, true},
		"http://ehr.example/jwks":        {false, false},
		"http://127.0.0.1/jwks":          {false, true},
		"http://[::1]/jwks":              {false, true},
		"http://localhost:8080/jwks":     {false, true},
		"http://10.0.0.1/jwks":           {false, false},
		"http://localhost.evil.example/": {false, false},
		"https://user:pw@ehr.example/":   {false, false},
		"https:///jwks":                  {false, false},
		"file:///etc/passwd":             {false, false},
		"gopher://127.0.0.1/":            {false, false},
		"":                               {false, false},
		"https://ehr.example/jwks#x":     {false, false},
	} {
		if got := [2]bool{strict.checkURL(location) == nil, lax.checkURL(location) == nil}; got != want {
			t.Errorf("%q allowed %v, want %v", location, got, want)
		}
	}
}

// world is a fake internet: names resolve as told, and every permitted dial ends at one TLS test server.
type world struct {
	mu      sync.Mutex
	at      time.Time
	dialled []string
	fetches atomic.Int64
	serve   http.HandlerFunc
	addrs   func(host string) []netip.Addr
	fetcher *Fetcher
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{at: time.Unix(1_800_000_000, 0), addrs: func(string) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("93.184.216.34")}
	}}
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.fetches.Add(1)
		w.serve(rw, r)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	w.fetcher = NewFetcher(FetcherConfig{
		RootCAs: roots,
		Now:     func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.at },
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) { return w.addrs(host), nil },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			w.mu.Lock()
			w.dialled = append(w.dialled, address)
			w.mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
	})
	return w
}

func (w *world) advance(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.at = w.at.Add(d) }

// get fetches from a name the test certificate is good for.
func (w *world) get(t *testing.T, kid string) error {
	t.Helper()
	_, err := w.fetcher.JWKS(t.Context(), "https://example.com/jwks", kid)
	return err
}

func keysWith(control string, kids ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if control != "" {
			w.Header().Set("Cache-Control", control)
		}
		var list []string
		for _, kid := range kids {
			list = append(list, fmt.Sprintf(`{"kty":"EC","kid":%q}`, kid))
		}
		_, _ = io.WriteString(w, `{"keys":[`+strings.Join(list, ",")+`]}`)
	}
}

func TestRow7CacheIsMinOfMaxAgeAndCap(t *testing.T) {
	for control, life := range map[string]time.Duration{
		"max-age=60":             time.Minute,
		"public, max-age=60":     time.Minute,
		`max-age="60"`:           time.Minute,
		"max-age=86400":          maxCacheFor,
		"max-age=99999999999999": maxCacheFor,
		"":                       defaultCacheFor,
		"max-age=0":              0,
		"no-store":               0,
		"No-Cache, max-age=60":   0,
		"max-age=-5":             0,
		"max-age=x":              0,
	} {
		t.Run(control, func(t *testing.T) {
			w := newWorld(t)
			w.serve = keysWith(control, "k1")
			step := func(d time.Duration, want int64) {
				t.Helper()
				w.advance(d)
				if err := w.get(t, "k1"); err != nil {
					t.Fatal(err)
				}
				if n := w.fetches.Load(); n != want {
					t.Fatalf("%d fetches, want %d", n, want)
				}
			}
			step(0, 1)
			if life == 0 {
				step(0, 2)
				return
			}
			step(life-time.Second, 1)
			step(time.Second, 2)
		})
	}
}

func TestRow7UnknownKidAndFailuresAreRemembered(t *testing.T) {
	w := newWorld(t)
	w.serve = keysWith("max-age=3600", "k1")
	for i := range 50 {
		if err := w.get(t, fmt.Sprintf("unknown-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for unknown kids, want 1", n)
	}
	w.serve = keysWith("max-age=3600", "k1", "k2") // the client rotates
	w.advance(missFor)
	if err := w.get(t, "k2"); err != nil || w.fetches.Load() != 2 {
		t.Errorf("rotation: %v after %d fetches", err, w.fetches.Load())
	}
	w.serve = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }
	w.advance(2 * time.Hour)
	for range 10 {
		if err := w.get(t, "k1"); err == nil {
			t.Fatal("a failed fetch served old keys")
		}
	}
	if n := w.fetches.Load(); n != 3 {
		t.Errorf("%d fetches, want 3: one failure is remembered", n)
	}
	w.serve = keysWith("", "k1")
	w.advance(failureFor)
	if err := w.get(t, "k1"); err != nil {
		t.Errorf("recovery: %v", err)
	}
}

func TestRow7NoRedirect(t *testing.T) {
	for _, target := range []string{"http://169.254.169.254/latest/meta-data/", "https://example.com/other"} {
		w := newWorld(t)
		w.serve = func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, target, http.StatusFound) }
		if err := w.get(t, "k1"); err == nil || w.fetches.Load() != 1 {
			t.Errorf("redirect to %s: %v after %d fetches", target, err, w.fetches.Load())
		}
	}
}

func TestRow7Size(t *testing.T) {
	w := newWorld(t)
	w.serve = func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, `{"keys":[],"x":"`)
		for range 1 << 12 {
			if _, err := io.WriteString(rw, strings.Repeat("x", 1<<10)); err != nil {
				return
			}
		}
	}
	if err := w.get(t, "k1"); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}
	w = newWorld(t)
	w.serve = keysWith("", make([]string, maxKeys+1)...)
	if err := w.get(t, "k1"); err == nil {
		t.Error("a set of too many keys was taken")
	}
	w = newWorld(t)
	w.serve = func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "<html>") }
	if err := w.get(t, "k1"); err == nil {
		t.Error("HTML was taken for a key set")
	}
}

func TestRow7Time(t *testing.T) {
	w := newWorld(t)
	w.fetcher.client.Timeout = time.Millisecond
	w.serve = func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done() // headers at once, a body never
	}
	if err := w.get(t, "k1"); err == nil {
		t.Error("an endless body was waited for")
	}
}

// A name that resolves to a public address when looked at and to a private one when dialled: there is one look.
func TestRow7DNSRebinding(t *testing.T) {
	w := newWorld(t)
	w.serve = keysWith("no-store", "k1")
	var looks atomic.Int64
	w.addrs = func(string) []netip.Addr {
		if looks.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	if err := w.get(t, "k1"); err != nil {
		t.Fatal(err)
	}
	if len(w.dialled) != 1 || w.dialled[0] != "93.184.216.34:443" || looks.Load() != 1 {
		t.Errorf("dialled %v after %d look-ups", w.dialled, looks.Load())
	}
	w.fetcher.client.CloseIdleConnections()
	if err := w.get(t, "k1"); err == nil || len(w.dialled) != 1 {
		t.Errorf("rebound: %v, dialled %v", err, w.dialled)
	}
	w.addrs = func(string) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("169.254.169.254")}
	}
	w.advance(failureFor)
	if err := w.get(t, "k1"); err == nil || len(w.dialled) != 1 {
		t.Errorf("mixed answer: %v, dialled %v", err, w.dialled)
	}
}

func TestRow7OneFlight(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.serve = func(rw http.ResponseWriter, r *http.Request) { <-release; keysWith("", "k1")(rw, r) }
	var wg sync.WaitGroup
	var started sync.WaitGroup
	for range 20 {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			if err := w.get(t, "k1"); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	close(release)
	wg.Wait()
	if n := w.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for 20 callers", n)
	}
}

func TestCheckKeys(t *testing.T) {
	private, public, err := NewKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckKeys(public); err != nil {
		t.Error(err)
	}
	for name, jwks := range map[string]string{
		"private":   `{"keys":[` + string(private) + `]}`,
		"symmetric": `{"keys":[{"kty":"oct","k":"AAAA","kid":"k1"}]}`,
		"empty":     `{"keys":[]}`,
		"no json":   `keys`,
		"bare key":  string(private),
		"no kid":    strings.Replace(string(public), `"kid":"k1",`, "", 1),
		"unknown":   `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"k1"}]}`,
	} {
		if err := CheckKeys([]byte(jwks)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func FuzzReadAssertion(f *testing.F) {
	key, _, err := NewKey("k1")
	if err != nil {
		f.Fatal(err)
	}
	good, err := SignAssertion(key, "ehr", "https://x/token", "TREAT", time.Unix(1_800_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add("bnVsbA.bnVsbA.")
	f.Fuzz(func(t *testing.T, raw string) {
		h, c, err := readAssertion(raw)
		if err == nil && (h.kid == "" || c.iss == "" || c.exp.IsZero()) {
			t.Fatalf("accepted without kid, iss or exp: %+v %+v", h, c)
		}
		claimPurpose(c.extensions)
	})
}
