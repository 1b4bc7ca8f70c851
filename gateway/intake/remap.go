package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// OnFile is what Remap asks about records on file.
type OnFile interface {
	SentByOthers(ctx context.Context, kind, pack string, after store.SentKey, limit int64) (list []store.SentKey, left int, err error)
	Organization(ctx context.Context, id string) (access.Organization, error)
}

// Remapping maps the records on file of a kind anew that another version of their pack mapped.
type Remapping struct {
	Kind   string
	OnFile OnFile
	Apply  bool   // store what comes of it; otherwise nothing is written
	Client string // who does it, for the log
	// Each is told of every record, with how many are left, it included. An error ends the work; what was stored stays.
	Each func(r Remapped, left int) error
}

// Remapped is what a new version of a pack makes of a record.
type Remapped struct {
	Organization string `json:"organization"`
	Key          string `json:"key"`
	From         string `json:"from"` // the version of the pack that mapped it
	// Changes holds values.
	Changes []mapping.ResourceDiff `json:"changes"`
	// Fault says why the record was left as it is: it does not follow the new schema, or its organisation is not registered.
	Fault string `json:"fault,omitempty"`
}

// remapPage is how many records are listed at once.
const remapPage = 100

// errDry takes a transaction back.
var errDry = errors.New("intake: nothing is written")

