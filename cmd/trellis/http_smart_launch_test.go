package main

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/auth/smart"
	"trellis/gateway/store"
	"trellis/gateway/telemetry"
)

// An EHR makes a launch handle for what its organisation may see, and the app that gets it comes back with patient and
// encounter (1.2 EHR launch, 1.3 launch context).
func TestEHRMakesLaunch(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		in.register(oauth.Client{ID: "ehr", Organization: "hospital", Scopes: []string{"system/*.rs", oauth.ScopeLaunch}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}, false)
		for _, doc := range []string{
			`{"resourceType":"Encounter","id":"ENC1","status":"in-progress","class":{"code":"AMB"},"subject":{"reference":"Patient/P1"}}`,
			`{"resourceType":"Encounter","id":"ENC2","status":"in-progress","class":{"code":"AMB"},"subject":{"reference":"Patient/P2"}}`,
		} {
			var head struct{ ID string }
			if err := json.Unmarshal([]byte(doc), &head); err != nil {
				t.Fatal(err)
			}
			if a := in.as(loading("hospital"), "").ask(request{method: "PUT", path: "Encounter/" + head.ID, body: []byte(doc)}); a.status != 201 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		launch := func(client, scope, body string) reply {
			return in.send(request{method: "POST", path: in.gateway.public + "/smart/launch", contentType: "application/json", body: []byte(body),
				header: map[string]string{"Authorization": "Bearer " + in.token(client, "TREAT", scope)}})
		}
		const good = `{"client":"diary","patient":"P1","encounter":"ENC1","user":" Nora ","intent":"order-review"}`
		a := launch("ehr", oauth.ScopeLaunch, good)
		var made struct{ Launch, ISS, LaunchURL string }
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(a.body), "launch_url", "launchURL")), &made); err != nil || a.status != 201 || made.Launch == "" || made.ISS != in.gateway.base || made.LaunchURL != appLaunch {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for body, status := range map[string]int{
			`{"client":"diary","patient":"P1","encounter":"ENC2"}`:                          404, // another patient's
			`{"client":"diary","patient":"NOBODY"}`:                                         404,
			`{"client":"diary","patient":"../P1"}`:                                          422,
			`{"client":"hospital","patient":"P1"}`:                                          422, // no app
			`{"client":"none","patient":"P1"}`:                                              422,
			`{"client":"diary","patient":"P1","user":"nobody"}`:                             422,
			`{"client":"diary","patient":"P1","user":"dora"}`:                               422, // disabled
			`{"client":"diary","patient":"P1","intent":"` + strings.Repeat("x", 200) + `"}`: 422,
			`[]`: 400,
		} {
			if a := launch("ehr", oauth.ScopeLaunch, body); a.status != status {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		if a := launch("ehr", "system/*.rs", good); a.status != 403 {
			t.Errorf("without its scope: %d", a.status)
		}
		b := in.browser()
		b.visit(in.authorize("diary", "launch openid fhirUser patient/Patient.rs", "launch="+made.Launch))
		b.signIn("nora").expect("/account/consent").submit("decision=allow")
		token := in.send(request{method: "POST", path: in.gateway.tokenURL, contentType: "application/x-www-form-urlencoded", body: []byte(url.Values{"grant_type": {"authorization_code"},
			"client_id": {"diary"}, "code": {b.answer().Get("code")}, "redirect_uri": {appRedirect}, "code_verifier": {appVerifier}}.Encode())})
		var given map[string]any
		if err := json.Unmarshal(token.body, &given); err != nil {
			t.Fatal(err)
		}
		if token.status != 200 || given["patient"] != "P1" || given["encounter"] != "ENC1" || given["intent"] != "order-review" || given["need_patient_banner"] != false {
			t.Errorf("%d %v", token.status, given)
		}
		style, _ := given["smart_style_url"].(string)
		if a := in.send(request{method: "GET", path: style}); a.status != 200 || !json.Valid(a.body) {
			t.Errorf("smart_style_url without a token: %d %s", a.status, a.body)
		}
	})
}

