package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/store"
)

// SystemTask is the code system of tasks the gateway makes for people.
const SystemTask = fhir.LocalBase + "/CodeSystem/task"

// keepsConsents refuses to delete a Consent, whoever holds it and whether or not there is one: an instrument is revoked, and
// what was disclosed on it stays explained.
func keepsConsents(ops []operation) error {
	if slices.ContainsFunc(ops, func(op operation) bool { return op.verb == smart.Delete && op.typ == "Consent" }) {
		return fhir.NewProblem(fhir.NotAllowed, "not-supported", "a Consent is not deleted; Consent/[id]/$revokeConsent ends it")
	}
	return nil
}

// withConflicts adds, to changes that record Consents, a task for each that conflicts with instruments on file: a person has to
// settle it, while the refusal holds.
func (k *call) withConflicts(v *store.View, changes []store.Change) ([]store.Change, error) {
	k.conflicts = nil // a plan may be made again
	for _, c := range slices.Clone(changes) {
		if c.Type != "Consent" || c.Resource == nil {
			continue
		}
		found, err := k.conflictsOf(v, c)
		if err != nil {
			return nil, err
		}
		k.conflicts = append(k.conflicts, found...)
		if len(found) == 0 {
			continue
		}
		task, err := k.conflictTask(v, c.ID, found)
		if err != nil {
			return nil, err
		}
		if task != nil {
			changes = append(changes, *task)
		}
	}
	return changes, nil
}

// conflictsOf compares a Consent about to be written with what is on file.
func (k *call) conflictsOf(v *store.View, c store.Change) ([]consent.Conflict, error) {
	read := consent.Read(c.ID, 0, v.Now(), c.Resource.JSON, k.s.Base)
	if read.Patient.Type != "Patient" {
		return nil, nil
	}
	read.Recorder, read.Everywhere = c.Owner, c.Owner == access.OperatorID
	facts, err := v.Facts(read.Patient.ID)
	if err != nil {
		return nil, err
	}
	return consent.Conflicts(read, facts.Consents, v.Now()), nil
}

// conflictTask asks the recorder to settle conflicts. The same conflicts of a Consent make one task, whatever becomes of it; nil
// when there is one. It names the instruments and no patient: a task about nobody is its custodian's alone, and one in the
// chart would tell whoever a consent shows that chart to of what was refused.
func (k *call) conflictTask(v *store.View, id string, found []consent.Conflict) (*store.Change, error) {
	org := k.caller.principal.Organization
	name, inputs := org.ID+" Consent/"+id, []any{}
	for _, f := range found {
		name += fmt.Sprint(" ", f.Code, " ", f.Consent)
		input := map[string]any{"type": map[string]any{"coding": []any{map[string]any{"system": SystemTask, "code": f.Code}}, "text": f.Text}}
		if f.Code == "supersedes-unknown" { // what is not known is no reference
			input["valueString"] = "Consent/" + f.Consent
		} else {
			input["valueReference"] = map[string]any{"reference": "Consent/" + f.Consent}
		}
		inputs = append(inputs, input)
	}
	task := uuid.NewSHA1(uuid.NameSpaceURL, []byte(fhir.LocalBase+"/consent-conflict/"+name)).String()
	if _, _, err := v.Current("Task", task, ""); !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	doc, err := json.Marshal(map[string]any{"resourceType": "Task", "id": task, "status": "requested", "intent": "order",
		"code":  map[string]any{"coding": []any{map[string]any{"system": SystemTask, "code": "consent-conflict"}}},
		"focus": map[string]any{"reference": "Consent/" + id},
		"owner": map[string]any{"reference": "Organization/" + org.ID}, "authoredOn": v.Now().Format(fhir.InstantLayout), "input": inputs})
	if err != nil {
		return nil, err
	}
	res, err := k.s.Parser.Parse(doc)
	if err != nil {
		return nil, err
	}
	return &store.Change{Method: store.Update, Type: "Task", ID: task, Resource: res, Owner: org.ID, MayCreate: true, Segment: k.s.Labels.Classify(res, org.Source(), nil)}, nil
}

// findings adds missing elements and conflicts as the recorder is told them.
func (r *results) findings(missing []consent.Element, conflicts []consent.Conflict) {
	for _, e := range missing {
		var part results
		part.text("code", "valueCode", e.Code)
		part.text("section", "valueString", e.Section)
		part.text("text", "valueString", e.Text)
		r.part("missing", part)
	}
	for _, c := range conflicts {
		var part results
		part.text("code", "valueCode", c.Code)
		part.text("consent", "valueString", "Consent/"+c.Consent)
		part.text("text", "valueString", c.Text)
		r.part("conflict", part)
	}
}
