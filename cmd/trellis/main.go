// Command trellis is the recovery-support FHIR gateway: server, mapping tool and audit verifier in one binary.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"text/tabwriter"
)

// A command is one word after `trellis`. Run gets the arguments after that word and returns the exit status.
type command struct {
	name, summary string
	run           func(args []string, stdout, stderr io.Writer) int
}

// commands is the whole command line, in the order a newcomer meets it.
func commands() []command {
	return []command{
		{"demo", "start with a synthetic community and print a tour", runDemo},
		{"serve", "run the gateway from a configuration file", runServe},
		{"map", "turn native records into FHIR, without a server", runMap},
		{"validate", "check resources against R4 and the profiles of guides, without a server", runValidate},
		{"guide", "list or write the code systems, extensions and profiles of our own", runGuide},
		{"ingest", "send native records or FHIR resources to a server", runIngest},
		{"intake", "map records that were sent anew, by a new version of their pack", runIntake},
		{"token", "get an access token as one of the clients", runToken},
		{"explain", "say why a record is released to an organisation, or not", runExplain},
		{"preview", "say what a consent would change, before anybody signs it", runPreview},
		{"replay", "make the decisions of an audit export anew", runReplay},
		{"label", "rules that say what records are about, measured, explained and reviewed", runLabel},
		{"audit", "export and verify the audit log", runAudit},
		{"agreement", "record what organisations agreed on", runAgreement},
		{"emergency", "review declared medical emergencies", runEmergency},
		{"incident", "look at what was drafted as an incident", runIncident},
		{"rules", "list the rules decisions are made by, and what counsel switched", runRules},
		{"client", "register client applications", runClient},
		{"user", "register the people who may sign in", runUser},
		{"keys", "list and rotate the keys id_tokens are signed with", runKeys},
		{"migrate", "make the search index anew after an upgrade", runMigrate},
		{"bench", "measure against the bare database", runBench},
	}
}

// gcPercent lets garbage grow to twice what is alive before it is collected: the live heap of a gateway is small,
// and collecting it at each doubling would be a tenth of its work. GOGC in the environment goes before.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(stdout)
		return 0
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "trellis: no command %q; `trellis help` lists them\n", args[0])
	return 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "trellis: a FHIR R4 gateway for recovery support\n\nUsage: trellis COMMAND [flags]\n\nCommands:\n")
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(tw, "  %s\t%s\n", c.name, c.summary)
	}
	if err := tw.Flush(); err != nil {
		return
	}
	fmt.Fprint(w, "\n`trellis COMMAND --help` shows a command's flags and examples.\n")
}
