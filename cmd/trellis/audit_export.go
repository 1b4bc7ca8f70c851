package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"trellis/gateway/audit"
)

// export writes the whole log. Looking at the log is itself an event, and it comes first.
func (c auditCommand) export(args []string) error {
	where, out, err := c.storeFlags("export", args)
	if err != nil {
		return err
	}
	return c.withLog(where, func(ctx context.Context, log *auditLog) error {
		leaf, err := audit.NewLeaf(audit.Event{Kind: audit.AuditExport, At: time.Now(), Client: "cli", Purpose: "HSYSADMIN", Outcome: "released"})
		if err != nil {
			return err
		}
		if err := log.Append(ctx, leaf); err != nil {
			return fmt.Errorf("the export cannot be audited, so it is not made: %w", err)
		}
		return c.output(out, func(w io.Writer) error {
			counts, err := audit.Export(ctx, log.Store, log.Origin, w)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stderr, "exported %d rows, %d checkpoints, %d unnumbered rows\n",
				counts.Leaves, counts.Checkpoints, counts.Unnumbered)
			return err
		})
	})
}

// checkpoint prints the latest signed checkpoint.
func (c auditCommand) checkpoint(args []string) error {
	where, out, err := c.storeFlags("checkpoint", args)
	if err != nil {
		return err
	}
	return c.withLog(where, func(ctx context.Context, log *auditLog) error {
		_, signed, err := log.Store.Head(ctx)
		if err != nil {
			return err
		}
		if signed == nil {
			return errors.New("the log has no checkpoint yet")
		}
		return c.output(out, func(w io.Writer) error {
			_, err := w.Write(signed)
			return err
		})
	})
}

func (c auditCommand) storeFlags(name string, args []string) (where location, out string, err error) {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	where.flags(set)
	set.StringVar(&out, "out", "", "file to write; default: standard output")
	_, err = c.parse(set, args, 0)
	return where, out, err
}

// withLog opens the log, calls f and closes it again.
func (c auditCommand) withLog(where location, f func(context.Context, *auditLog) error) error {
	ctx := context.Background()
	log, err := c.open(ctx, where)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, log), log.Close())
}
