package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"trellis/auth/oauth"
)

// Memory is an oauth.Store, oauth.Grants and oauth.Tickets in memory, held to the same suite as the real ones. For tests only: it forgets nothing
// and survives nothing.
type Memory struct {
	mu         sync.Mutex
	clients    map[string]oauth.Client
	assertions map[[2]string]time.Time
	tokens     map[string]oauth.Token
	grants     map[string]oauth.Authorization
	tickets    map[[2]string]oauth.Ticket
	reads      int
}

// NewMemory returns a store that knows the clients.
func NewMemory(clients ...oauth.Client) *Memory {
	m := &Memory{
		clients:    map[string]oauth.Client{},
		assertions: map[[2]string]time.Time{},
		tokens:     map[string]oauth.Token{},
		grants:     map[string]oauth.Authorization{},
		tickets:    map[[2]string]oauth.Ticket{},
	}
	for _, c := range clients {
		m.Know(c)
	}
	return m
}

// NewClient implements oauth.Registry.
func (m *Memory) NewClient(_ context.Context, c oauth.Client) error {
	m.Know(c)
	return nil
}

// ChangeClient implements oauth.Registry.
func (m *Memory) ChangeClient(_ context.Context, id string, change func(*oauth.Client) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.clients[id]
	if !ok {
		return oauth.ErrNotFound
	}
	if err := change(&c); err != nil {
		return err
	}
	m.clients[id] = c
	return nil
}

// Know registers a client for a test.
func (m *Memory) Know(c oauth.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients[c.ID] = c
}

// Reads counts the calls of Token and Client, Burned those assertions that were used up, Tokens what was issued.
func (m *Memory) Reads() int { m.mu.Lock(); defer m.mu.Unlock(); return m.reads }

// Burned returns how many assertions have been used up.
func (m *Memory) Burned() int { m.mu.Lock(); defer m.mu.Unlock(); return len(m.assertions) }

// Everything is all that is kept, for a test that looks for what must not be.
func (m *Memory) Everything() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out strings.Builder
	for _, t := range m.tickets {
		fmt.Fprintf(&out, "%+v %s\n", t, t.Body)
	}
	fmt.Fprintf(&out, "%+v\n%+v\n%+v\n%+v\n", m.clients, m.tokens, m.grants, m.assertions)
	return out.String()
}

// Tokens returns all tokens, in no order.
func (m *Memory) Tokens() []oauth.Token {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []oauth.Token
	for _, t := range m.tokens {
		list = append(list, t)
	}
	return list
}

// Client implements oauth.Store.
func (m *Memory) Client(_ context.Context, id string) (oauth.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	c, ok := m.clients[id]
	if !ok {
		return oauth.Client{}, oauth.ErrNotFound
	}
	return c, nil
}

// UseAssertion implements oauth.Store.
func (m *Memory) UseAssertion(_ context.Context, issuer, jti string, expires time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{issuer, jti}
	if _, used := m.assertions[key]; used {
		return oauth.ErrReplayed
	}
	m.assertions[key] = expires
	return nil
}

// SaveToken implements oauth.Store.
func (m *Memory) SaveToken(_ context.Context, t oauth.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.tokens[t.Signature]; there {
		return errors.New("storetest: signature exists")
	}
	t.Scopes = slices.Clone(t.Scopes)
	m.tokens[t.Signature] = t
	return nil
}

// Token implements oauth.Store.
func (m *Memory) Token(_ context.Context, signature string) (oauth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	t, ok := m.tokens[signature]
	if !ok {
		return oauth.Token{}, oauth.ErrNotFound
	}
	return t, nil
}

// RevokeToken implements oauth.Store.
func (m *Memory) RevokeToken(_ context.Context, requestID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := oauth.ErrNotFound
	for key, t := range m.tokens {
		if t.RequestID == requestID {
			t.Revoked, err = true, nil
			m.tokens[key] = t
		}
	}
	return err
}