// 1.3 granted scopes: what was asked for all types covers every type of the compartment, and each can be searched.
func TestGrantCoversTheCompartment(t *testing.T) {
	granted, err := smart.Parse("launch/patient openid fhirUser offline_access patient/*.read")
	if err != nil {
		t.Fatal(err)
	}
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load("K1")
	in.registerApp("app")
	self := in.self("P1", "patient/*.rs")
	for _, typ := range []string{"AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "DiagnosticReport", "DocumentReference", "Goal", "Immunization", "MedicationRequest",
		"Observation", "Patient", "Procedure", "Provenance", "ServiceRequest", "Coverage", "MedicationDispense", "Specimen", "Location"} {
		query := typ + "?patient=P1"
		switch typ {
		case "Patient":
			query = "Patient?_id=P1"
		case "Location":
			query = "Location?name=x"
		}
		if a := self.get(query); a.status != 200 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
		if !granted.Allows(smart.Patient, typ, smart.Read) || !granted.Allows(smart.Patient, typ, smart.Search) {
			t.Errorf("%s is not covered", typ)
		}
	}
}

// Threat "revocation": what a person takes back on one replica is refused by another within a second, however many
// tokens there were.
func TestRevocationOnEveryReplica(t *testing.T) {
	where := location{data: t.TempDir(), postgres: database(t)}
	in := newInstallation(t, where, "")
	in.load("K1")
	in.registerApp("app")
	self := in.self("P1", "patient/*.rs")
	kept := in.gateway.store.OAuth()
	list, err := kept.Authorizations(t.Context(), "user-P1", in.clock.now())
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	for n := range 3000 {
		err := kept.SaveToken(t.Context(), oauth.Token{Signature: strings.Repeat("x", 20) + time.Duration(n).String(), RequestID: list[0].ID, Use: oauth.UseRefresh, ClientID: "app",
			IssuedAt: in.clock.now(), ExpiresAt: in.clock.now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
	}
	other, err := assemble(t.Context(), deployment{location: where, logger: telemetry.NewLogger(in.log), clock: in.clock.now,
		config: config{PublicURL: in.gateway.public, AllowPrivate: true, Posture: demoPosture(), Organizations: fixtureOrganizations(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.close(); err != nil {
			t.Error(err)
		}
	}()
	there := func() int {
		r := httptest.NewRequest("GET", "/fhir/Patient/P1", nil)
		r.Header.Set("Authorization", "Bearer "+self.token)
		w := httptest.NewRecorder()
		other.handler.ServeHTTP(w, r)
		return w.Code
	}
	if status := there(); status != 200 {
		t.Fatalf("the other replica answers %d", status)
	}
	if err := kept.RevokeAuthorization(t.Context(), list[0].ID, in.clock.now()); err != nil {
		t.Fatal(err)
	}
	in.clock.advance(time.Second)
	if status := there(); status != 401 {
		t.Errorf("a second later the other replica answers %d", status)
	}
}

// Threat "introspection scanning": whoever fails again and again is slowed down, and clients that ask for tokens meanwhile
// are not.
func TestScanningIsSlow(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load("K1")
	last := 0
	for range 200 {
		if last = in.send(request{method: "POST", path: in.gateway.public + "/oauth/introspect", contentType: "application/x-www-form-urlencoded", body: []byte("token=guess&client_id=guess")}).status; last == 429 {
			break
		}
	}
	if last != 429 {
		t.Errorf("200 failures in a row: %d", last)
	}
	if a := in.as("hospital", "").get("Patient/P1"); a.status != 200 {
		t.Errorf("a client that fails at nothing: %d", a.status)
	}
}

// Ids nobody could have are refused, not stumbled over, on both stores.
func TestImpossibleClientIDs(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		for _, id := range []string{"%ff", "%00", "a%00b", strings.Repeat("x", 5000)} {
			for path, status := range map[string]int{"/oauth/token": 401, "/oauth/par": 401, "/oauth/introspect": 401, "/oauth/revoke": 401} {
				a := in.send(request{method: "POST", path: in.gateway.public + path, contentType: "application/x-www-form-urlencoded",
					body: []byte("grant_type=authorization_code&code=x.y&token=x.y&client_id=" + id)})
				if a.status != status {
					t.Errorf("%s with client_id %.10s: %d %s", path, id, a.status, a.body)
				}
			}
			if a := in.send(request{method: "GET", path: in.gateway.public + "/oauth/authorize?aud=" + url.QueryEscape(in.gateway.base) + "&client_id=" + id}); a.status != 400 {
				t.Errorf("authorize with client_id %.10s: %d", id, a.status)
			}
		}
	})
}

// Log scan: after a launch, a refresh, an introspection and a revocation no code, token, secret, launch handle or cookie
// stands in any line. (That no patient's value does is checked after every test.)
func TestLogHoldsNoSecrets(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	deployment, err := in.gateway.store.Secret(t.Context(), "oauth")
	if err != nil {
		t.Fatal(err)
	}
	secret := oauth.NewSecret()
	err = in.gateway.store.PutClient(t.Context(), store.ClientRecord{OAuth: oauth.Client{ID: "secretive", Name: "Secretive", Organization: "hospital", RedirectURIs: []string{appRedirect},
		SecretHash: oauth.HashSecret(oauth.SecretKey(deployment), secret), Scopes: strings.Fields("launch openid fhirUser offline_access patient/*.rs")}})
	if err != nil {
		t.Fatal(err)
	}
	handle, err := in.launchHandle(oauth.Launch{Client: "secretive", User: "u-maya", Patient: "P1"})
	if err != nil {
		t.Fatal(err)
	}
	b := in.browser()
	b.visit(in.authorize("secretive", "launch openid fhirUser offline_access patient/Patient.rs", "launch="+handle))
	b.signIn("maya").expect("/account/consent").submit("decision=allow")
	code := b.answer().Get("code")
	secrets := []string{secret, handle, code, appVerifier, rightPassword}
	post := func(path string, form url.Values) map[string]any {
		form.Set("client_id", "secretive")
		form.Set("client_secret", secret)
		a := in.send(request{method: "POST", path: in.gateway.public + path, contentType: "application/x-www-form-urlencoded", body: []byte(form.Encode())})
		var body map[string]any
		if err := json.Unmarshal(a.body, &body); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if s, ok := body[name].(string); ok {
				secrets = append(secrets, s)
			}
		}
		return body
	}
	first := post("/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {appRedirect}, "code_verifier": {appVerifier}})
	second := post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)}})
	token := second["access_token"].(string)
	post("/oauth/introspect", url.Values{"token": {token}})
	for _, path := range []string{"Patient/P1", "Patient/P1?access_token=" + token} {
		in.send(request{method: "GET", path: path, header: map[string]string{"Authorization": "Bearer " + token}})
	}
	post("/oauth/revoke", url.Values{"token": {token}})
	if len(secrets) < 11 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	log := in.log.String()
	for i, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s)} {
			if strings.Contains(log, form) {
				t.Errorf("secret %d is in the log", i)
			}
		}
	}
	if slices.Contains(secrets, "") {
		t.Error("a secret is empty, so that its absence proves nothing")
	}
}

