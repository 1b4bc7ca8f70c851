package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"trellis/auth/access"
	"trellis/auth/people"
	"trellis/gateway/store"
)

// demoPassword opens every account of the demonstration, and none of a real installation.
const demoPassword = "recovery-is-possible"

// demoAccount is a person of the community who may sign in.
type demoAccount struct {
	login, name, about string
	patient            string // of the community: the own record
	child              string // of the community: whose record they may act in
	staff              string // organisation
	kind               string // of the position
	role               people.Role
}

func demoAccounts() []demoAccount {
	return []demoAccount{
		{login: "maya", name: "Maya Okafor", about: "a patient with records at two organisations", patient: "001"},
		{login: "linh", name: "Linh Nguyen", about: "a mother, proxy for her son Caleb", child: "012"},
		{login: "nora", name: "Nora Hale", about: "a clinician of Lakeside Hospital", staff: "hospital", kind: people.KindPractitioner},
		{login: "wes", name: "Wes Carter", about: "a peer worker of Open Door Recovery Community", staff: "rco", kind: people.KindPeerWorker},
		{login: "ada", name: "Ada Brooks", about: "an auditor", role: people.Auditor},
	}
}

// people registers the accounts once the community is loaded: their Practitioners and RelatedPersons are written by their
// organisations, through the same door as everything else.
func (l *loader) people(s *store.Store) error {
	hash, err := people.NewHasher(1).Hash(l.ctx, demoPassword)
	if err != nil {
		return err
	}
	for _, a := range demoAccounts() {
		u := people.User{ID: "demo-" + a.login, Login: a.login, Name: a.name, Password: hash}
		if err := l.link(a, &u); err != nil {
			return err
		}
		if u.Staff() {
			if u.TOTP, err = people.NewTOTP(); err != nil {
				return err
			}
		}
		if err := u.Check(); err != nil {
			return err
		}
		if err := s.PutUser(l.ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// link says what an account is.
func (l *loader) link(a demoAccount, u *people.User) error {
	var err error
	first, last, _ := strings.Cut(a.name, " ")
	name := []any{map[string]any{"family": last, "given": []string{first}}}
	switch {
	case a.patient != "":
		u.Patients, err = l.records("hospital", a.patient)
	case a.child != "":
		var records []string
		if records, err = l.records("screening", a.child); err != nil || len(records) == 0 {
			return err
		}
		var ref string
		ref, err = l.create("screening", map[string]any{"resourceType": "RelatedPerson", "active": true, "patient": reference("Patient/" + records[0]), "name": name,
			"relationship": []any{coded("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "MTH")}})
		u.Proxies = []people.Proxy{{Patient: records[0], RelatedPerson: strings.TrimPrefix(ref, "RelatedPerson/"), Authority: access.Proxy, Document: "birth certificate on file at Harbor"}}
	case a.staff != "":
		var ref string
		ref, err = l.create(a.staff, map[string]any{"resourceType": "Practitioner", "active": true, "name": name})
		u.Positions = []people.Position{{Organization: a.staff, Practitioner: strings.TrimPrefix(ref, "Practitioner/"), Kind: a.kind}}
	case a.role != "":
		u.Roles = []people.Role{a.role}
	}
	return err
}

// records are the ids of a person's Patients that an organisation sees.
func (l *loader) records(as, id string) ([]string, error) {
	at := slices.IndexFunc(community(), func(p person) bool { return p.id == id })
	p := community()[at]
	query := url.Values{"family": {p.last}, "given": {p.first}, "birthdate": {p.birth}}
	a, err := l.as[as].do(l.ctx, "GET", "/fhir/Patient?"+query.Encode(), "", nil)
	if err != nil {
		return nil, fmt.Errorf("records of person %s: %w", id, err)
	}
	var bundle struct {
		Entry []struct {
			Resource struct{ ResourceType, ID string }
		}
	}
	if err := json.Unmarshal(a.body, &bundle); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range bundle.Entry {
		if e.Resource.ResourceType == "Patient" {
			out = append(out, e.Resource.ID)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("records of person %s: none is seen by %s", id, as)
	}
	return out, nil
}

// printPeople says who may sign in to the demonstration, and with what. where is the flags that name its data.
func printPeople(ctx context.Context, w io.Writer, s *store.Store, where string) error {
	fmt.Fprintf(w, "People who may sign in, with the password %s:\n", demoPassword)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, a := range demoAccounts() {
		u, err := s.UserByLogin(ctx, a.login)
		if err != nil {
			return err
		}
		second := ""
		if u.TOTP != "" {
			second = "second factor " + u.TOTP
		}
		fmt.Fprintf(tw, "   %s\t%s, %s\t%s\n", a.login, a.name, a.about, second)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "   The code of this moment: go run ./cmd/trellis user code%s --login nora\n", where)
	return err
}
