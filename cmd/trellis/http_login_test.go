package main

import (
	"encoding/base64"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/argon2"

	"trellis/auth/people"
	"trellis/gateway/audit"
)

const (
	standalone  = "launch/patient openid fhirUser offline_access patient/Condition.rs patient/Observation.rs patient/Patient.rs"
	problemList = "category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item"
	laboratory  = "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
)

// A patient signs in, agrees to all of it, and the app gets what she agreed to.
func TestStandaloneLaunchOfAPatient(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		b := in.browser().visit(in.authorize("diary", standalone))
		b.expect("/account/login").shows("Sign in", "My Diary")
		b.signIn("maya").expect("/account/consent").shows("My Diary", "diary.example", "Registered by the operator", "At the patient’s own request", "Zqcanary-Nneka Zqcanary-Abara", "born 12 April 1988", "Record kept by Fixture Hospital",
			"Sensitive", "substance use disorder", "HIPAA and 42 CFR Part 2", "Stay connected", "Who you are")
		got := b.submit("decision=allow").redeem("diary")
		if got.status != 200 || got.Patient != "P1" || got.Scope != standalone || got.Refresh == "" {
			t.Fatalf("%+v", got)
		}
		if diff := cmp.Diff([]string{"sign-in ok u-maya"}, in.happened(audit.Login)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"authorize granted u-maya"}, in.happened(audit.AppGrant)); diff != "" {
			t.Error(diff)
		}
		for _, e := range in.events() {
			if e.Kind == audit.AppGrant && (e.Patient != "Patient/P1" || e.Client != "diary" || e.Purpose != "PATRQT" || e.Detail["scopes"] != standalone) {
				t.Errorf("%+v", e)
			}
		}
		in.checkIndex()
	})
}

