package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"trellis/auth/oauth"
	"trellis/auth/people"
)

// How long a session lasts without a request, and at all.
const (
	idleLife    = 30 * time.Minute
	sessionLife = 12 * time.Hour
	// idleStep is how exact the first of them is: one write in that time.
	idleStep = time.Minute
)

// The kinds of tickets. Their ids are digests of names only the browser holds, but for ticketLogin's, which is a
// session's root.
const (
	ticketSession = "session"
	ticketFlow    = "flow"
	ticketRequest = "flow-request"
	ticketForm    = "form"
	ticketEnroll  = "enroll"
	ticketStep    = "totp"
	// ticketLogin stands for as long as the session is used now and then.
	ticketLogin = "login"
	// ticketOnline stands from signing in to signing out, or for as long as a session can last; its id is
	// oauth.Context.Session, its body the stamp of the account. Whoever works in an app is online though no page of ours is used.
	ticketOnline = "online"
)

// session is who sits at a browser. It is never rewritten: what changes it makes a new one under a new name, and the
// cookie of the old one opens nothing. The zero session is that of a browser not seen before.
type session struct {
	id string // digest of the cookie

	// Root is what flows are bound to. It outlives the name for as long as the account stays the same.
	Root    string
	User    string    `json:",omitempty"` // account signed in
	Pending string    `json:",omitempty"` // account whose password was right and whose code is awaited
	Stamp   string    `json:",omitempty"` // of the account's credentials: when they change, sessions end
	At      time.Time `json:",omitzero"`  // when the account was signed in
	Started time.Time
}

func (s session) known() bool { return s.id != "" }

// digest is under what name the store knows a secret.
func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newName draws 256 bits.
func newName() (string, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("login: drawing a name: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// stamp is of what an account signs in with. It changes when the account is told to begin anew, and when more is asked of it
// than before: who became staff has to show a second factor.
func stamp(u people.User) string {
	return digest(strings.Join([]string{u.ID, u.Password, u.TOTP, strconv.FormatBool(u.Staff()), strconv.Itoa(u.Epoch)}, "\x00"))
}

func (s *Server) cookieName() string {
	if s.secure() {
		return "__Host-trellis"
	}
	return "trellis"
}

func (s *Server) setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode})
}

// openSession reads the browser's session and, when somebody is signed in, the account.
func (v *visit) openSession() error {
	cookie, err := v.c.Request.Cookie(v.s.cookieName())
	if err != nil || len(cookie.Value) > 64 {
		return nil
	}
	id := digest(cookie.Value)
	var found session
	ok, err := v.s.read(v.ctx, ticketSession, id, v.now, &found)
	if err != nil || !ok {
		return err
	}
	found.id = id
	idle, err := v.s.Tickets.Ticket(v.ctx, ticketLogin, found.Root)
	if errors.Is(err, oauth.ErrNotFound) || (err == nil && !idle.Expires.After(v.now)) {
		return nil
	}
	if err != nil {
		return err
	}
	if idle.Expires.Before(v.now.Add(idleLife - idleStep)) {
		if err := v.stay(found); err != nil {
			return err
		}
	}
	return v.admit(found)
}

// admit takes a session as this visit's if its account may still have one.
func (v *visit) admit(found session) error {
	account := found.User
	if account == "" {
		account = found.Pending
	}
	if account == "" {
		v.session = found
		return nil
	}
	u, err := v.account(account)
	if err != nil {
		return err
	}
	if u.ID == "" || u.Disabled || stamp(u) != found.Stamp {
		return nil
	}
	v.session = found
	if found.User != "" {
		v.user = u
	} else {
		v.pending = u
	}
	return nil
}

// account is an account by its id; the zero User when there is none any more.
func (v *visit) account(id string) (people.User, error) {
	u, err := v.s.Accounts.User(v.ctx, id)
	if isNotFound(err) {
		return people.User{}, nil
	}
	return u, err
}

