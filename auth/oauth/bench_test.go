package oauth_test

import (
	"net/http/httptest"
	"testing"
)

// The check of a bearer token stands in front of every read.
func BenchmarkAuthenticate(b *testing.B) {
	f := newFixture(b)
	token := f.token(b, "system/*.rs")
	b.RunParallel(func(pb *testing.PB) {
		r := httptest.NewRequest("GET", "/fhir/Patient/1", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		for pb.Next() {
			if _, err := f.server.Authenticate(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
