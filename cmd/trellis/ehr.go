package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// loopbackEHR is the demonstration's partner: a FHIR endpoint on this machine that takes
// DocumentReferences behind a token endpoint and shows what it received. It keeps them in one file and is
// no part of a real installation.
type loopbackEHR struct {
	base     string
	server   *http.Server
	mu       sync.Mutex
	tokens   map[string]bool
	received []json.RawMessage
	file     string // one received document per line
}

func startEHR(file string) (*loopbackEHR, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &loopbackEHR{base: "http://" + listener.Addr().String(), tokens: map[string]bool{}, file: file}
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, listener.Close())
	}
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		if len(line) > 0 {
			e.received = append(e.received, line)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", e.token)
	mux.HandleFunc("POST /fhir/DocumentReference", e.create)
	mux.HandleFunc("GET /fhir/DocumentReference", e.list)
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := e.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			e.base = ""
		}
	}()
	return e, nil
}

func (e *loopbackEHR) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Get("client_assertion") == "" {
		http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
		return
	}
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
		return
	}
	token := hex.EncodeToString(raw)
	e.mu.Lock()
	e.tokens["Bearer "+token] = true
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":300,"scope":%q}`, token, r.PostForm.Get("scope"))
}

func (e *loopbackEHR) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil || !e.tokens[r.Header.Get("Authorization")] {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err := e.keep(body); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	e.received = append(e.received, body)
	w.Header().Set("Location", fmt.Sprintf("%s/fhir/DocumentReference/%d", e.base, len(e.received)))
	w.WriteHeader(http.StatusCreated)
}

func (e *loopbackEHR) keep(body []byte) error {
	f, err := os.OpenFile(e.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(bytes.ReplaceAll(body, []byte("\n"), []byte(" ")), '\n'))
	return errors.Join(err, f.Close())
}

// list shows what was received, newest last. It is open: the tour looks at it with curl.
func (e *loopbackEHR) list(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	entries := make([]map[string]json.RawMessage, 0, len(e.received))
	for _, doc := range e.received {
		entries = append(entries, map[string]json.RawMessage{"resource": doc})
	}
	w.Header().Set("Content-Type", "application/fhir+json")
	if err := json.NewEncoder(w).Encode(map[string]any{"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}); err != nil {
		return
	}
}

func (e *loopbackEHR) close() error { return e.server.Close() }
