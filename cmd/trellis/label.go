package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

const labelHelp = `trellis label: what records are about, by which rules, and what a person has to look at

Usage:
  trellis label rules   [--config FILE] [--json]
  trellis label eval    [--config FILE] [--json]
  trellis label explain FILE.json [--config FILE] [--program] [--json]
  trellis label explain Type/id --config FILE [--json]
  trellis label status  [--config FILE | --data DIR | --postgres DSN]
  trellis label review  [--all] [--limit N] [--config FILE | --data DIR | --postgres DSN] [--json]
  trellis label review  --clear Type/id --by LOGIN --config FILE
  trellis label review  --keep Type/id [--as SUD|OPIOIDUD|ETHUD] --by LOGIN --config FILE

"rules" lists the rule pack; what counsel or clinicians have to confirm says so. A deployment switches rules with
label_rules_off and label_rules_on in its configuration. "eval" measures the pack against the golden corpus, label by
label, and names every miss. "explain" says which rules fired, and at which element; a stored record's explanation is
logged. "status" shows how far labelling anew under a new pack has come.

"review" lists the records only words say something about. Until a person has looked they are hidden from other
organisations. --clear says that the words are about no substance use; --keep that they are, and with --as what about:
then the record is labelled and decided about like any other of that kind. --by is the account of a member of staff of
the record's custodian, or of an administrator of the deployment. The answer is logged, holds for these words, and
changes the labels at once.

Flags:
  --config FILE    configuration file of the deployment: its rules, its programs and its data
  --data DIR       folder of the embedded database (default ./trellis-data)
  --postgres DSN   PostgreSQL database instead
  --program        take the file as a Part 2 program's record

Exit status: 0 done; 1 it failed; 2 wrong use.

Examples:
  trellis label rules
  trellis label eval
  trellis label explain careplan.json
  trellis label explain Condition/41 --config trellis.yaml
  trellis label status --data /var/lib/trellis
  trellis label review --config trellis.yaml
  trellis label review --clear CarePlan/7b0c1d52 --by nora --config trellis.yaml
`

// labelCommand is one run of the command.
type labelCommand struct {
	where          location
	file           string // configuration
	config         config
	asJSON         bool
	program        bool
	all            bool
	limit          int
	clear, keep    string
	as, by         string
	stdout, stderr io.Writer
}

func runLabel(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(stdout, labelHelp)
		return 0
	}
	c := labelCommand{stdout: stdout, stderr: stderr}
	fs := flag.NewFlagSet("label", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, labelHelp) }
	c.where.flags(fs)
	fs.StringVar(&c.file, "config", "", "")
	fs.BoolVar(&c.asJSON, "json", false, "")
	fs.BoolVar(&c.program, "program", false, "")
	fs.BoolVar(&c.all, "all", false, "")
	fs.IntVar(&c.limit, "limit", 100, "")
	fs.StringVar(&c.clear, "clear", "", "")
	fs.StringVar(&c.keep, "keep", "", "")
	fs.StringVar(&c.as, "as", "", "")
	fs.StringVar(&c.by, "by", "", "")
	if code, done := parseFlags(fs, args[1:], stdout, labelHelp); done {
		return code
	}
	work := map[string]func(fs *flag.FlagSet) error{"rules": c.rules, "eval": c.eval, "explain": c.explain, "status": c.status, "review": c.review}[args[0]]
	if work == nil || (args[0] != "explain" && fs.NArg() > 0) {
		fmt.Fprintf(stderr, "trellis label: %q is none of rules, eval, explain, status, review, or has too many arguments; see `trellis label --help`\n", args[0])
		return 2
	}
	if err := c.configure(); err != nil {
		fmt.Fprintln(stderr, "trellis label:", err)
		return 1
	}
	err := work(fs)
	var wrong usageError
	switch {
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, "trellis label:", err)
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "trellis label:", err)
		return 1
	}
	return 0
}

// usageError is wrong use of a command.
type usageError string

// Error says what is wrong.
func (e usageError) Error() string { return string(e) + "; see `trellis label --help`" }

// configure reads the configuration file, where one is named.
func (c *labelCommand) configure() error {
	if c.file == "" {
		return nil
	}
	var err error
	if c.config, err = readConfig(c.file); err != nil {
		return err
	}
	c.where, err = c.config.location()
	return err
}

