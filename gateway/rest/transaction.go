package rest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// transaction makes all writes of a Bundle or none (https://hl7.org/fhir/R4/http.html#trules). Deletions come first, then
// creations, then updates and patches, whatever the order of the entries; reads come when the writes are durable,
// each with an outcome of its own. The answers stand in the order of the entries.
func (k *call) transaction(entries []fhir.Node) error {
	parts := make([]release.Part, len(entries))
	var ops []operation
	var at, reads []int // entry of each operation; entries that read
	for i, e := range entries {
		r, err := readEntry(e, k.s.Base)
		if err != nil {
			return atEntry(i, err)
		}
		if r.method == http.MethodGet || r.method == http.MethodHead {
			reads = append(reads, i)
			continue
		}
		op, err := k.entryOperation(r)
		if err != nil {
			return atEntry(i, err)
		}
		op.fullURL, op.inBundle = e.Get("fullUrl").Text(), true
		ops, at = append(ops, op), append(at, i)
	}
	ops, at = inOrder(ops, at)
	k.entryOf = at
	if len(ops) > 0 {
		written, err := k.transact(ops)
		if err != nil {
			return err
		}
		for j, w := range written {
			if parts[at[j]], err = k.writtenPart(ops[j], w); err != nil {
				return err
			}
		}
	}
	for _, i := range reads {
		part, err := k.alone(i, entries[i])
		if err != nil {
			return atEntry(i, err)
		}
		parts[i] = part
	}
	k.respond(http.StatusOK, release.Responses("transaction-response", parts))
	return nil
}

// inOrder sorts operations as R4 wants them done; entries of one kind keep their order.
func inOrder(ops []operation, at []int) ([]operation, []int) {
	rank := func(op operation) int {
		return slices.Index([]smart.Verb{smart.Delete, smart.Create, smart.Update}, op.verb)
	}
	index := make([]int, len(ops))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return rank(ops[a]) - rank(ops[b]) })
	outOps, outAt := make([]operation, len(ops)), make([]int, len(ops))
	for i, j := range index {
		outOps[i], outAt[i] = ops[j], at[j]
	}
	return outOps, outAt
}

// writtenPart is the answer to one write of a transaction: no body unless the client asked for one.
func (k *call) writtenPart(op operation, w store.Written) (release.Part, error) {
	status := "200 OK"
	switch {
	case w.Deleted:
		status = "204 No Content"
	case w.Created:
		status = "201 Created"
	}
	part := release.Part{Status: status}
	if w.ID == "" { // a conditional delete that found nothing
		return part, nil
	}
	part.Location, part.Version, part.Updated = location(w), w.Version, w.Updated
	switch {
	case k.prefer == returnOutcome:
		part.Body, part.IsOutcome = done("done"), true
	case k.prefer == returnRepresentation && !w.Deleted:
		if shown, err := k.shows(w); err != nil || !shown {
			return part, err
		}
		released, err := k.s.Gate.Written(k.req, w)
		if err != nil {
			return part, err
		}
		part.Body = released.Body()
	}
	return part, nil
}

// entryOperation checks one write of a transaction as far as it can be without data: its scope first.
func (k *call) entryOperation(r entryRequest) (operation, error) {
	typ, id, hasID := strings.Cut(r.path, "/")
	if !fhir.KnownType(typ) || (hasID && !fhir.ValidID(id)) || (hasID && r.query != "") {
		return operation{}, fhir.NewProblem(fhir.Unsupported, "not-supported", "request.url must be Type, Type/id or Type?criteria")
	}
	op := operation{typ: typ, id: id}
	op.verb = map[string]smart.Verb{http.MethodPost: smart.Create, http.MethodPut: smart.Update, http.MethodPatch: smart.Update, http.MethodDelete: smart.Delete}[r.method]
	if op.verb == 0 || (op.verb == smart.Create) == (hasID || r.query != "") {
		return op, fhir.NewProblem(fhir.Unsupported, "not-supported", "a transaction takes GET and HEAD, POST Type, and PUT, PATCH and DELETE of Type/id or Type?criteria")
	}
	if err := k.allow(typ, op.verb); err != nil {
		return op, err
	}
	condition := r.query
	if op.verb == smart.Create {
		op.id, condition = uuid.NewString(), r.header.Get("If-None-Exist")
	}
	var err error
	if op.ifMatch, err = ifMatch(r.header.Get("If-Match")); err != nil {
		return op, err
	}
	if condition != "" {
		if op.when, err = k.criteria(typ, condition); err != nil {
			return op, err
		}
	}
	if op.verb == smart.Delete {
		return op, nil
	}
	return k.entryContent(op, r)
}

// entryContent reads the resource or the patch of an entry.
func (k *call) entryContent(op operation, r entryRequest) (operation, error) {
	if r.body == nil {
		return op, fhir.NewProblem(fhir.Invalid, "required", "the entry has no resource")
	}
	var err error
	if r.method == http.MethodPatch {
		if r.contentType != jsonPatch && r.contentType != fhir.ContentType {
			return op, fhir.NewProblem(fhir.WrongMediaType, "not-supported", "a patch is a Binary of "+jsonPatch+", or Parameters")
		}
		op.patch, err = k.readPatch(r.contentType, r.body)
		return op, err
	}
	if op.res, err = fhir.ReadTrusted(r.body); err != nil { // the Bundle's parse checked its entries
		return op, err
	}
	if op.res.Type != op.typ || (op.verb == smart.Update && op.when == nil && op.res.ID != op.id) {
		return op, fhir.NewProblem(fhir.Invalid, "invalid", "the resource is not the one request.url names")
	}
	if op.verb == smart.Update {
		if err := wholeCopy(op.res); err != nil {
			return op, err
		}
	}
	op.links, err = k.conditionalLinks(op.res)
	return op, err
}
