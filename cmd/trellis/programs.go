package main

import (
	"context"
	"slices"
	"sync"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/store"
)

// programs is the Part 2 programs of a deployment with their places: whoever refers to one says that a person is its
// patient. Organisations are declared; places, services and roles are records, and looked up from time to time.
type programs struct {
	base string
	orgs []string // ids, sorted

	mu     sync.RWMutex
	places map[fhir.Reference]bool
}

func newPrograms(base string, organizations []access.Organization) *programs {
	p := &programs{base: base}
	for _, o := range organizations {
		if o.Part2() {
			p.orgs = append(p.orgs, o.ID)
		}
	}
	slices.Sort(p.orgs)
	return p
}

// Program implements label.Programs.
func (p *programs) Program(reference string) bool {
	ref, ok := fhir.ParseReference(reference, p.base)
	if !ok {
		return false
	}
	if ref.Type == "Organization" {
		return slices.Contains(p.orgs, ref.ID)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.places[ref]
}

// scope names the declared programs.
func (p *programs) scope() []string {
	out := make([]string, len(p.orgs))
	for i, id := range p.orgs {
		out[i] = "program " + id
	}
	return out
}

// refresh takes over the places on record and returns those that are new or are a program's no more.
func (p *programs) refresh(ctx context.Context, s *store.Store) ([]fhir.Reference, error) {
	found, err := s.Places(ctx, p.orgs)
	if err != nil {
		return nil, err
	}
	places := map[fhir.Reference]bool{}
	for _, ref := range found {
		places[ref] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var changed []fhir.Reference
	for ref := range places {
		if !p.places[ref] {
			changed = append(changed, ref)
		}
	}
	for ref := range p.places {
		if !places[ref] {
			changed = append(changed, ref)
		}
	}
	p.places = places
	return changed, nil
}

// followPlaces has the records labelled anew that refer to a place which has become a program's, or is one's no more.
func (g *gateway) followPlaces(ctx context.Context) error {
	changed, err := g.programs.refresh(ctx, g.store)
	if err != nil || len(changed) == 0 {
		return err
	}
	if err := g.store.LabelReferring(ctx, changed); err != nil {
		return err
	}
	return g.store.BeginRelabel(ctx, g.labels)
}
