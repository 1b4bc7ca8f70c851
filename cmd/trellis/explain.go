package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

const explainHelp = `trellis explain: say why a record is released to an organisation, or not

Usage:
  trellis explain --as NAME --purpose CODE Type/id [--at TIME] [--data DIR | --postgres DSN] [--json]

NAME is an organisation's id or one of its clients' ids. With --at, the consents and relationships recorded at
that time are applied as of that time; without, those of now. The output is the decision as it is stored in the
audit log: every rule that was asked, hit or missed, with its section of the regulation. Looking is itself logged.

Exit status: 0 permit, 1 deny, 2 wrong use or an error.

Examples:
  trellis explain --as hospital --purpose TREAT Condition/7b0c1d52-9c3e-4a8e-9d0a-2f4f1f0e6c11
  trellis explain --as plan --purpose HPAYMT --at 2026-03-01T00:00:00Z Encounter/41 --json
`

func runExplain(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, explainHelp) }
	var where location
	where.flags(fs)
	as := fs.String("as", "", "")
	purpose := fs.String("purpose", "", "")
	at := fs.String("at", "", "")
	asJSON := fs.Bool("json", false, "")
	if code, done := parseFlags(fs, args, stdout, explainHelp); done {
		return code
	}
	ref, ok := fhir.ParseReference(fs.Arg(0), "")
	if *as == "" || *purpose == "" || !ok || fs.NArg() != 1 {
		fmt.Fprintln(stderr, "trellis explain: --as, --purpose and one Type/id are required; see `trellis explain --help`")
		return 2
	}
	var when time.Time
	if *at != "" {
		var err error
		if when, err = time.Parse(time.RFC3339Nano, *at); err != nil {
			fmt.Fprintln(stderr, "trellis explain: --at must be a time as in 2026-03-01T12:00:00Z")
			return 2
		}
	}
	ctx := context.Background()
	s, err := where.openTool(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "trellis explain:", err)
		return 2
	}
	stored, err := explain(ctx, s, *as, *purpose, ref, when)
	if err := errors.Join(err, s.Close()); err != nil {
		fmt.Fprintln(stderr, "trellis explain:", err)
		return 2
	}
	return printDecision(stored, ref, *asJSON, stdout, stderr)
}

// explain decides as a read would, stores the decision in the audit log and returns what it stored.
func explain(ctx context.Context, s *store.Store, as, purpose string, ref fhir.Reference, at time.Time) (json.RawMessage, error) {
	principal, err := namedPrincipal(ctx, s, as, purpose)
	if err != nil {
		return nil, err
	}
	target, decision, err := release.Explain(ctx, s, principal, ref, at, nil)
	if err != nil {
		return nil, err
	}
	return storeExplanation(ctx, s, principal, target, decision)
}

func storeExplanation(ctx context.Context, s *store.Store, p access.Principal, target store.Target, d access.Decision) (json.RawMessage, error) {
	encoded, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	ev := audit.Event{Kind: audit.Explain, At: now, Client: "cli", Organization: p.Organization.ID, Purpose: p.Purpose, Interaction: "explain",
		Outcome: d.Effect.String(), Decision: encoded,
		Resources: []audit.Resource{{Type: target.Row.Type, ID: target.Row.ID, Version: strconv.FormatInt(target.Row.Version, 10)}}}
	for _, patient := range target.Subject.Patients {
		ev.Patient = "Patient/" + patient.ID
	}
	leaf, err := audit.NewLeaf(ev)
	if err != nil {
		return nil, err
	}
	if err := s.Audit().Append(ctx, leaf); err != nil {
		return nil, fmt.Errorf("the explanation cannot be audited, so it is not given: %w", err)
	}
	stored, err := audit.Events(leaf.Event)
	if err != nil {
		return nil, err
	}
	return stored[0].Decision, nil
}

// namedPrincipal finds the organisation by its id or by a client's id or name.
func namedPrincipal(ctx context.Context, s *store.Store, as, purpose string) (access.Principal, error) {
	org, err := s.Organization(ctx, as)
	if err != nil {
		return access.Principal{}, err
	}
	clients, err := s.Clients(ctx)
	if err != nil {
		return access.Principal{}, err
	}
	var names []string
	for _, c := range clients {
		if org.ID == "" && (c.OAuth.ID == as || c.OAuth.Name == as) {
			if org, err = s.Organization(ctx, c.OAuth.Organization); err != nil {
				return access.Principal{}, err
			}
		}
		names = append(names, c.OAuth.Organization)
	}
	if org.ID == "" {
		return access.Principal{}, fmt.Errorf("no organisation or client %q; there are %s", as, strings.Join(names, ", "))
	}
	return access.Principal{Organization: org, Purpose: purpose}, nil
}

// section names sections as the Code of Federal Regulations is cited.
func section(sections string) string {
	if sections == "" {
		return ""
	}
	var out []string
	for _, s := range strings.Split(sections, ", ") {
		title := "42 CFR "
		if strings.HasPrefix(s, "164.") {
			title = "45 CFR "
		}
		out = append(out, title+s)
	}
	return strings.Join(out, ", ")
}

func printDecision(stored json.RawMessage, ref fhir.Reference, asJSON bool, stdout, stderr io.Writer) int {
	var d access.Decision
	if err := json.Unmarshal(stored, &d); err != nil {
		fmt.Fprintln(stderr, "trellis explain: the stored decision cannot be read")
		return 2
	}
	code := 1
	if d.Effect == access.Permit {
		code = 0
	}
	if asJSON {
		fmt.Fprintf(stdout, "%s\n", stored)
		return code
	}
	fmt.Fprintf(stdout, "%s for %s (%s), purpose %s, at %s\n\n  %s: %s\n\n", ref, d.Organization, d.Class, d.Purpose,
		d.EvaluatedAt.Format(time.RFC3339), strings.ToUpper(d.Effect.String()), d.Code)
	tw := tabwriter.NewWriter(stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "  asked\trule\tsection\tanswer\tconsent\n")
	for _, r := range d.Reasons {
		hit := "miss"
		if r.Hit {
			hit = "HIT"
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", hit, r.Rule, section(r.Section), r.Code, r.Consent)
	}
	if err := tw.Flush(); err != nil {
		return 2
	}
	for _, o := range d.Obligations {
		fmt.Fprintf(stdout, "  must: %s %s\n", o.Code, o.Detail)
	}
	fmt.Fprintf(stdout, "\n  rules %s, labels %s\n", d.Policy, d.Labels)
	return code
}