// What the person chooses is what the app gets: by kind, by category, with or without staying connected; and nothing of it.
func TestConsentNarrows(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", standalone)).signIn("maya")
	for _, c := range []struct {
		name, asked string
		changes     []string
		want        string // scopes, or the error
	}{
		{"all", standalone, nil, standalone},
		{"one kind less", standalone, []string{"grant=-patient.read.Patient"}, strings.TrimSuffix(standalone, " patient/Patient.rs")},
		{"no conditions", standalone, []string{"how.patient.read.Condition=none"}, strings.ReplaceAll(standalone, "patient/Condition.rs ", "")},
		{"categories only", standalone, []string{"how.patient.read.Condition=parts", "grant=+patient.read.Condition?" + problemList, "how.patient.read.Observation=parts", "grant=+patient.read.Observation?" + laboratory},
			"launch/patient openid fhirUser offline_access patient/Condition.rs?" + problemList + " patient/Observation.rs?" + laboratory + " patient/Patient.rs"},
		{"a category ticked and not meant", standalone, []string{"grant=+patient.read.Condition?" + problemList}, standalone},
		{"not connected", standalone, []string{"grant=-offline_access"}, strings.ReplaceAll(standalone, "offline_access ", "")},
		{"not who I am", standalone, []string{"grant=-identity"}, strings.ReplaceAll(standalone, "openid fhirUser ", "")},
		{"nothing", standalone, []string{"grant=-identity", "grant=-patient.read.Patient", "how.patient.read.Condition=none", "how.patient.read.Observation=none"}, "access_denied"},
		{"all kinds", "launch/patient patient/*.read", nil, "launch/patient patient/*.read"},
		{"chosen kinds", "launch/patient patient/*.read", []string{"how.patient.read=parts", "grant=+patient.read.Goal", "grant=+patient.read.Task"}, "launch/patient patient/Goal.read patient/Task.read"},
		{"a kind ticked and not meant", "launch/patient patient/*.read", []string{"how.patient.read=none", "grant=+patient.read.Goal"}, "access_denied"},
		{"a patient gives no writing", "launch/patient patient/*.cruds", nil, "launch/patient patient/*.rs"},
		{"a patient cannot force writing", "launch/patient patient/Goal.cruds", []string{"grant=+patient.write.Goal", "grant=+patient.write.*"}, "launch/patient patient/Goal.rs"},
		{"more than was asked for", "launch/patient patient/Goal.rs", []string{"grant=+patient.read.Task", "grant=+patient.read.*", "how.patient.read=whole", "grant=+offline_access"}, "launch/patient patient/Goal.rs"},
	} {
		b.visit(in.authorize("diary", c.asked)).expect("/account/consent")
		b.submit("decision=allow", c.changes...)
		if b.page != nil {
			t.Fatalf("%s: still at %v: %s", c.name, b.at, said(b.page))
		}
		got := b.answer().Get("error")
		if got == "" {
			got = b.redeem("diary").Scope
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	b.visit(in.authorize("diary", standalone)).submit("decision=refuse")
	if got := b.answer().Get("error"); got != "access_denied" {
		t.Errorf("refusing tells the app %q", got)
	}
	for outcome, want := range map[string]int{"granted": 4, "narrowed": 8, "refused": 3} {
		n := 0
		for _, e := range in.happened(audit.AppGrant) {
			if strings.Contains(e, " "+outcome+" ") {
				n++
			}
		}
		if n != want {
			t.Errorf("%d times %s, want %d", n, outcome, want)
		}
	}
}

// A choice that cannot be meant is asked about again, with what was chosen kept and the fault named at its place.
func TestConsentAsksAgain(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", standalone)).signIn("maya")
	b.submit("decision=allow", "how.patient.read.Condition=parts", "grant=-patient.read.Patient").refused(http.StatusUnprocessableEntity)
	b.shows("There is a problem", "ticked none")
	if !strings.Contains(b.text, `href="#f-patient_read_Condition-which"`) {
		t.Error("the fault does not lead to its field")
	}
	_, form := b.form()
	if form.Get("how.patient.read.Condition") != "parts" || slices.Contains(form["grant"], "patient.read.Patient") {
		t.Errorf("what was chosen is lost: %v", form)
	}
	if got := b.submit("decision=allow", "grant=+patient.read.Condition?"+problemList).redeem("diary").Scope; !strings.Contains(got, problemList) || strings.Contains(got, "patient/Patient") {
		t.Error(got)
	}
	b.visit(in.authorize("diary", "launch/patient patient/*.rs")).submit("decision=allow", "how.patient.read=parts").refused(http.StatusUnprocessableEntity)
}

// Staff start an app for a patient from the console: second factor, search by name, launch, consent; the app gets the
// patient and need show no banner.
func TestLaunchFromTheConsole(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		if a := in.as(loading("hospital"), "").ask(request{method: "PUT", path: "Encounter/ENC9", body: []byte(`{"resourceType":"Encounter","id":"ENC9","status":"in-progress","class":{"code":"AMB"},"subject":{"reference":"Patient/P1"}}`)}); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		b := in.browser().visit("/account/launch")
		b.expect("/account/login").submit("", "login= NORA ", "password="+rightPassword)
		b.expect("/account/factor").submit("", "code="+in.code("nora"))
		b.expect("/account/launch").shows("Nora Clinician", "My Diary")
		b.submit("decision=search", "name=z").refused(http.StatusUnprocessableEntity).shows("at least two letters")
		b.submit("decision=search", "name=nobody").shows("No record with this name")
		b.submit("decision=search", "name=zqcanary-ab").shows("Zqcanary-Nneka Zqcanary-Abara", "12 April 1988", "Fixture Hospital")
		b.submit("decision=launch", "patient=P1").refused(http.StatusUnprocessableEntity).shows("Choose an app")
		b.submit("decision=search", "name=zqcanary-ab", "app=diary")
		b.submit("decision=launch", "patient=P1", "app=diary", "encounter=E2").refused(http.StatusUnprocessableEntity).shows("not the id of a visit")
		b.submit("decision=launch", "patient=P1", "app=diary", "encounter=ENC9")
		if !strings.HasPrefix(b.location, appLaunch+"?") {
			t.Fatalf("sent to %q: %s", b.location, said(b.page))
		}
		to, err := url.Parse(b.location)
		if err != nil || to.Query().Get("iss") != in.gateway.base || to.Query().Get("launch") == "" {
			t.Fatalf("%s, %v", b.location, err)
		}
		handle := "launch=" + to.Query().Get("launch")
		b.visit(in.authorize("diary", "launch openid fhirUser user/Observation.cruds patient/*.rs", handle)).expect("/account/consent")
		b.shows("Zqcanary-Nneka", "and the visit that is open", "as staff of Fixture Hospital", "Treatment of the patient", "What it may add or change for all patients")
		got := b.submit("decision=allow", "grant=-user.write.Observation").redeem("diary")
		if got.Patient != "P1" || got.Scope != "launch openid fhirUser user/Observation.rs patient/*.rs" || got.Banner == nil || *got.Banner {
			t.Errorf("%+v", got)
		}
		// The handle was good once.
		if b.visit(in.authorize("diary", "launch patient/*.rs", handle)); b.answer().Get("error") != "invalid_request" {
			t.Errorf("a second use tells the app %v", b.answer())
		}
		if diff := cmp.Diff([]string{"password ok u-nora", "sign-in ok u-nora"}, in.happened(audit.Login)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"launch launched u-nora", "authorize narrowed u-nora"}, in.happened(audit.AppGrant)); diff != "" {
			t.Error(diff)
		}
		searched := 0
		for _, e := range in.events() {
			if e.Kind == audit.Disclosure && e.Interaction == "account-page" && e.Client == "account-pages" && e.Patient == "Patient/P1" {
				searched++
			}
		}
		if searched == 0 {
			t.Error("a name was shown and the log does not know")
		}
		in.checkIndex()
	})
}

