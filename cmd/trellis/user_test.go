package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trellis/auth/people"
	"trellis/gateway/audit"
)

// The operator registers people, changes what they are, and hears what is wrong; what is kept is what was said.
func TestUserCommand(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		if a := in.as(loading("hospital"), "").ask(request{method: "PUT", path: "Practitioner/DR9", body: []byte(`{"resourceType":"Practitioner","id":"DR9"}`)}); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		secret := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(secret, []byte("from a file, first line\nnot this\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		place := []string{"--data", where.data}
		if where.postgres != "" {
			place = []string{"--postgres", where.postgres}
		}
		user := func(args ...string) (int, string, string) {
			var stdout, stderr bytes.Buffer
			code := run(append(append([]string{"user"}, args...), place...), &stdout, &stderr)
			return code, stdout.String(), stderr.String()
		}
		for _, c := range []struct {
			args string // separated by |
			code int
			says string
		}{
			{"add|--name|X", 1, "--login and --name are required"},
			{"add|--login|maya|--name|X", 1, "there is an account"},
			{"add|--login|a b|--name|X", 1, "lower case letters"},
			{"add|--login|new|--name|X|--language|fr", 1, "en or es"},
			{"add|--login|new|--name|X|--patient|nobody", 1, "no Patient with the id"},
			{"add|--login|new|--name|X|--proxy|Patient=P2,authority=proxy", 1, "document"},
			{"add|--login|new|--name|X|--proxy|Patient=P2,authority=god,document=d", 1, "authority is"},
			{"add|--login|new|--name|X|--proxy|Patient=P2,colour=red", 1, "not understood"},
			{"add|--login|new|--name|X|--proxy|Patient=P2,authority=proxy,document=d,to=tomorrow", 1, "not understood"},
			{"add|--login|new|--name|X|--staff|org=nowhere,practitioner=DR9", 1, "no organisation"},
			{"add|--login|new|--name|X|--staff|org=hospital,practitioner=nobody", 1, "no Practitioner with the id"},
			{"add|--login|new|--name|X|--staff|org=hospital,practitioner=DR9,kind=boss", 1, "kind is"},
			{"add|--login|new|--name|X|--role|root", 1, "role is"},
			{"add|--login|new|--name|X|--password-file|/nowhere", 1, "no such file"},
			{"link|--login|maya", 1, "one of --patient"},
			{"unlink|--login|maya|--patient|P2", 1, "no such link"},
			{"show|--login|nobody", 1, "there is no account"},
			{"show", 1, "--login is required"},
			{"code|--login|maya", 1, "no second factor"},
			{"fly", 2, "no subcommand"},
			{"--help", 0, "trellis user add"},

			{"add|--login| New@Example.org |--name|New Person|--language|es|--patient|P1|--password-file|" + secret, 0, ""},
			{"link|--login|new@example.org|--proxy|Patient=P2,authority=representative,document=order 7,relatedPerson=RP2,from=2026-01-01,to=2030-01-01", 0, ""},
			{"link|--login|new@example.org|--staff|org=hospital,practitioner=DR9|--role|auditor|--patient|P2", 0, ""},
			{"show|--login|new@example.org", 0, `representative of  Patient/P2, by "order 7", from 2026-01-01 to 2030-01-01`},
			{"list", 0, "auditor, patient, proxy, staff"},
			{"unlink|--login|new@example.org|--patient|P2", 0, ""},
			{"totp|--login|new@example.org", 0, "otpauth://totp/"},
			{"disable|--login|new@example.org", 0, ""},
			{"show|--login|new@example.org", 0, "disabled"},
			{"enable|--login|new@example.org", 0, ""},
		} {
			code, stdout, stderr := user(strings.Split(c.args, "|")...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("user %s: %d\n%s%s", c.args, code, stdout, stderr)
			}
		}
		got, err := in.gateway.store.UserByLogin(t.Context(), "new@example.org")
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Patients) != 1 || len(got.Proxies) != 1 || len(got.Positions) != 1 || len(got.Roles) != 1 || got.Disabled || got.Language != "es" || got.Proxies[0].RelatedPerson != "RP2" {
			t.Errorf("%+v", got)
		}
		if fits, _, err := people.NewHasher(1).Verify(t.Context(), got.Password, "from a file, first line"); err != nil || !fits {
			t.Errorf("the password is another, %v", err)
		}
		if _, stdout, _ := user("code", "--login", "new@example.org"); func() bool {
			_, ok := people.TOTPStep(got.TOTP, strings.TrimSpace(stdout), time.Now())
			return !ok
		}() {
			t.Errorf("the code %q is not good", stdout)
		}
		if code, _, _ := user("totp", "--login", "new@example.org", "--remove"); code != 0 {
			t.Error("a second factor cannot be taken away")
		}
		// A password that is made is shown once, and ends the person's sessions.
		b := in.browser().visit("/account/apps").signIn("maya").expect("/account/apps")
		code, stdout, _ := user("password", "--login", "maya")
		_, made, ok := strings.Cut(strings.TrimSpace(stdout), "password  ")
		if code != 0 || !ok {
			t.Fatalf("%d %s", code, stdout)
		}
		b.visit("/account/apps").expect("/account/login").submit("", "login=maya", "password="+made).expect("/account/apps")
		if _, stdout, _ = user("show", "--login", "maya"); strings.Contains(stdout, made) || strings.Contains(stdout, "argon2id") {
			t.Error("a secret is shown")
		}
		changes := 0
		for _, e := range in.happened(audit.Admin) {
			if strings.HasPrefix(e, "user ") {
				changes++
			}
		}
		if changes != 15 { // a link is an event of its own, with whose record and what authority
			t.Errorf("%d changes in the log: %v", changes, in.happened(audit.Admin))
		}
	})
}
