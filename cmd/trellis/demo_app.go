package main

import (
	"context"
	"crypto/sha256"
	_ "embed" // the page stands beside this file
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"trellis/auth/oauth"
	"trellis/gateway/store"
)

//go:embed demo_app.html
var demoAppPage string

// sampleApp is the demonstration's third-party app: a small diary that asks for a person's records by SMART launch, shows
// what it was given, and can be refreshed and disconnected. It speaks to the gateway only as any app would, and is no part of
// a real installation.
type sampleApp struct {
	base   string // where it listens
	fhir   string
	server *http.Server
	page   *template.Template
	http   *http.Client

	mu       sync.Mutex
	pending  map[string]pendingLaunch // by state
	sessions map[string]*appSession   // by cookie
}

// sampleAppID is its client id.
const sampleAppID = "recovery-diary"

// sampleAppScope is what it asks for, besides launch or launch/patient.
const sampleAppScope = "openid fhirUser offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs patient/CarePlan.rs patient/Goal.rs patient/MedicationRequest.rs"

type pendingLaunch struct {
	verifier string
	began    time.Time
}

// appSession is what one browser was given.
type appSession struct {
	token   map[string]any
	Patient string
	Scope   []string
	Records []appRecords
	Note    string
	Expires string
	Offline bool
}

type appRecords struct {
	Type  string
	Lines []string
	Said  string // what the server said instead
}

// startSampleApp listens on a port of its own and registers the app there.
func startSampleApp(ctx context.Context, s *store.Store, fhirBase string) (*sampleApp, error) {
	page, err := template.New("app").Parse(demoAppPage)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &sampleApp{base: "http://" + listener.Addr().String(), fhir: fhirBase, page: page, http: &http.Client{Timeout: 30 * time.Second},
		pending: map[string]pendingLaunch{}, sessions: map[string]*appSession{}}
	err = s.PutClient(ctx, store.ClientRecord{OAuth: oauth.Client{ID: sampleAppID, Name: "Recovery Diary", Organization: "rco", URI: a.base,
		RedirectURIs: []string{a.base + "/callback"}, LaunchURL: a.base + "/launch", Scopes: strings.Fields("launch launch/patient " + sampleAppScope)}})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /launch", a.launch)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("POST /refresh", a.refresh)
	mux.HandleFunc("POST /disconnect", a.disconnect)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.sessions = map[string]*appSession{}
		}
	}()
	return a, nil
}

func (a *sampleApp) close() error { return a.server.Close() }

// home shows what the browser's session was given.
func (a *sampleApp) home(w http.ResponseWriter, r *http.Request) {
	a.show(w, a.session(r), "")
}

func (a *sampleApp) session(r *http.Request) *appSession {
	cookie, err := r.Cookie("diary")
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[cookie.Value]
}

func (a *sampleApp) show(w http.ResponseWriter, s *appSession, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	data := struct {
		Session *appSession
		Problem string
		Launch  string
	}{s, problem, "/launch?iss=" + url.QueryEscape(a.fhir)}
	if err := a.page.Execute(w, data); err != nil {
		return // the browser went away
	}
}

// smartConfiguration is what the server says of itself.
func (a *sampleApp) configuration(ctx context.Context) (map[string]any, error) {
	var doc map[string]any
	return doc, a.call(ctx, http.MethodGet, a.fhir+"/.well-known/smart-configuration", "", nil, &doc)
}

func (a *sampleApp) launch(w http.ResponseWriter, r *http.Request) {
	if iss := r.URL.Query().Get("iss"); iss != a.fhir {
		a.show(w, nil, "This app only knows the server of the demonstration.")
		return
	}
	smart, err := a.configuration(r.Context())
	if err != nil {
		a.show(w, nil, "The server's configuration could not be read.")
		return
	}
	state, verifier := oauth.NewSecret(), oauth.NewSecret()
	digest := sha256.Sum256([]byte(verifier))
	query := url.Values{"response_type": {"code"}, "client_id": {sampleAppID}, "redirect_uri": {a.base + "/callback"}, "state": {state}, "aud": {a.fhir},
		"scope": {"launch/patient " + sampleAppScope}, "code_challenge": {base64.RawURLEncoding.EncodeToString(digest[:])}, "code_challenge_method": {"S256"}}
	if handle := r.URL.Query().Get("launch"); handle != "" {
		query.Set("launch", handle)
		query.Set("scope", "launch "+sampleAppScope)
	}
	a.mu.Lock()
	for old, p := range a.pending {
		if time.Since(p.began) > 10*time.Minute {
			delete(a.pending, old)
		}
	}
	a.pending[state] = pendingLaunch{verifier, time.Now()}
	a.mu.Unlock()
	endpoint, _ := smart["authorization_endpoint"].(string)
	http.Redirect(w, r, endpoint+"?"+query.Encode(), http.StatusFound)
}

