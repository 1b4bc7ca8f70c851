package login

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/auth/smart"
)

// home serves GET /account.
func (v *visit) home() error {
	v.to(pathApps)
	return nil
}

type appsData struct {
	Apps   []accessData
	Staff  bool   // may launch
	Gone   string // name of the app whose access was just taken back
	Asking string // id whose revocation is to be confirmed
}

// accessData is what one app may do.
type accessData struct {
	ID      string
	App     appData
	Record  string // whose, or of which organisation
	Staff   bool
	What    []whatData
	Offline bool
	Online  bool
	Since   time.Time
	Used    time.Time
	Until   time.Time
}

// whatData is one scope in words.
type whatData struct {
	Key   string // message; Kind goes into it
	Kind  string // message, or empty
	Type  string // when there are no words for it
	Parts []string
}

// appsPage serves GET /account/apps: what apps may do, and a button for each to take it back.
func (v *visit) appsPage() error {
	return v.showApps(http.StatusOK, "")
}

func (v *visit) showApps(status int, gone string, faults ...fault) error {
	list, err := v.s.Grants.Authorizations(v.ctx, v.user.ID)
	if err != nil {
		return err
	}
	d := appsData{Gone: gone, Staff: len(v.positions()) > 0}
	for _, a := range list {
		row, err := v.accessOf(a)
		if err != nil {
			return err
		}
		d.Apps = append(d.Apps, row)
	}
	return v.showForm(status, "apps", pathApps, page{Key: "apps", Faults: faults, Data: d})
}

func (v *visit) accessOf(a oauth.Authorization) (accessData, error) {
	client, err := v.s.Directory.ClientRecord(v.ctx, a.ClientID)
	if errors.Is(err, oauth.ErrNotFound) {
		client.OAuth, err = oauth.Client{ID: a.ClientID}, nil
	}
	if err != nil {
		return accessData{}, err
	}
	d := accessData{ID: a.ID, App: appOf(client.OAuth), Since: a.Created, Used: a.Used, Until: a.Expires, Staff: a.Context.Capacity == string(access.Staff)}
	set, err := smart.Parse(joined(a.Scopes))
	if err != nil {
		return d, err
	}
	d.Offline, d.Online = set.Context(keyOffline), set.Context(keyOnline)
	d.What = inWords(set)
	if d.Staff {
		org, err := v.s.Directory.Organization(v.ctx, a.Context.Organization)
		d.Record = org.Name
		return d, err
	}
	way := people.Acting{Capacity: access.Capacity(a.Context.Capacity), Patient: a.Context.Patient}
	if !slices.ContainsFunc(v.user.Actings(v.now), func(now people.Acting) bool { return now.Capacity == way.Capacity && now.Patient == way.Patient }) {
		return d, nil // whose record it was is no longer for this account to know
	}
	p, _, err := v.named(way, a.Context.Patient, client.OAuth)
	d.Record = p.Name
	return d, err
}

// inWords says scopes one type after the other.
func inWords(set smart.Set) []whatData {
	var out []whatData
	for _, h := range []half{reading, writing} {
		for _, s := range set.Resources() {
			if s.Verbs&h.verbs() == 0 {
				continue
			}
			w := whatData{Key: "can." + string(h), Type: s.Type}
			k, named := known(s.Type)
			switch {
			case s.Type == "*":
				w.Key, w.Type = "can."+string(h)+".all", ""
			case named:
				w.Kind = "kind." + s.Type
			}
			for _, c := range s.Constraints {
				label := c.Param + " " + c.Value
				for _, p := range k.parts {
					if p.query == c.Param+"="+c.Value {
						label = "part." + p.key
					}
				}
				w.Parts = append(w.Parts, label)
			}
			out = append(out, w)
		}
	}
	return out
}

// apps serves POST /account/apps.
func (v *visit) apps() error {
	id := v.field("revoke")
	list, err := v.s.Grants.Authorizations(v.ctx, v.user.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(a oauth.Authorization) bool { return a.ID == id })
	if at < 0 {
		return v.showApps(http.StatusNotFound, "", fault{Field: "apps", Key: "apps.unknown"})
	}
	row, err := v.accessOf(list[at])
	if err != nil {
		return err
	}
	if err := v.revoke(v.user.ID, id, list[at].ClientID, "person"); err != nil {
		return err
	}
	return v.showApps(http.StatusOK, row.App.Name)
}

// joined is scopes as one text.
func joined(scopes []string) string { return strings.Join(scopes, " ") }
