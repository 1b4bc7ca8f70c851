package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"trellis/gateway/audit"
	"trellis/gateway/store"
)

const emergencyHelp = `trellis emergency: review declared medical emergencies (break-glass)

Usage:
  trellis emergency list [--all] [--json]
  trellis emergency review --id ID --as LOGIN (--appropriate | --inappropriate) [--note TEXT]
Each takes [--data DIR | --postgres DSN].

Medical personnel declare an emergency with POST [base]/Patient/[id]/$break-glass and the facts of 42 CFR 2.51(c). Each one waits here
until a second person, an account other than who declared it, has closed it. That happens once. The list shows
what waits, the longest first; --all shows closed ones too.

Exit status of list: 0 when nothing waits, 1 when something does, 2 for an error.

Examples:
  trellis emergency list
  trellis emergency review --id 7b0c1d52-9c3e-4a8e-9d0a-2f4f1f0e6c11 --as casey --appropriate
`

func runEmergency(args []string, stdout, stderr io.Writer) int {
	c := emergencyCommand{stdout: stdout}
	if code := (tool{"emergency", emergencyHelp, c.flags, map[string]func(context.Context, *store.Store) error{"list": c.list, "review": c.review}}).run(args, stdout, stderr); code != 0 {
		return 2
	}
	return c.waiting
}

func (c *emergencyCommand) flags(fs *flag.FlagSet) {
	fs.BoolVar(&c.all, "all", false, "")
	fs.BoolVar(&c.asJSON, "json", false, "")
	fs.StringVar(&c.id, "id", "", "")
	fs.StringVar(&c.as, "as", "", "")
	fs.BoolVar(&c.appropriate, "appropriate", false, "")
	fs.BoolVar(&c.inappropriate, "inappropriate", false, "")
	fs.StringVar(&c.note, "note", "", "")
}

type emergencyCommand struct {
	id, as, note                            string
	all, asJSON, appropriate, inappropriate bool
	stdout                                  io.Writer
	waiting                                 int // exit status of list
}

func (c *emergencyCommand) list(ctx context.Context, s *store.Store) error {
	list, err := s.Emergencies(ctx, c.all)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Review == nil {
			c.waiting = 1
		}
	}
	if c.asJSON {
		return json.NewEncoder(c.stdout).Encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.stdout, "nothing waits for review")
		return err
	}
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "declared\tid\tpatient\tby\tdisclosed to\tnature\treview\n")
	for _, e := range list {
		by := e.Client
		if e.User != "" {
			by += " (" + e.User + ")"
		}
		review := "WAITS"
		if e.Review != nil {
			review = "appropriate"
			if !e.Review.Appropriate {
				review = "INAPPROPRIATE"
			}
			review += " by " + e.Review.By
		}
		fmt.Fprintf(tw, "%s\t%s\tPatient/%s\t%s\t%s, %s\t%s\t%s\n", e.Declared.Format(time.RFC3339), e.ID, e.Patient, by, e.Recipient, e.Affiliation, e.Nature, review)
	}
	return tw.Flush()
}

func (c *emergencyCommand) review(ctx context.Context, s *store.Store) error {
	if c.id == "" || c.as == "" || c.appropriate == c.inappropriate {
		return errors.New("--id, --as and one of --appropriate and --inappropriate are required")
	}
	reviewer, err := staffAccount(ctx, s, c.as)
	if err != nil {
		return err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	review := store.Review{By: reviewer.ID, At: now, Appropriate: c.appropriate, Note: c.note}
	err = s.ReviewEmergency(ctx, c.id, review, func(e store.Emergency) (audit.Leaf, error) {
		outcome := "appropriate"
		if !c.appropriate {
			outcome = "inappropriate"
		}
		return audit.NewLeaf(audit.Event{Kind: audit.Emergency, At: now, Client: "cli", User: reviewer.ID, Organization: e.Organization, Purpose: "HSYSADMIN", Patient: "Patient/" + e.Patient,
			Interaction: "emergency-review", Outcome: outcome, Detail: map[string]string{"emergency": e.ID}})
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("--id: no emergency %q was declared", c.id)
	case errors.Is(err, store.ErrReviewed):
		return errors.New("it has been reviewed; that happens once")
	case errors.Is(err, store.ErrSelf):
		return errors.New("an emergency is reviewed by somebody else than who declared it")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "closed %s\n", c.id)
	return err
}