func (a *sampleApp) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	pending, known := a.pending[q.Get("state")]
	delete(a.pending, q.Get("state"))
	a.mu.Unlock()
	switch {
	case !known:
		a.show(w, nil, "This answer belongs to no request of this app, or to one that was answered before.")
		return
	case q.Get("error") == "access_denied":
		a.show(w, nil, "You said no. The diary has been given nothing.")
		return
	case q.Has("error"):
		a.show(w, nil, "The server refused: "+q.Get("error"))
		return
	}
	s := &appSession{}
	err := a.ask(r.Context(), s, url.Values{"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {a.base + "/callback"}, "code_verifier": {pending.verifier}})
	if err != nil {
		a.show(w, nil, "The server gave no token: "+err.Error())
		return
	}
	a.read(r.Context(), s)
	cookie := oauth.NewSecret()
	a.mu.Lock()
	a.sessions[cookie] = s
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "diary", Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// ask gets a token.
func (a *sampleApp) ask(ctx context.Context, s *appSession, form url.Values) error {
	smart, err := a.configuration(ctx)
	if err != nil {
		return err
	}
	form.Set("client_id", sampleAppID)
	endpoint, _ := smart["token_endpoint"].(string)
	var token map[string]any
	if err := a.call(ctx, http.MethodPost, endpoint, "", form, &token); err != nil {
		return err
	}
	s.token = token
	scope, _ := token["scope"].(string)
	s.Scope = strings.Fields(scope)
	life, _ := token["expires_in"].(float64)
	s.Expires = time.Now().Add(time.Duration(life) * time.Second).Format("15:04")
	_, s.Offline = token["refresh_token"].(string)
	return nil
}

// read fetches the patient and everything the app was given about them.
func (a *sampleApp) read(ctx context.Context, s *appSession) {
	bearer, _ := s.token["access_token"].(string)
	id, _ := s.token["patient"].(string)
	var patient struct {
		Name []struct {
			Given  []string
			Family string
		}
		BirthDate string
	}
	s.Patient = "Patient/" + id
	if err := a.call(ctx, http.MethodGet, a.fhir+"/Patient/"+url.PathEscape(id), bearer, nil, &patient); err == nil && len(patient.Name) > 0 {
		s.Patient = strings.Join(patient.Name[0].Given, " ") + " " + patient.Name[0].Family + ", born " + patient.BirthDate
	}
	s.Records = nil
	for _, typ := range []string{"Condition", "MedicationRequest", "CarePlan", "Goal", "Observation"} {
		s.Records = append(s.Records, a.search(ctx, bearer, typ, id))
	}
}

func (a *sampleApp) search(ctx context.Context, bearer, typ, patient string) appRecords {
	out := appRecords{Type: typ}
	var bundle struct {
		Entry []struct{ Resource map[string]any }
	}
	if err := a.call(ctx, http.MethodGet, a.fhir+"/"+typ+"?patient="+url.QueryEscape(patient), bearer, nil, &bundle); err != nil {
		out.Said = err.Error()
		return out
	}
	for _, e := range bundle.Entry {
		if e.Resource["resourceType"] == typ {
			out.Lines = append(out.Lines, brief(e.Resource))
		}
	}
	if len(out.Lines) == 0 {
		out.Said = "nothing"
	}
	return out
}

// brief says in a line what a record is.
func brief(r map[string]any) string {
	for _, name := range []string{"code", "medicationCodeableConcept", "description", "category", "title"} {
		value := r[name]
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		if text, ok := value.(string); ok {
			return text
		}
		concept, ok := value.(map[string]any)
		if !ok {
			continue
		}
		if text, ok := concept["text"].(string); ok {
			return text
		}
		codings, _ := concept["coding"].([]any)
		for _, c := range codings {
			if coding, ok := c.(map[string]any); ok {
				if display, ok := coding["display"].(string); ok {
					return display
				}
				return fmt.Sprint(coding["code"])
			}
		}
	}
	id, _ := r["id"].(string)
	return id
}

func (a *sampleApp) refresh(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	if s == nil || !s.Offline {
		a.show(w, s, "There is nothing to refresh.")
		return
	}
	token, _ := s.token["refresh_token"].(string)
	if err := a.ask(r.Context(), s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}); err != nil {
		a.show(w, nil, "The server no longer lets this app in: "+err.Error())
		return
	}
	a.read(r.Context(), s)
	s.Note = "Refreshed at " + time.Now().Format("15:04:05") + "."
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *sampleApp) disconnect(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	if s != nil {
		token, _ := s.token["access_token"].(string)
		if smart, err := a.configuration(r.Context()); err == nil {
			endpoint, _ := smart["revocation_endpoint"].(string)
			if err := a.call(r.Context(), http.MethodPost, endpoint, "", url.Values{"token": {token}, "client_id": {sampleAppID}}, nil); err != nil {
				a.show(w, s, "The server could not be told: "+err.Error())
				return
			}
		}
		a.mu.Lock()
		for cookie, have := range a.sessions {
			if have == s {
				delete(a.sessions, cookie)
			}
		}
		a.mu.Unlock()
	}
	a.show(w, nil, "Disconnected. The diary's tokens are no longer good for anything.")
}

// call does one request and reads its JSON. The error is what a person may be shown.
func (a *sampleApp) call(ctx context.Context, method, to, bearer string, form url.Values, into any) error {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return errors.New("the address is malformed")
	}
	r.Header.Set("Accept", "application/json")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := a.http.Do(r)
	if err != nil {
		return errors.New("the server does not answer")
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return errors.New("the answer broke off")
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return errors.New("the answer is not JSON")
	}
	return nil
}
