package rest

import (
	"crypto/sha256"
	"strings"

	"trellis/fhir"
	"trellis/gateway/store"
)

// maxKey bounds an Idempotency-Key.
const maxKey = 255

// once reads the Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): a client that did not hear the
// answer may send the same write with the same key again within a day and learns what became of it. The hash covers
// whatever makes the write.
func (k *call) once() (*store.Once, error) {
	key := k.c.GetHeader("Idempotency-Key")
	if key == "" {
		return nil, nil
	}
	if len(key) > maxKey {
		return nil, fhir.NewProblem(fhir.Invalid, "too-long", "the Idempotency-Key is longer than 255 characters")
	}
	r := k.c.Request
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("If-Match"), r.Header.Get("If-None-Exist"), r.Header.Get("Content-Type"), r.Header.Get("X-Security-Context")} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(k.sent)
	client := k.caller.principal.Client
	if p := k.caller.principal; p.User != "" { // people who use one app do not meet each other's keys
		client = strings.Join([]string{client, p.User, p.Organization.ID, k.caller.reach.launch}, " ")
	}
	return &store.Once{Client: client, Key: key, Request: [sha256.Size]byte(h.Sum(nil))}, nil
}
