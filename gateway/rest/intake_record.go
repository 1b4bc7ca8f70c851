package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/store"
)

// Pages of GET /intake/{kind}.
const (
	keysPerPage = 50
	maxKeys     = 200
)

// intakeRecord serves GET /intake/{kind}/{key}: a native record as FHIR tells it now, for its keeper, so that it can take over
// what was changed elsewhere. It is for clients of the organisation that sent it, acting for themselves, whose token reads
// every type the record can make. A record nobody sent and another's are one answer.
func (k *call) intakeRecord() error {
	if err := k.keepsRecords(); err != nil {
		return err
	}
	if err := k.knownParameters(); err != nil {
		return err
	}
	org := k.caller.principal.Organization
	sent, found, err := k.s.Store.Sent(k.ctx, org.ID, k.c.Param("kind"), strings.TrimPrefix(k.c.Param("key"), "/"))
	if err != nil {
		return err
	}
	if !found {
		return store.ErrNotFound
	}
	var read []store.Target
	told, err := k.s.Intake.Tell(k.ctx, org, sent, func(ref fhir.Reference) (store.Kept, error) {
		target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, ref.Type, ref.ID, 0)
		if err != nil {
			return store.Kept{}, err
		}
		if !target.Exists {
			return store.Kept{}, store.ErrNotFound
		}
		read = append(read, target)
		kept := store.Kept{Type: ref.Type, ID: ref.ID, Version: target.Row.Version, Deleted: target.Row.Deleted || !target.Visible}
		if !kept.Deleted {
			kept.Resource, err = fhir.ReadTrusted(target.Row.Doc)
		}
		return kept, err // one that may not be read is not, and the gate will say so
	})
	if err != nil {
		return err
	}
	return k.respondRecord(read, told)
}

// intakeList serves GET /intake/{kind}: the keys of the caller's records that are on file, in pages. With changed=true those
// of whose resources something was changed elsewhere that the record does not say.
func (k *call) intakeList() error {
	if err := k.keepsRecords(); err != nil {
		return err
	}
	if err := k.knownParameters("changed", "limit", "after"); err != nil {
		return err
	}
	limit, changed, err := k.page()
	if err != nil {
		return err
	}
	org, kind := k.caller.principal.Organization, k.c.Param("kind")
	keys, err := k.s.Store.SentKeys(k.ctx, org.ID, kind, k.c.Query("after"), changed, int64(limit)+1)
	if err != nil {
		return err
	}
	type record struct {
		Key string `json:"key"`
	}
	out := struct {
		Kind    string   `json:"kind"`
		Records []record `json:"records"`
		Next    string   `json:"next,omitempty"`
	}{Kind: kind, Records: []record{}}
	if len(keys) > limit {
		keys = keys[:limit]
		next := url.Values{"after": {keys[limit-1]}, "limit": {strconv.Itoa(limit)}}
		if changed {
			next.Set("changed", "true")
		}
		out.Next = strings.TrimSuffix(k.s.Base, "/fhir") + "/intake/" + kind + "?" + next.Encode()
	}
	var listed []store.Target
	for _, key := range keys {
		target, err := k.firstOf(org.ID, kind, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		listed, out.Records = append(listed, target), append(out.Records, record{key})
	}
	return k.respondRecord(listed, out)
}

// firstOf is one resource of a record, which says whom the record is about.
func (k *call) firstOf(org, kind, key string) (store.Target, error) {
	sent, found, err := k.s.Store.Sent(k.ctx, org, kind, key)
	if err != nil {
		return store.Target{}, err
	}
	if !found || len(sent.Resources) == 0 {
		return store.Target{}, store.ErrNotFound
	}
	r := sent.Resources[0]
	return k.s.Store.Lookup(k.ctx, k.caller.reading, r.Type, r.ID, 0)
}

// page reads limit and changed.
func (k *call) page() (limit int, changed bool, err error) {
	limit = keysPerPage
	if text := k.c.Query("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return 0, false, fhir.NewProblem(fhir.Invalid, "value", "limit must be a number from 1")
		}
		limit = min(limit, maxKeys)
	}
	changed, err = k.flag("changed")
	return limit, changed, err
}

// keepsRecords is G1 for looking at records on file: it depends on the request alone.
func (k *call) keepsRecords() error {
	types, known := k.s.Intake.Types(k.c.Param("kind"))
	if !known {
		return fhir.NewProblem(fhir.NotFound, "not-found", "no records of this kind are kept")
	}
	for _, typ := range types {
		if err := k.allowAsSystem(typ, smart.Read); err != nil {
			return err
		}
	}
	p := k.caller.principal
	if p.Organization.ID == "" || access.Decide(access.Request{Principal: p, Segment: label.Segment{Custodian: p.Organization.ID}}).Basis != "own-record" {
		return forbidden() // for this purpose nobody reads records of its own
	}
	return nil
}

// respondRecord answers with a document about the caller's own records.
func (k *call) respondRecord(about []store.Target, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	released, err := k.s.Gate.Record(k.ctx, k.req, about, body)
	if err != nil {
		return err
	}
	k.s.send(k.c, http.StatusOK, "application/json; charset=utf-8", released.Body())
	return nil
}
