package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/intake"
	"trellis/gateway/store"
)

const intakeHelp = `trellis intake: work on the native records that were sent

Usage:
  trellis intake remap --kind KIND --config FILE [--dry-run | --apply] [--json]

"remap" maps every record on file that another version of its pack mapped anew, and shows which elements of which
resources would be otherwise. On file is what FHIR holds of a record as it was last sent; labels its mapping gave it
stay, and what was changed elsewhere since is kept. Nothing is written without --apply. With it each record is
stored in a transaction of its own, with its Provenance and an event in the audit log; a record that is done is not
done again, so that an interrupted run is taken up by the same command. Records that do not follow the new version's
schema stay as they are, and are named.

The differences go to standard output and hold values of patients' records; progress goes to standard error.

Flags:
  --config FILE   configuration file of the deployment: its data, its organisations and its label rules
  --kind KIND     a JSON pack, of the program or of the configuration's packs folder: recovery-plan, peer-encounter, ...
  --dry-run       write nothing (the default)
  --apply         store what comes of it
  --json          one line of JSON per record

Exit status: 0 done; 1 it failed, or records were left as they are; 2 wrong use.

Examples:
  trellis intake remap --kind recovery-plan --config trellis.yaml
  trellis intake remap --kind recovery-plan --config trellis.yaml --apply
`

// remapCommand is one run of `trellis intake remap`.
type remapCommand struct {
	kind           string
	apply, asJSON  bool
	config         config
	stdout, stderr io.Writer

	bar    *progress
	faults int
}

func runIntake(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(stdout, intakeHelp)
		return 0
	}
	c := remapCommand{stdout: stdout, stderr: stderr}
	fs := flag.NewFlagSet("intake", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, intakeHelp) }
	file := fs.String("config", "", "")
	dry := fs.Bool("dry-run", false, "")
	fs.StringVar(&c.kind, "kind", "", "")
	fs.BoolVar(&c.apply, "apply", false, "")
	fs.BoolVar(&c.asJSON, "json", false, "")
	if code, done := parseFlags(fs, args[1:], stdout, intakeHelp); done {
		return code
	}
	if args[0] != "remap" || fs.NArg() > 0 || c.kind == "" || *file == "" || *dry && c.apply {
		fmt.Fprintln(stderr, "trellis intake: say `remap`, with --kind and --config, and one of --dry-run and --apply at most; see `trellis intake --help`")
		return 2
	}
	var err error
	if c.config, err = readConfig(*file); err != nil {
		fmt.Fprintln(stderr, "trellis intake:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(stderr, "trellis intake:", err)
		return 1
	}
	if c.faults > 0 {
		fmt.Fprintf(stderr, "%d records were left as they are\n", c.faults)
		return 1
	}
	return 0
}

func (c *remapCommand) run(ctx context.Context) (err error) {
	where, err := c.config.location()
	if err != nil {
		return err
	}
	if err := where.exists(); err != nil {
		return err
	}
	registry, err := search.New()
	if err != nil {
		return err
	}
	s, err := where.open(ctx, c.config.PublicURL+"/fhir", registry, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.SyncParameters(ctx); err != nil { // what is written is indexed as the server does
		return err
	}
	desk, err := c.desk(ctx, s)
	if err != nil {
		return err
	}
	return desk.Remap(ctx, intake.Remapping{Kind: c.kind, OnFile: s, Apply: c.apply, Client: "cli", Each: c.tell})
}

// desk is the intake as the deployment's server has it.
func (c *remapCommand) desk(ctx context.Context, s *store.Store) (*intake.Desk, error) {
	parser, err := fhir.NewParser()
	if err != nil {
		return nil, err
	}
	programs := newPrograms(c.config.PublicURL+"/fhir", append([]access.Organization{c.config.Posture.operator()}, c.config.Organizations...))
	if _, err := programs.refresh(ctx, s); err != nil {
		return nil, err
	}
	labels, err := label.Load(label.Config{Off: c.config.LabelRulesOff, On: c.config.LabelRulesOn, Programs: programs, Scope: programs.scope()})
	if err != nil {
		return nil, err
	}
	secret, err := s.Secret(ctx, "namespace")
	if err != nil {
		return nil, err
	}
	packs, err := c.config.packs()
	if err != nil {
		return nil, err
	}
	return intake.New(intake.Config{Packs: packs, Parser: parser, Labels: labels, Store: s, Namespace: intakeNamespace(secret), Partners: intakePartners(c.config.Partners), ProposeConcerns: c.config.ProposeConcerns, Lineage: c.config.Lineage}), nil
}

// intakeNamespace is the namespace of the ids of what records are mapped to.
func intakeNamespace(secret []byte) uuid.UUID {
	return uuid.NewHash(sha256.New(), uuid.Nil, secret, 5)
}

// tell prints one record.
func (c *remapCommand) tell(r intake.Remapped, left int) error {
	if c.bar == nil {
		c.bar = newProgress(c.stderr, "mapping anew", left)
	}
	c.bar.step()
	if r.Fault != "" {
		c.faults++
	}
	if c.asJSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	if r.Fault != "" {
		_, err := fmt.Fprintf(c.stdout, "%s %s: left as it is: %s\n", r.Organization, r.Key, r.Fault)
		return err
	}
	if _, err := fmt.Fprintf(c.stdout, "%s %s: mapped by %s, %d resources otherwise\n", r.Organization, r.Key, r.From, len(r.Changes)); err != nil {
		return err
	}
	writeResourceDiffs(c.stdout, r.Changes)
	return nil
}
