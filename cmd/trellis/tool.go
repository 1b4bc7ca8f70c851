package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"trellis/auth/people"
	"trellis/gateway/store"
)

// tool is a command with subcommands that work on an installation's data.
type tool struct {
	name, help string
	flags      func(*flag.FlagSet) // beside --data and --postgres; nil for none
	work       map[string]func(context.Context, *store.Store) error
}

// run does one subcommand: exit status 0 when it is done, 1 when it failed, 2 for wrong use.
func (t tool) run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(stdout, t.help)
		return 0
	}
	fs := flag.NewFlagSet(t.name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, t.help) }
	var where location
	where.flags(fs)
	if t.flags != nil {
		t.flags(fs)
	}
	if code, done := parseFlags(fs, args[1:], stdout, t.help); done {
		return code
	}
	work := t.work[args[0]]
	if work == nil {
		fmt.Fprintf(stderr, "trellis %s: no subcommand %q; see `trellis %s --help`\n", t.name, args[0], t.name)
		return 2
	}
	return where.work(t.name, stderr, work)
}

// staffAccount is the account of somebody who closes what waits for a person: enabled, and of staff.
func staffAccount(ctx context.Context, s *store.Store, login string) (people.User, error) {
	user, err := s.UserByLogin(ctx, people.FoldLogin(login))
	if errors.Is(err, store.ErrNotFound) || err == nil && (user.Disabled || !user.Staff()) {
		return people.User{}, fmt.Errorf("--as: %q is the login of no account of staff", login)
	}
	return user, err
}