// classifier is the pack as the deployment uses it. places are its programs' places, where they can be known.
func (c *labelCommand) classifier(ctx context.Context, s *store.Store) (*label.Classifier, error) {
	cfg := label.Config{Off: c.config.LabelRulesOff, On: c.config.LabelRulesOn}
	if c.file != "" {
		p := newPrograms(c.config.PublicURL+"/fhir", append([]access.Organization{c.config.Posture.operator()}, c.config.Organizations...))
		if s != nil {
			if _, err := p.refresh(ctx, s); err != nil {
				return nil, err
			}
		}
		cfg.Programs, cfg.Scope = p, p.scope()
	}
	return label.Load(cfg)
}

// withStore opens the data of the deployment for one piece of work.
func (c *labelCommand) withStore(work func(ctx context.Context, s *store.Store) error) error {
	ctx := context.Background()
	s, err := c.where.openTool(ctx)
	if err != nil {
		return err
	}
	return errors.Join(work(ctx, s), s.Close())
}

func (c *labelCommand) print(v any) error {
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

func (c *labelCommand) rules(*flag.FlagSet) error {
	classifier, err := c.classifier(context.Background(), nil)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.print(map[string]any{"pack": label.RulesVersion, "switched": classifier.Switched(), "rules": classifier.Rules()})
	}
	fmt.Fprintf(c.stdout, "rule pack %s\n\n", label.RulesVersion)
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "rule\ton\tlabels\tconfidence\tstatus\tbasis\tnote\n")
	for _, r := range classifier.Rules() {
		on := "off"
		switch {
		case r.Fixed():
			on = "always"
		case r.On:
			on = "on"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, on, codesOf(r.Labels), r.Confidence, r.Status, r.Basis, r.Note)
	}
	return tw.Flush()
}

func codesOf(labels []fhir.Coding) string {
	var out []string
	for _, l := range labels {
		out = append(out, l.Code)
	}
	return strings.Join(out, " ")
}

func (c *labelCommand) eval(*flag.FlagSet) error {
	cases, err := label.Corpus()
	if err != nil {
		return err
	}
	m, err := label.Measure(label.Config{Off: c.config.LabelRulesOff, On: c.config.LabelRulesOn}, cases)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.print(m)
	}
	fmt.Fprintf(c.stdout, "rule pack %s on %d records: %d negative, %d without a code that says what they are about\n\n", label.RulesVersion, m.Cases, m.Negatives, m.Uncoded)
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "label\tright\twrong\tmissed\tprecision\trecall\t\n")
	row := func(name string, s label.Score) {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%.2f\t%.2f\t\n", name, s.Right, s.Wrong, s.Missed, s.Precision(), s.Recall())
	}
	for _, name := range m.Names() {
		row(name, m.Labels[name])
	}
	row("all", m.Overall)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\n%d records are not as expected:\n", len(m.Misses))
	for _, miss := range m.Misses {
		fmt.Fprintf(c.stdout, "  %s: ", miss.Case.ID)
		if len(miss.Lacks) > 0 {
			fmt.Fprintf(c.stdout, "lacks %s ", strings.Join(miss.Lacks, " "))
		}
		if len(miss.Wrong) > 0 {
			fmt.Fprintf(c.stdout, "has %s ", strings.Join(miss.Wrong, " "))
		}
		fmt.Fprintf(c.stdout, "(%s)\n", miss.Case.Reason)
	}
	return nil
}

func (c *labelCommand) explain(fs *flag.FlagSet) error {
	if fs.NArg() != 1 {
		return usageError("explain takes one FILE.json or Type/id")
	}
	if _, err := os.Stat(fs.Arg(0)); err == nil || strings.HasSuffix(fs.Arg(0), ".json") {
		return c.explainFile(fs.Arg(0))
	}
	ref, ok := fhir.ParseReference(fs.Arg(0), "")
	if !ok {
		return usageError("there is no such file, and it is no Type/id")
	}
	return c.withStore(func(ctx context.Context, s *store.Store) error {
		classifier, err := c.classifier(ctx, s)
		if err != nil {
			return err
		}
		ground, err := s.LabelGround(ctx, ref)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("there is no %s", ref)
		}
		if err != nil {
			return err
		}
		if err := logLabel(ctx, s, audit.Event{Kind: audit.Explain, Interaction: "label explain", Outcome: "explained"}, ref, ground.Patients); err != nil {
			return fmt.Errorf("the explanation cannot be audited, so it is not given: %w", err)
		}
		pack := ground.Pack
		if pack == "" {
			pack = "a pack that is not known"
		}
		if err := c.printVerdict(ref.String(), ground.Verdict(classifier), &ground.Segment, pack); err != nil || c.asJSON {
			return err
		}
		reviews, err := s.LabelReviewsOf(ctx, ref)
		if err != nil {
			return err
		}
		for _, r := range reviews {
			if r.State != store.ReviewOpen {
				fmt.Fprintf(c.stdout, "  a person has looked: %s by %s, %s\n", r.Said(), r.Reviewer, r.Settled.Format(time.RFC3339))
			}
		}
		return nil
	})
}

