package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"trellis/auth/oauth"
	"trellis/gateway/store"
)

// chromium is a real browser, headless, with one page of the app made of the npm library fhirclient on an origin of its own.
type chromium struct {
	*installation
	ctx context.Context
	app string // base URL of the app's pages
}

// browserApp is the app's client id.
const browserApp = "browser-app"

// newChromium starts Chromium and the app for an installation with people.
func newChromium(t *testing.T, where location) *chromium {
	t.Helper()
	in := loginInstallation(t, where)
	mux := http.NewServeMux()
	npm := filepath.Join("..", "..", "conformance", "npm")
	if _, err := os.Stat(filepath.Join(npm, "node_modules")); err != nil {
		t.Fatalf("%v: run `make deps` first", err)
	}
	for path, file := range map[string]string{"/launch.html": "launch.html", "/app.html": "app.html", "/app.js": "app.js", "/fhir-client.js": "node_modules/fhirclient/build/fhir-client.js"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(npm, file)) })
	}
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	err := in.gateway.store.PutClient(t.Context(), store.ClientRecord{OAuth: oauth.Client{ID: browserApp, Name: "Page on fhirclient", Organization: "hospital",
		RedirectURIs: []string{app.URL + "/app.html"}, LaunchURL: app.URL + "/launch.html",
		Scopes: strings.Fields("launch launch/patient openid fhirUser offline_access online_access patient/*.rs user/*.rs")}})
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("lang", "en-US"))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, expire := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(expire)
	return &chromium{installation: in, ctx: ctx, app: app.URL}
}

func (b *chromium) run(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		var at, text string
		_ = chromedp.Run(b.ctx, chromedp.Location(&at), chromedp.Text("body", &text)) // whatever can still be learned
		b.t.Fatalf("%v\nat %s\n%s", err, at, text)
	}
}

// picture keeps a page at phone and desktop width: `go test -artifacts` keeps them.
func (b *chromium) picture(name string) {
	b.t.Helper()
	dir := b.t.(*testing.T).ArtifactDir()
	for _, size := range []struct {
		name string
		w, h int64
	}{{"phone", 390, 844}, {"desktop", 1280, 900}} {
		var png []byte
		var wide bool
		b.run(chromedp.EmulateViewport(size.w, size.h),
			chromedp.Evaluate(`document.documentElement.scrollWidth > document.documentElement.clientWidth`, &wide),
			chromedp.FullScreenshot(&png, 100))
		if wide {
			b.t.Errorf("%s scrolls sideways at %d pixels", name, size.w)
		}
		if err := os.WriteFile(filepath.Join(dir, name+"-"+size.name+".png"), png, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// standalone opens the app, which sends the browser to the gateway.
func (b *chromium) standalone(scope string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.app+"/launch.html?"+url.Values{"iss": {b.gateway.base}, "client": {browserApp}, "scope": {scope}}.Encode()),
		chromedp.WaitVisible(`#login`))
}

// signIn fills the form as somebody with a password only.
func (b *chromium) signIn(login string) {
	b.t.Helper()
	b.run(chromedp.SendKeys(`#login`, login), chromedp.SendKeys(`#password`, rightPassword), chromedp.Submit(`#password`))
}

// decide presses one of the two buttons of the consent page.
func (b *chromium) decide(decision string) {
	b.t.Helper()
	b.run(chromedp.Click(`button[name=decision][value=`+decision+`]`, chromedp.NodeVisible))
}

// outcome is what the app was given.
type outcome struct {
	Error             string
	Scope             string
	Patient           string
	Encounter         string
	NeedPatientBanner bool
	FHIRUser          string
	User              any
	Conditions        any
	Refreshed         *struct {
		Changed bool
		Patient string
	}
	Offline bool
}

func (b *chromium) outcome() outcome {
	b.t.Helper()
	var text string
	b.run(chromedp.WaitReady(`body[data-state]`), chromedp.Text(`#result`, &text))
	var o outcome
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		b.t.Fatalf("%v in %s", err, text)
	}
	return o
}

// conditions are the ids the app found, sorted.
func (o outcome) conditions() []string {
	list := texts(o.Conditions)
	slices.Sort(list)
	return list
}

// A patient launches the app alone: signs in, agrees to everything, and the library reads, searches and refreshes.
func TestBrowserStandaloneLaunch(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		b := newChromium(t, where)
		b.standalone("launch/patient openid fhirUser offline_access patient/*.rs")
		b.picture("1-sign-in")
		b.signIn("maya")
		b.run(chromedp.WaitVisible(`button[name=decision][value=allow]`))
		b.picture("2-consent-everything")
		b.decide("allow")
		got := b.outcome()
		if got.Error != "" || got.Patient != "P1" || !got.NeedPatientBanner || got.FHIRUser != "Patient/P1" || got.User != "Patient" {
			t.Errorf("%+v", got)
		}
		if !slices.Contains(got.conditions(), "C1") {
			t.Errorf("her diagnosis is not among %v", got.Conditions)
		}
		if !got.Offline || got.Refreshed == nil || !got.Refreshed.Changed || got.Refreshed.Patient != "P1" {
			t.Errorf("refresh: %+v", got.Refreshed)
		}
	})
}