// Staff without a second factor get one before they get anything else, and use it from then on. With two positions they
// say in which they act, and with patient/ scopes for which patient.
func TestStaffEnrolAndChoose(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser().visit(in.authorize("diary", "launch/patient fhirUser patient/*.rs user/*.rs"))
	b.signIn("wes").expect("/account/enroll").shows("Set up a second step", "Key to type")
	if b2 := b.visit("/account/apps"); b2.at.Path != "/account/enroll" {
		t.Fatalf("a password alone opens %v", b2.at)
	}
	b.shows("Set up a second step")
	secret := b.enrolmentKey()
	if !strings.Contains(b.text, `href="otpauth://totp/`) {
		t.Error("the key's address is missing")
	}
	picture, err := b.http.Get(in.gateway.public + "/account/enroll/code.png?" + b.at.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(picture.Body); err != nil || picture.Body.Close() != nil || picture.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the key's picture: %v", err)
	}
	b.submit("", "code=000000").refused(http.StatusUnprocessableEntity).shows("not right")
	if again := b.enrolmentKey(); again != secret {
		t.Error("another key is shown for the second try")
	}
	code, err := people.TOTPCode(secret, in.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	b.submit("", "code="+code).expect("/account/apps").shows("No app has access")

	b.visit(in.authorize("diary", "launch/patient fhirUser patient/*.rs user/*.rs")).expect("/account/capacity")
	b.shows("as staff of Fixture Recovery Community", "as staff of Fixture Hospital")
	b.submit("decision=go").refused(http.StatusUnprocessableEntity)
	b.submit("decision=go", "way=staff hospital  Practitioner/PW2").expect("/account/patient")
	b.submit("decision=go").refused(http.StatusUnprocessableEntity).shows("Choose a record")
	b.submit("decision=go", "patient=E1").refused(http.StatusUnprocessableEntity).shows("cannot be opened")
	b.submit("decision=search", "name=zqcanary").shows("Zqcanary-Nneka", "Zqcanary-Ole")
	b.submit("decision=go", "patient=P2").expect("/account/consent").shows("Zqcanary-Ole", "as staff of Fixture Hospital")
	// Back, to choose otherwise.
	b.visit("/account/patient?"+b.at.RawQuery).expect("/account/patient").submit("decision=search", "name=nneka")
	b.submit("decision=go", "patient=P1").expect("/account/consent").shows("Zqcanary-Nneka")
	b.visit("/account/capacity?"+b.at.RawQuery).expect("/account/capacity").submit("decision=go", "way=staff hospital  Practitioner/PW2")
	b.expect("/account/patient").submit("decision=search", "name=nneka")
	if got := b.submit("decision=go", "patient=P1").submit("decision=allow").redeem("diary"); got.Patient != "P1" {
		t.Errorf("%+v", got)
	}
	// The next time it is the code that is asked for.
	other := in.browser().visit("/account/apps").submit("", "login=wes", "password="+rightPassword)
	other.expect("/account/factor")
	if want := "second-factor enrolled u-wes"; !slices.Contains(in.happened(audit.Login), want) {
		t.Errorf("the log has no %q: %v", want, in.happened(audit.Login))
	}
}

// enrolmentKey reads the key off the page.
func (b *browser) enrolmentKey() string {
	b.t.Helper()
	_, after, ok := strings.Cut(b.text, "<code>")
	key, _, ok2 := strings.Cut(after, "</code>")
	if !ok || !ok2 {
		b.t.Fatalf("no key on %v", b.at)
	}
	return strings.ReplaceAll(key, " ", "")
}

// Who acts for somebody else says so, and the app gets that record. When the authority ends, so does the way.
func TestProxyLaunch(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser().visit(in.authorize("diary", "launch/patient fhirUser offline_access patient/*.rs"))
	b.signIn("pat").expect("/account/capacity").shows("for myself, Pat Parent", "for Zqcanary-Ole Zqcanary-Brandt, with authority")
	if got := b.submit("decision=go", "way=proxy  P2 RelatedPerson/RP2").expect("/account/consent").submit("decision=allow").redeem("diary"); got.Patient != "P2" {
		t.Errorf("%+v", got)
	}
	u, err := in.gateway.store.User(t.Context(), "u-pat")
	if err != nil {
		t.Fatal(err)
	}
	u.Proxies[0].To = in.clock.now()
	in.putUser(u)
	b.visit(in.authorize("diary", "launch/patient patient/*.rs")).expect("/account/consent")
	if got := b.submit("decision=allow").redeem("diary"); got.Patient != "P1" {
		t.Errorf("%+v", got)
	}
	// Somebody with several records says which.
	b = in.browser().visit(in.authorize("diary", "launch/patient patient/*.rs")).signIn("two")
	b.expect("/account/patient").shows("Zqcanary-Nneka", "Zqcanary-Ole").submit("decision=go").refused(http.StatusUnprocessableEntity)
	b.submit("decision=go", "patient=P3").refused(http.StatusUnprocessableEntity)
	if got := b.submit("decision=go", "patient=P2").submit("decision=allow").redeem("diary"); got.Patient != "P2" {
		t.Errorf("%+v", got)
	}
	b.visit(in.authorize("diary", "launch/patient patient/*.rs")).expect("/account/patient").submit("decision=refuse")
	if got := b.answer().Get("error"); got != "access_denied" {
		t.Errorf("stopping tells the app %q", got)
	}
	// Who is nobody's patient, proxy or staff has nothing to give.
	in.putUser(people.User{ID: "u-none", Login: "none", Name: "None", Password: u.Password})
	b = in.browser().visit(in.authorize("diary", "launch/patient patient/*.rs")).signIn("none")
	b.expect("/account/capacity").shows("cannot be used with your account").submit("decision=refuse")
	if got := b.answer().Get("error"); got != "access_denied" {
		t.Errorf("having nothing to give tells the app %q", got)
	}
}

// OpenID Connect prompt and max_age (https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest).
func TestPrompt(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	silent := func(scope string) string {
		b.visit(in.authorize("diary", scope, "prompt=none"))
		if got := b.answer().Get("error"); got != "" {
			return got
		}
		return "code"
	}
	const scope = "openid launch/patient patient/Goal.rs"
	if got := silent(scope); got != "login_required" {
		t.Errorf("nobody there: %s", got)
	}
	b.visit(in.authorize("diary", scope)).signIn("maya").expect("/account/consent")
	if got := silent(scope); got != "consent_required" {
		t.Errorf("nothing agreed to: %s", got)
	}
	b.visit(in.authorize("diary", scope)).submit("decision=allow").redeem("diary")
	if got := silent(scope); got != "code" {
		t.Errorf("agreed to before: %s", got)
	}
	if got := silent("openid launch/patient patient/Goal.rs patient/Task.rs"); got != "consent_required" {
		t.Errorf("more than agreed to before: %s", got)
	}
	in.clock.advance(10 * time.Minute)
	b.visit(in.authorize("diary", scope, "max_age=3600")).expect("/account/consent")
	b.visit(in.authorize("diary", scope, "max_age=60")).expect("/account/login").shows("sign in again").signIn("maya").expect("/account/consent")
	in.clock.advance(time.Minute)
	b.visit(in.authorize("diary", scope, "prompt=login", "login_hint=maya")).expect("/account/login")
	if _, form := b.form(); form.Get("login") != "maya" {
		t.Error("the hint is not taken")
	}
	if got := b.signIn("two").expect("/account/patient"); got.status != http.StatusOK {
		t.Error("somebody else cannot sign in instead")
	}
	b.visit(in.authorize("diary", scope, "max_age=0"))
	b.expect("/account/patient") // the same instant
	if got := silent(scope); got != "interaction_required" {
		t.Errorf("several records: %s", got)
	}
}

// People see what apps may do in words, and take it back; the token is dead within the second.
func TestManageApps(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		b := in.browser()
		b.visit(in.authorize("diary", standalone)).signIn("maya")
		first := b.submit("decision=allow", "how.patient.read.Condition=parts", "grant=+patient.read.Condition?"+problemList).redeem("diary")
		b.visit(in.authorize("other", "launch/patient patient/*.rs")).shows("registered itself").submit("decision=allow")
		second := b.redeem("other")
		b.visit("/account/apps").shows("My Diary", "Other App", "see: Health problems and diagnoses (On the problem list)", "see all kinds of records", "1 June 2026", "Also when you are not using it")
		if got := strings.Count(b.text, `name="revoke"`); got != 2 {
			t.Fatalf("%d buttons", got)
		}
		foreign := in.browser().visit("/account/apps").signIn("two").expect("/account/apps")
		_, stolen := b.form()
		foreign.submit("revoke=" + buttonOf(b, "My Diary"))
		if foreign.refused(http.StatusNotFound); stolen.Get("token") == "" {
			t.Error("no token")
		}
		b.submit("revoke=" + buttonOf(b, "My Diary")).expect("/account/apps").shows("My Diary has no access any more")
		if got := strings.Count(b.text, `name="revoke"`); got != 1 {
			t.Errorf("%d buttons after one was pressed", got)
		}
		refresh := func(client, token string) issued {
			return in.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {client}})
		}
		if got := refresh("diary", first.Refresh); got.Error != "invalid_grant" {
			t.Errorf("a revoked app refreshes: %+v", got)
		}
		if a := in.send(request{method: "GET", path: "Patient/P1", header: map[string]string{"Authorization": "Bearer " + first.Access}}); a.status != http.StatusUnauthorized {
			t.Errorf("a revoked app reads: %d", a.status)
		}
		if a := in.send(request{method: "GET", path: "Patient/P1", header: map[string]string{"Authorization": "Bearer " + second.Access}}); a.status == http.StatusUnauthorized {
			t.Error("the other app was revoked too")
		}
		if want := "revoke revoked u-maya"; !slices.Contains(in.happened(audit.AppGrant), want) {
			t.Errorf("the log has no %q", want)
		}
	})
}

