package intake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// systemTask is the code system of tasks the gateway makes for people, taskConflict the code of those made here.
const (
	systemTask   = fhir.LocalBase + "/CodeSystem/task"
	taskConflict = "record-conflict"
)

// ask asks a person of the sending organisation to settle the conflicts, with one task for each resource. What was stored
// settles them for the next delivery, so that a conflict makes one task.
func (m *merging) ask() error {
	about := map[string][]Conflict{}
	var order []string
	for _, c := range m.out.merge.Conflicts {
		if about[c.Resource] == nil {
			order = append(order, c.Resource)
		}
		about[c.Resource] = append(about[c.Resource], c)
	}
	for _, ref := range order {
		task, err := m.task(ref, about[ref])
		if err != nil {
			return err
		}
		m.out.tasks = append(m.out.tasks, task)
		m.out.merge.Tasks = append(m.out.merge.Tasks, "Task/"+task.ID)
	}
	return nil
}

// task is labelled like the resource it is about, as that was and as it is stored now.
func (m *merging) task(reference string, list []Conflict) (store.Change, error) {
	org := m.Principal.Organization
	ref, _ := fhir.ParseReference(reference, "")
	head := m.heads[ref]
	name := fmt.Sprint(org.ID, "\x1f", m.Kind, "\x1f", m.record.Key, "\x1f", reference, "\x1f", head.Version)
	var places []string
	for _, c := range list {
		place := c.Pointer + c.Path
		if place == "" {
			place = "/"
		}
		places = append(places, place+": "+c.Reason)
		name += "\x1f" + place
	}
	doc := map[string]any{"resourceType": "Task", "id": uuid.NewSHA1(m.desk.namespace, []byte("record-conflict\x1f"+name)).String(), "status": "requested", "intent": "order",
		"code":        map[string]any{"coding": []any{map[string]any{"system": systemTask, "code": taskConflict}}},
		"description": "Changed elsewhere, and what the record of kind " + m.Kind + " says was stored: " + strings.Join(places, "; "),
		"focus":       map[string]any{"reference": reference}, "owner": map[string]any{"reference": "Organization/" + org.ID},
		"authoredOn": m.view.Now().Format(fhir.InstantLayout)}
	if i := slices.IndexFunc(m.record.Resources, func(r mapping.Resource) bool { return r.Type == "Patient" }); i >= 0 {
		doc["for"] = map[string]any{"reference": "Patient/" + m.record.Resources[i].ID}
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return store.Change{}, err
	}
	res, err := m.desk.parser.Parse(body)
	if err != nil {
		return store.Change{}, m.invalid("Task", err)
	}
	segment := m.desk.labels.Classify(res, org.Source(), nil)
	if head.Version > 0 {
		segment = segment.With(head.Segment.Security())
	}
	if i := slices.IndexFunc(m.out.changes, func(c store.Change) bool { return c.Type == ref.Type && c.ID == ref.ID }); i >= 0 {
		segment = segment.With(m.out.changes[i].Segment.Security())
	}
	return store.Change{Method: store.Update, Type: "Task", ID: res.ID, Resource: res, Owner: org.ID, MayCreate: true, Segment: segment}, nil
}
