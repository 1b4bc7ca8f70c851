package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// Merge says what became of the changes made elsewhere to a record's resources: places and reasons, no values.
type Merge struct {
	// Taken are the places of the record in which what is stored is what was made of them elsewhere. They are taken again with
	// each delivery until the record says the same.
	Taken []string `json:"taken"`
	// Conflicts are for a person: what the record says is stored.
	Conflicts []Conflict `json:"conflicts"`
	// NotTaken are elements that were changed elsewhere and that no rule can carry back into the record.
	NotTaken []mapping.Element `json:"notTaken"`
	// Kept counts the elements that stand beside what the record says: it does not know of them.
	Kept int `json:"kept"`
	// Tasks ask a person to settle the conflicts.
	Tasks []string `json:"tasks,omitempty"`
}

// Conflict is a place that cannot be as both sides have it.
type Conflict struct {
	Pointer  string `json:"pointer,omitempty"` // in the record; items of lists are named by their keys
	Path     string `json:"path,omitempty"`    // of an element that has no place in the record
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
}

// Reasons beside those of the mapping.
const (
	reasonUnreadable = "what was changed elsewhere cannot be read as a record of this kind"
	reasonBoth       = "both sides changed it"
	reasonNeeded     = "it was removed elsewhere, and a record of this kind cannot be without it"
	reasonNoPlace    = "an element that was added elsewhere no longer has a place in the resource"
)

