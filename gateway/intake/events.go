package intake

import (
	"strconv"
	"time"

	"trellis/auth/access"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// WriteEvents are the audit events of one write transaction: one for each patient it concerns, each
// listing what was written about that patient, or one without patient.
func WriteEvents(p access.Principal, interaction, request, token string, written []store.Written) []audit.Event {
	var at time.Time
	for _, w := range written {
		if w.Updated.After(at) {
			at = w.Updated
		}
	}
	base := audit.Event{
		Kind: audit.Write, At: at, Client: p.Client, Organization: p.Organization.ID, Purpose: p.Purpose, User: p.User, Capacity: string(p.Capacity),
		Interaction: interaction, Request: request, Token: token, Outcome: "written",
	}
	byPatient := map[string]int{}
	var out []audit.Event
	for _, w := range written {
		patients := w.Patients
		if len(patients) == 0 {
			patients = []string{""}
		}
		for _, id := range patients {
			i, ok := byPatient[id]
			if !ok {
				i = len(out)
				byPatient[id] = i
				ev := base
				if id != "" {
					ev.Patient = "Patient/" + id
				}
				out = append(out, ev)
			}
			if w.Type == "Consent" {
				out[i].Kind = audit.Consent
			}
			out[i].Resources = append(out[i].Resources, audit.Resource{Type: w.Type, ID: w.ID, Version: strconv.FormatInt(w.Version, 10)})
		}
	}
	return out
}
