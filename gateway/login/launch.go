package login

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
	"trellis/gateway/audit"
)

// positions are where the account is staff now.
func (v *visit) positions() []people.Acting {
	return slices.DeleteFunc(v.user.Actings(v.now), func(a people.Acting) bool { return a.Capacity != access.Staff })
}

type launchData struct {
	Apps      []appChoice
	Positions []wayData
	patientData
	App string
	At  string // position
}

type appChoice struct{ ID, Name, Host string }

// launchPage serves GET /account/launch: staff start an app for a patient, as an EHR would
// (https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch).
func (v *visit) launchPage() error {
	return v.askLaunch(http.StatusOK, launchData{})
}

func (v *visit) askLaunch(status int, d launchData, faults ...fault) error {
	positions := v.positions()
	if len(positions) == 0 {
		return refusal(http.StatusForbidden, "staff")
	}
	for _, a := range positions {
		w, err := v.wayWords(a)
		if err != nil {
			return err
		}
		w.ID = wayID(a)
		d.Positions = append(d.Positions, w)
	}
	apps, err := v.launchable()
	if err != nil {
		return err
	}
	var targets []string
	for _, c := range apps {
		a := appOf(c)
		d.Apps = append(d.Apps, appChoice{c.ID, a.Name, a.Host})
		targets = append(targets, c.LaunchURL)
	}
	d.Search = true
	v.leadsTo(targets...)
	return v.showForm(status, "launch", pathLaunch, page{Key: "launch", Faults: faults, Data: d})
}

// wayID tells ways to act apart in a form.
func wayID(a people.Acting) string {
	return strings.Join([]string{string(a.Capacity), a.Organization, a.Patient, a.FHIRUser}, " ")
}

// launchable are the apps that say where a launch begins.
func (v *visit) launchable() ([]oauth.Client, error) {
	all, err := v.s.Directory.Clients(v.ctx)
	if err != nil {
		return nil, err
	}
	var out []oauth.Client
	for _, c := range all {
		// Apps that registered themselves are not put before staff: anybody can call an app what they like.
		if c.OAuth.Interactive() && c.OAuth.LaunchURL != "" && !c.OAuth.Disabled && c.OAuth.Registered.IsZero() {
			out = append(out, c.OAuth)
		}
	}
	return out, nil
}

// launch serves POST /account/launch: a search, or the launch.
func (v *visit) launch() error {
	d := launchData{App: v.field("app"), At: v.field("position")}
	d.Name, d.Chosen, d.Encounter = v.field("name"), v.field("patient"), v.field("encounter")
	positions, apps, err := v.launchFrom()
	if err != nil {
		return err
	}
	way := positions[0]
	if d.At != "" {
		i := slices.IndexFunc(positions, func(a people.Acting) bool { return wayID(a) == d.At })
		if i < 0 { // withdrawn meanwhile
			return v.askLaunch(http.StatusUnprocessableEntity, launchData{})
		}
		way = positions[i]
	}
	if v.field("decision") == "search" {
		found, faults, err := v.find(way, d.Name)
		if err != nil {
			return err
		}
		d.patientData = found
		d.Encounter = v.field("encounter")
		return v.askLaunch(statusOf(faults), d, faults...)
	}
	i := slices.IndexFunc(apps, func(c oauth.Client) bool { return c.ID == d.App })
	var faults []fault
	if i < 0 {
		faults = append(faults, fault{Field: "app-0", Key: "launch.app"})
	}
	if d.Chosen == "" {
		faults = append(faults, fault{Field: "name", Key: "patient.none"})
	}
	if d.Encounter != "" && !validID(d.Encounter) {
		faults = append(faults, fault{Field: "encounter", Key: "launch.encounter"})
	}
	if len(faults) > 0 {
		return v.askLaunch(http.StatusUnprocessableEntity, d, faults...)
	}
	if _, ok, err := v.named(way, d.Chosen, apps[i]); err != nil {
		return err
	} else if !ok {
		return v.askLaunch(http.StatusUnprocessableEntity, d, fault{Field: "name", Key: "patient.gone"})
	}
	who, err := v.principal(way, "", apps[i])
	if err != nil {
		return err
	}
	if d.Encounter != "" {
		if ok, err := v.s.Records.Visit(v.ctx, who, v.request(), d.Encounter, d.Chosen); err != nil {
			return err
		} else if !ok {
			found, _, err := v.find(way, d.Name)
			if err != nil {
				return err
			}
			found.Chosen, found.Encounter = d.Chosen, d.Encounter
			d.patientData = found
			return v.askLaunch(http.StatusUnprocessableEntity, d, fault{Field: "encounter", Key: "launch.encounter"})
		}
	}
	return v.launchApp(apps[i], who.Purpose, oauth.Launch{Client: apps[i].ID, User: v.user.ID, Organization: way.Organization, Patient: d.Chosen, Encounter: d.Encounter})
}

func (v *visit) launchFrom() ([]people.Acting, []oauth.Client, error) {
	positions := v.positions()
	if len(positions) == 0 {
		return nil, nil, refusal(http.StatusForbidden, "staff")
	}
	apps, err := v.launchable()
	return positions, apps, err
}

// launchApp makes the handle and sends the browser to the app.
func (v *visit) launchApp(client oauth.Client, purpose string, l oauth.Launch) error {
	err := v.record(audit.Event{Kind: audit.AppGrant, Interaction: "launch", Client: client.ID, User: v.user.ID, Organization: l.Organization, Purpose: purpose,
		Patient: "Patient/" + l.Patient, Outcome: "launched"})
	if err != nil {
		return err
	}
	handle, err := v.s.Grants.MakeLaunch(v.ctx, l)
	if err != nil {
		return err
	}
	to, err := url.Parse(client.LaunchURL)
	if err != nil {
		return err
	}
	query := to.Query()
	query.Set("iss", v.s.Base)
	query.Set("launch", handle)
	to.RawQuery = query.Encode()
	v.to(to.String())
	return nil
}

// validID reports whether a text can be a FHIR id.
func validID(id string) bool {
	for _, r := range id {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-.", r) {
			return false
		}
	}
	return id != "" && len(id) <= 64
}
