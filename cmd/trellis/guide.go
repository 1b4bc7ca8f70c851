package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"trellis/auth/access"
	"trellis/gateway/audit"
	"trellis/gateway/guide"
	"trellis/gateway/intake"
	"trellis/gateway/store"
	"trellis/mapping"
)

const guideHelp = `trellis guide: what Trellis publishes of its own conventions, as FHIR

Usage:
  trellis guide [--out DIR]

Code systems, value sets, extensions and profiles of the mapping packs, and the ImplementationGuide that lists them. A
gateway serves them to every client (GET /fhir/CodeSystem, /fhir/StructureDefinition, ...); this command lists them, or
writes one file for each, without a server.

Flags:
  --out DIR   write the resources into DIR, as TYPE-ID.json

Examples:
  trellis guide
  trellis guide --out guide && ls guide
`

func runGuide(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("guide", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, guideHelp) }
	out := fs.String("out", "", "write the resources into `DIR`")
	if code, done := parseFlags(fs, args, stdout, guideHelp); done {
		return code
	}
	packs, err := mapping.LoadAll(mapping.Packs())
	if err != nil {
		fmt.Fprintln(stderr, "trellis guide:", err)
		return 1
	}
	list, _, err := guide.Resources(packs)
	if err == nil && *out != "" {
		err = writeGuide(*out, list)
	}
	if err != nil {
		fmt.Fprintln(stderr, "trellis guide:", err)
		return 1
	}
	for _, r := range list {
		fmt.Fprintf(stdout, "%s/%s\n", r.Type, r.ID)
	}
	return 0
}

func writeGuide(dir string, list []guide.Resource) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range list {
		var doc bytes.Buffer
		if err := json.Indent(&doc, r.JSON, "", "  "); err != nil {
			return err
		}
		doc.WriteByte('\n')
		if err := os.WriteFile(filepath.Join(dir, r.Type+"-"+r.ID+".json"), doc.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// settingGuide holds the hash of the guide that is stored, so that a start looks at one row and not at every resource.
const settingGuide = "guide.hash"

// publishGuide stores the guide as the operator's, once per version of it: every client may read it.
func (g *gateway) publishGuide(ctx context.Context, operator access.Organization) error {
	list, hash, err := guide.Resources(g.packs)
	if err != nil {
		return err
	}
	have, found, err := g.store.Setting(ctx, settingGuide)
	if err != nil || found && string(have) == hash {
		return err
	}
	var changes []store.Change
	for _, r := range list {
		res, err := g.parser.Parse(r.JSON)
		if err != nil {
			return fmt.Errorf("guide: %s/%s: %w", r.Type, r.ID, err)
		}
		verdict := g.labels.Examine(res, operator.Source(), nil)
		changes = append(changes, store.Change{Method: store.Update, Type: r.Type, ID: r.ID, Resource: res, Owner: operator.ID, MayCreate: true, Segment: verdict.Segment, Verdict: &verdict})
	}
	who := access.Principal{Client: "cli", Organization: operator, Purpose: "HSYSADMIN"}
	_, err = g.store.Apply(ctx, changes, func(w []store.Written) (store.Commit, error) {
		leaf, err := audit.NewLeaf(intake.WriteEvents(who, "guide", "", "", w)...)
		return store.Commit{Leaves: []audit.Leaf{leaf}}, err
	})
	if err != nil {
		return err
	}
	return g.store.PutSetting(ctx, settingGuide, []byte(hash))
}
