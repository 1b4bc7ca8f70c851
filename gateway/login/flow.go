package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"trellis/auth/oauth"
	"trellis/auth/people"
)

// flowLife is how long somebody may take from an app's request to an answer.
const flowLife = 30 * time.Minute

// flow is one way through the pages: to an app's request, or to a page of ours. Its name is in the pages' addresses; it
// opens only together with the session it is bound to.
type flow struct {
	name string

	Root    string         // of the session; empty until a browser has come with it
	Goal    string         `json:",omitempty"` // a page of ours; empty for an app's request
	Begun   time.Time      // a login asked for must be later
	Locales string         `json:",omitempty"` // ui_locales
	Acting  *people.Acting `json:",omitempty"` // chosen, or the only one
	Patient string         `json:",omitempty"` // chosen Patient id
}

func (s *Server) putFlow(ctx context.Context, f flow) error {
	return s.put(ctx, ticketFlow, digest(f.name), f.Begun.Add(flowLife), f)
}

// begin keeps a new flow; request is the app's, nil for a page of ours. The request is kept apart, never rewritten, and
// taken once: however often a flow's choices are saved, it is answered once.
func (v *visit) begin(f flow, request []byte) error {
	name, err := newName()
	if err != nil {
		return err
	}
	f.name, f.Root, f.Begun = name, v.session.Root, v.now
	if request != nil {
		if err := v.s.Tickets.PutTicket(v.ctx, oauth.Ticket{Kind: ticketRequest, ID: digest(name), Expires: v.now.Add(flowLife), Body: request}); err != nil {
			return err
		}
	}
	v.flow = f
	return v.s.putFlow(v.ctx, f)
}

// openFlow reads the flow the request names. One that is bound to another session is refused.
func (v *visit) openFlow(name string) error {
	var f flow
	ok, err := v.s.read(v.ctx, ticketFlow, digest(name), v.now, &f)
	if err != nil {
		return err
	}
	if !ok || name == "" {
		return refusal(http.StatusForbidden, "expired")
	}
	if f.Root == "" || f.Root != v.session.Root {
		return errForeign()
	}
	f.name = name
	v.flow = f
	return v.resume()
}

// resume reads the app's request anew: the app may have changed, or be gone.
func (v *visit) resume() error {
	if v.flow.Goal != "" {
		return nil
	}
	t, err := v.s.Tickets.Ticket(v.ctx, ticketRequest, digest(v.flow.name))
	if errors.Is(err, oauth.ErrNotFound) || (err == nil && (t.Taken || !t.Expires.After(v.now))) {
		return refusal(http.StatusForbidden, "answered")
	}
	if err != nil {
		return err
	}
	v.interaction, err = v.s.Authorizer.Resume(v.ctx, t.Body)
	return err
}

// answer uses the app's request up; whoever comes second has been answered.
func (v *visit) answer() error {
	_, err := v.s.Tickets.TakeTicket(v.ctx, ticketRequest, digest(v.flow.name))
	if errors.Is(err, oauth.ErrTaken) || errors.Is(err, oauth.ErrNotFound) {
		return refusal(http.StatusForbidden, "answered")
	}
	return err
}

func decode(t oauth.Ticket, into any) error {
	if err := json.Unmarshal(t.Body, into); err != nil {
		return fmt.Errorf("login: a damaged %s: %w", t.Kind, err)
	}
	return nil
}