// buttonOf is the value of the button that takes an app's access back.
func buttonOf(b *browser, app string) string {
	b.t.Helper()
	_, after, _ := strings.Cut(b.text, ">"+app+"</h2>")
	_, after, _ = strings.Cut(after, `name="revoke" value="`)
	id, _, ok := strings.Cut(after, `"`)
	if !ok {
		b.t.Fatalf("no button for %s", app)
	}
	return id
}

// Signing out ends the session, and what apps have only while it lasts; what they have longer stays.
func TestLogout(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", "launch/patient online_access patient/Goal.rs")).signIn("maya").shows("Stay connected until you sign out")
	online := b.submit("decision=allow").redeem("diary")
	b.visit(in.authorize("diary", "launch/patient offline_access patient/Goal.rs"))
	offline := b.submit("decision=allow").redeem("diary")
	elsewhere := in.browser()
	elsewhere.visit(in.authorize("diary", "launch/patient online_access patient/Goal.rs")).signIn("maya")
	other := elsewhere.submit("decision=allow").redeem("diary")
	before := b.cookie()
	b.visit("/account/logout").expect("/account/logout").submit("").shows("You are signed out")
	for name, c := range map[string]struct {
		token issued
		want  string
	}{"this session's": {online, "invalid_grant"}, "offline": {offline, ""}, "another session's": {other, ""}} {
		if got := in.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.token.Refresh}, "client_id": {"diary"}}); got.Error != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	b.visit("/account/apps").expect("/account/login")
	b.setCookie(before)
	b.visit("/account/apps").expect("/account/login")
	elsewhere.visit("/account/apps").expect("/account/apps")
	// Somebody else who signs in at the same browser ends it too.
	in.clock.advance(time.Minute)
	elsewhere.visit(in.authorize("diary", "launch/patient patient/Goal.rs", "prompt=login")).signIn("two").expect("/account/patient")
	if got := in.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {other.Refresh}, "client_id": {"diary"}}); got.Error == "" {
		t.Error("an app stays connected to a session that is over")
	}
}

