package search

import (
	"slices"

	"trellis/fhir"
)

// FiledUnder is what $everything looks for: which of types can be filed under root, a Patient, an Encounter or an
// EpisodeOfCare, and the condition that a resource is, beside Query.Patient. R4 gives an EpisodeOfCare no compartment: under it stand
// what refers to it and what refers to an Encounter of it. An empty list of types means that nothing can be found.
func (r *Registry) FiledUnder(root fhir.Reference, types []string) ([]string, And, error) {
	s := r.current.Load()
	if root.Type == "Patient" {
		return slices.DeleteFunc(slices.Clone(types), func(typ string) bool { return !InPatientCompartment(typ) }), nil, nil
	}
	if root.Type != "Encounter" && root.Type != "EpisodeOfCare" {
		return nil, nil, fhir.NewProblem(fhir.NotFound, "not-supported", "nothing is filed under this type")
	}
	var kept []string
	var any Or
	for _, typ := range types {
		var where Or
		if root.Type == "Encounter" {
			where, _ = s.members(root, typ).(Or)
		} else {
			where = s.ofEpisode(root, typ)
		}
		if len(where) > 0 {
			kept = append(kept, typ)
			any = append(any, Typed{Type: typ, Where: where})
		}
	}
	return kept, And{any}, nil
}

// ofEpisode is the condition that a resource of typ belongs to an EpisodeOfCare.
func (s *snapshot) ofEpisode(episode fhir.Reference, typ string) Or {
	var out Or
	if typ == episode.Type {
		out = append(out, Field{Name: "_id", Values: []Value{{Code: episode.ID}}})
	}
	to := []Value{{RefType: episode.Type, RefID: episode.ID}}
	for _, par := range s.byType[typ].indexed {
		if par.Kind == KindReference && !par.notReady && len(par.Targets) < len(fhir.Types()) && contains(par.Targets, episode.Type) {
			out = append(out, Index{Kind: KindReference, Params: par.Reads, Values: to})
		}
	}
	of, ok := s.lookup("Encounter", "episode-of-care")
	if !ok || typ == "Encounter" || typ == episode.Type {
		return out
	}
	for _, code := range compartmentParams("Encounter", typ) {
		if par, found := s.lookup(typ, code); found && par.Kind == KindReference {
			out = append(out, Chain{Params: par.Reads, Target: "Encounter", Where: Index{Kind: KindReference, Params: of.Reads, Values: to}})
		}
	}
	return out
}
