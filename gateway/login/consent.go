package login

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/auth/smart"
)

type consentData struct {
	Shown       string // see visit.shown
	App         appData
	Staff       bool
	Who         string // organisation of staff, name of anybody else
	Patient     *Patient
	Unnamed     bool // there is a patient, whose record could not be shown
	Encounter   bool
	Purpose     string // message
	Sections    []sectionData
	Identity    *boxData
	Offline     *boxData
	Online      *boxData
	OfflineDays int
	Tells       bool
	Dropped     bool // writing was asked for and is not offered
	CanChange   string
}

// appData is who asks.
type appData struct {
	Name   string
	Host   string // of its home page
	Policy string
	Itself bool // registered by itself
}

type boxData struct {
	ID, Value string
	Checked   bool
}

// sectionData is a section of the offer as the page has it.
type sectionData struct {
	Key   string
	ID    string
	Title string // message
	All   bool
	How   string // whole, parts, none
	Types []typeData
}

type typeData struct {
	ID, Value string
	Type      string
	Kind      string // message
	Tells     string // message
	Whole     bool
	How       string
	Checked   bool
	Parts     []partData
}

type partData struct {
	ID, Value string
	Label     string // message, or empty
	Query     string // what is written instead
	Checked   bool
}

// The values of a radio group.
const (
	howWhole = "whole"
	howParts = "parts"
	howNone  = "none"
)

// consentPage serves GET /account/consent: what the app may have.
func (v *visit) consentPage() error {
	if err := v.at(pathConsent); err != nil {
		return err
	}
	way, _ := v.way()
	return v.askConsent(http.StatusOK, v.offerTo(way).everything(), nil)
}

func (v *visit) askConsent(status int, c chosen, how map[string]string, faults ...fault) error {
	way, _ := v.way()
	o, i := v.offerTo(way), v.interaction
	d := consentData{App: appOf(i.Client), Staff: way.Capacity == access.Staff, Who: v.user.Name, Tells: o.tells(), OfflineDays: int(oauth.OfflineLifetime.Hours() / 24),
		Purpose: "purpose." + purpose(way.Capacity, i.Client), Encounter: i.Launch != nil && i.Launch.Encounter != ""}
	if err := v.subjects(&d, way); err != nil {
		return err
	}
	for _, s := range o.sections {
		d.Sections = append(d.Sections, sectionOf(s, way.Capacity, c, how))
	}
	for _, s := range i.Scopes.Resources() {
		d.Dropped = d.Dropped || (!d.Staff && s.Verbs&writing.verbs() != 0)
	}
	box := func(offered bool, key string) *boxData {
		if !offered {
			return nil
		}
		return &boxData{ID: fieldID(key), Value: key, Checked: c[key]}
	}
	d.Shown = v.shown(way)
	d.Identity, d.Offline, d.Online = box(o.identity, keyIdentity), box(o.offline, keyOffline), box(o.online, keyOnline)
	v.leadsTo(i.Client.RedirectURIs...)
	return v.showForm(status, "consent", pathConsent, page{Key: "consent", Name: d.App.Name, Faults: faults, Wide: true, Data: d})
}

// subjects fills in about whom, and on whose behalf.
func (v *visit) subjects(d *consentData, way people.Acting) error {
	if d.Staff {
		org, err := v.s.Directory.Organization(v.ctx, way.Organization)
		if err != nil {
			return err
		}
		d.Who = org.Name
	}
	if v.needsPatient(way) {
		p, ok, err := v.named(way, v.patientOf(way), v.interaction.Client)
		if err != nil {
			return err
		}
		if !ok && d.Staff {
			return refusal(http.StatusForbidden, "patient")
		}
		d.Patient, d.Unnamed = &p, !ok
	}
	fixed := v.interaction.Launch != nil && v.interaction.Launch.Patient != ""
	switch {
	case !fixed && d.Patient != nil && (d.Staff || (way.Capacity == access.Self && len(v.user.Patients) > 1)):
		d.CanChange = pathPatient
	case len(v.ways()) > 1:
		d.CanChange = pathCapacity
	}
	return nil
}

// shown names whose record a page was about, and for whom somebody acts: what is allowed holds for that alone.
func (v *visit) shown(way people.Acting) string {
	return digest(wayID(way) + "\x00" + v.patientOf(way) + "\x00" + v.interaction.Client.ID)
}

// kindKey is the message that names a type.
func kindKey(typ string) string {
	if _, named := known(typ); named {
		return "kind." + typ
	}
	if typ == "*" {
		return "kind.any"
	}
	return "kind.other"
}

// appOf is an app as the pages name it.
func appOf(c oauth.Client) appData {
	a := appData{Name: c.Name, Itself: !c.Registered.IsZero()}
	if a.Name == "" {
		a.Name = c.ID
	}
	home := c.URI
	if a.Itself { // what it says of itself proves nothing: where it is sent does
		home = c.RedirectURIs[0]
	}
	if u, err := url.Parse(home); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		a.Host = u.Host
	}
	if u, err := url.Parse(c.PolicyURI); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		a.Policy = c.PolicyURI
	}
	return a
}

