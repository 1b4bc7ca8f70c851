package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

// create serves POST [base]/[type] (https://hl7.org/fhir/R4/http.html#create). The id is the server's.
func (k *call) create() error {
	if k.c.GetHeader("If-None-Exist") != "" {
		return fhir.NewProblem(fhir.Unsupported, "not-supported", "conditional create is not offered")
	}
	res, err := k.resource(k.c.Param("type"))
	if err != nil {
		return err
	}
	return k.write(k.change(store.Create, res, uuid.NewString()))
}

// update serves PUT [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#update). Only the custodian
// may change a resource; to others a resource that exists and one that does not answer alike.
func (k *call) update() error {
	res, err := k.resource(k.c.Param("type"))
	if err != nil {
		return err
	}
	if res.ID != k.c.Param("id") {
		return fhir.NewProblem(fhir.Invalid, "invalid", "the id in the body is not the id in the URL").At(res.Type + ".id")
	}
	change := k.change(store.Update, res, res.ID)
	change.MayCreate = k.caller.updateCreate
	if change.IfMatch, err = ifMatch(k.c.GetHeader("If-Match")); err != nil {
		return err
	}
	return k.write(change)
}

// ifMatch reads a weak ETag as versions are given out, W/"3"; 0 when there is none.
func ifMatch(header string) (int64, error) {
	if header == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(header, "W/"), `"`), 10, 64)
	if err != nil || n < 1 {
		return 0, fhir.NewProblem(fhir.Invalid, "invalid", `If-Match must be a version as in W/"3"`)
	}
	return n, nil
}

// delete serves DELETE [base]/[type]/[id] (https://hl7.org/fhir/R4/http.html#delete).
func (k *call) delete() error {
	version, err := ifMatch(k.c.GetHeader("If-Match"))
	if err != nil {
		return err
	}
	change := store.Change{Method: store.Delete, Type: k.c.Param("type"), ID: k.c.Param("id"), Owner: k.caller.principal.Organization.ID, IfMatch: version}
	if _, err := k.apply([]store.Change{change}); err != nil {
		return err
	}
	k.c.Status(http.StatusNoContent)
	return nil
}

// resource reads and checks the body as one resource of a type.
func (k *call) resource(typ string) (*fhir.Resource, error) {
	data, err := k.body()
	if err != nil {
		return nil, err
	}
	res, err := k.s.Parser.Parse(data)
	if err != nil {
		return nil, err
	}
	if res.Type != typ {
		return nil, fhir.NewProblem(fhir.Invalid, "invalid", "the body's resourceType is not the type in the URL")
	}
	return res, nil
}

func (k *call) change(method store.Method, res *fhir.Resource, id string) store.Change {
	org := k.caller.principal.Organization
	return store.Change{
		Method: method, Type: res.Type, ID: id, Resource: res, Owner: org.ID,
		Segment: k.s.Labels.Classify(res, org.Source(), nil),
	}
}

// apply writes changes with their audit leaf in one transaction.
func (k *call) apply(changes []store.Change) ([]store.Written, error) {
	return k.s.Store.Apply(k.ctx, changes, func(w []store.Written) (store.Commit, error) {
		leaf, err := audit.NewLeaf(intake.WriteEvents(k.caller.principal, k.req.Interaction, k.req.RequestID, k.req.TokenID, w)...)
		return store.Commit{Leaves: []audit.Leaf{leaf}}, err
	})
}

func (k *call) write(change store.Change) error {
	written, err := k.apply([]store.Change{change})
	if err != nil {
		return err
	}
	w := written[0]
	released, err := k.s.Gate.Written(k.req, w)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if w.Created {
		status = http.StatusCreated
	}
	k.c.Writer.Header().Set("Location", fmt.Sprintf("%s/%s/%s/_history/%d", k.s.Base, w.Type, w.ID, w.Version))
	k.reportConsent(w)
	k.respond(status, released)
	return nil
}

// reportConsent tells whoever recorded a consent which elements of 2.31 it lacks. Requesters never learn it.
func (k *call) reportConsent(w store.Written) {
	if w.Type != "Consent" {
		return
	}
	c := consent.Read(w.ID, int(w.Version), w.Updated, w.Doc, k.s.Base)
	var missing []string
	for _, e := range c.Validate() {
		missing = append(missing, e.Code+" "+e.Section)
	}
	if c.Broken {
		missing = []string{"unreadable"}
	}
	if len(missing) > 0 {
		k.c.Writer.Header().Set("X-Consent-Missing", strings.Join(missing, ", "))
	}
}
