package rest

import (
	"crypto/sha256"

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
	return &store.Once{Client: k.caller.principal.Client, Key: key, Request: [sha256.Size]byte(h.Sum(nil))}, nil
}