// A patient says no: the app hears access_denied and gets nothing.
func TestBrowserRefusal(t *testing.T) {
	b := newChromium(t, location{data: t.TempDir()})
	b.standalone("launch/patient openid fhirUser offline_access patient/Patient.rs patient/Condition.rs")
	b.signIn("maya")
	b.run(chromedp.WaitVisible(`button[name=decision][value=refuse]`))
	b.picture("consent")
	b.decide("refuse")
	if got := b.outcome(); got.Error != "access_denied" {
		t.Errorf("%+v", got)
	}
	list, err := b.gateway.store.OAuth().Authorizations(t.Context(), "u-maya", b.clock.now())
	if err != nil || len(list) != 0 {
		t.Errorf("a refusal left %v %v", list, err)
	}
}

// A patient gives less than was asked: no conditions, no access when away. The app's search for them is refused.
func TestBrowserNarrowing(t *testing.T) {
	b := newChromium(t, location{data: t.TempDir()})
	b.standalone("launch/patient openid fhirUser offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs")
	b.signIn("maya")
	b.run(chromedp.WaitVisible(`button[name=decision][value=allow]`),
		chromedp.Click(`input[name*="Condition"][value=none]`), chromedp.Click(`input[name=grant][value*=offline_access]:checked`))
	b.picture("consent-narrowed")
	b.decide("allow")
	got := b.outcome()
	scopes := strings.Fields(got.Scope)
	if got.Error != "" || got.Offline || got.Refreshed != nil || got.Patient != "P1" {
		t.Errorf("%+v", got)
	}
	if slices.ContainsFunc(scopes, func(s string) bool { return strings.Contains(s, "Condition") || s == "offline_access" }) || !slices.Contains(scopes, "patient/Observation.rs") {
		t.Errorf("granted %v", scopes)
	}
	if refused, _ := got.Conditions.(map[string]any); refused["refused"] == nil {
		t.Errorf("conditions: %v", got.Conditions)
	}
}

// An EHR launches the app for a clinician, who signs in with a second factor; the app comes back in the patient's context,
// and goes on for as long as the clinician stays signed in.
func TestBrowserEHRLaunch(t *testing.T) {
	b := newChromium(t, location{data: t.TempDir()})
	if a := b.as(loading("hospital"), "").ask(request{method: "PUT", path: "Practitioner/DR1", body: []byte(`{"resourceType":"Practitioner","id":"DR1","active":true}`)}); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	// The EHR: it makes a handle with a token of its own and sends the browser to the app.
	b.register(oauth.Client{ID: "ehr", Organization: "hospital", Scopes: []string{oauth.ScopeLaunch}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
	a := b.send(request{method: "POST", path: b.gateway.public + "/smart/launch", contentType: "application/json", body: []byte(`{"client":"` + browserApp + `","patient":"P1","user":"nora"}`),
		header: map[string]string{"Authorization": "Bearer " + b.token("ehr", "TREAT", oauth.ScopeLaunch)}})
	var made struct{ Launch string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	b.run(chromedp.Navigate(b.app+"/launch.html?"+url.Values{"iss": {b.gateway.base}, "launch": {made.Launch}, "client": {browserApp},
		"scope": {"launch openid fhirUser online_access patient/Patient.rs patient/Condition.rs user/Practitioner.rs"}}.Encode()), chromedp.WaitVisible(`#login`))
	b.signIn("nora")
	b.run(chromedp.WaitVisible(`#code`))
	b.picture("1-second-factor")
	b.run(chromedp.SendKeys(`#code`, b.code("nora")), chromedp.Submit(`#code`), chromedp.WaitVisible(`button[name=decision][value=allow]`))
	b.picture("2-consent-staff")
	b.decide("allow")
	got := b.outcome()
	if got.Error != "" || got.Patient != "P1" || got.NeedPatientBanner || got.FHIRUser != "Practitioner/DR1" || got.User != "Practitioner" {
		t.Errorf("%+v", got)
	}
	if got.Refreshed == nil || !got.Refreshed.Changed {
		t.Errorf("online access was not refreshed: %+v", got.Refreshed)
	}
}

// A patient looks at what apps have, takes it back, and the app's tokens are dead within a second.
func TestBrowserRevocation(t *testing.T) {
	b := newChromium(t, location{data: t.TempDir()})
	b.standalone("launch/patient openid fhirUser offline_access patient/Patient.rs patient/Condition.rs")
	b.signIn("maya")
	b.run(chromedp.WaitVisible(`button[name=decision][value=allow]`))
	b.decide("allow")
	if got := b.outcome(); got.Error != "" {
		t.Fatalf("%+v", got)
	}
	var token string
	b.run(chromedp.Evaluate(`(() => { for (const k of Object.keys(sessionStorage)) { try { const v = JSON.parse(sessionStorage[k]); if (v && v.tokenResponse) return v.tokenResponse.access_token } catch (e) {} } return "" })()`, &token))
	read := func() int {
		return b.send(request{method: "GET", path: "Patient/P1", header: map[string]string{"Authorization": "Bearer " + token}}).status
	}
	if status := read(); status != 200 {
		t.Fatalf("the app's token reads %d", status)
	}
	b.run(chromedp.Navigate(b.gateway.public+"/account/apps"), chromedp.WaitVisible(`button[name=revoke]`))
	b.picture("1-apps")
	b.run(chromedp.Click(`button[name=revoke]`), chromedp.WaitVisible(`.done`))
	b.picture("2-taken-back")
	b.clock.advance(time.Second)
	if status := read(); status != 401 {
		t.Errorf("after taking it back the app's token reads %d", status)
	}
}