// transact stores a record of a JSON pack: as it was sent where nobody changed its resources, otherwise merged with what was
// changed.
func (in *delivery) transact(ctx context.Context, plain []store.Change) ([]store.Written, *Merge, error) {
	view, err := in.view()
	if err != nil {
		return nil, nil, err
	}
	var made outcome
	written, _, err := in.desk.store.Transact(ctx, store.Transaction{
		Owner: in.Principal.Organization.ID,
		Plan: func(v *store.View) ([]store.Change, error) {
			made = outcome{changes: plain}
			for _, r := range in.record.Resources {
				made.add(!r.Shared, true)
			}
			sent, changed, found, err := v.Sent(in.Kind, in.record.Key)
			if err != nil || !found || !changed {
				return plain, err
			}
			m := merging{delivery: in, view: v, sent: sent, plain: plain}
			made, err = m.run()
			return append(slices.Clip(made.changes), made.tasks...), err
		},
		Finish: func(w []store.Written) (store.Commit, error) {
			commit, err := in.desk.commit(in.Submission, w, len(made.changes))
			if err == nil && view != nil {
				commit.Sent = []store.Sent{made.sent(in, view, w)}
			}
			return commit, err
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return written[:len(made.changes)], made.merge, nil
}

// view is what FHIR holds of the record: what can be read back from the resources it was mapped to. What is ignored, and what
// stays behind for privacy, is not in it. nil when they do not tell of one record.
func (in *delivery) view() ([]byte, error) {
	bodies := make([][]byte, len(in.record.Resources))
	for i, r := range in.record.Resources {
		bodies[i] = r.JSON
	}
	told, _, err := in.pack.Back(in.env, bodies)
	if err != nil {
		return nil, fmt.Errorf("intake: reading pack %s back: %w", in.Kind, asInternal(err))
	}
	if len(told) != 1 || told[0].Key != in.record.Key {
		return nil, nil
	}
	native, err := in.pack.Native(in.env, in.JSON)
	if err != nil {
		return nil, err
	}
	if err := in.pack.InOrder(told[0].Record, native); err != nil {
		return nil, err
	}
	return json.Marshal(told[0].Record)
}

// outcome is what is stored of a delivery.
type outcome struct {
	changes []store.Change
	own     []bool // of each change: it is the record's own, not shared with others
	plain   []bool // and: it is stored as it was sent
	tasks   []store.Change
	merge   *Merge
	differs bool // from what was sent

	respelled bool // does not differ, but in its spelling
}

func (o *outcome) add(own, plain bool) { o.own, o.plain = append(o.own, own), append(o.plain, plain) }

func (o outcome) sent(in *delivery, view []byte, written []store.Written) store.Sent {
	out := store.Sent{Organization: in.Principal.Organization.ID, Kind: in.Kind, Key: in.record.Key, Pack: in.pack.Version, View: view, Differs: o.differs, Respelled: o.respelled}
	for i, w := range written[:len(o.changes)] {
		if o.own[i] {
			out.Resources = append(out.Resources, store.Kept{Type: w.Type, ID: w.ID, Version: w.Version, Plain: o.plain[i]})
		}
	}
	return out
}

// merging is a delivery of a record whose resources were changed elsewhere.
type merging struct {
	*delivery
	view  *store.View
	sent  store.Sent
	plain []store.Change

	base      map[fhir.Reference]mapping.Resource // as they would be had nobody changed them
	baseOrder []fhir.Reference
	heads     map[fhir.Reference]store.Kept
	incoming  [][]byte
	deleted   []fhir.Reference
	needed    map[fhir.Reference]bool // of the deleted ones: no record can be without them
	standing  map[fhir.Reference]bool // and: a record without them still makes them
	out       outcome
}

// run merges.
func (m *merging) run() (outcome, error) {
	m.out.merge = &Merge{Taken: []string{}, Conflicts: []Conflict{}, NotTaken: []mapping.Element{}}
	if err := m.look(func(ref fhir.Reference) (store.Kept, error) { return m.view.Kept(ref) }); err != nil {
		return outcome{}, err
	}
	merged, resources, err := m.merged()
	if err != nil {
		return outcome{}, err
	}
	if err := m.store(resources, merged); err != nil {
		return outcome{}, err
	}
	return m.out, m.ask()
}

// look reads the record's own resources as they are now.
func (m *merging) look(kept func(fhir.Reference) (store.Kept, error)) error {
	m.base, m.heads = map[fhir.Reference]mapping.Resource{}, map[fhir.Reference]store.Kept{}
	result, err := m.pack.MapJSON(m.env, m.sent.View)
	if err != nil && !errors.As(err, new(*mapping.InvalidError)) { // another version of the pack may not take it
		return err
	}
	if result != nil {
		for _, r := range resourcesOf(result) {
			if ref := referenceOf(r); !r.Shared {
				m.base[ref], m.baseOrder = r, append(m.baseOrder, ref)
			}
		}
	}
	refs := slices.Clone(m.baseOrder)
	for _, r := range m.sent.Resources {
		if _, known := m.base[r.Reference()]; !known {
			refs = append(refs, r.Reference())
		}
	}
	for _, ref := range refs {
		head, err := kept(ref)
		switch {
		case errors.Is(err, store.ErrNotFound) || err == nil && m.untouched(head):
			continue
		case err != nil:
			return err
		case head.Deleted:
			m.deleted = append(m.deleted, ref)
		default:
			m.incoming = append(m.incoming, head.Resource.JSON)
		}
		m.heads[ref] = head
	}
	return nil
}

// untouched tells of a resource that it stands as the delivery before left it, and that was as sent. It is not compared: where
// another version of the pack makes it otherwise, nobody has changed it.
func (m *merging) untouched(head store.Kept) bool {
	return slices.ContainsFunc(m.sent.Resources, func(k store.Kept) bool {
		return k.Plain && k.Reference() == head.Reference() && k.Version == head.Version && !head.Deleted
	})
}

// resourcesOf are those of the one record that was mapped; none when it is one that is not carried.
func resourcesOf(r *mapping.Result) []mapping.Resource {
	if len(r.Records) == 0 {
		return nil
	}
	return r.Records[0].Resources
}

func referenceOf(r mapping.Resource) fhir.Reference { return fhir.Reference{Type: r.Type, ID: r.ID} }

// merged brings what was changed into the record that was sent, and maps what comes of it. A record that cannot be mapped is
// no better than one that cannot be read: what was sent stands.
func (m *merging) merged() (*mapping.Merged, []mapping.Resource, error) {
	native, err := m.pack.Native(m.env, m.JSON)
	if err != nil {
		return nil, nil, err
	}
	merged, err := m.merge(native)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range merged.Conflicts {
		m.conflict(c.Pointer, c.Reason, native)
	}
	if len(merged.Taken) == 0 {
		return merged, m.record.Resources, nil
	}
	doc, err := json.Marshal(merged.Record)
	if err != nil {
		return nil, nil, err
	}
	env := m.env
	env.Digest = m.record.Digest
	result, err := m.pack.MapJSON(env, doc)
	if errors.As(err, new(*mapping.InvalidError)) || err == nil && len(result.Records) == 0 {
		for _, c := range merged.Taken {
			m.conflict(c.Pointer, reasonUnreadable, native)
		}
		return merged, m.record.Resources, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, c := range merged.Taken {
		m.out.merge.Taken = append(m.out.merge.Taken, c.Pointer)
	}
	return merged, resourcesOf(result), nil
}

// merge merges what was changed into a record. Resources that tell of no record any more are a conflict as a whole; what the
// mapping does not know of them is kept all the same.
func (m *merging) merge(native []byte) (*mapping.Merged, error) {
	if len(m.base) > 0 {
		gone, err := m.removals()
		if err != nil {
			return nil, err
		}
		merged, err := m.pack.Merge(m.env, m.sent.View, native, m.incoming, gone)
		if err == nil || !errors.As(err, new(*mapping.InvalidError)) {
			return merged, err
		}
	}
	told, _, err := m.pack.Back(m.env, m.incoming)
	if err != nil {
		return nil, err
	}
	out := &mapping.Merged{Conflicts: []mapping.Change{{Reason: reasonUnreadable}}}
	for _, n := range told {
		out.Unknown = append(out.Unknown, n.Unknown...)
	}
	return out, nil
}

// store makes the changes.
func (m *merging) store(resources []mapping.Resource, merged *mapping.Merged) error {
	asSent := map[fhir.Reference]mapping.Resource{}
	shared := map[fhir.Reference]store.Change{}
	for i, r := range m.record.Resources {
		if r.Shared {
			shared[referenceOf(r)] = m.plain[i]
		} else {
			asSent[referenceOf(r)] = r
		}
	}
	for _, r := range resources {
		if err := m.Allow(r.Type); err != nil {
			return err
		}
		ref := referenceOf(r)
		if r.Shared {
			c, known := shared[ref]
			if !known {
				var err error
				if c, err = m.sharedChange(r); err != nil {
					return err
				}
			}
			m.out.changes = append(m.out.changes, c)
			m.out.add(false, false)
			continue
		}
		head, there := m.heads[ref]
		if there && head.Deleted && m.staysDeleted(ref, asSent[ref]) {
			continue
		}
		c, err := m.beside(r, head, merged)
		if err != nil {
			return err
		}
		m.out.changes = append(m.out.changes, c)
		plain, err := m.compare(asSent[ref], c.Resource, len(head.Given.Inbound) > 0)
		if err != nil {
			return err
		}
		m.out.add(true, plain)
		delete(asSent, ref)
	}
	m.out.differs = m.out.differs || len(asSent) > 0
	m.notTaken(merged)
	return nil
}

// compare tells whether a resource is stored as it was sent, and notes whether it says the same.
func (m *merging) compare(sent mapping.Resource, stored *fhir.Resource, labelled bool) (bool, error) {
	same, err := sameContent(sent.JSON, stored.JSON)
	if err != nil {
		return false, err
	}
	if !same || labelled {
		m.out.differs = true
		return false, nil
	}
	spelled, err := fhir.ReadTrusted(sent.JSON)
	if err != nil {
		return false, err
	}
	plain := fhir.ContentHash(spelled, stored.ID) == fhir.ContentHash(stored, stored.ID)
	m.out.respelled = m.out.respelled || !plain
	return plain, nil
}

// sharedChange stores a resource that what was changed elsewhere brought into the record and that other records tell of, too.
func (m *merging) sharedChange(r mapping.Resource) (store.Change, error) {
	res, err := m.desk.parser.Parse(r.JSON)
	if err != nil {
		return store.Change{}, m.invalid(r.Type, err)
	}
	known, err := m.view.Kept(referenceOf(r))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Change{}, err
	}
	if known.Resource != nil {
		if res, err = fhir.Overlay(known.Resource, res); err != nil {
			return store.Change{}, err
		}
	}
	return m.change(r, res, known.Given), nil
}

// notTaken reports the elements of changed resources that no rule carries back, but for lists in which only what the mapping
// does not know differs.
func (m *merging) notTaken(merged *mapping.Merged) {
	for _, e := range merged.NotTaken {
		if m.changed(fhir.Reference{Type: e.Type, ID: e.ID}) && !holdsUnknown(merged, e) {
			m.out.merge.NotTaken = append(m.out.merge.NotTaken, e)
		}
	}
}

// holdsUnknown tells of an element whether it is a list in which the mapping does not know some item.
func holdsUnknown(merged *mapping.Merged, e mapping.Element) bool {
	return slices.ContainsFunc(merged.Unknown, func(u mapping.Unknown) bool {
		return u.Type == e.Type && u.ID == e.ID && u.Path != e.Path && topList(u.Path) == e.Path
	})
}

// sameContent compares two resources, but for what the server writes itself.
func sameContent(a, b []byte) (bool, error) {
	x, err := content(a)
	if err != nil {
		return false, err
	}
	y, err := content(b)
	return reflect.DeepEqual(x, y), err
}

func content(doc []byte) (map[string]any, error) {
	if len(doc) == 0 {
		return nil, nil
	}
	body, err := decode(doc)
	if err != nil {
		return nil, err
	}
	if meta, ok := body["meta"].(map[string]any); ok {
		for _, name := range []string{"versionId", "lastUpdated", "security"} {
			delete(meta, name)
		}
		if len(meta) == 0 {
			delete(body, "meta")
		}
	}
	return body, nil
}

// decode keeps numbers as they are written.
func decode(doc []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("intake: a stored resource cannot be read: %w", asInternal(err))
	}
	return out, nil
}
