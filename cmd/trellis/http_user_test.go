package main

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/conformance/decisions"
	"trellis/gateway/store"
)

// appOrigin is where the fixture's app comes from.
const appOrigin = "https://app.example"

// registerApp registers an app that patients, proxies and staff of any organisation use.
func (in *installation) registerApp(id string, purposes ...string) {
	in.t.Helper()
	if purposes == nil {
		purposes = []string{"TREAT"}
	}
	in.register(oauth.Client{ID: id, RedirectURIs: []string{appOrigin + "/" + id}, Purposes: purposes,
		Scopes: []string{"openid", "fhirUser", "launch/patient", "patient/*.cruds", "user/*.cruds", "system/*.cruds"}}, true)
	if err := in.gateway.store.MaterializeAll(in.t.Context()); err != nil {
		in.t.Fatal(err)
	}
}

// userToken is an access token as the authorization endpoint's would be: of a person who let a client act.
func (in *installation) userToken(client string, who oauth.Context, purpose, scopes string) string {
	in.t.Helper()
	secret, err := in.gateway.store.Secret(in.t.Context(), "oauth")
	if err != nil {
		in.t.Fatal(err)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "trellis access token v1", 32)
	if err != nil {
		in.t.Fatal(err)
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		in.t.Fatal(err)
	}
	mac := hmac.New(sha512.New512_256, key)
	mac.Write(random)
	signature := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	now := in.clock.now()
	in.account(who)
	a := oauth.Authorization{ID: uuid.NewString(), ClientID: client, Scopes: strings.Fields(scopes), Purpose: purpose, Context: who, Created: now, Expires: now.Add(24 * time.Hour)}
	grants := in.gateway.store.OAuth()
	if err := grants.SaveAuthorization(in.t.Context(), a); err != nil {
		in.t.Fatal(err)
	}
	err = grants.SaveToken(in.t.Context(), oauth.Token{Signature: signature, RequestID: a.ID, Use: oauth.UseAccess, ClientID: client,
		Scopes: a.Scopes, Purpose: purpose, Context: who, IssuedAt: now, ExpiresAt: a.Expires})
	if err != nil {
		in.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(random) + "." + signature
}

// account lets a token's user act as the token says, beside what the account may do already.
func (in *installation) account(who oauth.Context) {
	in.t.Helper()
	u, err := in.gateway.store.User(in.t.Context(), who.User)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		in.t.Fatal(err)
	}
	u.ID, u.Login, u.Name = who.User, who.User, "Zqcanary"
	switch access.Capacity(who.Capacity) {
	case access.Self:
		u.Patients = append(u.Patients, who.Patient)
	case access.Staff:
		u.Positions = append(u.Positions, people.Position{Organization: who.Organization, Practitioner: "PRA"})
	default:
		u.Proxies = append(u.Proxies, people.Proxy{Patient: who.Patient, Authority: access.Capacity(who.Capacity), Document: "on file"})
	}
	if err := in.gateway.store.PutUser(in.t.Context(), u); err != nil {
		in.t.Fatal(err)
	}
}

// bearer asks with one token.
type bearer struct {
	in           *installation
	token        string
	organization string // for checkReply
}

// self is a patient with the app, about the own record.
func (in *installation) self(patient, scopes string) bearer {
	in.t.Helper()
	return in.person(oauth.Context{User: "user-" + patient, FHIRUser: "Patient/" + patient, Capacity: string(access.Self), Patient: patient}, "PATRQT", scopes)
}

// person is a patient, or who acts for one, with the app.
func (in *installation) person(who oauth.Context, purpose, scopes string) bearer {
	in.t.Helper()
	return bearer{in, in.userToken("app", who, purpose, scopes), personal}
}

// staff is a member of an organisation's staff with the app, launched for a patient ("" for none).
func (in *installation) staff(organization, patient, scopes string) bearer {
	in.t.Helper()
	who := oauth.Context{User: "staff-" + organization, FHIRUser: "Practitioner/PRA", Capacity: string(access.Staff), Organization: organization, Patient: patient}
	return bearer{in, in.userToken("app", who, "TREAT", scopes), organization}
}

func (b bearer) ask(r request) reply {
	b.in.t.Helper()
	header := map[string]string{"Authorization": "Bearer " + b.token}
	for name, value := range r.header {
		header[name] = value
	}
	r.header = header
	a := b.in.send(r)
	b.in.checkReply(b.organization, r, a)
	return a
}

func (b bearer) get(path string) reply {
	b.in.t.Helper()
	return b.ask(request{method: "GET", path: path})
}