// Remap works record by record, each in a transaction of its own; one that was mapped is not listed again, so that work that was
// interrupted is taken up by asking for it again. What is on file lacks what FHIR does not hold: labels a mapping gave stay, and
// so does what was changed elsewhere.
func (d *Desk) Remap(ctx context.Context, r Remapping) error {
	pack, ok := d.packs[r.Kind]
	if !ok || pack.Format != "json" {
		return fmt.Errorf("no records of kind %q are kept", r.Kind)
	}
	var after store.SentKey
	for {
		list, left, err := r.OnFile.SentByOthers(ctx, r.Kind, pack.Version, after, remapPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for i, key := range list {
			done, err := d.remap(ctx, r, pack, key)
			if err != nil {
				return err
			}
			if err := r.Each(done, left-i); err != nil {
				return err
			}
			after = key
		}
	}
}

// remap maps one record anew.
func (d *Desk) remap(ctx context.Context, r Remapping, pack *mapping.Pack, key store.SentKey) (Remapped, error) {
	out := Remapped{Organization: key.Organization, Key: key.Key}
	org, err := r.OnFile.Organization(ctx, key.Organization)
	if err != nil {
		return out, err
	}
	if org.ID == "" {
		out.Fault = "its organisation is not registered"
		return out, nil
	}
	now, err := d.store.Now(ctx)
	if err != nil {
		return out, err
	}
	var made outcome
	var in delivery
	var view []byte
	var sent store.Sent
	_, _, err = d.store.Transact(ctx, store.Transaction{
		Owner: org.ID,
		Plan: func(v *store.View) ([]store.Change, error) {
			var changed, found bool
			if sent, changed, found, err = v.Sent(r.Kind, key.Key); err != nil {
				return nil, err
			}
			if !found || sent.Pack == pack.Version {
				return nil, errDry // somebody else has mapped it
			}
			out.From = sent.Pack
			in = delivery{desk: d, pack: pack, env: d.environment(org, now), again: true, Submission: Submission{
				Kind: r.Kind, JSON: sent.View, Principal: access.Principal{Client: r.Client, Organization: org, Purpose: "HSYSADMIN"},
				Allow: func(string) error { return nil }, interaction: "intake remap"}}
			made, view, err = in.anew(v, sent, changed)
			if err != nil {
				return nil, err
			}
			if out.Changes, err = in.differences(v, made); err != nil {
				return nil, err
			}
			if !r.Apply {
				return nil, errDry
			}
			return append(slices.Clip(made.changes), made.tasks...), nil
		},
		Finish: func(w []store.Written) (store.Commit, error) {
			commit, err := d.commit(in.Submission, w, len(made.changes))
			if err == nil {
				file := made.sent(&in, view, w)
				file.At = sent.At
				commit.Sent = []store.Sent{file}
			}
			return commit, err
		},
	})
	var invalid *mapping.InvalidError
	switch {
	case errors.Is(err, errDry):
		return out, nil
	case errors.As(err, &invalid):
		out.Fault = "it does not follow the new schema"
		if len(invalid.Problems) > 0 {
			out.Fault += ": " + invalid.Problems[0].Pointer + " " + invalid.Problems[0].Text
		}
		return out, nil
	}
	return out, err
}

// anew maps what is on file, and merges it with what was changed elsewhere.
func (in *delivery) anew(v *store.View, sent store.Sent, changed bool) (outcome, []byte, error) {
	env := in.env
	var err error
	if env.Digest, err = in.digest(v, sent); err != nil {
		return outcome{}, nil, err
	}
	result, err := in.pack.MapJSON(env, sent.View)
	if err != nil {
		return outcome{}, nil, err
	}
	if len(result.Records) == 0 {
		return outcome{}, nil, &mapping.InvalidError{Problems: []mapping.Problem{{Text: "the new version does not carry it"}}}
	}
	in.record = result.Records[0]
	view, err := in.view()
	if err != nil {
		return outcome{}, nil, err
	}
	if view == nil {
		view = sent.View
	}
	m := merging{delivery: in, view: v, sent: sent}
	for _, r := range in.record.Resources {
		var c store.Change
		if r.Shared { // what others say of it stays
			c, err = m.sharedChange(r)
		} else {
			c, err = in.changeAgain(v, r)
		}
		if err != nil {
			return outcome{}, nil, err
		}
		m.plain = append(m.plain, c)
	}
	if changed {
		made, err := m.run()
		return made, view, err
	}
	made := outcome{changes: m.plain}
	for _, r := range in.record.Resources {
		made.add(!r.Shared, true)
	}
	return made, view, nil
}

// digest is that of the record as its keeper sent it, from the Provenance of that delivery; "" when it is no longer there.
func (in *delivery) digest(v *store.View, sent store.Sent) (string, error) {
	for _, k := range sent.Resources {
		if k.Type != "Provenance" {
			continue
		}
		kept, err := v.Kept(k.Reference())
		if err != nil || kept.Resource == nil {
			return "", ignoring(err, store.ErrNotFound)
		}
		for _, e := range kept.Resource.Root.Path("entity", "extension").List() {
			if e.Get("url").Text() == fhir.LocalBase+"/StructureDefinition/source-record-sha256" {
				return e.Get("valueString").Text(), nil
			}
		}
	}
	return "", nil
}

func ignoring(err, this error) error {
	if errors.Is(err, this) {
		return nil
	}
	return err
}

// changeAgain is the change of a resource that is mapped from what is on file: what else its keeper's record says may have labelled
// it.
func (in *delivery) changeAgain(v *store.View, r mapping.Resource) (store.Change, error) {
	res, err := in.desk.parser.Parse(r.JSON)
	if err != nil {
		return store.Change{}, in.invalid(r.Type, err)
	}
	kept, err := v.Kept(referenceOf(r))
	return in.change(r, res, kept.Given), ignoring(err, store.ErrNotFound)
}

// differences compares what is stored with what would be.
func (in *delivery) differences(v *store.View, made outcome) ([]mapping.ResourceDiff, error) {
	before, after := mapping.Record{Key: in.record.Key}, mapping.Record{Key: in.record.Key}
	slots := map[fhir.Reference]string{}
	for _, r := range in.record.Resources {
		slots[referenceOf(r)] = r.Slot
	}
	for _, c := range made.changes {
		is, err := plainJSON(c.Resource)
		if err != nil {
			return nil, err
		}
		r := mapping.Resource{Type: c.Type, ID: c.ID, Slot: slots[fhir.Reference{Type: c.Type, ID: c.ID}], JSON: is, Labels: labelsOf(c.Verdict.Given.Mapped)}
		after.Resources = append(after.Resources, r)
		kept, err := v.Kept(fhir.Reference{Type: c.Type, ID: c.ID})
		if errors.Is(err, store.ErrNotFound) || err == nil && kept.Deleted {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.JSON, err = plainJSON(kept.Resource); err != nil {
			return nil, err
		}
		r.Labels = labelsOf(kept.Given.Mapped)
		before.Resources = append(before.Resources, r)
	}
	return mapping.DiffResults(&mapping.Result{Records: []mapping.Record{before}}, &mapping.Result{Records: []mapping.Record{after}})
}

func plainJSON(r *fhir.Resource) ([]byte, error) {
	body, err := content(r.JSON)
	if err != nil {
		return nil, err
	}
	return json.Marshal(body)
}

func labelsOf(list []fhir.Coding) (out []mapping.Label) {
	for _, l := range list {
		out = append(out, mapping.Label{System: l.System, Code: l.Code})
	}
	return out
}

// withGiven is the labels a resource is stored with: those the mapping gives, those it was brought with, and, when it is mapped
// from what is on file, those a mapping gave it before.
func (in *delivery) withGiven(v label.Verdict, mapped []fhir.Coding, given label.Given) label.Verdict {
	now := label.Given{Inbound: append(slices.Clip(v.Given.Inbound), given.Inbound...), Mapped: mapped}
	if in.again {
		now.Mapped = append(slices.Clip(now.Mapped), given.Mapped...)
	}
	return v.Under(now)
}
