package rest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/google/uuid"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// maxEntries bounds a Bundle.
const maxEntries = 5000

// bundle serves POST [base] with a batch or transaction (https://hl7.org/fhir/R4/http.html#transaction).
func (k *call) bundle() error {
	data, err := k.body()
	if err != nil {
		return err
	}
	res, err := k.s.Parser.Parse(data)
	if err != nil {
		return err
	}
	if res.Type != "Bundle" {
		return fhir.NewProblem(fhir.Invalid, "invalid", "the body must be a Bundle")
	}
	entries := res.Root.Get("entry").List()
	if len(entries) > maxEntries {
		return fhir.NewProblem(fhir.TooLarge, "too-costly", fmt.Sprintf("a Bundle may have at most %d entries", maxEntries))
	}
	switch res.Root.Get("type").Text() {
	case "transaction":
		return k.transaction(entries)
	case "batch":
		return k.batch(entries)
	}
	return fhir.NewProblem(fhir.Invalid, "invalid", "the Bundle must be of type batch or transaction").At("Bundle.type")
}

// planned is one entry of a transaction before references between entries are resolved.
type planned struct {
	method  store.Method
	ref     fhir.Reference
	node    fhir.Node
	ifMatch int64
}

// transaction makes all writes or none. Reads in a transaction are not offered.
func (k *call) transaction(entries []fhir.Node) error {
	plans := make([]planned, 0, len(entries))
	resolved := map[string]string{} // fullUrl -> Type/id
	seen := map[fhir.Reference]bool{}
	for i, e := range entries {
		p, err := k.plan(e)
		if err != nil {
			return atEntry(i, err)
		}
		if seen[p.ref] {
			return atEntry(i, fhir.NewProblem(fhir.Invalid, "invalid", "two entries are about the same resource"))
		}
		seen[p.ref] = true
		if full := e.Get("fullUrl").Text(); full != "" {
			resolved[full] = p.ref.String()
		}
		plans = append(plans, p)
	}
	changes := make([]store.Change, 0, len(plans))
	for i, p := range plans {
		c, err := k.planChange(p, resolved)
		if err != nil {
			return atEntry(i, err)
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		k.respond(http.StatusOK, release.Responses("transaction-response", nil))
		return nil
	}
	written, err := k.apply(changes)
	var failed *store.ChangeError
	if errors.As(err, &failed) {
		return atEntry(failed.Index, problem(err))
	}
	if err != nil {
		return err
	}
	parts := make([]release.Part, len(written))
	for i, w := range written {
		status := "200 OK"
		switch {
		case w.Deleted:
			status = "204 No Content"
		case w.Created:
			status = "201 Created"
		}
		parts[i] = release.Part{Status: status, Location: fmt.Sprintf("%s/%s/_history/%d", w.Type, w.ID, w.Version), Version: w.Version, Updated: w.Updated}
	}
	k.respond(http.StatusOK, release.Responses("transaction-response", parts))
	return nil
}

func atEntry(i int, err error) error {
	p := problem(err)
	out := &fhir.Problem{Category: p.Category}
	for _, issue := range p.Issues {
		where := fmt.Sprintf("Bundle.entry[%d]", i)
		if issue.Expression != "" {
			where += " " + issue.Expression
		}
		out.Issues = append(out.Issues, fhir.Issue{Code: issue.Code, Text: issue.Text, Expression: where})
	}
	return out.Because(err)
}

func (k *call) plan(e fhir.Node) (planned, error) {
	request := e.Get("request")
	url := request.Get("url").Text()
	typ, id, hasID := strings.Cut(url, "/")
	p := planned{node: e.Get("resource"), ref: fhir.Reference{Type: typ, ID: id}}
	if !fhir.KnownType(typ) || strings.ContainsAny(url, "?") || !request.Get("ifNoneExist").IsZero() {
		return p, fhir.NewProblem(fhir.Unsupported, "not-supported", "request.url must be Type or Type/id; conditions are not offered")
	}
	var err error
	if p.ifMatch, err = ifMatch(request.Get("ifMatch").Text()); err != nil {
		return p, err
	}
	verb := smart.Create
	switch method := request.Get("method").Text(); {
	case method == "POST" && !hasID:
		p.method, p.ref.ID = store.Create, uuid.NewString()
	case method == "PUT" && fhir.ValidID(id):
		p.method, verb = store.Update, smart.Update
	case method == "DELETE" && fhir.ValidID(id):
		p.method, verb = store.Delete, smart.Delete
	default:
		return p, fhir.NewProblem(fhir.Unsupported, "not-supported", "a transaction takes POST Type, PUT Type/id and DELETE Type/id")
	}
	return p, k.allow(typ, verb)
}

// planChange checks an entry's resource and points its references at what the other entries became.
func (k *call) planChange(p planned, resolved map[string]string) (store.Change, error) {
	org := k.caller.principal.Organization.ID
	if p.method == store.Delete {
		return store.Change{Method: store.Delete, Type: p.ref.Type, ID: p.ref.ID, Owner: org, IfMatch: p.ifMatch}, nil
	}
	if p.node.IsZero() {
		return store.Change{}, fhir.NewProblem(fhir.Invalid, "required", "the entry has no resource")
	}
	res, err := fhir.ReadTrusted(p.node.Raw()) // the Bundle's parse checked its entries
	if err != nil {
		return store.Change{}, err
	}
	if res.Type != p.ref.Type || (p.method == store.Update && res.ID != p.ref.ID) {
		return store.Change{}, fhir.NewProblem(fhir.Invalid, "invalid", "the resource is not the one request.url names")
	}
	unresolved := false
	doc, changed := fhir.RewriteReferences(res, func(reference string) fhir.Edit {
		if to, ok := resolved[reference]; ok {
			return fhir.Edit{Replace: to}
		}
		unresolved = unresolved || strings.HasPrefix(reference, "urn:uuid:")
		return fhir.Edit{}
	})
	if unresolved {
		return store.Change{}, fhir.NewProblem(fhir.Invalid, "not-found", "a urn:uuid reference names no entry of the Bundle")
	}
	if changed {
		if res, err = fhir.ReadTrusted(doc); err != nil {
			return store.Change{}, err
		}
	}
	c := k.change(p.method, res, p.ref.ID)
	c.IfMatch, c.MayCreate = p.ifMatch, k.caller.updateCreate
	return c, nil
}

// batch runs each entry as a request of its own, with this request's token, through the whole pipeline.
func (k *call) batch(entries []fhir.Node) error {
	parts := make([]release.Part, 0, len(entries))
	for i, e := range entries {
		request := e.Get("request")
		target := "/fhir/" + strings.TrimPrefix(request.Get("url").Text(), "/")
		var body []byte
		if resource := e.Get("resource"); !resource.IsZero() {
			body = resource.Raw()
		}
		sub, err := http.NewRequestWithContext(k.ctx, request.Get("method").Text(), target, bytes.NewReader(body))
		if err != nil || strings.HasPrefix(target, "/fhir/?") || target == "/fhir/" {
			return atEntry(i, fhir.NewProblem(fhir.Invalid, "invalid", "the entry's request cannot be read"))
		}
		sub.Header.Set("Authorization", k.c.GetHeader("Authorization"))
		sub.Header.Set("Content-Type", fhir.ContentType)
		if m := request.Get("ifMatch").Text(); m != "" {
			sub.Header.Set("If-Match", m)
		}
		rec := httptest.NewRecorder()
		k.s.engine.ServeHTTP(rec, sub)
		parts = append(parts, release.Part{
			Status: fmt.Sprintf("%d %s", rec.Code, http.StatusText(rec.Code)), Location: rec.Header().Get("Location"),
			Body: rec.Body.Bytes(), Failed: rec.Code >= 400,
		})
	}
	k.respond(http.StatusOK, release.Responses("batch-response", parts))
	return nil
}