// A password kept at a lower cost than today's is kept anew when it is typed.
func TestOldHashesAreRenewed(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	const old = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$"
	in.putUser(people.User{ID: "u-old", Login: "old", Name: "Old Hash", Patients: []string{"P1"},
		Password: old + base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(rightPassword), []byte("somesaltsomesalt"), 1, 8192, 1, 32))})
	in.browser().visit("/account/apps").signIn("old").expect("/account/apps").visit("/account/apps").expect("/account/apps")
	u, err := in.gateway.store.User(t.Context(), "u-old")
	if err != nil || !strings.HasPrefix(u.Password, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%.40s, %v", u.Password, err)
	}
	in.browser().visit("/account/apps").signIn("old").expect("/account/apps")
}

// Sessions end after half an hour without a request, after twelve hours at the latest, and when the account changes.
func TestSessionsEnd(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser().visit("/account/apps").signIn("maya").expect("/account/apps")
	in.clock.advance(29 * time.Minute)
	b.visit("/account/apps").expect("/account/apps")
	in.clock.advance(31 * time.Minute)
	b.visit("/account/apps").expect("/account/login").signIn("maya").expect("/account/apps")
	for range 11*60/20 + 2 {
		in.clock.advance(20 * time.Minute)
		b.visit("/account/apps").expect("/account/apps")
	}
	in.clock.advance(25 * time.Minute)
	b.visit("/account/apps").expect("/account/login").signIn("maya")
	u, err := in.gateway.store.User(t.Context(), "u-maya")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*people.User){
		"disabled":           func(u *people.User) { u.Disabled = true },
		"another password":   func(u *people.User) { u.Password = "" },
		"another second one": func(u *people.User) { u.TOTP = strings.Repeat("C", 32) },
	} {
		changed := u
		change(&changed)
		in.putUser(changed)
		b.visit("/account/apps").expect("/account/login")
		if in.putUser(u); !strings.Contains(name, "d") {
			t.Fatal(name)
		}
		b.signIn("maya").expect("/account/apps")
	}
}

