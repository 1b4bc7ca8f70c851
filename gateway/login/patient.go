package login

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/people"
)

type patientData struct {
	App       string
	Search    bool // staff look for a name; others choose among their own
	Name      string
	List      []Patient
	More      bool
	Searched  bool
	Chosen    string
	Encounter string
	CanChange bool // back to how somebody acts
}

// minSearch is how much of a name has to be typed: nobody leafs through all patients.
const minSearch = 2

// patientPage serves GET /account/patient: whose record.
func (v *visit) patientPage() error {
	if err := v.at(pathPatient); err != nil {
		return err
	}
	return v.askPatient(http.StatusOK, patientData{})
}

func (v *visit) askPatient(status int, d patientData, faults ...fault) error {
	way, _ := v.way()
	d.App, d.Search, d.Chosen, d.CanChange = v.interaction.Client.Name, way.Capacity == access.Staff, v.flow.Patient, len(v.ways()) > 1
	if !d.Search {
		for _, id := range v.user.Patients {
			p, ok, err := v.named(way, id, v.interaction.Client)
			if err != nil {
				return err
			}
			if !ok {
				p = Patient{ID: id}
			}
			d.List = append(d.List, p)
		}
	}
	v.leadsTo(v.interaction.Client.RedirectURIs...) // cancelling ends there
	return v.showForm(status, "patient", pathPatient, page{Key: "patient", Faults: faults, Data: d})
}

// patient serves POST /account/patient: a search, or a choice. Names travel in forms, never in addresses.
func (v *visit) patient() error {
	if err := v.at(pathPatient); err != nil {
		return err
	}
	way, _ := v.way()
	switch id := v.field("patient"); {
	case v.field("decision") == "refuse":
		return v.refuse("access_denied")
	case v.field("decision") == "search" && way.Capacity == access.Staff:
		d, faults, err := v.find(way, v.field("name"))
		if err != nil {
			return err
		}
		return v.askPatient(statusOf(faults), d, faults...)
	case way.Capacity == access.Self && slices.Contains(v.user.Patients, id):
		v.flow.Patient = id
	case way.Capacity == access.Staff && id != "":
		if _, ok, err := v.named(way, id, v.interaction.Client); err != nil {
			return err
		} else if !ok {
			return v.askPatient(http.StatusUnprocessableEntity, patientData{}, fault{Field: "name", Key: "patient.gone"})
		}
		v.flow.Patient = id
	default:
		field := "patient-0"
		if way.Capacity == access.Staff {
			field = "name"
		}
		return v.askPatient(http.StatusUnprocessableEntity, patientData{}, fault{Field: field, Key: "patient.none"})
	}
	if err := v.s.putFlow(v.ctx, v.flow); err != nil {
		return err
	}
	return v.proceed()
}

// find looks for a name among the patients somebody may see.
func (v *visit) find(way people.Acting, name string) (patientData, []fault, error) {
	d := patientData{Name: name}
	long := func(word string) bool { return utf8.RuneCountInString(word) >= minSearch }
	if !slices.ContainsFunc(strings.Fields(name), long) || len(name) > 200 {
		return d, []fault{{Field: "name", Key: "patient.short"}}, nil
	}
	var client oauth.Client
	if v.interaction != nil {
		client = v.interaction.Client
	}
	who, err := v.principal(way, "", client)
	if err != nil {
		return d, nil, err
	}
	d.Searched = true
	d.List, d.More, err = v.s.Records.Find(v.ctx, who, v.request(), name)
	return d, nil, err
}

func statusOf(faults []fault) int {
	if len(faults) > 0 {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}
