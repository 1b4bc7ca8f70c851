package login

import (
	"html/template"
	"net/http"
	"strconv"
	"time"

	"trellis/auth/people"
)

// factorPage serves GET /account/factor.
func (v *visit) factorPage() error {
	if err := v.at(pathFactor); err != nil {
		return err
	}
	return v.askCode(http.StatusOK)
}

func (v *visit) askCode(status int, faults ...fault) error {
	return v.showForm(status, "factor", pathFactor, page{Key: "factor", Faults: faults})
}

// factor serves POST /account/factor.
func (v *visit) factor() error {
	if err := v.at(pathFactor); err != nil {
		return err
	}
	u := v.pending
	ok, err := v.checkCode(u, u.TOTP, v.askCode)
	if err != nil || !ok {
		return err
	}
	return v.signedIn(u, "second-factor")
}

// checkCode checks the code of the form against a secret, and asks again when it is not good.
func (v *visit) checkCode(u people.User, secret string, again func(int, ...fault) error) (bool, error) {
	count := tries("code", u.ID)
	if ok, err := v.tried(v.ctx, count); err != nil || !ok {
		return false, v.locked(err, "second-factor", func() error { return again(http.StatusTooManyRequests, fault{Field: "code", Key: "locked"}) })
	}
	step, ok := people.TOTPStep(secret, v.field("code"), v.now)
	if ok {
		var err error
		if ok, err = v.firstUse(u.ID, step); err != nil {
			return false, err
		}
	}
	if !ok {
		if err := v.missed(v.ctx); err != nil {
			return false, err
		}
		if err := v.signIn("second-factor", u.ID, "refused", ""); err != nil {
			return false, err
		}
		return false, again(http.StatusUnprocessableEntity, fault{Field: "code", Key: "factor.wrong"})
	}
	return true, v.s.Attempts.ForgetAttempts(v.ctx, count)
}

// stepsKept is for how long a used step is remembered: far longer than its code is good.
const stepsKept = time.Hour

// firstUse reports whether a step is used for the first time, and remembers it. A ticket tells of uses that came before;
// of uses at the same time the count lets one through.
func (v *visit) firstUse(user string, step int64) (bool, error) {
	id := digest(user)
	var last int64
	found, err := v.s.read(v.ctx, ticketStep, id, v.now, &last)
	if err != nil || (found && step <= last) {
		return false, err
	}
	n, err := v.s.Attempts.Attempt(v.ctx, tries("step", user+" "+strconv.FormatInt(step, 10)), stepsKept)
	if err != nil || n != 1 {
		return false, err
	}
	return true, v.s.put(v.ctx, ticketStep, id, v.now.Add(stepsKept), step)
}

type enrollData struct {
	Secret  string       // in groups of four
	Address template.URL // otpauth:, made here
}

// enrollPage serves GET /account/enroll: staff without a second factor get one before anything else.
func (v *visit) enrollPage() error {
	if err := v.at(pathEnroll); err != nil {
		return err
	}
	return v.askEnroll(http.StatusOK)
}

func (v *visit) askEnroll(status int, faults ...fault) error {
	secret, err := v.newSecret()
	if err != nil {
		return err
	}
	d := enrollData{}
	for i := 0; i < len(secret); i += 4 {
		d.Secret += secret[i:min(i+4, len(secret))] + " "
	}
	address, err := people.TOTPAddress(secret, v.s.Name, v.pending.Login)
	if err != nil {
		return err
	}
	d.Address = template.URL(address)
	return v.showForm(status, "enroll", pathEnroll, page{Key: "enroll", Faults: faults, Data: d})
}

// newSecret is the secret offered in this session.
func (v *visit) newSecret() (string, error) {
	var secret string
	found, err := v.s.read(v.ctx, ticketEnroll, v.session.id, v.now, &secret)
	if err != nil || found {
		return secret, err
	}
	if secret, err = people.NewTOTP(); err != nil {
		return "", err
	}
	return secret, v.s.put(v.ctx, ticketEnroll, v.session.id, v.now.Add(flowLife), secret)
}

// enroll serves POST /account/enroll.
func (v *visit) enroll() error {
	if err := v.at(pathEnroll); err != nil {
		return err
	}
	secret, err := v.newSecret()
	if err != nil {
		return err
	}
	u := v.pending
	ok, err := v.checkCode(u, secret, v.askEnroll)
	if err != nil || !ok {
		return err
	}
	if err := v.signIn("second-factor", u.ID, "enrolled", ""); err != nil {
		return err
	}
	err = v.s.Accounts.ChangeUser(v.ctx, u.ID, func(now *people.User) error {
		if now.TOTP != "" { // set up elsewhere meanwhile
			return errForeign()
		}
		now.TOTP = secret
		return nil
	})
	if err != nil {
		return err
	}
	u.TOTP = secret
	if err := v.s.Tickets.DropTicket(v.ctx, ticketEnroll, v.session.id); err != nil {
		return err
	}
	return v.signedIn(u, "second-factor")
}

// enrollImage serves the secret as a QR code. It is no page: it is for the one that shows it.
func (v *visit) enrollImage() error {
	if v.signInStep() != pathEnroll {
		return errForeign()
	}
	secret, err := v.newSecret()
	if err != nil {
		return err
	}
	img, err := people.TOTPImage(secret, v.s.Name, v.pending.Login)
	if err != nil {
		return err
	}
	v.c.Data(http.StatusOK, "image/png", img)
	return nil
}
