package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/gateway/audit"
	"trellis/gateway/login"
	"trellis/gateway/telemetry"
)

// Every page asked for by nobody, and every form sent by nobody, shows nothing of anybody and changes nothing; and comes
// with every header. The list is the pages' own.
func TestEveryPageForNobody(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	grants := len(in.happened(audit.AppGrant))
	for _, r := range (&login.Server{}).Routes() {
		b := in.browser()
		b.send(r.Method, r.Path, url.Values{"token": {"x"}, "flow": {"x"}, "login": {"maya"}}, nil)
		switch {
		case b.location != "":
			t.Errorf("%s %s sends a stranger to %s", r.Method, r.Path, b.location)
		case r.Method == http.MethodPost && r.Path != "/oauth/authorize" && b.status != http.StatusForbidden && b.at.Path != "/account/login":
			t.Errorf("%s %s: %d", r.Method, r.Path, b.status)
		case strings.Contains(b.text, "Okafor") || strings.Contains(strings.ToLower(b.text), canary):
			t.Errorf("%s %s shows people", r.Method, r.Path)
		}
	}
	if n := len(in.happened(audit.AppGrant)); n != grants {
		t.Errorf("%d answers to apps by nobody", n)
	}
	in.browser().visit("/account/nothing").refused(http.StatusNotFound)
	in.browser().visit("/account/style.css?v=1")
}

// A form another site sends, one sent twice, one of another page, of another flow or of another person changes nothing.
func TestForgedForms(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", standalone)).signIn("maya").expect("/account/consent")
	address := b.at.String()
	fresh := func() (string, url.Values) {
		b.visit(address).expect("/account/consent")
		action, form := b.form()
		form.Set("decision", "allow")
		return action, form
	}
	for name, header := range map[string]map[string]string{
		"another site":       {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
		"another site, null": {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
		"a sibling":          {"Sec-Fetch-Site": "same-site", "Origin": "null"},
		"an old browser":     {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
		"another port":       {"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:1"},
	} {
		action, form := fresh()
		b.send(http.MethodPost, action, form, header)
		if b.location != "" || b.status != http.StatusForbidden {
			t.Errorf("%s: %d, sent to %q", name, b.status, b.location)
		}
	}
	for name, spoil := range map[string]func(url.Values){
		"no token":      func(f url.Values) { f.Del("token") },
		"empty token":   func(f url.Values) { f.Set("token", "") },
		"made-up token": func(f url.Values) { f.Set("token", strings.Repeat("A", 43)) },
		"no flow":       func(f url.Values) { f.Del("flow") },
		"made-up flow":  func(f url.Values) { f.Set("flow", strings.Repeat("A", 43)) },
	} {
		action, form := fresh()
		spoil(form)
		b.send(http.MethodPost, action, form, nil)
		if b.location != "" || b.status != http.StatusForbidden {
			t.Errorf("%s: %d, sent to %q", name, b.status, b.location)
		}
	}
	// The token of another page of the same session.
	_, form := b.visit("/account/apps").form()
	action, consent := fresh()
	consent.Set("token", form.Get("token"))
	b.send(http.MethodPost, action, consent, nil).refused(http.StatusForbidden)
	// The token of another flow of the same session.
	b.visit(in.authorize("diary", "launch/patient patient/Goal.rs")).expect("/account/consent")
	_, form = b.form()
	action, consent = fresh()
	consent.Set("token", form.Get("token"))
	b.send(http.MethodPost, action, consent, nil).refused(http.StatusForbidden)
	// An old page.
	action, consent = fresh()
	in.clock.advance(29 * time.Minute)
	b.visit("/account/apps")
	in.clock.advance(2 * time.Minute)
	b.send(http.MethodPost, action, consent, nil).refused(http.StatusForbidden)
	if got := in.happened(audit.AppGrant); len(got) != 0 {
		t.Errorf("the log has %v", got)
	}
	// Somebody else's flow and form, in their own browser.
	b.visit(in.authorize("diary", standalone)).expect("/account/consent")
	address = b.at.String()
	action, consent = fresh()
	mallory := in.browser().visit("/account/apps").signIn("two")
	mallory.visit(address).refused(http.StatusForbidden)
	mallory.send(http.MethodPost, action, consent, nil).refused(http.StatusForbidden)
	// Its owner can still send it: once, and twice not.
	b.send(http.MethodPost, action, consent, nil).redeem("diary")
	b.send(http.MethodPost, action, consent, nil).refused(http.StatusForbidden)
	b.visit(address).refused(http.StatusForbidden).shows("answered this app already")
	if got := len(in.happened(audit.AppGrant)); got != 1 {
		t.Errorf("%d answers in the log", got)
	}
}

// A double click sends a form many times at once; the app gets one code.
func TestConsentIsGivenOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		b := in.browser()
		b.visit(in.authorize("diary", standalone)).signIn("maya")
		action, form := b.form()
		form.Set("decision", "allow")
		var mu sync.Mutex
		var codes int
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, in.gateway.public+action, strings.NewReader(form.Encode()))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				req.Header.Set("Cookie", "trellis="+b.cookie())
				resp, err := in.http.Transport.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if resp.StatusCode == http.StatusSeeOther && strings.Contains(resp.Header.Get("Location"), "code=") {
					codes++
				}
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if codes != 1 {
			t.Errorf("%d codes", codes)
		}
	})
}

