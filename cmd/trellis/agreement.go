package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

const agreementHelp = `trellis agreement: record what organisations agreed on

Usage:
  trellis agreement add --kind KIND --of ORGANIZATION --with ORGANIZATION [--purpose CODES] [--from DATE] [--to DATE] [--copies]
  trellis agreement end --id ID [--to DATE]
  trellis agreement list [--json]
Each takes [--data DIR | --postgres DSN].

Agreements open records without the patient's consent where the law lets them, or make a consent's recipient one:
  qsoa           a qualified service organization has what it needs for the services, named by purposes (42 CFR 2.12(c)(4))
  baa            a business associate likewise (45 CFR 164.502(e))
  control        an entity with direct administrative control over a program (2.12(c)(3))
  audit          an auditor looks; with --copies it may take copies, to be secured and destroyed (2.53)
  research       a researcher (2.52)
  contract       a contractor of a lawful holder (2.33(c))
  participation  --with takes part in the exchange of the intermediary --of (2.31(a)(4)(ii))
--of is the organisation whose records it is about. An agreement is a FHIR OrganizationAffiliation of the operator; the
organisation --of may write its own over FHIR instead. It can be ended and is never deleted.

Examples:
  trellis agreement add --kind qsoa --of otp --with billing --purpose HPAYMT --from 2026-01-01
  trellis agreement add --kind participation --of hie --with hospital
  trellis agreement end --id agreement-qsoa-otp-billing --to 2026-12-31
`

func runAgreement(args []string, stdout, stderr io.Writer) int {
	c := agreementCommand{stdout: stdout}
	return tool{"agreement", agreementHelp, c.flags, map[string]func(context.Context, *store.Store) error{"add": c.add, "end": c.end, "list": c.list}}.run(args, stdout, stderr)
}

func (c *agreementCommand) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.Kind, "kind", "", "")
	fs.StringVar(&c.Of, "of", "", "")
	fs.StringVar(&c.With, "with", "", "")
	fs.StringVar(&c.purposes, "purpose", "", "")
	fs.StringVar(&c.From, "from", "", "")
	fs.StringVar(&c.To, "to", "", "")
	fs.BoolVar(&c.Copies, "copies", false, "")
	fs.StringVar(&c.id, "id", "", "")
	fs.BoolVar(&c.asJSON, "json", false, "")
}

// agreementConfig is an agreement as the configuration file and the command line say it.
type agreementConfig struct {
	Kind     string   `json:"kind"`
	Of       string   `json:"of"`
	With     string   `json:"with"`
	Purposes []string `json:"purposes"`
	From     string   `json:"from"` // a date
	To       string   `json:"to"`
	Copies   bool     `json:"copies"`
}

type agreementCommand struct {
	agreementConfig
	purposes, id string
	asJSON       bool
	stdout       io.Writer
}

// id names the resource an agreement is recorded as: the same two organisations have one of a kind.
func (a agreementConfig) id() string { return "agreement-" + a.Kind + "-" + a.Of + "-" + a.With }

// fault says what is wrong with an agreement, "" for nothing.
func (a agreementConfig) fault() string {
	switch {
	case !access.KnownAgreement(access.AgreementKind(a.Kind)):
		return fmt.Sprintf("kind %q is none of qsoa, baa, control, audit, research, contract, participation", a.Kind)
	case a.Of == "" || a.With == "" || a.Of == a.With:
		return "of and with have to name two organisations"
	case (access.AgreementKind(a.Kind) == access.Participation) != (len(a.Purposes) == 0):
		return "purposes say what the agreement is for; only a participation has none"
	case a.Copies && access.AgreementKind(a.Kind) != access.Audit:
		return "copies is for audits"
	}
	for _, p := range a.Purposes {
		if !access.AgreementPurpose(p) {
			return fmt.Sprintf("purpose %q is none an agreement can be for: treatment, payment, operations, research and public health are", p)
		}
	}
	for _, day := range []string{a.From, a.To} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return fmt.Sprintf("%q is no date as in 2026-12-31", day)
		}
	}
	return ""
}

// resource is the agreement in FHIR.
func (a agreementConfig) resource() ([]byte, error) {
	extension := []any{}
	for _, p := range a.Purposes {
		extension = append(extension, map[string]any{"url": store.ExtAgreementPurpose, "valueCode": p})
	}
	if a.Kind == string(access.Audit) {
		extension = append(extension, map[string]any{"url": store.ExtAgreementCopies, "valueBoolean": a.Copies})
	}
	doc := map[string]any{"resourceType": store.AgreementType, "id": a.id(), "active": true,
		"organization": map[string]any{"reference": "Organization/" + a.Of}, "participatingOrganization": map[string]any{"reference": "Organization/" + a.With},
		"code": []any{map[string]any{"coding": []any{map[string]any{"system": store.SystemAgreement, "code": a.Kind}}}}}
	if len(extension) > 0 {
		doc["extension"] = extension
	}
	period := map[string]any{}
	if a.From != "" {
		period["start"] = a.From
	}
	if a.To != "" {
		period["end"] = a.To
	}
	if len(period) > 0 {
		doc["period"] = period
	}
	return json.Marshal(doc)
}

