// Package intake takes native records in: parse, JSON Schema, map, R4 structural validation, label, and
// one store transaction per record with resources, Provenance, index rows, audit leaf and deliveries.
// The answer is a receipt: what was made, which fields went where, what was not carried and why. The
// same record sent twice changes nothing.
//
// Of records of JSON packs the desk keeps what was last sent, as far as FHIR holds it. When somebody changed their resources
// since, the next delivery is merged with it, three ways (see elsewhere.go): what was changed elsewhere survives until the
// keeper of the records takes it over, or changes the same place; that is a conflict, and a person is asked.
//
// It does not authenticate and knows no HTTP. It is entered through Desk.Submit.
package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
	"trellis/mapping"
)

// Writer is what the desk asks of the store.
type Writer interface {
	Apply(ctx context.Context, changes []store.Change, finish func([]store.Written) (store.Commit, error)) ([]store.Written, error)
	Transact(ctx context.Context, t store.Transaction) (out []store.Written, replayed bool, err error)
	Own(ctx context.Context, organization, typ, id string) (*fhir.Resource, error)
	Now(ctx context.Context) (time.Time, error)
}

// Desk takes submissions. Make one with New.
type Desk struct {
	packs     map[string]*mapping.Pack
	parser    *fhir.Parser
	labels    *label.Classifier
	store     Writer
	namespace uuid.UUID
	partners  []Partner
	propose   bool
	lineage   bool
}

// Partner is an organisation that gets a document for each new or changed resource of a type.
type Partner struct {
	Organization string
	Type         string
}

// Config is what New needs. Namespace is the deployment's secret UUID for ids.
type Config struct {
	Packs     []*mapping.Pack
	Parser    *fhir.Parser
	Labels    *label.Classifier
	Store     Writer
	Namespace uuid.UUID
	Partners  []Partner
	// ProposeConcerns lets screenings propose unconfirmed health concerns.
	ProposeConcerns bool
	// Lineage keeps the origin of every element in the Provenance of each record; else deliveries ask for it.
	Lineage bool
}

// New makes a desk that takes the records of these packs.
func New(cfg Config) *Desk {
	d := &Desk{packs: map[string]*mapping.Pack{}, parser: cfg.Parser, labels: cfg.Labels, store: cfg.Store, namespace: cfg.Namespace, partners: cfg.Partners, propose: cfg.ProposeConcerns, lineage: cfg.Lineage}
	for _, p := range cfg.Packs {
		d.packs[p.Name] = p
	}
	return d
}

// Submission is one delivery of native records: a JSON record, or the CSV files that belong together.
type Submission struct {
	Kind      string
	JSON      []byte
	Files     []mapping.File
	Principal access.Principal
	RequestID string
	TokenID   string
	// Lineage asks for the origin of every element in the Provenance of the records.
	Lineage bool
	// Allow is G1 for a resource type the record makes.
	Allow func(resourceType string) error

	interaction string // as the log calls it; "" for a delivery
}

// Receipt says what became of a submission.
type Receipt struct {
	Kind    string         `json:"kind"`
	Records []Receipted    `json:"records"`
	Report  mapping.Report `json:"report"`
}

// Receipted is one record's resources.
type Receipted struct {
	Key       string `json:"key"`
	Resources []Made `json:"resources"`
	// Merge is there when the record's resources were changed elsewhere since it was sent before.
	Merge *Merge `json:"merge,omitempty"`
}

// Made is one resource of a record. Status is created, updated or unchanged.
type Made struct {
	Reference string `json:"reference"`
	Version   int64  `json:"version"`
	Status    string `json:"status"`
}

// Kind reports whether records of a kind are taken, and whether they come as CSV files.
func (d *Desk) Kind(kind string) (csv, known bool) {
	p, ok := d.packs[kind]
	return ok && p.Format == "csv", ok
}

// Submit maps and stores. Nothing is stored when the record is invalid; the error is then a
// *fhir.Problem with pointers and no values.
func (d *Desk) Submit(ctx context.Context, sub Submission) (Receipt, error) {
	pack, ok := d.packs[sub.Kind]
	if !ok {
		return Receipt{}, fhir.NewProblem(fhir.NotFound, "not-found", "no records of this kind are taken")
	}
	now, err := d.store.Now(ctx)
	if err != nil {
		return Receipt{}, err
	}
	env := d.environment(sub.Principal.Organization, now)
	env.Lineage = env.Lineage || sub.Lineage
	var result *mapping.Result
	if pack.Format == "csv" {
		result, err = pack.MapFiles(env, sub.Files)
	} else {
		result, err = pack.MapJSON(env, sub.JSON)
	}
	if err != nil {
		return Receipt{}, invalidRecord(err)
	}
	receipt := Receipt{Kind: sub.Kind, Records: []Receipted{}, Report: result.Report}
	for _, record := range result.Records {
		made, err := d.take(ctx, delivery{Submission: sub, desk: d, pack: pack, env: env, record: record})
		if err != nil {
			return Receipt{}, err
		}
		receipt.Records = append(receipt.Records, made)
	}
	return receipt, nil
}

func (d *Desk) environment(org access.Organization, now time.Time) mapping.Env {
	return mapping.Env{
		Namespace: d.namespace, Base: fhir.LocalBase, Now: now, ProposeConcerns: d.propose, Lineage: d.lineage,
		Organization: mapping.Organization{ID: org.ID, Name: org.Name, System: fhir.LocalBase + "/ids/" + org.ID, Part2: org.Part2()},
	}
}