func (b bearer) send(method, path, body string, header ...string) reply {
	b.in.t.Helper()
	r := request{method: method, path: path, header: map[string]string{}}
	if body != "" {
		r.body = []byte(body)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.header[header[i]] = header[i+1]
	}
	return b.ask(r)
}

// found is what a search gives, sorted, over all its pages.
func (b bearer) found(path string) []string {
	b.in.t.Helper()
	out := []string{}
	for path != "" {
		a := b.get(path)
		if a.status != 200 {
			b.in.t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		set := a.bundle(b.in.t)
		out = append(out, set.references()...)
		path = set.next()
	}
	return out
}

// loadCrossed writes the fixture and records of P2 and P3 that refer to P1's and the other way round, with what is
// nobody's. All are the hospital's but P3's Part 2 record.
func (in *installation) loadCrossed() {
	in.t.Helper()
	in.load()
	put := func(owner, doc string) {
		in.t.Helper()
		in.put(recordOf(owner, doc))
	}
	put("hospital", `{"resourceType":"Practitioner","id":"PRA","name":[{"family":"Zqcanary"}]}`)
	put("hospital", `{"resourceType":"Practitioner","id":"PRB","name":[{"family":"Zqcanary"}]}`)
	put("hospital", `{"resourceType":"Location","id":"L1","name":"Zqcanary ward"}`)
	put("hospital", `{"resourceType":"Patient","id":"P3","name":[{"family":"Zqcanary","given":["Minor"]}],"birthDate":"2010-02-02"}`)
	for _, p := range []string{"P1", "P2", "P3"} {
		put("hospital", crossedCondition("CX-"+p, p, "I10", "problem-list-item"))
		put("hospital", crossedCondition("CY-"+p, p, "E11.9", "encounter-diagnosis"))
		put("hospital", fmt.Sprintf(`{"resourceType":"Encounter","id":"EN-%s","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/%s"},"participant":[{"individual":{"reference":"Practitioner/PRA"}}]}`, p, p))
		put("hospital", fmt.Sprintf(`{"resourceType":"RelatedPerson","id":"RP-%s","patient":{"reference":"Patient/%s"},"name":[{"family":"Zqcanary"}]}`, p, p))
	}
	// P2's observation is about P1's record, P1's about P2's: neither makes one the other's.
	put("hospital", crossedObservation("OX-P2", "P2", "laboratory", `,"focus":[{"reference":"Patient/P1"},{"reference":"Condition/CX-P1"},{"reference":"Observation/O1"}],"encounter":{"reference":"Encounter/EN-P2"},"performer":[{"reference":"Practitioner/PRA"}]`))
	put("hospital", crossedObservation("OX-P1", "P1", "laboratory", `,"focus":[{"reference":"Patient/P2"},{"reference":"Condition/CX-P2"}],"derivedFrom":[{"reference":"Observation/OX-P2"}]`))
	put("hospital", crossedObservation("OY-P2", "P2", "vital-signs", `,"hasMember":[{"reference":"Observation/O1"}]`))
	put("hospital", `{"resourceType":"Communication","id":"COM","status":"completed","subject":{"reference":"Patient/P1"},"recipient":[{"reference":"Patient/P2"}]}`)
	put("hospital", `{"resourceType":"Medication","id":"MED","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"1819"}]}}`)
	put("hospital", `{"resourceType":"Device","id":"DEV-P1","patient":{"reference":"Patient/P1"}}`)
	put("hospital", `{"resourceType":"Device","id":"DEV","deviceName":[{"name":"pump","type":"other"}]}`)
	put("hospital", `{"resourceType":"Binary","id":"BIN","contentType":"text/plain","data":"enFjYW5hcnk="}`)
	put("otp", crossedCondition("CZ-P3", "P3", "F11.20", "problem-list-item"))
}

func crossedCondition(id, patient, code, category string) string {
	return fmt.Sprintf(`{"resourceType":"Condition","id":%q,"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-category","code":%q}]}],"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":%q}]},"subject":{"reference":"Patient/%s"},"encounter":{"reference":"Encounter/EN-%s"},"recordedDate":"2026-05-01"}`, id, category, code, patient, patient)
}

func crossedObservation(id, patient, category, more string) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":%q,"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":%q}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"subject":{"reference":"Patient/%s"},"effectiveDateTime":"2026-05-02"%s}`, id, category, patient, more)
}

// crossed is an installation with those records and the app.
func crossed(t *testing.T, where location) *installation {
	t.Helper()
	in := newInstallation(t, where, "")
	in.registerApp("app")
	in.loadCrossed()
	return in
}

// recordOf is a record to be put.
func recordOf(owner, doc string) decisions.Record {
	return decisions.Record{Name: doc[:min(60, len(doc))], Owner: owner, Resource: []byte(doc)}
}
