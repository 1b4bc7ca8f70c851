package consent

import (
	"math"
	"strings"
)

// rule writes a provision and what is nested in it. fault says why it cannot be written.
func (w *projection) rule(p *Provision, depth int) (out map[string]any, fault string) {
	if fault := w.cannot(p); fault != "" {
		return nil, fault
	}
	out = map[string]any{"type": "deny"}
	if p.Permit {
		out["type"] = "permit"
	}
	w.recipients(p, out)
	w.conditions(p, out)
	var nested []any
	for i := range p.Nested {
		child := &p.Nested[i]
		inner, fault := map[string]any(nil), "rules are nested deeper than the form has them"
		if w.depth == 0 || depth < w.depth {
			inner, fault = w.rule(child, depth+1)
		}
		switch {
		case fault == "":
			if span := span(child.InForce); span != nil {
				inner["period"] = span
			}
			nested = append(nested, inner)
		case child.Permit && !denies(child):
			w.lose("provision", fault)
		default:
			return nil, "a refusal cannot be held: " + fault
		}
	}
	if len(nested) > 0 {
		out["provision"] = nested
	}
	return out, ""
}

// denies reports whether a rule refuses something anywhere in it.
func denies(p *Provision) bool {
	if !p.Permit {
		return true
	}
	for i := range p.Nested {
		if denies(&p.Nested[i]) {
			return true
		}
	}
	return false
}

// cannot is why the form has no place for a rule's own conditions, "" where it has.
func (w *projection) cannot(p *Provision) string {
	switch {
	case p.Inexpressible || p.Unread != Unread{}:
		return "a rule has conditions that could not be read"
	case !w.content && len(p.Actions)+len(p.Types)+len(p.Codes) > 0:
		return "a rule has actions, classes or codes"
	case !w.ours && len(p.Elements) > 0:
		return "a rule is about parts of records"
	case !w.ours && !p.Permit && len(p.Classes)+len(p.Through) > 0:
		return "a refusal is about a class of recipients" // who does not know the class would refuse nobody
	case !w.ours && len(p.Through) > 0 && len(p.Actors)+len(p.Persons)+len(p.Classes) == 0:
		return "the recipient is an intermediary's participants"
	}
	return ""
}

// recipients writes who may receive. A class is a reference by identifier where readers may not know our extension: to
// one who does not know the class it is nobody.
func (w *projection) recipients(p *Provision, out map[string]any) {
	var actors, extension []any
	actor := func(reference map[string]any) {
		actors = append(actors, map[string]any{"role": map[string]any{"coding": []any{coding(systemParticipation, "IRCP")}}, "reference": reference})
	}
	for _, id := range p.Actors {
		actor(reference("Organization", id))
	}
	for _, person := range p.Persons {
		actor(reference("RelatedPerson", strings.TrimPrefix(person, "RelatedPerson/")))
	}
	for _, class := range p.Classes {
		if w.ours {
			extension = append(extension, map[string]any{"url": ExtRecipientClass, "valueCode": string(class)})
			continue
		}
		actor(map[string]any{"identifier": map[string]any{"system": SystemClass, "value": string(class)}})
	}
	for _, by := range p.Through {
		if !w.ours {
			w.lose("intermediary", "recipients through an intermediary are left out")
			continue
		}
		extension = append(extension, by.extension())
	}
	for _, element := range p.Elements {
		extension = append(extension, map[string]any{"url": ExtElement, "valueString": element})
	}
	if len(actors) > 0 {
		out["actor"] = actors
	}
	if len(extension) > 0 {
		out["extension"] = extension
	}
}

func (by Intermediary) extension() map[string]any {
	var parts []any
	if by.Organization != "" {
		parts = append(parts, map[string]any{"url": "intermediary", "valueReference": reference("Organization", by.Organization)})
	}
	for _, id := range by.Named {
		parts = append(parts, map[string]any{"url": "participant", "valueReference": reference("Organization", id)})
	}
	if by.Treating {
		parts = append(parts, map[string]any{"url": "participantClass", "valueCode": string(ClassTreatingProviders)})
	}
	return map[string]any{"url": ExtIntermediary, "extension": parts}
}

// conditions writes what a rule is about, besides recipients.
func (w *projection) conditions(p *Provision, out map[string]any) {
	add := func(name string, value any) {
		list, _ := out[name].([]any)
		out[name] = append(list, value)
	}
	for _, code := range p.Purposes {
		add("purpose", coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", code))
	}
	for _, code := range p.Actions {
		add("action", map[string]any{"coding": []any{coding("http://terminology.hl7.org/CodeSystem/consentaction", code)}})
	}
	for _, typ := range p.Types {
		add("class", coding("http://hl7.org/fhir/resource-types", typ))
	}
	for _, l := range p.Labels {
		add("securityLabel", coding(l.System, l.Code))
	}
	for _, c := range p.Codes {
		add("code", map[string]any{"coding": []any{coding(c.System, c.Code)}})
	}
	for _, d := range p.Data {
		typ, id, _ := strings.Cut(d.Reference, "/")
		add("data", map[string]any{"meaning": d.Meaning, "reference": reference(typ, id)})
	}
	if period := span(p.Period); period != nil {
		out["dataPeriod"] = period
	}
}

// span is a period of rules or data in R4, nil for none.
func span(p *Period) map[string]any {
	if p == nil || p.Lo == math.MinInt64 && p.Hi == math.MaxInt64 {
		return nil
	}
	out := map[string]any{}
	if p.Lo != math.MinInt64 {
		out["start"] = instant(p.Lo)
	}
	if p.Hi != math.MaxInt64 {
		out["end"] = lastInstant(p.Hi)
	}
	return out
}
