// Package terminology keeps the CodeSystem, ValueSet and ConceptMap resources of the store, with the systems that come
// with the program, ready to be asked. Those types are public directory entries, readable by every client, so no
// consent stands between them and a search; what a client may ask is decided by its scopes before it gets here.
//
// The questions themselves are answered by fhir/terminology. It is entered through Service.
package terminology

import (
	"context"
	"sync"

	"trellis/fhir"
	"trellis/fhir/terminology"
	"trellis/mapping"
)

// Source is the store as this package needs it: see store.Store.Definitions.
type Source interface {
	Definitions(ctx context.Context, types []string, before int64, have map[fhir.Reference]int64) (state int64, current map[fhir.Reference]int64, changed []*fhir.Resource, err error)
}

// Service answers from what is stored now: it asks the store whether anything changed before every answer, so that a
// write shows at once on every replica. It is safe for concurrent use. Make one with New.
type Service struct {
	source  Source
	builtin []*terminology.CodeSystem

	mu      sync.Mutex
	state   int64
	have    map[fhir.Reference]int64
	systems map[fhir.Reference]*terminology.CodeSystem
	sets    map[fhir.Reference]*terminology.ValueSet
	maps    map[fhir.Reference]*terminology.ConceptMap
	library *terminology.Library
}

// New makes a service with the systems that come with the program and those of the packs.
func New(source Source, packs []*mapping.Pack) *Service {
	return &Service{source: source, builtin: Builtin(packs), state: -1, systems: map[fhir.Reference]*terminology.CodeSystem{}, sets: map[fhir.Reference]*terminology.ValueSet{}, maps: map[fhir.Reference]*terminology.ConceptMap{}}
}

// types are the types a library is made of.
func types() []string { return []string{"CodeSystem", "ValueSet", "ConceptMap"} }

// Library is what can be asked now.
func (s *Service) Library(ctx context.Context) (*terminology.Library, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, current, changed, err := s.source.Definitions(ctx, types(), s.state, s.have)
	if err != nil {
		return nil, err
	}
	if state == s.state {
		return s.library, nil
	}
	for _, r := range changed {
		ref := fhir.Reference{Type: r.Type, ID: r.ID}
		switch r.Type {
		case "CodeSystem":
			s.systems[ref] = terminology.ReadCodeSystem(r)
		case "ValueSet":
			s.sets[ref] = terminology.ReadValueSet(r)
		case "ConceptMap":
			s.maps[ref] = terminology.ReadConceptMap(r)
		}
	}
	s.library = terminology.NewLibrary(s.builtin, kept(s.systems, current), kept(s.sets, current), kept(s.maps, current))
	s.state, s.have = state, current
	return s.library, nil
}

// kept drops what is gone and lists the rest.
func kept[T any](m map[fhir.Reference]T, current map[fhir.Reference]int64) []T {
	var out []T
	for ref, v := range m {
		if current[ref] == 0 {
			delete(m, ref)
			continue
		}
		out = append(out, v)
	}
	return out
}

// Expand implements search.Terminology.
func (s *Service) Expand(ctx context.Context, valueSet string) ([]fhir.Coding, error) {
	l, err := s.Library(ctx)
	if err != nil {
		return nil, err
	}
	vs, err := l.Set(valueSet, "")
	if err != nil {
		return nil, err
	}
	members, err := l.Expand(vs)
	if err != nil {
		return nil, err
	}
	out := make([]fhir.Coding, 0, len(members))
	for _, m := range members {
		out = append(out, fhir.Coding{System: m.System, Code: m.Code})
	}
	return out, nil
}

// Below implements search.Terminology.
func (s *Service) Below(ctx context.Context, system, code string) ([]string, error) {
	l, err := s.Library(ctx)
	if err != nil {
		return nil, err
	}
	return l.Below(system, code)
}

// Above implements search.Terminology.
func (s *Service) Above(ctx context.Context, system, code string) ([]string, error) {
	l, err := s.Library(ctx)
	if err != nil {
		return nil, err
	}
	return l.Above(system, code)
}
