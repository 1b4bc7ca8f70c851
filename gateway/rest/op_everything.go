package rest

import (
	"slices"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// everything serves [base]/[Patient|Encounter|EpisodeOfCare]/[id]/$everything
// (https://hl7.org/fhir/R4/patient-operation-everything.html): the record itself, what is filed under it, and on each
// page what those refer to that is nobody's record, as practitioners, places and medications.
func (k *call) everything() error {
	in, err := k.inputs("_since", "_type", "_count", "start", "end", "_cursor")
	if err != nil {
		return err
	}
	root := fhir.Reference{Type: k.c.Param("type"), ID: k.c.Param("id")}
	narrowed, err := k.everythingTypes(in)
	if err != nil {
		return err
	}
	q, err := k.everythingQuery(in, root, narrowed)
	if err != nil {
		return err
	}
	target, err := k.visible(root)
	if err != nil {
		return err
	}
	reach := store.Reach{Types: narrowed.readable}
	if root.Type != "Patient" && len(target.Subject.Patients) == 1 {
		q.Patient = target.Subject.Patients[0].ID
		reach.Patient = q.Patient
	}
	set, err := k.find(q, "/"+root.String()+"/$everything")
	if err != nil {
		return err
	}
	if in.has("_type") && len(q.Types) == 0 {
		set.Outcome = append(set.Outcome, fhir.Issue{Code: "informational", Text: "records of the types named are given only with records that refer to them; name those types too"})
	}
	if err := k.refer(&set, reach); err != nil {
		return err
	}
	return k.respondBundle(set)
}

// visible finds the record an operation is about. One that is hidden or unknown ends the request the same way, with the
// same kind of entry in the log; one that is deleted as a read of it would.
func (k *call) visible(ref fhir.Reference) (store.Target, error) {
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, ref.Type, ref.ID, 0)
	if err != nil {
		return target, err
	}
	if target.Exists && target.Visible && !target.Row.Deleted {
		return target, nil
	}
	if _, err := k.s.Gate.Resource(k.ctx, k.req, target); err != nil {
		return target, err
	}
	return target, store.ErrNotFound
}

// refer adds what the rows of a page refer to.
func (k *call) refer(set *release.Set, reach store.Reach) error {
	referred, truncated, err := k.s.Store.Referred(k.ctx, k.caller.reading, set.Rows, reach)
	if err != nil {
		return err
	}
	set.Rows = append(set.Rows, referred...)
	if truncated {
		set.Outcome = append(set.Outcome, fhir.Issue{Code: "incomplete", Text: "more resources are referenced than a page includes"})
	}
	return nil
}

// everythingScope is which types an $everything gives: those searched, and those added because something refers to them.
type everythingScope struct{ searched, readable []string }

// everythingTypes reads _type and keeps what the token allows.
func (k *call) everythingTypes(in inputs) (everythingScope, error) {
	types := fhir.Types()
	if in.has("_type") {
		types = in.list("_type")
		for _, typ := range types {
			if !fhir.KnownType(typ) {
				return everythingScope{}, badInput("_type", "names an unknown resource type")
			}
		}
		slices.Sort(types)
	}
	out := everythingScope{searched: k.searchable(types)}
	for _, typ := range types {
		if k.may(typ, smart.Read) {
			out.readable = append(out.readable, typ)
		}
	}
	return out, nil
}

// everythingQuery is the search for what is filed under the root.
func (k *call) everythingQuery(in inputs, root fhir.Reference, types everythingScope) (*search.Query, error) {
	q := &search.Query{Count: search.DefaultCount, Used: in.asked("_since", "_type", "_count", "start", "end")}
	var err error
	if q.Cursor, err = in.text("_cursor"); err != nil {
		return nil, err
	}
	if q.Count, err = in.number("_count", search.DefaultCount, 1); err != nil {
		return nil, err
	}
	q.Count = min(q.Count, search.MaxCount)
	if q.Types, q.Where, err = k.s.Registry.FiledUnder(root, types.searched); err != nil {
		return nil, err
	}
	for _, typ := range search.Reaches(q.Where) { // an episode's encounters are looked at
		if err := k.allow(typ, smart.Search); err != nil {
			return nil, err
		}
	}
	if root.Type == "Patient" {
		q.Patient = root.ID
	}
	return q, k.everythingTimes(in, q)
}

// everythingTimes reads _since, about the record's own versions, and start and end, about when care happened. What has
// no such time is in any.
func (k *call) everythingTimes(in inputs, q *search.Query) error {
	since, err := in.date("_since")
	if err != nil {
		return err
	}
	if since != nil {
		q.Where = append(q.Where, search.Field{Name: "_lastUpdated", Values: []search.Value{{Prefix: "ge", Range: *since}}})
	}
	start, err := in.date("start")
	if err != nil {
		return err
	}
	end, err := in.date("end")
	if err != nil {
		return err
	}
	if start == nil && end == nil {
		return nil
	}
	span := search.Range{Lo: search.OpenLo, Hi: search.OpenHi}
	if start != nil {
		span.Lo = start.Lo
	}
	if end != nil {
		span.Hi = end.Hi
	}
	if span.Lo >= span.Hi {
		return fhir.NewProblem(fhir.Invalid, "invalid", "start lies after end")
	}
	q.Where = append(q.Where, search.Field{Name: "_period", Values: []search.Value{{Range: span}}})
	return nil
}
