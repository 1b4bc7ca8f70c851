// Package profiles keeps the StructureDefinition resources of the store ready to check by: those that clients wrote and
// those that Trellis publishes itself (gateway/guide), which are stored as the operator's. The type is a public directory
// entry, readable by every client, so no consent stands between it and a check.
//
// The checks themselves are conformance/profile's. It is entered through Service.
package profiles

import (
	"context"
	"slices"
	"strings"
	"sync"

	"trellis/conformance/profile"
	"trellis/fhir"
	"trellis/fhir/path"
	"trellis/fhir/terminology"
)

// Source is the store as this package needs it: see store.Store.Definitions.
type Source interface {
	Definitions(ctx context.Context, types []string, before int64, have map[fhir.Reference]int64) (state int64, current map[fhir.Reference]int64, changed []*fhir.Resource, err error)
}

// Terms are the code systems and value sets there are now.
type Terms interface {
	Library(ctx context.Context) (*terminology.Library, error)
}

// Service checks by what is stored now: it asks the store whether anything changed before every check, so that a write
// shows at once on every replica. It is safe for concurrent use. Make one with New.
type Service struct {
	source Source
	terms  Terms
	paths  *path.Evaluator

	mu          sync.Mutex
	state       int64
	have        map[fhir.Reference]int64
	definitions map[fhir.Reference]*profile.Definition
	library     *profile.Library
}

// New makes a service.
func New(source Source, terms Terms) *Service {
	return &Service{source: source, terms: terms, paths: path.NewEvaluator(), state: -1, definitions: map[fhir.Reference]*profile.Definition{}}
}

// Checker is what can be checked by now.
func (s *Service) Checker(ctx context.Context) (*profile.Checker, error) {
	terms, err := s.terms.Library(ctx)
	if err != nil {
		return nil, err
	}
	library, err := s.profiles(ctx)
	if err != nil {
		return nil, err
	}
	return &profile.Checker{Library: library, Terms: terms, Paths: s.paths}, nil
}

func (s *Service) profiles(ctx context.Context) (*profile.Library, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, current, changed, err := s.source.Definitions(ctx, []string{"StructureDefinition"}, s.state, s.have)
	if err != nil {
		return nil, err
	}
	if state == s.state {
		return s.library, nil
	}
	for _, r := range changed {
		s.definitions[fhir.Reference{Type: r.Type, ID: r.ID}] = profile.ReadDefinition(r)
	}
	var refs []fhir.Reference
	for ref := range s.definitions {
		if current[ref] == 0 {
			delete(s.definitions, ref)
			continue
		}
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b fhir.Reference) int { return strings.Compare(a.ID, b.ID) })
	list := make([]*profile.Definition, 0, len(refs))
	for _, ref := range refs {
		list = append(list, s.definitions[ref])
	}
	s.library = profile.NewLibrary(list)
	s.state, s.have = state, current
	return s.library, nil
}
