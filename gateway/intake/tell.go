package intake

import (
	"context"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// Told is a native record as FHIR tells it now, for its keeper: it holds the record's values.
type Told struct {
	Kind   string         `json:"kind"`
	Key    string         `json:"key"`
	Record map[string]any `json:"record"` // what FHIR holds of it, with what was changed elsewhere
	// Changes are the places in which it differs from what was last sent.
	Changes []Changed `json:"changes"`
	// Conflicts are places of which the resources say what cannot be taken over.
	Conflicts []Changed `json:"conflicts"`
	// NotTaken are elements that were changed elsewhere and that no rule can carry back.
	NotTaken []mapping.Element `json:"notTaken"`
	// Unknown are elements that the mapping does not know: they are kept with each delivery.
	Unknown []Unknown `json:"unknown"`
}

// Changed is one place of a record. Theirs is absent where the value was removed.
type Changed struct {
	Pointer  string `json:"pointer"` // items of lists are named by their keys
	Theirs   any    `json:"theirs"`
	Resource string `json:"resource,omitempty"` // that was removed as a whole
	Reason   string `json:"reason,omitempty"`
}

// Unknown is one element of a resource.
type Unknown struct {
	Resource string `json:"resource"`
	Path     string `json:"path"`
	Value    any    `json:"value"`
}

// Types lists what records of a kind can make; false for a kind of which nothing is on file: records of CSV packs are none.
func (d *Desk) Types(kind string) ([]string, bool) {
	p, ok := d.packs[kind]
	if !ok || p.Format != "json" {
		return nil, false
	}
	return p.Types(), true
}

// Tell is a record as its resources tell it now. look reads one of them; store.ErrNotFound where there is none.
func (d *Desk) Tell(ctx context.Context, org access.Organization, sent store.Sent, look func(fhir.Reference) (store.Kept, error)) (Told, error) {
	pack, ok := d.packs[sent.Kind]
	if !ok {
		return Told{}, store.ErrNotFound
	}
	now, err := d.store.Now(ctx)
	if err != nil {
		return Told{}, err
	}
	m := merging{delivery: &delivery{desk: d, pack: pack, env: d.environment(org, now)}, sent: sent}
	if err := m.look(look); err != nil {
		return Told{}, err
	}
	out := Told{Kind: sent.Kind, Key: sent.Key, Changes: []Changed{}, Conflicts: []Changed{}, NotTaken: []mapping.Element{}, Unknown: []Unknown{}}
	merged, err := m.merge(sent.View)
	if err != nil {
		return Told{}, err
	}
	if out.Record = merged.Record; out.Record == nil { // its resources tell of no record: it is as it was sent
		if out.Record, err = decode(sent.View); err != nil {
			return Told{}, err
		}
	}
	for _, c := range merged.Taken {
		out.Changes = append(out.Changes, Changed{Pointer: c.Pointer, Theirs: c.Theirs})
	}
	for _, c := range merged.Conflicts {
		out.Conflicts = append(out.Conflicts, Changed{Pointer: c.Pointer, Theirs: c.Theirs, Reason: c.Reason})
	}
	for _, ref := range m.deleted {
		switch {
		case m.needed[ref]:
			out.Conflicts = append(out.Conflicts, Changed{Resource: ref.String(), Reason: reasonNeeded})
		case m.standing[ref]:
			out.NotTaken = append(out.NotTaken, mapping.Element{Type: ref.Type, ID: ref.ID, Path: ref.Type})
		}
	}
	for _, u := range merged.Unknown {
		out.Unknown = append(out.Unknown, Unknown{u.Type + "/" + u.ID, u.Path, u.Value})
	}
	for _, e := range merged.NotTaken {
		if m.changed(fhir.Reference{Type: e.Type, ID: e.ID}) && !holdsUnknown(merged, e) {
			out.NotTaken = append(out.NotTaken, e)
		}
	}
	return out, nil
}