// The session's name changes when somebody signs in, and again with the second factor; earlier names open nothing, so that
// a name somebody else planted is worth nothing.
func TestSessionFixation(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	attacker := in.browser().visit("/account/apps")
	planted := attacker.cookie()
	b := in.browser()
	b.setCookie(planted)
	b.visit("/account/apps").expect("/account/login")
	if b.cookie() != planted {
		t.Fatal("the planted name was not taken, so that its change proves nothing")
	}
	b.submit("", "login=nora", "password="+rightPassword).expect("/account/factor")
	half := b.cookie()
	b.submit("", "code="+in.code("nora")).expect("/account/apps")
	whole := b.cookie()
	if half == planted || whole == planted || whole == half {
		t.Error("the session keeps its name")
	}
	for name, old := range map[string]string{"planted": planted, "before the second factor": half, "made up": strings.Repeat("A", 43), "long": strings.Repeat("A", 5000)} {
		other := in.browser()
		other.setCookie(old)
		if other.visit("/account/apps"); other.at.Path != "/account/login" {
			t.Errorf("%s: opens %s", name, other.at.Path)
		}
	}
	// With half a session nothing opens but the code.
	other := in.browser().visit("/account/launch").submit("", "login=nora", "password="+rightPassword).expect("/account/factor")
	for _, path := range []string{"/account/apps", "/account/launch", "/account"} {
		if other.visit(path); other.at.Path != "/account/factor" {
			t.Errorf("a password alone opens %s", other.at.Path)
		}
	}
	// Whoever gave the password need not give the code: they can leave.
	other.visit("/account/logout").expect("/account/logout").submit("").shows("You are signed out")
	other.visit("/account/apps").expect("/account/login")
	// Flows begun by whoever planted the name do not go along.
	attacker.visit(in.authorize("diary", standalone))
	b.visit(attacker.at.String()).refused(http.StatusForbidden)
}

