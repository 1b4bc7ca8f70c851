package login

import (
	"net/http"
	"slices"

	"trellis/auth/access"
	"trellis/auth/people"
)

type capacityData struct {
	App  string
	Ways []wayData
}

// wayData is one way to act as the page says it.
type wayData struct {
	ID      string // of the choice
	Key     string // message; Name goes into it
	Name    string
	Detail  string
	Born    string
	Checked bool
}

// capacityPage serves GET /account/capacity: as whom somebody lets the app in.
func (v *visit) capacityPage() error {
	if err := v.at(pathCapacity); err != nil {
		return err
	}
	return v.askCapacity(http.StatusOK)
}

func (v *visit) askCapacity(status int, faults ...fault) error {
	d := capacityData{App: v.interaction.Client.Name}
	for _, a := range v.ways() {
		w, err := v.wayWords(a)
		if err != nil {
			return err
		}
		w.ID, w.Checked = wayID(a), v.flow.Acting != nil && *v.flow.Acting == a
		d.Ways = append(d.Ways, w)
	}
	v.leadsTo(v.interaction.Client.RedirectURIs...) // cancelling ends there
	if len(d.Ways) == 0 {
		return v.showForm(status, "noway", pathCapacity, page{Key: "noway", Data: d})
	}
	return v.showForm(status, "capacity", pathCapacity, page{Key: "capacity", Faults: faults, Data: d})
}

// wayWords says a way to act in words. A person acted for is named as far as the record may be seen.
func (v *visit) wayWords(a people.Acting) (wayData, error) {
	switch a.Capacity {
	case access.Self:
		return wayData{Key: "capacity.self", Name: v.user.Name}, nil
	case access.Staff:
		org, err := v.s.Directory.Organization(v.ctx, a.Organization)
		return wayData{Key: "capacity.staff", Name: org.Name}, err
	case access.Proxy, access.Representative:
		p, ok, err := v.named(a, a.Patient, v.interaction.Client)
		w := wayData{Key: "capacity." + string(a.Capacity), Name: p.Name, Detail: p.Keeper, Born: p.Born}
		if !ok {
			w.Key = "capacity.unnamed"
		}
		return w, err
	}
	return wayData{Key: "capacity.unnamed"}, nil
}

// capacity serves POST /account/capacity.
func (v *visit) capacity() error {
	if err := v.at(pathCapacity); err != nil {
		return err
	}
	ways := v.ways()
	if v.field("decision") == "refuse" {
		return v.refuse("access_denied")
	}
	i := slices.IndexFunc(ways, func(a people.Acting) bool { return wayID(a) == v.field("way") })
	if i < 0 {
		return v.askCapacity(http.StatusUnprocessableEntity, fault{Field: "way-0", Key: "capacity.none"})
	}
	v.flow.Acting, v.flow.Patient = &ways[i], ""
	if err := v.s.putFlow(v.ctx, v.flow); err != nil {
		return err
	}
	return v.proceed()
}