// stay says that the session is used.
func (v *visit) stay(s session) error {
	return v.s.Tickets.PutTicket(v.ctx, oauth.Ticket{Kind: ticketLogin, ID: s.Root, Expires: earlier(v.now.Add(idleLife), s.Started.Add(sessionLife))})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// renew puts another session in the place of this visit's: under a new name always, with a new root when the account is
// another than before. A flow under way goes along; others of the old root end.
func (v *visit) renew(next session) error {
	name, err := newName()
	if err != nil {
		return err
	}
	before := v.session
	if before.User != "" && next.owner() != before.User { // somebody else sits down
		if err := errors.Join(v.endOnline(before.User, before.Root), v.s.Tickets.DropTicket(v.ctx, ticketOnline, before.Root)); err != nil {
			return err
		}
	}
	if next.Root = before.Root; next.Root == "" || next.owner() != before.owner() {
		if next.Root, err = newName(); err != nil {
			return err
		}
	}
	if next.Started.IsZero() {
		next.Started = v.now
	}
	if err := v.s.put(v.ctx, ticketSession, digest(name), next.Started.Add(sessionLife), next); err != nil {
		return err
	}
	if err := v.stay(next); err != nil {
		return err
	}
	if next.User != "" {
		if err := v.s.Tickets.PutTicket(v.ctx, oauth.Ticket{Kind: ticketOnline, ID: next.Root, Expires: next.Started.Add(sessionLife), Body: []byte(next.Stamp)}); err != nil {
			return err
		}
	}
	if before.known() {
		if err := v.s.Tickets.DropTicket(v.ctx, ticketSession, before.id); err != nil {
			return err
		}
	}
	next.id = digest(name)
	v.session = next
	v.s.setCookie(v.c.Writer, v.s.cookieName(), name, 0)
	if v.flow.name == "" || v.flow.Root == next.Root {
		return nil
	}
	if before.owner() != "" {
		v.flow.Acting, v.flow.Patient = nil, ""
	}
	v.flow.Root = next.Root
	return v.s.putFlow(v.ctx, v.flow)
}

// Online reports whether an account is still signed in as it was when an app was let in for as long as that lasts
// (oauth.Context.Session, online_access): nobody signed out, and password and second factor are what they were.
func Online(ctx context.Context, tickets oauth.Tickets, u people.User, root string, now time.Time) (bool, error) {
	t, err := tickets.Ticket(ctx, ticketOnline, root)
	if errors.Is(err, oauth.ErrNotFound) {
		return false, nil
	}
	return err == nil && now.Before(t.Expires) && string(t.Body) == stamp(u), err
}

// endOnline takes back what an account's apps have only while a session lasts (online_access).
func (v *visit) endOnline(user, root string) error {
	list, err := v.s.Grants.Authorizations(v.ctx, user)
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.Context.Session == "" || a.Context.Session != root {
			continue
		}
		if err := v.revoke(user, a.ID, a.ClientID, "sign-out"); err != nil {
			return err
		}
	}
	return nil
}

// owner is the account a session has to do with.
func (s session) owner() string {
	if s.User != "" {
		return s.User
	}
	return s.Pending
}

// end forgets the session.
func (v *visit) end() error {
	if !v.session.known() {
		return nil
	}
	err := errors.Join(v.s.Tickets.DropTicket(v.ctx, ticketSession, v.session.id), v.s.Tickets.DropTicket(v.ctx, ticketLogin, v.session.Root),
		v.s.Tickets.DropTicket(v.ctx, ticketOnline, v.session.Root))
	v.session, v.user = session{}, people.User{}
	v.s.setCookie(v.c.Writer, v.s.cookieName(), "", -1)
	return err
}

// put keeps a value as a ticket.
func (s *Server) put(ctx context.Context, kind, id string, expires time.Time, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("login: %s: %w", kind, err)
	}
	return s.Tickets.PutTicket(ctx, oauth.Ticket{Kind: kind, ID: id, Expires: expires, Body: body})
}

// read reads one that stands.
func (s *Server) read(ctx context.Context, kind, id string, now time.Time, into any) (bool, error) {
	t, err := s.Tickets.Ticket(ctx, kind, id)
	if errors.Is(err, oauth.ErrNotFound) || (err == nil && (t.Taken || !t.Expires.After(now))) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, decode(t, into)
}