func (c *labelCommand) explainFile(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	parser, err := fhir.NewParser()
	if err != nil {
		return err
	}
	r, err := parser.Parse(data)
	if err != nil {
		return fmt.Errorf("%s is no FHIR R4 resource: %w", name, err)
	}
	classifier, err := c.classifier(context.Background(), nil)
	if err != nil {
		return err
	}
	return c.printVerdict(name, classifier.Examine(r, label.Source{Organization: "holder", Part2: c.program, Covered: true}, nil), nil, "")
}

// printVerdict shows a verdict; stored is the segment of a stored record, given by pack.
func (c *labelCommand) printVerdict(name string, v label.Verdict, stored *label.Segment, pack string) error {
	if c.asJSON {
		return c.print(map[string]any{"labels": v.Segment.Security(), "findings": v.Findings, "pack": v.Version, "stored": stored, "storedPack": pack})
	}
	fmt.Fprintf(c.stdout, "%s: %s\n", name, codesOf(v.Segment.Security()))
	if stored != nil {
		fmt.Fprintf(c.stdout, "stored as: %s, by %s\n", codesOf(stored.Security()), pack)
	}
	if v.Segment.Unclassified {
		fmt.Fprintln(c.stdout, "hidden from other organisations until it can be classified")
	}
	fmt.Fprintln(c.stdout)
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "  rule\tlabels\tconfidence\tstatus\telement\n")
	for _, f := range v.Findings {
		at := f.Path
		if at == "" {
			at = "the whole record"
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", f.Rule, codesOf(f.Labels), f.Confidence, f.Status, at)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.stdout, "\n  pack %s\n", v.Version)
	return err
}

// logLabel makes an event about a record durable, one for each of its patients.
func logLabel(ctx context.Context, s *store.Store, ev audit.Event, ref fhir.Reference, patients []string) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	leaf, err := labelLeaf(ev, now, ref, patients)
	if err != nil {
		return err
	}
	return s.Audit().Append(ctx, leaf)
}

func labelLeaf(ev audit.Event, now time.Time, ref fhir.Reference, patients []string) (audit.Leaf, error) {
	ev.At, ev.Client, ev.Purpose = now, "cli", "HSYSADMIN"
	ev.Resources = []audit.Resource{{Type: ref.Type, ID: ref.ID}}
	if len(patients) == 0 {
		return audit.NewLeaf(ev)
	}
	var all []audit.Event
	for _, id := range patients {
		one := ev
		one.Patient = "Patient/" + id
		all = append(all, one)
	}
	return audit.NewLeaf(all...)
}

func (c *labelCommand) status(*flag.FlagSet) error {
	return c.withStore(func(ctx context.Context, s *store.Store) error {
		job, found, err := s.LastRelabel(ctx)
		if err != nil {
			return err
		}
		open, err := s.LabelReviews(ctx, store.ReviewOpen, 1_000_000)
		if err != nil {
			return err
		}
		if c.asJSON {
			return c.print(map[string]any{"relabelling": job, "found": found, "openReviews": len(open)})
		}
		switch {
		case !found:
			fmt.Fprintln(c.stdout, "no server has started on these data since labels remember their pack")
		case job.State == store.RelabelRunning:
			fmt.Fprintf(c.stdout, "pack %s: labelling anew since %s, %d of %d records looked at, %d changed\n", job.Pack, job.Started.Format(time.RFC3339), job.Done, job.Total, job.Changed)
		default:
			fmt.Fprintf(c.stdout, "pack %s: all records are labelled under it since %s; %d looked at, %d changed\n", job.Pack, job.Ended.Format(time.RFC3339), job.Done, job.Changed)
		}
		_, err = fmt.Fprintf(c.stdout, "%d records wait for a person; `trellis label review` lists them\n", len(open))
		return err
	})
}
