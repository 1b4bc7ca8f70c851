package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"trellis/auth/oauth"
)

// SaveAuthorization implements oauth.Grants.
func (m *Memory) SaveAuthorization(_ context.Context, a oauth.Authorization) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.grants[a.ID]; there {
		return errors.New("storetest: authorization exists")
	}
	m.grants[a.ID] = a
	return nil
}

// Authorization implements oauth.Grants.
func (m *Memory) Authorization(_ context.Context, id string) (oauth.Authorization, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.grants[id]
	if !ok {
		return oauth.Authorization{}, oauth.ErrNotFound
	}
	return a, nil
}

// Authorizations implements oauth.Grants.
func (m *Memory) Authorizations(_ context.Context, user string, at time.Time) ([]oauth.Authorization, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []oauth.Authorization
	for _, a := range m.grants {
		if a.Context.User == user && a.Revoked.IsZero() && at.Before(a.Expires) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b oauth.Authorization) int { return b.Created.Compare(a.Created) })
	return out, nil
}

// RevokeAuthorization implements oauth.Grants.
func (m *Memory) RevokeAuthorization(_ context.Context, id string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.grants[id]
	if !ok {
		return oauth.ErrNotFound
	}
	if a.Revoked.IsZero() {
		a.Revoked = at
	}
	m.grants[id] = a
	for signature, t := range m.tokens {
		if t.RequestID == id {
			t.Revoked = true
			m.tokens[signature] = t
		}
	}
	return nil
}

// Issue implements oauth.Grants.
func (m *Memory) Issue(_ context.Context, i oauth.Issue) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.grants[i.Authorization]
	if !ok || !a.Revoked.IsZero() || !i.At.Before(a.Expires) {
		return oauth.ErrRevoked
	}
	var code oauth.Ticket
	if i.Code != nil {
		if code = m.tickets[[2]string{i.Code.Kind, i.Code.ID}]; code.ID == "" || code.Taken {
			return oauth.ErrTaken
		}
	}
	if old := m.tokens[i.Refresh]; i.Refresh != "" {
		if old.Signature == "" || old.Used {
			return oauth.ErrTaken
		}
		old.Used = true
		m.tokens[i.Refresh] = old
	}
	if i.Code != nil {
		code.Taken = true
		m.tickets[[2]string{code.Kind, code.ID}] = code
	}
	for _, t := range i.Tokens {
		m.tokens[t.Signature] = t
	}
	a.Used, a.Expires = i.At, i.Expires
	m.grants[a.ID] = a
	return nil
}

// PutTicket implements oauth.Tickets.
func (m *Memory) PutTicket(_ context.Context, t oauth.Ticket) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.Taken, t.Body = false, slices.Clone(t.Body)
	m.tickets[[2]string{t.Kind, t.ID}] = t
	return nil
}

// Ticket implements oauth.Tickets.
func (m *Memory) Ticket(_ context.Context, kind, id string) (oauth.Ticket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tickets[[2]string{kind, id}]
	if !ok {
		return oauth.Ticket{}, oauth.ErrNotFound
	}
	return t, nil
}

// TakeTicket implements oauth.Tickets.
func (m *Memory) TakeTicket(_ context.Context, kind, id string) (oauth.Ticket, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tickets[[2]string{kind, id}]
	switch {
	case !ok:
		return oauth.Ticket{}, oauth.ErrNotFound
	case t.Taken:
		return oauth.Ticket{}, oauth.ErrTaken
	}
	t.Taken = true
	m.tickets[[2]string{kind, id}] = t
	return t, nil
}

// DropTicket implements oauth.Tickets.
func (m *Memory) DropTicket(_ context.Context, kind, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tickets, [2]string{kind, id})
	return nil
}
