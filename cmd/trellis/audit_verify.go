package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"trellis/gateway/audit/logfile"
	"trellis/gateway/audit/verify"
)

// verify checks an export and prints the report. It reports whether the log is intact.
func (c auditCommand) verify(args []string) (intact bool, err error) {
	set := flag.NewFlagSet("verify", flag.ContinueOnError)
	asJSON := set.Bool("json", false, "print the report as JSON")
	var keys, kept words
	set.Var(&keys, "key", "public key of the log, or a file with it; repeated for retired keys")
	set.Var(&kept, "checkpoint", "file with a checkpoint kept from earlier; may be repeated")
	rest, err := c.parse(set, args, 1)
	if err != nil {
		return false, err
	}
	if len(keys) == 0 {
		return false, fmt.Errorf("%w: verify needs --key", errUsage)
	}
	opts, err := verifyOptions(keys, kept)
	if err != nil {
		return false, err
	}
	file, err := os.Open(rest[0])
	if err != nil {
		return false, err
	}
	report, err := verify.Verify(file, opts)
	if err = errors.Join(err, file.Close()); err != nil {
		return false, err
	}
	if *asJSON {
		err = json.NewEncoder(c.stdout).Encode(report)
	} else {
		err = printReport(c.stdout, report, len(kept))
	}
	return report.OK(), err
}

// words is a flag that may be given several times.
type words []string

func (w *words) String() string        { return strings.Join(*w, " ") }
func (w *words) Set(text string) error { *w = append(*w, text); return nil }

func verifyOptions(keys, kept []string) (verify.Options, error) {
	opts := verify.Options{}
	for _, key := range keys {
		text, err := fileOrText(key)
		if err != nil {
			return verify.Options{}, err
		}
		if strings.HasPrefix(text, "PRIVATE+KEY") {
			return verify.Options{}, errors.New("that is the private key; verifying takes the public one")
		}
		verifier, err := note.NewVerifier(text)
		if err != nil {
			return verify.Options{}, fmt.Errorf("--key: %w", err)
		}
		opts.Keys = append(opts.Keys, verifier)
	}
	for _, name := range kept {
		signed, err := os.ReadFile(name)
		if err != nil {
			return verify.Options{}, err
		}
		opts.Kept = append(opts.Kept, signed)
	}
	return opts, nil
}

// printReport writes the report for people.
func printReport(w io.Writer, r *verify.Report, kept int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "audit log:    %s\n", r.Origin)
	if r.Checkpoints > 0 {
		fmt.Fprintf(&b, "signed:       %d rows at %s, root %s\n", r.Size, logfile.FormatTime(r.Latest.At), r.Latest.Root)
	}
	fmt.Fprintf(&b, "in the file:  %d rows, %d of them erased; %d valid checkpoints\n", r.Rows, r.Erased, r.Checkpoints)
	if r.Unnumbered > 0 {
		fmt.Fprintf(&b, "unnumbered:   %d rows, durable but not yet signed: %s\n", r.Unnumbered, strings.Join(r.UnnumberedIDs, ", "))
	}
	if kept > 0 {
		fmt.Fprintf(&b, "kept before:  agrees with %d of %d checkpoints\n", r.Kept, kept)
	} else {
		b.WriteString("kept before:  none given; a log cut off or signed anew cannot be told from the file alone\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "  and %d more\n", r.More)
	}
	if r.OK() {
		b.WriteString("INTACT\n")
	} else {
		fmt.Fprintf(&b, "NOT INTACT: %d finding(s)\n", len(r.Findings)+r.More)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
