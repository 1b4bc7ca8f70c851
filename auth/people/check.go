package people

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"trellis/auth/access"
)

// The kinds of Position.
const (
	KindPractitioner = "practitioner"
	KindPeerWorker   = "peer-worker"
)

// Check reports all that is wrong with an account before it is kept.
func (u User) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if u.ID == "" || u.Name == "" {
		fault("an account has an id and a name")
	}
	if !validLogin(u.Login) {
		fault("a login is 1 to 64 lower case letters, digits and . _ @ + -")
	}
	if u.Language != "" && u.Language != "en" && u.Language != "es" {
		fault("a language is en or es")
	}
	for _, p := range u.Proxies {
		if p.Patient == "" || p.Document == "" {
			fault("a proxy needs the patient and the document that gives the authority")
		}
		if p.Authority != access.Proxy && p.Authority != access.Representative {
			fault("a proxy's authority is %q or %q", access.Proxy, access.Representative)
		}
		if !p.To.IsZero() && !p.From.Before(p.To) {
			fault("a proxy's authority ends after it begins")
		}
	}
	for _, p := range u.Positions {
		if p.Organization == "" || p.Practitioner == "" {
			fault("a position needs the organisation and the practitioner")
		}
		if p.Kind != KindPractitioner && p.Kind != KindPeerWorker {
			fault("a position's kind is %q or %q", KindPractitioner, KindPeerWorker)
		}
	}
	for _, r := range u.Roles {
		if r != Auditor && r != Administrator {
			fault("a role is %q or %q", Auditor, Administrator)
		}
	}
	return errors.Join(faults...)
}

// FoldLogin is a login as it is kept and looked up.
func FoldLogin(typed string) string { return strings.ToLower(strings.TrimSpace(typed)) }

func validLogin(login string) bool {
	for _, r := range login {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._@+-", r) {
			return false
		}
	}
	return login != "" && len(login) <= 64
}

// NeedsFactor reports whether signing in takes a second factor: when one is enrolled, and always for staff.
func (u User) NeedsFactor() bool { return u.TOTP != "" || u.Staff() }

// ActsAs finds the way the account acts that is like a, as it stands now. A way that was withdrawn is not found.
func (u User) ActsAs(a Acting, now time.Time) (Acting, bool) {
	for _, have := range u.Actings(now) {
		if have == a {
			return have, true
		}
	}
	return Acting{}, false
}
