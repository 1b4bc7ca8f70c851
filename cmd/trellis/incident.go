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

	"trellis/gateway/store"
)

const incidentHelp = `trellis incident: look at what the gateway drafted as an incident

Usage:
  trellis incident list [--all] [--json]
  trellis incident settle --id ID --as LOGIN (--breach | --no-breach) [--note TEXT]
Each takes [--data DIR | --postgres DSN].

An export of more records than the configuration's mass_export_records is released as its basis allows, and drafted as an incident: a
person has to say whether it is a breach. Individuals are told of one without unreasonable delay, within 60 days of its
discovery at the latest (42 CFR 2.16(b), 45 CFR 164.404); the list shows that day.

Exit status of list: 0 when nothing waits, 1 when something does, 2 for an error.

Examples:
  trellis incident list
  trellis incident settle --id 7b0c1d52-9c3e-4a8e-9d0a-2f4f1f0e6c11 --as casey --no-breach --note "the yearly report"
`

func runIncident(args []string, stdout, stderr io.Writer) int {
	c := incidentCommand{stdout: stdout}
	if code := (tool{"incident", incidentHelp, c.flags, map[string]func(context.Context, *store.Store) error{"list": c.list, "settle": c.settle}}).run(args, stdout, stderr); code != 0 {
		return 2
	}
	return c.waiting
}

func (c *incidentCommand) flags(fs *flag.FlagSet) {
	fs.BoolVar(&c.all, "all", false, "")
	fs.BoolVar(&c.asJSON, "json", false, "")
	fs.StringVar(&c.id, "id", "", "")
	fs.StringVar(&c.as, "as", "", "")
	fs.BoolVar(&c.breach, "breach", false, "")
	fs.BoolVar(&c.noBreach, "no-breach", false, "")
	fs.StringVar(&c.note, "note", "", "")
}

type incidentCommand struct {
	id, as, note                  string
	all, asJSON, breach, noBreach bool
	stdout                        io.Writer
	waiting                       int // exit status of list
}

// breachClock is how long individuals may wait for a notice of a breach.
const breachClock = 60 * 24 * time.Hour

func (c *incidentCommand) list(ctx context.Context, s *store.Store) error {
	list, err := s.Incidents(ctx, c.all)
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Settled == nil {
			c.waiting = 1
		}
	}
	if c.asJSON {
		return json.NewEncoder(c.stdout).Encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.stdout, "no incident waits")
		return err
	}
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "drafted\tid\tkind\tby\trecords\tif a breach, tell by\tsettled\n")
	for _, i := range list {
		settled := "DRAFT"
		if i.Settled != nil {
			settled = "no breach"
			if i.Settled.Breach {
				settled = "BREACH"
			}
			settled += " (" + i.Settled.By + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s of %s\t%d\t%s\t%s\n", i.At.Format(time.RFC3339), i.ID, i.Kind, i.Client, i.Organization, i.Records, i.At.Add(breachClock).Format(time.DateOnly), settled)
	}
	return tw.Flush()
}

func (c *incidentCommand) settle(ctx context.Context, s *store.Store) error {
	if c.id == "" || c.as == "" || c.breach == c.noBreach {
		return errors.New("--id, --as and one of --breach and --no-breach are required")
	}
	who, err := staffAccount(ctx, s, c.as)
	if err != nil {
		return err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	err = s.SettleIncident(ctx, c.id, store.Settlement{By: who.ID, At: now, Breach: c.breach, Note: c.note})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("--id: there is no incident %q", c.id)
	case errors.Is(err, store.ErrSettled):
		return errors.New("it has been settled; that happens once")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "settled %s\n", c.id)
	return err
}
