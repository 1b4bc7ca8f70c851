package people_test

import (
	"bytes"
	"encoding/base32"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"trellis/auth/access"
	"trellis/auth/people"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestActings(t *testing.T) {
	now := at("2026-06-01T09:00:00Z")
	proxy := func(change func(*people.Proxy)) people.User {
		p := people.Proxy{Patient: "child", RelatedPerson: "mother", Authority: access.Proxy, Document: "court order 12"}
		change(&p)
		return people.User{Proxies: []people.Proxy{p}}
	}
	acting := people.Acting{Capacity: access.Proxy, Patient: "child", FHIRUser: "RelatedPerson/mother"}
	for _, c := range []struct {
		name string
		user people.User
		want []people.Acting
	}{
		{"nobody", people.User{}, nil},
		{"a patient of two organisations", people.User{Patients: []string{"1", "2"}}, []people.Acting{
			{Capacity: access.Self, Patient: "1", FHIRUser: "Patient/1"}, {Capacity: access.Self, Patient: "2", FHIRUser: "Patient/2"}}},
		{"disabled", people.User{Disabled: true, Patients: []string{"1"}}, nil},
		{"a proxy", proxy(func(*people.Proxy) {}), []people.Acting{acting}},
		{"a proxy who is no RelatedPerson", proxy(func(p *people.Proxy) { p.RelatedPerson = "" }), []people.Acting{{Capacity: access.Proxy, Patient: "child"}}},
		{"a representative", proxy(func(p *people.Proxy) { p.Authority = access.Representative }), []people.Acting{{Capacity: access.Representative, Patient: "child", FHIRUser: "RelatedPerson/mother"}}},
		{"no document", proxy(func(p *people.Proxy) { p.Document = "" }), nil},
		{"no authority", proxy(func(p *people.Proxy) { p.Authority = "" }), nil},
		{"authority of staff", proxy(func(p *people.Proxy) { p.Authority = access.Staff }), nil},
		{"ended this instant", proxy(func(p *people.Proxy) { p.To = now }), nil},
		{"ends in a second", proxy(func(p *people.Proxy) { p.To = now.Add(time.Second) }), []people.Acting{acting}},
		{"begins this instant", proxy(func(p *people.Proxy) { p.From = now }), []people.Acting{acting}},
		{"begins in a second", proxy(func(p *people.Proxy) { p.From = now.Add(time.Second) }), nil},
		{"staff", people.User{Positions: []people.Position{{Organization: "rco", Practitioner: "w", Kind: people.KindPeerWorker}}}, []people.Acting{{Capacity: access.Staff, Organization: "rco", FHIRUser: "Practitioner/w"}}},
		{"staff of nowhere", people.User{Positions: []people.Position{{Practitioner: "w"}}}, nil},
		{"a role is no way to act", people.User{Roles: []people.Role{people.Auditor}}, nil},
	} {
		if diff := cmp.Diff(c.want, c.user.Actings(now)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if _, ok := proxy(func(p *people.Proxy) { p.To = now }).ActsAs(acting, now); ok {
		t.Error("acts as a proxy whose authority has ended")
	}
	if got, ok := proxy(func(*people.Proxy) {}).ActsAs(acting, now); !ok || got != acting {
		t.Error("does not act as a proxy whose authority stands")
	}
}

func TestNeedsFactor(t *testing.T) {
	for want, users := range map[bool][]people.User{
		false: {{}, {Patients: []string{"1"}}, {Proxies: []people.Proxy{{Patient: "1"}}}},
		true:  {{TOTP: "X"}, {Positions: []people.Position{{}}}, {Roles: []people.Role{people.Auditor}}},
	} {
		for _, u := range users {
			if u.NeedsFactor() != want {
				t.Errorf("%+v: %v", u, !want)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	good := people.User{ID: "1", Login: "maya.o@example.org", Name: "Maya"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*people.User){
		"has an id":         func(u *people.User) { u.ID = "" },
		"lower case":        func(u *people.User) { u.Login = "Maya" },
		"1 to 64":           func(u *people.User) { u.Login = strings.Repeat("a", 65) },
		"en or es":          func(u *people.User) { u.Language = "fr" },
		"needs the patient": func(u *people.User) { u.Proxies = []people.Proxy{{Patient: "1", Authority: access.Proxy}} },
		"authority is":      func(u *people.User) { u.Proxies = []people.Proxy{{Patient: "1", Document: "d", Authority: "god"}} },
		"ends after": func(u *people.User) {
			u.Proxies = []people.Proxy{{Patient: "1", Document: "d", Authority: access.Proxy, From: at("2026-01-02T00:00:00Z"), To: at("2026-01-01T00:00:00Z")}}
		},
		"needs the organisation": func(u *people.User) { u.Positions = []people.Position{{Kind: people.KindPeerWorker}} },
		"kind is":                func(u *people.User) { u.Positions = []people.Position{{Organization: "o", Practitioner: "p"}} },
		"role is":                func(u *people.User) { u.Roles = []people.Role{"root"} },
	} {
		u := good
		change(&u)
		if err := u.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The vectors of RFC 6238 appendix B for SHA-1, cut to six digits.
func TestTOTPVectors(t *testing.T) {
	secret := base32.StdEncoding.EncodeToString([]byte("12345678901234567890"))
	for unix, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		now := time.Unix(unix, 0)
		if got, err := people.TOTPCode(secret, now); err != nil || got != code {
			t.Errorf("at %d: %s, %v; want %s", unix, got, err, code)
		}
		for _, typed := range []string{code, code[:3] + " " + code[3:], " " + code + "\n"} {
			if step, ok := people.TOTPStep(secret, typed, now); !ok || step != unix/30 {
				t.Errorf("at %d %q: step %d, %v", unix, typed, step, ok)
			}
		}
		for away, ok := range map[int64]bool{-60: false, -30: true, 30: true, 60: false} {
			if step, got := people.TOTPStep(secret, code, time.Unix(unix-unix%30+away, 0)); got != ok || (ok && step != unix/30) {
				t.Errorf("%d seconds from %d: step %d, %v", away, unix, step, got)
			}
		}
	}
	for _, c := range []struct{ secret, code string }{{"", "000000"}, {"", ""}, {secret, ""}, {secret, "0000000"}, {"not base32!", "123456"}} {
		if _, ok := people.TOTPStep(c.secret, c.code, time.Unix(59, 0)); ok {
			t.Errorf("%q opens %q", c.code, c.secret)
		}
	}
}

func TestTOTPEnrolment(t *testing.T) {
	secret, err := people.NewTOTP()
	if err != nil || len(secret) != 32 {
		t.Fatalf("secret of %d characters, %v", len(secret), err)
	}
	address, err := people.TOTPAddress(secret, "Trellis", "maya@example.org")
	if err != nil || !strings.HasPrefix(address, "otpauth://totp/Trellis:maya@example.org?") || !strings.Contains(address, "secret="+secret) {
		t.Errorf("%q, %v", address, err)
	}
	img, err := people.TOTPImage(secret, "Trellis", "maya@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(img)); err != nil {
		t.Error(err)
	}
}
