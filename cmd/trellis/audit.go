package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"trellis/gateway/audit"
)

const auditHelp = `trellis audit: export, keep and verify the tamper-evident audit log

Usage:
  trellis audit verify FILE --key PUB [--key RETIRED]... [--checkpoint OLD]... [--json]
  trellis audit export [--data DIR | --postgres DSN] [--out FILE]
  trellis audit checkpoint [--data DIR | --postgres DSN] [--out FILE]
  trellis audit key --origin NAME --out FILE

verify needs the exported file and the public key (the key itself, or a file that holds it) and nothing else: no
database, no network. It names every changed, removed, reordered or duplicated row by index and id. Give it the
checkpoints you have kept since earlier: only they can show a log that was cut off, or rewritten and signed again.

checkpoint prints the latest signed checkpoint. Keep one now and then where the operator cannot change it.
export writes the whole log, events included: handle the file as patient data. The export is itself audited. While a
server runs on an embedded database, what it released in the last quarter of a second may be missing; it is there next time.
key makes the key pair of a log: the private half goes to FILE, the public half is printed.

Exit status: 0 intact or done; 1 verification found something; 2 wrong usage or an error.

Examples:
  trellis audit key --origin gateway.example.org/audit --out audit.key > audit.pub
  trellis audit checkpoint --out checkpoint-2026-03.txt
  trellis audit export --out audit.ndjson
  trellis audit verify audit.ndjson --key audit.pub --checkpoint checkpoint-2026-03.txt
`

// auditLog is the log of an installation as the commands need it.
type auditLog struct {
	Store  auditReader
	Origin string // name of the log's key
	Append func(ctx context.Context, leaves ...audit.Leaf) error
	Close  func() error
}

// auditReader is what export and checkpoint read.
type auditReader interface {
	audit.ExportStore
	Head(ctx context.Context) (size int64, checkpoint []byte, err error)
}

// auditOpener opens the log of an installation.
type auditOpener func(ctx context.Context, where location) (*auditLog, error)

// auditCommand is `trellis audit` with its surroundings.
type auditCommand struct {
	open           auditOpener
	stdout, stderr io.Writer
}

// runAudit runs `trellis audit`.
func runAudit(args []string, stdout, stderr io.Writer) int {
	return auditCommand{open: openAuditLog, stdout: stdout, stderr: stderr}.run(args)
}

func (c auditCommand) run(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(c.stderr, auditHelp)
		return 2
	}
	var err error
	switch args[0] {
	case "verify":
		var intact bool
		if intact, err = c.verify(args[1:]); err == nil && !intact {
			return 1
		}
	case "export":
		err = c.export(args[1:])
	case "checkpoint":
		err = c.checkpoint(args[1:])
	case "key":
		err = c.key(args[1:])
	case "help", "-h", "--help":
		err = flag.ErrHelp
	default:
		err = fmt.Errorf("%w: no subcommand %q; `trellis audit --help` lists them", errUsage, args[0])
	}
	return c.exit(err)
}

// errUsage marks a wrong command line.
var errUsage = errors.New("wrong usage")

// exit reports the error and returns the exit status.
func (c auditCommand) exit(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		if _, err = io.WriteString(c.stdout, auditHelp); err == nil {
			return 0
		}
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(c.stderr, "trellis audit: %v\n", err)
	return 2
}

// parse reads flags wherever they stand among the positional arguments, and demands that many of the latter.
func (c auditCommand) parse(set *flag.FlagSet, args []string, positional int) ([]string, error) {
	set.SetOutput(io.Discard)
	var rest []string
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if set.NArg() == 0 {
			break
		}
		rest = append(rest, set.Arg(0))
		args = set.Args()[1:]
	}
	if len(rest) != positional {
		return nil, fmt.Errorf("%w: %s takes %d argument(s), got %d", errUsage, set.Name(), positional, len(rest))
	}
	return rest, nil
}

// key makes a key pair.
func (c auditCommand) key(args []string) error {
	set := flag.NewFlagSet("key", flag.ContinueOnError)
	origin := set.String("origin", "", "name of the log")
	out := set.String("out", "", "file for the private key")
	if _, err := c.parse(set, args, 0); err != nil {
		return err
	}
	if *origin == "" || *out == "" {
		return fmt.Errorf("%w: key needs --origin and --out", errUsage)
	}
	private, public, err := audit.NewKey(*origin)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // never over an existing key
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, private+"\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, public)
	return err
}

// output calls write with stdout, or with a private file that appears under its name only when it is complete.
func (c auditCommand) output(name string, write func(io.Writer) error) (err error) {
	if name == "" || name == "-" {
		return write(c.stdout)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), name)
}

// fileOrText returns the text itself when it looks like a key, else the content of the file of that name.
func fileOrText(text string) (string, error) {
	if strings.Count(text, "+") >= 2 {
		if _, err := os.Stat(text); err != nil {
			return text, nil
		}
	}
	data, err := os.ReadFile(text)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(data)), nil
}
