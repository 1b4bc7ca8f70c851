package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"trellis/conformance/profile"
	"trellis/fhir"
	"trellis/fhir/path"
	"trellis/fhir/terminology"
	own "trellis/gateway/terminology"
)

const validateHelp = `trellis validate: check resources against R4 and against the profiles of implementation guides, without a server

Usage:
  trellis validate [--package IG]... [--profile URL]... [--all] [--json] FILE...

FILE holds a resource, a Bundle, or resources one after the other (NDJSON); - is standard input. Each resource is checked
against R4's structure, against the profiles it claims in meta.profile, and against those given with --profile. Resources in
a Bundle are checked by what they claim too; a --profile is for the entries of its type.

An error is what breaks a rule. A warning is what a profile advises against, or a profile that is not held. What could not be
checked, because a value set, a code system or a definition is not held or a rule cannot be evaluated, is counted and listed
with --all. No value of a resource is printed, only where it stands.

Flags:
  --package IG   definitions to check by: a package as registries hand it out (.tgz), or a folder of JSON files; repeat it
                 for the packages it depends on
  --profile URL  check against this profile too; URL|VERSION for one version of it
  --all          list what could not be checked
  --json         one JSON object per resource, on a line each

Exit status: 0 no errors, 1 errors found, 2 wrong use, or a file or package that cannot be read.

Examples:
  trellis validate patient.json
  trellis validate --package hl7.fhir.us.core.tgz bundle.json
  trellis validate --package us-core.tgz --profile 'http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient|6.1.0' patients.ndjson
  trellis map run --pack recovery-plan plans.json | trellis validate --package us-core.tgz -
  trellis validate --json --package ./my-guide/package *.json | jq 'select(.errors > 0)'
`

func runValidate(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("validate", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, validateHelp) }
	v := validation{stdout: stdout}
	var packages, profiles several
	fs.Var(&packages, "package", "")
	fs.Var(&profiles, "profile", "")
	fs.BoolVar(&v.all, "all", false, "")
	fs.BoolVar(&v.json, "json", false, "")
	if code, done := parseFlags(fs, args, stdout, validateHelp); done {
		return code
	}
	if fs.NArg() == 0 {
		fmt.Fprintln(stderr, "trellis validate: no file to check; `trellis validate --help` has examples")
		return 2
	}
	v.profiles = profiles
	err := v.prepare(packages)
	for _, name := range fs.Args() {
		if err == nil {
			err = v.file(name)
		}
	}
	if err == nil {
		err = v.sum()
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "trellis validate:", err)
		return 2
	case v.total.Errors > 0:
		return 1
	}
	return 0
}

// several is a flag that may be repeated.
type several []string

func (s *several) String() string { return strings.Join(*s, " ") }

func (s *several) Set(value string) error {
	*s = append(*s, value)
	return nil
}

// validation is one run of the command.
type validation struct {
	stdout    io.Writer
	profiles  []string
	all, json bool
	parser    *fhir.Parser
	checker   *profile.Checker
	resources int
	total     counts
}

type counts struct {
	Errors    int `json:"errors"`
	Warnings  int `json:"warnings"`
	Unchecked int `json:"notChecked"`
}

// prepare reads the packages.
func (v *validation) prepare(packages []string) (err error) {
	if v.parser, err = fhir.NewParser(); err != nil {
		return err
	}
	var definitions []*profile.Definition
	var systems []*terminology.CodeSystem
	var sets []*terminology.ValueSet
	for _, name := range packages {
		list, err := readPackage(name)
		if err != nil {
			return err
		}
		for _, r := range list {
			switch r.Type {
			case "StructureDefinition":
				definitions = append(definitions, profile.ReadDefinition(r))
			case "CodeSystem":
				systems = append(systems, terminology.ReadCodeSystem(r))
			case "ValueSet":
				sets = append(sets, terminology.ReadValueSet(r))
			}
		}
	}
	v.checker = &profile.Checker{Library: profile.NewLibrary(definitions), Terms: terminology.NewLibrary(own.Builtin(nil), systems, sets, nil), Paths: path.NewEvaluator()}
	for _, canonical := range v.profiles {
		_, err := v.checker.Library.Find(canonical)
		var refused *profile.Refusal
		switch {
		case errors.As(err, &refused):
			return fmt.Errorf("--profile %s cannot be used: %s", canonical, refused.Reason)
		case err != nil:
			return fmt.Errorf("--profile %s is in none of the packages", canonical)
		}
	}
	return nil
}