// invalidRecord turns the mapping's faults into issues: pointers and keywords, no values.
func invalidRecord(err error) error {
	var invalid *mapping.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	p := &fhir.Problem{Category: fhir.Unprocessable}
	for _, fault := range invalid.Problems {
		at := fault.Pointer
		if at == "" {
			at = "/" // the record itself
		}
		if fault.File != "" || fault.Column != "" {
			at = fmt.Sprintf("row %d, column %s", fault.Row, fault.Column)
		}
		p.Issues = append(p.Issues, fhir.Issue{Code: "invalid", Text: fault.Text, Expression: at})
		if fault.Code == "not-json" {
			p.Category = fhir.Invalid
		}
	}
	if len(p.Issues) == 0 {
		p.Issues = []fhir.Issue{{Code: "invalid", Text: "the record is not valid"}}
	}
	return p.Because(err)
}

// take stores one native record's resources in one transaction.
func (d *Desk) take(ctx context.Context, in delivery) (Receipted, error) {
	plain, err := in.plain(ctx)
	if err != nil {
		return Receipted{}, err
	}
	out := Receipted{Key: in.record.Key, Resources: []Made{}}
	var written []store.Written
	if in.pack.Format == "json" {
		written, out.Merge, err = in.transact(ctx, plain)
	} else {
		written, err = d.store.Apply(ctx, plain, func(w []store.Written) (store.Commit, error) { return d.commit(in.Submission, w, len(w)) })
	}
	if err != nil {
		return Receipted{}, err
	}
	for _, w := range written {
		out.Resources = append(out.Resources, Made{Reference: w.Type + "/" + w.ID, Version: w.Version, Status: status(w)})
	}
	return out, nil
}

// delivery is one record on its way in.
type delivery struct {
	Submission
	desk   *Desk
	pack   *mapping.Pack
	env    mapping.Env
	record mapping.Record // as it was mapped
	again  bool           // it is not sent, but mapped from what is on file
}

// plain are the changes that store the record as it was sent.
func (in *delivery) plain(ctx context.Context) ([]store.Change, error) {
	out := make([]store.Change, 0, len(in.record.Resources))
	for _, r := range in.record.Resources {
		if err := in.Allow(r.Type); err != nil {
			return nil, err
		}
		parsed, err := in.desk.parser.Parse(r.JSON)
		if err != nil {
			return nil, in.invalid(r.Type, err)
		}
		if r.Shared {
			if parsed, err = in.desk.merged(ctx, in.Principal.Organization.ID, parsed); err != nil {
				return nil, err
			}
		}
		out = append(out, in.change(r, parsed, label.Given{}))
	}
	return out, nil
}

func (in *delivery) invalid(typ string, err error) error {
	return fmt.Errorf("intake: pack %s made an invalid %s: %w", in.Kind, typ, asInternal(err))
}

// change stores a resource of the record. given are the labels the stored one was given, which the record does not know of.
func (in *delivery) change(r mapping.Resource, res *fhir.Resource, given label.Given) store.Change {
	org := in.Principal.Organization
	mapped := make([]fhir.Coding, 0, len(r.Labels))
	for _, l := range r.Labels {
		mapped = append(mapped, fhir.Coding{System: l.System, Code: l.Code})
	}
	verdict := in.desk.labels.Examine(res, org.Source(), mapped)
	if len(given.Inbound) > 0 || in.again && len(given.Mapped) > 0 {
		verdict = in.withGiven(verdict, mapped, given)
	}
	return store.Change{
		Method: store.Update, Type: r.Type, ID: r.ID, Resource: res, Owner: org.ID, MayCreate: true,
		Segment: verdict.Segment, Verdict: &verdict, Mapped: true,
	}
}

// merged adds what is known already to a resource that several records describe in part: a screening that
// knows a person's name alone must not erase an address. What the new record says wins.
func (d *Desk) merged(ctx context.Context, organization string, r *fhir.Resource) (*fhir.Resource, error) {
	known, err := d.store.Own(ctx, organization, r.Type, r.ID)
	if err != nil || known == nil {
		return r, err
	}
	return fhir.Overlay(known, r)
}

// asInternal keeps a pack's fault from looking like the sender's.
func asInternal(err error) error { return errors.New(err.Error()) }

func status(w store.Written) string {
	switch {
	case w.Unchanged:
		return "unchanged"
	case w.Created:
		return "created"
	}
	return "updated"
}

// commit is what must be durable together with a record: its audit leaf and what is owed to partners, of the first resources
// written, the record's. A record that changed nothing leaves a leaf and owes nothing.
func (d *Desk) commit(sub Submission, written []store.Written, record int) (store.Commit, error) {
	interaction := sub.interaction
	if interaction == "" {
		interaction = "intake"
	}
	leaf, err := audit.NewLeaf(WriteEvents(sub.Principal, interaction, sub.RequestID, sub.TokenID, written)...)
	if err != nil {
		return store.Commit{}, err
	}
	out := store.Commit{Leaves: []audit.Leaf{leaf}}
	for _, w := range written[:record] {
		for _, p := range d.partners {
			if p.Type == w.Type && !w.Unchanged && p.Organization != sub.Principal.Organization.ID && len(w.Patients) == 1 {
				out.Deliveries = append(out.Deliveries, store.Delivery{Partner: p.Organization, Patient: w.Patients[0], Type: w.Type, Resource: w.ID})
			}
		}
	}
	return out, nil
}
