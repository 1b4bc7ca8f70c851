package search

import (
	"strings"

	"trellis/fhir"
)

// compartment checks Options.Compartment (R4 3.1.1.3). Of a Patient's compartment the store keeps the
// members; of the others they are the references CompartmentDefinition names.
func (p *parser) compartment() error {
	c := p.o.Compartment
	if c == (fhir.Reference{}) {
		return nil
	}
	if !CompartmentType(c.Type) || !fhir.ValidID(c.ID) {
		return fhir.NewProblem(fhir.NotFound, "not-found", "there is no such compartment")
	}
	p.q.Compartment = c
	if c.Type == "Patient" {
		p.q.Patient = c.ID
	}
	if p.q.Type == "" {
		return p.wholeCompartment(c)
	}
	if !InCompartment(c.Type, p.q.Type) {
		return fhir.NewProblem(fhir.NotFound, "not-found", "resources of this type are never in this compartment")
	}
	if c.Type != "Patient" {
		p.q.Where = append(p.q.Where, p.s.members(c, p.q.Type))
	}
	return nil
}

// wholeCompartment narrows a search across types to those that can be in the compartment.
func (p *parser) wholeCompartment(c fhir.Reference) error {
	if c.Type != "Patient" {
		return fhir.NewProblem(fhir.Unsupported, "not-supported", "a search across types is offered in a Patient's compartment only")
	}
	var types []string
	for _, typ := range p.q.Types {
		if InPatientCompartment(typ) {
			types = append(types, typ)
		}
	}
	if len(types) == 0 {
		return fhir.NewProblem(fhir.NotFound, "not-found", "resources of these types are never in this compartment")
	}
	p.q.Types = types
	return nil
}

// CompartmentType reports whether R4 defines compartments of the type.
func CompartmentType(typ string) bool {
	switch typ {
	case "Patient", "Encounter", "Practitioner", "RelatedPerson", "Device":
		return true
	}
	return false
}

// InCompartment reports whether resources of typ can be in a compartment (R4 CompartmentDefinition).
func InCompartment(compartment, typ string) bool {
	return compartment == typ || len(compartmentParams(compartment, typ)) > 0
}

// members is the condition that a resource of typ is in the compartment.
func (s *snapshot) members(c fhir.Reference, typ string) Condition {
	var out Or
	if c.Type == typ {
		out = append(out, Field{Name: "_id", Values: []Value{{Code: c.ID}}})
	}
	for _, code := range compartmentParams(c.Type, typ) {
		par, ok := s.lookup(typ, code)
		if !ok || par.Kind != KindReference || par.Target != "" && par.Target != c.Type {
			continue // {def}, or a chain R4 does not define further
		}
		out = append(out, Index{Kind: KindReference, Params: par.Reads, Target: par.Target, Values: []Value{{RefType: c.Type, RefID: c.ID}}})
	}
	return out
}

// notePatient sets Query.Patient where a criterion restricts the matches to one Patient's compartment:
// patient or subject, equal to one Patient, read from parameters that confer membership.
func (p *parser) notePatient(name string, c Condition) {
	code, modifier, _ := strings.Cut(name, ":")
	x, ok := c.(Index)
	if p.q.Patient != "" || !ok || code != "patient" && code != "subject" || modifier != "" && modifier != "Patient" {
		return
	}
	if x.Kind != KindReference || len(x.Values) != 1 || x.Values[0].RefType != "Patient" {
		return
	}
	confers := map[string]bool{}
	for _, member := range compartmentParams("Patient", p.q.Type) {
		if par, ok := p.s.lookup(p.q.Type, member); ok {
			for _, read := range par.Reads {
				confers[read] = true
			}
		}
	}
	for _, read := range x.Params {
		if !confers[read] {
			return
		}
	}
	p.q.Patient = x.Values[0].RefID
}