// putAgreement records an agreement as the operator's. One that says the same already is left alone.
func putAgreement(ctx context.Context, s *store.Store, parser *fhir.Parser, labels *label.Classifier, operator access.Organization, doc []byte) error {
	res, err := parser.Parse(doc)
	if err != nil {
		return err
	}
	p := access.Principal{Client: "cli", Organization: operator, Purpose: "HSYSADMIN"}
	_, err = s.Apply(ctx, []store.Change{{Method: store.Update, Type: res.Type, ID: res.ID, Resource: res, Owner: operator.ID, MayCreate: true, Segment: labels.Classify(res, operator.Source(), nil)}},
		func(w []store.Written) (store.Commit, error) {
			if w[0].Unchanged {
				return store.Commit{}, nil
			}
			leaf, err := audit.NewLeaf(intake.WriteEvents(p, "agreement", "", "", w)...)
			return store.Commit{Leaves: []audit.Leaf{leaf}}, err
		})
	return err
}

// workbench is what a tool needs to write a resource.
func workbench(ctx context.Context, s *store.Store) (*fhir.Parser, *label.Classifier, access.Organization, error) {
	parser, err := fhir.NewParser()
	if err != nil {
		return nil, nil, access.Organization{}, err
	}
	labels, err := label.New()
	if err != nil {
		return nil, nil, access.Organization{}, err
	}
	operator, err := s.Organization(ctx, access.OperatorID)
	return parser, labels, operator, err
}

func (c *agreementCommand) add(ctx context.Context, s *store.Store) error {
	if c.purposes != "" {
		c.Purposes = strings.Split(c.purposes, ",")
	}
	if fault := c.fault(); fault != "" {
		return errors.New(fault)
	}
	for _, id := range []string{c.Of, c.With} {
		org, err := s.Organization(ctx, id)
		if err != nil {
			return err
		}
		if org.ID == "" {
			return fmt.Errorf("no organisation %q is registered; the configuration file names them", id)
		}
	}
	doc, err := c.resource()
	if err != nil {
		return err
	}
	parser, labels, operator, err := workbench(ctx, s)
	if err != nil {
		return err
	}
	if err := putAgreement(ctx, s, parser, labels, operator, doc); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "recorded %s/%s\n", store.AgreementType, c.agreementConfig.id())
	return err
}

func (c *agreementCommand) end(ctx context.Context, s *store.Store) error {
	known, err := s.Own(ctx, access.OperatorID, store.AgreementType, c.id)
	if err != nil {
		return err
	}
	if known == nil {
		return fmt.Errorf("--id: no agreement %q was recorded here; `trellis agreement list` shows them", c.id)
	}
	if c.To == "" {
		c.To = time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly) // an end includes its day
	}
	if _, err := time.Parse(time.DateOnly, c.To); err != nil {
		return fmt.Errorf("--to: %q is no date as in 2026-12-31", c.To)
	}
	var doc map[string]any
	if err := json.Unmarshal(known.Root.Raw(), &doc); err != nil {
		return err
	}
	period, _ := doc["period"].(map[string]any)
	if period == nil {
		period = map[string]any{}
	}
	period["end"] = c.To
	doc["period"] = period
	delete(doc, "meta")
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	parser, labels, operator, err := workbench(ctx, s)
	if err != nil {
		return err
	}
	if err := putAgreement(ctx, s, parser, labels, operator, body); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s ends on %s\n", c.id, c.To)
	return err
}

func (c *agreementCommand) list(ctx context.Context, s *store.Store) error {
	terms, err := s.Terms(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(terms.Agreements, func(a, b access.Agreement) int { return strings.Compare(a.Source, b.Source) })
	if c.asJSON {
		return json.NewEncoder(c.stdout).Encode(terms.Agreements)
	}
	if len(terms.Agreements) == 0 {
		_, err := fmt.Fprintln(c.stdout, "no agreement is recorded")
		return err
	}
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "kind\tof\twith\tpurposes\tfrom\tto\trecord\n")
	for _, a := range terms.Agreements {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Kind, a.Of, a.With, strings.Join(a.Purposes, ","), day(a.From), day(a.To), a.Source)
	}
	return tw.Flush()
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}
