package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"trellis/auth/oauth"
)

// tokens measures the token endpoint, and what the check of a token is of a read.
func (b *storeBench) tokens(ctx context.Context) error {
	requests, err := b.signed(8000)
	if err != nil {
		return err
	}
	var next atomic.Int64
	request := func(*rand.Rand) []byte { return requests[min(int(next.Add(1)), len(requests))-1] }
	if err := b.alone(ctx, "token endpoint, private_key_jwt ES384, a new assertion each", b.clients, request); err != nil {
		return err
	}
	return b.tokenCheck(ctx)
}

// signed makes token requests beforehand: signing is the client's work.
func (b *storeBench) signed(n int) ([][]byte, error) {
	out := make([][]byte, n)
	var g errgroup.Group
	g.SetLimit(2)
	for half := range 2 {
		g.Go(func() error {
			for i := half; i < n; i += 2 {
				assertion, err := oauth.SignAssertion(b.site.keys[benchReader], benchReader, b.site.tokenURL, "TREAT", time.Now())
				if err != nil {
					return err
				}
				body := url.Values{"grant_type": {"client_credentials"}, "scope": {"system/*.rs"}, "client_assertion": {assertion},
					"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}.Encode()
				out[i] = fmt.Appendf(nil, "POST /oauth/token HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			return nil
		})
	}
	return out, g.Wait()
}

// tokenCheck compares what one check costs, over a second so that the store is asked as often as it would be, with what one
// read takes one client.
func (b *storeBench) tokenCheck(ctx context.Context) error {
	if err := b.site.renew(ctx); err != nil {
		return err
	}
	side := httpSide(b.site.address, 1, 200, b.readRequest)
	read, err := side.run(ctx, b.seconds)
	if err != nil || read.errors > 0 {
		return fmt.Errorf("reading: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.site.base+"/Observation/x", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+b.site.tokens[benchReader])
	n := 0
	begin := time.Now()
	for time.Since(begin) < time.Second {
		if _, err := b.site.checker.Authenticate(r); err != nil {
			return err
		}
		n++
	}
	check := time.Since(begin) / time.Duration(n)
	b.single("checking a token, of a read by one client", fmt.Sprintf("%.1f us of %.0f us: %.1f %%", check.Seconds()*1e6, read.quantile(0.5).Seconds()*1e6, 100*check.Seconds()/read.quantile(0.5).Seconds()), "< 5 %")
	return nil
}
