package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"trellis/auth/access"
	"trellis/gateway/store"
)

const rulesHelp = `trellis rules: list the rules decisions are made by

Usage:
  trellis rules [--json] [--data DIR | --postgres DSN]

Each rule has a name, which decisions and the audit log give, the section it rests on, what is known of the reading ("read" in
the primary source, "to be confirmed" by counsel, or "ours"), and whether it is on, off, or fixed. Counsel switches rules in the
configuration file:

  rules: {off: [D12-audit-on-premises], on: [H4-public-health]}

Where there is an installation, the list shows what holds there.

Examples:
  trellis rules
  trellis rules --json | jq '.[] | select(.Status == "to be confirmed")'
`

func runRules(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("rules", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, rulesHelp) }
	var where location
	where.flags(fs)
	asJSON := fs.Bool("json", false, "")
	if code, done := parseFlags(fs, args, stdout, rulesHelp); done {
		return code
	}
	rules, err := access.Rules()
	if err != nil {
		fmt.Fprintln(stderr, "trellis rules:", err)
		return 1
	}
	var switches access.Switches
	if where.exists() == nil {
		code := where.work("rules", stderr, func(ctx context.Context, s *store.Store) error {
			terms, err := s.Terms(ctx)
			switches = terms.Rules
			return err
		})
		if code != 0 {
			return code
		}
	}
	for i := range rules {
		switch {
		case switches.Off(rules[i].ID):
			rules[i].Standard = "OFF here"
		case switches.On(rules[i].ID):
			rules[i].Standard = "ON here"
		}
	}
	if *asJSON {
		if err := json.NewEncoder(stdout).Encode(rules); err != nil {
			return 1
		}
		return 0
	}
	fmt.Fprintf(stdout, "Rules %s\n", switches.Policy())
	for _, r := range rules {
		fmt.Fprintf(stdout, "\n  %s  [%s; %s", r.ID, r.Standard, r.Status)
		if r.Section != "" {
			fmt.Fprintf(stdout, "; %s", section(r.Section))
		}
		fmt.Fprintf(stdout, "]\n    %s\n", r.Text)
	}
	return 0
}
