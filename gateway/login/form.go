package login

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"trellis/auth/oauth"
)

// formLife is how long a page may lie about before its form is sent.
const formLife = 30 * time.Minute

// form is what a form's token stands for. It is good once, for the page, the session and the flow it was made for.
type form struct{ Page, Session, Flow string }

const fieldToken, fieldFlow = "token", "flow"

// newForm makes the token of a form on this page.
func (v *visit) newForm(page string) (string, error) {
	name, err := newName()
	if err != nil {
		return "", err
	}
	return name, v.s.put(v.ctx, ticketForm, digest(name), v.now.Add(formLife), form{page, v.session.id, v.flow.name})
}

// sameSite refuses a form another site sent. Referrer-Policy makes browsers send `Origin: null` with our own forms, so
// that it is Sec-Fetch-Site that tells them apart; where neither is sent the token does.
func (v *visit) sameSite() error {
	switch v.c.GetHeader("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return errForeign()
	}
	origin := v.c.GetHeader("Origin")
	if origin == "" || (origin == "null" && v.c.GetHeader("Sec-Fetch-Site") != "cross-site") {
		return nil
	}
	ours, err := url.Parse(v.s.PublicURL)
	if err != nil || origin != ours.Scheme+"://"+ours.Host {
		return errForeign()
	}
	return nil
}

// takeForm reads a form and uses up its token.
func (v *visit) takeForm(page string) error {
	if err := v.sameSite(); err != nil {
		return err
	}
	media, _, err := mime.ParseMediaType(v.c.ContentType())
	if err != nil || media != "application/x-www-form-urlencoded" {
		return refusal(http.StatusUnsupportedMediaType, "media")
	}
	if err := v.c.Request.ParseForm(); err != nil {
		return err
	}
	t, err := v.s.Tickets.TakeTicket(v.ctx, ticketForm, digest(v.c.Request.PostForm.Get(fieldToken)))
	if errors.Is(err, oauth.ErrTaken) {
		return refusal(http.StatusForbidden, "used")
	}
	if errors.Is(err, oauth.ErrNotFound) || (err == nil && !t.Expires.After(v.now)) {
		return errForeign()
	}
	if err != nil {
		return err
	}
	var made form
	if err := decode(t, &made); err != nil {
		return err
	}
	if made != (form{page, v.session.id, v.flow.name}) {
		return errForeign()
	}
	return nil
}

// field is a field of the form.
func (v *visit) field(name string) string { return v.c.Request.PostForm.Get(name) }