// Whether an account exists, is disabled or has no password makes no difference to who guesses; after five tries neither
// does the right password, for a quarter of an hour.
func TestLockout(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		in.putUser(people.User{ID: "u-empty", Login: "empty", Name: "Empty", Patients: []string{"P1"}})
		try := func(login, password string) (int, string) {
			b := in.browser().visit("/account/apps").submit("", "login="+login, "password="+password)
			return b.status, strings.ReplaceAll(said(b.page), login, "")
		}
		var texts []string
		for _, login := range []string{"maya", "nobody", "dora", "empty"} {
			for range 5 {
				status, text := try(login, "wrong password")
				if status != http.StatusUnprocessableEntity || !strings.Contains(text, "do not match") {
					t.Fatalf("%s: %d %s", login, status, text)
				}
				texts = append(texts, text)
			}
			status, text := try(login, rightPassword)
			if status != http.StatusTooManyRequests || !strings.Contains(text, "Wait 15 minutes") {
				t.Errorf("%s: %d %s", login, status, text)
			}
		}
		if slices.Sort(texts); len(slices.Compact(texts)) != 1 {
			t.Errorf("answers differ: %q", slices.Compact(texts))
		}
		in.clock.advance(15 * time.Minute)
		if status, text := try("maya", rightPassword); status != http.StatusOK {
			t.Errorf("after a while: %d %s", status, text)
		}
		if status, _ := try("dora", rightPassword); status != http.StatusUnprocessableEntity {
			t.Errorf("a disabled account: %d", status)
		}
		for range 4 {
			try("maya", "wrong password")
		}
		if status, _ := try("maya", rightPassword); status != http.StatusOK {
			t.Error("four misses lock")
		}
		if status, _ := try("maya", "wrong password"); status != http.StatusUnprocessableEntity {
			t.Error("a right password does not make up for misses before it")
		}
		refused := 0
		for _, e := range in.events() {
			if e.Kind == audit.Login && e.Outcome == "refused" {
				refused++
				if strings.Contains(string(e.Query)+e.User, "nobody") {
					t.Error("what was typed is in the log")
				}
			}
		}
		if refused != 20+4+1+4+1 {
			t.Errorf("%d refusals in the log", refused)
		}
	})
}

// Guesses made at once count like guesses made one after the other.
func TestLockoutCountsGuessesMadeAtOnce(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	var browsers []*browser
	for range 12 {
		browsers = append(browsers, in.browser().visit("/account/apps"))
	}
	var wg sync.WaitGroup
	for _, b := range browsers {
		wg.Go(func() { b.submit("", "login=maya", "password=wrong password") })
	}
	wg.Wait()
	locked := 0
	for _, b := range browsers {
		if b.status == http.StatusTooManyRequests {
			locked++
		}
	}
	if locked != 7 {
		t.Errorf("%d of 12 were locked out, want 7", locked)
	}
}

// A code is good once, and can be guessed at five times.
func TestSecondFactorAttempts(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		half := func() *browser {
			return in.browser().visit("/account/apps").submit("", "login=nora", "password="+rightPassword).expect("/account/factor")
		}
		code := in.code("nora")
		half().submit("", "code="+code).expect("/account/apps")
		half().submit("", "code="+code).refused(http.StatusUnprocessableEntity).shows("was used already")
		in.clock.advance(30 * time.Second)
		half().submit("", "code="+code).refused(http.StatusUnprocessableEntity)
		next := in.code("nora")
		both := []*browser{half(), half(), half()}
		var wg sync.WaitGroup
		for _, b := range both {
			wg.Go(func() { b.submit("", "code="+next) })
		}
		wg.Wait()
		in1 := 0
		for _, b := range both {
			if b.at.Path == "/account/apps" {
				in1++
			}
		}
		if in1 != 1 {
			t.Errorf("one code let %d in at once", in1)
		}
		in.clock.advance(15 * time.Minute)
		b := half()
		for range 5 {
			b.submit("", "code=123").refused(http.StatusUnprocessableEntity)
		}
		b.submit("", "code="+in.code("nora")).refused(http.StatusTooManyRequests)
		half().submit("", "code="+in.code("nora")).refused(http.StatusTooManyRequests)
		in.clock.advance(15 * time.Minute)
		half().submit("", "code="+in.code("nora")).expect("/account/apps")
	})
}

