package login

import (
	"net/http"

	"trellis/auth/people"
	"trellis/gateway/audit"
)

type loginData struct {
	Login    string // as typed, or the app's hint
	App      string
	Upstream string // name of the OpenID provider, if there is one
	Again    bool   // somebody is signed in, and the app wants them to sign in anew
}

// loginPage serves GET /account/login.
func (v *visit) loginPage() error {
	if err := v.at(pathLogin); err != nil {
		return err
	}
	d := loginData{Again: v.user.ID != ""}
	if v.interaction != nil {
		d.Login = v.interaction.LoginHint
	}
	return v.askLogin(http.StatusOK, d)
}

func (v *visit) askLogin(status int, d loginData, faults ...fault) error {
	if v.interaction != nil {
		d.App = v.interaction.Client.Name
	}
	if len(d.Login) > 64 {
		d.Login = ""
	}
	if v.s.Upstream != nil {
		d.Upstream = v.s.Upstream.Name
	}
	return v.showForm(status, "login", pathLogin, page{Key: "login", Faults: faults, Data: d})
}

// login serves POST /account/login. Whether the account is unknown, disabled, without password or the password wrong, the
// answer is one, and takes one time.
func (v *visit) login() error {
	if err := v.at(pathLogin); err != nil {
		return err
	}
	login, password := people.FoldLogin(v.field("login")), v.field("password")
	if login == "" || password == "" {
		return v.askLogin(http.StatusUnprocessableEntity, loginData{Login: v.field("login")}, fault{Field: "login", Key: "login.empty"})
	}
	count := tries("password", login)
	if ok, err := v.tried(v.ctx, count); err != nil || !ok {
		return v.locked(err, "password", func() error {
			return v.askLogin(http.StatusTooManyRequests, loginData{Login: v.field("login")}, fault{Field: "login", Key: "locked"})
		})
	}
	u, err := v.s.Accounts.UserByLogin(v.ctx, login)
	if err != nil && !isNotFound(err) {
		return err
	}
	if err != nil {
		u = people.User{}
	}
	fits, stale, err := v.s.Hasher.Verify(v.ctx, u.Password, password)
	if err != nil {
		return err
	}
	if !fits || u.Disabled {
		if err := v.missed(v.ctx); err != nil {
			return err
		}
		if err := v.signIn("password", u.ID, "refused", ""); err != nil {
			return err
		}
		return v.askLogin(http.StatusUnprocessableEntity, loginData{Login: v.field("login")}, fault{Field: "login", Key: "login.wrong"})
	}
	if err := v.s.Attempts.ForgetAttempts(v.ctx, count); err != nil {
		return err
	}
	if stale {
		if u, err = v.rehash(u, password); err != nil {
			return err
		}
	}
	return v.passworded(u)
}

// locked answers when there were too many attempts.
func (v *visit) locked(err error, step string, page func() error) error {
	if err != nil {
		return err
	}
	if err := v.signIn(step, v.pending.ID, "refused", "locked"); err != nil {
		return err
	}
	v.c.Header("Retry-After", "900")
	return page()
}

// rehash keeps a password under today's cost.
func (v *visit) rehash(u people.User, password string) (people.User, error) {
	hash, err := v.s.Hasher.Hash(v.ctx, password)
	if err != nil {
		return u, err
	}
	old := u.Password
	err = v.s.Accounts.ChangeUser(v.ctx, u.ID, func(now *people.User) error {
		if now.Password == old { // else it was changed meanwhile, and this session will end
			now.Password = hash
		}
		return nil
	})
	u.Password = hash
	return u, err
}

// passworded goes on with an account whose password was right.
func (v *visit) passworded(u people.User) error {
	if !u.NeedsFactor() {
		return v.signedIn(u, "password")
	}
	return v.halfSignedIn(u, "password")
}

// signedIn makes the account this browser's.
func (v *visit) signedIn(u people.User, by string) error {
	if err := v.signIn("sign-in", u.ID, "ok", by); err != nil {
		return err
	}
	if err := v.renew(session{User: u.ID, Stamp: stamp(u), At: v.now}); err != nil {
		return err
	}
	v.user, v.pending = u, people.User{}
	return v.proceed()
}

// logoutPage serves GET /account/logout.
func (v *visit) logoutPage() error {
	if v.session.owner() == "" {
		v.show(http.StatusOK, "loggedout", page{Key: "loggedout"})
		return nil
	}
	return v.showForm(http.StatusOK, "logout", pathLogout, page{Key: "logout"})
}

// logout serves POST /account/logout: the session ends, and with it what apps have only while it lasts (online_access).
func (v *visit) logout() error {
	if v.user.ID != "" {
		if err := v.signIn("sign-out", v.user.ID, "ok", ""); err != nil {
			return err
		}
		if err := v.endOnline(v.user.ID, v.session.Root); err != nil {
			return err
		}
	}
	if err := v.end(); err != nil {
		return err
	}
	v.show(http.StatusOK, "loggedout", page{Key: "loggedout"})
	return nil
}

// revoke takes back what an app was let do.
func (v *visit) revoke(user, id, client, why string) error {
	err := v.record(audit.Event{Kind: audit.AppGrant, Interaction: "revoke", Client: client, User: user, Outcome: "revoked", Detail: map[string]string{"code": why}})
	if err != nil {
		return err
	}
	if err := v.s.Grants.RevokeAuthorization(v.ctx, user, id); !isNotFound(err) {
		return err
	}
	return nil
}
