package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/preview"
	"trellis/gateway/store"
)

const previewHelp = `trellis preview: say what a consent would change, before anybody signs it

Usage:
  trellis preview CONSENT.json [--recorder ORGANIZATION] [--data DIR | --postgres DSN] [--json]

CONSENT.json is a FHIR Consent. It is not stored. For every organisation and purpose it says how many of the recorder's
records of the patient would be seen that are not seen now, or no longer, by type and labels; what the consent lacks of
42 CFR 2.31; and which instruments on file it conflicts with. The recorder is who would record it: without --recorder the
first organisation that may disclose by it. Looking is itself logged.

Exit status: 0, or 2 for wrong use or an error.

Examples:
  trellis preview consent.json
  trellis preview consent.json --recorder otp --json
`

func runPreview(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("preview", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, previewHelp) }
	var where location
	where.flags(fs)
	recorder := fs.String("recorder", "", "")
	asJSON := fs.Bool("json", false, "")
	if code, done := parseFlags(fs, args, stdout, previewHelp); done {
		return code
	}
	if fs.NArg() != 1 {
		fmt.Fprintln(stderr, "trellis preview: one CONSENT.json is required; see `trellis preview --help`")
		return 2
	}
	doc, err := os.ReadFile(fs.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "trellis preview:", err)
		return 2
	}
	return where.work("preview", stderr, func(ctx context.Context, s *store.Store) error {
		found, err := previewOf(ctx, s, doc, *recorder)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(stdout).Encode(found)
		}
		for _, line := range found.Text() {
			if _, err := fmt.Fprintln(stdout, line); err != nil {
				return err
			}
		}
		return nil
	})
}

// previewOf previews a Consent and logs that somebody looked.
func previewOf(ctx context.Context, s *store.Store, doc []byte, recorder string) (preview.Preview, error) {
	parser, err := fhir.NewParser()
	if err != nil {
		return preview.Preview{}, err
	}
	res, err := parser.Parse(doc)
	if err != nil {
		return preview.Preview{}, err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return preview.Preview{}, err
	}
	c := consent.Read(res.ID, 0, now, res.JSON, "")
	switch {
	case res.Type != "Consent" || c.Broken:
		return preview.Preview{}, errors.New("the file is no Consent that can be read whole")
	case c.Patient.Type != "Patient":
		return preview.Preview{}, errors.New("the Consent names no patient by a reference")
	case recorder == "" && len(c.Disclosers) > 0:
		recorder = c.Disclosers[0]
	}
	org, err := s.Organization(ctx, recorder)
	if err != nil {
		return preview.Preview{}, err
	}
	if org.ID == "" {
		return preview.Preview{}, errors.New("who would record it is no registered organisation; --recorder names one")
	}
	found, err := preview.Of(ctx, s, org, c)
	if err != nil {
		return found, err
	}
	return found, logPreview(ctx, s, org.ID, c.Patient.String(), now)
}

func logPreview(ctx context.Context, s *store.Store, recorder, patient string, now time.Time) error {
	leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Explain, At: now, Client: "cli", Organization: recorder, Patient: patient, Interaction: "preview", Outcome: "previewed"})
	if err != nil {
		return err
	}
	if err := s.Audit().Append(ctx, leaf); err != nil {
		return fmt.Errorf("the preview cannot be audited, so it is not given: %w", err)
	}
	return nil
}
