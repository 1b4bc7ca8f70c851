package rest

import (
	"errors"
	"slices"

	"github.com/google/uuid"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

// operation is one write as a request or a Bundle entry asks for it, checked as far as it can be without data.
type operation struct {
	verb     smart.Verb // Create, Update or Delete; a patch is an Update
	typ, id  string
	when     *search.Query // condition; nil when id names the resource
	ifMatch  int64
	res      *fhir.Resource
	patch    func(*fhir.Resource) ([]byte, error) // makes res out of the stored resource
	fullURL  string
	links    map[string]*search.Query // conditional references in res
	inBundle bool                     // a urn:uuid link must name another entry
}

// needsData reports whether what an operation changes depends on what is stored.
func (op operation) needsData() bool { return op.when != nil || op.patch != nil || len(op.links) > 0 }

// transact makes all operations or none, with their audit leaf. The result has one item for each.
func (k *call) transact(ops []operation) ([]store.Written, error) {
	if err := k.mayDefine(ops); err != nil {
		return nil, err
	}
	if err := keepsConsents(ops); err != nil {
		return nil, err
	}
	if err := k.maySubscribe(ops); err != nil {
		return nil, err
	}
	once, err := k.once()
	if err != nil {
		return nil, err
	}
	plan := func(v *store.View) ([]store.Change, error) { return k.plan(v, ops) }
	needsData := func(op operation) bool {
		return op.needsData() || op.typ == "Consent" || op.verb == smart.Update && k.caller.reading.Walled()
	}
	if !slices.ContainsFunc(ops, needsData) { // then no other writer has to wait while it is made
		changes, err := k.plan(nil, ops)
		if err != nil {
			return nil, err
		}
		plan = func(*store.View) ([]store.Change, error) { return changes, nil }
	}
	p := k.caller.principal
	out, _, err := k.s.Store.Transact(k.ctx, store.Transaction{
		Owner: p.Organization.ID, Once: once, Plan: plan, Limits: k.caller.reach.search,
		Finish: func(w []store.Written) (store.Commit, error) {
			events := intake.WriteEvents(p, k.req.Interaction, k.req.RequestID, k.req.TokenID, w)
			for i := range events {
				events[i].Launch = audit.Launch(k.caller.reach.launch)
				if w[0].Replayed {
					events[i].Outcome = "replayed"
				}
			}
			leaf, err := audit.NewLeaf(events...)
			if err != nil {
				return store.Commit{}, err
			}
			subscriptions, err := k.subscriptions(w)
			return store.Commit{Leaves: []audit.Leaf{leaf}, Subscriptions: subscriptions}, err
		},
	})
	var failed *store.ChangeError
	if errors.As(err, &failed) && k.entryOf != nil && failed.Index < len(k.entryOf) {
		return nil, atEntry(k.entryOf[failed.Index], err)
	}
	if err == nil && slices.ContainsFunc(ops, func(op operation) bool { return op.typ == store.AgreementType }) {
		k.s.principals.forget() // what anybody may see rests on agreements, too
	}
	if err == nil && len(out) > 0 && out[0].Replayed {
		k.c.Writer.Header().Set("Idempotent-Replayed", "true")
	}
	return out[:min(len(out), len(ops))], err // behind them stand tasks the gateway made
}

// plan turns operations into changes, inside the transaction that makes them where one needs data: conditions first, under their locks,
// then identities, which must differ, then the links between entries, and last the resources themselves.
func (k *call) plan(v *store.View, given []operation) ([]store.Change, error) {
	ops := append([]operation(nil), given...) // a plan may be made again
	at := func(i int, err error) error {
		if k.entryOf != nil {
			return atEntry(k.entryOf[i], err)
		}
		return err
	}
	if err := lock(v, ops); err != nil {
		return nil, err
	}
	methods := make([]store.Method, len(ops))
	resolved := map[string]string{}
	seen := map[string]bool{} // resources, conditions and fullUrls
	for i := range ops {
		op := &ops[i]
		var err error
		if methods[i], err = k.identify(v, op); err != nil {
			return nil, at(i, err)
		}
		if err := op.apart(seen); err != nil {
			return nil, at(i, err)
		}
		if op.fullURL != "" && op.id != "" {
			resolved[op.fullURL] = op.typ + "/" + op.id
		}
	}
	changes := make([]store.Change, len(ops))
	for i := range ops {
		var err error
		if changes[i], err = k.settle(v, &ops[i], methods[i], resolved); err != nil {
			return nil, at(i, err)
		}
	}
	return k.withConflicts(v, changes)
}

// confines is the Patient in whose compartment an operation has to stay, "" for none.
func (k *call) confines(op *operation) string { return k.caller.reach.confines(op.typ, op.verb) }

// apart refuses an operation that is about what another one is about already.
func (op *operation) apart(seen map[string]bool) error {
	names := []string{"", "", op.fullURL}
	if op.id != "" {
		names[0] = op.typ + "/" + op.id
	}
	if op.when != nil && op.verb != smart.Delete {
		names[1] = op.typ + "?" + op.when.Used.Encode()
	}
	for _, name := range names {
		if name != "" && seen[name] {
			return fhir.NewProblem(fhir.Invalid, "invalid", "two entries are about the same resource")
		}
		seen[name] = true
	}
	return nil
}

func lock(v *store.View, ops []operation) error {
	var queries []*search.Query
	for i := range ops {
		if ops[i].when != nil {
			queries = append(queries, ops[i].when)
		}
	}
	if len(queries) == 0 {
		return nil
	}
	return v.Lock(queries...)
}

// identify finds which resource an operation is about and what is to be done with it.
func (k *call) identify(v *store.View, op *operation) (store.Method, error) {
	method := map[smart.Verb]store.Method{smart.Create: store.Create, smart.Update: store.Update, smart.Delete: store.Delete}[op.verb]
	if op.when == nil {
		return method, nil
	}
	ids, err := v.Match(op.when)
	switch {
	case err != nil:
		return 0, err
	case len(ids) > 1:
		return 0, several()
	case len(ids) == 1:
		return op.matched(method, ids[0])
	}
	switch {
	case op.verb == smart.Delete:
		return store.Skip, nil
	case op.patch != nil:
		return 0, store.ErrNotFound
	case op.verb == smart.Create || op.res.ID == "":
		op.id = uuid.NewString()
		return store.Create, nil
	}
	op.id = op.res.ID // the client chose an id for what does not exist yet
	if _, _, err := v.Current(op.typ, op.id, k.confines(op)); err == nil {
		return 0, fhir.NewProblem(fhir.Conflict, "conflict", "the id in the body is of a resource that does not match the condition")
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	return store.Update, nil
}

func (op *operation) matched(method store.Method, id string) (store.Method, error) {
	op.id = id
	if method == store.Create {
		return store.Keep, nil
	}
	if op.res != nil && op.res.ID != "" && op.res.ID != id {
		return 0, fhir.NewProblem(fhir.Invalid, "invalid", "the id in the body is not that of the resource that matches").At(op.typ + ".id")
	}
	return method, nil
}

// settle makes the change: a patch applied, links resolved, the result labelled.
func (k *call) settle(v *store.View, op *operation, method store.Method, resolved map[string]string) (store.Change, error) {
	org := k.caller.principal.Organization
	change := store.Change{Method: method, Type: op.typ, ID: op.id, Owner: org.ID, IfMatch: op.ifMatch, MayCreate: k.caller.updateCreate,
		Fresh: method == store.Create, // its id was made here
		Only:  k.confines(op)}
	switch {
	case method == store.Delete || method == store.Skip || method == store.Keep:
		return change, nil
	case method == store.Update && k.caller.reading.Walled():
		if err := k.keepsReferences(v, op); err != nil {
			return store.Change{}, err
		}
	}
	if op.patch != nil {
		current, version, err := v.Current(op.typ, op.id, k.confines(op))
		if err != nil {
			return store.Change{}, err
		}
		if op.ifMatch != 0 && op.ifMatch != version {
			return store.Change{}, store.ErrPrecondition
		}
		if op.res, err = k.patched(current, op.patch); err != nil {
			return store.Change{}, err
		}
		change.IfMatch = version
	}
	res, err := k.relink(v, op, resolved)
	if err != nil {
		return store.Change{}, err
	}
	if err := k.defines(res); err != nil {
		return store.Change{}, err
	}
	if res, err = k.subscribes(res); err != nil {
		return store.Change{}, err
	}
	verdict := k.s.Labels.Examine(res, org.Source(), nil)
	change.Resource, change.Segment, change.Verdict = res, verdict.Segment, &verdict
	return change, nil
}

// keepsReferences refuses to change a record that a token confined to one patient is shown without some of its references:
// its client sends back what it was shown, and they would be lost.
func (k *call) keepsReferences(v *store.View, op *operation) error {
	cut, err := v.Cut(k.caller.reading, op.typ, op.id)
	if err == nil && cut {
		return fhir.NewProblem(fhir.Unprocessable, "business-rule", "the stored record has references this token is not shown, which an update would lose; change it with a token for the organisation's records")
	}
	return err
}