func readPackage(name string) ([]*fhir.Resource, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	var list []*fhir.Resource
	if info.IsDir() {
		list, err = profile.ReadFolder(os.DirFS(name))
	} else {
		var f *os.File
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // nothing was written
		list, err = profile.ReadArchive(bufio.NewReader(f))
	}
	if err != nil {
		return nil, fmt.Errorf("--package %s: %w", name, err)
	}
	return list, nil
}

// file checks all that a file holds.
func (v *validation) file(name string) error {
	var in io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // nothing was written
		in = f
	}
	dec := json.NewDecoder(bufio.NewReader(in))
	for record := 1; ; record++ {
		var doc json.RawMessage
		err := dec.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF) && record > 1:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s is empty", name)
		case err != nil: // the decoder's text would quote what stands there
			return fmt.Errorf("%s: what begins at byte %d is not well-formed JSON", name, dec.InputOffset())
		}
		at := name
		if dec.More() || record > 1 {
			at = fmt.Sprintf("%s:%d", name, record)
		}
		if err := v.resource(at, bytes.TrimSpace(doc)); err != nil {
			return err
		}
	}
}

// validated is what was found in one resource, as --json writes it.
type validated struct {
	File     string          `json:"file"`
	Type     string          `json:"resourceType,omitempty"`
	Findings []validateIssue `json:"findings"`
	counts
}

type validateIssue struct {
	Severity   string `json:"severity"`
	Code       string `json:"code"`
	Expression string `json:"expression,omitempty"`
	Profile    string `json:"profile,omitempty"`
	Rule       string `json:"rule,omitempty"`
	Text       string `json:"text"`

	sentence string
}

func (v *validation) resource(at string, doc []byte) error {
	out := validated{File: at, Findings: []validateIssue{}}
	res, err := v.parser.Parse(doc)
	var problem *fhir.Problem
	switch {
	case errors.As(err, &problem):
		for _, i := range problem.Issues {
			out.Findings = append(out.Findings, validateIssue{Severity: "error", Code: i.Code, Expression: i.Expression, Text: i.Text, sentence: i.Text + " (FHIR R4)"})
		}
	case err != nil:
		return fmt.Errorf("%s could not be checked", at)
	default:
		out.Type = res.Type
		for _, f := range v.checker.CheckEach(context.Background(), res.Root, v.profiles) {
			out.Findings = append(out.Findings, validateIssue{f.Severity, f.Code, f.Expression, f.Profile, f.Rule, f.Text, f.Sentence()})
		}
	}
	for _, f := range out.Findings {
		switch f.Severity {
		case "error":
			out.Errors++
		case "warning":
			out.Warnings++
		default:
			out.Unchecked++
		}
	}
	v.resources++
	v.total.Errors += out.Errors
	v.total.Warnings += out.Warnings
	v.total.Unchecked += out.Unchecked
	if v.json {
		enc := json.NewEncoder(v.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(out)
	}
	return v.print(out)
}

// print is the report for people: what is wrong first.
func (v *validation) print(out validated) error {
	if out.Errors+out.Warnings == 0 && (!v.all || out.Unchecked == 0) {
		return nil
	}
	if _, err := fmt.Fprintln(v.stdout, out.File); err != nil {
		return err
	}
	for _, severity := range []string{"error", "warning", "information"} {
		if severity == "information" && !v.all {
			break
		}
		for _, f := range out.Findings {
			if f.Severity != severity {
				continue
			}
			at := f.Expression
			if at == "" {
				at = out.Type
			}
			if _, err := fmt.Fprintf(v.stdout, "  %-11s  %s: %s\n", severity, at, f.sentence); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *validation) sum() error {
	if v.json {
		return nil
	}
	rest := ""
	if v.total.Unchecked > 0 && !v.all {
		rest = " (--all lists it)"
	}
	_, err := fmt.Fprintf(v.stdout, "%d checked: %d error(s), %d warning(s), %d thing(s) could not be checked%s\n", v.resources, v.total.Errors, v.total.Warnings, v.total.Unchecked, rest)
	return err
}
