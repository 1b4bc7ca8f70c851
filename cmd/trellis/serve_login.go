package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/fhir/search"
	"trellis/gateway/login"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// passwordsAtOnce bounds the memory signing in takes: each takes 19 MiB.
const passwordsAtOnce = 4

// addLogin puts the pages people see in front of the FHIR server.
func (g *gateway) addLogin(d deployment, authorization *oauth.Server, gate *release.Gate, now func() time.Time) error {
	server := &login.Server{
		PublicURL: d.PublicURL, Base: g.base, Name: siteName(d.PublicURL),
		Authorizer: authorization, Grants: authorization, Accounts: g.store, Attempts: g.store, Tickets: g.store, Directory: g.store,
		Records: &names{store: g.store, gate: gate, registry: g.registry, base: g.base}, Log: g.store.Audit(),
		Hasher: people.NewHasher(passwordsAtOnce), Now: now, Logger: d.logger, TrustedProxies: d.TrustedProxies,
	}
	if up := d.UpstreamLogin; up != nil {
		server.Upstream = &login.Upstream{Name: up.Name, Issuer: up.Issuer, ClientID: up.ClientID, ClientSecret: up.secret,
			RedirectURL: login.CallbackURL(d.PublicURL), HTTP: &http.Client{Timeout: 10 * time.Second}, Now: now}
	}
	pages, err := server.Handler()
	if err != nil {
		return err
	}
	rest := g.handler
	g.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if login.Owns(r.URL.Path) {
			pages.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
	return nil
}

// siteName is how authenticator apps call the deployment.
func siteName(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil || u.Hostname() == "" {
		return "Trellis"
	}
	return "Trellis " + u.Hostname()
}

// names finds patients for people to choose among: a search like any other, so that a name is seen by who may see the
// record, and the look is in the log.
type names struct {
	store    *store.Store
	gate     *release.Gate
	registry *search.Registry
	base     string
}

// maxNames is how many are shown at once.
const maxNames = 20

// Named implements login.Records.
func (n *names) Named(ctx context.Context, who access.Principal, request string, ids ...string) ([]login.Patient, error) {
	list, _, err := n.search(ctx, who, request, url.Values{"_id": {strings.Join(ids, ",")}})
	return list, err
}

// Find implements login.Records.
func (n *names) Find(ctx context.Context, who access.Principal, request, name string) ([]login.Patient, bool, error) {
	values := url.Values{"_sort": {"name"}}
	for _, word := range strings.Fields(name) {
		values.Add("name", escape(word))
	}
	return n.search(ctx, who, request, values)
}

// escape keeps what means something in a search parameter from meaning it.
func escape(word string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, "|", `\|`, "$", `\$`).Replace(word)
}

// Visit implements login.Records.
func (n *names) Visit(ctx context.Context, who access.Principal, request, encounter, patient string) (bool, error) {
	page, _, err := n.look(ctx, who, request, "Encounter", url.Values{"_id": {encounter}, "patient": {patient}, "_elements": {"status"}})
	return len(page.Rows) == 1, err
}

func (n *names) search(ctx context.Context, who access.Principal, request string, values url.Values) ([]login.Patient, bool, error) {
	values.Set("_elements", "name,birthDate")
	page, released, err := n.look(ctx, who, request, "Patient", values)
	if err != nil {
		return nil, false, err
	}
	list, err := n.read(ctx, released.Body(), page.Rows)
	return list, page.Next != nil, err
}

// look is a search by a page, released as any other.
func (n *names) look(ctx context.Context, who access.Principal, request, typ string, values url.Values) (store.Page, *release.Released, error) {
	n.store.Begin()
	defer n.store.End()
	values.Set("_count", strconv.Itoa(maxNames))
	filter, err := n.store.Filter(ctx, who)
	if err != nil {
		return store.Page{}, nil, err
	}
	q, err := n.registry.ParseWith(ctx, typ, values, search.Options{Base: n.base})
	if err != nil {
		return store.Page{}, nil, err
	}
	page, err := n.store.Search(ctx, filter, q, nil)
	if err != nil {
		return store.Page{}, nil, err
	}
	released, err := n.gate.Bundle(ctx, release.Request{Principal: who, Filter: filter, Interaction: "account-page", RequestID: request, Query: []byte(values.Encode())},
		release.Set{Type: "searchset", Rows: page.Rows, Elements: q.Elements})
	return page, released, err
}

// read takes names from a released Bundle. Who keeps a record is known by its segment, of those released.
func (n *names) read(ctx context.Context, body []byte, rows []store.Row) ([]login.Patient, error) {
	var bundle struct {
		Entry []struct {
			Resource struct {
				ResourceType, ID, BirthDate string
				Name                        []struct {
					Use, Text, Family string
					Given             []string
				}
			}
		}
	}
	if err := json.Unmarshal(body, &bundle); err != nil {
		return nil, err
	}
	keepers := map[string]string{}
	for i := range rows {
		keepers[rows[i].ID] = n.store.Segment(rows[i].Segment).Custodian
	}
	var out []login.Patient
	for _, e := range bundle.Entry {
		r := e.Resource
		if r.ResourceType != "Patient" {
			continue
		}
		p := login.Patient{ID: r.ID, Born: r.BirthDate}
		for _, name := range r.Name {
			if p.Name == "" || name.Use == "official" || name.Use == "usual" {
				p.Name = strings.TrimSpace(strings.Join(append(name.Given, name.Family), " "))
			}
			if p.Name == "" {
				p.Name = name.Text
			}
		}
		org, err := n.store.Organization(ctx, keepers[r.ID])
		if err != nil {
			return nil, err
		}
		p.Keeper = org.Name
		out = append(out, p)
	}
	return out, nil
}
