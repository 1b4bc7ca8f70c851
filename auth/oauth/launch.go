package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Launch is what an EHR, or a member of staff in the console, settled before an app was launched.
type Launch struct {
	Client string // the app it is for
	User   string // account of the person who launches; "" when the EHR does not know accounts here
	// Organization is the one the person launches for; "" leaves it to the person.
	Organization string
	Patient      string // Patient id
	Encounter    string // Encounter id
	Intent       string
}

// MakeLaunch keeps a launch for a short time and returns its handle, which can be used once.
func (s *Server) MakeLaunch(ctx context.Context, l Launch) (handle string, err error) {
	if l.Client == "" || l.Patient == "" {
		return "", errors.New("oauth: a launch needs an app and a patient")
	}
	body, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("oauth: encoding a launch: %w", err)
	}
	handle = NewSecret()
	err = s.cfg.Tickets.PutTicket(ctx, Ticket{Kind: ticketLaunch, ID: digest(handle), Expires: s.cfg.Now().Add(launchLifetime), Body: body})
	return handle, err
}

// takeLaunch uses a handle up.
func (s *Server) takeLaunch(ctx context.Context, handle, client string) (*Launch, error) {
	ticket, err := s.cfg.Tickets.TakeTicket(ctx, ticketLaunch, digest(handle))
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTaken) {
		return nil, invalidRequest("the launch is unknown or was used before; launch the app again").because(err)
	}
	if err != nil {
		return nil, serverError(err)
	}
	var l Launch
	if err := json.Unmarshal(ticket.Body, &l); err != nil {
		return nil, serverError(err)
	}
	if !s.cfg.Now().Before(ticket.Expires) || l.Client != client {
		return nil, invalidRequest("the launch is unknown or was used before; launch the app again")
	}
	return &l, nil
}