// Trap 22: online_access lasts as long as the person stays signed in: through a quiet hour in the app, but not past a new
// password, and not at all for a code redeemed after signing out.
func TestOnlineAccessIsTheLogins(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	refresh := func(given issued) issued {
		return in.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {given.Refresh}, "client_id": {"diary"}})
	}
	b := in.browser()
	b.visit(in.authorize("diary", "launch/patient online_access patient/Goal.rs")).signIn("maya")
	given := b.submit("decision=allow").redeem("diary")
	in.clock.advance(time.Hour)
	if given = refresh(given); given.status != 200 {
		t.Fatalf("after an hour in the app: %d %s", given.status, given.Error)
	}
	err := in.gateway.store.ChangeUser(t.Context(), "u-maya", func(u *people.User) error { u.Password = "another"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := refresh(given); got.status != 400 {
		t.Errorf("after a new password: %d", got.status)
	}
	in.putUser(people.User{ID: "u-late", Login: "late", Name: "Late", Patients: []string{"P1"}, Password: mustHash(t)})
	late := in.browser()
	late.visit(in.authorize("diary", "launch/patient online_access patient/Goal.rs")).signIn("late").submit("decision=allow")
	kept := late.location
	late.visit(in.gateway.public + "/account/logout").submit("")
	late.location = kept
	if got := late.redeem("diary"); got.status != 400 {
		t.Errorf("a code redeemed after signing out: %d %s", got.status, got.Scope)
	}
}

func mustHash(t *testing.T) string {
	t.Helper()
	hash, err := hashed()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// What somebody allows holds for the record the page was about: a form of one tab, sent after another record was chosen in
// a second tab, gives neither.
func TestConsentIsForWhatItShowed(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit(in.authorize("diary", "launch/patient patient/Goal.rs")).signIn("two").expect("/account/patient")
	b.submit("decision=go", "patient=P1").expect("/account/consent")
	action, first := b.form()
	b.visit("/account/patient?flow=" + b.at.Query().Get("flow")).expect("/account/patient")
	b.submit("decision=go", "patient=P2").expect("/account/consent")
	first.Set("decision", "allow")
	b.send("POST", action, first, nil)
	if b.location != "" {
		t.Fatalf("the app was reached: %s", b.location)
	}
	if got := b.expect("/account/consent").submit("decision=allow").redeem("diary"); got.Patient != "P2" {
		t.Errorf("the second page gave %+v", got)
	}
}

// A session opened with a password alone ends when its account becomes staff's.
func TestStaffNeedsItsFactorAtOnce(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	b := in.browser()
	b.visit("/account/apps").signIn("maya").expect("/account/apps")
	err := in.gateway.store.ChangeUser(t.Context(), "u-maya", func(u *people.User) error {
		u.Positions = []people.Position{{Organization: "hospital", Practitioner: "DR2", Kind: people.KindPractitioner}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.visit("/account/launch").expect("/account/login")
}

// What apps had through an account that was turned off stays ended when it is turned on again, and so do sessions.
func TestDisablingEndsAppsForGood(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := loginInstallation(t, where)
		in.clock.set(time.Now()) // the command has the machine's time
		b := in.browser()
		b.visit(in.authorize("diary", "launch/patient offline_access patient/Goal.rs")).signIn("maya")
		given := b.submit("decision=allow").redeem("diary")
		for _, verb := range []string{"disable", "enable"} {
			args := []string{verb, "--login", "maya", "--data", where.data}
			if where.postgres != "" {
				args = append(args, "--postgres", where.postgres)
			}
			var out, faults strings.Builder
			if code := runUser(args, &out, &faults); code != 0 {
				t.Fatalf("%s: %s", verb, faults.String())
			}
		}
		if got := in.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {given.Refresh}, "client_id": {"diary"}}); got.status != 400 {
			t.Errorf("refresh: %d", got.status)
		}
		b.visit("/account/apps").expect("/account/login")
	})
}

// Nobody leafs through all patients: a search takes two letters of a name.
func TestBlankSearchFindsNobody(t *testing.T) {
	in := loginInstallation(t, location{data: t.TempDir()})
	for _, name := range []string{"", "  ", "a ", " a b "} {
		b := in.browser()
		b.visit("/account/launch").signIn("nora").expect("/account/launch")
		b.submit("decision=search", "name="+name).refused(422)
		in.clock.advance(time.Minute) // a code is good once
	}
}

// A demonstration's data do not become a real installation's, nor the other way round.
func TestDemonstrationsDataStayApart(t *testing.T) {
	where := location{data: t.TempDir()}
	in := newInstallation(t, where, "")
	in.load("K1")
	if err := ownData(t.Context(), in.gateway.store); err == nil {
		t.Error("a demonstration would start on an installation's data")
	}
	if err := in.gateway.store.PutSetting(t.Context(), settingTour, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := ownData(t.Context(), in.gateway.store); err != nil {
		t.Errorf("a demonstration does not find its data again: %v", err)
	}
	file := filepath.Join(t.TempDir(), "trellis.yaml")
	doc := "public_url: https://gateway.example.org\nlisten: 127.0.0.1:0\ndata: " + where.data + "\nposture: {part2_program: false, covered_entity: true, business_associate_of: [], qsoa_with: [], intermediary: false}\norganizations:\n  - {id: hospital, name: Hospital, class: covered_entity}\n"
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, faults strings.Builder
	if code := runServe([]string{"--config", file}, &out, &faults); code != 1 || !strings.Contains(faults.String(), "demonstration") {
		t.Errorf("serve on a demonstration's data: %d %s %s", code, out.String(), faults.String())
	}
}