// A launch for one member of staff is not for another, and not for another app.
func TestLaunchHijack(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	nora := in.browser().visit("/account/launch").signIn("nora").expect("/account/launch")
	handle := func() string {
		nora.visit("/account/launch").submit("decision=search", "name=zqcanary-ab", "app=diary").submit("decision=launch", "patient=P1", "app=diary")
		u, err := url.Parse(nora.location)
		if err != nil || u.Query().Get("launch") == "" {
			t.Fatalf("%q %v", nora.location, err)
		}
		return "launch=" + u.Query().Get("launch")
	}
	maya := in.browser().visit("/account/apps").signIn("maya")
	maya.visit(in.authorize("diary", "launch patient/*.rs", handle())).refused(http.StatusForbidden).shows("started for somebody else")
	other := in.browser()
	if other.visit(in.authorize("other", "launch patient/*.rs", handle())); other.answer().Get("code") != "" || other.answer().Get("error") == "" {
		t.Errorf("another app is told %v", other.answer())
	}
	in.clock.advance(time.Second)
	late := handle()
	in.clock.advance(6 * time.Minute)
	if nora.visit(in.authorize("diary", "launch patient/*.rs", late)); nora.answer().Get("error") == "" {
		t.Errorf("an old launch tells the app %v", nora.answer())
	}
	// An EHR that does not know accounts leaves the user open; what it chose holds: a patient cannot take up another's.
	ehr, err := in.launchHandle(oauth.Launch{Client: "diary", Patient: "P2"})
	if err != nil {
		t.Fatal(err)
	}
	maya.visit(in.authorize("diary", "launch patient/*.rs", "launch="+ehr)).expect("/account/capacity").shows("cannot be used with your account")
	// A launch for a record the member of staff may not see shows no name and goes nowhere.
	if ehr, err = in.launchHandle(oauth.Launch{Client: "diary", Patient: "hidden"}); err != nil {
		t.Fatal(err)
	}
	nora.visit(in.authorize("diary", "launch patient/*.rs", "launch="+ehr)).refused(http.StatusForbidden).shows("cannot be opened")
	// Patients have no console.
	maya.visit("/account/launch").refused(http.StatusForbidden)
}

// When the audit log cannot be written nobody gets in and no app gets anything.
func TestNothingWithoutLog(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", standalone)).signIn("maya").expect("/account/consent")
	fresh := in.browser().visit("/account/apps")
	staff := in.browser().visit("/account/launch").signIn("nora").expect("/account/launch")
	in.breakAuditLog()
	b.submit("decision=allow").refused(http.StatusServiceUnavailable).shows("written down first")
	fresh.submit("", "login=maya", "password="+rightPassword).refused(http.StatusServiceUnavailable)
	fresh.visit("/account/apps").expect("/account/login")
	staff.submit("decision=search", "name=zqcanary").refused(http.StatusServiceUnavailable)
	if strings.Contains(strings.ToLower(staff.text), canary+"-") {
		t.Error("a name was shown")
	}
}

// Who asks for pages without end is slowed down; and a form too large is not read.
func TestPagesAreLimited(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser().visit("/account/apps")
	action, form := b.form()
	form.Set("login", strings.Repeat("x", 100_000))
	b.send(http.MethodPost, action, form, nil).refused(http.StatusRequestEntityTooLarge)
	for i := range 2000 {
		if in.browser().visit("/account/logout").status == http.StatusTooManyRequests {
			return
		}
		if i == 1999 {
			t.Error("2000 pages at once")
		}
	}
}

// Over TLS the cookie is of this host alone and never travels in the clear.
func TestCookiesOverTLS(t *testing.T) {
	g, err := assemble(t.Context(), deployment{location: location{data: t.TempDir()}, logger: telemetry.NewLogger(io.Discard),
		config: config{PublicURL: "https://gateway.example.org", Posture: demoPosture(), Organizations: demoOrganizations()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}()
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/account/apps?lang=es", nil))
	names := map[string]bool{}
	for _, c := range w.Result().Cookies() {
		names[c.Name] = true
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%+v", c)
		}
	}
	if !names["__Host-trellis"] || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("%v", w.Header())
	}
}

// What a form leads to by redirects is held to form-action too: the policy names the app it may end at, and no other.
func TestFormsMayEndAtTheirApp(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", standalone))
	if got := b.header.Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self';") {
		t.Error(got)
	}
	b.signIn("maya").expect("/account/consent")
	if got := b.header.Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self' https://diary.example;") {
		t.Error(got)
	}
}