// The pages speak the account's language, the app's wish, the browser's, or the one switched to.
func TestLanguages(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit("/account/apps").shows("Sign in")
	b.language = "fr-FR, es-MX;q=0.8, en;q=0.2"
	b.visit("/account/apps").shows("Iniciar sesión")
	b.language = ""
	b.visit(in.authorize("diary", standalone, "ui_locales=es-US en")).shows("Iniciar sesión")
	b.signIn("maya").shows("¿Permitir que My Diary tenga estos registros?", "Información sensible", "trastorno por consumo")
	b.visit("/account/consent?lang=en&" + b.at.RawQuery).shows("Let My Diary have these records?")
	b.visit("/account/apps").shows("Apps that have access")
	b.visit("/account/apps?lang=es").shows("Aplicaciones con acceso")
	b.visit("/account/apps").shows("Aplicaciones con acceso")
	b.visit("/account/apps?lang=xx").shows("Aplicaciones con acceso")
	u, err := in.gateway.store.User(t.Context(), "u-two")
	if err != nil {
		t.Fatal(err)
	}
	u.Language = "es"
	in.putUser(u)
	in.browser().visit(in.authorize("diary", "launch/patient patient/*.rs")).signIn("two").shows("¿El registro de quién?")
}

// An app may post its request. The post comes without our cookie, and whoever is signed in stays so.
func TestAuthorizeByPost(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser().visit("/account/apps").signIn("maya")
	before := b.cookie()
	post, err := url.Parse(in.authorize("diary", standalone))
	if err != nil {
		t.Fatal(err)
	}
	without := in.browser() // cookies are Lax: they stay at home with a form another site sends
	without.send(http.MethodPost, "/oauth/authorize", post.Query(), map[string]string{"Origin": "https://diary.example", "Sec-Fetch-Site": "cross-site"})
	flow := without.at.Query().Get("flow")
	if without.expect("/account/login"); flow == "" {
		t.Fatal("no flow")
	}
	// In a real browser the redirect is followed with the cookie.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.gateway.public+"/oauth/authorize", strings.NewReader(post.Query().Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := in.http.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if len(resp.Cookies()) != 0 {
		t.Error("the post replaces the browser's session")
	}
	b.visit(resp.Header.Get("Location")).expect("/account/consent")
	if b.cookie() != before {
		t.Error("the session was replaced")
	}
	if got := b.submit("decision=allow").redeem("diary"); got.Patient != "P1" {
		t.Errorf("%+v", got)
	}
	// The flow was bound to that browser: another cannot take it up.
	in.browser().visit(resp.Header.Get("Location")).refused(http.StatusForbidden)
}

// What an app is registered for is said in words, whatever it is; for what its staff may not act, there is no way.
func TestConsentSaysThePurpose(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser().visit("/account/apps").signIn("nora").expect("/account/apps")
	record, err := in.gateway.store.ClientRecord(t.Context(), "diary")
	if err != nil {
		t.Fatal(err)
	}
	for purpose, says := range map[string]string{"": "Treatment of the patient", "COC": "Coordination of the patient’s care", "HPAYMT": "Payment for care", "CAREMGT": "Management of care", "HSYSADMIN": "cannot be used with your account", "PATRQT": "cannot be used with your account"} {
		record.OAuth.DefaultPurpose = purpose
		if err := in.gateway.store.PutClient(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		in.clock.advance(2 * time.Second)
		b.visit(in.authorize("diary", "openid user/Goal.rs")).refused(http.StatusOK).shows(says)
	}
}