// fieldID is a key as an HTML id.
func fieldID(key string) string {
	return "f-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, key)
}

func sectionOf(s section, capacity access.Capacity, c chosen, how map[string]string) sectionData {
	d := sectionData{Key: s.key(), ID: fieldID(s.key()), All: s.all, How: how[s.key()],
		Title: "consent." + s.level + "." + string(s.half)}
	if s.level == smart.User && capacity != access.Staff {
		d.Title = "consent.own." + string(s.half)
	}
	if d.How == "" {
		d.How = howParts
		if c[s.allKey()] {
			d.How = howWhole
		}
	}
	for _, t := range s.types {
		d.Types = append(d.Types, typeOf(t, s.half, c, how))
	}
	return d
}

func typeOf(t typeOffer, h half, c chosen, how map[string]string) typeData {
	d := typeData{ID: fieldID(t.key), Value: t.key, Type: t.typ, Kind: kindKey(t.typ), Whole: t.whole, Checked: c[t.key], How: how[t.key]}
	if _, named := known(t.typ); t.tells && named && h == reading {
		d.Tells = "tells." + t.typ
	}
	if d.How == "" {
		d.How = howNone
		if c[t.key] {
			d.How = howWhole
		}
	}
	for i, p := range t.parts {
		label := ""
		if p.label != "" {
			label = "part." + p.label
		}
		d.Parts = append(d.Parts, partData{ID: d.ID + "-" + strconv.Itoa(i), Value: p.key, Label: label, Query: p.decoded, Checked: c[p.key]})
	}
	return d
}

// consent serves POST /account/consent.
func (v *visit) consent() error {
	if err := v.at(pathConsent); err != nil {
		return err
	}
	if v.field("decision") != "allow" {
		return v.refuse("access_denied")
	}
	way, _ := v.way()
	if v.field("shown") != v.shown(way) { // in another tab somebody chose otherwise meanwhile
		return v.proceed()
	}
	o := v.offerTo(way)
	c, how, faults := v.choices(o)
	if len(faults) > 0 {
		return v.askConsent(http.StatusUnprocessableEntity, c, how, faults...)
	}
	granted, err := grant(v.interaction.Scopes, o, c)
	if err != nil {
		return err
	}
	if granted.Empty() {
		return v.refuse("access_denied") // choosing nothing is saying no
	}
	outcome := "granted"
	if granted.String() != v.interaction.Scopes.String() {
		outcome = "narrowed"
	}
	return v.approve(granted, outcome)
}

// choices reads the form into what was chosen. A group that says "only some" and has none is asked about again.
func (v *visit) choices(o offer) (c chosen, how map[string]string, faults []fault) {
	c, how = chosen{}, map[string]string{}
	ticked := v.c.Request.PostForm["grant"]
	for _, key := range []string{keyIdentity, keyOffline, keyOnline} {
		c[key] = slices.Contains(ticked, key)
	}
	for _, s := range o.sections {
		how[s.key()] = v.field("how." + s.key())
		c[s.allKey()] = s.all && how[s.key()] == howWhole
		some := false
		for _, t := range s.types {
			if v.chooseType(t, ticked, c, how) {
				faults = append(faults, fault{fieldID(t.key) + "-which", "consent.some", kindKey(t.typ), t.typ})
			}
			some = some || c[t.key] || slices.ContainsFunc(t.parts, func(p partOffer) bool { return c[p.key] })
		}
		switch {
		case !s.all || how[s.key()] == howParts:
			if s.all && !some {
				faults = append(faults, fault{fieldID(s.key()) + "-which", "consent.some", "consent.choose", ""})
			}
		default: // all of it or nothing: the list below does not count
			faults = slices.DeleteFunc(faults, func(f fault) bool { return strings.HasPrefix(f.Field, fieldID(s.key())+"_") })
			for _, t := range s.types {
				c[t.key] = false
				for _, p := range t.parts {
					c[p.key] = false
				}
			}
		}
	}
	return c, how, faults
}

// chooseType reads the choice about a type, and reports one that says "only some" and names none.
func (v *visit) chooseType(t typeOffer, ticked []string, c chosen, how map[string]string) (unsaid bool) {
	some := false
	for _, p := range t.parts {
		c[p.key] = slices.Contains(ticked, p.key)
		some = some || c[p.key]
	}
	if !t.whole || len(t.parts) == 0 {
		c[t.key] = t.whole && slices.Contains(ticked, t.key)
		return false
	}
	how[t.key] = v.field("how." + t.key)
	c[t.key] = how[t.key] == howWhole
	if how[t.key] == howParts {
		return !some
	}
	for _, p := range t.parts {
		c[p.key] = false
	}
	return false
}
