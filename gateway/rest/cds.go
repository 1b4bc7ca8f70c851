package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"trellis/auth/smart"
	"trellis/fhir"
)

// cdsService is the CDS Hooks service that decides about consent, by the hook others call patient-consent-consult
// (https://cds-hooks.hl7.org; the hook and its context come from the LEAP consent decision service).
const cdsService = "patient-consent-consult"

// cdsServices answers discovery.
func (s *Server) cdsServices(c *gin.Context) {
	c.JSON(http.StatusOK, map[string]any{"services": []any{map[string]any{
		"hook": cdsService, "id": cdsService, "title": "Consent decision",
		"description": "May records of this patient be disclosed to this actor for this purpose: permit, deny or no consent, with obligations and reasons."}}})
}

// consultation is the request of the hook.
type consultation struct {
	Hook         string `json:"hook"`
	HookInstance string `json:"hookInstance"`
	Context      struct {
		PatientID    identifiers   `json:"patientId"`
		Actor        identifiers   `json:"actor"`
		Purpose      string        `json:"purposeOfUse"`
		Category     []fhir.Coding `json:"category"`
		Class        []fhir.Coding `json:"class"` // resource types
		SecurityTags []fhir.Coding `json:"securityLabel"`
	} `json:"context"`
}

// identifier names a patient or an actor: by a FHIR id when the system is empty or this server's.
type identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

// UnmarshalJSON reads an identifier, or a text that is a FHIR id.
func (id *identifier) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &id.Value) == nil {
		return nil
	}
	type plain identifier
	return json.Unmarshal(data, (*plain)(id))
}

// identifiers is a list of them, or one.
type identifiers []identifier

// UnmarshalJSON reads a list of identifiers, or one.
func (l *identifiers) UnmarshalJSON(data []byte) error {
	var one identifier
	if json.Unmarshal(data, &one) == nil {
		*l = identifiers{one}
		return nil
	}
	var list []identifier
	err := json.Unmarshal(data, &list)
	*l = list
	return err
}

// consult serves the hook. Every actor named has to be permitted; a patient that several records or none match is denied.
func (k *call) consult() error {
	if err := k.allowAsSystem("Consent", smart.Read); err != nil {
		return err
	}
	data, err := k.body()
	if err != nil {
		return err
	}
	var c consultation
	if err := json.Unmarshal(data, &c); err != nil {
		return fhir.NewProblem(fhir.Invalid, "structure", "the body is no CDS Hooks request").Because(err)
	}
	if c.Hook != cdsService || len(c.Context.PatientID) == 0 || len(c.Context.Actor) == 0 || c.Context.Purpose == "" {
		return fhir.NewProblem(fhir.Invalid, "required", "hook, context.patientId, context.actor and context.purposeOfUse are required")
	}
	patient, err := k.consulted(c.Context.PatientID)
	if err != nil {
		return err
	}
	j, err := k.newDecider()
	if err != nil {
		return err
	}
	types := []string{""}
	for i, class := range c.Context.Class {
		if i == 0 {
			types = nil
		}
		types = append(types, class.Code)
	}
	var worst answer
	for _, actor := range c.Context.Actor {
		for _, typ := range types {
			a, err := j.answer(question{Patient: patient, Actor: k.actor(actor), Purpose: c.Context.Purpose, ResourceType: typ, Labels: c.Context.SecurityTags})
			if err != nil {
				return err
			}
			redact, obligations := append(worst.Redact, a.Redact...), append(worst.Obligations, a.Obligations...)
			if worst.Decision == "" || rankOf(a.Decision) > rankOf(worst.Decision) {
				worst = a
			}
			if worst.Redact, worst.Obligations = redact, obligations; worst.Decision != answerPermit {
				worst.Redact, worst.Obligations = nil, nil
			}
		}
	}
	return j.reply(map[string]any{"cards": []any{card(worst)}})
}

func rankOf(decision string) int {
	return map[string]int{answerPermit: 0, answerNoConsent: 1, answerDeny: 2}[decision]
}

// actor is the Organization id an identifier names.
func (k *call) actor(id identifier) string {
	_, last, found := strings.Cut(id.Value, "Organization/")
	if found {
		return last
	}
	return id.Value
}

// nobodysPatient stands for a patient that cannot be told: no instrument is anybody's there.
const nobodysPatient = "-"

// consulted finds the one patient meant, among those the caller may see.
func (k *call) consulted(ids identifiers) (string, error) {
	found := ""
	for _, id := range ids {
		one := strings.TrimPrefix(id.Value, "Patient/")
		if id.System != "" && id.System != k.s.Base {
			if err := k.allowAsSystem("Patient", smart.Search); err != nil {
				return "", err
			}
			q, err := k.s.Registry.Parse("Patient", url.Values{"identifier": {id.System + "|" + id.Value}, "_count": {"2"}}, k.s.Base)
			if err != nil {
				return "", err
			}
			page, err := k.s.Store.Search(k.ctx, k.caller.searching, q, nil)
			if err != nil {
				return "", err
			}
			if one = nobodysPatient; len(page.Rows) == 1 && page.Next == nil {
				one = page.Rows[0].ID
			}
		}
		if found != "" && found != one {
			return nobodysPatient, nil
		}
		found = one
	}
	if !fhir.ValidID(found) {
		return nobodysPatient, nil
	}
	return found, nil
}

// card is a decision as a CDS Hooks card.
func card(a answer) map[string]any {
	words := map[string]string{answerPermit: "CONSENT_PERMIT", answerDeny: "CONSENT_DENY", answerNoConsent: "NO_CONSENT"}
	indicator := map[string]string{answerPermit: "info", answerDeny: "critical", answerNoConsent: "warning"}[a.Decision]
	obligations := []any{}
	if len(a.Redact) > 0 {
		obligations = append(obligations, map[string]any{"id": map[string]string{"system": fhir.LocalBase + "/CodeSystem/obligation", "code": "REDACT"}, "parameters": map[string]any{"codes": a.Redact}})
	}
	for _, o := range a.Obligations {
		obligations = append(obligations, map[string]any{"id": map[string]string{"system": fhir.LocalBase + "/CodeSystem/obligation", "code": o.Code}, "parameters": map[string]any{"detail": o.Detail}})
	}
	return map[string]any{"summary": words[a.Decision], "indicator": indicator, "detail": a.Code, "source": map[string]any{"label": "Trellis"},
		"extension": map[string]any{"decision": words[a.Decision], "code": a.Code, "basis": a.Basis, "obligations": obligations, "basedOn": a.Consents, "reasons": a.Reasons, "policy": a.Policy, "evaluatedAt": a.EvaluatedAt}}
}
